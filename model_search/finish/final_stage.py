"""The final stage of a study: an ensemble selected from its trials, and a student distilled from it.

Selection needs nothing but what the study keeps. Distillation needs the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from model_search.deadline import Deadline
from model_search.errors import StudyError, UserError
from model_search.finish.calibration import is_calibrated
from model_search.finish.ensemble_selection import paired_gain
from model_search.finish.final_ensemble import (
    MetricFunctions,
    StudyParts,
    given_temperature,
    make_ensemble,
    may_take_part,
    objective_of,
    validation_logits,
)
from model_search.finish.students.distillation import DistillationContext, distilled_student, have_seen_validation
from model_search.metadata.final_models import FinalKind, FinalModel, wants_student

_MOST_ATTEMPTS = 5  # where other processes change the study meanwhile
_TEACHER_ONLY = "made as the student's teacher only"  # studies keep this sentence


@dataclasses.dataclass(frozen=True)
class StageOptions:
    """What the final stage is asked for.

    Attributes:
        what: "both", "ensemble", "distil" or "neither"; "distil" selects an ensemble as well, for that is the teacher,
            but does not offer it as the study's best model.
        metric_functions: Used where the stored rows do not suffice to compute the metrics.
        distillation: What a student needs; None where none is asked for.
        deadline: When all of it has to be done.
        say: Receives messages for people.
    """

    what: str = "ensemble"
    metric_functions: MetricFunctions = dataclasses.field(default_factory=MetricFunctions)
    distillation: DistillationContext | None = None
    deadline: Deadline = dataclasses.field(default_factory=Deadline)
    say: Callable[[str], None] = lambda text: None


def is_up_to_date(study: StudyParts, what: str) -> bool:
    """Whether the study has all that is asked for, made from the trials and with the temperature that it has now.

    An ensemble of members that may not take part any more is not what is asked for, nor one that was made as a teacher
    only where it is to be offered as the study's best model, nor the other way round.
    """
    wanted = {FinalKind.ENSEMBLE} | ({FinalKind.STUDENT} if wants_student(what) else set())
    given = given_temperature(study.record)
    made = {
        model.kind: model
        for model in study.store.final_models()
        if model.trials == study.completed and is_calibrated(model.calibration, given)
    }
    if not wanted <= set(made):
        return False
    ensemble = made[FinalKind.ENSEMBLE]
    is_as_asked = not ensemble.accepted if what == "distil" else _TEACHER_ONLY not in ensemble.notes
    members = [study.history.get(member.trial) for member in ensemble.members]
    return is_as_asked and all(trial is not None and may_take_part(trial, study.networks_only) for trial in members)


def run_stage(study: StudyParts, options: StageOptions) -> list[FinalModel]:
    """Makes the final models and stores them in place of earlier ones; the ensemble is stored before a student begins.

    Where another process stores final models of further trials meanwhile, or deletes files of trials that these consist
    of, the stage is run again with the trials that there are by then, unless the other one has made what is asked for.

    Returns:
        What was made; nothing where the study has only one model.

    Raises:
        NoTimeError: if no time is left for the student.
        StudyError: if the study has no completed trial, if what is needed to evaluate them is gone, no architecture
            is small enough for a student, or other processes are in the way all the time.
        TrialError: if the student cannot be trained.
    """
    if options.what == "neither":
        return []
    for _ in range(_MOST_ATTEMPTS):
        made = _attempt(study, options)
        if made is not None:
            return made
        study.history.update(study.store.history()[0])
        if is_up_to_date(study, options.what):
            options.say("final stage: another process has made the final models meanwhile; they stay")
            return study.store.final_models()
        options.say("final stage: another process has changed the study meanwhile; it is run again")
    raise StudyError(
        f"final stage: other processes have changed study {study.record.name!r} {_MOST_ATTEMPTS} times meanwhile; call "
        "finish again when they have ended"
    )


def _attempt(study: StudyParts, options: StageOptions) -> list[FinalModel] | None:
    """Makes the final models and stores them; None where they are not stored, since the study has changed meanwhile."""
    if not study.completed:
        raise StudyError(f"study {study.record.name!r} has no completed trial yet; run its search again")
    if len(study.completed) == 1:
        options.say("final stage: there is only one model, and so nothing to choose an ensemble from")
        return [] if _save(study, []) else None
    ensemble, logits = make_ensemble(study, options.metric_functions, options.deadline)
    if options.what == "distil":
        ensemble = dataclasses.replace(ensemble, accepted=False, leads=False, notes=(*ensemble.notes, _TEACHER_ONLY))
    if not _save(study, [ensemble]):
        return None
    options.say(_summary(ensemble, study))
    if not wants_student(options.what):
        return [ensemble]
    if options.distillation is None:
        raise UserError(f"the final stage was asked for {options.what!r}, which takes the data; expected distillation=")
    student, answers = distilled_student(study, ensemble, logits, options.distillation, options.deadline)
    student = _compared(study, ensemble, student, (logits, answers), options.metric_functions)
    if not _save(study, [ensemble, student]):
        return None
    options.say(_summary(student, study))
    return [ensemble, student]


def _save(study: StudyParts, models: Sequence[FinalModel]) -> bool:
    """Stores final models in place of others, unless these are made from trials that ours know nothing of.

    Returns:
        Whether they are stored; they are not, either, where files of a trial that they consist of are gone.
    """
    known: list[FinalModel] | None = None
    while True:
        found = study.store.final_models()
        if found == known or any(set(model.trials) - set(study.completed) for model in found):
            return False
        if study.store.save_final_models(models, instead_of=found):
            return True
        known = found


def _compared(
    study: StudyParts,
    ensemble: FinalModel,
    student: FinalModel,
    logits: tuple[np.ndarray, np.ndarray],
    functions: MetricFunctions,
) -> FinalModel:
    """The student, with its gain over the model that is the best without it; it is the best only if that is clear.

    Args:
        study: The study.
        ensemble: The final ensemble.
        student: The student.
        logits: Those of ensemble and student on the validation rows.
        functions: Used where the stored rows do not suffice to compute the metrics.
    """
    if have_seen_validation(study, ensemble):
        note = "its teachers were trained on the validation rows, too: its figures there are too good to compare it by"
        return dataclasses.replace(student, accepted=False, notes=(*student.notes, note))
    best, kept = study.history.leader, study.kept()
    if best is None or best.plan is None:
        return student
    is_better = best.plan.folds > 0 or ensemble.leads or study.record.ranking.better(ensemble, best)
    leads = ensemble.accepted and is_better
    than = logits[0] if leads else validation_logits(study.artefacts, best)
    if than is None:
        note = f"the validation logits of trial {best.id} are gone, and so the two cannot be compared"
        return dataclasses.replace(student, accepted=False, notes=(*student.notes, note))
    metric, _ = objective_of(study.record, kept, functions)
    rows = kept.rows
    gain = paired_gain(rows, metric, rows.logits(logits[1]), rows.logits(than), study.record.seed)
    other = "the ensemble" if leads else f"trial {best.id}"
    notes = () if gain.is_clear else (f"it is not better than {other} by more than the noise of the validation rows",)
    return dataclasses.replace(
        student, accepted=gain.is_clear, gain=gain.gain, gain_error=gain.error, notes=(*student.notes, *notes)
    )


def _summary(model: FinalModel, study: StudyParts) -> str:
    """One line for people."""
    name, best = study.record.metric, study.history.leader or study.history.best(1)[0]
    value = model.metrics.get(name)
    figure = "" if value is None else f"{name} {value:.5g}, "
    kind = "best bag" if best.plan is not None and best.plan.folds else "best single model"
    beside = f"{kind} {best.objective(name):.5g} (trial {best.id})"
    if model.kind is FinalKind.STUDENT:
        line = f"final stage: student of {model.parameters:,} parameters: {figure}{beside}; {model.seconds:.1f} s"
        return "; ".join((line, *model.notes))
    members = len(model.members)
    of = "a single model" if members == 1 else f"{members} models"
    line = f"final stage: ensemble of {of}: {figure}{beside}; {model.seconds:.1f} s"
    if not model.accepted:
        return f"{line}; {'; '.join(model.notes)}"
    if value is not None and not study.record.ranking.better(model, best):
        return f"{line}; {'it is better by a cross-fitted estimate' if model.leads else 'it is not better'}"
    return line
