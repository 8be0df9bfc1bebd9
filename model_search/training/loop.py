"""The training loop as one compiled function: many updates for one call, nothing retraced between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_search.data.task import Rows
from model_search.training.batches import StackedBatches
from model_search.training.flat_tower import FlatTower
from model_search.training.gradients import loss_and_gradients
from model_search.training.hyperparameters import Hyperparameters
from model_search.training.losses import averaging_one
from model_search.training.optimizers import Optimizer
from model_search.training.runtime import tensorflow
from model_search.training.training_objectives import Objective


@dataclasses.dataclass(frozen=True)
class TableTensors:
    """All training rows of a table, weights scaled to average 1; `column` holds what is read of frozen towers."""

    features: Any
    labels: Any
    weights: Any | None
    column: Any | None = None

    @classmethod
    def of(cls, rows: Rows) -> TableTensors:
        """Hands the arrays to TensorFlow once."""
        tf = tensorflow()
        weights = None if rows.weights is None else tf.constant(averaging_one(rows.weights))
        return cls(tf.constant(rows.features, tf.float32), tf.constant(rows.labels), weights)


class TrainingLoop:
    """Trains a `FlatTower`; tracing happens when it is made.

    Args:
        tower: The tower; it has as many slots as the optimizer needs.
        like: Rows for shapes and types (stream), or all rows as tensors (table).
        batch_size: Rows of an update.
        hyperparameters: What is in effect.
        objective: What is minimised.
        column_width: Numbers a row that a stream's batches hold of frozen towers; 0 for none.
    """

    def __init__(
        self,
        tower: FlatTower,
        like: Rows | TableTensors,
        batch_size: int,
        hyperparameters: Hyperparameters,
        objective: Objective,
        column_width: int = 0,
    ):
        self._tower = tower
        self._table = like if isinstance(like, TableTensors) else None
        self._batch_size = batch_size
        self._hyperparameters = hyperparameters
        self._optimizer = optimizer_of(hyperparameters)
        self._objective = objective
        self._column_width = column_width
        self._names = self._columns_of(like)
        self._function = self._compile(like)

    def step_sizes(self, rates: np.ndarray) -> np.ndarray:
        """What `advance` takes, from the learning rates of all updates: float32 [updates, 2]."""
        return np.stack([self._optimizer.step_sizes(rates), rates], axis=1).astype(np.float32)

    def advance(self, first: int, batches: np.ndarray | StackedBatches, step_sizes: np.ndarray) -> float:
        """Makes an update for every batch and returns their mean loss (not finite where any of them was not).

        Args:
            first: Number of updates made before; dropout draws from it.
            batches: Row numbers int32 [updates, batch size] (table), or the batches themselves (stream).
            step_sizes: [updates, 2], a cut of what `step_sizes` gave.
        """
        tf = tensorflow()
        inputs: list[Any] = [tf.constant(first, tf.int32), tf.constant(step_sizes)]
        if isinstance(batches, StackedBatches):
            inputs += [tf.constant(getattr(batches, name)) for name in self._names]
        else:
            inputs.append(tf.constant(batches))
        return float(self._function(*inputs)) / len(step_sizes)

    def _columns_of(self, like: Rows | TableTensors) -> tuple[str, ...]:
        """Names of what a batch holds."""
        has_column = like.column is not None if isinstance(like, TableTensors) else self._column_width > 0
        present = {"features": True, "labels": True, "weights": like.weights is not None, "column": has_column}
        return tuple(name for name, there in present.items() if there)

    def _compile(self, like: Rows | TableTensors) -> Any:
        tf = tensorflow()
        signature = [tf.TensorSpec([], tf.int32), tf.TensorSpec([None, 2], tf.float32)]
        if self._table is not None:
            signature.append(tf.TensorSpec([None, self._batch_size], tf.int32))
        else:
            shapes = {
                "features": (like.features.shape[1:], tf.float32),
                "labels": (like.labels.shape[1:], like.labels.dtype),
                "weights": ((), tf.float32),
                "column": ((self._column_width,), tf.float32),
            }
            for name in self._names:
                shape, dtype = shapes[name]
                signature.append(tf.TensorSpec([None, self._batch_size, *shape], dtype))
        function = tf.function(self._updates, autograph=False, input_signature=signature)
        return function.get_concrete_function()

    def _updates(self, first: Any, step_sizes: Any, *given: Any) -> Any:
        """Sum of the losses of all updates."""
        tf = tensorflow()
        batches = dict(zip(self._names, given, strict=False))
        if self._table is not None:
            batches = {name: tf.gather(getattr(self._table, name), given[0]) for name in self._names}
        count = tf.shape(step_sizes)[0]

        def body(update: Any, total: Any) -> tuple[Any, Any]:
            batch = {name: tf.gather(values, update) for name, values in batches.items()}
            sizes = tf.unstack(tf.gather(step_sizes, update))
            loss = self._update(batch, (first + update, *sizes))
            return update + 1, total + loss

        return tf.while_loop(
            lambda update, total: update < count, body, (tf.constant(0), tf.constant(0.0)), parallel_iterations=1
        )[1]

    def _update(self, batch: Mapping[str, Any], step: tuple[Any, Any, Any]) -> Any:
        tf = tensorflow()
        number, size, rate = step
        tower, hyperparameters = self._tower, self._hyperparameters
        values = tower.read_groups()

        def batch_loss() -> Any:
            members = batch["column"] if self._objective.feeds_model else None
            outputs = tower.call(values, batch["features"], members, update=number)
            return self._objective.batch_loss(batch["labels"], outputs, batch.get("weights"), batch.get("column"))

        loss, gradients = loss_and_gradients(batch_loss, values, self._batch_size)
        if hyperparameters.l2 > 0:
            gradients = [g + hyperparameters.l2 * value for g, value in zip(gradients, values, strict=True)]
        if hyperparameters.max_norm > 0:
            gradients = _clipped(gradients, hyperparameters.max_norm)
        for index, gradient in enumerate(gradients):
            variable = tower.groups[index]
            if hyperparameters.weight_decay > 0:
                alpha = rate * hyperparameters.weight_decay
                tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=alpha, delta=values[index])
            self._optimizer.apply(variable, [slots[index] for slots in tower.slots], gradient, size)
        return loss


def optimizer_of(hyperparameters: Hyperparameters) -> Optimizer:
    """The optimizer that a trial asks for."""
    return Optimizer(hyperparameters.optimizer, hyperparameters.momentum)


def _clipped(gradients: Sequence[Any], max_norm: float) -> list[Any]:
    """Gradients with a global norm of at most `max_norm` (Pascanu et al. 2013)."""
    tf = tensorflow()
    norm = tf.sqrt(2.0 * tf.add_n([tf.nn.l2_loss(gradient) for gradient in gradients]))
    factor = max_norm / tf.maximum(norm, max_norm)
    return [gradient * factor for gradient in gradients]
