"""The towers of a bag, trained side by side: one graph makes an update of each, so that no core waits for another.

All towers are evaluated at the same steps, and one step is chosen for all of them, by their predictions of all rows: of
eight steps, and many more rows than a fold has, so that hardly any luck is in the choice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.prepared_data import TableData
from model_search.data.rows import Rows, concatenate
from model_search.errors import TrialError
from model_search.metadata.trial import TrialPlan
from model_search.towers.weight_names import tower_weight_names
from model_search.training.augmentation.augmenter import Augmenter
from model_search.training.batches import RowOrder
from model_search.training.checkpoints import EVALUATIONS, BestCheckpoint, Evaluation, evaluation_updates
from model_search.training.evaluation import ValidationMetrics
from model_search.training.evaluator import OnProgress
from model_search.training.failures import plain_words
from model_search.training.flat_tower import FlatTower, Snapshot, VariablePool
from model_search.training.folds.bags import BagOutcome
from model_search.training.hyperparameters import Hyperparameters, StepCount, learning_rates
from model_search.training.loop import TableTensors, TowerUpdates, optimizer_of
from model_search.training.losses import loss_of
from model_search.training.outcome import Progress, TrainingSettings
from model_search.training.runtime import tensorflow, without_grappler
from model_search.training.training_objectives import Objective, objective_of

if TYPE_CHECKING:
    import keras

CHUNK_SECONDS = 0.4
_FIRST_CHUNK = 8
_MOST_CHUNK = 1 << 20  # row numbers of one tower in a chunk


class TowersSideBySide:
    """Trains bags of one table; it keeps what they share.

    Args:
        data: Training and validation rows.
        settings: The settings that all trials share.
        build: Builds the tower of a plan with fresh weights.
    """

    def __init__(self, data: TableData, settings: TrainingSettings, build: Callable[[TrialPlan], keras.Model]):
        self.settings = settings
        self.build = build
        self.rows = concatenate([data.train, data.valid])
        self.data = dataclasses.replace(data, train=self.rows, valid=self.rows)
        self.metrics = ValidationMetrics(self.data, settings)
        self.table = TableTensors.of(self.rows)
        self._pools: list[VariablePool] = []

    def pools(self, count: int) -> list[VariablePool]:
        """The variables of so many towers; the next bag overwrites them."""
        self._pools += [VariablePool() for _ in range(count - len(self._pools))]
        return self._pools[:count]

    def run(self, plans: Sequence[TrialPlan], folds: np.ndarray, steps: int, report: OnProgress) -> BagOutcome:
        """Trains the towers of a bag.

        Args:
            plans: Of each tower, with the seed of its own; they differ in nothing else.
            folds: The fold of each row, -1 for none; tower `n` is trained without fold `n` (with
                `settings.on_all_rows`, on all rows) and evaluated on it.
            steps: The steps that are reported, in proportion.
            report: See `Evaluator.run`.

        Raises:
            TrialError: if it cannot be trained.
        """
        with without_grappler():
            return _Bag(self, plans, folds, steps, report).outcome()


class _Bag:
    """One bag."""

    def __init__(
        self, shared: TowersSideBySide, plans: Sequence[TrialPlan], folds: np.ndarray, steps: int, report: OnProgress
    ):
        self._shared, self._plans, self._report_to = shared, plans, report
        self._steps = steps
        self._hyperparameters = Hyperparameters.of(plans[0].hyperparameters)
        self._best = BestCheckpoint(shared.settings.goal)
        self._curve: list[tuple[int, float]] = []
        self._timings: dict[str, float] = {}
        self._loss = math.nan
        everything = np.arange(len(folds))
        self._trained = [
            everything if shared.settings.on_all_rows else np.flatnonzero(folds != fold) for fold in range(len(plans))
        ]
        judged = np.flatnonzero(folds >= 0)
        self._judged = None if len(judged) == len(folds) else judged
        self._left_out = [np.flatnonzero(folds == fold) for fold in range(len(plans))]
        settings, plan = shared.settings, plans[0]
        scaled_by = settings.maximum_depth if settings.parameter_scaled else None
        self._count = StepCount.of(plan.steps, len(plan.architecture), scaled_by)
        self._updates = self._count.until(plan.steps)
        self._rates = learning_rates(self._hyperparameters, self._count, settings.lr_warmup_steps)
        self._objective = self._objective_of_rows()

    def outcome(self) -> BagOutcome:
        """Trains and evaluates."""
        started = time.perf_counter()
        self._report(0)
        models: list[Any] = []
        for plan in self._plans:
            with self._timed("build"):
                models.append(self._shared.build(plan))
            self._report(0)
        with self._timed("trace"), plain_words("the tower cannot be trained"):
            towers, loop = self._compiled(models)
        snapshots = self._train(towers, loop)
        best = self._best.evaluation
        if best is None:
            raise TrialError("the trial ended before its first evaluation")
        self._timings["total"] = time.perf_counter() - started
        return BagOutcome(
            weights=[
                dict(zip(tower_weight_names(model, plan.architecture), tower.weights(snapshot), strict=True))
                for model, plan, tower, snapshot in zip(models, self._plans, towers, snapshots, strict=True)
            ],
            logits=best.outputs,
            parameters=sum(tower.parameters for tower in towers),
            best_step=self._step(best.update),
            curve=tuple(self._curve),
            timings=dict(self._timings),
        )

    def _objective_of_rows(self) -> Objective:
        data = self._shared.data
        loss = loss_of(data, self._shared.settings, self._hyperparameters)
        return objective_of(self._plans[0], data.task.kind, loss, None)

    def _compiled(self, models: Sequence[Any]) -> tuple[list[FlatTower], _Loop]:
        from model_search.training.kernels.fast_layers import with_fast_kernels

        slots = optimizer_of(self._hyperparameters).slots
        towers, parts = [], []
        for plan, model, pool in zip(self._plans, models, self._shared.pools(len(models)), strict=True):
            tower = FlatTower(with_fast_kernels(model), pool, len(slots))
            tower.load(model.get_weights())
            tower.fill_slots(slots)
            augmenter = Augmenter.of(plan.hyperparameters, self._shared.data.input_specs, plan.seed)
            table = self._shared.table
            given = (tower, table, plan.batch_size, self._hyperparameters, self._objective, augmenter)
            parts.append(TowerUpdates(*given))
            towers.append(tower)
        return towers, _Loop(parts)

    def _train(self, towers: Sequence[FlatTower], loop: _Loop) -> list[Snapshot]:
        """Trains all towers; returns the weights of the best step."""
        best: list[Snapshot] = []
        sizes = loop.step_sizes(self._rates)
        batch_size = self._plans[0].batch_size
        orders = [RowOrder(rows, batch_size, plan.seed) for rows, plan in zip(self._trained, self._plans, strict=True)]
        done, chunk, stops = 0, 1, False
        for until in evaluation_updates(self._updates, 0, EVALUATIONS):
            while done < until and not stops:
                take = min(chunk, until - done)
                rows = np.stack([order.take(take) for order in orders])
                began = time.perf_counter()
                with self._timed("train" if done else "trace"), plain_words("training failed"):
                    loss = loop.advance(done, rows, sizes[done : done + take])
                self._check_loss(loss, done)
                grown = 8 * take if done else _FIRST_CHUNK
                fits = int(take * CHUNK_SECONDS / max(time.perf_counter() - began, 1e-6))
                chunk = max(1, min(grown, fits, _MOST_CHUNK // batch_size))
                done += take
                stops = self._report(done)
            before, snapshots = self._best.evaluation, self._evaluate(towers, done)
            best = best if self._best.evaluation is before else snapshots
            if stops:
                break
        return best

    def _evaluate(self, towers: Sequence[FlatTower], update: int) -> list[Snapshot]:
        """Evaluates each tower on the rows of its fold; returns the weights of all."""
        rows, logits, snapshots = self._shared.rows, np.empty(0, np.float32), []
        for tower, places in zip(towers, self._left_out, strict=True):
            with tower.settled(update), self._timed("validate"), plain_words("the tower cannot be evaluated"):
                outputs = tower.logits(rows.take(places).inputs)
                snapshots.append(tower.snapshot())
            if not np.isfinite(outputs).all():
                raise TrialError(f"the logits are not finite at step {self._step(update)}")
            found = self._objective.logits(outputs, None)
            if not len(logits):
                logits = np.zeros((len(rows), *found.shape[1:]), np.float32)
            logits[places] = found
        with plain_words("the tower cannot be evaluated"):
            metric, loss = self._metric(rows, logits)
        self._best.offer(Evaluation(update, metric, loss, logits), Snapshot(()))
        if math.isfinite(metric):
            self._curve.append((self._step(update), metric))
        return snapshots

    def _metric(self, rows: Rows, logits: np.ndarray) -> tuple[float, float]:
        """The study's metric and the loss, on the rows that are in a fold."""
        if self._judged is not None:
            rows, logits = rows.take(self._judged), logits[self._judged]
        return self._shared.metrics.during_training(rows, logits)

    def _check_loss(self, loss: float, update: int) -> None:
        if not math.isfinite(loss):
            raise TrialError(
                f"the loss became {loss} after step {self._step(update)} ({self._hyperparameters.optimizer}, learning "
                f"rate {self._rates[update]:.3g}); a lower learning rate or gradient clipping helps"
            )
        self._loss = loss

    def _step(self, update: int) -> int:
        return min(self._steps, round(update * self._steps / max(1, self._updates)))

    def _report(self, update: int) -> bool:
        best = self._best.evaluation
        metric = None if best is None or math.isnan(best.metric) else best.metric
        progress = Progress(self._step(update), self._steps, self._loss, metric, tuple(self._curve))
        return bool(self._report_to(progress))

    @contextlib.contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._timings[phase] = self._timings.get(phase, 0.0) + time.perf_counter() - started


class _Loop:
    """The updates of several towers as one compiled function."""

    def __init__(self, parts: Sequence[TowerUpdates]):
        self._parts = parts
        tf = tensorflow()
        signature = [
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([None, 2], tf.float32),
            tf.TensorSpec([len(parts), None, parts[0].batch_size], tf.int32),
        ]
        function = tf.function(self._updates, autograph=False, input_signature=signature)
        self._function = function.get_concrete_function()

    def step_sizes(self, rates: np.ndarray) -> np.ndarray:
        """See `TowerUpdates`."""
        return self._parts[0].step_sizes(rates)

    def advance(self, first: int, batches: np.ndarray, step_sizes: np.ndarray) -> float:
        """Makes an update of every tower for each of its batches, int32 [towers, updates, rows]; their mean loss."""
        tf = tensorflow()
        total = self._function(tf.constant(first, tf.int32), tf.constant(step_sizes), tf.constant(batches))
        return float(total) / (len(step_sizes) * len(self._parts))

    def _updates(self, first: Any, step_sizes: Any, batches: Any) -> Any:
        tf = tensorflow()
        count = tf.shape(step_sizes)[0]
        sizes, rates = tf.unstack(step_sizes, axis=1)

        def body(update: Any, total: Any) -> tuple[Any, Any]:
            step = (first + update, tf.gather(sizes, update), tf.gather(rates, update))
            losses = [part.update([batches[place]], update, step) for place, part in enumerate(self._parts)]
            return update + 1, total + tf.add_n(losses)

        return tf.while_loop(
            lambda update, total: update < count, body, (tf.constant(0), tf.constant(0.0)), parallel_iterations=1
        )[1]
