"""Shared weights in training: an update for a path, or for a mixture, and the logits of a path on validation rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from model_search.cells import CellLayout
from model_search.data.prepared_data import TableData
from model_search.data.rows import main_inputs
from model_search.errors import TrialError
from model_search.metadata.trial import SupernetPlan, TrialPlan
from model_search.problem import MAP_RANK
from model_search.training.losses import averaging_one, batch_loss
from model_search.training.outcome import OptimizerState
from model_search.training.runtime import tensorflow
from model_search.training.supernet.network import Choice, Path, SharedNetwork

BETA_1, BETA_2, TINY = 0.9, 0.999, 1e-7
MAX_NORM = 5.0  # of the gradient
_REFERENCE = 256  # training rows that statistics are taken of when validation rows are run
_AT_ONCE = 2048  # validation rows


class SharedWeights:
    """The weights of all architectures of a space, and what the optimizer has gathered.

    The optimizer is Adam. It leaves weights alone that took no part in an update, and counts updates for each weight.

    Args:
        data: Training and validation rows: maps.
        plan: The plan; its layout, seed and batch size are read.
        supernet: The space.
    """

    def __init__(self, data: TableData, plan: TrialPlan, supernet: SupernetPlan) -> None:
        (name, spec), *others = main_inputs(data.input_specs).items()
        if others or len(spec.shape) != MAP_RANK:
            raise TrialError(f"a supernet is of cells that read one map; the inputs have {len(others) + 1} of them")
        if len(data.tasks) > 1:
            raise TrialError(f"a supernet predicts one label; the data have {len(data.tasks)}")
        tf = tensorflow()
        self.data = data
        self.positions = supernet.positions
        layout = CellLayout.of(plan.hyperparameters)
        self.network = SharedNetwork(supernet.positions, layout, spec.shape, data.task.logits_dimension)
        self._mean, self._deviation = np.asarray(spec.mean or 0.0, "f4"), np.asarray(spec.deviation or 1.0, "f4")
        self._sizes = [math.prod(shape) for shape in self.network.shapes.values()]
        self._maps = tf.constant(data.train.inputs[name])
        self._labels = tf.constant(data.train.label)
        weights = data.train.weight
        self._row_weights = None if weights is None else tf.constant(averaging_one(weights))
        self._valid = data.valid.inputs[name]
        self._loss = batch_loss(data.task, data.loss_fn)
        rows = np.random.default_rng(plan.seed).permutation(len(data.train))[:_REFERENCE]
        self._reference = tf.gather(self._maps, rows.astype(np.int32))
        self.values = tf.Variable(self.flat(self.network.initial(np.random.default_rng(plan.seed))))
        self._slots = [tf.Variable(tf.zeros_like(self.values)) for _ in range(3)]
        signature = [tf.TensorSpec([len(self.positions)], tf.int32), tf.TensorSpec([plan.batch_size], tf.int32)]
        self._update_path = tf.function(
            lambda path, rows, rate: self.update(Path(path), rows, rate),
            autograph=False,
            input_signature=[*signature, tf.TensorSpec([], tf.float32)],
        )
        self._run_path = tf.function(
            lambda path, maps: self._run(Path(path), maps),
            autograph=False,
            input_signature=[signature[0], tf.TensorSpec([None, *self._valid.shape[1:]], self._maps.dtype)],
        )

    def flat(self, weights: Mapping[str, np.ndarray]) -> np.ndarray:
        """Weights by name as one vector."""
        return np.concatenate([np.asarray(weights[name], np.float32).ravel() for name in self.network.shapes])

    def named(self, values: Any) -> dict[str, Any]:
        """The parts of a vector, by name: a view of a NumPy vector, tensors of another one."""
        shapes = self.network.shapes.items()
        if isinstance(values, np.ndarray):
            parts = np.split(values, np.cumsum(self._sizes)[:-1])
            return {name: part.reshape(shape) for (name, shape), part in zip(shapes, parts, strict=True)}
        tf = tensorflow()
        parts = tf.split(values, self._sizes)
        return {name: tf.reshape(part, shape) for (name, shape), part in zip(shapes, parts, strict=True)}

    def load(self, weights: Mapping[str, np.ndarray], optimizer: OptimizerState | None) -> None:
        """Goes on from stored weights.

        Raises:
            TrialError: if they are those of another network.
        """
        wrong = [name for name, shape in self.network.shapes.items() if getattr(weights.get(name), "shape", 0) != shape]
        if wrong or optimizer is None or len(optimizer.slots) != len(self._slots):
            raise TrialError(f"the stored weights are not those of this supernet: {', '.join(wrong[:3]) or 'no state'}")
        self.values.assign(self.flat(weights))
        for variable, slot in zip(self._slots, optimizer.slots, strict=True):
            variable.assign(self.flat(slot))

    def state(self, updates: int) -> tuple[dict[str, np.ndarray], OptimizerState]:
        """The weights by name, and the optimizer's state."""
        slots = tuple(self.named(variable.numpy()) for variable in self._slots)
        return self.named(self.values.numpy()), OptimizerState("adam", updates, slots)

    def train(self, path: np.ndarray, rows: np.ndarray, rate: float) -> float:
        """Makes an update of the weights on a path; returns the loss."""
        return float(self._update_path(path.astype(np.int32), rows, np.float32(rate)))

    def path_logits(self, path: np.ndarray, rows: int | None = None) -> np.ndarray:
        """The logits of a path on the validation rows, or on the first ones of them."""
        chosen, valid = path.astype(np.int32), self._valid[:rows]
        parts = [valid[first : first + _AT_ONCE] for first in range(0, len(valid), _AT_ONCE)]
        return np.concatenate([self._run_path(chosen, part).numpy() for part in parts])

    def loss_of(self, choice: Choice, rows: Any, values: Any = None) -> Any:
        """The loss on training rows, a scalar tensor; with other values of the weights where they are given."""
        tf = tensorflow()
        maps = self._prepared(tf.gather(self._maps, rows))
        weights = None if self._row_weights is None else tf.gather(self._row_weights, rows)
        logits = self.network.logits(self.named(self.values if values is None else values), maps, choice)
        return self._loss(tf.gather(self._labels, rows), logits, weights)

    def update(self, choice: Choice, rows: Any, rate: Any) -> Any:
        """One update, inside of a graph; returns the loss."""
        tf = tensorflow()
        with tf.GradientTape() as tape:
            loss = self.loss_of(choice, rows)
        gradient = tape.gradient(loss, self.values)
        norm = tf.linalg.norm(gradient)
        gradient *= tf.minimum(1.0, MAX_NORM / tf.maximum(norm, TINY))
        used = tf.cast(tf.not_equal(gradient, 0.0), tf.float32)
        first, second, count = self._slots
        count.assign_add(used)
        first.assign_add(used * (1 - BETA_1) * (gradient - first))
        second.assign_add(used * (1 - BETA_2) * (tf.square(gradient) - second))
        times = tf.maximum(count, 1.0)
        mean, square = first / (1 - BETA_1**times), second / (1 - BETA_2**times)
        self.values.assign_sub(used * rate * mean / (tf.sqrt(square) + TINY))
        return loss

    def _run(self, path: Path, maps: Any) -> Any:
        tf = tensorflow()
        together = self._prepared(tf.concat([self._reference, maps], axis=0))
        count = self._reference.shape[0]
        return self.network.logits(self.named(self.values), together, path, count)[count:]

    def _prepared(self, maps: Any) -> Any:
        return (tensorflow().cast(maps, "float32") - self._mean) / self._deviation


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of the training of a supernet.

    Attributes:
        first: Updates made before.
        end: Updates made when it ends.
        total: Updates of the whole training, which the learning rate is planned for.
        learning_rate: The greatest one; it falls to zero along half a cosine.
    """

    first: int
    end: int
    total: int
    learning_rate: float

    def rate(self, update: int) -> float:
        """The learning rate of an update."""
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * update / self.total))
