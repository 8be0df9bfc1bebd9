"""The base of backbones: whole networks from the literature as one block, from a map to a smaller one.

A backbone ends before the pooling of the article, so that a flatten block and dense blocks can follow. Its weights have
the shapes that they have in the article, whatever the size of the map, and are those of `keras.applications` where it
has the network. Initial weights are Glorot-uniform; batch normalisation has a momentum of 0.9, since trials are short.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
from keras import layers

from model_search.blocks.images.map_block import INITIALIZER, MapBlock

SMALLEST = 4  # height and width of its output, where the input is not smaller than that
HALVINGS = 5  # by how many powers of two a backbone makes a large map smaller


class Backbone(MapBlock):
    """Base: convolutions with batch normalisation, and strides that fit the size of the map."""

    epsilon = 1e-3

    def strides(self, tensor: keras.KerasTensor) -> Iterator[int]:
        """The strides of the places at which the network of the article halves the map, from the first one on.

        A map that is too small for all of them is halved at the last ones only, so that at least 4x4 places remain.
        """
        smallest = min(tensor.shape[1:3])
        kept = sum(-(-smallest // 2**count) >= SMALLEST for count in range(1, HALVINGS + 1))
        yield from [1] * (HALVINGS - kept) + [2] * kept

    def normalised(
        self, tensor: keras.KerasTensor, channels: int, kernel_size: int, part: str, **others: Any
    ) -> keras.KerasTensor:
        """A convolution named `<block>_<part>`, batch normalisation and the activation.

        Args:
            tensor: A map.
            channels: The number of channels of the output; 0 for a depthwise convolution, which keeps them.
            kernel_size: Height and width of the kernel.
            part: Name of the convolution.
            others: `strides` (1), `padding` ("same"), `use_bias` (False), `activation` (none).
        """
        activation = others.pop("activation", None)
        options: dict[str, Any] = {"padding": "same", "use_bias": False, "name": f"{self.name}_{part}"} | others
        if channels:
            convolution = layers.Conv2D(channels, kernel_size, kernel_initializer=INITIALIZER, **options)
        else:
            convolution = layers.DepthwiseConv2D(kernel_size, depthwise_initializer=INITIALIZER, **options)
        norm = layers.BatchNormalization(momentum=0.9, epsilon=self.epsilon, name=f"{self.name}_{part}_norm")
        output = norm(convolution(tensor))
        return output if activation is None else self.activated(output, activation, part)

    def activated(self, tensor: keras.KerasTensor, activation: str, part: str) -> keras.KerasTensor:
        """An activation named `<block>_<part>_<activation>`."""
        return layers.Activation(activation, name=f"{self.name}_{part}_{activation}")(tensor)
