"""Prepares what a provider's `input_fn` yields: batches of features and labels."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from model_search.data import labels
from model_search.data.prepare_options import PrepareOptions
from model_search.data.task import Label, Rows, StreamData, Task, TaskKind
from model_search.errors import DataError, UnsupportedError

MAX_EVAL_ROWS = 100_000
MAX_EVAL_BYTES = 1 << 30
FITTING_BATCHES = 200  # batches of training data that labels are learnt from


class YieldsBatches(Protocol):
    """What is needed of a provider."""

    def number_of_classes(self) -> int:
        """See `Provider`."""

    def get_input_fn(self, hparams: Any, mode: str, batch_size: int) -> Callable[[], Any]:
        """See `Provider`."""

    def get_feature_columns(self) -> Sequence[Any] | None:
        """See `Provider`."""

    def get_loss_fn(self) -> Callable[..., Any] | None:
        """See `Provider`."""

    def get_metric_fn(self) -> Callable[..., Any] | None:
        """See `Provider`."""


@dataclasses.dataclass(frozen=True)
class _Batch:
    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None
    names: tuple[str, ...] = ()  # of the features, where they came as a dict


@dataclasses.dataclass(frozen=True)
class _Source:
    """Opens the provider's data and brings every batch into one form."""

    provider: YieldsBatches
    batch_size: int
    names: tuple[str, ...] | None  # features that are read, in order; None: one tensor, or all by name

    def batches(self, mode: str, seed: int) -> Iterator[_Batch]:
        """One pass over the data."""
        hparams = types.SimpleNamespace(batch_size=self.batch_size)
        input_fn = self.provider.get_input_fn(hparams, mode, self.batch_size)
        if not callable(input_fn):
            raise DataError(f"get_input_fn({mode!r}) returned {type(input_fn).__name__}; expected a function")
        opened = input_fn()
        if isinstance(opened, tuple):
            yield from self._cut(self._batch(opened), seed if mode == "train" else None)
        elif hasattr(opened, "__iter__"):
            for element in opened:
                yield self._batch(element)
        else:
            raise DataError(
                f"the input_fn for {mode!r} returned {type(opened).__name__}; "
                "expected a tf.data.Dataset of (features, labels), or that pair of tensors"
            )

    def _cut(self, rows: _Batch, seed: int | None) -> Iterator[_Batch]:
        count = len(rows.labels)
        order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
        for start in range(0, count, self.batch_size):
            chosen = order[start : start + self.batch_size]
            weights = None if rows.weights is None else rows.weights[chosen]
            yield _Batch(rows.features[chosen], rows.labels[chosen], weights)

    def _batch(self, element: Any) -> _Batch:
        if not isinstance(element, tuple | list) or len(element) not in (2, 3):
            raise DataError(f"the input_fn yields {type(element).__name__}; expected pairs (features, labels)")
        features, names = self._features(element[0])
        if isinstance(element[1], Mapping):
            raise UnsupportedError(
                "the input_fn yields a dict of labels; this version learns one task: yield one tensor"
            )
        found = _to_numpy(element[1])
        if found.ndim == 2 and found.shape[1] == 1:
            found = found[:, 0]
        if len(found) != len(features):
            raise DataError(f"a batch has {len(features)} rows of features and {len(found)} labels; expected as many")
        weights = None
        if len(element) == 3 and element[2] is not None:
            weights = _to_numpy(element[2]).astype(np.float32).reshape(-1)
        return _Batch(features, found, weights, names)

    def _features(self, features: Any) -> tuple[np.ndarray, tuple[str, ...]]:
        if not isinstance(features, Mapping):
            return _floats(_to_numpy(features), "the features"), ()
        names = self.names if self.names is not None else tuple(sorted(features))
        missing = [name for name in names if name not in features]
        if missing:
            raise DataError(f"the input_fn yields no feature {missing[0]!r}; it yields {', '.join(sorted(features))}")
        parts = [_floats(_to_numpy(features[name]), f"feature {name!r}") for name in names]
        if not parts:
            raise DataError("the input_fn yields an empty dict of features; expected at least one")
        if len(parts) == 1 and parts[0].ndim > 2:
            return parts[0], tuple(names)
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1), tuple(names)


@dataclasses.dataclass(frozen=True)
class _LabelCode:
    """How a stream's labels are encoded."""

    task: Task
    one_hot: bool
    position: Mapping[Any, int] | None  # of a text label

    def rows(self, batch: _Batch) -> Rows:
        return Rows(batch.features, self._encode(batch.labels), batch.weights)

    def _encode(self, found: np.ndarray) -> np.ndarray:
        task = self.task
        if task.kind is TaskKind.REGRESSION:
            values = found.astype(np.float64).reshape(len(found), -1)
            if values.shape[1] != task.logits_dimension or not np.isfinite(values).all():
                raise DataError(
                    f"the labels of a batch have the shape {found.shape}, or are not finite; "
                    f"expected {task.logits_dimension} finite numbers for each row"
                )
            return ((values - task.target_mean) / task.target_scale).astype(np.float32)
        if self.one_hot:
            return found.argmax(axis=1).astype(np.int32)
        if self.position is not None:
            unknown = sorted({_text(value) for value in found.tolist()} - set(self.position))
            if unknown:
                raise DataError(f"the input_fn yields the label {unknown[0]!r}; known are {', '.join(self.position)}")
            return np.array([self.position[_text(value)] for value in found.tolist()], dtype=np.int32)
        indices = np.nan_to_num(found, nan=-1).astype(np.int64)
        if (
            found.ndim != 1
            or (indices != found).any()
            or (indices < 0).any()
            or (indices >= task.logits_dimension).any()
        ):
            raise DataError(
                f"the input_fn yields labels outside 0 ... {task.logits_dimension - 1} (shape {found.shape}); "
                f"number_of_classes() is {task.logits_dimension}"
            )
        return indices.astype(np.int32)


def prepare_stream(provider: YieldsBatches, options: PrepareOptions) -> StreamData:
    """Reads the evaluation batches once and freezes them; training batches are read as they are needed.

    The training data are opened again when they are exhausted. Labels are learnt from a bounded number of batches.

    Raises:
        DataError: if the provider yields something else than batches of features and labels.
    """
    source = _Source(provider, options.batch_size, _feature_names(provider))
    evaluation = list(_bounded(source.batches("eval", options.seed), options.eval_steps))
    if not evaluation:
        raise DataError("the input_fn for 'eval' yields no batch; expected at least one")
    shapes = {batch.features.shape[1:] for batch in evaluation}
    found = [batch.labels for batch in evaluation]
    sample: list[np.ndarray] = []
    for batch in itertools.islice(source.batches("train", options.seed), FITTING_BATCHES):
        shapes.add(batch.features.shape[1:])
        sample.append(batch.labels)
    if not sample:
        raise DataError("the input_fn for 'train' yields no batch; expected at least one")
    if len(shapes) > 1:
        raise DataError(f"the input_fn yields features of different shapes: {sorted(shapes)}; expected one shape")
    code = _label_code(int(provider.number_of_classes()), sample, found, options.task_kind)
    valid = _concatenate([code.rows(batch) for batch in evaluation])

    def train_batches(seed: int) -> Iterator[Rows]:
        for epoch in itertools.count():
            empty = True
            for batch in source.batches("train", _epoch_seed(seed, epoch)):
                empty = False
                yield code.rows(batch)
            if empty:
                raise DataError("the input_fn for 'train' yields no batch when it is opened again")

    return StreamData(
        task=code.task,
        train_batches=train_batches,
        valid=valid,
        fingerprint=_fingerprint(valid, code.task),
        description={
            "task": code.task.to_json(),
            "schema": None,
            "split": {"by": "the provider's 'eval' data, read once", "valid_rows": len(valid)},
            "columns": list(evaluation[0].names),
            "reading": {"source": "input_fn"},
            "notes": [],
        },
        loss_fn=provider.get_loss_fn(),
        metric_fn=provider.get_metric_fn(),
    )


def _bounded(batches: Iterator[_Batch], steps: int | None) -> Iterator[_Batch]:
    """As many batches as may be kept in memory."""
    rows = size = 0
    for batch in itertools.islice(batches, steps):
        yield batch
        rows, size = rows + len(batch.labels), size + batch.features.nbytes
        if rows >= MAX_EVAL_ROWS or size >= MAX_EVAL_BYTES:
            return


def _feature_names(provider: YieldsBatches) -> tuple[str, ...] | None:
    """The features that `get_feature_columns` names; None where it names none."""
    try:
        found = provider.get_feature_columns()
    except NotImplementedError:
        return None
    if found is None:
        return None
    for column in found:
        if type(column).__name__ != "NumericColumn" and not (hasattr(column, "key") and hasattr(column, "shape")):
            raise UnsupportedError(
                f"get_feature_columns returns a {type(column).__name__}; only numeric columns are read: "
                "turn the feature into numbers in the input_fn, and name it with tf.feature_column.numeric_column"
            )
    return tuple(str(column.key) for column in found)


def _label_code(
    width: int, sample: Sequence[np.ndarray], evaluation: Sequence[np.ndarray], kind: TaskKind | None
) -> _LabelCode:
    """Finds out from some batches how labels are written."""
    if width < 1:
        raise DataError(f"number_of_classes() is {width}; expected at least 1")
    found = [*sample, *evaluation]
    first = found[0]
    if kind is TaskKind.REGRESSION or (kind is None and _is_regression(first, width)):
        return _LabelCode(_regression(width, sample), False, None)
    if width == 1:
        raise DataError(
            f"number_of_classes() is 1, yet the labels are {first.dtype}; expected the number of classes, "
            "or float labels for regression"
        )
    if first.dtype.kind in "OSU":
        values = sorted({_text(value) for part in found for value in part.tolist()})
        if len(values) > width:
            raise DataError(f"the labels are {len(values)} different texts, number_of_classes() is {width}")
        if len(values) < width:
            raise DataError(
                f"the first {FITTING_BATCHES} batches hold {len(values)} different labels, number_of_classes() is "
                f"{width}; yield class numbers instead, or shuffle the rows"
            )
        return _LabelCode(_classes(tuple(values)), False, {value: index for index, value in enumerate(values)})
    classes: tuple[Label, ...] = (False, True) if first.dtype.kind == "b" and width == 2 else tuple(range(width))
    return _LabelCode(_classes(classes), first.ndim == 2, None)


def _is_regression(found: np.ndarray, width: int) -> bool:
    if found.dtype.kind not in "fiu":
        return False
    if width == 1:
        return found.ndim == 1
    one_hot = found.ndim == 2 and bool(np.isin(found, (0, 1)).all() and (found.sum(axis=1) == 1).all())
    return found.ndim == 2 and found.shape[1] == width and not one_hot


def _regression(width: int, sample: Sequence[np.ndarray]) -> Task:
    values = np.concatenate([part.astype(np.float64).ravel() for part in sample])
    task = Task(
        TaskKind.REGRESSION,
        "label",
        width,
        inferred=f"{width} number(s) are predicted: number_of_classes() is {width}.",
    )
    return labels.fit_scale(task, values)


def _classes(values: tuple[Label, ...]) -> Task:
    sentence = f"one of {len(values)} classes is predicted: number_of_classes() is {len(values)}."
    return Task(TaskKind.CLASSIFICATION, "label", len(values), values, inferred=sentence)


def _to_numpy(values: Any) -> np.ndarray:
    array = values.numpy() if hasattr(values, "numpy") else np.asarray(values)
    array = np.asarray(array)
    if array.ndim == 0:
        raise DataError("the input_fn yields single rows; expected batches: call .batch(batch_size) on the dataset")
    return array


def _floats(array: np.ndarray, what: str) -> np.ndarray:
    if array.dtype.kind not in "biuf":
        raise UnsupportedError(f"{what} is {array.dtype}; expected numbers: turn texts into numbers in the input_fn")
    floats = array.astype(np.float32)
    if not np.isfinite(floats).all():
        raise DataError(f"{what} holds NaN or infinite numbers; replace them in the input_fn")
    return floats[:, None] if floats.ndim == 1 else floats


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def _concatenate(parts: Sequence[Rows]) -> Rows:
    weights = [part.weights for part in parts if part.weights is not None]
    return Rows(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate(weights) if len(weights) == len(parts) else None,
    )


def _fingerprint(valid: Rows, task: Task) -> str:
    """SHA-256 of the task and the frozen rows, whatever their order."""
    digest = hashlib.sha256(repr((task.kind.value, task.logits_dimension, task.classes, valid.features.shape)).encode())
    rows = (
        hashlib.sha256(features.tobytes() + label.tobytes()).digest()
        for features, label in zip(valid.features, valid.labels, strict=True)
    )
    for row in sorted(rows):
        digest.update(row)
    return digest.hexdigest()
