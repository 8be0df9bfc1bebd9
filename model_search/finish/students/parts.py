"""A part of an ensemble that is small enough to be its student: one of its forests, or some of its trees.

Where trees are most of an ensemble, a small network follows it less well than a third of them does (ensemble pruning;
Margineantu and Dietterich, "Pruning Adaptive Boosting", ICML 1997). Of averaged trees any number will do; of a bag of
boosted trees, some of the models.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from model_search.data.labelled_rows import LabelledRows
from model_search.data.rows import Rows
from model_search.data.task import Task, TaskKind
from model_search.finish.calibration import calibrate, log_probabilities
from model_search.finish.final_ensemble import StudyParts
from model_search.metadata.final_models import FinalModel
from model_search.metadata.trial import TrialKind, TrialPlan
from model_search.towers.classic_arrays import ClassicArrays, first_trees, parameters_of
from model_search.training.folds.bags import name_in_fold, weights_by_fold
from model_search.training.metrics import all_metrics
from model_search.training.outcome import TrainedTower


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of an ensemble.

    Attributes:
        tower: Its plan and its weights.
        parameters: How many numbers it has.
        note: Which part it is, for people.
    """

    tower: TrainedTower
    parameters: int
    note: str


def parts_of(study: StudyParts, teacher: FinalModel, most_parameters: int) -> Iterator[Part]:
    """For each classic model of an ensemble, as much of it as is small enough.

    Args:
        study: The study.
        teacher: Its final ensemble.
        most_parameters: Of a part.

    Raises:
        StudyError: if a model's arrays are gone.
    """
    from model_search.finish.study_models import StudyModels

    for member in teacher.members:
        trial = study.history.get(member.trial)
        if trial is not None and trial.plan is not None and trial.plan.classic is not None:
            tower = StudyModels(study).trained(member.trial)
            found = part_of(tower, most_parameters, 1 + max(study.completed))
            if found is not None:
                yield found


def part_of(tower: TrainedTower, most_parameters: int, trial_id: int) -> Part | None:
    """As much of a classic model as is small enough; None where there is none.

    Args:
        tower: The model, or a bag of them.
        most_parameters: Of the part.
        trial_id: A number above all trials, for the plan.
    """
    plan = tower.plan
    every: Sequence[ClassicArrays] = weights_by_fold(tower) if plan.folds else [tower.weights]
    kept, trees = list(every), ""
    if "leaf" in every[0]:
        share = most_parameters / sum(map(parameters_of, every))
        counts = [math.floor(share * len(arrays["root"])) for arrays in every]
        if share < 1 and min(counts):
            kept = [first_trees(arrays, count) for arrays, count in zip(every, counts, strict=True)]
            trees = f"{sum(counts)} of {sum(len(arrays['root']) for arrays in every)} trees of "
    while kept and sum(map(parameters_of, kept)) > most_parameters:
        kept.pop()
    if not kept:
        return None
    folds = len(kept) if len(kept) > 1 else 0
    of_bag = f"{len(kept)} of {len(every)} models of " if len(kept) < len(every) else ""
    weights: dict[str, np.ndarray] = {}
    for fold, arrays in enumerate(kept):
        weights |= {name_in_fold(fold, name) if folds else name: array for name, array in arrays.items()}
    made = dataclasses.replace(
        plan,
        trial_id=trial_id,
        kind=TrialKind.BAGGING if folds else TrialKind.CLASSIC,
        folds=folds,
        parent=plan.trial_id,
        key="student",
    )
    note = f"it is {trees}{of_bag}trial {plan.trial_id}, and better than a network of that size"
    return Part(TrainedTower(made, weights), sum(map(parameters_of, kept)), note)


@dataclasses.dataclass(frozen=True)
class Judge:
    """How good students are on rows that none of them is trained on.

    Attributes:
        task: What is predicted.
        truth: The teacher's logits for them, [rows, logits], where it is asked; no label is needed then.
        labelled: The rows with their labels, where these are asked.
    """

    task: Task
    truth: np.ndarray | None
    labelled: Rows | None = None

    def error(self, logits: np.ndarray) -> float:
        """How far off logits are.

        Of classes it is the log loss with their own temperature, or the mean Kullback-Leibler divergence from the
        teacher; of numbers the mean squared error, or distance from it.

        Args:
            logits: Of these rows, [rows, logits].
        """
        if self.labelled is not None:
            rows = LabelledRows.of_rows(self.task, self.labelled)
            found = rows.logits(logits)
            calibration = calibrate(rows, found)
            if calibration is not None:
                return calibration.log_loss_after
            return all_metrics(self.task, rows.labels, found, rows.weights)["loss"]
        if self.truth is None:
            raise ValueError("a judge needs a teacher or labels")
        if self.task.kind is TaskKind.REGRESSION:
            return float(np.mean(np.square(logits - self.truth)))
        expected = log_probabilities(self.truth)
        return float(np.mean((np.exp(expected) * (expected - log_probabilities(logits))).sum(axis=-1)))


@dataclasses.dataclass(frozen=True)
class Finished:
    """What may become the student.

    Attributes:
        plan: How it was made.
        weights: By name.
        parameters: How many numbers it has.
        metrics: On the validation rows.
        valid_logits: float32 [rows, logits], of the validation rows.
        notes: Sentences about it, for people.
    """

    plan: TrialPlan
    weights: Mapping[str, np.ndarray]
    parameters: int
    metrics: Mapping[str, float]
    valid_logits: np.ndarray
    notes: tuple[str, ...] = ()
