"""Transformer layers."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from model_search.blocks.block import BlockSettings
from model_search.blocks.sequences.sequence_block import INITIALIZER, SequenceBlock, valid_steps

LONGEST_WAVE = 10_000  # of the sines that stand for positions, in steps
EXPANSION = 2  # inner units of the dense layers for each unit of their input; 4 in the article


class TransformerEncoderBlock(SequenceBlock):
    """Self-attention over the valid steps and two dense layers with a GELU, each after layer normalisation, plus input.

    After Vaswani et al., "Attention Is All You Need", NeurIPS 2017, normalised first as in Xiong et al., "On Layer
    Normalization in the Transformer Architecture", ICML 2020. The sines that stand for positions are added to queries
    and keys, so that every such block knows them wherever it stands.

    Args:
        width: Width of the output; a linear layer projects an input of another one.
        heads: Number of heads, a divisor of `width`.
    """

    def __init__(self, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self._width = width
        self._heads = heads

    def transform(
        self, sequence: keras.KerasTensor, lengths: keras.KerasTensor | None, hparams: BlockSettings
    ) -> keras.KerasTensor:
        """See the class."""
        sequence = self.projected(sequence, self._width)
        normal = layers.LayerNormalization(name=f"{self.name}_norm_0")(sequence)
        placed = normal + positions(normal)
        mask = None if lengths is None else ops.expand_dims(valid_steps(sequence, lengths), 1)
        # Without biases: that of the keys changes nothing, and the dense layers have biases.
        attention = layers.MultiHeadAttention(
            self._heads,
            self._width // self._heads,
            use_bias=False,
            kernel_initializer=INITIALIZER,
            name=f"{self.name}_attention",
        )
        sequence = sequence + attention(placed, normal, placed, attention_mask=mask)
        inner = self._dense(
            layers.LayerNormalization(name=f"{self.name}_norm_1")(sequence), EXPANSION * self._width, "inner", "gelu"
        )
        return sequence + self._dense(inner, self._width, "outer", None)

    def _dense(self, sequence: keras.KerasTensor, units: int, part: str, activation: str | None) -> keras.KerasTensor:
        return layers.Dense(units, activation, kernel_initializer=INITIALIZER, name=f"{self.name}_{part}")(sequence)


def positions(sequence: keras.KerasTensor) -> keras.KerasTensor:
    """Sines and cosines of each step's number, float32 [batch, steps, width]; the width must be even."""
    number = ops.cumsum(ops.ones_like(sequence[:, :, :1]), axis=1) - 1.0
    half = sequence.shape[-1] // 2
    angles = number * (LONGEST_WAVE ** -(np.arange(half) / half)).astype("float32")
    return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
