"""From the layers of a macro tower to its output.

After Zoph and Le, "Neural Architecture Search with Reinforcement Learning", ICLR 2017: what a layer reads is put side
by side in depth, small maps with zeros around them where sizes differ; a layer that reads none reads the picture; the
outputs that nobody reads are put side by side at the end. Each convolution is followed by batch normalisation and a
ReLU.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from model_search.blocks.cells.operations import INITIALIZER, normalised
from model_search.macro import Layer, ends_of


def macro_tensor(tensor: keras.KerasTensor, tower: Sequence[Layer], prefix: str) -> keras.KerasTensor:
    """The output of a macro tower, float32 [batch, height, width, channels].

    Args:
        tensor: The picture, float32 [batch, height, width, channels].
        tower: Its layers.
        prefix: What the names of all layers begin with.
    """
    outputs: list[keras.KerasTensor] = []
    for number, layer in enumerate(tower):
        name = f"{prefix}macro_{number}"
        read = [outputs[earlier] for earlier in layer.inputs] or [tensor]
        convolved = layers.Conv2D(
            layer.filters,
            (layer.height, layer.width),
            strides=layer.stride,
            padding="same",
            use_bias=False,
            kernel_initializer=INITIALIZER,
            name=f"{name}_convolution",
        )(_side_by_side(read, name))
        outputs.append(layers.ReLU(name=f"{name}_relu")(normalised(convolved, name)))
    return _side_by_side([outputs[end] for end in ends_of(tower)], f"{prefix}macro_output")


def _side_by_side(tensors: Sequence[keras.KerasTensor], name: str) -> keras.KerasTensor:
    """Maps put together in depth, each with zeros around it up to the largest height and width."""
    if len(tensors) == 1:
        return tensors[0]
    height, width = (max(tensor.shape[axis] for tensor in tensors) for axis in (1, 2))
    padded = [_padded(tensor, (height, width), f"{name}_padding_{number}") for number, tensor in enumerate(tensors)]
    return layers.Concatenate(name=f"{name}_inputs")(padded)


def _padded(tensor: keras.KerasTensor, size: tuple[int, int], name: str) -> keras.KerasTensor:
    missing = (size[0] - tensor.shape[1], size[1] - tensor.shape[2])
    if not any(missing):
        return tensor
    around = tuple((count // 2, count - count // 2) for count in missing)
    return layers.ZeroPadding2D(around, name=name)(tensor)
