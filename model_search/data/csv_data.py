"""Data from a CSV file."""

from __future__ import annotations

import dataclasses
import difflib
import numbers
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from model_search.data.array_data import check_columns
from model_search.data.prepare_options import (
    RULES_AS_WRITTEN,
    RULES_OF_NEW_STUDIES,
    RULES_WITH_UNITS,
    PrepareOptions,
)
from model_search.data.prepared_data import PreparedData
from model_search.data.provider import Provider as BaseProvider
from model_search.data.tabular import csv_reading, schema
from model_search.data.tabular.arrangement import arrangement_of
from model_search.data.tabular.several_tasks import OtherTask
from model_search.data.tabular.table import RawRows, RawTable, prepare_table, table_task
from model_search.data.tabular.task_choice import parse_choice, parse_choices
from model_search.data.task import TaskKind
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_TAKEN_FOR_DATA = (
    "; its first row is taken for data: where it holds the names, give each column one of its own, or header=True"
)


class Provider(BaseProvider):
    """Rows from a CSV file: `Provider(filename="train.csv", label="income")` is enough.

    Args:
        label_index: Number of the label column, from 0 (negative: from the end); or give `label`.
        logits_dimension: Number of classes; counted where None. Above 1 it means classes.
        record_defaults: A value for each column: a number marks a column of numbers, a text one of categories; the
            values have no effect otherwise. Of the label, a text says that numbers are texts (1.1 and 1.10 are two
            classes). Inferred if None.
        filename: The file; it may be compressed by gzip.
        validation_filename: A file to validate on; a part of the rows where None.
        field_delim: Between the fields; detected (comma, semicolon, tab, bar) if None.
        label: Name of the label column; of several tasks a list of names (the first is the primary task, unless the
            specification names another). A row may lack labels of all but the primary one.
        weight: Name of a column with the weight of each row.
        header: Whether the first row holds the names; "auto" detects it. Without names, columns are "column_0", ...
        task: "classification", "ordinal", "regression" or "quantile"; inferred where None. Of several tasks a dict by
            label.
        classes: The classes from the least to the most, for "ordinal"; numbers have an order.
        quantiles: For "quantile": rising numbers between 0 and 1; 0.1, 0.5 and 0.9 where None.
        log_target: Whether the logarithms of the labels are learnt, numbers above 0; predictions are in their units.
        encoding: Of the text.
        decimal: "." or ","; detected if None.
        groups: Name of a column; rows with the same value (of one person, say) stay together in the split and in folds.
            It is no feature. None where rows are independent.
        time: Name of a column of numbers or dates; the latest rows are those to validate on. It stays a feature,
            unless it numbers the rows. None where rows have no order.

    Raises:
        DataError: for arguments that do not fit; the files are read later, by `prepare`.
    """

    def __init__(
        self,
        label_index: int | None = None,
        logits_dimension: int | None = None,
        record_defaults: Sequence[Any] | None = None,
        filename: str | os.PathLike[str] | None = None,
        validation_filename: str | os.PathLike[str] | None = None,
        field_delim: str | None = None,
        *,
        label: str | Sequence[str] | None = None,
        weight: str | None = None,
        header: bool | str = "auto",
        task: str | TaskKind | Mapping[str, str | TaskKind | None] | None = None,
        classes: Sequence[Any] | None = None,
        quantiles: Sequence[float] | None = None,
        log_target: bool | None = None,
        encoding: str = "utf-8",
        decimal: str | None = None,
        groups: str | None = None,
        time: str | None = None,
    ):
        for name, path in (("filename", filename), ("validation_filename", validation_filename)):
            _check_path(name, path)
        first, self._others = _labels(label)
        for name, column in (("label", first), ("weight", weight), ("groups", groups), ("time", time)):
            if column is not None and not isinstance(column, str):
                raise DataError(f"{name} is {column!r}; expected the name of a column (label_index takes a number)")
        for name, number in (("label_index", label_index), ("logits_dimension", logits_dimension)):
            if number is not None and (not isinstance(number, numbers.Integral) or isinstance(number, bool)):
                raise DataError(f"{name} is {number!r}; expected a whole number, or None")
        if record_defaults is not None and (
            isinstance(record_defaults, str) or not isinstance(record_defaults, Iterable)
        ):
            raise DataError(f"record_defaults is {record_defaults!r}; expected a value for each column, or None")
        if not filename:
            raise DataError("no file was given; expected filename='train.csv'")
        if first is None and label_index is None:
            raise DataError("no label was given; expected label='COLUMN' (or label_index=NUMBER, from 0)")
        if logits_dimension is not None and logits_dimension < 1:
            raise DataError(f"logits_dimension is {logits_dimension}; expected at least 1, or None to infer it")
        self._filename = filename
        self._validation_filename = validation_filename or None
        self._reading = csv_reading.Reading(field_delim, header, encoding, decimal)
        self._label, self._label_index = first, label_index
        self._weight = weight
        self._groups, self._time = groups, time
        self._record_defaults = None if record_defaults is None else list(record_defaults)
        self._logits_dimension = logits_dimension
        if self._others and logits_dimension is not None:
            raise DataError("logits_dimension is for one label; leave it out, and classes are counted")
        choice = (classes, quantiles, log_target)
        self._tasks = parse_choices(task, [first, *self._others], *choice) if self._others else {}
        self._task = None if self._others else parse_choice(task, *choice)

    def number_of_classes(self) -> int:
        """The number of classes; 1 for regression."""
        return table_task(self._read())[1].logits_dimension

    def prepare(self, options: PrepareOptions) -> PreparedData:
        """Reads the file, splits the rows and turns them into features."""
        if self._weight is not None and options.weights not in ("", self._weight):
            raise DataError(
                f"weight is {self._weight!r}, and the specification's weight_feature_name {options.weights!r}; give one"
            )
        return prepare_table(self._read(options.reading_rules, options.weights or None), options)

    def _read(self, rules: int = RULES_OF_NEW_STUDIES, weight: str | None = None) -> RawTable:
        weight = self._weight or weight
        table = csv_reading.read_csv(self._filename, self._reading, self._label)
        names = [str(name) for name in table.frame.columns]
        label = self._find_label(table)
        if weight is not None:
            self._check_name(weight, table, "weight")
            if weight in (label, *self._others):
                raise DataError(f"column {weight!r} is given as label and as weight; expected two different columns")
        for one in self._others:
            self._check_name(one, table, "label")
        for role, column in (("groups", self._groups), ("time", self._time)):
            if column is not None:
                self._check_name(column, table, role)
                if column in (label, weight, *self._others):
                    raise DataError(
                        f"column {column!r} is given as {role} and as label or weight; expected another one"
                    )
        kinds = self._kinds(names)
        numbers, grouped, notes = names, list[str](), list[str]()
        reading: dict[str, Any] = {"source": "csv", **dataclasses.asdict(table.reading)}
        if rules >= RULES_AS_WRITTEN and table.reading.decimal == ",":  # version 1.0 replaced commas in all columns
            found = table.number_columns(label, of_points=rules >= RULES_WITH_UNITS)
            numbers = [name for name in names if name in found or kinds.get(name) == schema.NUMBER]
            reading["number_columns"] = numbers
            if rules >= RULES_WITH_UNITS:
                grouped, notes = table.grouped_columns(numbers)
                reading |= {"grouped_columns": grouped} if grouped else {}
        validation = None
        if self._validation_filename is not None:
            how = dataclasses.replace(self._reading, header=table.reading.header, decimal=table.reading.decimal)
            other = csv_reading.read_csv(self._validation_filename, how, label, None if table.reading.header else names)
            check_columns(other.frame, names, f"the validation data ({self._validation_filename})")
            validation = self._rows(other.with_points(numbers, grouped)[names], label, weight)
        rows = self._rows(table.with_points(numbers, grouped), label, weight)
        return RawTable(
            rows=dataclasses.replace(rows, notes=(*table.notes, *notes)),
            validation=validation,
            columns=tuple(names),
            task_kind=self._task,
            task_kinds=self._tasks,
            logits_dimension=self._logits_dimension,
            kinds=kinds,
            reading=reading,
            source=str(self._filename),
            loss_fn=self.get_loss_fn(),
            metric_fn=self.get_metric_fn(),
        )

    def _rows(self, frame: pd.DataFrame, label: str, weight: str | None) -> RawRows:
        others = {name: OtherTask(frame[name]) for name in self._others}
        taken = [name for name in (label, weight, self._groups, *others) if name is not None]
        weights = None if weight is None else frame[weight]
        groups, time = (None if name is None else frame[name] for name in (self._groups, self._time))
        return RawRows(frame.drop(columns=taken), frame[label], weights, others, arrangement_of(groups, time))

    def _find_label(self, table: csv_reading.CsvTable) -> str:
        names, by_index = [str(name) for name in table.frame.columns], None
        if self._label_index is not None:
            if not -len(names) <= self._label_index < len(names):
                raise DataError(
                    f"label_index is {self._label_index}, {self._filename} has {len(names)} columns; "
                    f"expected 0 to {len(names) - 1} ({', '.join(names)})"
                )
            by_index = names[self._label_index]
        if self._label is None:
            return str(by_index)
        self._check_name(self._label, table, "label")
        if by_index not in (None, self._label):
            raise DataError(
                f"label is {self._label!r}, but column {self._label_index} is {by_index!r}; give one of the two"
            )
        return self._label

    def _check_name(self, name: str, table: csv_reading.CsvTable, role: str) -> None:
        names = [str(name) for name in table.frame.columns]
        if name in names:
            return
        by_folded = {other.casefold(): other for other in names}
        close = difflib.get_close_matches(name.casefold(), list(by_folded), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(repr(by_folded[other]) for other in close)}? Its" if close else "its"
        shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        headerless = "" if table.reading.header or self._reading.header != "auto" else _TAKEN_FOR_DATA
        raise DataError(f"{self._filename} has no {role} column {name!r}; {hint} columns are: {shown}{headerless}")

    def _kinds(self, names: Sequence[str]) -> dict[str, str]:
        if self._record_defaults is None:
            return {}
        if len(self._record_defaults) != len(names):
            raise DataError(
                f"record_defaults has {len(self._record_defaults)} values, {self._filename} {len(names)} columns; "
                "expected one for each column (the label's too), or None to infer them"
            )
        kinds = (schema.TEXT if isinstance(value, str) else schema.NUMBER for value in self._record_defaults)
        return dict(zip(names, kinds, strict=True))


def _labels(label: Any) -> tuple[Any, tuple[str, ...]]:
    """The label of the first task, and those of the others."""
    if isinstance(label, str) or not isinstance(label, list | tuple):
        return label, ()
    if not label or not all(isinstance(name, str) for name in label) or len(set(label)) < len(label):
        raise DataError(f"label is {label!r}; expected the name of a column, or different names, one for each task")
    return label[0], tuple(label[1:])


def _check_path(name: str, value: Any) -> None:
    if value is None:
        return
    try:
        path = os.fspath(value)
    except TypeError:
        raise DataError(f"{name} is {value!r}; expected the path of a CSV file") from None
    if not isinstance(path, str) or "\0" in path:
        raise DataError(f"{name} is {path!r}; expected the path of a CSV file, a text without zero bytes")
