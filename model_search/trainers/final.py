"""The final stage as a part of a search, and by itself on a study that is stored."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from model_search.data.data import PrepareOptions, Provider
from model_search.data.task import PreparedData, TableData
from model_search.errors import StudyError, TrialError, UserError
from model_search.finish.ensemble import JudgedBy, StudyParts
from model_search.finish.stage import School, StageOptions, check_what, is_up_to_date, run_stage, wants_student
from model_search.metadata import paths
from model_search.metadata.final import FinalModel
from model_search.metadata.shared_artefacts import open_artefacts
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import Store
from model_search.search.history import History
from model_search.trainers.options import SearchOptions
from model_search.trainers.progress import ProgressDisplay
from model_search.trainers.session import Session, load_spec_text, training_settings
from model_search.training.judge import Judge
from model_search.training.metrics import ResolvedMetric
from model_search.training.outcome import TrainingSettings

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


def finish_session(session: Session, options: SearchOptions, started: float) -> None:
    """Runs the final stage at the end of a search, unless the study has its final models already.

    Args:
        session: The study; its store is open.
        options: What the user asked for.
        started: When the search began, on the monotonic clock.
    """
    study = study_parts(session.folder, session.store)
    if options.finish == "neither" or not study.completed or is_up_to_date(study, options.finish):
        return
    display = ProgressDisplay(session.record.metric, options.number_models, options.progress)
    left = None if options.time_limit is None else options.time_limit - (time.monotonic() - started)
    school = None
    if wants_student(options.finish) and (left is None or left > 0):
        school = School(
            data=session.data,
            settings=session.settings,
            train_logits=_train_logits(study, session.data),
            most_parameters=options.student_parameters,
            seconds=left,
        )
    judged_by = JudgedBy(session.settings.metric_fn, _metrics(session.data, session.settings))
    run_stage(study, StageOptions(options.finish, judged_by, school, display.note))


@dataclasses.dataclass(frozen=True)
class FinishOptions:
    """What `Study.finish` was asked for."""

    data: Provider | None = None
    what: str = "ensemble"
    student_parameters: int | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        check_what(self.what, self.student_parameters)
        if self.data is not None and not isinstance(self.data, Provider):
            raise UserError(f"data is a {type(self.data).__name__}; expected the provider that the study was made with")
        if wants_student(self.what) and self.data is None:
            raise UserError(
                f"what={self.what!r} trains a student, which takes the data: give data=, the provider that the study "
                "was made with, or what='ensemble'"
            )


def finish_study(folder: pathlib.Path, options: FinishOptions) -> list[FinalModel]:
    """Runs the final stage of a study that is stored; earlier final models are replaced.

    Raises:
        UserError: if the data are not those of the study, or there is nothing to make a model of.
    """
    store = SqliteStore(folder / paths.DATABASE)
    try:
        study = study_parts(folder, store)
        display = ProgressDisplay(study.record.metric, 0, options.progress)
        judged_by, school = JudgedBy(), None
        if options.data is not None:
            data, settings = _same_data(study, options.data)
            school = School(data, settings, _train_logits(study, data), options.student_parameters)
            if not study.kept().own_metric:
                judged_by = JudgedBy(None, _metrics(data, settings))
            elif wants_student(options.what):
                raise StudyError(
                    f"the metric {study.record.metric!r} is a function, which is not stored; call try_models with "
                    f"it again, with the same data and number_models, and finish={options.what!r}"
                )
        return run_stage(study, StageOptions(options.what, judged_by, school, display.note))
    finally:
        store.close()


def study_parts(folder: pathlib.Path, store: Store) -> StudyParts:
    """A study as the final stage reads it."""
    record = store.study()
    history = History(record.metric, record.goal)
    history.update(store.history()[0])
    return StudyParts(store, open_artefacts(folder, record.settings), record, history)


def _same_data(study: StudyParts, provider: Provider) -> tuple[PreparedData, TrainingSettings]:
    stored = study.record.settings
    batch_size, eval_steps = stored["batch_size"], stored["eval_steps"]
    data = provider.prepare(PrepareOptions(seed=study.record.seed, batch_size=batch_size, eval_steps=eval_steps))
    if data.fingerprint != study.record.data_fingerprint:
        raise StudyError(f"the training data of study {study.record.name!r} are others than those that were given")
    spec: PhoenixSpec = load_spec_text(stored["spec"])
    return data, training_settings(spec, ResolvedMetric(study.record.metric, study.record.goal), eval_steps)


def _metrics(data: PreparedData, settings: TrainingSettings) -> Callable[[np.ndarray], Mapping[str, float]]:
    judge = Judge(data, settings)

    def metrics(logits: np.ndarray) -> Mapping[str, float]:
        try:
            return judge.metrics(logits)
        except TrialError:
            return {}  # the study's metric cannot be computed, of which the final stage knows what to make

    return metrics


def _train_logits(study: StudyParts, data: PreparedData) -> Callable[[FinalModel], np.ndarray]:
    def logits(model: FinalModel) -> np.ndarray:
        from model_search.training.runtime import tensorflow

        tensorflow()  # quietly, before anything else imports it
        from model_search.finish.models import StudyModels
        from model_search.finish.predict import tower_logits

        if not isinstance(data, TableData):
            raise UserError("a stream has no training rows to go back to")
        return tower_logits(StudyModels(study).of_final(model), data.train.features)

    return logits
