"""What training a tower costs, estimated from its layers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import keras

_BACKWARD = 2  # passes through the tower for each pass forwards


def training_operations(model: keras.Model) -> float:
    """Floating-point operations of an update, for each row of the batch: products of weights and what they meet.

    A weight matrix, or a kernel, meets every position of its layer's output: a pixel, a step. What has no weights costs
    little beside it and is left out.
    """
    return 2.0 * (1 + _BACKWARD) * sum(_products(layer) for layer in _layers(model))


def training_bytes(model: keras.Model, batch_size: int) -> int:
    """Memory of an update: weights, gradients and two slots, and every layer's output for the backward pass."""
    outputs = sum(_values(tensor) for layer in _layers(model) for tensor in _outputs(layer))
    return 4 * (4 * model.count_params() + batch_size * outputs)


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a model and of the models within it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


def _products(layer: keras.layers.Layer) -> int:
    weights = sum(math.prod(weight.shape) for weight in layer.trainable_weights if len(weight.shape) > 1)
    return weights * max((_positions(layer, tensor) for tensor in _outputs(layer)), default=0) if weights else 0


def _positions(layer: keras.layers.Layer, output: keras.KerasTensor) -> int:
    if isinstance(layer, keras.layers.RNN):
        sequence = layer._inbound_nodes[0].input_tensors[0]  # a mask may be another input
        return int(sequence.shape[1] or 1)
    return math.prod(size or 1 for size in output.shape[1:-1])


def _outputs(layer: keras.layers.Layer) -> list[keras.KerasTensor]:
    return [tensor for node in layer._inbound_nodes for tensor in node.output_tensors]


def _values(tensor: keras.KerasTensor) -> int:
    return math.prod(size or 1 for size in tensor.shape[1:])
