"""The task: what is predicted. Never imports TensorFlow."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from model_search.data.checked_json import damaged, need, read_record
from model_search.metadata.limits import MOST_LOGITS

Label = str | int | float | bool
MOST_LOG = math.log(1e150)  # of a number that is predicted by its logarithm: its square is float64, too


class TaskKind(enum.StrEnum):
    """Classes or numbers."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


class TargetKind(enum.StrEnum):
    """What is predicted: which metrics and which loss go with it."""

    CLASSES = "classes"
    ORDERED_CLASSES = "ordered classes"
    NUMBERS = "numbers"
    QUANTILES = "quantiles"


@dataclasses.dataclass(frozen=True)
class Task:
    """The task: what is predicted.

    Attributes:
        kind: Classes or numbers.
        label: Name of the label column (or of the array).
        logits_dimension: Width of the model's output: number of classes, or of regression targets.
        classes: The user's own classes in the order of the logits; empty for regression or where unknown.
        target_mean: Regression: mean of the training targets, in the user's units; of `log_target`, of logarithms.
        target_scale: Regression: standard deviation of the same (never 0).
        target_range: Regression: the least and the largest known target, scaled; predictions are cut off there. None
            where they are not.
        weight: Name of the weight column, if any.
        ordered: Classification: whether the classes are in an order, from the least to the most.
        quantiles: Regression: the quantiles that are predicted, one for each logit, rising; empty for the mean.
        log_target: Regression: whether the logarithms of the targets are learnt; predictions are the exponentials of
            their expected logarithms.
        inferred: One sentence on how the task was inferred, for people.
    """

    kind: TaskKind
    label: str
    logits_dimension: int
    classes: tuple[Label, ...] = ()
    target_mean: float = 0.0
    target_scale: float = 1.0
    weight: str | None = None
    inferred: str = ""
    target_range: tuple[float, float] | None = None
    ordered: bool = False
    quantiles: tuple[float, ...] = ()
    log_target: bool = False

    @property
    def target(self) -> TargetKind:
        """What is predicted, in more detail than its kind."""
        if self.kind is TaskKind.CLASSIFICATION:
            return TargetKind.ORDERED_CLASSES if self.ordered else TargetKind.CLASSES
        return TargetKind.QUANTILES if self.quantiles else TargetKind.NUMBERS

    def learnt(self, numbers: np.ndarray) -> np.ndarray:
        """What is learnt of numbers in the user's units, float64 of any shape: they themselves, or their logarithms."""
        return np.log(numbers) if self.log_target else numbers

    def to_scaled(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers in the user's units as models learn them: from the targets' mean, in their standard deviations.

        Args:
            numbers: float64 of any shape; above 0 where logarithms are learnt.
        """
        return (self.learnt(numbers) - self.target_mean) / self.target_scale

    def to_units(self, scaled: np.ndarray) -> np.ndarray:
        """What models learn or predict, of any shape, in the user's units, float64; the opposite of `to_scaled`."""
        values = scaled.astype(np.float64) * self.target_scale + self.target_mean
        return np.exp(np.clip(values, -MOST_LOG, MOST_LOG)) if self.log_target else values

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dict; `from_json` reads it. What came with later versions is left out where it says nothing."""
        found = dataclasses.asdict(self) | {"kind": self.kind.value, "classes": list(self.classes)}
        silent = {"target_range": None, "ordered": False, "quantiles": (), "log_target": False}
        return {name: value for name, value in found.items() if name not in silent or value != silent[name]}

    @classmethod
    def from_json(cls, values: Any) -> Task:
        """Reads what `to_json` wrote.

        Raises:
            DamagedRecordError: for anything else.
        """
        task = read_record(cls, values, "the task")
        if (
            not 1 <= task.logits_dimension <= MOST_LOGITS
            or len(task.classes) not in (0, task.logits_dimension)
            or not task.target_scale > 0
        ):
            raise damaged(
                "the task", f"{len(task.classes)} classes, {task.logits_dimension} logits, scale {task.target_scale}"
            )
        if task.target_range is not None and not task.target_range[0] < task.target_range[1]:
            raise damaged("the task", f"its range is {task.target_range}")
        rising = all(low < high for low, high in zip((0.0, *task.quantiles), (*task.quantiles, 1.0), strict=True))
        if task.quantiles and (not rising or len(task.quantiles) != task.logits_dimension):
            raise damaged("the task", f"its quantiles are {task.quantiles}")
        if task.log_target and (task.target is not TargetKind.NUMBERS or task.logits_dimension > 1):
            raise damaged("the task", f"it learns the logarithms of {task.logits_dimension} {task.target.value}")
        return task

    @classmethod
    def of_description(cls, description: Mapping[str, Any]) -> Task:
        """The task in a study's description of its data.

        Raises:
            DamagedRecordError: if there is none.
        """
        return cls.from_json(description.get("task"))


def tasks_of(description: Mapping[str, Any]) -> dict[str, Task]:
    """All tasks in a study's description of its data, by name, the primary one first.

    Raises:
        DamagedRecordError: if there are none.
    """
    primary = Task.of_description(description)
    others = need(description.get("other_tasks", []), list, "the other tasks")
    return {task.label: task for task in (primary, *map(Task.from_json, others))}


def logits_of_tasks(tasks: Mapping[str, Task]) -> dict[str, slice]:
    """Which of a model's logits are those of each task; they stand side by side in the order of the tasks."""
    found, start = {}, 0
    for name, task in tasks.items():
        found[name] = slice(start, start + task.logits_dimension)
        start += task.logits_dimension
    return found
