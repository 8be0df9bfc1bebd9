"""From labels beside rows of any kind to the task, and to the rows to train on and to validate on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.prepare_options import PrepareOptions
from model_search.data.rows import Arrays, Rows
from model_search.data.tabular import labels as label_columns
from model_search.data.tabular.split import split_rows
from model_search.data.tabular.table import check_weights
from model_search.data.task import Task, TaskKind
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS = 10


@dataclasses.dataclass(frozen=True)
class Labels:
    """The labels of some rows.

    Attributes:
        values: One for each row, the user's own; a missing one leaves its row out.
        weights: One for each row, at least 0; None where all weigh the same.
        name: What the label is called.
        weight_name: What the weights are called.
    """

    values: Any
    weights: Any = None
    name: str = "label"
    weight_name: str = "weight"

    def series(self, rows: int, what: str) -> pd.Series:
        """The labels as a column.

        Raises:
            DataError: if there is not one for each row.
        """
        return _column(self.values, self.name, rows, what, "label")

    def checked_weights(self, rows: int, what: str) -> np.ndarray | None:
        """The weights, float32 [rows].

        Raises:
            DataError: if there is not one for each row, or one is no number from 0 on.
        """
        if self.weights is None:
            return None
        return check_weights(_column(self.weights, self.weight_name, rows, what, "weight"))


@dataclasses.dataclass(frozen=True)
class ChosenRows:
    """Rows that have a label.

    Attributes:
        part: In which of the parts they are.
        numbers: Their numbers, int [rows].
        targets: Class indices int32 [rows], or numbers float64 [rows] in the user's units.
        weights: float32 [rows]; None where all weigh the same.
    """

    part: int
    numbers: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None

    def take(self, rows: np.ndarray) -> ChosenRows:
        """Some of them."""
        weights = None if self.weights is None else self.weights[rows]
        return ChosenRows(self.part, self.numbers[rows], self.targets[rows], weights)

    def rows(self, inputs: Arrays, task: Task) -> Rows:
        """Them as rows with these inputs, which are those of the whole part."""
        own = {name: values[self.numbers] for name, values in inputs.items()}
        return Rows.of(own, label_columns.to_rows(self.targets, task), self.weights)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What is predicted, and from which rows it is learnt.

    Attributes:
        task: What is predicted.
        train: The rows to train on.
        valid: The rows to validate on.
        split: How they were chosen, for the study's description of its data.
        notes: What people should know of it.
    """

    task: Task
    train: ChosenRows
    valid: ChosenRows
    split: dict[str, Any]
    notes: list[str]


def infer(parts: Sequence[tuple[int, Labels]], what: str, kind: TaskKind | None) -> Task:
    """The task of the labels of the first part."""
    rows, own = parts[0]
    weight = None if own.weights is None else own.weight_name
    return label_columns.infer_task(label_columns.read_labels(own.series(rows, what)), kind, weight=weight)


def choose_rows(
    parts: Sequence[tuple[int, Labels]], what: str, kind: TaskKind | None, options: PrepareOptions
) -> Choice:
    """Infers the task and splits the rows.

    Args:
        parts: The number of rows and their labels, of those to train on; then, where they are given, of those to
            validate on.
        what: What the rows are called, in the plural.
        kind: The provider's choice of a task.
        options: How to prepare data.

    Raises:
        DataError: if there is nothing to learn, or there are too few rows.
    """
    notes: list[str] = []
    task = infer(parts, what, options.task_kind or kind)
    found = [_encoded(number, part, what, task, notes) for number, part in enumerate(parts)]
    if len(found[0].numbers) < MIN_ROWS:
        raise DataError(f"there are {len(found[0].numbers)} {what} with a label; expected {MIN_ROWS} or more")
    split: dict[str, Any] = {"by": "given validation data"}
    if len(found) == 1:
        found, split = _split(found[0], what, task, options, notes)
    train, valid = found
    if not len(valid.numbers):
        raise DataError(f"the validation {what} have no label; expected at least one with a label")
    split |= {"train_rows": len(train.numbers), "valid_rows": len(valid.numbers)}
    task = label_columns.fit_scale(task, train.targets)
    notes += label_columns.scale_notes(task, train.targets)
    return Choice(task, train, valid, split, notes)


def _encoded(number: int, part: tuple[int, Labels], what: str, task: Task, notes: list[str]) -> ChosenRows:
    count, own = part
    column = label_columns.read_like_training(own.series(count, what), task, rules=2)
    present = np.flatnonzero(~column.missing)
    if len(present) < count:
        notes.append(f"{count - len(present)} {what} have no label and are left out")
    targets = label_columns.encode(column.take(present), task, note=notes.append)
    weights = own.checked_weights(count, what)
    return ChosenRows(number, present, targets, None if weights is None else weights[present])


def _split(
    part: ChosenRows, what: str, task: Task, options: PrepareOptions, notes: list[str]
) -> tuple[list[ChosenRows], dict[str, Any]]:
    classes = part.targets if task.kind is TaskKind.CLASSIFICATION else None
    train, valid, whole = split_rows(len(part.targets), options.valid_fraction, options.seed, classes)
    if not len(valid):
        raise DataError(f"every class has too few {what} to keep some for validation; give validation data")
    if whole:
        shown = ", ".join(repr(task.classes[index]) for index in whole[:10])
        notes.append(f"classes with too few {what} to be split stay in training: {shown}")
    by = "shuffled" if classes is None else "shuffled, stratified by class"
    found = {"by": by, "seed": options.seed, "valid_fraction": options.valid_fraction}
    return [part.take(train), part.take(valid)], found


def _column(values: Any, name: str, rows: int, what: str, role: str) -> pd.Series:
    import pandas as pd

    if isinstance(values, list | tuple):
        values, given = np.empty(len(values), dtype=object), values
        values[:] = given
    found = np.asarray(values)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.shape != (rows,):
        raise DataError(f"{rows} {what}, {role}s of shape {found.shape}; expected one {role} for each")
    return pd.Series(found, name=name)


def evaluated_rows(
    inputs: Arrays, labels: Labels, what: str, task: Task, note: Callable[[str], None] | None = None
) -> Rows:
    """Later rows with labels; those without one are dropped.

    Args:
        inputs: Of all rows.
        labels: Their labels.
        what: What the rows are called, in the plural.
        task: What is predicted.
        note: Called with a sentence for labels that are missing, or not taken as they are.

    Raises:
        DataError: if no row has a label, or one is unknown.
    """
    notes: list[str] = []
    count = len(next(iter(inputs.values())))
    found = _encoded(0, (count, labels), what, task, notes)
    if note is not None:
        for sentence in notes:
            note(sentence)
    if not len(found.numbers):
        raise DataError(f"none of the {what} has a label; expected labels to evaluate on")
    return found.rows(inputs, task)
