"""A Keras model's values in a few flat variables, and the model as a pure function of them.

Small parameters (biases, batch normalisation, narrow layers) are kept together in one vector and updated by one
operation; a large matrix is a variable of its own, so that it is neither cut out of a vector nor copied into one, and
its update runs in parallel with the backward pass. The variables belong to a pool that all trials share, and the
model is called as a pure function of their values, so that a finished trial leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from model_search.data.rows import Arrays
from model_search.towers.keras_inputs import row_name
from model_search.training.runtime import tensorflow

LARGE = 16_384  # values from which a parameter gets its own variable
_DRAWS = 64  # random draws that a layer may make in one step without repeating those of the next one
_FORWARD_ROWS = 4096
_SETTLED = 1e-4  # share of a moving average's initial value that may remain


class VariablePool:
    """Float variables of any shape, made once and reused by every trial."""

    def __init__(self) -> None:
        self._variables: list[Any] = []

    def take(self, count: int) -> list[Any]:
        """The first `count` variables; the next caller overwrites them."""
        tf = tensorflow()
        while len(self._variables) < count:
            self._variables.append(tf.Variable(tf.zeros([1]), shape=tf.TensorShape(None), trainable=False))
        return self._variables[:count]


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """All values of a tower at one moment, and those of its optimizer's slots, as immutable tensors."""

    values: tuple[Any, ...]
    slots: tuple[tuple[Any, ...], ...] = ()


class FlatTower:
    """A model's values in variables of a pool.

    Attributes:
        groups: One variable for each group of trainable parameters.
        slots: The optimizer's variables for each group.
        state: The variable of all other state (moving averages); None where there is none.
    """

    def __init__(self, model: Any, pool: VariablePool, slots: int = 0):
        self._model = model
        self._trainable = list(model.trainable_variables)
        self._others = list(model.non_trainable_variables)
        large = [i for i, v in enumerate(self._trainable) if math.prod(v.shape) >= LARGE]
        small = [i for i in range(len(self._trainable)) if i not in set(large)]
        self._members = [[i] for i in large] + ([small] if small else [])
        self._seeds = {i: np.array(v.numpy()) for i, v in enumerate(self._others) if v.dtype != "float32"}
        self._state = [i for i in range(len(self._others)) if i not in self._seeds]
        places = {id(v): (True, i) for i, v in enumerate(self._trainable)}
        places |= {id(v): (False, i) for i, v in enumerate(self._others)}
        self._order = [places[id(v)] for v in model.weights]
        count = len(self._members)
        taken = pool.take(count * (1 + slots) + bool(self._state))
        self.groups = taken[:count]
        self.slots = [taken[count * (1 + s) : count * (2 + s)] for s in range(slots)]
        self.state = taken[-1] if self._state else None
        self._momenta, self._beginning = self._moving_averages(), np.empty(0, dtype=np.float32)
        self._left = self._momenta
        self._forward = self._compile_forward()

    @property
    def parameters(self) -> int:
        """Number of trainable values."""
        return sum(math.prod(v.shape) for v in self._trainable)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs that the model reads, as rows have them."""
        return tuple(row_name(given.name) for given in self._model.inputs)

    def load(self, weights: Sequence[np.ndarray], partly_learnt: bool = False) -> None:
        """Sets all weights.

        Args:
            weights: In the order of `model.get_weights()`.
            partly_learnt: Whether moving averages that are not as Keras makes them were learnt, of a tower that is
                fresh elsewhere.
        """
        found = dict(zip(self._order, weights, strict=True))
        for variable, (trainable, members) in zip(self._variables, self._parts, strict=True):
            arrays = [np.asarray(found[trainable, i], dtype=np.float32) for i in members]
            variable.assign(arrays[0] if len(arrays) == 1 else np.concatenate([a.ravel() for a in arrays]))
        if self.state is not None:
            self._beginning = self.state.numpy().ravel()
        if self.state is not None and partly_learnt:
            state = [np.asarray(found[False, i]) for i in self._state]
            ends = np.cumsum([array.size for array in state])[:-1]
            momenta = np.split(self._momenta, ends)
            self._left = np.concatenate([m * _as_made(array) for m, array in zip(momenta, state, strict=True)])

    def fill_slots(self, values: Sequence[float]) -> None:
        """Sets each slot of every group to one value."""
        tf = tensorflow()
        for slots, value in zip(self.slots, values, strict=True):
            for group, slot in zip(self.groups, slots, strict=True):
                slot.assign(tf.fill(tf.shape(group.read_value()), value))

    def load_slots(self, slots: Sequence[Sequence[np.ndarray]]) -> None:
        """Sets each slot of every trainable variable; they are in the order of `model.trainable_variables`."""
        for variables, arrays in zip(self.slots, slots, strict=True):
            for variable, members in zip(variables, self._members, strict=True):
                found = [np.asarray(arrays[i], dtype=np.float32) for i in members]
                variable.assign(found[0] if len(found) == 1 else np.concatenate([a.ravel() for a in found]))

    def snapshot(self) -> Snapshot:
        """The current values; copied only when training continues."""
        slots = tuple(tuple(variable.read_value() for variable in slot) for slot in self.slots)
        return Snapshot(tuple(variable.read_value() for variable in self._variables), slots)

    def restore(self, snapshot: Snapshot) -> None:
        """Restores the values; slots are not changed."""
        for variable, value in zip(self._variables, snapshot.values, strict=True):
            variable.assign(value)

    @contextlib.contextmanager
    def settled(self, updates: int) -> Iterator[None]:
        """Within this context, moving averages are corrected for their arbitrary initial values.

        Batch normalisation evaluates with `s = m ** n * s0 + (1 - m ** n) * average` after n updates; with the usual
        momentum m of 0.99 the first term spoils the first few hundred steps. The average alone follows from it, as in
        Adam's bias correction. Afterwards the averages are what they were.

        Args:
            updates: Updates since the weights were loaded; averages that were learnt before are left as they are.
        """
        left = self._left**updates
        if self.state is None or updates == 0 or left.max(initial=0.0) < _SETTLED:
            yield
            return
        before = self.state.read_value()
        flat = (before.numpy().ravel() - left * self._beginning) / (1 - left)
        self.state.assign(flat.reshape(before.shape).astype(np.float32))
        try:
            yield
        finally:
            self.state.assign(before)

    def weights(self, snapshot: Snapshot) -> list[np.ndarray]:
        """A snapshot in the order of `model.get_weights()`."""
        found: dict[tuple[bool, int], np.ndarray] = {}
        for (trainable, members), value in zip(self._parts, snapshot.values, strict=True):
            variables = self._trainable if trainable else self._others
            pieces = _pieces(value.numpy(), [variables[i].shape for i in members])
            found |= {(trainable, i): piece for i, piece in zip(members, pieces, strict=True)}
        return [found[place] for place in self._order]

    def slot_arrays(self, snapshot: Snapshot) -> list[list[np.ndarray]]:
        """A snapshot's slots, each in the order of `model.trainable_variables`."""
        slots: list[list[np.ndarray]] = []
        for values in snapshot.slots:
            found: dict[int, np.ndarray] = {}
            for members, value in zip(self._members, values, strict=True):
                pieces = _pieces(value.numpy(), [self._trainable[i].shape for i in members])
                found |= dict(zip(members, pieces, strict=True))
            slots.append([found[i] for i in range(len(self._trainable))])
        return slots

    def logits(self, inputs: Arrays) -> np.ndarray:
        """The outputs for rows with the current values, float32 [rows, ...]; rows are processed in blocks.

        Args:
            inputs: Arrays [rows, ...] by name; those that the model does not read are ignored.
        """
        return np.concatenate(list(self.blocks_of_logits(inputs)))

    def blocks_of_logits(self, inputs: Arrays) -> Iterator[np.ndarray]:
        """Like `logits`, but block by block, so that the caller can report progress in between."""
        tf = tensorflow()
        from model_search.towers.block_rows import rows_at_a_time

        given = [(inputs[row_name(tensor.name)], tensor.dtype) for tensor in self._model.inputs]
        block = min(_FORWARD_ROWS, rows_at_a_time(self._model))
        for start in range(0, max(1, len(given[0][0])), block):
            parts = (tf.constant(values[start : start + block], dtype) for values, dtype in given)
            yield self._forward(*parts).numpy()

    def read_groups(self) -> list[Any]:
        """The groups' values with their shapes, inside a graph; what `call` takes."""
        values = []
        for members, group in zip(self._members, self.groups, strict=True):
            value = group.read_value()
            shapes = [tuple(self._trainable[i].shape) for i in members]
            value.set_shape(shapes[0] if len(shapes) == 1 else [sum(map(math.prod, shapes))])
            values.append(value)
        return values

    def kernels_of(self, group: int, value: Any) -> Any:
        """A group's value with zeros in place of all that is no kernel (has fewer than two axes), inside a graph."""
        tf = tensorflow()
        kept = [
            np.full(math.prod(shape), len(shape) > 1)
            for shape in (self._trainable[i].shape for i in self._members[group])
        ]
        mask = np.concatenate(kept)
        return value if mask.all() else value * tf.reshape(tf.constant(mask, value.dtype), tf.shape(value))

    def call(self, groups: Sequence[Any], inputs: Mapping[str, Any], *, update: Any = None) -> Any:
        """Outputs as a function of the groups' values, inside a graph.

        With `update` (the number of this update, a tensor) the model is called for training, and its other state is
        moved on.

        Args:
            groups: What `read_groups` gives.
            inputs: Tensors by name; those that the model does not read are ignored.
            update: The number of this update, a tensor; None to evaluate.
        """
        tf = tensorflow()
        trainable: list[Any] = [None] * len(self._trainable)
        for numbers, value in zip(self._members, groups, strict=True):
            for i, piece in zip(numbers, _cut(value, [self._trainable[i] for i in numbers]), strict=True):
                trainable[i] = piece
        others: list[Any] = [None] * len(self._others)
        if self.state is not None:
            variables = [self._others[i] for i in self._state]
            state = self.state.read_value()
            state.set_shape(variables[0].shape if len(variables) == 1 else [sum(math.prod(v.shape) for v in variables)])
            for i, piece in zip(self._state, _cut(state, variables), strict=True):
                others[i] = piece
        for i, seed in self._seeds.items():
            # A layer counts its draws up in the last element of its seed; here every step starts from its own number.
            others[i] = tf.constant(seed) if update is None else _moved(seed, update * _DRAWS)
        read = self._structured([inputs[name] for name in self.input_names])
        logits, moved = self._model.stateless_call(trainable, others, read, training=update is not None)
        if update is not None and self.state is not None:
            pieces = [tf.reshape(moved[i], [-1]) for i in self._state]
            value = moved[self._state[0]] if len(pieces) == 1 else tf.concat(pieces, 0)
            self.state.assign(value, read_value=False)
        return logits

    @property
    def _variables(self) -> list[Any]:
        return self.groups if self.state is None else [*self.groups, self.state]

    @property
    def _parts(self) -> list[tuple[bool, list[int]]]:
        return [(True, members) for members in self._members] + ([(False, self._state)] if self._state else [])

    def _structured(self, inputs: Sequence[Any]) -> Any:
        """Inputs in the structure that the model was made with: a tensor, or a dict by name."""
        structure = self._model.input
        if isinstance(structure, dict):
            return {tensor.name: given for tensor, given in zip(self._model.inputs, inputs, strict=True)}
        return list(inputs) if isinstance(structure, list | tuple) else inputs[0]

    def _moving_averages(self) -> np.ndarray:
        """For each value of the state, the momentum of its moving average; 0 if it is none."""
        import keras

        momenta: dict[int, float] = {}
        for layer in self._model._flatten_layers(include_self=False):  # wrapped and nested ones, too
            if isinstance(layer, keras.layers.BatchNormalization):
                for variable in (layer.moving_mean, layer.moving_variance):
                    momenta[id(variable)] = layer.momentum
        parts = [np.full(math.prod(self._others[i].shape), momenta.get(id(self._others[i]), 0.0)) for i in self._state]
        return np.concatenate([*parts, np.empty(0)])

    def _compile_forward(self) -> Any:
        tf = tensorflow()

        def forward(*inputs: Any) -> Any:
            return self.call(self.read_groups(), dict(zip(self.input_names, inputs, strict=True)))

        signature = [tf.TensorSpec([None, *given.shape[1:]], given.dtype) for given in self._model.inputs]
        return tf.function(forward, autograph=False, input_signature=signature).get_concrete_function()


def _as_made(state: np.ndarray) -> bool:
    """Whether a moving average is as Keras makes it: all 0, or all 1."""
    return bool(np.ptp(state) == 0 and state.flat[0] in (0, 1))


def _pieces(value: np.ndarray, shapes: Sequence[Any]) -> list[np.ndarray]:
    """Copies of the arrays that stand in one array, one after the other."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    flat = value.ravel()
    return [flat[end - math.prod(shape) : end].reshape(shape).copy() for end, shape in zip(ends, shapes, strict=True)]


def _cut(value: Any, variables: Sequence[Any]) -> list[Any]:
    """The members' tensors out of a group's value, inside a graph."""
    tf = tensorflow()
    if len(variables) == 1:
        return [value]
    sizes = [math.prod(v.shape) for v in variables]
    pieces = tf.split(value, sizes)
    return [
        piece if len(v.shape) == 1 else tf.reshape(piece, v.shape) for piece, v in zip(pieces, variables, strict=True)
    ]


def _moved(seed: np.ndarray, draws: Any) -> Any:
    tf = tensorflow()
    step = np.zeros_like(seed)
    step[..., -1] = 1
    return tf.constant(seed) + tf.constant(step) * tf.cast(draws, seed.dtype)
