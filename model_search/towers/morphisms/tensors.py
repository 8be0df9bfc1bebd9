"""How Keras tensors were made, and what is known of their values."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from model_search.errors import NoMorphismError

Channels = np.ndarray
"""For each channel (place on the last axis) of a tensor, the channel of another tensor that it equals; -1 for none."""

NEW = -1
Weights = dict[int, np.ndarray]
"""Values of variables by their `id`."""

_NOT_NEGATIVE = frozenset({"relu", "relu6", "sigmoid", "softplus", "softmax", "hard_sigmoid"})
_FUNCTIONS = frozenset({"Relu", "Relu6", "Gelu", "Tanh", "Sigmoid", "Silu", "Softplus"})  # keras.ops, by class
_ZERO_AT_ZERO = frozenset(
    {"linear", "relu", "relu6", "tanh", "gelu", "silu", "swish", "elu", "selu", "leaky_relu", "hard_silu", "softsign"}
)
POOLINGS = (
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
)
UNCHANGED = (layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.GaussianNoise)  # in inference
CONVOLUTIONS = (layers.Conv1D, layers.Conv2D)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
ADDITIONS = ("Add", "Subtract")


def values_of(variable: Any) -> np.ndarray:
    """A copy of a variable's values."""
    return np.copy(variable.numpy())


def made_by(tensor: keras.KerasTensor) -> tuple[Any, list[keras.KerasTensor]]:
    """The operation that a tensor is the output of, and the tensors that it reads."""
    operation, node, _ = tensor._keras_history
    return operation, list(operation._inbound_nodes[node].input_tensors)


def settings_of(operation: Any, tensor: keras.KerasTensor) -> Any:
    """The arguments of the call that made a tensor, tensors left out."""
    node = operation._inbound_nodes[tensor._keras_history[1]]
    return _without_tensors((node.arguments.args, node.arguments.kwargs))


def _without_tensors(value: Any) -> Any:
    if isinstance(value, keras.KerasTensor):
        return "a tensor"
    if isinstance(value, dict):
        return {key: _without_tensors(one) for key, one in sorted(value.items())}
    if isinstance(value, list | tuple):
        return tuple(_without_tensors(one) for one in value)
    return repr(value)


def kind_of(operation: Any) -> str:
    """The name of an operation's class; layers that add are like the operation."""
    return type(operation).__name__


def activation_of(operation: Any) -> str:
    """The name of an operation's activation; "linear" where it has none."""
    if isinstance(operation, layers.ReLU):
        plain = operation.max_value is None and not operation.negative_slope and not operation.threshold
        return "relu" if plain else "another"
    if kind_of(operation) in _FUNCTIONS:
        return kind_of(operation).lower()
    found = getattr(operation, "activation", None)
    return "linear" if found is None else str(getattr(found, "__name__", "another"))


def keeps_zero(operation: Any) -> bool:
    """Whether the operation's activation is 0 at 0."""
    return activation_of(operation) in _ZERO_AT_ZERO


def is_activation(operation: Any) -> bool:
    """Whether an operation applies a function to each value by itself."""
    return isinstance(operation, layers.Activation | layers.ReLU) or kind_of(operation) in _FUNCTIONS


def is_never_negative(tensor: keras.KerasTensor) -> bool:
    """Whether none of a tensor's values can be below zero."""
    operation, inputs = made_by(tensor)
    if isinstance(operation, layers.Normalization | layers.BatchNormalization) or not inputs:
        return False
    if activation_of(operation) in _NOT_NEGATIVE:
        return True
    passes = (*UNCHANGED, *POOLINGS, layers.Flatten, layers.Reshape, layers.Concatenate, layers.Add)
    if isinstance(operation, passes) or kind_of(operation) in ("Add", "Concatenate", "Reshape", "Pad", "GetItem"):
        return all(is_never_negative(one) for one in inputs)
    return False


def leaves_channels(operation: Any, tensor: keras.KerasTensor) -> bool:
    """Whether an operation leaves the last axis as it is: picks, turns or adds up steps or places."""
    read = made_by(tensor)[1]
    if len(read) != 1 or width(read[0]) != width(tensor):
        return False
    rank = len(read[0].shape)
    if kind_of(operation) == "GetItem":
        key = operation._inbound_nodes[tensor._keras_history[1]].arguments.args[1]
        places = key if isinstance(key, tuple) else (key,)
        return Ellipsis not in places and (len(places) < rank or places[-1] == slice(None))
    axis = getattr(operation, "axis", None)
    axes = axis if isinstance(axis, list | tuple) else [axis]
    return kind_of(operation) in ("Flip", "Sum", "Mean", "Max") and not {None, -1, rank - 1}.intersection(axes)


def width(tensor: keras.KerasTensor) -> int:
    """Channels of a tensor.

    Raises:
        NoMorphismError: if its last axis has no fixed size: it counts steps, say.
    """
    size = tensor.shape[-1]
    if size is None:
        raise NoMorphismError(f"{tensor.name} has no channels of a fixed number")
    return int(size)


def same(tensor: keras.KerasTensor) -> Channels:
    """Each channel is itself."""
    return np.arange(width(tensor))


def is_same(channels: Channels) -> bool:
    """Whether each channel is the one of the same number."""
    return bool((channels == np.arange(len(channels))).all())


def centre(layer: Any, axis: int) -> int:
    """The tap of a convolution that reads the output's own place, along one axis.

    Raises:
        NoMorphismError: if there is none.
    """
    size, rate = layer.kernel_size[axis], layer.dilation_rate[axis]
    if layer.padding == "causal":
        return int(size - 1)
    before = rate * (size - 1) // 2
    if layer.padding != "same" or layer.strides[axis] != 1 or before % rate:
        raise NoMorphismError(f"{layer.name} has no tap that reads its own place")
    return int(before // rate)
