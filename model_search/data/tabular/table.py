"""From raw columns to `TableData`: task, split, features. CSV files and arrays share it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.prepare_options import READING_RULES, PrepareOptions
from model_search.data.prepared_data import TableData
from model_search.data.rows import Rows
from model_search.data.tabular import columns, earlier_rules, labels
from model_search.data.tabular.label_column import LabelColumn, read_labels
from model_search.data.tabular.preprocess import Preprocessor
from model_search.data.tabular.schema import TEXT, Target, infer_schema
from model_search.data.tabular.split import split_rows
from model_search.data.task import Task, TaskKind
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS = 10
GIVEN_VALIDATION = "given validation data"  # how rows are split where the user has done it


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
        kinds: The user's choices for columns, see `infer_schema`; of the label column "text" alone has an effect.
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


def table_task(raw: RawTable, kind: TaskKind | None = None, rules: int = READING_RULES) -> tuple[LabelColumn, Task]:
    """Reads the labels and infers the task; DataError where there is nothing to learn."""
    series = raw.rows.labels
    if rules < READING_RULES:
        column = earlier_rules.read_labels(series)
    else:
        column = read_labels(series, as_text=raw.kinds.get(str(series.name)) == TEXT)
    weight = None if raw.rows.weights is None else str(raw.rows.weights.name)
    return column, labels.infer_task(column, kind or raw.task_kind, raw.logits_dimension, weight)


def prepare_table(raw: RawTable, options: PrepareOptions) -> TableData:
    """Infers the task, splits the rows, fits the features on the training rows and transforms all rows.

    Raises:
        DataError: if the rows cannot be learnt from.
    """
    rules = options.reading_rules
    column, task = table_task(raw, options.task_kind, rules)
    notes: list[str] = []
    if task.kind is TaskKind.CLASSIFICATION:
        notes += [f"label column {column.name!r}: {said}" for said in (column.respelled, column.alike) if said]
    part = _labelled(raw.rows, column, task, notes, raw.source, rules)
    if len(part.targets) < MIN_ROWS:
        raise DataError(f"{raw.source} has {len(part.targets)} rows with a label; expected at least {MIN_ROWS}")
    if raw.validation is None:
        train, valid, split = _split(part, task, options, notes)
    else:
        train = part
        other = labels.read_like_training(raw.validation.labels, task, rules)
        valid = _labelled(raw.validation, other, task, notes, "the validation data", rules)
        if not len(valid.targets):
            raise DataError("the validation data have no row with a label; expected at least one")
        split = {"by": GIVEN_VALIDATION}
    if rules < READING_RULES:
        train, valid = _as_before(train), _as_before(valid)
    split |= {"train_rows": len(train.targets), "valid_rows": len(valid.targets)}
    task = labels.fit_scale(task, train.targets, checked=rules >= READING_RULES)
    notes += labels.scale_notes(task, train.targets)
    schema, found = infer_schema(train.frame, Target(train.targets, len(task.classes)), raw.kinds)
    notes += found
    preprocessor = Preprocessor(schema)
    description = {
        "task": task.to_json(),
        "schema": schema.to_json(),
        "split": split,
        "columns": list(raw.columns),
        "reading": dict(raw.reading),
        "reading_rules": rules,
        "notes": notes,
    }
    rows = _rows(train, task, preprocessor, None)
    return TableData(
        task=task,
        train=rows,
        valid=_rows(valid, task, preprocessor, lambda said: notes.append(f"validation rows, {said}")),
        fingerprint=fingerprint([train, valid], task),
        description=description,
        preprocessor=preprocessor,
        loss_fn=raw.loss_fn,
        metric_fn=raw.metric_fn,
    )


def _as_before(part: _Part) -> _Part:
    return dataclasses.replace(part, frame=earlier_rules.read_frame(part.frame))


def missing_labels(column: LabelColumn) -> str:
    """What stands where labels are missing: " (2 'NA', 3 empty)"."""
    found = ", ".join(f"{count} {what}" for what, count in sorted(column.missing_as.items()))
    return f" ({found})" if found else ""


def _labelled(rows: RawRows, column: LabelColumn, task: Task, notes: list[str], source: str, rules: int) -> _Part:
    """The rows that have a label, encoded."""
    present = np.flatnonzero(~column.missing)
    lost = len(column.codes) - len(present)
    weights = None if rows.weights is None else check_weights(rows.weights)
    frame = rows.frame
    if lost:
        notes.append(
            f"{lost} rows of {source} have no label in column {column.name!r} and were left out{missing_labels(column)}"
        )
        frame = frame.iloc[present].reset_index(drop=True)
        weights = None if weights is None else weights[present]
    if weights is not None and not weights.any():
        raise DataError(f"every weight in {source} is 0; expected some above 0")
    return _Part(frame, labels.encode(column.take(present), task, rules, notes.append), weights)


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
    weights = values.astype(np.float32)
    bad = np.flatnonzero(((values > 0) & (weights == 0)) | (values >= columns.LARGEST))
    if len(bad):
        raise DataError(
            f"weight column {str(series.name)!r} holds {series.iloc[int(bad[0])]!r} in row {bad[0] + 1}, beyond what "
            "float32 holds; multiply or divide all weights by a constant"
        )
    return weights


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


def _rows(part: _Part, task: Task, preprocessor: Preprocessor, note: Callable[[str], None] | None) -> Rows:
    return Rows.of(preprocessor.transform(part.frame, note), labels.to_rows(part.targets, task), part.weights)


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
            codes, texts = columns.distinct_texts(series)
            text = "\x1f".join(np.array(texts, dtype=object)[codes])
        yield (separator + text).encode("utf-8", "surrogatepass")
        separator = "\x1f"
