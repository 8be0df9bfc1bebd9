"""The labels of the further tasks of a table, besides those of the primary one.

A row needs a label of the primary task. Where it lacks one of another task, it weighs nothing in that task's loss and
metrics.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from model_search.data.tabular import labels
from model_search.data.tabular.label_column import LabelColumn, read_labels
from model_search.data.tabular.task_choice import TaskChoice
from model_search.data.task import Task, TaskKind
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Note = Callable[[str], None]


class OtherTask(NamedTuple):
    """The raw labels of a further task [rows], and weights of its own, if any."""

    labels: pd.Series
    weights: pd.Series | None = None


@dataclasses.dataclass(frozen=True)
class OtherTargets:
    """Encoded labels of a further task.

    Attributes:
        values: Class indices int32 [rows], or numbers float64 [rows] in the user's units; 0 where there is no label.
        weights: float32 [rows], 0 where there is no label; None where all rows weigh the same.
    """

    values: np.ndarray
    weights: np.ndarray | None

    def take(self, rows: np.ndarray) -> OtherTargets:
        """Some of the rows, by number."""
        return OtherTargets(self.values[rows], None if self.weights is None else self.weights[rows])

    @property
    def known(self) -> np.ndarray:
        """The labels of the rows that count."""
        return self.values if self.weights is None else self.values[self.weights > 0]

    def to_rows(self, task: Task) -> np.ndarray:
        """As `Rows.labels` holds them; 0 where there is no label."""
        found = labels.to_rows(np.where(self._counts, self.values, _neutral(task)), task)
        return np.where(self._counts.reshape(-1, *[1] * (found.ndim - 1)), found, 0).astype(found.dtype)

    @property
    def _counts(self) -> np.ndarray:
        return np.ones(len(self.values), bool) if self.weights is None else self.weights > 0


def _neutral(task: Task) -> float:
    return 0 if task.kind is TaskKind.CLASSIFICATION else float(task.to_units(np.zeros(())))


def infer_other_tasks(
    others: Mapping[str, OtherTask], kinds: Mapping[str, TaskChoice | None], rules: int
) -> dict[str, Task]:
    """The further tasks by name; `scaled` adds mean and scale of numbers.

    Args:
        others: Their raw labels.
        kinds: The user's choices.
        rules: The study's `PrepareOptions.reading_rules`.

    Raises:
        DataError: if there is nothing to predict.
    """
    found = {}
    for name, (series, weights) in others.items():
        weight = None if weights is None else str(weights.name)
        found[name] = labels.infer_task(read_labels(series, rules=rules), kinds.get(name), None, weight)
    return found


def encode_other(
    series: pd.Series, task: Task, present: np.ndarray, own: np.ndarray | None, note: Note
) -> OtherTargets:
    """The labels of a further task.

    Args:
        series: Raw labels of all rows.
        task: The task.
        present: The numbers of the rows that have a label of the primary task.
        own: The weights of these rows, float32; None where all weigh the same.
        note: Called with a sentence for people if rows lack a label.

    Raises:
        DataError: if there are unknown classes, or no label at all.
    """
    column = labels.read_like_training(series, task, 2).take(present)
    missing = column.missing
    if missing.all():
        raise DataError(f"no row has a label in column {task.label!r}; expected some")
    if not missing.any():
        return OtherTargets(labels.encode(column, task, 2, note), own)
    note(f"{int(missing.sum())} rows have no label in column {task.label!r}; they weigh nothing in this task")
    weights = (np.ones(len(present)) if own is None else own) * ~missing
    encoded = _encode_known(column, task, note)
    return OtherTargets(encoded, weights.astype(np.float32))


def counted(
    train: np.ndarray | None, valid: np.ndarray | None, others: Mapping[str, OtherTargets], what: str
) -> list[str]:
    """Notes on further tasks of which no validation row counts.

    Args:
        train: What each training row weighs in the primary task; None where all weigh the same.
        valid: The same of the validation rows.
        others: The further tasks of the validation rows, by name.
        what: What the rows are called, in the plural.

    Raises:
        DataError: if no training row, or no validation row, counts in the primary task.
    """
    for name, weights in (("training", train), ("validation", valid)):
        if weights is not None and not weights.any():
            raise DataError(
                f"each of the {len(weights)} {name} {what} weighs 0; expected some above 0: leave out {what} of weight "
                "0, choose another seed or a larger share to validate on, or give validation data"
            )
    return [
        f"no validation row has a label of {name!r} (or all such rows weigh 0); this task has no metrics"
        for name, other in others.items()
        if not len(other.known)
    ]


def _encode_known(column: LabelColumn, task: Task, note: Note) -> np.ndarray:
    known = np.flatnonzero(~column.missing)
    encoded = labels.encode(column.take(known), task, 2, note)
    found = np.zeros(len(column.codes), encoded.dtype)
    found[known] = encoded
    return found


def scaled(tasks: Mapping[str, Task], train: Mapping[str, OtherTargets]) -> dict[str, Task]:
    """The tasks with mean and scale of their training labels.

    Raises:
        DataError: if no training row has a label of a task.
    """
    found = {}
    for name, task in tasks.items():
        known = train[name].known
        if not len(known):
            raise DataError(f"no training row has a label in column {name!r}; expected some")
        found[name] = labels.fit_scale(task, known)
    return found
