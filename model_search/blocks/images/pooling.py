"""Pooling of maps: within windows, as in the archived system, and of whole maps to vectors."""

from __future__ import annotations

import keras
from keras import layers

from model_search.blocks.block import BlockSettings
from model_search.blocks.images.map_block import MapBlock


class AveragePoolBlock(MapBlock):
    """The mean of every window; a map that is smaller than the window passes unchanged.

    Args:
        pool_size: Height and width of the windows, which do not overlap.
    """

    def __init__(self, pool_size: tuple[int, int] = (2, 2)) -> None:
        super().__init__()
        self._pool_size = pool_size

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        if is_smaller(tensor, self._pool_size):
            return tensor
        return layers.AveragePooling2D(self._pool_size, padding="same", name=f"{self.name}_mean")(tensor)


class MaxPoolingBlock(MapBlock):
    """The maximum of every window; a map that is smaller than the window passes unchanged.

    Args:
        pool_size: Height and width of the windows, which do not overlap.
    """

    def __init__(self, pool_size: tuple[int, int] = (2, 2)) -> None:
        super().__init__()
        self._pool_size = pool_size

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        if is_smaller(tensor, self._pool_size):
            return tensor
        return layers.MaxPooling2D(self._pool_size, padding="same", name=f"{self.name}_maximum")(tensor)


def is_smaller(tensor: keras.KerasTensor, window: tuple[int, int]) -> bool:
    """Whether a map is lower or narrower than a window."""
    height, width = tensor.shape[1:3]
    return bool(height < window[0] or width < window[1])
