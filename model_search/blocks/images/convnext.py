"""Blocks after Liu et al., "A ConvNet for the 2020s", CVPR 2022."""

from __future__ import annotations

import keras
from keras import layers

from model_search.blocks.block import BlockSettings
from model_search.blocks.images.map_block import INITIALIZER, MapBlock

KERNEL_SIZE = 7
EXPANSION = 4
EPSILON = 1e-6


class _ConvNext(MapBlock):
    """Base: layer normalisation of the channels at every place."""

    def layer_normalise(self, tensor: keras.KerasTensor) -> keras.KerasTensor:
        """Layer normalisation named `<block>_norm`; a single channel passes unchanged."""
        if tensor.shape[-1] == 1:
            return tensor
        return layers.LayerNormalization(epsilon=EPSILON, name=f"{self.name}_norm")(tensor)


class ConvNextBlock(_ConvNext):
    """x + f(x), where f is a depthwise 7x7 convolution, layer normalisation, and two 1x1 convolutions with a GELU.

    The article's scale of f(x) is left out: the last convolution's weights contain it.
    """

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        channels = tensor.shape[-1]
        inner = layers.DepthwiseConv2D(
            KERNEL_SIZE, padding="same", depthwise_initializer=INITIALIZER, name=f"{self.name}_depthwise"
        )(tensor)
        inner = self.convolve(self.layer_normalise(inner), EXPANSION * channels, 1, "expansion", activation="gelu")
        return tensor + self.convolve(inner, channels, 1, "projection", activation=None)


class ConvNextDownsampleBlock(_ConvNext):
    """Layer normalisation and a 2x2 convolution of stride 2 to twice the channels."""

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        channels = 2 * tensor.shape[-1]
        return self.convolve(self.layer_normalise(tensor), channels, 2, "convolution", strides=2, activation=None)
