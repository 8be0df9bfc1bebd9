"""Data ready for training: a table in memory, or a stream. Never imports TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from model_search.data.rows import InputSpec, Rows
from model_search.data.task import Task


@dataclasses.dataclass(frozen=True)
class TableData:
    """An indexed table in memory, split into training and validation rows; no row is in both.

    Attributes:
        task: What is predicted.
        train: The training rows.
        valid: The validation rows.
        fingerprint: SHA-256 of the data.
        description: The study's description of its data (JSON-able: task, schema, split, columns, notes for people).
        preprocessor: Turns raw columns into `Rows.inputs` again at prediction.
        loss_fn: The provider's own loss.
        metric_fn: The provider's own metric.
        lengths: For each padded input, the name of the one that holds its lengths.
        own_specs: Specs of inputs that say more than the arrays do.
        other_tasks: Further tasks by name, which a model answers besides.
        groups: The group of each row, int [training rows, then validation rows]: no group is divided. None where rows
            are independent.
    """

    task: Task
    train: Rows
    valid: Rows
    fingerprint: str
    description: Mapping[str, Any]
    preprocessor: Any = None
    loss_fn: Callable[..., Any] | None = None
    metric_fn: Callable[..., Any] | None = None
    lengths: Mapping[str, str] = dataclasses.field(default_factory=dict)
    own_specs: Mapping[str, InputSpec] = dataclasses.field(default_factory=dict)
    other_tasks: Mapping[str, Task] = dataclasses.field(default_factory=dict)
    groups: np.ndarray | None = None

    @property
    def tasks(self) -> dict[str, Task]:
        """All tasks by their names in the rows, the primary one first."""
        return {self.train.task: self.task, **self.other_tasks}

    @property
    def input_specs(self) -> dict[str, InputSpec]:
        """The specs of the inputs."""
        return {**self.train.specs(self.lengths), **self.own_specs}


@dataclasses.dataclass(frozen=True)
class StreamData:
    """What a provider's `input_fn` yields, batch by batch; the evaluation batches are read once and frozen in `valid`.

    Attributes:
        task: What is predicted.
        train_batches: From a seed to an endless iterator of `Rows` (a batch each), shaped like `valid`.
        valid: The evaluation rows.
        fingerprint: SHA-256 of the task and the evaluation rows.
        description: As in `TableData`.
        loss_fn: The provider's own loss.
        metric_fn: The provider's own metric.
        lengths: For each padded input, the name of the one that holds its lengths.
        own_specs: Specs of inputs that say more than the arrays do.
    """

    task: Task
    train_batches: Callable[[int], Iterator[Rows]]
    valid: Rows
    fingerprint: str
    description: Mapping[str, Any]
    loss_fn: Callable[..., Any] | None = None
    metric_fn: Callable[..., Any] | None = None
    lengths: Mapping[str, str] = dataclasses.field(default_factory=dict)
    own_specs: Mapping[str, InputSpec] = dataclasses.field(default_factory=dict)

    @property
    def tasks(self) -> dict[str, Task]:
        """The task by its name in the rows."""
        return {self.valid.task: self.task}

    @property
    def input_specs(self) -> dict[str, InputSpec]:
        """The specs of the inputs."""
        return {**self.valid.specs(self.lengths), **self.own_specs}


PreparedData = TableData | StreamData


def logits_dimension(data: PreparedData) -> int:
    """Width of a model's logits: of all tasks side by side."""
    return sum(task.logits_dimension for task in data.tasks.values())
