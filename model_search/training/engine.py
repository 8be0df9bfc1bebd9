"""The engine: carries out plans."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.task import PreparedData, Rows, TableData
from model_search.errors import TrialError
from model_search.metadata.trial import TrialPlan
from model_search.training.assembly import Start, assemble, divide, stacked, trained_model
from model_search.training.batches import RowOrder, StackedBatches, StreamOrder, skip, subset
from model_search.training.checkpoints import Best, Look, LookRows, look_updates
from model_search.training.evaluation import Judge
from model_search.training.failures import plain_words
from model_search.training.flat_tower import FlatTower, VariablePool
from model_search.training.hyperparameters import Hyperparameters, StepCount, learning_rates
from model_search.training.loop import TableTensors, TrainingLoop, optimizer_of
from model_search.training.losses import batch_loss
from model_search.training.outcome import FrozenTowers, Progress, TrainedTower, TrainingSettings, TrialOutcome
from model_search.training.runtime import tensorflow, without_grappler
from model_search.training.tower_specs import tower_spec
from model_search.training.training_objectives import objective_of

if TYPE_CHECKING:
    import keras

    from model_search.towers.joint_models import JointModel

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
        initial_weights: Mapping[str, np.ndarray] | None = None,
        on_progress: OnProgress | None = None,
        frozen: FrozenTowers | None = None,
        members: Sequence[TrainedTower] = (),
    ) -> TrialOutcome:
        """Trains the tower of a plan, by itself, among frozen towers, or under a teacher.

        Args:
            plan: What to train; its steps, batch size and seed are authoritative. One that continues another trial
                (`first_step`) needs that one's weights; it goes on with the batches and the learning rates that come
                next. The optimizer begins anew.
            initial_weights: What the own tower starts from, by name; fresh where None.
            on_progress: Called before training and then about twice a second. Where it returns True, training ends
                with the best weights so far; what it raises ends the run at once.
            frozen: The plan's members, or its teacher, as far as they are not trained.
            members: The plan's members where they are fine-tuned.

        Raises:
            TrialError: if the trial cannot be trained: a hyperparameter or a shape that makes no sense, a loss that
                is not finite, memory that does not suffice.
        """
        report = on_progress or (lambda look: None)
        ensemble = plan.ensemble
        if (plan.distillation is not None or (ensemble is not None and ensemble.freeze)) and frozen is None:
            raise TrialError(f"the plan of trial {plan.trial_id} needs the logits of other towers; none were given")
        started = time.perf_counter()
        try:
            if frozen is None or ensemble is None or plan.architecture:
                return _Run(self, plan, frozen, report).outcome(Start(initial_weights, tuple(members)))
            if ensemble.combining == "average":
                return self._average(plan, frozen, report)
            return self._mixture(plan, frozen, report)
        finally:
            self._sweeper.sweep(time.perf_counter() - started)

    def build(self, plan: TrialPlan) -> keras.Model:
        """The own tower of a plan with fresh weights: features [rows, ...] in, logits [rows, logits dimension] out."""
        tensorflow()  # quietly, before the builder imports Keras
        from model_search.towers.builder import build_tower

        task = self._data.task
        options = dataclasses.asdict(self._settings)
        with plain_words(f"the tower {' > '.join(plan.architecture)} cannot be built"):
            return build_tower(tower_spec(plan, self._data.feature_shape, task.logits_dimension, options))

    def forward(self, towers: Sequence[TrainedTower]) -> Callable[[np.ndarray], np.ndarray]:
        """Trained towers as a function: features [rows, ...] to logits, float32 [towers, rows, logits dimension]."""
        with without_grappler():
            flat = []
            for tower in towers:
                model = trained_model(tower, self.build)
                flat.append(FlatTower(model, VariablePool()))
                flat[-1].load(model.get_weights())
        return lambda features: np.stack([tower.logits(features) for tower in flat])

    def logits_of(self, tower: TrainedTower) -> tuple[np.ndarray, np.ndarray | None]:
        """A trained tower's logits on the validation rows, and on the training rows of a table (None for a stream)."""
        run = self.forward([tower])
        train = run(self._data.train.features)[0] if isinstance(self._data, TableData) else None
        return run(self._data.valid.features)[0], train

    def logits(self, plan: TrialPlan, weights: Mapping[str, np.ndarray], features: np.ndarray) -> np.ndarray:
        """Logits of a plan's tower with given weights, float32 [rows, logits dimension], before temperature."""
        return self.forward([TrainedTower(plan, weights)])(features)[0]

    def _average(self, plan: TrialPlan, frozen: FrozenTowers, report: OnProgress) -> TrialOutcome:
        """Nothing to train: the mean of the members' logits."""
        started = time.perf_counter()
        report(Progress(0, 0, math.nan, None))
        logits = frozen.valid.mean(axis=0)
        with plain_words("the ensemble cannot be validated"):
            metrics = self._judge.metrics(logits)
        seconds = time.perf_counter() - started
        timings = {"validate": seconds, "total": seconds}
        return TrialOutcome(metrics, 0, 0, timings, ((0, metrics[self._settings.metric]),), {}, logits)

    def _batches(self, plan: TrialPlan) -> RowOrder | StreamOrder:
        if isinstance(self._data, TableData):
            rows = len(self._data.train) if plan.row_share == 1 else subset(self._data.train.labels, plan.row_share)
            return RowOrder(rows, plan.batch_size, plan.seed)
        if plan.row_share < 1:
            raise TrialError(
                f"trial {plan.trial_id} trains on a share of the rows; a stream has no rows to choose from"
            )
        return StreamOrder(iter(self._data.train_batches(plan.seed)), plan.batch_size, self._data.valid)

    def _like(self) -> Rows | TableTensors:
        if not isinstance(self._data, TableData):
            return self._data.valid
        if self._table is None:
            self._table = TableTensors.of(self._data.train)
        return self._table

    def _mixture(self, plan: TrialPlan, frozen: FrozenTowers, report: OnProgress) -> TrialOutcome:
        """A linear layer on the members' logits: to the engine, a tower whose features they are."""
        seconds, run = 0.0, frozen.forward

        def forward(features: np.ndarray) -> np.ndarray:
            nonlocal seconds
            if run is None:
                raise TrialError("the frozen towers cannot be run on a stream; nothing to run them with was given")
            started = time.perf_counter()
            try:
                return run(features)
            finally:
                seconds += time.perf_counter() - started

        frozen = dataclasses.replace(frozen, forward=forward)
        engine = Engine(stacked(self._data, frozen), dataclasses.replace(self._settings, keep_train_logits=False))
        outcome = _Run(engine, plan, None, report).outcome(Start())
        return dataclasses.replace(outcome, timings={**outcome.timings, "frozen": seconds}) if seconds else outcome


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

    def __init__(self, engine: Engine, plan: TrialPlan, frozen: FrozenTowers | None, on_progress: OnProgress):
        self._engine = engine
        self._plan = plan
        self._frozen = frozen
        self._on_progress = on_progress
        self._settings = engine._settings
        data = engine._data
        self._objective = objective_of(plan, data.task.kind, batch_loss(data.task, data.loss_fn))
        self._hyperparameters = Hyperparameters.of(plan.hyperparameters)
        scaled_by = self._settings.maximum_depth if self._settings.parameter_scaled else None
        in_full = plan.steps if plan.total_steps is None else plan.total_steps
        self._count = StepCount.of(in_full, max(1, len(plan.architecture)), scaled_by)
        self._first, self._end = self._count.until(plan.first_step), self._count.until(plan.steps)
        self._rates = learning_rates(self._hyperparameters, self._count, self._settings.lr_warmup_steps)
        trained = self._end - self._first
        self._look_rows = LookRows.of(data.valid, trained, plan.batch_size, self._settings.eval_steps)
        reads = frozen is not None and self._objective.reads_in_judging
        self._valid_column = self._objective.column(frozen.valid) if frozen is not None and reads else None
        self._best = Best(self._settings.goal)
        self._curve: list[tuple[int, float]] = []
        self._timings: dict[str, float] = {}
        self._loss = math.nan
        self._fresh = True
        self._looked_at: int | None = None
        self._reported = 0.0

    def outcome(self, start: Start) -> TrialOutcome:
        started = time.perf_counter()
        with without_grappler():
            self._report(self._first)
            with self._timed("build"):
                joint = assemble(self._plan, start, self._engine.build, self._engine._data.task.logits_dimension)
            with self._timed("trace"), plain_words("the tower cannot be trained"):
                tower, loop = self._compile(joint.model)
                tower.load(joint.model.get_weights())
            self._fresh = start.weights is None and (bool(self._plan.architecture) or not start.members)
            self._train(tower, loop)
            outputs = self._final_outputs(tower)
            logits, own = self._objective.judged(outputs, self._valid_column), self._objective.own(outputs)
            train_logits = self._train_logits(tower, joint)
            with self._timed("validate"), plain_words("the tower cannot be validated"):
                metrics = self._engine._judge.metrics(logits)
        look, snapshot = self._best.look, self._best.snapshot
        if look is None or snapshot is None:
            raise TrialError("the trial ended before its first look at validation")
        self._timings["total"] = time.perf_counter() - started
        weights, mixture = divide(joint, tower.weights(snapshot), self._plan, start.members)
        return TrialOutcome(
            metrics=metrics,
            parameters=tower.parameters,
            best_step=min(self._count.at(look.update), self._plan.steps),
            timings=dict(self._timings),
            curve=tuple(self._curve),
            weights=weights,
            valid_logits=logits,
            tower_logits=None if np.array_equal(own, logits) else own,
            train_logits=train_logits,
            mixture=mixture,
        )

    def _compile(self, model: Any) -> tuple[FlatTower, TrainingLoop]:
        tower = FlatTower(model, self._engine._pool, len(optimizer_of(self._hyperparameters).slots))
        like = self._engine._like()
        width = 0
        if self._frozen is not None and self._objective.reads_in_training:
            if isinstance(like, TableTensors):
                column = tensorflow().constant(self._objective.column(self._frozen_train()), "float32")
                like = dataclasses.replace(like, column=column)
            else:
                width = self._objective.column(self._frozen.valid[:, :1]).shape[1]
        arguments = (tower, like, self._plan.batch_size, self._hyperparameters, self._objective)
        return tower, TrainingLoop(*arguments, column_width=width)

    def _frozen_train(self) -> np.ndarray:
        if self._frozen is None or self._frozen.train is None:
            raise TrialError("the logits of the frozen towers on the training rows are missing")
        return self._frozen.train

    def _take(self, batches: RowOrder | StreamOrder, count: int) -> np.ndarray | StackedBatches:
        """The next batches; of a stream the frozen towers are run, and the time that takes is told."""
        taken = batches.take(count)
        if self._frozen is None or not self._objective.reads_in_training or not isinstance(taken, StackedBatches):
            return taken
        if self._frozen.forward is None:
            raise TrialError("the frozen towers cannot be run on a stream; nothing to run them with was given")
        with self._timed("frozen"), plain_words("a frozen tower cannot be run"):
            flat = taken.features.reshape(-1, *taken.features.shape[2:])
            column = self._objective.column(self._frozen.forward(flat))
        return dataclasses.replace(taken, column=column.reshape(*taken.features.shape[:2], -1))

    def _train(self, tower: FlatTower, loop: TrainingLoop) -> None:
        tower.fill_slots(optimizer_of(self._hyperparameters).slots)
        sizes = loop.step_sizes(self._rates[self._first : self._end])
        batches = self._engine._batches(self._plan)
        if self._first:
            with self._timed("train"):
                skip(batches, self._first)
        done, chunk = self._first, 1
        if self._first == self._end:
            self._look(tower, done)
        for look in look_updates(self._end, self._first):
            while done < look:
                if self._report(done):
                    self._look(tower, done)
                    return
                take = min(chunk, look - done)
                taken = self._take(batches, take)
                started = time.perf_counter()
                is_first = done == self._first
                with self._timed("trace" if is_first else "train"), plain_words("training failed"):
                    loss = loop.advance(done, taken, sizes[done - self._first : done - self._first + take])
                self._check_loss(loss, done, done + take)
                chunk = self._next_chunk(take, time.perf_counter() - started, first=is_first)
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
        if self._looked_at == update:
            return
        self._looked_at = update
        rows = self._look_rows.rows
        column = self._look_rows.of_column(self._valid_column)
        with tower.settled(update if self._fresh else 0):
            outputs = self._outputs(tower, rows.features, column, update)
            snapshot = tower.snapshot()
        if not np.isfinite(outputs).all():
            raise TrialError(
                f"the logits are not finite at step {self._count.at(update)} "
                f"({self._hyperparameters.optimizer}, learning rate {self._hyperparameters.learning_rate:.3g})"
            )
        with self._timed("validate"), plain_words("the tower cannot be validated"):
            metric, loss = self._engine._judge.look(rows, self._objective.judged(outputs, column))
        self._best.offer(Look(update, metric, loss, outputs), snapshot)
        if math.isfinite(metric):
            self._curve.append((min(self._count.at(update), self._plan.steps), metric))

    def _final_outputs(self, tower: FlatTower) -> np.ndarray:
        look, snapshot = self._best.look, self._best.snapshot
        if look is None or snapshot is None or self._look_rows.complete:
            return np.empty(0) if look is None else look.outputs
        tower.restore(snapshot)
        return self._outputs(tower, self._engine._data.valid.features, self._valid_column, self._end)

    def _train_logits(self, tower: FlatTower, joint: JointModel) -> np.ndarray | None:
        """The own tower's logits on the training rows of a table, where they are asked for."""
        data, snapshot = self._engine._data, self._best.snapshot
        if not (self._settings.keep_train_logits and isinstance(data, TableData) and joint.towers and snapshot):
            return None
        column = self._objective.column(self._frozen_train()) if self._objective.feeds_model else None
        tower.restore(snapshot)
        return self._objective.own(self._outputs(tower, data.train.features, column, self._end))

    def _outputs(self, tower: FlatTower, features: np.ndarray, column: np.ndarray | None, update: int) -> np.ndarray:
        """What the model gives for many rows; the caller is told now and then that all is well, and may end the run."""
        blocks = tower.blocks_of_logits(features, column if self._objective.feeds_model else None)
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
        return bool(self._on_progress(Progress(step, self._plan.steps, self._loss, best, tuple(self._curve))))

    @contextlib.contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._timings[phase] = self._timings.get(phase, 0.0) + time.perf_counter() - started
