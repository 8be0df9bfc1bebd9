"""Encodings of a table's columns: what a tower makes of numbers and categories before it combines them.

An encoding reads the tower's input, wherever it stands: first in a tower it replaces it, later it puts the encoded
input beside what the blocks before have made. What the training rows say of the columns (which are numbers, how those
are distributed) comes from the study's data; without it, all columns are taken for normally distributed numbers.

The numbers of a table come robustly scaled and smoothly clipped (`data/tabular/features.py`).
"""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import initializers, layers, ops

from model_search.blocks.block import Block, BlockSettings
from model_search.data.rows import InputSpec
from model_search.data.tabular.column_statistics import Columns

NEAR_ONE = (0.9, 1.1)  # initial values of factors
WIDE = 16  # columns from which a category is embedded
_MOST_EMBEDDED = 32
_PBLD_DEVIATION = 0.5


class EncodingBlock(Block):
    """Base of the encodings: a subclass defines `encode_numbers`.

    Args:
        embeds: Whether categories of many values are embedded: a linear layer without bias for each, of
            1.6 * n ** 0.56 units (the rule of fastai; Guo & Berkhahn, "Entity Embeddings of Categorical Variables",
            arXiv 1604.06737). Otherwise they stay one column for each value.
    """

    def __init__(self, embeds: bool = False) -> None:
        super().__init__()
        self._embeds = embeds

    def build(
        self,
        input_tensors: list[keras.KerasTensor],
        is_training: bool | None,
        lengths: keras.KerasTensor | None = None,
        hparams: BlockSettings | None = None,
        columns: InputSpec | None = None,
    ) -> list[keras.KerasTensor]:
        """Appends the encoded input, float32 [batch, width], behind what the last block has made, if there is one."""
        last = _flat(input_tensors[-1], f"{self.name}_flatten")
        is_input = len(input_tensors) == 1 or len(input_tensors[0].shape) != 2
        source = last if is_input else input_tensors[0]
        known = columns if len(input_tensors[0].shape) == 2 else None
        encoded = self.encode(source, Columns.of(source.shape[-1], known))
        return [*input_tensors, encoded if is_input else ops.concatenate([last, encoded], axis=-1)]

    def encode(self, vector: keras.KerasTensor, columns: Columns) -> keras.KerasTensor:
        """The encoded columns, float32 [batch, width]."""
        parts = []
        if columns.numbers:
            parts.append(self.encode_numbers(some_columns(vector, columns.numbers), columns))
        wide = [(start, end) for start, end in columns.categories if self._embeds and end - start >= WIDE]
        for number, (start, end) in enumerate(wide):
            units = min(_MOST_EMBEDDED, round(1.6 * (end - start) ** 0.56))
            layer = layers.Dense(
                units, use_bias=False, kernel_initializer="he_normal", name=f"{self.name}_embedding_{number}"
            )
            parts.append(layer(vector[:, start:end]))
        embedded = {column for start, end in wide for column in range(start, end)}
        left = tuple(column for column in columns.others if column not in embedded)
        if left:
            parts.append(some_columns(vector, left))
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)

    def encode_numbers(self, numbers: keras.KerasTensor, columns: Columns) -> keras.KerasTensor:
        """What becomes of the numbers [batch, numbers]: float32 [batch, width]."""
        raise NotImplementedError

    @property
    def is_input_order_important(self) -> bool:
        """Never: columns of a table have no order."""
        return False

    def linear(self, tensor: keras.KerasTensor, width: int, part: str, bias: bool = True) -> keras.KerasTensor:
        """A linear layer for each number: [batch, numbers, values] to [batch, numbers, width]."""
        limit = tensor.shape[-1] ** -0.5
        return layers.EinsumDense(
            "bft,fto->bfo",
            (tensor.shape[1], width),
            bias_axes="fo" if bias else None,
            kernel_initializer=initializers.RandomUniform(-limit, limit),
            name=f"{self.name}_{part}",
        )(tensor)


class FeatureScalingBlock(EncodingBlock):
    """Every number times a factor that is learnt, which begins near 1.

    The scaling layer of RealMLP: Holzmueller et al., "Better by Default", NeurIPS 2024.
    """

    def encode_numbers(self, numbers: keras.KerasTensor, columns: Columns) -> keras.KerasTensor:
        """See `EncodingBlock`."""
        begin = initializers.RandomUniform(*NEAR_ONE)
        name = f"{self.name}_scale"
        return layers.EinsumDense("bf,f->bf", (numbers.shape[1],), kernel_initializer=begin, name=name)(numbers)


class QuantileBlock(EncodingBlock):
    """Every number, and beside it its quantile among the training rows, from -1 to 1 and linear between the edges.

    Quantile transforms: Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", NeurIPS 2021.

    Args:
        bins: The most bins.
    """

    def __init__(self, bins: int = 48) -> None:
        super().__init__()
        self._bins = bins

    def encode_numbers(self, numbers: keras.KerasTensor, columns: Columns) -> keras.KerasTensor:
        """See `EncodingBlock`."""
        edges = columns.edges(self._bins)
        counts = np.array([len(each) - 1 for each in edges], np.float32)
        quantiles = ops.sum(piecewise_linear(numbers, edges), axis=-1) * (2 / counts) - 1
        return ops.concatenate([numbers, quantiles], axis=-1)


class PiecewiseLinearBlock(EncodingBlock):
    """Piecewise-linear encoding of numbers, then a linear layer for each: a learnt piecewise-linear function.

    After Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning", NeurIPS 2022, with a linear
    term beside the bins as in Gorishniy et al., "TabM", ICLR 2025. Edges are quantiles of the values and of the
    distinct values.

    Args:
        bins: The most bins of a number.
        width: Values that a number becomes; 0 for the bins themselves, without a layer.
        embeds: See `EncodingBlock`.
    """

    def __init__(self, bins: int = 32, width: int = 8, embeds: bool = False) -> None:
        super().__init__(embeds)
        self._bins = bins
        self._width = width

    def encode_numbers(self, numbers: keras.KerasTensor, columns: Columns) -> keras.KerasTensor:
        """See `EncodingBlock`."""
        edges = columns.edges(self._bins)
        encoded = piecewise_linear(numbers, edges)
        if self._width == 0:
            used = [row * encoded.shape[2] + t for row, each in enumerate(edges) for t in range(len(each) - 1)]
            flat = ops.reshape(encoded, (-1, encoded.shape[1] * encoded.shape[2]))
            return ops.concatenate([numbers, some_columns(flat, tuple(used))], axis=-1)
        line = self.linear(ops.expand_dims(numbers, -1), self._width, "line", bias=False)
        output = self.linear(encoded, self._width, "bins") + line
        return ops.reshape(output, (-1, output.shape[1] * self._width))


class PeriodicBlock(EncodingBlock):
    """Every number x, and beside it a linear layer on cos(2 pi (w x + b)) with learnt w and b.

    PBLD of RealMLP: Holzmueller et al., "Better by Default", NeurIPS 2024; after Gorishniy et al., NeurIPS 2022.

    Args:
        frequencies: Cosines for each number.
        width: Values that a number becomes, itself among them.
    """

    def __init__(self, frequencies: int = 16, width: int = 4) -> None:
        super().__init__()
        self._frequencies = frequencies
        self._width = width

    def encode_numbers(self, numbers: keras.KerasTensor, columns: Columns) -> keras.KerasTensor:
        """See `EncodingBlock`."""
        phases = layers.EinsumDense(
            "bf,fo->bfo",
            (numbers.shape[1], self._frequencies),
            bias_axes="fo",
            kernel_initializer=initializers.RandomNormal(stddev=_PBLD_DEVIATION),
            bias_initializer=initializers.RandomUniform(-0.5, 0.5),
            name=f"{self.name}_phases",
        )(numbers)
        waves = self.linear(ops.cos(phases * (2 * math.pi)), self._width - 1, "waves")
        output = ops.concatenate([ops.expand_dims(numbers, -1), waves], axis=-1)
        return ops.reshape(output, (-1, output.shape[1] * self._width))


class CategoryEmbeddingBlock(EncodingBlock):
    """Numbers as they are; categories of many values are embedded (see `EncodingBlock`)."""

    def __init__(self) -> None:
        super().__init__(embeds=True)

    def encode_numbers(self, numbers: keras.KerasTensor, columns: Columns) -> keras.KerasTensor:
        """See `EncodingBlock`."""
        return numbers


def piecewise_linear(numbers: keras.KerasTensor, edges: list[np.ndarray]) -> keras.KerasTensor:
    """How far each number has gone through each of its bins: 0 before it, 1 behind it, linear inside.

    Args:
        numbers: float32 [batch, numbers].
        edges: Of the bins of each number, rising.

    Returns:
        float32 [batch, numbers, bins]; a number with fewer bins than another has zeros behind them.
    """
    bins = max(len(each) for each in edges) - 1
    lower, slope = np.zeros((len(edges), bins)), np.zeros((len(edges), bins))
    for row, each in enumerate(edges):
        lower[row, : len(each) - 1] = each[:-1]
        slope[row, : len(each) - 1] = 1 / np.diff(each)
    past = (ops.expand_dims(numbers, -1) - lower.astype(np.float32)) * slope.astype(np.float32)
    return ops.clip(past, 0.0, 1.0)


def some_columns(vector: keras.KerasTensor, places: tuple[int, ...]) -> keras.KerasTensor:
    """Some columns of a vector, in that order."""
    if places == tuple(range(vector.shape[-1])):
        return vector
    if places == tuple(range(places[0], places[-1] + 1)):
        return vector[:, places[0] : places[-1] + 1]
    return ops.take(vector, np.array(places, np.int32), axis=1)


def _flat(tensor: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return tensor if len(tensor.shape) == 2 else layers.Flatten(name=name)(tensor)
