"""Labels of tables: reads the label column, infers the task and encodes the labels."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.tabular import columns
from model_search.data.task import Label, Task, TaskKind
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MAX_WHOLE_CLASSES = 20
MAX_CLASSES = 1000
_WHOLE = re.compile(r"[+-]?(?:0|[1-9]\d*)", re.ASCII)


@dataclasses.dataclass(frozen=True)
class LabelColumn:
    """A label column as the user's own values.

    Attributes:
        name: The column's name.
        values: The different labels (str, int, float or bool), sorted.
        codes: int [rows], position in `values`; -1 where the label is missing.
    """

    name: str
    values: tuple[Label, ...]
    codes: np.ndarray

    @property
    def missing(self) -> np.ndarray:
        """Mask [rows] of the rows without a label."""
        return self.codes < 0

    @property
    def is_numeric(self) -> bool:
        """Whether every label is a number (a boolean is not)."""
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)

    @property
    def is_whole(self) -> bool:
        """Whether every label is a whole number."""
        return self.is_numeric and all(float(value).is_integer() for value in self.values)

    def numbers(self) -> np.ndarray:
        """float64 [rows], NaN where missing."""
        table = np.array([float(value) for value in self.values] + [math.nan], dtype=np.float64)
        return table[self.codes]

    def take(self, rows: np.ndarray) -> LabelColumn:
        """Some of the rows (numbers or a mask)."""
        return dataclasses.replace(self, codes=self.codes[rows])


def read_labels(series: pd.Series) -> LabelColumn:
    """Reads a column of labels, text (as in a CSV file) or typed."""
    import pandas as pd
    import pandas.api.types as types

    codes, raw = pd.factorize(series.to_numpy(dtype=object), use_na_sentinel=True)
    if columns.is_typed_number(series) or types.is_bool_dtype(series.dtype):
        labels = [_plain(value) for value in raw]
    else:
        labels = _from_cells(list(raw))
    order = sorted({_key(label): label for label in labels if label is not None}.values(), key=_rank)
    position = {_key(label): index for index, label in enumerate(order)}
    translate = np.array([-1 if label is None else position[_key(label)] for label in labels] + [-1], dtype=np.int64)
    return LabelColumn(str(series.name), tuple(order), translate[codes])


def _from_cells(cells: Sequence[Any]) -> list[Label | None]:
    """Different cells as labels: numbers if all of them are, else as they are."""
    texts = [cell.strip() if isinstance(cell, str) else None for cell in cells]
    if any(text is None for text in texts):
        return [cell if text is None else text for cell, text in zip(map(_plain, cells), texts, strict=True)]
    strings = [str(text) for text in texts]
    numbers = columns.parse_numbers(["" if text.lower() in columns.MISSING_MARKERS else text for text in strings])
    are_numbers = all(
        text.lower() in columns.MISSING_MARKERS or (not math.isnan(number) and not _has_leading_zero(text))
        for text, number in zip(strings, numbers, strict=True)
    )
    if are_numbers and not np.isnan(numbers).all():
        whole = all(_WHOLE.fullmatch(text) for text, number in zip(strings, numbers, strict=True) if number == number)
        return [None if math.isnan(number) else int(number) if whole else float(number) for number in numbers]
    return [None if text.lower() in columns.MISSING_LABELS else text for text in strings]


def _has_leading_zero(text: str) -> bool:
    digits = text.lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()


def _plain(value: Any) -> Label | None:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str) else str(value)


def _rank(label: Label) -> tuple[int, Any]:
    return (1, label) if isinstance(label, str) else (0, label)


def _key(label: Label) -> str:
    """The canonical form of a label: the same for 1, 1.0 and "1", and for True and "True"."""
    if isinstance(label, bool) or not isinstance(label, int | float | str):
        return str(label)
    if isinstance(label, str):
        number = columns.parse_numbers([label])[0] if not _has_leading_zero(label) else math.nan
        return label.strip() if math.isnan(number) else _key(float(number))
    return str(int(label)) if float(label).is_integer() else repr(float(label))


def infer_task(
    labels: LabelColumn, kind: TaskKind | None = None, logits_dimension: int | None = None, weight: str | None = None
) -> Task:
    """Infers the task; `fit_scale` adds target mean and scale.

    Args:
        labels: All labels.
        kind: The user's choice of a task.
        logits_dimension: The user's number of classes; above 1 it means classes.
        weight: Name of the weight column.

    Raises:
        DataError: if there is nothing to predict, or the choice does not fit the labels.
    """
    name, values = labels.name, labels.values
    if not values:
        raise DataError(f"every row lacks its label (column {name!r}); expected a class or a number in each row")
    chosen, why = _kind(labels, kind, logits_dimension)
    if len(values) == 1:
        wanted = "at least two classes" if chosen is TaskKind.CLASSIFICATION else "different numbers"
        raise DataError(f"every row has the same label, {values[0]!r} (column {name!r}); expected {wanted}")
    if chosen is TaskKind.REGRESSION:
        if not labels.is_numeric:
            example = next(value for value in values if isinstance(value, str | bool))
            raise DataError(
                f"the labels in column {name!r} are no numbers (such as {example!r}); regression needs numbers"
            )
        return Task(chosen, name, 1, weight=weight, inferred=f"{name!r} is predicted as a number: {why}.")
    classes = _classes(labels, logits_dimension)
    if len(classes) > MAX_CLASSES:
        raise DataError(
            f"column {name!r} has {len(classes)} different labels; expected at most {MAX_CLASSES} classes, "
            "or task='regression' for numbers"
        )
    shown = ", ".join(str(value) for value in classes[:6]) + (", ..." if len(classes) > 6 else "")
    sentence = f"{name!r} is predicted as one of {len(classes)} classes ({shown}): {why}."
    return Task(chosen, name, len(classes), classes, weight=weight, inferred=sentence)


def _kind(labels: LabelColumn, kind: TaskKind | None, logits_dimension: int | None) -> tuple[TaskKind, str]:
    number = len(labels.values)
    if kind is not None:
        return kind, "as you asked"
    if logits_dimension is not None and logits_dimension > 1:
        return TaskKind.CLASSIFICATION, f"logits_dimension is {logits_dimension}"
    if not labels.is_numeric:
        booleans = all(isinstance(value, bool) for value in labels.values)
        return TaskKind.CLASSIFICATION, f"its labels are {'booleans' if booleans else 'texts'}"
    if logits_dimension == 1:
        return TaskKind.REGRESSION, "logits_dimension is 1"
    if not labels.is_whole:
        return TaskKind.REGRESSION, "its labels are not all whole numbers"
    if number <= MAX_WHOLE_CLASSES:
        return TaskKind.CLASSIFICATION, f"its labels are {number} different whole numbers (at most {MAX_WHOLE_CLASSES})"
    return TaskKind.REGRESSION, f"its labels are {number} different whole numbers (more than {MAX_WHOLE_CLASSES})"


def _classes(labels: LabelColumn, logits_dimension: int | None) -> tuple[Label, ...]:
    values = labels.values
    if logits_dimension is None or logits_dimension == 1 or logits_dimension == len(values):
        return values
    if len(values) > logits_dimension:
        raise DataError(
            f"column {labels.name!r} has {len(values)} different labels, logits_dimension is {logits_dimension}; "
            "leave logits_dimension out to have the classes counted"
        )
    if labels.is_whole and all(0 <= float(value) < logits_dimension for value in values):
        return tuple(range(logits_dimension))
    return values


def encode(labels: LabelColumn, task: Task) -> np.ndarray:
    """Labels as class indices int32 [rows], or as float64 [rows] in the user's units; no label may be missing.

    Raises:
        DataError: if there are classes that the task does not have; the message names them.
    """
    if task.kind is TaskKind.REGRESSION:
        if not labels.is_numeric:
            raise DataError(
                f"the labels in column {labels.name!r} are no numbers; {task.label!r} is predicted as a number"
            )
        return labels.numbers()
    position = {_key(value): index for index, value in enumerate(task.classes)}
    present = set(np.unique(labels.codes).tolist())
    unknown = [value for index, value in enumerate(labels.values) if index in present and _key(value) not in position]
    if unknown:
        shown = ", ".join(map(repr, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        known = ", ".join(map(repr, task.classes[:10])) + (", ..." if len(task.classes) > 10 else "")
        raise DataError(f"column {labels.name!r} holds classes never seen in training: {shown}; known are {known}")
    table = np.array([position.get(_key(value), -1) for value in labels.values] + [-1], dtype=np.int32)
    return table[labels.codes]


def fit_scale(task: Task, targets: np.ndarray) -> Task:
    """The task with mean and standard deviation of the training targets (float64 [rows], the user's units)."""
    if task.kind is TaskKind.CLASSIFICATION:
        return task
    mean, scale = float(np.mean(targets)), float(np.std(targets))
    if not (math.isfinite(mean) and math.isfinite(scale)):
        raise DataError(f"the labels in column {task.label!r} are too large to be learnt; divide them by a constant")
    return dataclasses.replace(task, target_mean=mean, target_scale=scale or 1.0)


def to_rows(targets: np.ndarray, task: Task) -> np.ndarray:
    """Encoded labels as `Rows.labels` holds them: int32 [rows], or scaled float32 [rows, 1]."""
    if task.kind is TaskKind.CLASSIFICATION:
        return targets.astype(np.int32)
    return ((targets - task.target_mean) / task.target_scale).astype(np.float32)[:, None]
