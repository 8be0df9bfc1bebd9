"""Normalisation of every row by its own valid steps."""

from __future__ import annotations

import random

import keras
import numpy as np
from keras import layers, ops

from model_search.blocks.block import BlockSettings
from model_search.blocks.sequences.sequence_block import SequenceBlock, without_padding

EPSILON = 1e-3  # added to the variance, in units of the input; a channel that never changes becomes 0


class StepNormalizationBlock(SequenceBlock):
    """Every channel less its mean over the row's valid steps, and divided by its deviation if wanted.

    What stays the same through a whole row is lost: of a log-mel spectrum the loudness and the sound of the microphone
    and of the voice (cepstral mean normalisation, Furui, "Cepstral Analysis Technique for Automatic Speaker
    Verification", IEEE TASSP 1981), but also a tone that never changes. With the deviation it is instance
    normalisation without factors (Ulyanov et al., arXiv 1607.08022, 2016).

    A recording's mean depends on what is said, too. With a tilt, every row is given another slope and bend over its
    channels at each step of training, so that the blocks after it do not rely on them.

    Args:
        deviation: Whether the result is divided by the channel's deviation over the valid steps.
        tilt: Deviation of the slope (at the first and the last channel), and of the bend, in training; 0 for none. For
            channels in an order, such as frequencies.
    """

    def __init__(self, deviation: bool = False, tilt: float = 0.0) -> None:
        super().__init__()
        self._deviation = deviation
        self._tilt = tilt

    def transform(
        self, sequence: keras.KerasTensor, lengths: keras.KerasTensor | None, hparams: BlockSettings
    ) -> keras.KerasTensor:
        """See the class."""
        steps = sequence.shape[1] if lengths is None else ops.reshape(ops.cast(lengths, sequence.dtype), (-1, 1, 1))
        mean = ops.sum(without_padding(sequence, lengths), axis=1, keepdims=True) / steps
        output = without_padding(sequence - mean, lengths)
        if self._deviation:
            variance = ops.sum(ops.square(output), axis=1, keepdims=True) / steps
            output = output * ops.rsqrt(variance + EPSILON)
        if self._tilt:
            output = without_padding(output + self._tilted(mean), lengths)
        return output

    def _tilted(self, mean: keras.KerasTensor) -> keras.KerasTensor:
        """A random slope and bend in training, else 0: float32 [batch, 1, width]."""
        place = np.linspace(-1.0, 1.0, mean.shape[-1], dtype="float32")
        shapes = np.stack([place, np.square(place) - np.float32(1 / 3)])
        nothing = ops.zeros_like(ops.repeat(mean[..., :1], 2, axis=-1))
        seed = random.randrange(2**31)  # noqa: S311 - no secret; the trial's seed decides
        drawn = layers.GaussianNoise(self._tilt, seed=seed, name=f"{self.name}_tilt")(nothing)
        return ops.matmul(drawn, shapes)
