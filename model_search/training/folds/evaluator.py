"""The evaluator of bags: one model for each fold, towers side by side, others by the evaluator of single models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from model_search.data.prepared_data import PreparedData, TableData
from model_search.data.rows import Arrays, Rows, concatenate
from model_search.data.task import TaskKind
from model_search.errors import TrialError
from model_search.metadata.trial import TrialKind, TrialPlan
from model_search.training.evaluation import ValidationMetrics
from model_search.training.evaluator import Evaluator, OnProgress
from model_search.training.folds.bags import BagOutcome, fold_numbers, name_in_fold
from model_search.training.folds.in_threads import Job, run_jobs
from model_search.training.outcome import Given, Progress, TrainedTower, TrainingSettings, TrialOutcome

if TYPE_CHECKING:
    from model_search.training.folds.side_by_side import TowersSideBySide

MakeEvaluator = Callable[[PreparedData, TrainingSettings], Evaluator]


class WithFolds(Evaluator):
    """Trains the models of a bag, and leaves other plans to the evaluator of single models.

    The folds are of training and validation rows together. What a bag is evaluated by, and what it leaves for the final
    ensemble, are the predictions of each row by the tower that was trained without it. With `settings.on_all_rows`,
    its models differ in their seeds alone, and have seen the rows that they are evaluated on.

    Args:
        make: Makes the evaluator of single models.
        data: Training and validation rows.
        settings: The settings that all trials share.
        side_by_side: Makes what trains towers together; without it, they are trained one after the other.
        threads: How many models that are no towers may be trained at a time.
    """

    def __init__(
        self,
        make: MakeEvaluator,
        data: PreparedData,
        settings: TrainingSettings,
        side_by_side: Callable[[TableData], TowersSideBySide] | None = None,
        threads: int = 1,
    ):
        self._threads = threads
        self._make = make
        self._make_side_by_side = side_by_side
        self._towers: TowersSideBySide | None = None
        self._data = data
        self._settings = settings
        self._single = make(data, settings)

    def run(self, plan: TrialPlan, given: Given | None = None, on_progress: OnProgress | None = None) -> TrialOutcome:
        """See `Evaluator`."""
        if not plan.folds:
            return self._single.run(plan, given, on_progress)
        if not isinstance(self._data, TableData):
            raise TrialError(f"trial {plan.trial_id} trains on folds; a stream has no rows to divide")
        return self._bag(plan, self._data, on_progress or (lambda progress: None))

    def forward(self, towers: Sequence[TrainedTower]) -> Callable[[Arrays], np.ndarray]:
        """See `Evaluator`; bags take no part in what is trained further."""
        return self._single.forward(towers)

    def logits_of(self, tower: TrainedTower) -> tuple[np.ndarray, np.ndarray | None]:
        """See `Evaluator`; bags take no part in what is trained further."""
        return self._single.logits_of(tower)

    def _bag(self, plan: TrialPlan, data: TableData, report: OnProgress) -> TrialOutcome:
        rows = concatenate([data.train, data.valid])
        classes = rows.label if data.task.kind is TaskKind.CLASSIFICATION and rows.label.ndim == 1 else None
        # By the study's split, not by the trial: all bags leave the same rows out.
        divided = fold_numbers(len(rows), plan.folds, len(rows), classes, data.groups, plan.division)
        numbers = plan.left_out or range(plan.folds)
        folds = np.full(len(rows), -1)
        for place, number in enumerate(numbers):
            folds[divided == number % plan.folds] = place
        trained = [
            len(rows) if self._settings.on_all_rows else int((folds != place).sum()) for place in range(len(numbers))
        ]
        alone = [_alone(plan, data, *each) for each in zip(numbers, trained, strict=True)]
        if plan.classic is None and self._make_side_by_side is not None:
            found = self._together(plan, alone, data, folds, report)
        else:
            found = self._apart(alone, data, rows, folds, report)
        return self._on_folds(data, rows, folds, found) if plan.left_out else self._outcome(data, found)

    def _apart(
        self, alone: Sequence[TrialPlan], data: TableData, rows: Rows, folds: np.ndarray, report: OnProgress
    ) -> BagOutcome:
        """Trains the models of a bag each by itself."""
        jobs = [self._job(one, data, rows, folds, place) for place, one in enumerate(alone)]
        if alone[0].classic is not None and self._threads > 1:
            outcomes = run_jobs(jobs, self._threads, report)
        else:
            outcomes = [job(_reporting(report, place, len(jobs))) for place, job in enumerate(jobs)]
        first = outcomes[0].valid_logits
        logits = np.zeros((len(rows), *first.shape[1:]), np.float32)
        for place, outcome in enumerate(outcomes):
            logits[folds == place] = outcome.valid_logits
        phases = {phase for outcome in outcomes for phase in outcome.timings}
        return BagOutcome(
            weights=[outcome.weights for outcome in outcomes],
            logits=logits,
            parameters=sum(outcome.parameters for outcome in outcomes),
            best_step=max(outcome.best_step for outcome in outcomes),
            curve=(),
            timings={phase: sum(outcome.timings.get(phase, 0.0) for outcome in outcomes) for phase in phases},
        )

    def _job(self, alone: TrialPlan, data: TableData, rows: Rows, folds: np.ndarray, fold: int) -> Job:
        """Trains the model without one fold, and evaluates it on that."""
        trained = rows if self._settings.on_all_rows else rows.take(folds != fold)
        part = dataclasses.replace(data, train=trained, valid=rows.take(folds == fold))
        settings = dataclasses.replace(self._settings, keep_train_logits=False)
        return lambda report: self._make(part, settings).run(alone, None, report)

    def _together(
        self, plan: TrialPlan, alone: Sequence[TrialPlan], data: TableData, folds: np.ndarray, report: OnProgress
    ) -> BagOutcome:
        """Trains the towers of a bag side by side."""
        if self._towers is None and self._make_side_by_side is not None:
            self._towers = self._make_side_by_side(data)
        if self._towers is None:
            raise TrialError(f"trial {plan.trial_id} trains towers together; nothing to train them with was given")
        # In one loop, all are trained for as many steps, whatever the sizes of their folds.
        rows = len(folds) if self._settings.on_all_rows else round(len(folds) * (1 - 1 / plan.folds))
        alike = [dataclasses.replace(one, steps=_steps(plan, data, rows)) for one in alone]
        return self._towers.run(alike, folds, plan.steps, report)

    def _on_folds(self, data: TableData, rows: Rows, folds: np.ndarray, found: BagOutcome) -> TrialOutcome:
        """What a trial on some folds leaves: metrics and predictions of the rows of these folds, and no model."""
        judged = np.flatnonzero(folds >= 0)
        logits = found.logits[judged]
        return TrialOutcome(
            metrics=ValidationMetrics(dataclasses.replace(data, valid=rows.take(judged)), self._settings).all(logits),
            parameters=found.parameters,
            best_step=found.best_step,
            timings=found.timings,
            curve=found.curve,
            weights={},
            valid_logits=logits,
        )

    def _outcome(self, data: TableData, bag: BagOutcome) -> TrialOutcome:
        """What a bag leaves; its metrics are those of the validation rows, as those of other trials are."""
        valid = bag.logits[len(data.train) :]
        return TrialOutcome(
            metrics=ValidationMetrics(data, self._settings).all(valid),
            parameters=bag.parameters,
            best_step=bag.best_step,
            timings=bag.timings,
            curve=bag.curve,
            weights={
                name_in_fold(fold, name): array
                for fold, weights in enumerate(bag.weights)
                for name, array in weights.items()
            },
            valid_logits=valid,
            train_logits=bag.logits[: len(data.train)],
        )


def _alone(plan: TrialPlan, data: TableData, fold: int, rows: int) -> TrialPlan:
    """The plan of the model without one fold, which is trained on so many rows."""
    return dataclasses.replace(
        plan,
        kind=TrialKind.BAGGING,
        folds=0,
        left_out=(),
        seed=(plan.seed + fold) % 2**31,
        steps=_steps(plan, data, rows),
    )


def _steps(plan: TrialPlan, data: TableData, rows: int) -> int:
    """As many epochs as the plan's on the training rows; rounds of boosting, and penalties, are no epochs."""
    if plan.classic is not None:
        return plan.steps
    return max(1, round(plan.steps * rows / max(1, len(data.train))))


def _reporting(report: OnProgress, fold: int, folds: int) -> OnProgress:
    """Reports the progress of one tower as that of the bag."""

    def on_progress(progress: Progress) -> bool | None:
        done = Progress(fold * progress.steps + progress.step, folds * progress.steps, progress.loss, progress.best)
        return report(done)

    return on_progress
