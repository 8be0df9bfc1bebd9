"""Distillation of a study's student: the task from its final ensemble, and the candidates from its trials."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from model_search.data.labelled_rows import LabelledRows
from model_search.data.prepared_data import PreparedData
from model_search.data.rows import Arrays, Rows
from model_search.deadline import Deadline
from model_search.errors import StudyError, TrialError
from model_search.finish.calibration import calibrate
from model_search.finish.final_ensemble import StudyParts, given_temperature
from model_search.finish.students.comparison import FinishedStudent, StudentComparison
from model_search.finish.students.parts import Part, parts_of
from model_search.finish.students.student import (
    SHARE_OF_ENSEMBLE,
    Candidate,
    DistillationTask,
    Teacher,
    distil,
    has_synthetic_rows,
    small_enough,
    work,
)
from model_search.metadata.artefacts import save_arrays
from model_search.metadata.final_models import Calibration, FinalKind, FinalModel
from model_search.metadata.paths import STUDENT_WEIGHTS, WEIGHTS, refit_weights
from model_search.metadata.trial import Trial
from model_search.report.leaderboard import seconds_of
from model_search.search.planning.morphisms import sizes
from model_search.search.space.grammar import Grammar
from model_search.search.space.hyperparameter_space import build_space
from model_search.search.space.starting_points import starting_points
from model_search.spec.load import stored_spec
from model_search.training.engine import OnProgress
from model_search.training.outcome import TrainedTower, TrainingSettings
from model_search.training.runtime import tensorflow

_MOST_CANDIDATES = 20
_SHARE_OF_SEARCH = 0.5  # of the trials' work, and of their time: a third of the whole
_SLOWER = 1.15  # times the quickest tower's seconds, a student is taken to need
_BETTER_NOTE = ", which is better than a network of that size"
_LEAST_SECONDS = 5.0  # that a student may take after a search of a few seconds


@dataclasses.dataclass(frozen=True)
class DistillationContext:
    """What distillation needs besides the study.

    Attributes:
        data: Training and validation rows.
        settings: The settings that all trials share.
        most_parameters: The most parameters of the student; None where the user has set no limit.
        on_progress: See `Engine.run`.
    """

    data: PreparedData
    settings: TrainingSettings
    most_parameters: int | None = None
    on_progress: OnProgress | None = None


def distilled_student(
    study: StudyParts,
    teacher: FinalModel,
    valid_logits: np.ndarray,
    distillation: DistillationContext,
    deadline: Deadline | None = None,
) -> tuple[FinalModel, np.ndarray]:
    """Distils a student of at most a third of the teacher's parameters; its weights are stored with the study.

    It takes no more work than half of that of the trials, and no more than half of their seconds (but a few).

    Args:
        study: The study, whose trials are the candidates.
        teacher: The final ensemble.
        valid_logits: The teacher's logits on the validation rows.
        distillation: What else distillation needs.
        deadline: When the student has to be trained; None for no limit.

    Returns:
        The student, and its logits on the validation rows.

    Raises:
        NoTimeError: if no time is left for it.
        StudyError: if no architecture of the study, and no part of the ensemble, is small enough.
        TrialError: if the student cannot be trained.
    """
    started = time.perf_counter()
    tensorflow()  # quietly, before anything else imports it
    deadline = Deadline() if deadline is None else deadline
    is_timed = deadline.is_set
    is_limited = "members" in study.record.settings  # studies of earlier versions go on as they began
    if is_limited:
        deadline = deadline.within(_most_seconds(study))
    limit = teacher.parameters // SHARE_OF_ENSEMBLE
    limit = limit if distillation.most_parameters is None else min(limit, distillation.most_parameters)
    candidates = small_enough(_candidates(study), limit)
    is_table = has_synthetic_rows(distillation.data)
    fresh = _for_large_tables(study, limit, candidates) if is_table else None
    parts = list(parts_of(study, teacher, limit)) if is_table and len(study.tasks) == 1 else []
    if not candidates and fresh is None and not parts:
        kept = (
            "" if all(map(_has_weights, _single_towers(study))) else " whose weights are kept (keep_models, disk_limit)"
        )
        raise StudyError(
            f"no student: no architecture of the study{kept} has at most {limit:,} parameters, a third of the "
            "ensemble's or the limit that was given"
        )
    record = study.record
    job = DistillationTask(
        data=distillation.data,
        settings=distillation.settings,
        teacher=_teacher(study, teacher),
        valid_logits=valid_logits,
        members=tuple(member.trial for member in teacher.members),
        trial_id=1 + max(study.completed),
        steps=record.whole_setting("train_steps"),
        batch_size=record.whole_setting("batch_size"),
        seed=study.record.seed,
        deadline=deadline,
        budget=_SHARE_OF_SEARCH * _work(study) if is_limited else math.inf,
        pace=_pace(study),
        is_timed=is_timed,
    )

    def distilled() -> FinishedStudent:
        found = distil(job, candidates[:_MOST_CANDIDATES], distillation.on_progress, fresh)
        outcome = found.outcome
        return FinishedStudent(found.plan, outcome.weights, outcome.parameters, outcome.metrics, outcome.valid_logits)

    if parts:
        seen = have_seen_validation(study, teacher)
        student = _best_of(StudentComparison(study, job, seen, distillation.on_progress), parts, distilled)
    else:
        student = distilled()
    final = FinalModel(
        kind=FinalKind.STUDENT,
        metrics=student.metrics,
        parameters=student.parameters,
        seconds=time.perf_counter() - started,
        trials=study.completed,
        members=student.members,
        plan=student.plan,
        calibration=_calibration(study, teacher, distillation.data.valid, student.valid_logits),
        artefacts=(save_arrays(study.artefacts, None, STUDENT_WEIGHTS, student.weights),) if student.plan else (),
        notes=student.notes,
    )
    return final, student.valid_logits


def _best_of(
    comparison: StudentComparison, parts: Sequence[Part], distilled: Callable[[], FinishedStudent]
) -> FinishedStudent:
    """The network or a part of the ensemble; the latter also where no network could be trained."""
    part = comparison.best(parts)
    if part is None:
        return distilled()
    try:
        network = distilled()
    except (StudyError, TrialError):
        return comparison.finished(part)
    return comparison.finished(part, _BETTER_NOTE) if comparison.is_better(part, network) else network


def _calibration(study: StudyParts, teacher: FinalModel, rows: Rows, logits: np.ndarray) -> Calibration | None:
    valid = LabelledRows.of_rows(study.task, rows)
    others = list(LabelledRows.of_tasks(study.tasks, rows, logits).values())[1:]
    known = teacher.calibration if have_seen_validation(study, teacher) else None
    given = given_temperature(study.record) if known is None else known.temperature
    found = calibrate(valid, valid.logits(logits), given, others)
    if found is not None and known is not None:
        # On these rows the student is as sure as its teacher, which was trained on them.
        found = dataclasses.replace(found, fitted=known.fitted, others=known.others)
    return found


def _most_seconds(study: StudyParts) -> float:
    """Half of what the trials took: then a student takes no more than a third of the whole time."""
    return max(_LEAST_SECONDS, _SHARE_OF_SEARCH * sum(map(_seconds, study.history.completed)))


def have_seen_validation(study: StudyParts, teacher: FinalModel) -> bool:
    """Whether towers of an ensemble were trained on the validation rows: those of bags, and those trained again.

    Args:
        study: The study.
        teacher: Its final ensemble.
    """
    files = study.store.files()
    members = [study.history.get(member.trial) for member in teacher.members]
    plans = [trial.plan for trial in members if trial is not None and trial.plan is not None]
    return any(plan.folds or any(refit_weights(number) in files for number in plan.towers) for plan in plans)


def _work(study: StudyParts) -> float:
    """The work of the study's trials, in the unit of `student.work`."""
    return sum(_work_of(trial) for trial in study.history.completed)


def _work_of(trial: Trial) -> float:
    plan, result = trial.plan, trial.result
    if plan is None or result is None or plan.classic is not None:
        return 0.0
    return (plan.steps - plan.first_step) * work(plan.batch_size, result.tower_parameters)


def _pace(study: StudyParts) -> float | None:
    """Seconds for each unit of work of a large tower of plain layers; None where no tower was trained.

    In small towers, and in those of many layers, there is more to a step than products: the quickest one is like it.
    """
    found = [
        _seconds(trial) / _work_of(trial)
        for trial in study.history.completed
        if trial.result is not None
        and trial.result.stopped_at is None
        and trial.plan is not None
        and trial.plan.trains_one_tower
        and _work_of(trial)
        and _seconds(trial)
    ]
    return _SLOWER * min(found) if found else None


def _seconds(trial: Trial) -> float:
    found = math.nan if trial.result is None else seconds_of(trial.result)
    return 0.0 if math.isnan(found) else found


def _for_large_tables(study: StudyParts, most_parameters: int, candidates: Sequence[Candidate]) -> Candidate | None:
    """What is trained from the beginning, since a student is given as many rows as it needs.

    It is the starting point for the largest tables, or where that is too large the best trial's tower, trained as such.
    """
    from model_search.finish.study_models import StudyModels

    spec = stored_spec(study.record.settings.get("spec") or study.record.spec_text, study.record.name)
    points = starting_points(Grammar.of(spec), build_space(spec, train_steps=1)) if spec.starting_points else ()
    largest = max(points, key=lambda point: point.least_rows, default=None)
    if largest is None or not largest.least_rows:
        return None
    parameters = StudyModels(study).parameters(largest.architecture, largest.hyperparameters)
    if parameters <= most_parameters:
        return Candidate(largest.architecture, parameters, hyperparameters=largest.hyperparameters)
    if not candidates:
        return None
    best = candidates[0]
    return Candidate(best.architecture, best.parameters, hyperparameters={**largest.hyperparameters, **best.sizes})


def _candidates(study: StudyParts) -> list[Candidate]:
    """Trials whose towers, trained by themselves, are still there, the best first."""
    return [
        Candidate(
            architecture=trial.plan.architecture,
            parameters=trial.result.tower_parameters,
            trial=trial.id,
            tower=_tower_of(study, trial),
            sizes=sizes(trial.plan),
            seconds=sum(trial.result.timings.get(phase, 0.0) for phase in ("build", "trace", "validate")),
        )
        for trial in _single_towers(study)
        if _has_weights(trial) and trial.plan is not None and trial.result is not None
    ]


def _single_towers(study: StudyParts) -> list[Trial]:
    """The completed trials that trained a tower by itself, the best first."""
    return [trial for trial in study.history.completed if trial.plan is not None and trial.plan.trains_one_tower]


def _has_weights(trial: Trial) -> bool:
    """Whether they were not deleted to save room."""
    return not any(file.name == WEIGHTS and file.pruned for file in trial.artefacts)


def _tower_of(study: StudyParts, trial: Trial) -> Callable[[], TrainedTower]:
    def load() -> TrainedTower:
        from model_search.finish.study_models import StudyModels

        return StudyModels(study).trained(trial.id)

    return load


def _teacher(study: StudyParts, model: FinalModel) -> Teacher:
    """The teacher as a function; the model is built on the first call."""
    built: list[Teacher] = []

    def logits(inputs: Arrays) -> np.ndarray:
        if not built:
            from model_search.finish.predict import tower_logits
            from model_search.finish.study_models import StudyModels

            tower = StudyModels(study, compiled=True).of_final(model)
            built.append(lambda inputs: tower_logits(tower, inputs))
        return built[0](inputs)

    return logits
