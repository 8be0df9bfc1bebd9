"""From raw columns to `TableData`: task, split, features. CSV files and arrays share it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.prepare_options import (
    RULES_AS_DECLARED,
    RULES_AS_WRITTEN,
    RULES_OF_ALL_ROWS,
    RULES_OF_NEW_STUDIES,
    PrepareOptions,
)
from model_search.data.prepared_data import TableData
from model_search.data.rows import FEATURES, Rows
from model_search.data.tabular import columns, earlier_rules, labels
from model_search.data.tabular.arrangement import BY_GROUP, BY_TIME, Arrangement
from model_search.data.tabular.categories.target_effects import ReadRows, fitted_effects
from model_search.data.tabular.categories.target_means import Target, give_means_of_others
from model_search.data.tabular.column_statistics import table_spec
from model_search.data.tabular.label_column import LabelColumn, read_labels
from model_search.data.tabular.preprocess import Preprocessor
from model_search.data.tabular.schema import TEXT, infer_schema
from model_search.data.tabular.several_tasks import (
    OtherTargets,
    OtherTask,
    counted,
    encode_other,
    infer_other_tasks,
    scaled,
)
from model_search.data.tabular.split import split_groups, split_latest, split_rows
from model_search.data.tabular.task_choice import TaskChoice
from model_search.data.task import Task, TaskKind
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS = 10
GIVEN_VALIDATION = "given validation data"  # how rows are split where the user has done it


@dataclasses.dataclass(frozen=True)
class RawRows:
    """Raw rows.

    Attributes:
        frame: Feature columns.
        labels: The label column, of several tasks the primary one's.
        weights: The weight column; None where there is none.
        others: The label (and weight) columns of further tasks, by name.
        arrangement: The group or the time of each row; None where rows are independent.
        notes: What people should know of how they were read.
    """

    frame: pd.DataFrame
    labels: pd.Series
    weights: pd.Series | None = None
    others: Mapping[str, OtherTask] = dataclasses.field(default_factory=dict)
    arrangement: Arrangement | None = None
    notes: tuple[str, ...] = ()

    def with_primary(self, name: str | None) -> RawRows:
        """The same rows with another primary task; None leaves it as it is.

        Raises:
            DataError: if there is no such task.
        """
        first = str(self.labels.name)
        if name is None or name == first:
            return self
        if name not in self.others:
            known = ", ".join(map(repr, (first, *self.others)))
            raise DataError(f"there is no label {name!r} for the primary task; the data have {known}")
        chosen = self.others[name]
        rest = {other: columns for other, columns in self.others.items() if other != name}
        others = {first: OtherTask(self.labels, self.weights), **rest}
        return RawRows(self.frame, chosen.labels, chosen.weights, others, self.arrangement, self.notes)


@dataclasses.dataclass(frozen=True)
class RawTable:
    """The raw table of a provider, with the user's choices.

    Attributes:
        rows: The rows to train on (and, where `validation` is None, to validate on).
        validation: Rows to validate on.
        columns: Every column of the source, in its order.
        task_kind: The user's choice of a task.
        task_kinds: The same for each of several tasks, by name.
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
    task_kind: TaskChoice | None = None
    task_kinds: Mapping[str, TaskChoice | None] = dataclasses.field(default_factory=dict)
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
    others: Mapping[str, OtherTargets] = dataclasses.field(default_factory=dict)
    arrangement: Arrangement | None = None

    def take(self, rows: np.ndarray) -> _Part:
        weights = None if self.weights is None else self.weights[rows]
        others = {name: other.take(rows) for name, other in self.others.items()}
        arrangement = None if self.arrangement is None else self.arrangement.take(rows)
        frame = self.frame.iloc[rows].reset_index(drop=True)
        return _Part(frame, self.targets[rows], weights, others, arrangement)


def table_task(
    raw: RawTable, kind: TaskKind | None = None, rules: int = RULES_OF_NEW_STUDIES
) -> tuple[LabelColumn, Task]:
    """Reads the labels and infers the task; DataError where there is nothing to learn."""
    series = raw.rows.labels
    if rules < RULES_AS_WRITTEN:
        column = earlier_rules.read_labels(series)
    else:
        column = read_labels(series, as_text=raw.kinds.get(str(series.name)) == TEXT, rules=rules)
    weight = None if raw.rows.weights is None else str(raw.rows.weights.name)
    chosen = raw.task_kind or raw.task_kinds.get(str(series.name)) if kind is None else TaskChoice(kind)
    return column, labels.infer_task(column, _in_own_order(chosen, series), raw.logits_dimension, weight)


def _in_own_order(choice: TaskChoice | None, series: pd.Series) -> TaskChoice | None:
    """The choice with the order that the type of the labels has, where the user gives none."""
    import pandas as pd

    if choice is None or not choice.ordered or choice.classes:
        return choice
    if not isinstance(series.dtype, pd.CategoricalDtype) or not series.dtype.ordered:
        return choice
    return dataclasses.replace(choice, classes=tuple(series.dtype.categories.tolist()))


def prepare_table(raw: RawTable, options: PrepareOptions) -> TableData:
    """Infers the task, splits the rows, fits the features on the training rows and transforms all rows.

    Raises:
        DataError: if the rows cannot be learnt from.
    """
    rules = options.reading_rules
    raw = _with_primary(raw, options.primary_task)
    column, task = table_task(raw, options.task_kind, rules)
    others = infer_other_tasks(raw.rows.others, raw.task_kinds, rules)
    notes: list[str] = [*raw.rows.notes, *(other.inferred for other in others.values())]
    if task.kind is TaskKind.CLASSIFICATION:
        notes += [f"label column {column.name!r}: {said}" for said in (column.respelled, column.alike) if said]
    part = _labelled(raw.rows, column, task, notes, raw.source, rules)
    part = _with_others(part, raw.rows, column, others, notes)
    if len(part.targets) < MIN_ROWS:
        raise DataError(f"{raw.source} has {len(part.targets)} rows with a label; expected at least {MIN_ROWS}")
    if raw.validation is None:
        train, valid, split = _split(part, task, options, notes)
    else:
        train = part
        notes += [f"validation data, {said}" for said in raw.validation.notes]
        other = labels.read_like_training(raw.validation.labels, task, rules)
        valid = _labelled(raw.validation, other, task, notes, "the validation data", rules)
        valid = _with_others(valid, raw.validation, other, others, notes)
        if not len(valid.targets):
            raise DataError("the validation data have no row with a label; expected at least one")
        split = {"by": GIVEN_VALIDATION}
    if rules < RULES_AS_WRITTEN:
        train, valid = _as_before(train), _as_before(valid)
    if rules >= RULES_AS_DECLARED:
        notes += counted(train.weights, valid.weights, valid.others, "rows")
    split |= {"train_rows": len(train.targets), "valid_rows": len(valid.targets)}
    task = labels.fit_scale(task, train.targets, checked=rules >= RULES_AS_WRITTEN)
    if rules >= RULES_AS_WRITTEN and split["by"] != BY_TIME:  # what comes later may lie beyond what was
        known = [train.targets, valid.targets] if rules >= RULES_OF_ALL_ROWS else [train.targets]
        task = labels.fit_range(task, np.concatenate(known))
    notes += labels.scale_notes(task, train.targets)
    notes += [] if others else labels.spread_notes(task, train.targets)  # the options are those of one label
    others = scaled(others, train.others)
    with_units = raw.reading.get("decimal") != ","
    time = str(split["column"]) if split["by"] == BY_TIME else ""
    target, later = _target(train, task, options.seed), _target(valid, task, options.seed)
    schema, found = infer_schema(train.frame, target, raw.kinds, rules, with_units=with_units, time=time)
    notes += found
    preprocessor = Preprocessor(schema)
    rows = _rows(train, task, others, preprocessor, None)
    valid_rows = _rows(valid, task, others, preprocessor, lambda said: notes.append(f"validation rows, {said}"))
    # Rows that the user gives to validate on have no part in what is read: no model is trained on them, either.
    more = None if split["by"] == GIVEN_VALIDATION else (valid.frame, later)
    read = schema
    schema = give_means_of_others(rows.inputs[FEATURES], schema, train.frame, target, more)
    effects = fitted_effects(
        read,
        ReadRows(rows.inputs[FEATURES], train.frame, target),
        ReadRows(valid_rows.inputs[FEATURES], valid.frame, later),
    )
    if effects is not None:
        rows = rows.with_inputs({FEATURES: effects.training})
        valid_rows = valid_rows.with_inputs({FEATURES: effects.validation})
        schema = effects.schema if more is None else effects.of_all
        notes.append(effects.note)
    description = {
        "task": task.to_json(),
        "schema": schema.to_json(),
        "split": split,
        "columns": list(raw.columns),
        "reading": dict(raw.reading),
        "reading_rules": rules,
        "notes": notes,
    }
    if others:
        description["other_tasks"] = [other.to_json() for other in others.values()]
    return TableData(
        task=task,
        train=rows,
        valid=valid_rows,
        fingerprint=fingerprint([train, valid], task),
        description=description,
        preprocessor=Preprocessor(schema),
        loss_fn=raw.loss_fn,
        metric_fn=raw.metric_fn,
        other_tasks=others,
        groups=_all_groups(train, valid),
        own_specs={FEATURES: table_spec(schema, rows.inputs[FEATURES])},
    )


def _with_primary(raw: RawTable, name: str | None) -> RawTable:
    validation = None if raw.validation is None else raw.validation.with_primary(name)
    return dataclasses.replace(raw, rows=raw.rows.with_primary(name), validation=validation)


def _with_others(part: _Part, rows: RawRows, column: LabelColumn, tasks: Mapping[str, Task], notes: list[str]) -> _Part:
    """The part with the labels of further tasks; of `rows` it holds those that have a label in `column`."""
    kept = np.flatnonzero(~column.missing)
    found = {}
    for name, task in tasks.items():
        if name not in rows.others:
            raise DataError(f"the validation data have no labels of the task {name!r}; expected them for every task")
        series, weights = rows.others[name]
        own = part.weights if weights is None else check_weights(weights)[kept]
        found[name] = encode_other(series, task, kept, own, notes.append)
    return dataclasses.replace(part, others=found)


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
    arrangement = None if rows.arrangement is None else rows.arrangement.take(present)
    targets = labels.encode(column.take(present), task, rules, notes.append)
    return _Part(frame, targets, weights, arrangement=arrangement)


def check_weights(series: pd.Series) -> np.ndarray:
    """The weights as float32 [rows].

    Raises:
        DataError: if one is missing, no number, infinite or below 0; the message names the row.
    """
    values = columns.numbers_of(series)
    bad = np.flatnonzero(~(values >= 0))
    if len(bad):
        cell = series.iloc[int(bad[0])]
        cell = cell.item() if isinstance(cell, np.generic) else cell
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
    if part.arrangement is not None:
        return _arranged(part, part.arrangement, options)
    classes = part.targets if task.kind is TaskKind.CLASSIFICATION else None
    train, valid, whole = split_rows(len(part.targets), options.valid_fraction, options.seed, classes)
    if not len(valid):
        raise DataError(
            f"every class has too few rows to keep some for validation ({len(part.targets)} rows, "
            f"{task.logits_dimension} classes); give validation data, or task='regression' for numbers"
            + labels.unit_hint(task.classes)
        )
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


def _arranged(part: _Part, arrangement: Arrangement, options: PrepareOptions) -> tuple[_Part, _Part, dict[str, Any]]:
    """A split that keeps groups together, or validates on the latest rows."""
    split: dict[str, Any] = {"by": arrangement.by, "column": arrangement.column}
    split["valid_fraction"] = options.valid_fraction
    if arrangement.by == BY_TIME:
        train, valid = split_latest(arrangement.values, options.valid_fraction)
    else:
        train, valid = split_groups(arrangement.values, options.valid_fraction, options.seed)
        split["seed"] = options.seed
    return part.take(train), part.take(valid), split


def _all_groups(train: _Part, valid: _Part) -> np.ndarray | None:
    """The group of each row of training and validation."""
    first, later = _groups(train), _groups(valid)
    return None if first is None or later is None else np.concatenate([first, later])


def _target(part: _Part, task: Task, seed: int) -> Target:
    return Target(task.learnt(part.targets), len(task.classes), part.weights, _groups(part), seed)


def _groups(part: _Part) -> np.ndarray | None:
    return part.arrangement.values if part.arrangement is not None and part.arrangement.by == BY_GROUP else None


def _rows(
    part: _Part,
    task: Task,
    others: Mapping[str, Task],
    preprocessor: Preprocessor,
    note: Callable[[str], None] | None,
) -> Rows:
    features, targets = preprocessor.transform(part.frame, note), labels.to_rows(part.targets, task)
    if not others:
        return Rows.of(features, targets, part.weights)
    weights = {task.label: part.weights, **{name: other.weights for name, other in part.others.items()}}
    return Rows(
        {FEATURES: features},
        {task.label: targets, **{name: other.to_rows(others[name]) for name, other in part.others.items()}},
        {name: values for name, values in weights.items() if values is not None},
    )


def fingerprint(parts: list[_Part], task: Task) -> str:
    """SHA-256 of column names, cells, labels and weights; the same in every process."""
    digest = hashlib.sha256()
    digest.update(repr((task.kind.value, task.label, task.classes)).encode())
    if task.ordered or task.quantiles:
        digest.update(repr((task.ordered, task.quantiles)).encode())
    for part in parts:
        for name in part.frame.columns:
            digest.update(f"\n{name}\n".encode("utf-8", "surrogatepass"))
            for cells in _bytes_of(part.frame[name]):
                digest.update(cells)
        digest.update(part.targets.tobytes())
        digest.update(b"" if part.weights is None else part.weights.tobytes())
        for name, other in part.others.items():
            digest.update(f"\ntask {name}\n".encode("utf-8", "surrogatepass"))
            digest.update(other.values.tobytes())
            digest.update(b"" if other.weights is None else other.weights.tobytes())
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
