"""The evaluator of searches with shared weights: it trains supernets, and towers from scratch like the engine."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable

import numpy as np

from model_search.data.prepared_data import TableData
from model_search.errors import TrialError
from model_search.metadata.trial import SUPERNET_LOSS, Candidate, SupernetPlan, TrialPlan
from model_search.training.batches import RowOrder, skip
from model_search.training.engine import Engine
from model_search.training.evaluation import ValidationMetrics
from model_search.training.evaluator import OnProgress, register_evaluator
from model_search.training.failures import plain_words
from model_search.training.outcome import Given, Progress, TrainingSettings, TrialOutcome
from model_search.training.supernet.darts import Differentiable
from model_search.training.supernet.enas import SharedByController
from model_search.training.supernet.method import RANDOM_SHARE, Method, SinglePath
from model_search.training.supernet.paths import Paths
from model_search.training.supernet.shared_weights import SharedWeights, Stage

METHODS: dict[str, type[Method]] = {method.name: method for method in (SinglePath, SharedByController, Differentiable)}
_REPORT_SECONDS = 0.4
_DRAWS = 50  # until a proposal is new
_STALE = 20  # repeats in a row, after which a method's proposals give way to random draws
_REPEATS = 300  # in a row, after which the space is taken to be exhausted
PREFIX = "method/"  # of what a method itself has learnt, among the weights


@register_evaluator("supernet")
class SupernetEvaluator(Engine):
    """Trains the supernet of a plan that has one, and leaves every other plan to the engine.

    A supernet's outcome are its weights, and the architectures that it has compared, in `TrialOutcome.candidates`. Its
    metrics have no value of the study's metric: it is no model.
    """

    def run(self, plan: TrialPlan, given: Given | None = None, on_progress: OnProgress | None = None) -> TrialOutcome:
        """See `Evaluator`."""
        if plan.supernet is None:
            return super().run(plan, given, on_progress)
        if not isinstance(self._data, TableData):
            raise TrialError(f"trial {plan.trial_id} trains a supernet, which takes rows in memory, not a stream")
        report = on_progress or (lambda progress: None)
        with plain_words("the supernet cannot be trained"):
            task = _Task(self._data, self._settings, self._metrics, plan, plan.supernet)
            return _Run(task, given or Given(), report).outcome()


@dataclasses.dataclass(frozen=True)
class _Task:
    """What a supernet is trained for."""

    data: TableData
    settings: TrainingSettings
    metrics: ValidationMetrics
    plan: TrialPlan
    supernet: SupernetPlan


class _Run:
    """One part of the training of a supernet and, where it is the last, the comparison of architectures."""

    def __init__(self, task: _Task, given: Given, report: Callable[[Progress], bool | None]) -> None:
        self._task = task
        self._report = report
        self._reported = -math.inf
        plan = task.plan
        self._shared = SharedWeights(task.data, plan, task.supernet)
        self._paths = Paths(task.supernet)
        self._method = METHODS[task.supernet.method](self._shared, self._paths, plan, self._loss_of)
        if plan.first_step:
            weights = given.initial_weights or {}
            own = {name.removeprefix(PREFIX): array for name, array in weights.items() if name.startswith(PREFIX)}
            self._shared.load(weights, given.optimizer)
            self._method.load(own)
        self._rng = np.random.default_rng([plan.seed, plan.first_step])
        self._loss = math.nan
        self._updates = plan.first_step

    def outcome(self) -> TrialOutcome:
        started = time.perf_counter()
        stopped = self._train()
        trained = time.perf_counter()
        candidates = self._compare(stopped) if self._task.supernet.candidates else []
        ended = time.perf_counter()
        weights, optimizer = self._shared.state(self._updates)
        weights |= {PREFIX + name: array for name, array in self._method.state().items()}
        metrics = {SUPERNET_LOSS: self._loss, **self._method.metrics()}
        if candidates:
            best = self._task.settings.objective.best([candidate.value for candidate in candidates])
            metrics |= {"candidates": float(len(candidates)), "best_of_candidates": float(best or 0.0)}
        return TrialOutcome(
            metrics=metrics,
            parameters=sum(math.prod(shape) for shape in self._shared.network.shapes.values()),
            best_step=self._updates,
            timings={"train": trained - started, "validate": ended - trained, "total": ended - started},
            curve=(),
            weights=weights,
            valid_logits=np.empty(0, np.float32),
            optimizer=optimizer,
            candidates=tuple(candidates),
        )

    def _train(self) -> bool:
        """Makes the updates of this part; returns whether it was told to stop."""
        plan = self._task.plan
        rate = float(plan.hyperparameters.get("learning_rate", 0.01))
        stage = Stage(plan.first_step, plan.steps, plan.total_steps or plan.steps, rate)
        batches = RowOrder(len(self._task.data.train), plan.batch_size, plan.seed)
        skip(batches, stage.first)
        losses: list[float] = []
        for update in range(stage.first, stage.end):
            if self._told_to_stop(update):
                return True
            losses.append(self._method.step(batches.take(1)[0], stage.rate(update), self._rng))
            if not math.isfinite(losses[-1]):
                raise TrialError(
                    f"the loss of the supernet became {losses[-1]} at step {update + 1}; a lower learning_rate helps"
                )
            self._loss = float(np.mean(losses[-100:]))
            self._updates = update + 1
        return self._told_to_stop(stage.end)

    def _told_to_stop(self, update: int) -> bool:
        now = time.perf_counter()
        if now - self._reported < _REPORT_SECONDS:
            return False
        self._reported = now
        return bool(self._report(Progress(update, self._task.plan.steps, self._loss, None)))

    def _compare(self, stopped: bool) -> list[Candidate]:
        """Architectures with the study's metric on the validation rows: random ones first, then those of the method."""
        task, objective = self._task, self._task.settings.objective
        wanted = 1 if stopped else task.supernet.candidates
        found: list[Candidate] = []
        known: set[tuple[int, ...]] = set()
        draws = repeats = 0
        while len(found) < wanted and draws < _DRAWS * wanted and repeats < _REPEATS:
            if self._told_to_stop(task.plan.steps) and found:
                break
            draws += 1
            random = len(found) < max(1, round(RANDOM_SHARE * wanted))
            if random or repeats >= _STALE:
                path = self._paths.random(self._rng)
            else:
                path = self._method.propose(found, objective, self._rng)
            if path in known:
                repeats += 1
                continue
            repeats = 0
            known.add(path)
            value = self._value(path)
            if math.isfinite(value):
                found.append(Candidate(tuple(map(int, path)), value, random))
        if not found:
            raise TrialError("no architecture could be compared: the metric is not finite with shared weights")
        return found

    def _value(self, path: tuple[int, ...], rows: int | None = None) -> float:
        """The study's metric of a path, on the first validation rows or on all."""
        valid = self._task.data.valid
        chosen = valid if rows is None or rows >= len(valid) else valid.take(slice(rows))
        metric, _ = self._task.metrics.during_training(chosen, self._shared.path_logits(np.array(path), rows))
        return float(metric)

    def _loss_of(self, path: tuple[int, ...], rows: int | None = None) -> float:
        return self._task.settings.objective.loss(self._value(path, rows))
