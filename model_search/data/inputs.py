"""Converts features from users into inputs by name: the same way for training, prediction and evaluation."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_search.data.checked_json import need
from model_search.data.prepare_options import PrepareOptions
from model_search.data.rows import (
    FEATURES,
    Arrays,
    InputSpec,
    InputSpecs,
    clip,
    note_of_clipped,
    rows_beyond,
    with_missing,
)
from model_search.errors import DataError, UnsupportedError

_VECTOR = "vector"  # name of the concatenated columns if a feature is called "features"


@dataclasses.dataclass(frozen=True)
class InputLayout:
    """How features become inputs.

    A single tensor is the input "features". In a dict, numbers and vectors are concatenated into one float32
    vector; what has two axes or more, and padded sequences, are inputs of their own.

    Attributes:
        names: Names of the features that are read, in order; empty for a single tensor.
        specs: The inputs.
    """

    names: tuple[str, ...]
    specs: InputSpecs

    @property
    def lengths(self) -> dict[str, str]:
        """For each padded input, the name of the one that holds its lengths."""
        return {name: spec.lengths for name, spec in self.specs.items() if spec.lengths is not None}

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dict of the inputs; `from_description` reads it, together with `names`."""
        return {name: spec.to_json() for name, spec in self.specs.items()}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> InputLayout:
        """The inputs in a study's description of its data; studies of version 1.0 have one float32 input.

        Raises:
            DamagedRecordError: if there are none.
        """
        names = _names(description) if description.get("schema") is None else ()
        stored = description.get("inputs")
        if stored is not None:
            inputs = need(stored, Mapping, "the inputs").items()
            return cls(names, {name: InputSpec.from_json(values) for name, values in inputs})
        shape = {"shape": description.get("feature_shape"), "columns": list(names)}
        return cls(names, {FEATURES: InputSpec.from_json(shape)})

    @classmethod
    def infer(cls, features: Any, names: Sequence[str] | None, options: PrepareOptions) -> InputLayout:
        """Infers the layout of features from one batch.

        Args:
            features: One array [rows, ...], or a dict of them.
            names: The features to read, in order; all of a dict by name where None. Lengths of those are read, too.
            options: What features are called that hold lengths, and whether all are concatenated into one vector.

        Raises:
            DataError: if there is no feature, or one of those that are to be read is missing.
        """
        if not isinstance(features, Mapping):
            array = as_array(features, "the features")
            is_flat = options.flat_inputs
            return cls((), {FEATURES: InputSpec(tuple(array.shape[1:]) or (1,)) if is_flat else _own_spec(array)})
        chosen = tuple(names) if names is not None else tuple(sorted(features))
        if not chosen:
            raise DataError("the input_fn yields an empty dict of features; expected at least one")
        arrays = {name: as_array(_pick(features, name), f"feature {name!r}") for name in chosen}
        if options.flat_inputs:
            return cls(chosen, {FEATURES: _vector_spec(arrays, chosen)})
        for name in (options.lengths, *(f"{name}_{options.lengths}" for name in chosen)):
            if name in features and name not in arrays:
                arrays[name] = as_array(features[name], f"feature {name!r}")
        padded = _padded(arrays, options)
        chosen += tuple(name for name in dict.fromkeys(padded.values()) if name not in chosen)
        arrays = {name: arrays[name] for name in chosen}
        own = {
            name: _own_spec(array, padded.get(name))
            for name, array in arrays.items()
            if name in padded or array.ndim > 2
        }
        own |= {name: InputSpec((), "int32") for name in padded.values()}
        side_by_side = tuple(name for name in chosen if name not in own)
        if not side_by_side:
            return cls(chosen, own)
        vector = FEATURES if FEATURES not in own else _VECTOR
        while vector in own:
            vector = f"{vector}_"
        return cls(chosen, {vector: _vector_spec(arrays, side_by_side), **own})

    def widened(self, features: Any) -> InputLayout:
        """The same layout with as many steps as the longest padded sequences of this batch have."""
        if not isinstance(features, Mapping):
            return self
        specs = dict(self.specs)
        for name in self.lengths:
            steps = as_array(_pick(features, name), f"feature {name!r}").shape[1]
            shape = specs[name].shape
            specs[name] = dataclasses.replace(specs[name], shape=(max(steps, shape[0]), *shape[1:]))
        return dataclasses.replace(self, specs=specs)

    def with_room(self, inputs: Arrays) -> InputLayout:
        """The same layout with at least as many steps as these inputs, which have been read already, have."""
        specs = dict(self.specs)
        for name in self.lengths:
            shape = specs[name].shape
            specs[name] = dataclasses.replace(specs[name], shape=(max(inputs[name].shape[1], shape[0]), *shape[1:]))
        return dataclasses.replace(self, specs=specs)

    def read(self, features: Any) -> dict[str, np.ndarray]:
        """The inputs of some rows.

        Args:
            features: One array [rows, ...], a dict of them, or a frame whose columns are read by name.

        Returns:
            Arrays [rows, ...] by name, shaped and typed as `specs` says; padded sequences that are shorter get more
            padding.

        Raises:
            DataError: if features are missing, have another shape, or hold numbers that cannot be learnt from.
        """
        if isinstance(features, str | os.PathLike):
            wanted = f"a dict of arrays ({', '.join(self.names)})" if self.names else "an array"
            raise DataError(f"received {os.fspath(features)!r}; this study's provider yields features as {wanted}")
        if not self.names:
            return {FEATURES: _as_input(self._single(features), FEATURES, self.specs[FEATURES])}
        by_name = self._without_spare_steps(self._by_name(features))
        found = {name: _as_input(self._values(by_name, name), name, spec) for name, spec in self.specs.items()}
        counts = {name: len(values) for name, values in found.items()}
        if len(set(counts.values())) > 1:
            raise DataError(f"the features have different numbers of rows: {counts}; expected one number")
        for name, lengths in self.lengths.items():
            _check_lengths(found[lengths], lengths, found[name].shape[1])
        return found

    def rounded(self, batches: Sequence[Any]) -> list[str]:
        """A sentence for each feature with numbers that float32 cannot tell apart, or takes for 0, or that are clipped.

        Args:
            batches: Features as `read` takes them; what it refuses is left to it.
        """
        rounds = "whole numbers beyond 2**24, or numbers below 1e-45, which float32 rounds"
        counts: dict[tuple[str, str], int] = {}
        for features in batches:
            by_name = {} if isinstance(features, str | os.PathLike) else {"": features}
            if self.names and (isinstance(features, Mapping) or hasattr(features, "columns")):
                by_name = {name: features[name] for name in self.names if name in features}
            for name, values in by_name.items():
                read = {} if isinstance(values, Mapping) else {rounds: _rounded_rows, "": _clipped_rows}
                for what, rows_of in read.items():
                    counts[name, what] = counts.get((name, what), 0) + rows_of(values)
        return [
            f"{f'feature {name!r}' if name else 'the features'}: "
            + (f"{rows} rows hold {what}" if what else note_of_clipped(rows))
            for (name, what), rows in counts.items()
            if rows
        ]

    def _single(self, features: Any) -> np.ndarray:
        if isinstance(features, Mapping):
            if len(features) != 1:
                raise DataError(f"received a dict of {sorted(features)}; the model reads one array")
            features = next(iter(features.values()))
        return as_array(features, "the features")

    def _by_name(self, features: Any) -> Mapping[str, Any]:
        if isinstance(features, Mapping) or hasattr(features, "columns"):
            missing = [name for name in self.names if name not in features]
            if missing:
                raise DataError(
                    f"the features {', '.join(map(repr, missing))} are missing; the model reads {', '.join(self.names)}"
                )
            return features
        if len(self.names) == 1:
            return {self.names[0]: features}
        raise DataError(
            f"received {type(features).__name__}; the model reads a dict of arrays ({', '.join(self.names)})"
        )

    def _without_spare_steps(self, features: Mapping[str, Any]) -> Mapping[str, Any]:
        """Cuts off steps beyond those of the study where they are padding in all rows."""
        found = features
        for name, lengths in self.lengths.items():
            steps = self.specs[name].shape[0]
            array = as_array(features[name], f"feature {name!r}")
            longest = as_array(features[lengths], f"feature {lengths!r}")
            if array.ndim > 1 and array.shape[1] > steps and longest.dtype.kind in "iuf" and (longest <= steps).all():
                found = {**found, name: array[:, :steps]}
        return found

    def _values(self, features: Mapping[str, Any], name: str) -> np.ndarray:
        spec = self.specs[name]
        if not spec.columns:
            return as_array(features[name], f"feature {name!r}")
        parts = []
        for column in spec.columns:
            part = as_float32(as_array(features[column], f"feature {column!r}"), f"feature {column!r}")
            parts.append(part if spec.shape == part.shape[1:] else part.reshape(len(part), math.prod(part.shape[1:])))
        if len({len(part) for part in parts}) > 1:
            counts = dict(zip(spec.columns, map(len, parts), strict=True))
            raise DataError(f"the features have different numbers of rows: {counts}; expected one number")
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _names(description: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(need(name, str, "a column") for name in need(description.get("columns", []), list, "the columns"))


def as_array(values: Any, what: str) -> np.ndarray:
    """Values as a NumPy array whose first axis is the rows; what a masked array masks is NaN.

    Raises:
        DataError: if they are single values, or rows of different shapes.
    """
    try:
        array = np.asarray(with_missing(values.numpy() if hasattr(values, "numpy") else values))
    except ValueError as error:
        raise DataError(f"{what} cannot be read as one array ({error}); expected rows of one shape") from None
    if array.ndim == 0:
        raise DataError(
            f"received single values for {what}; expected rows (in an input_fn: call .batch(batch_size) on the dataset)"
        )
    return array


def as_float32(array: np.ndarray, what: str) -> np.ndarray:
    """Numbers as float32 [rows, ...] with at least one axis besides the rows; beyond 1e30 they become 1e30.

    Raises:
        UnsupportedError: if they are no numbers.
        DataError: if one is not finite.
    """
    _check_numbers(array, what)
    floats = array.astype(np.float32)
    if not np.isfinite(floats).all():
        raise DataError(f"{what} holds NaN or infinite numbers; replace them in the input_fn")
    clip(floats)
    return floats[:, None] if floats.ndim == 1 else floats


def _rounded_rows(values: Any) -> int:
    """Rows with whole numbers that are others as float32, or numbers that become 0."""
    array = np.asarray(values.numpy() if hasattr(values, "numpy") else values)
    if array.dtype.kind not in "iuf" or array.dtype.itemsize < 4 or array.dtype == np.float32 or array.ndim == 0:
        return 0
    with np.errstate(over="ignore"):
        floats = array.astype(np.float32)
    lost = (floats == 0) & (array != 0) if array.dtype.kind == "f" else floats.astype(np.float64) != array
    return int(lost.any(axis=tuple(range(1, lost.ndim))).sum())


def _clipped_rows(values: Any) -> int:
    """Rows with numbers that `as_float32` clips."""
    array = np.asarray(values.numpy() if hasattr(values, "numpy") else values)
    return 0 if array.dtype not in (np.float32, np.float64) or array.ndim == 0 else rows_beyond(array)


def _check_numbers(array: np.ndarray, what: str) -> None:
    if array.dtype.kind not in "biuf":
        raise UnsupportedError(f"{what} is {array.dtype}; expected numbers: turn texts into numbers in the input_fn")


def _pick(features: Mapping[str, Any], name: str) -> Any:
    if name not in features:
        raise DataError(f"the input_fn yields no feature {name!r}; it yields {', '.join(sorted(features))}")
    return features[name]


def _padded(arrays: Arrays, options: PrepareOptions) -> dict[str, str]:
    """The padded features, each with the feature that holds its lengths.

    A feature with lengths of its own ("<name>_lengths") is one; so are, where there are lengths for all, sequences of
    vectors, [steps, width] a row, and rows of whole numbers (token ids). Pictures (bytes, or more axes) need lengths of
    their own.
    """
    found: dict[str, str] = {}
    lengths = options.lengths
    for name, array in arrays.items():
        own = f"{name}_{lengths}"
        if own in arrays and _are_lengths(arrays[own]) and array.ndim > 1:
            found[name] = own
    if lengths in arrays and _are_lengths(arrays[lengths]):
        for name, array in arrays.items():
            is_ids = array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind in "iu" and options.token_ids
            is_sequence = is_ids or (array.ndim == 3 and array.dtype != np.uint8)
            if is_sequence and name != lengths and name not in found and name not in found.values():
                found[name] = lengths
    return found


def _are_lengths(array: np.ndarray) -> bool:
    is_whole = array.dtype.kind in "iu" or (array.dtype.kind == "f" and bool((array == np.rint(array)).all()))
    return is_whole and (array.ndim == 1 or array.shape[1:] == (1,))


def _own_spec(array: np.ndarray, lengths: str | None = None) -> InputSpec:
    """The spec of a separate input: pictures stay bytes, token ids whole numbers, all else is float32."""
    shape = tuple(array.shape[1:]) or (1,)
    if array.dtype == np.uint8 and array.ndim > 2:
        return InputSpec(shape, "uint8", lengths)
    return InputSpec(shape, "int32" if lengths is not None and array.dtype.kind in "iu" else "float32", lengths)


def _vector_spec(arrays: Arrays, names: Sequence[str]) -> InputSpec:
    """Concatenated features; a single feature keeps its shape."""
    shapes = [arrays[name].shape[1:] or (1,) for name in names]
    shape = tuple(shapes[0]) if len(shapes) == 1 else (sum(int(np.prod(shape)) for shape in shapes),)
    return InputSpec(shape, columns=tuple(names))


def _as_input(array: np.ndarray, name: str, spec: InputSpec) -> np.ndarray:
    what = "the features" if name == FEATURES else f"feature {name!r}"
    _check_numbers(array, what)
    if np.dtype(spec.dtype).kind == "f":
        floats = array if spec.columns else as_float32(array, what)  # columns have been converted one by one
        array = floats.astype(spec.dtype, copy=False)
    else:
        array = _as_whole(array, what, spec.dtype)
    if spec.shape == () and array.shape[1:] == (1,):
        array = array[:, 0]
    if spec.lengths is not None:
        array = _with_padding(array, what, spec.shape)
    if array.shape[1:] != spec.shape:
        raise DataError(f"received {what} of shape {array.shape[1:]} a row; expected {spec.shape}")
    return array


def _as_whole(array: np.ndarray, what: str, dtype: str) -> np.ndarray:
    limits = np.iinfo(dtype)
    if array.dtype != np.dtype(dtype):
        if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.rint(array)).all()):
            raise DataError(f"{what} holds numbers with a fraction; expected whole numbers, as in training")
        if array.size and (array.min() < limits.min or array.max() > limits.max):
            raise DataError(
                f"{what} holds numbers from {array.min()} to {array.max()}; expected {limits.min} to {limits.max}"
            )
    return array.astype(dtype, copy=False)


def _with_padding(array: np.ndarray, what: str, shape: tuple[int, ...]) -> np.ndarray:
    steps = array.shape[1] if array.ndim > 1 else 0
    if array.shape[2:] != shape[1:] or steps > shape[0]:
        raise DataError(
            f"received {what} of shape {array.shape[1:]} a row; expected at most {shape[0]} steps of shape {shape[1:]}"
        )
    missing = shape[0] - steps
    return np.pad(array, [(0, 0), (0, missing)] + [(0, 0)] * len(shape[1:])) if missing else array


def _check_lengths(lengths: np.ndarray, name: str, steps: int) -> None:
    bad = np.flatnonzero((lengths < 1) | (lengths > steps))
    if len(bad):
        raise DataError(f"feature {name!r} holds {lengths[bad[0]]} in row {bad[0] + 1}; expected 1 to {steps} steps")
