"""One trial, from its plan to its outcome."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.prepared_data import PreparedData, TableData, logits_dimension
from model_search.data.rows import Rows
from model_search.errors import TrialError
from model_search.metadata.trial import TrialKind, TrialPlan
from model_search.problem import problem_type
from model_search.training.assembly import assemble, divide, slots_by_name, slots_in_order
from model_search.training.augmentation.augmenter import Augmenter
from model_search.training.batches import RowOrder, StreamOrder, skip, subset
from model_search.training.checkpoints import (
    EVALUATIONS,
    BestCheckpoint,
    Evaluation,
    EvaluationRows,
    evaluation_count,
    evaluation_updates,
)
from model_search.training.evaluation import ValidationMetrics
from model_search.training.evaluator import OnProgress
from model_search.training.failures import plain_words
from model_search.training.flat_tower import FlatTower, Snapshot, VariablePool
from model_search.training.hyperparameters import Hyperparameters, StepCount, learning_rates
from model_search.training.limits.trial_limits import TrialLimits
from model_search.training.loop import TableTensors, TrainingLoop, optimizer_of
from model_search.training.losses import loss_of
from model_search.training.outcome import Given, OptimizerState, Progress, TrainingSettings, TrialOutcome
from model_search.training.runtime import tensorflow, without_grappler
from model_search.training.tower_specs import flips_at_test_time
from model_search.training.training_objectives import FROZEN, AuxiliaryObjective, objective_of

if TYPE_CHECKING:
    import keras

    from model_search.towers.joint_models import JointModel

CHUNK_SECONDS = 0.4
STREAM_EPOCH_ROWS = 10_000  # what counts as an epoch of a stream
_CHUNK_VALUES = 16_000_000  # input values of the batches of one chunk
_FIRST_CHUNK = 16


@dataclasses.dataclass(frozen=True)
class RunResources:
    """The engine's resources, shared by all trials.

    Attributes:
        data: Training and validation rows.
        settings: The settings that all trials share.
        metrics: Computes validation metrics.
        pool: The variables that all trials share.
        table: The training rows as tensors; None for a stream.
        limits: Refuse towers that would take too much.
        build: Builds the own tower of a plan, with fresh weights.
        build_with_auxiliary_head: The same in a model that has an auxiliary head besides.
    """

    data: PreparedData
    settings: TrainingSettings
    metrics: ValidationMetrics
    pool: VariablePool
    table: TableTensors | None
    limits: TrialLimits
    build: Callable[[TrialPlan], keras.Model]
    build_with_auxiliary_head: Callable[[TrialPlan], JointModel]


class TrialRun:
    """Runs one plan.

    Args:
        resources: The engine's resources.
        plan: The plan.
        given: What it builds on.
        on_progress: See `Evaluator.run`.
    """

    def __init__(self, resources: RunResources, plan: TrialPlan, given: Given, on_progress: OnProgress):
        self._resources = resources
        self._plan = plan
        self._given = given
        self._on_progress = on_progress
        self._settings = settings = resources.settings
        data = resources.data
        self._hyperparameters = Hyperparameters.of(plan.hyperparameters)
        loss = loss_of(data, settings, self._hyperparameters)
        self._objective = objective_of(plan, data.task.kind, loss, _auxiliary_weight(plan, settings))
        scaled_by = settings.maximum_depth if settings.parameter_scaled else None
        in_full = plan.steps if plan.total_steps is None else plan.total_steps
        self._count = StepCount.of(in_full, max(1, len(plan.architecture)), scaled_by)
        self._first, self._end = self._count.until(plan.first_step), self._count.until(plan.steps)
        begins = self._first if plan.kind is TrialKind.LONGER else 0
        self._rates = learning_rates(self._hyperparameters, self._count, settings.lr_warmup_steps, begins)
        self._valid = self._with_frozen(data.valid, "valid", self._objective.inputs_in_evaluation)
        updates = self._end - self._first
        self._evaluated = EvaluationRows.of(self._valid, updates, plan.batch_size, settings.eval_steps)
        self._evaluations = EVALUATIONS
        if plan.patience:
            self._evaluations = max(1, math.ceil(updates / self._epoch))
        elif settings.few_evaluations:
            self._evaluations = evaluation_count(updates * plan.batch_size, len(self._evaluated.rows))
        self._best = BestCheckpoint(settings.goal)
        self._curve: list[tuple[int, float]] = []
        self._timings: dict[str, float] = {}
        self._loss = math.nan
        is_fresh = given.initial_weights is None and (bool(plan.architecture) or not given.members)
        self._fresh = is_fresh or given.grown
        self._evaluated_at: int | None = None
        self._reported = 0.0

    def outcome(self) -> TrialOutcome:
        """Trains and evaluates.

        Raises:
            TrialError: if the trial cannot be trained.
        """
        started = time.perf_counter()
        with without_grappler():
            self._report(self._first)
            with self._timed("build"):
                has_head = isinstance(self._objective, AuxiliaryObjective)
                head = self._resources.build_with_auxiliary_head if has_head else None
                joint = assemble(self._plan, self._given, self._resources.build, self._logits_shape, head)
                self._resources.limits.check(self._plan, joint.model, self._end - self._first)
            with self._timed("trace"), plain_words("the tower cannot be trained"):
                tower, loop = self._compile(joint.model)
                tower.load(joint.model.get_weights(), partly_learnt=bool(self._given.sources) or self._given.grown)
            self._load_optimizer(tower, joint)
            self._train(tower, loop)
            made, seconds = (self._evaluated_at or self._first) - self._first, self._timings.get("train", 0.0)
            self._resources.limits.learn(self._plan, joint.model, made - 1, seconds)
            outputs = self._final_outputs(tower)
            logits, own = self._objective.logits(outputs, self._frozen_of(self._valid)), self._objective.own(outputs)
            train_logits = self._train_logits(tower, joint)
            with self._timed("validate"), plain_words("the tower cannot be evaluated"):
                metrics = self._resources.metrics.all(logits)
        best, snapshot = self._best.evaluation, self._best.snapshot
        if best is None or snapshot is None:
            raise TrialError("the trial ended before its first evaluation")
        self._timings["total"] = time.perf_counter() - started
        weights, mixture = divide(joint, tower.weights(snapshot), self._plan, self._given.members)
        return TrialOutcome(
            metrics=metrics,
            parameters=tower.parameters - joint.auxiliary,
            best_step=min(self._count.at(best.update), self._plan.steps),
            timings=dict(self._timings),
            curve=tuple(self._curve),
            weights=weights,
            valid_logits=logits,
            tower_logits=None if np.array_equal(own, logits) else own,
            train_logits=train_logits,
            mixture=mixture,
            optimizer=self._optimizer_state(tower, joint, best, snapshot),
            taken_over=joint.taken_over,
        )

    @property
    def _epoch(self) -> int:
        """Updates after which an evaluation is due where the plan counts epochs."""
        data = self._resources.data
        rows = len(data.train) if isinstance(data, TableData) else STREAM_EPOCH_ROWS
        return max(1, math.ceil(rows / self._plan.batch_size))

    @property
    def _made(self) -> int:
        """Updates that the optimizer has made before this trial, as far as it remembers them."""
        return 0 if self._given.optimizer is None else self._given.optimizer.updates

    def _load_optimizer(self, tower: FlatTower, joint: JointModel) -> None:
        """What the optimizer begins with."""
        tower.fill_slots(optimizer_of(self._hyperparameters).slots)
        state = self._given.optimizer
        if state is None:
            return
        if state.optimizer != self._hyperparameters.optimizer or len(state.slots) != len(tower.slots):
            raise TrialError(
                f"the state to go on from is that of {state.optimizer}; the trial's optimizer is "
                f"{self._hyperparameters.optimizer}"
            )
        tower.load_slots(slots_in_order(joint.model, self._plan, state))

    def _optimizer_state(
        self, tower: FlatTower, joint: JointModel, best: Evaluation, snapshot: Snapshot
    ) -> OptimizerState | None:
        """The optimizer's state at the best checkpoint, where training can go on from there."""
        if not self._plan.can_train_longer:
            return None
        slots = slots_by_name(joint.model, self._plan, tower.slot_arrays(snapshot))
        return OptimizerState(self._hyperparameters.optimizer, self._made + best.update - self._first, slots)

    @property
    def _logits_shape(self) -> tuple[int, ...]:
        """Shape of a frozen tower's logits for one row."""
        frozen = self._given.frozen
        return (logits_dimension(self._resources.data),) if frozen is None else frozen.valid.shape[2:]

    def _compile(self, model: Any) -> tuple[FlatTower, TrainingLoop]:
        from model_search.training.kernels.fast_layers import with_fast_kernels

        slots = len(optimizer_of(self._hyperparameters).slots)
        tower = FlatTower(with_fast_kernels(model), self._resources.pool, slots)
        like: Rows | TableTensors
        if self._resources.table is None:
            like = self._with_frozen(self._resources.data.valid, "valid", self._objective.inputs_in_training)
        else:
            like = self._resources.table
            if self._reads_frozen:
                frozen = self._objective.frozen_input(self._frozen_train())
                like = like.with_inputs({FROZEN: tensorflow().constant(frozen, "float32")})
        plan = self._plan
        augmenter = Augmenter.of(plan.hyperparameters, self._resources.data.input_specs, plan.seed)
        return tower, TrainingLoop(tower, like, plan.batch_size, self._hyperparameters, self._objective, augmenter)

    @property
    def _reads_frozen(self) -> bool:
        """Whether training reads the logits of frozen towers."""
        return self._given.frozen is not None and FROZEN in self._objective.inputs_in_training

    def _with_frozen(self, rows: Rows, which: str, read: tuple[str, ...]) -> Rows:
        """Rows with what is read of the frozen towers' logits as one more input, if it is read."""
        if self._given.frozen is None or FROZEN not in read:
            return rows
        return rows.with_inputs({FROZEN: self._objective.frozen_input(getattr(self._given.frozen, which))})

    def _frozen_of(self, rows: Rows) -> np.ndarray | None:
        return rows.inputs.get(FROZEN)

    def _frozen_train(self) -> np.ndarray:
        if self._given.frozen is None or self._given.frozen.train is None:
            raise TrialError("the logits of the frozen towers on the training rows are missing")
        return self._given.frozen.train

    def _batches(self) -> RowOrder | StreamOrder:
        data, plan = self._resources.data, self._plan
        if isinstance(data, TableData):
            rows = len(data.train) if plan.row_share == 1 else subset(data.train.label, plan.row_share)
            return RowOrder(rows, plan.batch_size, plan.seed)
        return StreamOrder(iter(data.train_batches(plan.seed)), plan.batch_size, data.valid)

    def _take(self, batches: RowOrder | StreamOrder, count: int) -> np.ndarray | Rows:
        """The next batches; on a stream, the frozen towers are run and their time is recorded."""
        taken = batches.take(count)
        if not isinstance(taken, Rows) or self._given.frozen is None or not self._reads_frozen:
            return taken
        if self._given.frozen.forward is None:
            raise TrialError("the frozen towers cannot be run on a stream; nothing to run them with was given")
        with self._timed("frozen"), plain_words("a frozen tower cannot be run"):
            logits = self._given.frozen.forward(taken.inputs)
            return taken.with_inputs({FROZEN: self._objective.frozen_input(logits)})

    def _train(self, tower: FlatTower, loop: TrainingLoop) -> None:
        sizes = loop.step_sizes(self._rates[self._first : self._end], self._made)
        batches = self._batches()
        if self._first:
            with self._timed("train"):
                skip(batches, self._first)
        done, chunk = self._first, 1
        if self._first == self._end:
            self._evaluate(tower, done)
        for until in evaluation_updates(self._end, self._first, self._evaluations):
            while done < until:
                if self._report(done):
                    self._evaluate(tower, done)
                    return
                take = min(chunk, until - done)
                taken = self._take(batches, take)
                started = time.perf_counter()
                is_first = done == self._first
                with self._timed("trace" if is_first else "train"), plain_words("training failed"):
                    loss = loop.advance(done, taken, sizes[done - self._first : done - self._first + take])
                self._check_loss(loss, done, done + take)
                chunk = self._next_chunk(take, time.perf_counter() - started, first=is_first)
                done += take
                made, seconds = (
                    done - self._first - 1,
                    self._timings.get("train", 0.0),
                )  # the first is counted as tracing
                self._resources.limits.check_pace(self._plan, made, self._end - self._first, seconds)
            self._evaluate(tower, done)
        self._report(done)

    def _next_chunk(self, updates: int, seconds: float, first: bool) -> int:
        """As many updates as take `CHUNK_SECONDS`; the first chunk includes tracing, so its time counts less."""
        width = sum(math.prod(spec.shape) for spec in self._resources.data.input_specs.values())
        fits = max(1, _CHUNK_VALUES // (self._plan.batch_size * max(1, width)))
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

    def _evaluate(self, tower: FlatTower, update: int) -> None:
        if self._evaluated_at == update:
            return
        self._evaluated_at = update
        rows = self._evaluated.rows
        with tower.settled(update if self._fresh else 0):
            outputs = self._outputs(tower, rows, update)
            snapshot = tower.snapshot()
        if not np.isfinite(outputs).all():
            raise TrialError(
                f"the logits are not finite at step {self._count.at(update)} "
                f"({self._hyperparameters.optimizer}, learning rate {self._hyperparameters.learning_rate:.3g})"
            )
        with self._timed("validate"), plain_words("the tower cannot be evaluated"):
            logits = self._objective.logits(outputs, self._frozen_of(rows))
            metric, loss = self._resources.metrics.during_training(rows, logits)
        self._best.offer(Evaluation(update, metric, loss, outputs), snapshot)
        if math.isfinite(metric):
            self._curve.append((min(self._count.at(update), self._plan.steps), metric))

    def _final_outputs(self, tower: FlatTower) -> np.ndarray:
        best, snapshot = self._best.evaluation, self._best.snapshot
        flips = flips_at_test_time(self._plan)
        if best is None or snapshot is None or (self._evaluated.complete and not flips):
            return np.empty(0) if best is None else best.outputs
        tower.restore(snapshot)
        outputs = best.outputs if self._evaluated.complete else self._outputs(tower, self._valid, self._end)
        return self._with_mirrored(outputs, tower, self._valid)

    def _with_mirrored(self, outputs: np.ndarray, tower: FlatTower, rows: Rows) -> np.ndarray:
        """The outputs for rows as the model gives them that is built of the tower."""
        if not flips_at_test_time(self._plan):
            return outputs
        others = self._outputs(tower, rows.mirrored(self._resources.data.input_specs), self._end)
        return (outputs + others) / 2

    def _train_logits(self, tower: FlatTower, joint: JointModel) -> np.ndarray | None:
        """The own tower's logits on the training rows of a table, where they are asked for."""
        data, snapshot = self._resources.data, self._best.snapshot
        if not (self._settings.keep_train_logits and isinstance(data, TableData) and joint.towers and snapshot):
            return None
        rows = data.train
        if FROZEN in tower.input_names:
            rows = rows.with_inputs({FROZEN: self._objective.frozen_input(self._frozen_train())})
        tower.restore(snapshot)
        outputs = self._with_mirrored(self._outputs(tower, rows, self._end), tower, rows)
        return self._objective.own(outputs)

    def _outputs(self, tower: FlatTower, rows: Rows, update: int) -> np.ndarray:
        """The model's outputs for many rows; progress is reported in between, and the caller may end the run."""
        blocks = tower.blocks_of_logits(rows.inputs)
        found: list[np.ndarray] = []
        while True:
            with self._timed("validate"), plain_words("the tower cannot be evaluated"):
                block = next(blocks, None)
            if block is None:
                return np.concatenate(found)
            found.append(block)
            if time.perf_counter() - self._reported > CHUNK_SECONDS:
                self._report(update)

    def _report(self, update: int) -> bool:
        best = self._best.evaluation
        metric = None if best is None or math.isnan(best.metric) else best.metric
        step = min(self._count.at(update), self._plan.steps)
        self._reported = time.perf_counter()
        return bool(self._on_progress(Progress(step, self._plan.steps, self._loss, metric, tuple(self._curve))))

    @contextlib.contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._timings[phase] = self._timings.get(phase, 0.0) + time.perf_counter() - started


def _auxiliary_weight(plan: TrialPlan, settings: TrainingSettings) -> float | None:
    """The weight of the auxiliary head's loss; None for a plan whose tower is trained without such a head.

    Towers of ensembles and students are, and those that are too short for one.
    """
    if settings.auxiliary_weight is None or plan.ensemble is not None or plan.distillation is not None:
        return None
    from model_search.towers.auxiliary import auxiliary_place

    place = auxiliary_place(plan.architecture, problem_type(settings.problem_type))
    return None if place is None else settings.auxiliary_weight
