"""Single convolutions, each with a ReLU. Definitions are those of the archived system unless stated otherwise."""

from __future__ import annotations

import keras

from model_search.blocks.block import BlockSettings
from model_search.blocks.images.map_block import MapBlock

KERNEL_SIZE = 3


class FixedChannelConvolutionBlock(MapBlock):
    """A 3x3 convolution with a fixed number of channels.

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
        return self.convolve(tensor, self._channels, KERNEL_SIZE, "convolution", strides=self._stride)


class ConvolutionBlock(MapBlock):
    """A convolution with as many channels as its input; `kernel_size` is its height and width."""

    def __init__(self, kernel_size: tuple[int, int] = (KERNEL_SIZE, KERNEL_SIZE)) -> None:
        super().__init__()
        self._kernel_size = kernel_size

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        return self.convolve(tensor, tensor.shape[-1], self._kernel_size, "convolution")


class IncreaseChannelsBlock(MapBlock):
    """A convolution with twice the channels of its input; `kernel_size` is its height and width."""

    def __init__(self, kernel_size: tuple[int, int] = (KERNEL_SIZE, KERNEL_SIZE)) -> None:
        super().__init__()
        self._kernel_size = kernel_size

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        return self.convolve(tensor, 2 * tensor.shape[-1], self._kernel_size, "convolution")


class DownsampleConvolutionBlock(MapBlock):
    """A convolution of stride 2 with twice the channels of its input; `kernel_size` is its height and width."""

    def __init__(self, kernel_size: tuple[int, int] = (KERNEL_SIZE, KERNEL_SIZE)) -> None:
        super().__init__()
        self._kernel_size = kernel_size

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        return self.convolve(tensor, 2 * tensor.shape[-1], self._kernel_size, "convolution", strides=2)


class DilatedConvolutionBlock(MapBlock):
    """A 3x3 convolution whose kernel is spread by `dilation_rate`, with as many channels as its input."""

    def __init__(self, dilation_rate: int = 2) -> None:
        super().__init__()
        self._dilation_rate = dilation_rate

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        rate = self._dilation_rate
        return self.convolve(tensor, tensor.shape[-1], KERNEL_SIZE, "convolution", dilation_rate=rate)


class TunableConvolutionBlock(MapBlock):
    """A convolution whose height, width, number of channels and stride are hyperparameters.

    Not in the archived system.
    """

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        height, width, number, stride = map(int, (hparams.height, hparams.width, hparams.number, hparams.stride))
        return self.convolve(tensor, number, (height, width), "convolution", strides=stride)
