"""Training objectives: a tower alone, an ensemble with frozen towers, or distillation from a teacher.

The logits of frozen towers are one more named input of a row, `FROZEN`: whatever their number, training costs one
gather per step. A model that weighs them reads that input; other objectives read it in their loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from model_search.data.task import TaskKind
from model_search.metadata.trial import DistillationPlan, TrialPlan
from model_search.training.losses import LossFn, TaskLosses, average_over_rows
from model_search.training.runtime import tensorflow

FROZEN = "frozen_logits"  # the input that holds what is read of the logits of frozen towers


class Batch(NamedTuple):
    """The rows of one update as tensors: inputs by name, labels and weights by task; and the update's number."""

    inputs: Mapping[str, Any]
    labels: Mapping[str, Any]
    weights: Mapping[str, Any]
    update: Any = None

    @property
    def label(self) -> Any:
        """The labels of the primary task."""
        return next(iter(self.labels.values()))

    @property
    def weight(self) -> Any:
        """The weights of the primary task, or None."""
        return self.weights.get(next(iter(self.labels)))


@dataclasses.dataclass(frozen=True)
class Objective:
    """A tower alone: its loss on the labels, its logits as they are.

    Attributes:
        loss: The loss on the labels; of several tasks, all of theirs.
    """

    loss: LossFn | TaskLosses

    def label_loss(self, batch: Batch, logits: Any) -> Any:
        """The loss of logits on the labels, of all tasks, inside a graph."""
        if isinstance(self.loss, TaskLosses):
            return self.loss(batch.labels, logits, batch.weights, batch.update)
        return self.loss(batch.label, logits, batch.weight)

    @property
    def inputs_in_training(self) -> tuple[str, ...]:
        """Inputs that are read in training besides what the towers of the search read."""
        return ()

    @property
    def inputs_in_evaluation(self) -> tuple[str, ...]:
        """Inputs that are read in evaluation besides what the towers of the search read."""
        return ()

    def frozen_input(self, logits: np.ndarray) -> np.ndarray:
        """What is read of the logits of frozen towers [towers, rows, ...]: float32 [rows, ...]."""
        return side_by_side(logits)

    def batch_loss(self, batch: Batch, outputs: Any) -> Any:
        """The loss of a batch from the model's outputs, inside a graph."""
        return self.label_loss(batch, outputs)

    def logits(self, outputs: np.ndarray, frozen: np.ndarray | None) -> np.ndarray:
        """The logits by which the trial is evaluated.

        Args:
            outputs: The model's outputs for some rows.
            frozen: The `FROZEN` input of the same rows, where it is read.
        """
        del frozen
        return outputs

    def own(self, outputs: np.ndarray) -> np.ndarray:
        """The own tower's logits."""
        return outputs


@dataclasses.dataclass(frozen=True)
class AuxiliaryObjective(Objective):
    """A tower with an auxiliary head; the model's outputs are the logits of both, [batch, 2, ..., logits dimension].

    The loss is that of the tower plus `weight` times that of the head; the tower alone is evaluated.

    Attributes:
        weight: What the head's loss is multiplied by.
    """

    weight: float = 0.0

    def batch_loss(self, batch: Batch, outputs: Any) -> Any:
        """See `Objective`."""
        own, head = tensorflow().unstack(outputs, axis=1)
        return self.label_loss(batch, own) + self.weight * self.label_loss(batch, head)

    def logits(self, outputs: np.ndarray, frozen: np.ndarray | None) -> np.ndarray:
        """The tower's logits."""
        del frozen
        return outputs[:, 0]

    def own(self, outputs: np.ndarray) -> np.ndarray:
        """The tower's logits."""
        return outputs[:, 0]


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
    def inputs_in_training(self) -> tuple[str, ...]:
        """The loss of a residual tower reads the others."""
        return (FROZEN,) if self.residual else ()

    @property
    def inputs_in_evaluation(self) -> tuple[str, ...]:
        """The average is evaluated."""
        return (FROZEN,)

    def frozen_input(self, logits: np.ndarray) -> np.ndarray:
        """The sum of the members' logits."""
        return logits.sum(axis=0)

    def batch_loss(self, batch: Batch, outputs: Any) -> Any:
        """See `Objective`."""
        if not self.residual:
            return self.label_loss(batch, outputs)
        return self.label_loss(batch, (outputs + batch.inputs[FROZEN]) / (self.members + 1))

    def logits(self, outputs: np.ndarray, frozen: np.ndarray | None) -> np.ndarray:
        """The average."""
        return (outputs + frozen) / np.float32(self.members + 1)


@dataclasses.dataclass(frozen=True)
class MixtureObjective(Objective):
    """A linear layer on the logits of frozen towers."""

    @property
    def inputs_in_training(self) -> tuple[str, ...]:
        """The model reads nothing else."""
        return (FROZEN,)

    @property
    def inputs_in_evaluation(self) -> tuple[str, ...]:
        """The model reads nothing else."""
        return (FROZEN,)


@dataclasses.dataclass(frozen=True)
class StackedObjective(Objective):
    """A model whose outputs are the ensemble's logits and its own tower's, [batch, 2, ..., logits dimension].

    Attributes:
        residual: The loss is that of the ensemble alone; otherwise the own tower's loss is added.
        frozen: Whether frozen members' logits go into the model.
    """

    residual: bool = False
    frozen: bool = False

    @property
    def inputs_in_training(self) -> tuple[str, ...]:
        """The frozen members, where there are some."""
        return (FROZEN,) if self.frozen else ()

    @property
    def inputs_in_evaluation(self) -> tuple[str, ...]:
        """The frozen members, where there are some."""
        return self.inputs_in_training

    def batch_loss(self, batch: Batch, outputs: Any) -> Any:
        """See `Objective`."""
        combined, own = tensorflow().unstack(outputs, axis=1)
        loss = self.label_loss(batch, combined)
        return loss if self.residual else loss + self.label_loss(batch, own)

    def logits(self, outputs: np.ndarray, frozen: np.ndarray | None) -> np.ndarray:
        """The ensemble's logits."""
        del frozen
        return outputs[:, 0]

    def own(self, outputs: np.ndarray) -> np.ndarray:
        """The own tower's logits; fine-tuned towers are one model, the whole ensemble."""
        return outputs[:, 1] if self.frozen else outputs[:, 0]


@dataclasses.dataclass(frozen=True)
class DistillationObjective(Objective):
    """Distillation: a tower that learns from the mean of its teachers' logits (Hinton et al. 2015).

    The teacher's logits, divided by the temperature, become soft labels. "mse_logits": squared error of the logits;
    "mse_softmax": squared error of the tower's logits against the soft labels; "cross_entropy" with the soft labels;
    "balanced": the loss on the labels plus `balance` times that cross-entropy. For numbers there are no soft labels:
    the squared error against the teacher's output is used instead.

    Attributes:
        how: The loss.
        kind: Classes or numbers; of several tasks, each has its own.
    """

    how: DistillationPlan = dataclasses.field(default_factory=lambda: DistillationPlan("cross_entropy"))
    kind: TaskKind = TaskKind.CLASSIFICATION

    @property
    def inputs_in_training(self) -> tuple[str, ...]:
        """The teacher's logits."""
        return (FROZEN,)

    def frozen_input(self, logits: np.ndarray) -> np.ndarray:
        """The mean of the teachers' logits."""
        return logits.mean(axis=0)

    def batch_loss(self, batch: Batch, outputs: Any) -> Any:
        """See `Objective`."""
        distilled = self._distilled(batch, outputs, batch.inputs[FROZEN])
        if self.how.loss != "balanced":
            return distilled
        return self.label_loss(batch, outputs) + self.how.balance * distilled

    def _distilled(self, batch: Batch, outputs: Any, teacher: Any) -> Any:
        """The loss against the teacher's logits, of several tasks the sum of theirs."""
        if not isinstance(self.loss, TaskLosses):
            return average_over_rows(self._row_losses(outputs, teacher, self.kind), batch.weight)
        parts = [
            one.weight
            * average_over_rows(
                self._row_losses(outputs[..., one.columns], teacher[..., one.columns], one.kind), batch.weight
            )
            for one in self.loss.tasks
        ]
        return tensorflow().add_n(parts)

    def _row_losses(self, outputs: Any, teacher: Any, kind: TaskKind) -> Any:
        """The loss of every row against the teacher's logits."""
        tf = tensorflow()
        if self.how.loss == "mse_logits" or kind is TaskKind.REGRESSION:
            return tf.reduce_mean(tf.square(teacher - outputs), axis=-1)
        soft = tf.nn.softmax(teacher / self.how.temperature)
        if self.how.loss == "mse_softmax":
            return tf.reduce_mean(tf.square(soft - outputs), axis=-1)
        return tf.nn.softmax_cross_entropy_with_logits(soft, outputs)


def objective_of(
    plan: TrialPlan, kind: TaskKind, loss: LossFn | TaskLosses, auxiliary: float | None = None
) -> Objective:
    """The objective of a plan that trains something.

    Args:
        plan: The plan.
        kind: Classes or numbers.
        loss: The loss on the labels.
        auxiliary: The weight of the auxiliary head's loss, if the plan's tower has such a head.
    """
    if plan.distillation is not None:
        return DistillationObjective(loss, plan.distillation, kind)
    ensemble = plan.ensemble
    if ensemble is None:
        return Objective(loss) if auxiliary is None else AuxiliaryObjective(loss, auxiliary)
    if not ensemble.freeze:
        return StackedObjective(loss, ensemble.residual) if plan.architecture else Objective(loss)
    if not plan.architecture:
        return MixtureObjective(loss)
    if ensemble.combining == "weighted":
        return StackedObjective(loss, ensemble.residual, frozen=True)
    return AverageObjective(loss, len(plan.members), ensemble.residual)


def side_by_side(logits: np.ndarray) -> np.ndarray:
    """Logits [towers, rows, ..., logits dimension] as [rows, ..., towers * logits dimension]."""
    moved = np.moveaxis(logits, 0, -2)
    return np.ascontiguousarray(moved).reshape(*moved.shape[:-2], -1)
