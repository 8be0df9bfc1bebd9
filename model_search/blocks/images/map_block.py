"""The base of blocks that read maps, [height, width, channels], with the channels last."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from model_search.blocks.block import Block, BlockSettings
from model_search.errors import TrialError
from model_search.problem import MAP_RANK

ACTIVATION = "relu"
INITIALIZER = "glorot_uniform"


class MapBlock(Block):
    """Base of the families: a subclass defines `transform`. Layers are named after the block that makes them."""

    def build(
        self,
        input_tensors: list[keras.KerasTensor],
        is_training: bool | None,
        lengths: keras.KerasTensor | None = None,
        hparams: BlockSettings | None = None,
    ) -> list[keras.KerasTensor]:
        """Appends the transformed last tensor.

        Raises:
            TrialError: if that is no map, float32 [batch, height, width, channels].
        """
        tensor = input_tensors[-1]
        if len(tensor.shape) != 1 + MAP_RANK:
            raise TrialError(
                f"The block {self.name} received a tensor of shape {tuple(tensor.shape)}; expected a map, "
                "[batch, height, width, channels]. Put it before the blocks that flatten."
            )
        return [*input_tensors, self.transform(tensor, hparams or BlockSettings())]

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """The block's output for a map, float32 [batch, height, width, channels]."""
        raise NotImplementedError

    def convolve(
        self, tensor: keras.KerasTensor, channels: int, kernel_size: int | tuple[int, int], part: str, **others: Any
    ) -> keras.KerasTensor:
        """A convolution named `<block>_<part>`, padded so that the size stays; with a ReLU unless told otherwise."""
        options: dict[str, Any] = {"padding": "same", "activation": ACTIVATION, "kernel_initializer": INITIALIZER}
        return layers.Conv2D(channels, kernel_size, name=f"{self.name}_{part}", **(options | others))(tensor)

    def normalise(self, tensor: keras.KerasTensor, part: str, activation: str | None = ACTIVATION) -> keras.KerasTensor:
        """Batch normalisation named `<block>_<part>`, then the activation.

        Its moving averages have a momentum of 0.9: trials are short.
        """
        normal = layers.BatchNormalization(momentum=0.9, name=f"{self.name}_{part}")(tensor)
        if activation is None:
            return normal
        return layers.Activation(activation, name=f"{self.name}_{part}_{activation}")(normal)
