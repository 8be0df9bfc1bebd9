"""Weights with which a block changes nothing: identities, and branches that add zero (Net2DeeperNet, and skips)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from model_search.errors import NoMorphismError
from model_search.towers.morphisms.tensors import (
    ADDITIONS,
    CONVOLUTIONS,
    DEPTHWISE,
    NEW,
    POOLINGS,
    SEPARABLE,
    UNCHANGED,
    Channels,
    Weights,
    activation_of,
    centre,
    is_activation,
    is_never_negative,
    keeps_zero,
    kind_of,
    made_by,
    same,
    values_of,
    width,
)

_RECURRENT = (layers.LSTM, layers.GRU, layers.SimpleRNN)
_CANDIDATE = {layers.LSTM: (2, 4), layers.GRU: (2, 3), layers.SimpleRNN: (0, 1)}  # its place, of how many parts


class Insertion:
    """Finds weights with which the output of a block is its input, in inference mode.

    A branch that is added to the input is made zero by its last layer; what comes in sequence is made the identity.
    Channels that the block adds stay as they are, and are marked as new. In training mode, batch normalisation in
    sequence is the identity once `normalisations` have learnt the statistics of what they read.

    Attributes:
        weights: The values found, by the `id` of their variable.
        normalisations: Layers of batch normalisation that are to be the identity.
    """

    def __init__(self, begin: keras.KerasTensor) -> None:
        self._begin = begin
        self.weights: Weights = {}
        self.normalisations: list[layers.BatchNormalization] = []

    def channels(self, end: keras.KerasTensor) -> Channels:
        """For each channel of the block's output, the channel of its input that it equals, or -1.

        Raises:
            NoMorphismError: if the block cannot be made to change nothing.
        """
        if end is self._begin:
            return same(end)
        operation, inputs = made_by(end)
        kind = kind_of(operation)
        if isinstance(operation, layers.Dense):
            return self._dense(operation, self.channels(inputs[0]))
        if isinstance(operation, CONVOLUTIONS) and not isinstance(operation, DEPTHWISE + SEPARABLE):
            return self._convolution(operation, self.channels(inputs[0]))
        if isinstance(operation, DEPTHWISE):
            return self._depthwise(operation, self.channels(inputs[0]))
        if isinstance(operation, layers.BatchNormalization):
            return self._normalisation(operation, self.channels(inputs[0]))
        if is_activation(operation):
            self._check_activation(operation)
            return self.channels(inputs[0])
        if isinstance(operation, UNCHANGED) or (kind in ("Reshape", "Flatten") and end.shape == inputs[0].shape):
            return self.channels(inputs[0])
        if kind in ADDITIONS and len(inputs) > 1:
            return self._sum(kind, inputs)
        if kind == "Concatenate":
            return np.concatenate([self._or_new(one) for one in inputs])
        raise NoMorphismError(f"{operation.name} ({kind}) cannot be the identity")

    def _sum(self, kind: str, inputs: list[keras.KerasTensor]) -> Channels:
        """One part is the identity, the others are zero."""
        carriers = inputs[:1] if kind == "Subtract" else sorted(inputs, key=lambda one: one is not self._begin)
        reasons = []
        for carrier in carriers:
            kept, normalisations = dict(self.weights), list(self.normalisations)
            try:
                found = self.channels(carrier)
                for other in inputs:
                    if other is not carrier:
                        self._zero(other)
                return found
            except NoMorphismError as error:
                self.weights, self.normalisations = kept, normalisations
                reasons.append(str(error))
        raise NoMorphismError(reasons[0])

    def _or_new(self, tensor: keras.KerasTensor) -> Channels:
        kept, normalisations = dict(self.weights), list(self.normalisations)
        try:
            return self.channels(tensor)
        except NoMorphismError:
            self.weights, self.normalisations = kept, normalisations
            return np.full(width(tensor), NEW)

    def _dense(self, layer: layers.Dense, read: Channels) -> Channels:
        kernel, written = self._identity(layer, read)
        self._set(layer.kernel, kernel)
        return written

    def _convolution(self, layer: Any, read: Channels) -> Channels:
        if layer.groups != 1:
            raise NoMorphismError(f"{layer.name} reads groups of channels")
        tap = tuple(centre(layer, axis) for axis in range(len(layer.kernel_size)))
        matrix, written = self._identity(layer, read)
        kernel = values_of(layer.kernel)
        known = written != NEW
        kernel[..., known] = 0
        kernel[tap][:, known] = matrix[:, known]
        self._set(layer.kernel, kernel)
        return written

    def _identity(self, layer: Any, read: Channels) -> tuple[np.ndarray, Channels]:
        """A matrix [in, out] whose first outputs are the block's input; the columns beside them stay as they are."""
        self._check_activation(layer)
        kernel = values_of(layer.kernel)
        kernel = kernel.reshape(-1, *kernel.shape[-2:])[0]
        needed, count = width(self._begin), kernel.shape[1]
        if needed > count:
            raise NoMorphismError(f"{layer.name} has {count} outputs for the {needed} channels of its block's input")
        for channel in range(needed):
            source = np.flatnonzero(read == channel)
            if not len(source):
                raise NoMorphismError(f"{layer.name} does not read all channels of its block's input")
            kernel[:, channel] = 0
            kernel[source[0], channel] = 1
        if layer.bias is not None:
            bias = values_of(layer.bias)
            bias[:needed] = 0
            self._set(layer.bias, bias)
        return kernel, np.concatenate([np.arange(needed), np.full(count - needed, NEW)])

    def _depthwise(self, layer: Any, read: Channels) -> Channels:
        if layer.depth_multiplier != 1:
            raise NoMorphismError(f"{layer.name} has more than one output for a channel")
        self._check_activation(layer)
        kernel = np.zeros(layer.kernel.shape, dtype="float32")
        kernel[tuple(centre(layer, axis) for axis in range(len(layer.kernel_size)))] = 1
        self._set(layer.kernel, kernel)
        if layer.bias is not None:
            self._set(layer.bias, np.zeros(layer.bias.shape, dtype="float32"))
        return read

    def _normalisation(self, layer: layers.BatchNormalization, read: Channels) -> Channels:
        if layer.gamma is None or layer.beta is None:
            raise NoMorphismError(f"{layer.name} has no scale or no centre")
        self._set(layer.gamma, np.sqrt(values_of(layer.moving_variance) + layer.epsilon))
        self._set(layer.beta, values_of(layer.moving_mean))
        self.normalisations.append(layer)
        return read

    def _check_activation(self, operation: Any) -> None:
        name = activation_of(operation)
        if name == "linear" or (name == "relu" and is_never_negative(self._begin)):
            return
        why = "what its block reads may be negative" if name == "relu" else f"its activation is {name}"
        raise NoMorphismError(f"{operation.name} cannot be the identity: {why}")

    def _zero(self, tensor: keras.KerasTensor) -> None:
        """Makes a tensor zero, whatever the block's input; by its last layer, so that the gradient reaches it.

        Raises:
            NoMorphismError: if it cannot be.
        """
        if tensor is self._begin:
            raise NoMorphismError("the block's input itself is added to it")
        operation, inputs = made_by(tensor)
        kind = kind_of(operation)
        if self._is_zero_by_weights(operation):
            return
        if isinstance(operation, layers.BatchNormalization | layers.LayerNormalization) and operation.beta is not None:
            if operation.gamma is None:
                raise NoMorphismError(f"{operation.name} has no scale")
            self._clear(operation.gamma, operation.beta)
        elif kind in ("Multiply", "Where"):
            self._any_zero(inputs)
        elif is_activation(operation):
            if not keeps_zero(operation):
                raise NoMorphismError(f"{operation.name} is not zero at zero")
            self._zero(inputs[0])
        elif isinstance(operation, UNCHANGED + POOLINGS) or kind in ("Reshape", "Flatten", "Flip", "Divide", "GetItem"):
            self._zero(inputs[0])
        elif kind in (*ADDITIONS, "Concatenate", "Average"):
            for one in inputs:
                self._zero(one)
        else:
            raise NoMorphismError(f"{operation.name} ({kind}) cannot be zero")

    def _any_zero(self, inputs: list[keras.KerasTensor]) -> None:
        reasons = []
        for one in inputs:
            kept = dict(self.weights)
            try:
                return self._zero(one)
            except NoMorphismError as error:
                self.weights = kept
                reasons.append(str(error))
        raise NoMorphismError(reasons[0])

    def _is_zero_by_weights(self, operation: Any) -> bool:
        """Makes a layer's output zero by its own weights; False where it has none that can."""
        if isinstance(operation, SEPARABLE):
            return self._cleared(operation, operation.pointwise_kernel, operation.bias)
        if isinstance(operation, (layers.Dense, layers.EinsumDense, *CONVOLUTIONS, *DEPTHWISE)):
            return self._cleared(operation, operation.kernel, operation.bias)
        if isinstance(operation, layers.MultiHeadAttention):
            output = operation._output_dense
            return self._cleared(output, output.kernel, output.bias)
        if isinstance(operation, _RECURRENT):
            if activation_of(operation) != "tanh":
                return False
            place, parts = _CANDIDATE[next(kind for kind in _RECURRENT if isinstance(operation, kind))]
            for variable in (operation.cell.kernel, operation.cell.recurrent_kernel, operation.cell.bias):
                value = values_of(variable)
                units = value.shape[-1] // parts
                value[..., place * units : (place + 1) * units] = 0
                self._set(variable, value)
            return True
        return False

    def _cleared(self, layer: Any, *variables: Any) -> bool:
        if not keeps_zero(layer):
            return False
        self._clear(*variables)
        return True

    def _clear(self, *variables: Any) -> None:
        for variable in variables:
            if variable is not None:
                self._set(variable, np.zeros(variable.shape, dtype="float32"))

    def _set(self, variable: Any, value: np.ndarray) -> None:
        self.weights[id(variable)] = value


def learn_statistics(
    model: keras.Model, normalisations: list[layers.BatchNormalization], predict: Callable[[keras.Model], np.ndarray]
) -> None:
    """Lets batch normalisation that is the identity be so in training mode, too, as far as some rows tell.

    Args:
        model: The tower, with its weights.
        normalisations: The layers, from the input on.
        predict: Runs a model on rows, [rows, ...].
    """
    for layer in normalisations:
        read = predict(keras.Model(model.input, ops.convert_to_tensor(layer.input)))
        axes = tuple(range(read.ndim - 1))
        mean, variance = read.mean(axis=axes), read.var(axis=axes)
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)
        layer.beta.assign(mean)
        layer.gamma.assign(np.sqrt(variance + layer.epsilon))
