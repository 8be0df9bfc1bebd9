"""Attention between the columns of a table."""

from __future__ import annotations

import keras
from keras import layers, ops

from model_search.blocks.tabular.encodings import EncodingBlock, some_columns
from model_search.data.tabular.column_statistics import Columns

_MOST_TOKENS = 64  # features; a wider table becomes fewer tokens by a linear layer
_FEWER_TOKENS = 16


class FeatureAttentionBlock(EncodingBlock):
    """Self-attention between features: each becomes a vector, which reads those of the others.

    One layer of the FT-Transformer (Gorishniy et al., NeurIPS 2021), normalised before (Xiong et al., ICML 2020), and
    all of its vectors side by side, as in AutoInt (Song et al., CIKM 2019).

    Args:
        width: Width of a feature's vector.
        heads: Heads of the attention.
    """

    def __init__(self, width: int = 16, heads: int = 4) -> None:
        super().__init__()
        self._width = width
        self._heads = heads

    def encode(self, vector: keras.KerasTensor, columns: Columns) -> keras.KerasTensor:
        """See the class."""
        tokens = self._tokens(vector, columns)
        read = layers.LayerNormalization(name=f"{self.name}_norm_0")(tokens)
        tokens += layers.MultiHeadAttention(self._heads, self._width // self._heads, name=f"{self.name}_attention")(
            read, read
        )
        read = layers.LayerNormalization(name=f"{self.name}_norm_1")(tokens)
        wide = layers.Dense(2 * self._width, "relu", name=f"{self.name}_wide")(read)
        tokens += layers.Dense(self._width, name=f"{self.name}_narrow")(wide)
        return ops.reshape(tokens, (-1, tokens.shape[1] * self._width))

    def _tokens(self, vector: keras.KerasTensor, columns: Columns) -> keras.KerasTensor:
        """A vector for each feature: float32 [batch, features, width]."""
        grouped = {column for start, end in columns.categories for column in range(start, end)}
        single = tuple(column for column in range(vector.shape[-1]) if column not in grouped)
        if len(single) + len(columns.categories) > _MOST_TOKENS:
            flat = layers.Dense(_FEWER_TOKENS * self._width, name=f"{self.name}_tokens")(vector)
            return ops.reshape(flat, (-1, _FEWER_TOKENS, self._width))
        parts = []
        if single:
            layer = layers.EinsumDense(
                "bf,fo->bfo", (len(single), self._width), bias_axes="fo", kernel_initializer="he_normal",
                name=f"{self.name}_numbers",
            )  # fmt: skip
            parts.append(layer(some_columns(vector, single)))
        for number, (start, end) in enumerate(columns.categories):
            layer = layers.Dense(self._width, kernel_initializer="he_normal", name=f"{self.name}_category_{number}")
            parts.append(ops.expand_dims(layer(vector[:, start:end]), 1))
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)
