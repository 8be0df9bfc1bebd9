"""The operations on an edge of a normal or a reduction cell, with stock Keras layers.

Each keeps height and width. Convolutions are a ReLU, the convolution without a bias, and batch normalisation, as in
Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition", CVPR 2018. Departures: a separable
convolution is applied once, not twice, and a dilated one is not separable.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

INITIALIZER = "glorot_uniform"
MOMENTUM = 0.9  # of the moving averages of batch normalisation: trials are short

# Kernel size and dilation of each convolution, and whether it is separable.
CONVOLUTIONS = {
    "CELL_CONVOLUTION_1X1": (1, 1, False),
    "CELL_CONVOLUTION_3X3": (3, 1, False),
    "CELL_SEPARABLE_CONVOLUTION_3X3": (3, 1, True),
    "CELL_SEPARABLE_CONVOLUTION_5X5": (5, 1, True),
    "CELL_DILATED_CONVOLUTION_3X3": (3, 2, False),
}
POOL_SIZE = 3
_POOLS = {"CELL_AVERAGE_POOLING_3X3": layers.AveragePooling2D, "CELL_MAX_POOLING_3X3": layers.MaxPooling2D}


def short_name(operation: str) -> str:
    """The operation as a part of the name of a layer."""
    return operation.removeprefix("CELL_").lower()


def apply_operation(operation: str, tensor: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """What an edge makes of a map, float32 [batch, height, width, channels], of the same shape.

    Args:
        operation: Name of the operation, one of `cells.MAP_OPERATIONS`.
        tensor: The map.
        name: What the names of its layers begin with.
    """
    if operation in _POOLS:
        return _POOLS[operation](POOL_SIZE, strides=1, padding="same", name=name)(tensor)
    if operation not in CONVOLUTIONS:
        return tensor
    size, dilation, separable = CONVOLUTIONS[operation]
    channels = tensor.shape[-1]
    options: dict[str, Any] = {"padding": "same", "use_bias": False}
    tensor = layers.ReLU(name=f"{name}_relu")(tensor)
    if separable:
        tensor = layers.DepthwiseConv2D(size, depthwise_initializer=INITIALIZER, name=f"{name}_depthwise", **options)(
            tensor
        )
        size = 1
    tensor = layers.Conv2D(
        channels, size, dilation_rate=dilation, kernel_initializer=INITIALIZER, name=f"{name}_convolution", **options
    )(tensor)
    return normalised(tensor, name)


def normalised(tensor: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Batch normalisation named `<name>_norm`."""
    return layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")(tensor)
