"""The engine: carries out plans."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.task import PreparedData, Rows, TableData
from model_search.errors import TrialError
from model_search.metadata.trial import TrialPlan
from model_search.training.batches import RowOrder, StreamOrder
from model_search.training.failures import plain_words
from model_search.training.flat_tower import FlatTower, VariablePool
from model_search.training.hyperparameters import Hyperparameters, StepCount, learning_rates
from model_search.training.judge import Judge
from model_search.training.looks import Best, Look, LookRows, look_updates
from model_search.training.loop import TableTensors, TrainingLoop, optimizer_of
from model_search.training.losses import batch_loss
from model_search.training.outcome import Progress, TrainingSettings, TrialOutcome
from model_search.training.runtime import tensorflow, without_grappler
from model_search.training.towers import tower_spec

if TYPE_CHECKING:
    import keras

CHUNK_SECONDS = 0.4
_CHUNK_VALUES = 16_000_000  # feature values of the batches of one chunk
_FIRST_CHUNK = 16
_SWEEP_EVERY = 20  # times the seconds that a garbage collection takes

OnProgress = Callable[[Progress], bool | None]


class Engine:
    """Trains what plans say, on data that stay in memory, one trial after the other.

    One engine belongs to one thread; a process needs only one.
    """

    def __init__(self, data: PreparedData, settings: TrainingSettings):
        self._data = data
        self._settings = settings
        self._pool = VariablePool()
        self._table: TableTensors | None = None
        self._judge = Judge(data, settings)
        self._sweeper = _Sweeper()

    def run(
        self,
        plan: TrialPlan,
        initial_weights: list[np.ndarray] | None = None,
        on_progress: OnProgress | None = None,
    ) -> TrialOutcome:
        """Trains the tower of a plan.

        Args:
            plan: What to train; its steps, batch size and seed are authoritative.
            initial_weights: What to start from, as `model.get_weights()` orders them; fresh weights where None.
            on_progress: Called before training and then about twice a second. Where it returns True, training ends
                with the best weights so far; what it raises ends the run at once.

        Raises:
            TrialError: if the trial cannot be trained: a hyperparameter or a shape that makes no sense, a loss that
                is not finite, memory that does not suffice.
        """
        started = time.perf_counter()
        try:
            return _Run(self, plan, on_progress or (lambda look: None)).outcome(initial_weights)
        finally:
            self._sweeper.sweep(time.perf_counter() - started)

    def build(self, plan: TrialPlan) -> keras.Model:
        """The tower of a plan with fresh weights: features [rows, ...] in, logits [rows, logits dimension] out."""
        tensorflow()  # quietly, before the builder imports Keras
        from model_search.towers.builder import build_tower

        task = self._data.task
        options = dataclasses.asdict(self._settings)
        with plain_words(f"the tower {' > '.join(plan.architecture)} cannot be built"):
            return build_tower(tower_spec(plan, self._data.feature_shape, task.logits_dimension, options))

    def logits(self, plan: TrialPlan, weights: list[np.ndarray], features: np.ndarray) -> np.ndarray:
        """Logits of a plan's tower with given weights, float32 [rows, logits dimension], before temperature."""
        with without_grappler():
            tower = FlatTower(self.build(plan), VariablePool())
            tower.load(weights)
            return tower.logits(features)

    def _batches(self, plan: TrialPlan) -> RowOrder | StreamOrder:
        if isinstance(self._data, TableData):
            return RowOrder(len(self._data.train), plan.batch_size, plan.seed)
        return StreamOrder(iter(self._data.train_batches(plan.seed)), plan.batch_size, self._data.valid)

    def _like(self) -> Rows | TableTensors:
        if not isinstance(self._data, TableData):
            return self._data.valid
        if self._table is None:
            self._table = TableTensors.of(self._data.train)
        return self._table


class _Sweeper:
    """Collects what finished trials left: their graphs are cycles, and large.

    A collection takes a few milliseconds, or much longer in a process that holds many objects of its own; it comes
    after so much work that it takes no more than a twentieth of it.
    """

    def __init__(self) -> None:
        self._worked = math.inf  # the first trial is swept at once, to learn how long it takes
        self._cost = 0.0

    def sweep(self, worked: float) -> None:
        """Collects, if enough work was done since the last time."""
        self._worked += worked
        if self._worked < _SWEEP_EVERY * self._cost:
            return
        started = time.perf_counter()
        gc.collect()
        self._cost, self._worked = time.perf_counter() - started, 0.0


class _Run:
    """One trial, from its plan to its outcome."""

    def __init__(self, engine: Engine, plan: TrialPlan, on_progress: OnProgress):
        self._engine = engine
        self._plan = plan
        self._on_progress = on_progress
        self._settings = engine._settings
        self._hyperparameters = Hyperparameters.of(plan.hyperparameters)
        scaled_by = self._settings.maximum_depth if self._settings.parameter_scaled else None
        self._count = StepCount.of(plan.steps, len(plan.architecture), scaled_by)
        self._rates = learning_rates(self._hyperparameters, self._count, self._settings.lr_warmup_steps)
        self._look_rows = LookRows.of(
            engine._data.valid, self._count.updates, plan.batch_size, self._settings.eval_steps
        )
        self._best = Best(self._settings.goal)
        self._curve: list[tuple[int, float]] = []
        self._timings: dict[str, float] = {}
        self._loss = math.nan
        self._fresh = True
        self._reported = 0.0

    def outcome(self, initial_weights: list[np.ndarray] | None) -> TrialOutcome:
        started = time.perf_counter()
        with without_grappler():
            self._report(0)
            with self._timed("build"):
                model = self._engine.build(self._plan)
            with self._timed("trace"), plain_words("the tower cannot be trained"):
                tower, loop = self._compile(model)
                tower.load(model.get_weights() if initial_weights is None else initial_weights)
            self._fresh = initial_weights is None
            self._train(tower, loop)
            logits = self._final_logits(tower)
            with self._timed("validate"), plain_words("the tower cannot be validated"):
                metrics = self._engine._judge.metrics(logits)
        look, snapshot = self._best.look, self._best.snapshot
        if look is None or snapshot is None:
            raise TrialError("the trial ended before its first look at validation")
        self._timings["total"] = time.perf_counter() - started
        return TrialOutcome(
            metrics=metrics,
            parameters=tower.parameters,
            best_step=min(self._count.at(look.update), self._plan.steps),
            timings=dict(self._timings),
            curve=tuple(self._curve),
            weights=tower.weights(snapshot),
            valid_logits=logits,
        )

    def _compile(self, model: Any) -> tuple[FlatTower, TrainingLoop]:
        data = self._engine._data
        tower = FlatTower(model, self._engine._pool, len(optimizer_of(self._hyperparameters).slots))
        loss = batch_loss(data.task, data.loss_fn)
        like = self._engine._like()
        return tower, TrainingLoop(tower, like, self._plan.batch_size, self._hyperparameters, loss)

    def _train(self, tower: FlatTower, loop: TrainingLoop) -> None:
        tower.fill_slots(optimizer_of(self._hyperparameters).slots)
        sizes = loop.step_sizes(self._rates)
        batches = self._engine._batches(self._plan)
        done, chunk = 0, 1
        if self._count.updates == 0:
            self._look(tower, 0)
        for look in look_updates(self._count.updates):
            while done < look:
                if self._report(done):
                    self._look(tower, done)
                    return
                take = min(chunk, look - done)
                started = time.perf_counter()
                with self._timed("train" if done else "trace"), plain_words("training failed"):
                    loss = loop.advance(done, batches.take(take), sizes[done : done + take])
                self._check_loss(loss, done, done + take)
                chunk = self._next_chunk(take, time.perf_counter() - started, first=done == 0)
                done += take
            self._look(tower, done)
        self._report(done)

    def _next_chunk(self, updates: int, seconds: float, first: bool) -> int:
        """As many updates as take `CHUNK_SECONDS`; the first one also makes the graph ready, so its time says less."""
        values = self._plan.batch_size * max(1, math.prod(self._engine._data.feature_shape))
        fits = max(1, _CHUNK_VALUES // values)
        grown = _FIRST_CHUNK if first else 8 * updates
        return max(1, min(fits, grown, int(updates * CHUNK_SECONDS / max(seconds, 1e-6))))

    def _check_loss(self, loss: float, start: int, end: int) -> None:
        if math.isfinite(loss):
            self._loss = loss
            return
        raise TrialError(
            f"the loss became {loss} between steps {self._count.at(start) + 1} and {self._count.at(end)} "
            f"({self._hyperparameters.optimizer}, learning rate {self._rates[start]:.3g}); "
            "a lower learning rate or gradient clipping helps"
        )

    def _look(self, tower: FlatTower, update: int) -> None:
        rows = self._look_rows.rows
        with tower.settled(update if self._fresh else 0):
            logits = self._logits(tower, rows.features, update)
            snapshot = tower.snapshot()
        if not np.isfinite(logits).all():
            raise TrialError(
                f"the logits are not finite at step {self._count.at(update)} "
                f"({self._hyperparameters.optimizer}, learning rate {self._hyperparameters.learning_rate:.3g})"
            )
        with self._timed("validate"), plain_words("the tower cannot be validated"):
            metric, loss = self._engine._judge.look(rows, logits)
        self._best.offer(Look(update, metric, loss, logits), snapshot)
        if math.isfinite(metric):
            self._curve.append((self._count.at(update), metric))

    def _final_logits(self, tower: FlatTower) -> np.ndarray:
        look, snapshot = self._best.look, self._best.snapshot
        if look is None or snapshot is None or self._look_rows.complete:
            return np.empty(0) if look is None else look.logits
        tower.restore(snapshot)
        return self._logits(tower, self._engine._data.valid.features, self._count.updates)

    def _logits(self, tower: FlatTower, features: np.ndarray, update: int) -> np.ndarray:
        """Logits of many rows; the caller is told every now and then that all is well, and may end the run."""
        blocks = tower.blocks_of_logits(features)
        found: list[np.ndarray] = []
        while True:
            with self._timed("validate"), plain_words("the tower cannot be validated"):
                block = next(blocks, None)
            if block is None:
                return np.concatenate(found)
            found.append(block)
            if time.perf_counter() - self._reported > CHUNK_SECONDS:
                self._report(update)

    def _report(self, update: int) -> bool:
        best = None if self._best.look is None or math.isnan(self._best.look.metric) else self._best.look.metric
        step = min(self._count.at(update), self._plan.steps)
        self._reported = time.perf_counter()
        return bool(self._on_progress(Progress(step, self._plan.steps, self._loss, best)))

    @contextlib.contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._timings[phase] = self._timings.get(phase, 0.0) + time.perf_counter() - started
