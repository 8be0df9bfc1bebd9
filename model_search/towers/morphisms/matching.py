"""From the weights of a trained tower to those of a wider one of the same layers (Net2WiderNet)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from model_search.errors import NoMorphismError
from model_search.towers.morphisms.insertion import Insertion
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
    is_same,
    kind_of,
    leaves_channels,
    made_by,
    same,
    settings_of,
    values_of,
    width,
)

_SETTINGS = (
    "strides", "padding", "dilation_rate", "groups", "axis", "return_sequences", "go_backwards", "pool_size", "epsilon",
    "use_bias", "equation",
)  # fmt: skip
_UNEVEN = 0.3  # standard deviation of how copies share what they give, relative to an even share
_JOINING = (*ADDITIONS, "Multiply", "Divide", "TrueDivide", "Average", "Maximum", "Where")


def _said(operation: Any, tensor: keras.KerasTensor) -> Any:
    """What decides what an operation does with the axes of a tensor."""
    return settings_of(operation, tensor), getattr(operation, "axis", None), getattr(operation, "keepdims", None)


class Matching:
    """Follows two towers from their outputs to their inputs, in step, and finds the weights of the larger one.

    A layer that is wider repeats the units of the smaller one. Whatever reads a unit that is repeated shares its weight
    between the copies, unevenly and at random, so that they learn different things (Chen, Goodfellow and Shlens,
    "Net2Net", ICLR 2016). New channels of inserted blocks are read with a weight of zero.

    Attributes:
        weights: The values found, by the `id` of the larger tower's variable.
        normalisations: See `Insertion`.
    """

    def __init__(self, inserted: dict[int, keras.KerasTensor], rng: np.random.Generator) -> None:
        """Begins.

        Args:
            inserted: The input of each inserted block, by the `id` of its output.
            rng: Decides how copies share.
        """
        self._inserted = inserted
        self._rng = rng
        self._known: dict[tuple[int, int], Channels] = {}
        self.weights: Weights = {}
        self.normalisations: list[layers.BatchNormalization] = []

    def channels(self, new: keras.KerasTensor, old: keras.KerasTensor) -> Channels:
        """For each channel of a tensor of the larger tower, the channel of the smaller tower's that it equals, or -1.

        Raises:
            NoMorphismError: if the two are not alike.
        """
        key = (id(new), id(old))
        if key not in self._known:
            self._known[key] = self._find(new, old)
        return self._known[key]

    def _find(self, new: keras.KerasTensor, old: keras.KerasTensor) -> Channels:
        if id(new) in self._inserted:
            begin = self._inserted[id(new)]
            before = self.channels(begin, old)
            insertion = Insertion(begin)
            added = insertion.channels(new)
            self.weights |= insertion.weights
            self.normalisations += insertion.normalisations
            return np.where(added == NEW, NEW, before[added])
        layer, inputs = made_by(new)
        former, read = made_by(old)
        if kind_of(layer) != kind_of(former) or len(inputs) != len(read):
            raise NoMorphismError(f"{layer.name} ({kind_of(layer)}) stands where {former.name} ({kind_of(former)}) was")
        found = [self.channels(one, other) for one, other in zip(inputs, read, strict=True)]
        self._check_alike(layer, former, new, old)
        if not inputs:
            return same(new)
        return self._written(layer, former, found, new, old)

    def _check_alike(self, layer: Any, former: Any, new: keras.KerasTensor, old: keras.KerasTensor) -> None:
        alike = activation_of(layer) == activation_of(former)
        for name in _SETTINGS:
            alike = alike and getattr(layer, name, None) == getattr(former, name, None)
        if not alike or len(new.shape) != len(old.shape):
            raise NoMorphismError(f"{layer.name} does another thing than {former.name}")

    def _written(
        self, layer: Any, former: Any, found: list[Channels], new: keras.KerasTensor, old: keras.KerasTensor
    ) -> Channels:
        kind, read = kind_of(layer), found[0]
        if isinstance(layer, SEPARABLE):
            self._set(layer.depthwise_kernel, self._by_channel(layer.depthwise_kernel, former.depthwise_kernel, read))
            return self._linear(layer, former, read, "pointwise_kernel")
        if isinstance(layer, DEPTHWISE):
            self._set(layer.kernel, self._by_channel(layer.kernel, former.kernel, read))
            self._vectors(layer, former, read, ("bias",))
            return read
        if isinstance(layer, layers.Dense):
            return self._linear(layer, former, read, "kernel")
        if isinstance(layer, CONVOLUTIONS):
            return self._linear(layer, former, read, "kernel")
        if isinstance(layer, layers.LSTM | layers.GRU | layers.SimpleRNN):
            if not all(map(is_same, found[1:])):
                raise NoMorphismError(f"{layer.name} reads another mask")
            return self._recurrent(layer, former, read)
        if isinstance(layer, layers.BatchNormalization):
            self._vectors(layer, former, read, ("gamma", "beta", "moving_mean", "moving_variance"))
            return read
        if isinstance(layer, layers.LayerNormalization) and not is_same(read):
            counts = np.bincount(read[read != NEW], minlength=width(old))
            if (read == NEW).any() or np.ptp(counts):
                raise NoMorphismError(f"{layer.name} normalises over channels that are not all repeated equally often")
            self._vectors(layer, former, read, ("gamma", "beta"))
            return read
        if isinstance(layer, UNCHANGED + POOLINGS) or (is_activation(layer) and activation_of(layer) != "softmax"):
            return read
        if isinstance(layer, layers.Flatten):
            places = width(new) // len(read)
            moved = np.arange(places)[:, None] * (width(old) // places) + read[None, :]
            return np.where(read[None, :] == NEW, NEW, moved).ravel()
        if kind == "Concatenate" and getattr(layer, "axis", -1) in (-1, len(new.shape) - 1):
            starts = np.cumsum([0, *(width(one) for one in made_by(old)[1])])
            parts = zip(found, starts[:-1], strict=True)
            return np.concatenate([np.where(part == NEW, NEW, part + start) for part, start in parts])
        if kind in _JOINING and _said(layer, new) == _said(former, old):
            wide = [one for one in found if len(one) > 1 or width(new) == 1]  # others are the same for all channels
            if wide and all(len(one) == len(wide[0]) and (one == wide[0]).all() for one in wide):
                return wide[0]
        if leaves_channels(layer, new) and leaves_channels(former, old) and _said(layer, new) == _said(former, old):
            return read
        return self._copied(layer, former, found, new, old)

    def _copied(
        self, layer: Any, former: Any, found: list[Channels], new: keras.KerasTensor, old: keras.KerasTensor
    ) -> Channels:
        """Any other operation: it has to be the same on the same channels."""
        variables, values = getattr(layer, "weights", []), getattr(former, "weights", [])
        same_weights = [v.shape for v in variables] == [v.shape for v in values]
        same_call = settings_of(layer, new) == settings_of(former, old)
        if new.shape != old.shape or not same_weights or not same_call or not all(map(is_same, found)):
            raise NoMorphismError(f"{layer.name} ({kind_of(layer)}) cannot read more channels than {former.name}")
        for variable, value in zip(variables, values, strict=True):
            self._set(variable, values_of(value))
        return same(new)

    def _linear(self, layer: Any, former: Any, read: Channels, name: str) -> Channels:
        """A matrix of inputs and outputs, at each tap where it has some."""
        if getattr(layer, "groups", 1) != 1:
            raise NoMorphismError(f"{layer.name} reads groups of channels")
        variable, kernel = getattr(layer, name), values_of(getattr(former, name))
        if kernel.shape[:-2] != tuple(variable.shape[:-2]):
            kernel = self._padded(layer, former, kernel)
        written = self._repeated(layer, kernel.shape[-1], variable.shape[-1])
        self._set(variable, self._shared(layer, kernel[..., written], read))
        if layer.bias is not None:
            self._set(layer.bias, values_of(former.bias)[written])
        return written

    def _padded(self, layer: Any, former: Any, kernel: np.ndarray) -> np.ndarray:
        """A kernel with zeros around it, up to a larger one that reads the same place at its centre."""
        edges = []
        for axis, size in enumerate(layer.kernel_size):
            before = centre(layer, axis) - centre(former, axis)
            after = size - former.kernel_size[axis] - before
            if before < 0 or after < 0:
                raise NoMorphismError(f"the kernel of {layer.name} is smaller than that of {former.name}")
            edges.append((before, after))
        return np.pad(kernel, [*edges, (0, 0), (0, 0)])

    def _repeated(self, layer: Any, before: int, now: int) -> Channels:
        """Which unit each one repeats; the same for all layers of these widths, so that sums fit."""
        if now < before:
            raise NoMorphismError(f"{layer.name} has {now} outputs; expected at least the {before} of the tower before")
        return np.arange(now) % before

    def _shared(self, layer: Any, kernel: np.ndarray, read: Channels) -> np.ndarray:
        """The kernel [..., inputs, outputs] of a layer that reads these channels instead of each once."""
        if is_same(read) and len(read) == kernel.shape[-2]:
            return kernel
        taps = kernel.shape[:-2]
        found = np.zeros((*taps, len(read), kernel.shape[-1]))
        for channel in range(kernel.shape[-2]):
            copies = np.flatnonzero(read == channel)
            if not len(copies):
                raise NoMorphismError(f"{layer.name} reads a channel that is no longer there")
            uneven = self._rng.normal(0, _UNEVEN / len(copies), size=(len(copies), kernel.shape[-1]))
            shares = 1 / len(copies) + uneven - uneven.mean(axis=0)
            found[..., copies, :] = kernel[..., channel, :][..., None, :] * shares
        return found.astype(np.float32)

    def _by_channel(self, variable: Any, kernel: Any, read: Channels) -> np.ndarray:
        """The kernel [..., channels, 1] of a layer that reads each channel by itself."""
        value, before = values_of(variable), values_of(kernel)
        if value.shape[:-2] != before.shape[:-2] or value.shape[-1] != 1:
            raise NoMorphismError("a depthwise convolution of another size reads its channels")
        value[..., read != NEW, :] = before[..., read[read != NEW], :]
        return value

    def _vectors(self, layer: Any, former: Any, read: Channels, names: tuple[str, ...]) -> None:
        for name in names:
            variable = getattr(layer, name)
            if variable is not None:
                value = values_of(variable)
                value[read != NEW] = values_of(getattr(former, name))[read[read != NEW]]
                self._set(variable, value)

    def _recurrent(self, layer: Any, former: Any, read: Channels) -> Channels:
        cell, before = layer.cell, former.cell
        written = self._repeated(layer, before.units, cell.units)
        kernel, recurrent = values_of(before.kernel), values_of(before.recurrent_kernel)
        parts = kernel.shape[-1] // before.units
        columns = np.concatenate([part * before.units + written for part in range(parts)])
        self._set(cell.kernel, self._shared(layer, kernel[:, columns], read))
        self._set(cell.recurrent_kernel, self._shared(layer, recurrent[:, columns], written))
        if cell.bias is not None:
            self._set(cell.bias, values_of(before.bias)[..., columns])
        return written

    def _set(self, variable: Any, value: np.ndarray) -> None:
        self.weights[id(variable)] = value
