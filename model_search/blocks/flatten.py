"""The flatten family: blocks that make a vector of a map, [height, width, channels].

Definitions are those of the archived system, for maps with the channels last, but for `GlobalPoolingFlatten`. Layers
are named after the block that makes them (`<block>_<part>`).
"""

from __future__ import annotations

import keras
from keras import layers, ops

from model_search.blocks.block import Block, BlockSettings
from model_search.errors import TrialError
from model_search.problem import MAP_RANK

INITIALIZER = "glorot_uniform"
# Maps with more channels than this are not made smaller by DOWNSAMPLE_FLATTEN.
MOST_CHANNELS = 300


class FlattenBase(Block):
    """Base of the family: a subclass defines `transform`."""

    def build(
        self,
        input_tensors: list[keras.KerasTensor],
        is_training: bool | None,
        lengths: keras.KerasTensor | None = None,
        hparams: BlockSettings | None = None,
    ) -> list[keras.KerasTensor]:
        """Appends a vector, float32 [batch, width]. A vector is passed on unchanged."""
        tensor = input_tensors[-1]
        return [*input_tensors, tensor if len(tensor.shape) == 2 else self.transform(tensor)]

    def transform(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
        """The block's output for an input of higher rank than a vector's."""
        raise NotImplementedError

    @property
    def is_input_order_important(self) -> bool:
        """Never: it comes after the blocks that read maps."""
        return False


class _MapFlatten(FlattenBase):
    """A flatten block that distinguishes height, width and channels."""

    def transform(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
        """See `reduce`."""
        if len(tensor.shape) != 1 + MAP_RANK:
            raise TrialError(
                f"The block {self.name} received a tensor of shape {tuple(tensor.shape)}; expected a map, "
                "[batch, height, width, channels], or a vector."
            )
        return self.reduce(tensor)

    def reduce(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
        """The block's output for a map, float32 [batch, height, width, channels]."""
        raise NotImplementedError


class FlattenBlock(FlattenBase):
    """All values of its input, of any rank, as one vector."""

    def transform(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
        """See the class."""
        return layers.Flatten(name=f"{self.name}_flatten")(tensor)


class PlateReductionFlatten(_MapFlatten):
    """The mean of every channel over height and width."""

    def reduce(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
        """See the class."""
        return layers.GlobalAveragePooling2D(name=f"{self.name}_mean")(tensor)


class GlobalPoolingFlatten(_MapFlatten):
    """The maximum of every channel over height and width; with `mean`, the mean of every channel before it."""

    def __init__(self, mean: bool = False) -> None:
        super().__init__()
        self._mean = mean

    def reduce(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
        """See the class."""
        maximum = layers.GlobalMaxPooling2D(name=f"{self.name}_maximum")(tensor)
        if not self._mean:
            return maximum
        return ops.concatenate([layers.GlobalAveragePooling2D(name=f"{self.name}_mean")(tensor), maximum], axis=-1)


class DownsampleFlattenBlock(_MapFlatten):
    """Convolutions of stride 2 that double the channels, each with a ReLU, until nothing is left to reduce; then flat.

    They end when the height or the width is 1, or there are more than 300 channels.

    Args:
        kernel_size: Height and width of the kernels, and the least height and width that are reduced.
        max_channels: The most channels of a convolution.
    """

    def __init__(self, kernel_size: int = 2, max_channels: int = 1000) -> None:
        super().__init__()
        self._kernel_size = kernel_size
        self._max_channels = max_channels

    def reduce(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
        """See the class."""
        number = 0
        while min(tensor.shape[1:3]) >= self._kernel_size and tensor.shape[3] <= MOST_CHANNELS:
            tensor = layers.Conv2D(
                min(tensor.shape[3] * 2, self._max_channels),
                self._kernel_size,
                strides=2,
                padding="same",
                activation="relu",
                kernel_initializer=INITIALIZER,
                name=f"{self.name}_convolution_{number}",
            )(tensor)
            number += 1
        return layers.Flatten(name=f"{self.name}_flatten")(tensor)
