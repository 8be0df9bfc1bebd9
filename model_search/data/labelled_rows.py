"""Labels as metrics, calibration and selection use them: one label per row, never one per step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Self

import numpy as np

from model_search.data.rows import Rows
from model_search.data.task import Task, TaskKind, logits_of_tasks


@dataclasses.dataclass(frozen=True)
class LabelledRows:
    """Labels to compare logits with.

    Where there is a label for each step, the valid (row, step) pairs are the rows: only this class flattens
    them, and users of `labels`, `weights` and `logits(...)` need not know.

    Attributes:
        task: What is predicted.
        labels: Classes: int32 [rows]. Numbers: float32 [rows, targets], scaled.
        weights: float32 [rows], or None where all rows weigh the same.
        valid: Which (row, step) pairs these are, bool [rows, steps]; None where there is a label for each row.
    """

    task: Task
    labels: np.ndarray
    weights: np.ndarray | None = None
    valid: np.ndarray | None = None

    @classmethod
    def of(cls, task: Task, labels: np.ndarray, weights: np.ndarray | None = None) -> Self:
        """Flattens a label for each step; a label for each row stays as it is.

        Args:
            task: What is predicted.
            labels: As in `Rows.labels`.
            weights: As in `Rows.weights`; a step of weight 0 is no valid pair.
        """
        steps_axis = labels.ndim == (2 if task.kind is TaskKind.CLASSIFICATION else 3)
        if not steps_axis:
            return cls(task, labels, weights)
        if weights is not None and weights.ndim == 1:
            weights = np.repeat(weights[:, None], labels.shape[1], axis=1)
        valid = np.ones(labels.shape[:2], bool) if weights is None else weights > 0
        return cls(task, labels[valid], None if weights is None else weights[valid], valid)

    @classmethod
    def of_rows(cls, task: Task, rows: Rows) -> Self:
        """The labels of the primary task."""
        return cls.of(task, rows.label, rows.weight)

    @classmethod
    def of_tasks(cls, tasks: Mapping[str, Task], rows: Rows, logits: np.ndarray) -> dict[str, tuple[Self, np.ndarray]]:
        """The labels of each task that the rows have labels of, with its logits.

        Args:
            tasks: By name, the primary one first.
            rows: Rows with labels.
            logits: A model's logits for them, of all tasks side by side.
        """
        found = {}
        for (name, task), columns in zip(tasks.items(), logits_of_tasks(tasks).values(), strict=True):
            if name in rows.labels:
                known = cls.of(task, rows.labels[name], rows.weights.get(name))
                found[name] = known, known.logits(logits[..., columns])
        return found

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def count(self) -> bool:
        """Whether one of them weighs more than 0."""
        return len(self) > 0 and (self.weights is None or bool(self.weights.any()))

    @property
    def evaluated(self) -> int:
        """How many rows the logits must have that are compared with these labels, before they are flattened."""
        return len(self.labels if self.valid is None else self.valid)

    def by_row(self, flat: np.ndarray) -> np.ndarray:
        """The inverse of `logits`: one row for each label back to [rows, ...], 0 at padded steps."""
        if self.valid is None:
            return flat
        found = np.zeros((*self.valid.shape, *flat.shape[1:]), flat.dtype)
        found[self.valid] = flat
        return found

    def logits(self, logits: np.ndarray) -> np.ndarray:
        """A model's logits [rows, width] or [rows, steps, width], one row for each label.

        Of several tasks, the logits of the primary one are the first.
        """
        own = logits if logits.shape[-1] == self.task.logits_dimension else logits[..., : self.task.logits_dimension]
        return own if self.valid is None else own[self.valid]
