"""What is to be predicted, and data that are ready to be trained on. Never imports TensorFlow."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Label = str | int | float | bool


class TaskKind(enum.StrEnum):
    """Classes or numbers."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


@dataclasses.dataclass(frozen=True)
class Task:
    """What is to be predicted.

    Attributes:
        kind: Classes or numbers.
        label: Name of the label column (or of the array).
        logits_dimension: Width of the model's output: number of classes, or of regression targets.
        classes: The user's own classes in the order of the logits; empty for regression or where unknown.
        target_mean: Regression: mean of the training targets, in the user's units.
        target_scale: Regression: standard deviation of the training targets, in the user's units (never 0).
        weight: Name of the weight column, if any.
        inferred: One sentence that says how the task was found ("..."), for people.
    """

    kind: TaskKind
    label: str
    logits_dimension: int
    classes: tuple[Label, ...] = ()
    target_mean: float = 0.0
    target_scale: float = 1.0
    weight: str | None = None
    inferred: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dict; `from_json` reads it."""
        return dataclasses.asdict(self) | {"kind": self.kind.value, "classes": list(self.classes)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Task:
        """Reads what `to_json` wrote."""
        return cls(**{**values, "kind": TaskKind(values["kind"]), "classes": tuple(values["classes"])})


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows with stable numbers, ready for the engine.

    Attributes:
        features: float32 [rows, ...]; for tables [rows, width].
        labels: Classification: int32 [rows], index into `Task.classes`. Regression: float32 [rows, targets], scaled
            ((value - target_mean) / target_scale).
        weights: float32 [rows], or None where every row weighs the same.
    """

    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclasses.dataclass(frozen=True)
class TableData:
    """An indexed table in memory, split into training and validation rows; no row is in both.

    `preprocessor` turns raw columns into `Rows.features` again at prediction; `description` is what the study
    remembers (JSON-able: task, schema, split, columns, notes for people). `loss_fn` and `metric_fn` are the provider's
    own.
    """

    task: Task
    train: Rows
    valid: Rows
    fingerprint: str
    description: Mapping[str, Any]
    preprocessor: Any = None
    loss_fn: Callable[..., Any] | None = None
    metric_fn: Callable[..., Any] | None = None

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of one row's features."""
        return tuple(self.train.features.shape[1:])


@dataclasses.dataclass(frozen=True)
class StreamData:
    """What a provider's `input_fn` yields, batch by batch; the evaluation batches are read once and frozen in `valid`.

    `train_batches()` returns an endless iterator of `Rows` (a batch each), shaped like `valid`.
    """

    task: Task
    train_batches: Callable[[int], Any]
    valid: Rows
    fingerprint: str
    description: Mapping[str, Any]
    loss_fn: Callable[..., Any] | None = None
    metric_fn: Callable[..., Any] | None = None

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of one row's features."""
        return tuple(self.valid.features.shape[1:])


PreparedData = TableData | StreamData
