"""The evaluator of bags: one tower for each fold, by the evaluator of single towers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from model_search.data.prepared_data import PreparedData, TableData
from model_search.data.rows import Arrays, concatenate
from model_search.data.task import TaskKind
from model_search.errors import TrialError
from model_search.metadata.trial import TrialPlan
from model_search.training.evaluation import ValidationMetrics
from model_search.training.evaluator import Evaluator, OnProgress
from model_search.training.folds.bags import fold_numbers, name_in_fold
from model_search.training.outcome import Given, Progress, TrainedTower, TrainingSettings, TrialOutcome

MakeEvaluator = Callable[[PreparedData, TrainingSettings], Evaluator]


class WithFolds(Evaluator):
    """Trains the towers of a bag one after the other, and leaves other plans to the evaluator of single towers.

    The folds are of training and validation rows together. What a bag is evaluated by, and what it leaves for the final
    ensemble, are the predictions of each row by the tower that was trained without it.

    Args:
        make: Makes the evaluator of single towers.
        data: Training and validation rows.
        settings: The settings that all trials share.
    """

    def __init__(self, make: MakeEvaluator, data: PreparedData, settings: TrainingSettings):
        self._make = make
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
        folds = fold_numbers(len(rows), plan.folds, len(rows), classes)
        settings = dataclasses.replace(self._settings, keep_train_logits=False)
        outcomes: list[TrialOutcome] = []
        logits: np.ndarray | None = None
        for fold in range(plan.folds):
            part = dataclasses.replace(data, train=rows.take(folds != fold), valid=rows.take(folds == fold))
            alone = dataclasses.replace(
                plan, folds=0, seed=(plan.seed + fold) % 2**31, steps=_steps(plan, data, len(part.train))
            )
            outcome = self._make(part, settings).run(alone, None, _reporting(report, fold, plan.folds))
            if logits is None:
                logits = np.zeros((len(rows), *outcome.valid_logits.shape[1:]), np.float32)
            logits[folds == fold] = outcome.valid_logits
            outcomes.append(outcome)
        if logits is None:
            raise TrialError(f"trial {plan.trial_id} has no fold")
        train, valid = logits[: len(data.train)], logits[len(data.train) :]
        metrics = ValidationMetrics(data, self._settings).all(valid)
        phases = {phase for outcome in outcomes for phase in outcome.timings}
        return TrialOutcome(
            metrics=metrics,
            parameters=sum(outcome.parameters for outcome in outcomes),
            best_step=max(outcome.best_step for outcome in outcomes),
            timings={phase: sum(outcome.timings.get(phase, 0.0) for outcome in outcomes) for phase in phases},
            curve=(),
            weights={
                name_in_fold(fold, name): array
                for fold, outcome in enumerate(outcomes)
                for name, array in outcome.weights.items()
            },
            valid_logits=valid,
            train_logits=train,
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
