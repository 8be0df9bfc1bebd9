"""The residual and the multi-branch blocks of the archived system. None of them normalises."""

from __future__ import annotations

import keras
from keras import layers, ops

from model_search.blocks.block import BlockSettings
from model_search.blocks.images.map_block import MapBlock

# GENERAL_BLOCK passes a map with fewer channels unchanged.
FEWEST_CHANNELS = 6


class _Residual(MapBlock):
    """Base of blocks with branches of two convolutions."""

    def branch(
        self, tensor: keras.KerasTensor, channels: int, kernel_size: int | tuple[int, int], part: str
    ) -> keras.KerasTensor:
        """Two convolutions with a ReLU in between."""
        inner = self.convolve(tensor, channels, kernel_size, f"{part}_0")
        return self.convolve(inner, channels, kernel_size, f"{part}_1", activation=None)

    def relu(self, tensor: keras.KerasTensor, part: str = "relu") -> keras.KerasTensor:
        """A ReLU named `<block>_<part>`."""
        return layers.ReLU(name=f"{self.name}_{part}")(tensor)


class ResnetBlock(_Residual):
    """relu(x + f(x)), where f is two convolutions with a ReLU in between, with as many channels as x.

    After He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, without batch normalisation.

    Args:
        kernel_size: Height and width of the kernels.
    """

    def __init__(self, kernel_size: tuple[int, int] = (3, 3)) -> None:
        super().__init__()
        self._kernel_size = kernel_size

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        return self.relu(tensor + self.branch(tensor, tensor.shape[-1], self._kernel_size, "convolution"))


class DualResnetBlock(_Residual):
    """relu(x + f(x) / 2 + g(x) / 2), where f and g are as in `ResnetBlock`."""

    def __init__(self, kernel_size: int = 3) -> None:
        super().__init__()
        self._kernel_size = kernel_size

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        first, second = (self.branch(tensor, tensor.shape[-1], self._kernel_size, part) for part in ("first", "second"))
        return self.relu(tensor + (first + second) * 0.5)


class GeneralBlock(_Residual):
    """Five branches side by side on a 1x1 convolution r to a fifth of the channels, then a ReLU.

    The branches are r itself, two of two convolutions, one of mean pooling and one of maximum pooling, each with a
    convolution after it; all but the first read relu(r). A map with fewer than 6 channels passes unchanged.
    """

    def __init__(self, kernel_size: int = 3) -> None:
        super().__init__()
        self._kernel_size = kernel_size

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        if tensor.shape[-1] < FEWEST_CHANNELS:
            return tensor
        size, channels = self._kernel_size, tensor.shape[-1] // 5
        reduced = self.convolve(tensor, channels, 1, "reduction", activation=None)
        active = self.relu(reduced, "reduction_relu")
        pools = {"mean": layers.AveragePooling2D, "maximum": layers.MaxPooling2D}
        pooled = {
            part: pool(size, strides=1, padding="same", name=f"{self.name}_{part}")(active)
            for part, pool in pools.items()
        }
        branches = [
            *(self.branch(active, channels, size, part) for part in ("first", "second")),
            *(self.convolve(x, channels, size, f"{part}_convolution", activation=None) for part, x in pooled.items()),
            reduced,
        ]
        return self.relu(ops.concatenate(branches, axis=-1))
