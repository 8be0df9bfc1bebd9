"""The final stage as a part of a search, and by itself on a study that is stored."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from model_search.data.prepared_data import PreparedData
from model_search.data.provider import Provider
from model_search.deadline import Deadline
from model_search.errors import StudyError, TrialError, UserError
from model_search.finish.constant import worse_than_baseline, worse_than_constant
from model_search.finish.final_ensemble import MetricFunctions, StudyParts
from model_search.finish.final_stage import StageOptions, is_up_to_date, run_stage
from model_search.finish.students.distillation import DistillationContext
from model_search.metadata import paths
from model_search.metadata.artefacts import ArtefactStore, DamagedArtefactError
from model_search.metadata.filesystem import FileIdentity
from model_search.metadata.final_models import MEMBERS, FinalModel, check_what, wants_student
from model_search.metadata.records import named_by_folder
from model_search.metadata.shared_artefacts import open_artefacts
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import WORSE_THAN_CONSTANT, Store
from model_search.report.leaderboard import ranked_models
from model_search.search.history.history import History
from model_search.spec.load import stored_spec
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.opening.data_preparation import prepared
from model_search.trainers.opening.same_reading import other_readings
from model_search.trainers.opening.study_settings import prepare_options, training_settings
from model_search.trainers.options import SearchOptions
from model_search.trainers.progress import ProgressDisplay
from model_search.trainers.session import Session
from model_search.trainers.starting.given_models import fit_of_given
from model_search.training.evaluation import ValidationMetrics
from model_search.training.metrics import ResolvedMetric
from model_search.training.outcome import Progress, TrainingSettings

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


def finish_session(session: Session, options: SearchOptions, deadline: Deadline) -> None:
    """Runs the final stage at the end of a search, unless the study has its final models already.

    Args:
        session: The study; its store is open.
        options: What the user asked for.
        deadline: When the final stage has to be done.
    """
    study = study_parts(session.folder, session.store, session.artefacts)
    display = ProgressDisplay(session.record.metric, options.number_models, options.progress)
    metrics = _metrics(session.data, session.settings)
    best = next(iter(study.history.completed), None)
    if best is not None and best.result is not None:
        reached = best.result.metrics.get(session.settings.metric)
        useless = worse_than_constant(session.data, metrics, session.settings.objective, reached)
        if useless is not None:
            display.warn(useless)
        if useless != study.record.settings.get(WORSE_THAN_CONSTANT):
            session.store.change_settings({WORSE_THAN_CONSTANT: useless})
    fit = fit_of_given(study.record.settings, study.history)
    if fit is not None:
        (display.warn if fit.is_none else display.note)(str(fit))
    if options.finish == "neither" or not study.completed or is_up_to_date(study, options.finish):
        return
    metric_functions = MetricFunctions(session.settings.metric_fn, metrics)
    with Interrupts() as interrupts:
        distillation = None
        if wants_student(options.finish):
            distillation = DistillationContext(
                session.data, session.settings, options.student_parameters, _ending_at_ctrl_c(interrupts)
            )
        try:
            run_stage(study, StageOptions(options.finish, metric_functions, distillation, deadline, display.note))
        except (StudyError, TrialError, DamagedArtefactError) as error:
            display.warn(f"final stage: {error}")  # the search itself has succeeded
    if interrupts.asked:
        raise KeyboardInterrupt
    handed_back = ranked_models(study.history, session.store.final_models())[0]
    below = worse_than_baseline(handed_back, study.history)
    if below is not None:
        display.warn(below)


@dataclasses.dataclass(frozen=True)
class FinishOptions:
    """The arguments of `Study.finish`; what is made depends on the data where `what` is None.

    `artefacts` is where the user says that the study keeps its files; None for its own folder. `members` is what may
    take part in the ensemble; None for what the study says.
    """

    data: Provider | None = None
    what: str | None = None
    student_parameters: int | None = None
    progress: bool | None = None
    artefacts: str | None = None
    members: str | None = None

    def __post_init__(self) -> None:
        if self.members is not None and self.members not in MEMBERS:
            raise UserError(f"members is {self.members!r}; expected one of {', '.join(MEMBERS)}")
        check_what(self.made, self.student_parameters)
        if self.data is not None and not isinstance(self.data, Provider):
            raise UserError(f"data is a {type(self.data).__name__}; expected the provider that the study was made with")
        if wants_student(self.made) and self.data is None:
            raise UserError(
                f"what={self.what!r} trains a student, which takes the data: give data=, the provider that the study "
                "was made with, or what='ensemble'"
            )

    @property
    def made(self) -> str:
        """What is made: by default, all that the given data allow."""
        if self.what is not None:
            return self.what
        return "ensemble" if self.data is None else "both"


def finish_study(folder: pathlib.Path, options: FinishOptions, file: FileIdentity | None = None) -> list[FinalModel]:
    """Runs the final stage of a study that is stored; earlier final models are replaced.

    Args:
        folder: The study's.
        options: What is asked for.
        file: The database that the study must have there; any where None.

    Raises:
        UserError: if the data are not those of the study, or there is nothing to make a model of.
        VanishedStudyError: if another study has been begun in its place.
    """
    store = SqliteStore(folder / paths.DATABASE, create=False, file=file)
    try:
        study = study_parts(folder, store, open_artefacts(folder, store.study(), options.artefacts))
        study = dataclasses.replace(study, members=options.members)
        display = ProgressDisplay(study.record.metric, 0, options.progress)
        metric_functions, distillation = MetricFunctions(), None
        with Interrupts() as interrupts:
            if options.data is not None:
                data, settings = same_data(study, options.data)
                limit = options.student_parameters
                distillation = DistillationContext(data, settings, limit, _ending_at_ctrl_c(interrupts))
                if not study.kept().own_metric:
                    metric_functions = MetricFunctions(None, _metrics(data, settings))
                elif wants_student(options.made):
                    raise StudyError(
                        f"the metric {study.record.metric!r} is a function, which is not stored; call try_models with "
                        f"it again, with the same data and number_models, and finish={options.made!r}"
                    )
            made = run_stage(study, StageOptions(options.made, metric_functions, distillation, say=display.note))
        if interrupts.asked:
            raise KeyboardInterrupt
        return made
    finally:
        store.close()


def study_parts(folder: pathlib.Path, store: Store, artefacts: ArtefactStore) -> StudyParts:
    """A study as the final stage reads it."""
    record = named_by_folder(store.study().checked(), folder)
    history = History(record.ranking)
    history.update(store.history()[0])
    return StudyParts(store, artefacts, record, history)


def same_data(study: StudyParts, provider: Provider) -> tuple[PreparedData, TrainingSettings]:
    """The study's data, prepared again, and the settings that all its trials share.

    Raises:
        StudyError: if they have changed, or are read otherwise.
    """
    record = study.record
    batch_size, eval_steps = record.whole_setting("batch_size"), record.settings.get("eval_steps")
    spec: PhoenixSpec = stored_spec(record.settings.get("spec") or record.spec_text, record.name)
    data = prepared(provider, prepare_options(spec, record.seed, batch_size, eval_steps, record))
    if data.fingerprint != study.record.data_fingerprint:
        raise StudyError(f"the training data of study {study.record.name!r} differ from those that were given")
    differences = other_readings(record.data, data)
    if differences:
        raise StudyError(
            f"the data of study {record.name!r} are read otherwise now: {'; '.join(differences)}. Give the provider "
            "that the study was made with"
        )
    return data, training_settings(spec, ResolvedMetric(study.record.metric, study.record.goal), eval_steps)


def _metrics(data: PreparedData, settings: TrainingSettings) -> Callable[[np.ndarray], Mapping[str, float]]:
    validation = ValidationMetrics(data, settings)

    def metrics(logits: np.ndarray) -> Mapping[str, float]:
        try:
            return validation.all(logits)
        except TrialError:
            return {}  # the study's metric cannot be computed; the final stage handles that

    return metrics


def _ending_at_ctrl_c(interrupts: Interrupts) -> Callable[[Progress], bool]:
    def stop(progress: Progress) -> bool:
        if interrupts.asked:
            raise KeyboardInterrupt
        return False

    return stop
