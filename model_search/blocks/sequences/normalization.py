"""Normalisation of every row by its own valid steps."""

from __future__ import annotations

import keras
from keras import ops

from model_search.blocks.block import BlockSettings
from model_search.blocks.sequences.sequence_block import SequenceBlock, without_padding

EPSILON = 1e-3  # added to the variance, in units of the input; a channel that never changes becomes 0


class StepNormalizationBlock(SequenceBlock):
    """Every channel less its mean over the row's valid steps, and divided by its deviation if wanted.

    What stays the same through a whole row is lost: of a log-mel spectrum the loudness and the sound of the microphone
    and of the voice (cepstral mean normalisation, Furui, "Cepstral Analysis Technique for Automatic Speaker
    Verification", IEEE TASSP 1981), but also a tone that never changes. With the deviation it is instance
    normalisation without factors (Ulyanov et al., arXiv 1607.08022, 2016).

    Args:
        deviation: Whether the result is divided by the channel's deviation over the valid steps.
    """

    def __init__(self, deviation: bool = False) -> None:
        super().__init__()
        self._deviation = deviation

    def transform(
        self, sequence: keras.KerasTensor, lengths: keras.KerasTensor | None, hparams: BlockSettings
    ) -> keras.KerasTensor:
        """See the class."""
        steps = sequence.shape[1] if lengths is None else ops.reshape(ops.cast(lengths, sequence.dtype), (-1, 1, 1))
        mean = ops.sum(without_padding(sequence, lengths), axis=1, keepdims=True) / steps
        centred = without_padding(sequence - mean, lengths)
        if not self._deviation:
            return centred
        variance = ops.sum(ops.square(centred), axis=1, keepdims=True) / steps
        return centred * ops.rsqrt(variance + EPSILON)
