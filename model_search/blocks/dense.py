"""The dense family: blocks that read a vector.

An input of higher rank (a map, a sequence) is flattened first. Layers are named after the block that makes them
(`<block>_<part>`), so that the weights of two towers can be matched by name.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from model_search.blocks.block import Block, BlockSettings
from model_search.errors import UserError

ACTIVATION = "relu"
INITIALIZER = "glorot_uniform"
RESIDUALS = (None, "force_match_shapes", "concat", "project")
MAX_OUTPUT_SIZE = 100
MIN_OUTPUT_SIZE = 2


class DenseBlock(Block):
    """Base of the family: a subclass defines `transform`."""

    def build(
        self,
        input_tensors: list[keras.KerasTensor],
        is_training: bool | None,
        lengths: keras.KerasTensor | None = None,
        hparams: BlockSettings | None = None,
    ) -> list[keras.KerasTensor]:
        """Appends the transformed last tensor, float32 [batch, width]."""
        vector = input_tensors[-1]
        if len(vector.shape) != 2:
            vector = layers.Flatten(name=f"{self.name}_flatten")(vector)
        return [*input_tensors, self.transform(vector)]

    def transform(self, vector: keras.KerasTensor) -> keras.KerasTensor:
        """The block's output, float32 [batch, width]."""
        raise NotImplementedError

    @property
    def is_input_order_important(self) -> bool:
        """Never: a dense layer is invariant to permutations of its inputs."""
        return False

    def dense(
        self, vector: keras.KerasTensor, units: int, part: str = "dense", activation: str | None = ACTIVATION
    ) -> keras.KerasTensor:
        """A fully connected layer named `<block>_<part>`."""
        return layers.Dense(units, activation, kernel_initializer=INITIALIZER, name=f"{self.name}_{part}")(vector)


class FullyConnectedBlock(DenseBlock):
    """A fully connected layer as wide as its input, within 2 and `max_output_size`; optionally residual.

    Batch normalisation follows the activation and precedes the sum.

    Args:
        residual: How the input x is combined with the layer f: None for f(x); "force_match_shapes" adds x, cut or
            padded with zeros to the width of f(x); "concat" puts x before f(x); "project" adds x, through a linear
            layer where the widths differ.
        batch_norm: Whether f(x) is batch-normalised.
        max_output_size: The widest that f(x) may be.

    Raises:
        UserError: for an unknown `residual`.
    """

    def __init__(
        self, residual: str | None = None, batch_norm: bool = False, max_output_size: int = MAX_OUTPUT_SIZE
    ) -> None:
        super().__init__()
        if residual not in RESIDUALS:
            raise UserError(f"residual is {residual!r}; expected one of {', '.join(map(str, RESIDUALS))}.")
        self._residual = residual
        self._batch_norm = batch_norm
        self._max_output_size = max_output_size

    def transform(self, vector: keras.KerasTensor) -> keras.KerasTensor:
        """See the class."""
        width = vector.shape[-1]
        units = max(min(self._max_output_size, width), MIN_OUTPUT_SIZE)
        output = self.dense(vector, units)
        if self._batch_norm:
            output = layers.BatchNormalization(name=f"{self.name}_batch_normalization")(output)
        if self._residual is None:
            return output
        if self._residual == "concat":
            return ops.concatenate([vector, output], axis=-1)
        if width == units:
            return vector + output
        if self._residual == "project":
            return self.dense(vector, units, "projection", activation=None) + output
        if width > units:
            return vector[:, :units] + output
        return ops.pad(vector, [[0, 0], [0, units - width]]) + output


class FixedOutputFullyConnectedBlock(DenseBlock):
    """A fully connected layer of `output_size` units."""

    def __init__(self, output_size: int = MAX_OUTPUT_SIZE) -> None:
        super().__init__()
        self._output_size = output_size

    def transform(self, vector: keras.KerasTensor) -> keras.KerasTensor:
        """See the class."""
        return self.dense(vector, self._output_size)


class FullyConnectedPyramidBlock(DenseBlock):
    """A fully connected layer half as wide as its input, at least 2 and at most `max_output_size`."""

    def __init__(self, max_output_size: int = MAX_OUTPUT_SIZE) -> None:
        super().__init__()
        self._max_output_size = max_output_size

    def transform(self, vector: keras.KerasTensor) -> keras.KerasTensor:
        """See the class."""
        return self.dense(vector, min(self._max_output_size, max(vector.shape[-1] // 2, MIN_OUTPUT_SIZE)))


class LowRankLayerBlock(DenseBlock):
    """A fully connected layer as wide as its input, its kernel of rank `level`; optionally plus the input."""

    def __init__(self, level: int = 1, skip: bool = False) -> None:
        super().__init__()
        self._level = level
        self._skip = skip

    def transform(self, vector: keras.KerasTensor) -> keras.KerasTensor:
        """See the class."""
        # The left factor needs no bias: the right one's does the same.
        left = layers.Dense(self._level, use_bias=False, kernel_initializer=INITIALIZER, name=f"{self.name}_left")(
            vector
        )
        output = self.dense(left, vector.shape[-1], "right")
        return vector + output if self._skip else output


class BottleNeckBlock(DenseBlock):
    """A fully connected layer of `size` units and one back to the width of the input; optionally plus the input."""

    def __init__(self, size: int = 32, skip: bool = False) -> None:
        super().__init__()
        self._size = size
        self._skip = skip

    def transform(self, vector: keras.KerasTensor) -> keras.KerasTensor:
        """See the class."""
        output = self.dense(self.dense(vector, self._size, "narrow"), vector.shape[-1], "wide")
        return vector + output if self._skip else output


class IdentityBlock(Block):
    """Passes on its input unchanged, whatever its rank."""

    def build(
        self,
        input_tensors: list[keras.KerasTensor],
        is_training: bool | None,
        lengths: keras.KerasTensor | None = None,
        hparams: BlockSettings | None = None,
    ) -> list[keras.KerasTensor]:
        """Appends the last tensor once more."""
        return [*input_tensors, input_tensors[-1]]

    @property
    def is_input_order_important(self) -> bool:
        """Never: it does not change its input."""
        return False
