"""Trains the tower of a completed trial further, as a new trial of the study."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from model_search.data.prepared_data import PreparedData, TableData
from model_search.data.provider import Provider
from model_search.errors import StudyError, TrialError, UserError
from model_search.metadata import paths
from model_search.metadata.artefacts import DamagedArtefactError
from model_search.metadata.filesystem import FileIdentity
from model_search.metadata.limits import MOST_STEPS
from model_search.metadata.shared_artefacts import open_artefacts
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.trial import Trial, TrialPlan, TrialState
from model_search.search.history.history import History
from model_search.search.planning.longer import LongerTraining, longer_plan
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.spec.load import stored_spec
from model_search.trainers.executors.worker_main import worker_parts
from model_search.trainers.finish_study import same_data, study_parts
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.longer.mirror_check import knows_mirrored, needs_check
from model_search.trainers.progress import ProgressDisplay
from model_search.trainers.replay import check_metric, trained_as, with_metric
from model_search.trainers.session import Session
from model_search.trainers.worker import Worker
from model_search.training.stored_towers import stored_tower

WORKER = "longer"
MOST_EPOCHS = 300


@dataclasses.dataclass(frozen=True)
class LongerOptions:
    """The arguments of `Study.train_longer`.

    Attributes:
        trial: The trial to go on from; the best one that can be trained longer where None.
        steps: Steps besides those that it was trained for.
        data: The provider that the study was made with.
        one_cycle: Whether the learning rate rises and falls once more.
        metric: The study's metric, where it is a function.
        progress: False for silence.
        artefacts: Where the user says that the study keeps its files; None for its own folder.
        patience: Epochs without a better evaluation after which it ends; 0 for no such limit.
        file: The database that the study must have in its folder; any where None.
    """

    trial: int | None
    steps: int | None
    data: Provider
    one_cycle: bool = True
    metric: Callable[..., float] | None = None
    progress: bool | None = None
    artefacts: str | None = None
    patience: int = 0
    file: FileIdentity | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.data, Provider):
            raise UserError(f"data is a {type(self.data).__name__}; expected the provider that the study was made with")
        if type(self.patience) is not int or self.patience < 0:
            raise UserError(f"patience is {self.patience!r}; expected a whole number of epochs from 1")
        if self.steps is None and not self.patience:
            raise UserError("steps is None; expected a whole number of at least 1")


def train_longer(folder: pathlib.Path, options: LongerOptions) -> int:
    """Trains a trial of a stored study further; returns the new trial's number.

    Raises:
        UserError: if the data are different, the trial cannot be trained longer, or was trained so already.
        TrialError: if the training fails.
        KeyboardInterrupt: after Ctrl-C; the trial is put back, and the same call goes on with it.
        VanishedStudyError: if another study has been begun in its place.
    """
    store = SqliteStore(folder / paths.DATABASE, create=False, file=options.file)
    try:
        study = study_parts(folder, store, open_artefacts(folder, store.study(), options.artefacts))
        record = study.record
        trial = _chosen(study.history, options.trial, record.name)
        spec = stored_spec(record.settings.get("spec") or record.spec_text, record.name)
        augmentations = tuple(dict.fromkeys(spec.augmentations))
        steps = 1 if options.steps is None else options.steps
        how = LongerTraining(steps, options.one_cycle, augmentations, options.patience)
        longer_plan(trial.id + 1, trial, how)  # refused before the data are read
        call = f"train_longer({trial.id}, {options.steps}, data" if options.steps else "final_fit(data"
        check_metric(study, options.metric, f"study.{call}")
        data, settings = same_data(study, options.data)
        if options.steps is None and trial.plan is not None:
            how = dataclasses.replace(how, steps=most_steps(trial.plan, data))
        settings = with_metric(study, data, settings, options.metric)
        plans = PlannerSettings(record.seed, record.whole_setting("train_steps"), record.whole_setting("batch_size"))
        session = Session(
            folder=folder,
            store=store,
            record=record,
            data=data,
            artefacts=study.artefacts,
            planner=Planner(spec, plans, record.ranking),
            settings=settings if trial.result is None else trained_as(settings, trial.result),
        )
        display = ProgressDisplay(record.metric, study.history.completed_count + 1, options.progress)
        with Interrupts() as interrupts, display:
            ended = run_longer(session, trial, how, interrupts, display)
        if ended is None:
            if interrupts.asked:
                raise KeyboardInterrupt
            raise StudyError("another process has taken the trial; call train_longer again when it has ended")
        if ended.state is not TrialState.COMPLETED:
            raise TrialError(f"trial {ended.id} has failed: {ended.reason}")
        return ended.id
    finally:
        store.close()


def final_fit(
    folder: pathlib.Path, data: Provider, trial: int | None, patience: int, options: Mapping[str, Any]
) -> int:
    """Trains a tower until it gets no better; returns the new trial's number.

    Args:
        folder: The study's.
        data: The provider that the study was made with.
        trial: The trial to go on from; the best one where None.
        patience: Epochs without a better evaluation after which it ends.
        options: Other fields of `LongerOptions`: `metric`, `progress`, `artefacts`, `file`.

    Raises:
        UserError: if there is another option, and as `train_longer`.
    """
    unknown = sorted(options.keys() - {"metric", "progress", "artefacts", "file"})
    if unknown:
        raise UserError(f"final_fit has no option {unknown[0]!r}; expected metric or progress")
    if patience == 0:
        raise UserError("patience is 0; expected a whole number of epochs from 1")
    return train_longer(folder, LongerOptions(trial, None, data, one_cycle=False, patience=patience, **options))


def most_steps(plan: TrialPlan, data: PreparedData) -> int:
    """Steps after which a final fit ends at the latest: 300 epochs of a table, ten times the trial's of a stream."""
    if isinstance(data, TableData):
        return min(MOST_STEPS - plan.steps, MOST_EPOCHS * math.ceil(len(data.train) / plan.batch_size))
    return min(MOST_STEPS - plan.steps, 10 * plan.steps)


def _chosen(history: History, number: int | None, study: str) -> Trial:
    """The trial of this number; without one, the best that trains one tower on the labels alone."""
    if number is not None:
        trial = history.get(number)
        if trial is None:
            raise StudyError(f"study {study!r} has no trial {number}; it has {len(history)} trials")
        return trial
    for trial in history.completed:
        if trial.plan is not None and trial.plan.is_on_labels_alone:
            return trial
    raise StudyError(f"study {study!r} has no completed tower that could be trained longer")


def run_longer(
    session: Session, trial: Trial, how: LongerTraining, interrupts: Interrupts, display: ProgressDisplay
) -> Trial | None:
    """Trains a completed trial's tower further in this process; one that was interrupted is taken up again.

    Returns:
        The new trial, ended; None where it was interrupted and put back, or is another worker's.

    Raises:
        UserError: if the trial was trained so already, or cannot be trained longer.
    """
    _check_files(trial)
    session.store.reclaim_dead()
    first = longer_plan(trial.id + 1, trial, how)
    interrupted = _earlier(session.store.history()[0], first.key, trial.id)
    if not first.resumes:
        display.note(f"the state of trial {trial.id}'s optimizer is not stored; it begins anew")
    parts = worker_parts(session, interrupts, display)
    if interrupted is None and needs_check(first, how):
        with contextlib.suppress(StudyError, DamagedArtefactError):  # the worker says what is wrong with its files
            tower = stored_tower({trial.id: trial}.get, session.artefacts, trial.id)
            how = dataclasses.replace(how, may_flip=knows_mirrored(tower, parts.engine, session.data))
    return Worker(WORKER, parts).run_planned(lambda number: longer_plan(number, trial, how), interrupted)


def _check_files(trial: Trial) -> None:
    gone = [artefact.name for artefact in trial.artefacts if artefact.pruned]
    if gone:
        raise StudyError(
            f"the files of trial {trial.id} were deleted to save room; study.replay({trial.id}, data) makes them again"
        )


def _earlier(trials: list[Trial], key: str, trial_id: int) -> int | None:
    """The interrupted trial that does the same; None where there is no trial that does.

    Raises:
        UserError: if there is one that is not interrupted.
    """
    same = [one for one in trials if one.plan is not None and one.plan.key == key and one.state is not TrialState.LOST]
    for one in same:
        if one.state is not TrialState.INTERRUPTED:
            raise UserError(
                f"trial {one.id} ({one.state}) already trains trial {trial_id} for as many steps more, in the same "
                "way; give another number of steps, or train that trial longer"
            )
    return same[0].id if same else None
