"""ResNet18, ResNet34 and ResNet50 as blocks: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras
from keras import layers

from model_search.blocks.block import BlockSettings
from model_search.blocks.images.backbone import Backbone

STEM_KERNEL = 7
KERNEL_SIZE = 3
BOTTLENECK = 4  # channels that a bottleneck writes for each of its inner ones


class ResNetBackbone(Backbone):
    """A 7x7 convolution, max pooling, and four stages of residual units with batch normalisation after convolutions.

    A unit is two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1 to four times the channels. Where the channels
    or the size change, a 1x1 convolution stands for the input. Bottlenecks have their stride in the first convolution,
    and biases, as in the article and in `keras.applications.ResNet50`.

    Args:
        units: The number of units of each stage.
        bottleneck: Whether units are bottlenecks.
        channels: The (inner) channels of the first stage; each further one has twice as many.
    """

    epsilon = 1.001e-5

    def __init__(self, units: Sequence[int] = (2, 2, 2, 2), bottleneck: bool = False, channels: int = 64) -> None:
        super().__init__()
        self._units = units
        self._bottleneck = bottleneck
        self._channels = channels

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        strides = self.strides(tensor)
        tensor = self._padded(tensor, STEM_KERNEL, "stem")
        tensor = self.normalised(
            tensor,
            self._channels,
            STEM_KERNEL,
            "stem",
            strides=next(strides),
            padding="valid",
            use_bias=self._bottleneck,
            activation="relu",
        )
        if next(strides) > 1:
            padded = self._padded(tensor, KERNEL_SIZE, "pool")
            tensor = layers.MaxPooling2D(KERNEL_SIZE, strides=2, name=f"{self.name}_pool")(padded)
        for stage, count in enumerate(self._units):
            tensor = self._stage(tensor, stage, count, strides)
        return tensor

    def _padded(self, tensor: keras.KerasTensor, kernel_size: int, part: str) -> keras.KerasTensor:
        """Zeros around a map, as many on each side; "same" has fewer at the top and on the left."""
        return layers.ZeroPadding2D(kernel_size // 2, name=f"{self.name}_{part}_padding")(tensor)

    def _stage(self, tensor: keras.KerasTensor, stage: int, count: int, strides: Iterator[int]) -> keras.KerasTensor:
        channels = self._channels * 2**stage
        for unit in range(count):
            stride = next(strides) if stage and not unit else 1
            tensor = self._unit(tensor, channels, stride, f"{stage}_{unit}")
        return tensor

    def _unit(self, tensor: keras.KerasTensor, channels: int, stride: int, part: str) -> keras.KerasTensor:
        written = channels * (BOTTLENECK if self._bottleneck else 1)
        bias = self._bottleneck
        shortcut = tensor
        if stride > 1 or tensor.shape[-1] != written:
            shortcut = self.normalised(tensor, written, 1, f"{part}_shortcut", strides=stride, use_bias=bias)
        if self._bottleneck:
            inner = self.normalised(tensor, channels, 1, f"{part}_a", strides=stride, use_bias=bias, activation="relu")
            inner = self.normalised(inner, channels, KERNEL_SIZE, f"{part}_b", use_bias=bias, activation="relu")
            inner = self.normalised(inner, written, 1, f"{part}_c", use_bias=bias)
        else:
            padded = self._padded(tensor, KERNEL_SIZE, f"{part}_a")
            inner = self.normalised(
                padded, channels, KERNEL_SIZE, f"{part}_a", strides=stride, padding="valid", activation="relu"
            )
            inner = self.normalised(inner, channels, KERNEL_SIZE, f"{part}_b")
        return self.activated(layers.Add(name=f"{self.name}_{part}_sum")([shortcut, inner]), "relu", part)
