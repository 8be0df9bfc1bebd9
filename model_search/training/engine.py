"""The engine: the evaluator that trains towers in a compiled loop, on data that stay in memory."""

from __future__ import annotations

import dataclasses
import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from model_search.data.prepared_data import PreparedData, TableData
from model_search.data.rows import Arrays
from model_search.errors import TrialError
from model_search.metadata.trial import TrialPlan
from model_search.training.assembly import trained_model
from model_search.training.evaluation import ValidationMetrics
from model_search.training.evaluator import Evaluator, OnProgress, register_evaluator
from model_search.training.failures import plain_words
from model_search.training.flat_tower import FlatTower, VariablePool
from model_search.training.growth.beginning import SOME_ROWS, begin_as
from model_search.training.limits.trial_limits import TrialLimits
from model_search.training.loop import TableTensors
from model_search.training.outcome import FrozenTowers, Given, Progress, TrainedTower, TrainingSettings, TrialOutcome
from model_search.training.runtime import tensorflow, without_grappler
from model_search.training.tower_specs import as_trained, tower_spec
from model_search.training.trial_run import RunResources, TrialRun

if TYPE_CHECKING:
    import keras

    from model_search.towers.builder import TowerSpec
    from model_search.towers.joint_models import JointModel
    from model_search.towers.morphisms.morphism import Traced

__all__ = ["Engine", "OnProgress"]

_SWEEP_EVERY = 20  # times the seconds that a garbage collection takes


@register_evaluator("engine")
class Engine(Evaluator):
    """Runs plans, one trial after the other.

    One engine belongs to one thread; a process needs only one.
    """

    def __init__(self, data: PreparedData, settings: TrainingSettings):
        self._data = data
        self._settings = settings
        self._pool = VariablePool()
        self._table: TableTensors | None = None
        self._metrics = ValidationMetrics(data, settings)
        self._limits = TrialLimits(settings)
        self._sweeper = _Sweeper()

    def run(self, plan: TrialPlan, given: Given | None = None, on_progress: OnProgress | None = None) -> TrialOutcome:
        """Trains the tower of a plan: by itself, in an ensemble with frozen towers, or by distillation from a teacher.

        A plan that continues another trial (`first_step`) needs that trial's weights; it continues with the batches and
        learning rates that come next, and with the optimizer's state where it is given.

        Args:
            plan: See `Evaluator.run`.
            given: See `Evaluator.run`.
            on_progress: See `Evaluator.run`.

        Raises:
            TrialError: if the trial cannot be trained: a hyperparameter or a shape that makes no sense, a loss that
                is not finite, too little memory.
        """
        given = given or Given()
        report = on_progress or (lambda progress: None)
        ensemble = plan.ensemble
        if (plan.distillation is not None or (ensemble is not None and ensemble.freeze)) and given.frozen is None:
            raise TrialError(f"the plan of trial {plan.trial_id} needs the logits of other towers; none were given")
        started = time.perf_counter()
        try:
            frozen_only = given.frozen is not None and ensemble is not None and not plan.architecture
            if frozen_only and given.frozen is not None and ensemble is not None and ensemble.combining == "average":
                return self._average(given.frozen, report)
            if given.parent is None:
                return TrialRun(self._resources(plan), plan, given, report).outcome()
            given, began = begin_as(plan, given.parent, self.trace, self._some_rows())
            return dataclasses.replace(TrialRun(self._resources(plan), plan, given, report).outcome(), began=began)
        finally:
            self._sweeper.sweep(time.perf_counter() - started)

    def build(self, plan: TrialPlan) -> keras.Model:
        """The own tower of a plan with fresh weights: inputs in, logits [rows, ..., logits dimension] out."""
        tensorflow()  # quietly, before the builder imports Keras
        from model_search.towers.builder import build_tower

        with plain_words(f"the tower {' > '.join(plan.architecture)} cannot be built"):
            return build_tower(self._tower_spec(plan))

    def trace(self, plan: TrialPlan) -> Traced:
        """The same tower as `build` makes, with what each of its blocks reads and writes."""
        tensorflow()
        from model_search.towers.builder import build_traced

        with plain_words(f"the tower {' > '.join(plan.architecture)} cannot be built"):
            return build_traced(self._tower_spec(plan))

    def _some_rows(self) -> Arrays:
        """The inputs of a few training rows."""
        if isinstance(self._data, TableData):
            return self._data.train.take(slice(None, None, -(-len(self._data.train) // SOME_ROWS))).inputs
        return next(iter(self._data.train_batches(0))).inputs

    def build_with_auxiliary_head(self, plan: TrialPlan) -> JointModel:
        """The own tower of a plan with fresh weights, in a model that has an auxiliary head besides."""
        tensorflow()
        from model_search.towers.builder import build_with_auxiliary_head
        from model_search.towers.joint_models import with_auxiliary_head

        with plain_words(f"the tower {' > '.join(plan.architecture)} cannot be built"):
            return with_auxiliary_head(*build_with_auxiliary_head(self._tower_spec(plan)))

    def _tower_spec(self, plan: TrialPlan) -> TowerSpec:
        options = dataclasses.asdict(self._settings)
        widths = {name: task.logits_dimension for name, task in self._data.tasks.items()}
        return tower_spec(plan, self._data.input_specs, widths, options)

    def forward(self, towers: Sequence[TrainedTower]) -> Callable[[Arrays], np.ndarray]:
        """Trained towers as a function: inputs [rows, ...] by name to logits, float32 [towers, rows, ...]."""
        with without_grappler():
            flat = []
            for tower in towers:
                model = trained_model(tower, self.build)
                flat.append(FlatTower(model, VariablePool()))
                flat[-1].load(model.get_weights())
        return lambda inputs: np.stack([tower.logits(inputs) for tower in flat])

    def logits_of(self, tower: TrainedTower) -> tuple[np.ndarray, np.ndarray | None]:
        """A trained tower's logits on the validation rows, and on the training rows of a table (None for a stream)."""
        run = self.forward([tower])
        train = run(self._data.train.inputs)[0] if isinstance(self._data, TableData) else None
        return run(self._data.valid.inputs)[0], train

    def logits(self, plan: TrialPlan, weights: Mapping[str, np.ndarray], inputs: Arrays) -> np.ndarray:
        """Logits of a plan's tower with given weights, float32 [rows, ..., logits dimension], before temperature."""
        return self.forward([TrainedTower(plan, weights)])(inputs)[0]

    def _average(self, frozen: FrozenTowers, report: OnProgress) -> TrialOutcome:
        """Nothing to train: the mean of the members' logits."""
        started = time.perf_counter()
        report(Progress(0, 0, math.nan, None))
        logits = frozen.valid.mean(axis=0)
        with plain_words("the ensemble cannot be evaluated"):
            metrics = self._metrics.all(logits)
        seconds = time.perf_counter() - started
        timings = {"validate": seconds, "total": seconds}
        return TrialOutcome(metrics, 0, 0, timings, ((0, metrics[self._settings.metric]),), {}, logits)

    def _resources(self, plan: TrialPlan) -> RunResources:
        if not isinstance(self._data, TableData) and plan.row_share < 1:
            raise TrialError(
                f"trial {plan.trial_id} trains on a share of the rows; a stream has no rows to choose from"
            )
        if isinstance(self._data, TableData) and self._table is None:
            self._table = TableTensors.of(self._data.train)
        return RunResources(
            self._data,
            self._settings,
            self._metrics,
            self._pool,
            self._table,
            self._limits,
            lambda plan: self.build(as_trained(plan)),
            self.build_with_auxiliary_head,
        )


class _Sweeper:
    """Collects the garbage of finished trials: their graphs are large reference cycles.

    A collection takes a few milliseconds, or much longer in a process that holds many other objects; it runs
    only so often that it takes no more than a twentieth of the time.
    """

    def __init__(self) -> None:
        self._worked = math.inf  # collect right after the first trial, to measure how long it takes
        self._cost = 0.0

    def sweep(self, worked: float) -> None:
        """Collects if trials have taken enough time since the last collection."""
        self._worked += worked
        if self._worked < _SWEEP_EVERY * self._cost:
            return
        started = time.perf_counter()
        gc.collect()
        self._cost, self._worked = time.perf_counter() - started, 0.0
