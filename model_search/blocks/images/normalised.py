"""Normalised convolutions: VGG-like, pre-activation ResNet, DenseNet.

Batch normalisation follows Ioffe and Szegedy, "Batch Normalization", ICML 2015.
"""

from __future__ import annotations

import math

import keras
from keras import layers, ops

from model_search.blocks.block import BlockSettings
from model_search.blocks.images.map_block import MapBlock
from model_search.blocks.images.pooling import is_smaller

KERNEL_SIZE = 3


class BatchNormConvolutionBlock(MapBlock):
    """A 3x3 convolution, batch normalisation and a ReLU.

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
        output = self.convolve(
            tensor, self._channels, KERNEL_SIZE, "convolution", strides=self._stride, activation=None, use_bias=False
        )
        return self.normalise(output, "norm")


class PreactivationResnetBlock(MapBlock):
    """x + f(x), where f is twice batch normalisation, a ReLU and a 3x3 convolution.

    Where the channels or the size change, a 1x1 convolution of the first ReLU's output stands for x. After He et al.,
    "Identity Mappings in Deep Residual Networks", ECCV 2016.

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
        linear = {"activation": None, "use_bias": False}
        active = self.normalise(tensor, "norm_0")
        output = self.convolve(active, self._channels, KERNEL_SIZE, "convolution_0", strides=self._stride, **linear)
        output = self.convolve(self.normalise(output, "norm_1"), self._channels, KERNEL_SIZE, "convolution_1", **linear)
        if self._stride > 1 or tensor.shape[-1] != self._channels:
            tensor = self.convolve(active, self._channels, 1, "projection", strides=self._stride, **linear)
        return tensor + output


class DenseNetBlock(MapBlock):
    """Layers of batch normalisation, a ReLU and a 3x3 convolution, each of which reads all maps before it.

    After Huang et al., "Densely Connected Convolutional Networks", CVPR 2017, without bottlenecks.

    Args:
        growth: The number of channels that each layer adds.
        number: The number of layers.
    """

    def __init__(self, growth: int = 12, number: int = 4) -> None:
        super().__init__()
        self._growth = growth
        self._number = number

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        for layer in range(self._number):
            added = self.convolve(
                self.normalise(tensor, f"norm_{layer}"),
                self._growth,
                KERNEL_SIZE,
                f"convolution_{layer}",
                activation=None,
                use_bias=False,
            )
            tensor = ops.concatenate([tensor, added], axis=-1)
        return tensor


class DenseNetTransitionBlock(MapBlock):
    """Batch normalisation, a ReLU, a 1x1 convolution to half the channels, and the mean of 2x2 windows.

    A map that is smaller than a window keeps its size. From the article of `DenseNetBlock`.
    """

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        output = self.convolve(
            self.normalise(tensor, "norm"),
            max(tensor.shape[-1] // 2, 1),
            1,
            "convolution",
            activation=None,
            use_bias=False,
        )
        if is_smaller(output, (2, 2)):
            return output
        return layers.AveragePooling2D(2, padding="same", name=f"{self.name}_mean")(output)


class GroupNormalizationBlock(MapBlock):
    """Normalises each row by itself, in groups of channels.

    After Wu and He, "Group Normalization", ECCV 2018.

    Args:
        groups: Number of groups; the greatest divisor that it shares with the number of channels is taken.
    """

    def __init__(self, groups: int = 8) -> None:
        super().__init__()
        self._groups = groups

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        groups = math.gcd(self._groups, tensor.shape[-1])
        return layers.GroupNormalization(groups, name=f"{self.name}_norm")(tensor)
