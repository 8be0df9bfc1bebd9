"""Cheap convolutions: depthwise separable ones, inverted residuals, squeeze and excitation."""

from __future__ import annotations

import keras
from keras import layers

from model_search.blocks.block import BlockSettings
from model_search.blocks.images.map_block import INITIALIZER, MapBlock

KERNEL_SIZE = 3
EXPANSION = 4  # inner channels of an inverted residual for each channel of its input; 6 in the article
SQUEEZE = 4  # channels for each one that squeeze and excitation keep


class _Mobile(MapBlock):
    """Base: depthwise convolutions, and linear ones."""

    def depthwise(self, tensor: keras.KerasTensor, stride: int, activation: str) -> keras.KerasTensor:
        """A 3x3 convolution of every channel by itself, batch normalisation and the activation."""
        output = layers.DepthwiseConv2D(
            KERNEL_SIZE,
            strides=stride,
            padding="same",
            use_bias=False,
            depthwise_initializer=INITIALIZER,
            name=f"{self.name}_depthwise",
        )(tensor)
        return self.normalise(output, "depthwise_norm", activation)

    def pointwise(
        self, tensor: keras.KerasTensor, channels: int, part: str, activation: str | None
    ) -> keras.KerasTensor:
        """A 1x1 convolution, batch normalisation and the activation."""
        output = self.convolve(tensor, channels, 1, part, activation=None, use_bias=False)
        return self.normalise(output, f"{part}_norm", activation)

    def squeeze_and_excite(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
        """Every channel times a factor from 0 to 1 that depends on the means of all channels."""
        channels = tensor.shape[-1]
        means = layers.GlobalAveragePooling2D(keepdims=True, name=f"{self.name}_means")(tensor)
        squeezed = self.convolve(means, max(channels // SQUEEZE, 4), 1, "squeeze")
        return tensor * self.convolve(squeezed, channels, 1, "excitation", activation="hard_sigmoid")


class SeparableConvolutionBlock(_Mobile):
    """A depthwise 3x3 and a 1x1 convolution, each with batch normalisation and a ReLU.

    After Howard et al., "MobileNets", arXiv 1704.04861, 2017.

    Args:
        channels: The number of channels of its output.
        stride: Height and width are divided by it, rounded up.
    """

    def __init__(self, channels: int = 64, stride: int = 1) -> None:
        super().__init__()
        self._channels = channels
        self._stride = stride

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        return self.pointwise(self.depthwise(tensor, self._stride, "relu"), self._channels, "pointwise", "relu")


class InvertedResidualBlock(_Mobile):
    """A 1x1 convolution to four times the channels, a depthwise 3x3 one, and a linear 1x1 one; plus x where it fits.

    After Sandler et al., "MobileNetV2", CVPR 2018; with squeeze and excitation and hard swish after Howard et al.,
    "Searching for MobileNetV3", ICCV 2019.

    Args:
        channels: The number of channels of its output. The input is added if it has as many and the stride is 1.
        stride: Height and width are divided by it, rounded up.
        squeeze: Whether the inner channels are weighted by squeeze and excitation, with hard swish for ReLU6.
    """

    def __init__(self, channels: int = 32, stride: int = 1, squeeze: bool = False) -> None:
        super().__init__()
        self._channels = channels
        self._stride = stride
        self._squeeze = squeeze

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        activation = "hard_silu" if self._squeeze else "relu6"
        inner = self.pointwise(tensor, EXPANSION * tensor.shape[-1], "expansion", activation)
        inner = self.depthwise(inner, self._stride, activation)
        if self._squeeze:
            inner = self.squeeze_and_excite(inner)
        output = self.pointwise(inner, self._channels, "projection", None)
        is_same = self._stride == 1 and tensor.shape[-1] == self._channels
        return tensor + output if is_same else output


class SqueezeExcitationBlock(_Mobile):
    """Every channel times a factor from 0 to 1 that depends on the means of all channels.

    After Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018.
    """

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        return self.squeeze_and_excite(tensor)
