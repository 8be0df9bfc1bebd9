"""From a sequence to a vector, over the valid steps alone."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from model_search.blocks.block import BlockSettings
from model_search.blocks.sequences.sequence_block import INITIALIZER, SequenceBlock, without_padding

LOWEST = float(np.finfo(np.float32).min)
MOST_UNITS = 64  # of the layer that scores steps


class MaskedPoolingBlock(SequenceBlock):
    """The mean, the maximum, or both, of every number over the valid steps: float32 [batch, width or 2 * width]."""

    def __init__(self, mean: bool = True, maximum: bool = False) -> None:
        super().__init__()
        self._mean = mean
        self._maximum = maximum

    def transform(
        self, sequence: keras.KerasTensor, lengths: keras.KerasTensor | None, hparams: BlockSettings
    ) -> keras.KerasTensor:
        """See the class."""
        pooled = []
        if self._mean:
            total = ops.sum(without_padding(sequence, lengths), axis=1)
            steps = sequence.shape[1] if lengths is None else ops.expand_dims(ops.cast(lengths, sequence.dtype), 1)
            pooled.append(total / steps)
        if self._maximum:
            pooled.append(ops.max(without_padding(sequence, lengths, instead=LOWEST), axis=1))
        return pooled[0] if len(pooled) == 1 else ops.concatenate(pooled, axis=-1)


class AttentionPoolingBlock(SequenceBlock):
    """The mean of the valid steps, weighted by what a small network makes of each: float32 [batch, width].

    After Yang et al., "Hierarchical Attention Networks for Document Classification", NAACL 2016.
    """

    def transform(
        self, sequence: keras.KerasTensor, lengths: keras.KerasTensor | None, hparams: BlockSettings
    ) -> keras.KerasTensor:
        """See the class."""
        inner = layers.Dense(
            min(sequence.shape[-1], MOST_UNITS), "tanh", kernel_initializer=INITIALIZER, name=f"{self.name}_inner"
        )(sequence)
        # All scores of a row may be raised by the same number; a bias would be that.
        scores = layers.Dense(1, use_bias=False, kernel_initializer=INITIALIZER, name=f"{self.name}_scores")(inner)
        weights = ops.softmax(without_padding(scores, lengths, instead=LOWEST), axis=1)
        return ops.sum(without_padding(sequence, lengths) * weights, axis=1)
