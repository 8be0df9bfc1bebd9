"""The training loop as one compiled function: many updates for one call, nothing retraced between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_search.data.rows import Rows
from model_search.training.augmentation.augmenter import Augmenter
from model_search.training.flat_tower import FlatTower
from model_search.training.gradients import loss_and_gradients
from model_search.training.hyperparameters import Hyperparameters
from model_search.training.losses import averaging_one
from model_search.training.optimizers import Optimizer
from model_search.training.runtime import tensorflow
from model_search.training.training_objectives import Batch, Objective

_PARTS = ("inputs", "labels", "weights")


@dataclasses.dataclass(frozen=True)
class TableTensors:
    """All training rows of a table as tensors, each of its own type; weights are scaled to average 1.

    Attributes:
        inputs: By name, [rows, ...].
        labels: By task, [rows, ...].
        weights: By task, [rows, ...].
    """

    inputs: Mapping[str, Any]
    labels: Mapping[str, Any]
    weights: Mapping[str, Any]

    @classmethod
    def of(cls, rows: Rows) -> TableTensors:
        """Hands the arrays to TensorFlow once."""
        tf = tensorflow()
        return cls(
            {name: tf.constant(values) for name, values in rows.inputs.items()},
            {name: tf.constant(values) for name, values in rows.labels.items()},
            {name: tf.constant(averaging_one(values)) for name, values in rows.weights.items()},
        )

    def with_inputs(self, more: Mapping[str, Any]) -> TableTensors:
        """The same rows with further inputs."""
        return dataclasses.replace(self, inputs={**self.inputs, **more})


class TowerUpdates:
    """The updates of a `FlatTower`, as parts of a graph that a loop is made of.

    Args:
        tower: The tower; it has as many slots as the optimizer needs.
        like: Rows for shapes and types (stream), or all rows as tensors (table), with the frozen towers' logits among
            the inputs where the objective reads them.
        batch_size: Rows of an update.
        hyperparameters: What is in effect.
        objective: What is minimised.
        augmenter: Augments the rows of each update; None leaves them as they are.
    """

    def __init__(
        self,
        tower: FlatTower,
        like: Rows | TableTensors,
        batch_size: int,
        hyperparameters: Hyperparameters,
        objective: Objective,
        augmenter: Augmenter | None = None,
    ):
        self._tower = tower
        self._table = like if isinstance(like, TableTensors) else None
        self._batch_size = batch_size
        self._hyperparameters = hyperparameters
        self._optimizer = optimizer_of(hyperparameters)
        self._objective = objective
        self._augmenter = augmenter
        wanted = {*tower.input_names, *objective.inputs_in_training}
        self._names = [
            (part, name) for part in _PARTS for name in getattr(like, part) if part != "inputs" or name in wanted
        ]

    @property
    def batch_size(self) -> int:
        """Rows of an update."""
        return self._batch_size

    def step_sizes(self, rates: np.ndarray, made: int = 0) -> np.ndarray:
        """What `advance` takes, from the learning rates of all updates: float32 [updates, 2].

        Args:
            rates: The learning rates.
            made: Updates that the optimizer's slots have seen before.
        """
        return np.stack([self._optimizer.step_sizes(rates, made), rates], axis=1).astype(np.float32)

    def update(self, given: Sequence[Any], update: Any, step: tuple[Any, Any, Any]) -> Any:
        """Makes one update; returns its loss.

        Args:
            given: What a loop is called with: row numbers int32 [updates, batch size], or the stacked rows of a stream.
            update: Which of these updates.
            step: The number of updates before it, its step size, and its learning rate where weights decay.
        """
        return self._update(self._batch(given, update), step)

    def _batch(self, given: Sequence[Any], update: Any) -> Batch:
        """The rows of one update, gathered inside the loop's body."""
        tf = tensorflow()
        if self._table is None:
            values = [tf.gather(stacked, update) for stacked in given]
        else:
            rows = tf.gather(given[0], update)
            values = [tf.gather(getattr(self._table, part)[name], rows) for part, name in self._names]
        parts: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
        for (part, name), value in zip(self._names, values, strict=True):
            parts[part][name] = value
        return Batch(**parts)

    def _update(self, batch: Batch, step: tuple[Any, Any, Any]) -> Any:
        tf = tensorflow()
        number, size, rate = step
        tower, hyperparameters = self._tower, self._hyperparameters
        values = tower.read_groups()
        batch = batch._replace(update=number)

        if self._augmenter is not None:
            batch = self._augmenter.batch(batch, number)

        def model(inputs: Mapping[str, Any]) -> Any:
            return tower.call(values, inputs, update=number)

        def batch_loss() -> Any:
            if self._augmenter is not None:
                return self._augmenter.mixed_loss(self._objective, batch, number, model)
            return self._objective.batch_loss(batch, model(batch.inputs))

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
            if hyperparameters.kernel_decay > 0:
                alpha, kernels = rate * hyperparameters.kernel_decay, tower.kernels_of(index, values[index])
                tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=alpha, delta=kernels)
            self._optimizer.apply(variable, [slots[index] for slots in tower.slots], gradient, size)
        return loss


class TrainingLoop(TowerUpdates):
    """Trains a `FlatTower`; the loop is traced when the object is created. Arguments as for `TowerUpdates`."""

    def __init__(
        self,
        tower: FlatTower,
        like: Rows | TableTensors,
        batch_size: int,
        hyperparameters: Hyperparameters,
        objective: Objective,
        augmenter: Augmenter | None = None,
    ):
        super().__init__(tower, like, batch_size, hyperparameters, objective, augmenter)
        self._function = self._compile(like)

    def advance(self, first: int, batches: np.ndarray | Rows, step_sizes: np.ndarray) -> float:
        """Makes an update for every batch and returns their mean loss (not finite where any of them was not).

        Args:
            first: Number of updates made before; dropout draws from it.
            batches: Row numbers int32 [updates, batch size] (table), or as many rows (stream).
            step_sizes: [updates, 2], a slice of what `step_sizes` returned.
        """
        tf = tensorflow()
        inputs: list[Any] = [tf.constant(first, tf.int32), tf.constant(step_sizes)]
        if isinstance(batches, Rows):
            shape = (len(step_sizes), self._batch_size)
            arrays = (getattr(batches, part)[name] for part, name in self._names)
            inputs += [tf.constant(values.reshape(shape + values.shape[1:])) for values in arrays]
        else:
            inputs.append(tf.constant(batches))
        return float(self._function(*inputs)) / len(step_sizes)

    def _compile(self, like: Rows | TableTensors) -> Any:
        tf = tensorflow()
        signature = [tf.TensorSpec([], tf.int32), tf.TensorSpec([None, 2], tf.float32)]
        if self._table is not None:
            signature.append(tf.TensorSpec([None, self._batch_size], tf.int32))
        else:
            for part, name in self._names:
                values = getattr(like, part)[name]
                signature.append(tf.TensorSpec([None, self._batch_size, *values.shape[1:]], values.dtype))
        function = tf.function(self._updates, autograph=False, input_signature=signature)
        return function.get_concrete_function()

    def _updates(self, first: Any, step_sizes: Any, *given: Any) -> Any:
        """Sum of the losses of all updates."""
        tf = tensorflow()
        count = tf.shape(step_sizes)[0]
        sizes, rates = tf.unstack(step_sizes, axis=1)

        def body(update: Any, total: Any) -> tuple[Any, Any]:
            rate = tf.gather(rates, update) if self._hyperparameters.decays else None
            loss = self.update(given, update, (first + update, tf.gather(sizes, update), rate))
            return update + 1, total + loss

        return tf.while_loop(
            lambda update, total: update < count, body, (tf.constant(0), tf.constant(0.0)), parallel_iterations=1
        )[1]


def optimizer_of(hyperparameters: Hyperparameters) -> Optimizer:
    """The optimizer that a trial asks for."""
    return Optimizer(hyperparameters.optimizer, hyperparameters.momentum, hyperparameters.beta2)


def _clipped(gradients: Sequence[Any], max_norm: float) -> list[Any]:
    """Gradients with a global norm of at most `max_norm` (Pascanu et al. 2013)."""
    tf = tensorflow()
    norm = tf.sqrt(2.0 * tf.add_n([tf.nn.l2_loss(gradient) for gradient in gradients]))
    factor = max_norm / tf.maximum(norm, max_norm)
    return [gradient * factor for gradient in gradients]
