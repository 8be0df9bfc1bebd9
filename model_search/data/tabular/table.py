"""From raw columns to `TableData`: task, split, features. CSV files and arrays share it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.prepare_options import PrepareOptions
from model_search.data.prepared_data import TableData
from model_search.data.rows import Rows
from model_search.data.tabular import columns, labels
from model_search.data.tabular.preprocess import Preprocessor
from model_search.data.tabular.schema import Target, infer_schema
from model_search.data.tabular.split import split_rows
from model_search.data.task import Task, TaskKind
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS = 10


@dataclasses.dataclass(frozen=True)
class RawRows:
    """Raw rows: feature columns, the label column and (None where there is none) the weight column."""

    frame: pd.DataFrame
    labels: pd.Series
    weights: pd.Series | None = None


@dataclasses.dataclass(frozen=True)
class RawTable:
    """The raw table of a provider, with the user's choices.

    Attributes:
        rows: The rows to train on (and, where `validation` is None, to validate on).
        validation: Rows to validate on.
        columns: Every column of the source, in its order.
        task_kind: The user's choice of a task.
        logits_dimension: The user's number of classes.
        kinds: The user's choices for columns, see `infer_schema`.
        reading: How the source is read (JSON-able), for `reading.read_table`.
        source: Name of the rows in messages.
        loss_fn: The provider's own loss.
        metric_fn: The provider's own metric.
    """

    rows: RawRows
    validation: RawRows | None = None
    columns: tuple[str, ...] = ()
    task_kind: TaskKind | None = None
    logits_dimension: int | None = None
    kinds: Mapping[str, str] = dataclasses.field(default_factory=dict)
    reading: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    source: str = "the data"
    loss_fn: Callable[..., Any] | None = None
    metric_fn: Callable[..., Any] | None = None


@dataclasses.dataclass(frozen=True)
class _Part:
    """Rows whose labels are encoded."""

    frame: pd.DataFrame
    targets: np.ndarray
    weights: np.ndarray | None

    def take(self, rows: np.ndarray) -> _Part:
        weights = None if self.weights is None else self.weights[rows]
        return _Part(self.frame.iloc[rows].reset_index(drop=True), self.targets[rows], weights)


def table_task(raw: RawTable, kind: TaskKind | None = None) -> tuple[labels.LabelColumn, Task]:
    """Reads the labels and infers the task; DataError where there is nothing to learn."""
    column = labels.read_labels(raw.rows.labels)
    weight = None if raw.rows.weights is None else str(raw.rows.weights.name)
    return column, labels.infer_task(column, kind or raw.task_kind, raw.logits_dimension, weight)


def prepare_table(raw: RawTable, options: PrepareOptions) -> TableData:
    """Infers the task, splits the rows, fits the features on the training rows and transforms all rows.

    Raises:
        DataError: if the rows cannot be learnt from.
    """
    column, task = table_task(raw, options.task_kind)
    notes: list[str] = []
    part = _labelled(raw.rows, column, task, notes, raw.source)
    if len(part.targets) < MIN_ROWS:
        raise DataError(f"{raw.source} has {len(part.targets)} rows with a label; expected at least {MIN_ROWS}")
    if raw.validation is None:
        train, valid, split = _split(part, task, options, notes)
    else:
        train = part
        other = labels.read_labels(raw.validation.labels)
        valid = _labelled(raw.validation, other, task, notes, "the validation data")
        if not len(valid.targets):
            raise DataError("the validation data have no row with a label; expected at least one")
        split = {"by": "given validation data"}
    split |= {"train_rows": len(train.targets), "valid_rows": len(valid.targets)}
    task = labels.fit_scale(task, train.targets)
    schema, found = infer_schema(train.frame, Target(train.targets, len(task.classes)), raw.kinds)
    notes += found
    preprocessor = Preprocessor(schema)
    description = {
        "task": task.to_json(),
        "schema": schema.to_json(),
        "split": split,
        "columns": list(raw.columns),
        "reading": dict(raw.reading),
        "notes": notes,
    }
    return TableData(
        task=task,
        train=_rows(train, task, preprocessor),
        valid=_rows(valid, task, preprocessor),
        fingerprint=fingerprint([train, valid], task),
        description=description,
        preprocessor=preprocessor,
        loss_fn=raw.loss_fn,
        metric_fn=raw.metric_fn,
    )


def _labelled(rows: RawRows, column: labels.LabelColumn, task: Task, notes: list[str], source: str) -> _Part:
    """The rows that have a label, encoded."""
    present = np.flatnonzero(~column.missing)
    lost = len(column.codes) - len(present)
    weights = None if rows.weights is None else check_weights(rows.weights)
    frame = rows.frame
    if lost:
        notes.append(f"{lost} rows of {source} have no label in column {column.name!r} and were left out")
        frame = frame.iloc[present].reset_index(drop=True)
        weights = None if weights is None else weights[present]
    if weights is not None and not weights.any():
        raise DataError(f"every weight in {source} is 0; expected some above 0")
    return _Part(frame, labels.encode(column.take(present), task), weights)


def check_weights(series: pd.Series) -> np.ndarray:
    """The weights as float32 [rows].

    Raises:
        DataError: if one is missing, no number, infinite or below 0; the message names the row.
    """
    values = columns.numbers_of(series)
    bad = np.flatnonzero(~(values >= 0))
    if len(bad):
        cell = series.iloc[int(bad[0])]
        raise DataError(
            f"weight column {str(series.name)!r} holds {cell!r} in row {bad[0] + 1}; "
            "expected a number of at least 0 in each row"
        )
    return values.astype(np.float32)


def _split(part: _Part, task: Task, options: PrepareOptions, notes: list[str]) -> tuple[_Part, _Part, dict[str, Any]]:
    classes = part.targets if task.kind is TaskKind.CLASSIFICATION else None
    train, valid, whole = split_rows(len(part.targets), options.valid_fraction, options.seed, classes)
    if not len(valid):
        raise DataError("every class has too few rows to keep some for validation; give validation data")
    if whole:
        shown = ", ".join(repr(task.classes[index]) for index in whole[:10]) + (", ..." if len(whole) > 10 else "")
        what = "class has" if len(whole) == 1 else "classes have"
        notes.append(f"{what} too few rows to be split and stay in training: {shown}")
    split = {
        "by": "shuffled" if classes is None else "shuffled, stratified by class",
        "seed": options.seed,
        "valid_fraction": options.valid_fraction,
    }
    return part.take(train), part.take(valid), split


def _rows(part: _Part, task: Task, preprocessor: Preprocessor) -> Rows:
    return Rows.of(preprocessor.transform(part.frame), labels.to_rows(part.targets, task), part.weights)


def fingerprint(parts: list[_Part], task: Task) -> str:
    """SHA-256 of column names, cells, labels and weights; the same in every process."""
    digest = hashlib.sha256()
    digest.update(repr((task.kind.value, task.label, task.classes)).encode())
    for part in parts:
        for name in part.frame.columns:
            digest.update(f"\n{name}\n".encode("utf-8", "surrogatepass"))
            for cells in _bytes_of(part.frame[name]):
                digest.update(cells)
        digest.update(part.targets.tobytes())
        digest.update(b"" if part.weights is None else part.weights.tobytes())
    return digest.hexdigest()


def _bytes_of(series: pd.Series) -> Iterator[bytes]:
    """The column as bytes, a part after the other: numbers, or texts with a separator between them."""
    if columns.is_typed_number(series):
        yield columns.numbers_of(series).tobytes()
        return
    separator = ""
    for cells in columns.cells_of(series):
        if not len(cells):
            continue
        try:
            text = "\x1f".join(cells)
        except TypeError:  # not all of them are texts
            codes, _, texts = columns.distinct_cells(cells)
            text = "\x1f".join(np.array(texts, dtype=object)[codes])
        yield (separator + text).encode("utf-8", "surrogatepass")
        separator = "\x1f"
