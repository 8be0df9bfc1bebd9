"""What a trial is trained on and judged by: a tower alone, a tower among frozen ones, or a tower with a teacher.

An objective reads the logits of frozen towers as a column of numbers beside a row's features: whatever their number,
training costs one gather a step.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from model_search.data.task import TaskKind
from model_search.metadata.trial import DistillationPlan, TrialPlan
from model_search.training.losses import LossFn, average_over_rows
from model_search.training.runtime import tensorflow


@dataclasses.dataclass(frozen=True)
class Objective:
    """A tower alone: its loss on the labels, its logits as they are.

    Attributes:
        loss: The loss on the labels.
    """

    loss: LossFn

    @property
    def reads_in_training(self) -> bool:
        """Whether the loss or the model reads the frozen towers' column."""
        return False

    @property
    def reads_in_judging(self) -> bool:
        """Whether the column is read at validation."""
        return False

    @property
    def feeds_model(self) -> bool:
        """Whether the column is the model's second input."""
        return False

    def column(self, logits: np.ndarray) -> np.ndarray:
        """What is read of the logits of frozen towers [towers, rows, logits dimension]: float32 [rows, width]."""
        return side_by_side(logits)

    def batch_loss(self, labels: Any, outputs: Any, weights: Any, column: Any) -> Any:
        """The loss of a batch from the model's outputs, inside a graph."""
        del column
        return self.loss(labels, outputs, weights)

    def judged(self, outputs: np.ndarray, column: np.ndarray | None) -> np.ndarray:
        """The logits that the trial is judged by."""
        del column
        return outputs

    def own(self, outputs: np.ndarray) -> np.ndarray:
        """The own tower's logits."""
        return outputs


@dataclasses.dataclass(frozen=True)
class AverageObjective(Objective):
    """A new tower whose logits are averaged with those of frozen members.

    Attributes:
        members: Number of frozen towers.
        residual: The loss is that of the average; otherwise that of the tower by itself.
    """

    members: int = 0
    residual: bool = False

    @property
    def reads_in_training(self) -> bool:
        """Only a residual tower hears of the others."""
        return self.residual

    @property
    def reads_in_judging(self) -> bool:
        """The average is judged."""
        return True

    def column(self, logits: np.ndarray) -> np.ndarray:
        """The sum of the members' logits."""
        return logits.sum(axis=0)

    def batch_loss(self, labels: Any, outputs: Any, weights: Any, column: Any) -> Any:
        """See `Objective`."""
        if not self.residual:
            return self.loss(labels, outputs, weights)
        return self.loss(labels, (outputs + column) / (self.members + 1), weights)

    def judged(self, outputs: np.ndarray, column: np.ndarray | None) -> np.ndarray:
        """The average."""
        return (outputs + column) / np.float32(self.members + 1)


@dataclasses.dataclass(frozen=True)
class StackedObjective(Objective):
    """A model that answers with the ensemble's logits and its own tower's, [batch, 2, logits dimension].

    Attributes:
        residual: The loss is that of the ensemble alone; otherwise the own tower's loss is added.
        frozen: Whether frozen members' logits go into the model.
    """

    residual: bool = False
    frozen: bool = False

    @property
    def reads_in_training(self) -> bool:
        """Where there are frozen members."""
        return self.frozen

    @property
    def feeds_model(self) -> bool:
        """Where there are frozen members."""
        return self.frozen

    @property
    def reads_in_judging(self) -> bool:
        """Where there are frozen members."""
        return self.frozen

    def batch_loss(self, labels: Any, outputs: Any, weights: Any, column: Any) -> Any:
        """See `Objective`."""
        del column
        combined, own = tensorflow().unstack(outputs, axis=1)
        loss = self.loss(labels, combined, weights)
        return loss if self.residual else loss + self.loss(labels, own, weights)

    def judged(self, outputs: np.ndarray, column: np.ndarray | None) -> np.ndarray:
        """The ensemble's logits."""
        del column
        return outputs[:, 0]

    def own(self, outputs: np.ndarray) -> np.ndarray:
        """The own tower's logits; fine-tuned towers are one model, the whole ensemble."""
        return outputs[:, 1] if self.frozen else outputs[:, 0]


@dataclasses.dataclass(frozen=True)
class DistillationObjective(Objective):
    """A tower that learns from the mean of its teachers' logits (Hinton et al. 2015).

    The teacher's logits, divided by the temperature, become soft labels. "mse_logits": squared error of the logits;
    "mse_softmax": squared error of the tower's logits against the soft labels; "cross_entropy" with the soft labels;
    "balanced": the loss on the labels plus `balance` times that cross-entropy. For numbers there are no soft labels:
    the squared error against the teacher's answer takes their place.

    Attributes:
        how: Which loss.
        kind: Classes or numbers.
    """

    how: DistillationPlan = dataclasses.field(default_factory=lambda: DistillationPlan("cross_entropy"))
    kind: TaskKind = TaskKind.CLASSIFICATION

    @property
    def reads_in_training(self) -> bool:
        """The teacher's answers."""
        return True

    def column(self, logits: np.ndarray) -> np.ndarray:
        """The mean of the teachers' logits."""
        return logits.mean(axis=0)

    def batch_loss(self, labels: Any, outputs: Any, weights: Any, column: Any) -> Any:
        """See `Objective`."""
        taught = average_over_rows(self._from_teacher(outputs, column), weights)
        if self.how.loss != "balanced":
            return taught
        return self.loss(labels, outputs, weights) + self.how.balance * taught

    def _from_teacher(self, outputs: Any, column: Any) -> Any:
        """The loss of every row."""
        tf = tensorflow()
        if self.how.loss == "mse_logits" or self.kind is TaskKind.REGRESSION:
            return tf.reduce_mean(tf.square(column - outputs), axis=-1)
        soft = tf.nn.softmax(column / self.how.temperature)
        if self.how.loss == "mse_softmax":
            return tf.reduce_mean(tf.square(soft - outputs), axis=-1)
        return tf.nn.softmax_cross_entropy_with_logits(soft, outputs)


def objective_of(plan: TrialPlan, kind: TaskKind, loss: LossFn) -> Objective:
    """The objective of a plan that trains a tower.

    Args:
        plan: The plan.
        kind: Classes or numbers.
        loss: The loss on the labels.
    """
    if plan.distillation is not None:
        return DistillationObjective(loss, plan.distillation, kind)
    ensemble = plan.ensemble
    if ensemble is None or not plan.architecture:
        return Objective(loss)
    if not ensemble.freeze:
        return StackedObjective(loss, ensemble.residual)
    if ensemble.combining == "weighted":
        return StackedObjective(loss, ensemble.residual, frozen=True)
    return AverageObjective(loss, len(plan.members), ensemble.residual)


def side_by_side(logits: np.ndarray) -> np.ndarray:
    """Logits [towers, rows, logits dimension] as [rows, towers * logits dimension]."""
    return np.ascontiguousarray(logits.transpose(1, 0, 2)).reshape(logits.shape[1], -1)
