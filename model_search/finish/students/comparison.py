"""Whether a part of an ensemble is a better student than the network that is distilled from it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from model_search.data.labelled_rows import LabelledRows
from model_search.data.rows import Arrays
from model_search.data.task import TaskKind
from model_search.finish.calibration import calibrate, log_probabilities
from model_search.finish.ensemble_selection import ensemble_logits
from model_search.finish.final_ensemble import StudyParts, candidates
from model_search.finish.students.parts import Part
from model_search.finish.students.student import DistillationTask, comparison_rows, has_synthetic_rows
from model_search.metadata.final_models import FinalMember
from model_search.metadata.trial import TrialPlan
from model_search.training.engine import OnProgress
from model_search.training.evaluation import ValidationMetrics
from model_search.training.metrics import all_metrics
from model_search.training.outcome import Progress, TrainedTower

if TYPE_CHECKING:
    import keras

    from model_search.finish.study_models import StudyModels

# A part of the ensemble takes longer to answer than a network. Its share of the network's error is at most
_BETTER = 0.98  # on the validation rows.
# Where these do not tell, its distance from the teacher is, on rows such as the network has learnt from, at most
_NEARER = 2.0  # times as great.
_FEWEST_LABELS, _MOST_LABELS = 200, 4096  # validation rows


@dataclasses.dataclass(frozen=True)
class ErrorOnLabels:
    """How good models are on rows with labels: the log loss of classes, with their own temperature, or the loss.

    Attributes:
        rows: Labels and weights.
    """

    rows: LabelledRows

    def error(self, logits: np.ndarray) -> float:
        """How far off logits [rows, logits] are; less is better."""
        found = self.rows.logits(logits)
        calibration = calibrate(self.rows, found)
        if calibration is not None:
            return calibration.log_loss_after
        return all_metrics(self.rows.task, self.rows.labels, found, self.rows.weights)["loss"]


@dataclasses.dataclass(frozen=True)
class DistanceFromTeacher:
    """How near models are to their teacher: the mean Kullback-Leibler divergence from it, or the squared distance.

    Attributes:
        kind: Classes or numbers.
        teacher_logits: The teacher's logits, [rows, logits].
    """

    kind: TaskKind
    teacher_logits: np.ndarray

    def error(self, logits: np.ndarray) -> float:
        """How far logits [rows, logits] are from the teacher's; less is better."""
        if self.kind is TaskKind.REGRESSION:
            return float(np.mean(np.square(logits - self.teacher_logits)))
        expected = log_probabilities(self.teacher_logits)
        return float(np.mean((np.exp(expected) * (expected - log_probabilities(logits))).sum(axis=-1)))


@dataclasses.dataclass(frozen=True)
class FinishedStudent:
    """What may become the student: a network, or a part of the ensemble.

    Attributes:
        plan: How the network was made; None for a part.
        weights: Of the network, by name.
        parameters: How many numbers it has.
        metrics: On the validation rows.
        valid_logits: float32 [rows, logits], of the validation rows.
        members: Those of a part.
        notes: Sentences about it, for people.
    """

    plan: TrialPlan | None
    weights: Mapping[str, np.ndarray]
    parameters: int
    metrics: Mapping[str, float]
    valid_logits: np.ndarray
    members: tuple[FinalMember, ...] = ()
    notes: tuple[str, ...] = ()


class StudentComparison:
    """Parts of an ensemble beside the network that is distilled from it.

    Of the parts, that is the best whose members together predict best on rows that they were not trained on, by what
    the study has stored of them. Whether it is better than the network, the validation rows tell, unless they are few
    or the teacher has seen them: then it is the distance from the teacher.

    Args:
        study: The study.
        job: What the network is distilled from.
        seen: Whether the teacher has seen the validation rows.
        on_progress: See `Engine.run`.
    """

    def __init__(self, study: StudyParts, job: DistillationTask, seen: bool, on_progress: OnProgress | None):
        self._study, self._job, self._on_progress = study, job, on_progress
        self._is_labelled = not seen and len(job.data.valid) >= _FEWEST_LABELS
        self._built: dict[Part, keras.Model] = {}

    @functools.cached_property
    def _rows(self) -> Arrays:
        data, seed = self._job.data, self._job.seed
        if self._is_labelled or not has_synthetic_rows(data):
            return data.valid.take(self._chosen).inputs
        return comparison_rows(data, seed)

    @functools.cached_property
    def _chosen(self) -> np.ndarray:
        """The validation rows that errors are computed on."""
        rng = np.random.default_rng([self._job.seed, len(self._job.data.valid)])
        return np.sort(rng.permutation(len(self._job.data.valid))[:_MOST_LABELS])

    @functools.cached_property
    def _measure(self) -> ErrorOnLabels | DistanceFromTeacher:
        data = self._job.data
        if self._is_labelled:
            return ErrorOnLabels(LabelledRows.of_rows(data.task, data.valid.take(self._chosen)))
        return DistanceFromTeacher(data.task.kind, self._job.teacher(self._rows))

    @functools.cached_property
    def _models(self) -> StudyModels:
        from model_search.finish.study_models import StudyModels

        return StudyModels(self._study, compiled=True)

    def _error(self, model: keras.Model) -> float:
        return self._measure.error(self._logits(model, self._rows))

    @staticmethod
    def _logits(model: keras.Model, inputs: Arrays) -> np.ndarray:
        from model_search.finish.predict import tower_logits

        return tower_logits(model, inputs)

    def best(self, parts: Sequence[Part]) -> Part | None:
        """The best part; None where there is none, or no time.

        Raises:
            StudyError: if nothing is stored to compare them by.
        """
        wanted = {member.trial for part in parts for member in part.members}
        if not wanted or self._job.deadline.passed:
            return None
        if self._on_progress is not None:
            self._on_progress(Progress(0, 0, math.nan, None))
        found = candidates(self._study, self._study.kept().rows, wanted)
        stored = {trial.id: logits for trial, logits in zip(found.trials, found.logits, strict=True)}
        measure, task = ErrorOnLabels(found.rows), self._job.data.task

        def error(part: Part) -> float:
            logits = [stored[member.trial] for member in part.members]
            return measure.error(ensemble_logits(task, logits, [member.weight for member in part.members]))

        known = [part for part in parts if all(member.trial in stored for member in part.members)]
        best = min(known, key=error, default=None)
        if best is not None:
            self._built[best] = self._models.of_members(best.members)
        return best

    def is_better(self, part: Part, student: FinishedStudent) -> bool:
        """Whether the best part is clearly better than the network, which answers sooner."""
        error = self._error(self._built[part])
        if self._is_labelled or student.plan is None:
            return error < _BETTER * self._measure.error(student.valid_logits[self._chosen])
        return error < _NEARER * self._error(self._models.of_tower(TrainedTower(student.plan, student.weights)))

    def finished(self, part: Part, note: str = "") -> FinishedStudent:
        """A part, which was compared, as the student."""
        data = self._job.data
        logits = self._logits(self._built[part], data.valid.inputs)
        metrics = ValidationMetrics(data, self._job.settings).all(logits)
        return FinishedStudent(None, {}, part.parameters, metrics, logits, part.members, (part.note + note,))
