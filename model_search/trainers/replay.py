"""Runs the stored plan of a trial again; and before it, those that it was built on whose files are gone."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from model_search.data.prepared_data import PreparedData, TableData
from model_search.data.provider import Provider
from model_search.errors import StudyError, UserError
from model_search.finish.final_ensemble import StudyParts
from model_search.finish.validation_rows import kept_own_metric
from model_search.metadata import paths
from model_search.metadata.artefacts import DamagedArtefactError
from model_search.metadata.filesystem import FileIdentity
from model_search.metadata.shared_artefacts import open_artefacts
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.trial import SUPERNET_LOSS, Trial, TrialPlan, TrialResult
from model_search.search.history.history import History
from model_search.trainers.finish_study import same_data, study_parts
from model_search.trainers.finished_models import FinishedTowers, save_outcome
from model_search.trainers.session import tensorflow_engine
from model_search.training.evaluator import OnProgress
from model_search.training.metrics import resolve_metric
from model_search.training.outcome import TrainingSettings

_CLOSE = 0.01  # relative; beyond this difference of the metric, a trial's files are not replaced
_TELLING = (
    "tensorflow",
    "keras",
    "numpy",
    "cpu",
    "intra_threads",
    "inter_threads",
    "onednn",
    "device",
    "deterministic",
)


@dataclasses.dataclass(frozen=True)
class Replayed:
    """The result of running a stored plan again.

    Attributes:
        trial: The trial's number.
        metrics: Validation metrics by name, of this run.
        stored: Those that the study has.
        restored: Trials whose deleted or damaged files have been made again.
        notes: The differences, in sentences.
    """

    trial: int
    metrics: Mapping[str, float]
    stored: Mapping[str, float]
    restored: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether all metrics are bit-identical."""
        return dict(self.metrics) == dict(self.stored)


def replay_trial(
    folder: pathlib.Path,
    trial_id: int,
    provider: Provider,
    metric_fn: Callable[..., float] | None = None,
    artefacts: str | None = None,
    file: FileIdentity | None = None,
) -> Replayed:
    """Runs a completed trial's plan again.

    Args:
        folder: The study's.
        trial_id: The trial.
        provider: The data that the study was made with.
        metric_fn: The study's metric, where it is a function.
        artefacts: Where the user says that the study keeps its files; None for its own folder.
        file: The database that the study must have there; any where None.

    Raises:
        UserError: if the data are different, the trial is not completed, or the metric is missing.
        VanishedStudyError: if another study has been begun in its place.
        StudyError: if a trial that this one was built on gives another result now, and its files are gone.
        TrialError: if a plan cannot be run.
    """
    if not isinstance(provider, Provider):
        raise UserError(f"data is a {type(provider).__name__}; expected the provider that the study was made with")
    store = SqliteStore(folder / paths.DATABASE, create=False, file=file)
    try:
        study = study_parts(folder, store, open_artefacts(folder, store.study(), artefacts))
        trial, _, _ = _completed(study, trial_id)
        check_metric(study, metric_fn, f"study.replay({trial_id}, data")
        data, settings = same_data(study, provider)
        settings = with_metric(study, data, settings, metric_fn)
        return _Replay(study, data, settings).run(trial.id)
    finally:
        store.close()


def check_metric(study: StudyParts, metric_fn: Callable[..., float] | None, call: str) -> None:
    """Checks that the study's metric is there.

    Args:
        study: The study.
        metric_fn: What the user gives.
        call: The user's call without its end, for the message.

    Raises:
        StudyError: if it is a function, and not given; or if a function is given, and it is none.
    """
    if callable(metric_fn) and kept_own_metric(study.store, study.artefacts) is False:
        raise StudyError(
            f"received a function as metric, and the metric of study {study.record.name!r} is the built-in "
            f"{study.record.metric!r}; leave it out: {call})"
        )
    if metric_fn is None and study.kept().own_metric:
        raise StudyError(
            f"the metric {study.record.metric!r} is a function, which is not stored; give it: {call}, metric=...)"
        )


def with_metric(
    study: StudyParts, data: PreparedData, settings: TrainingSettings, metric_fn: Callable[..., float] | None
) -> TrainingSettings:
    """The settings with the metric that the user gives, if any."""
    if metric_fn is None:
        return settings
    metric = resolve_metric(metric_fn, study.record.goal, data.task)
    return dataclasses.replace(settings, metric_fn=metric.fn)


def trained_as(settings: TrainingSettings, result: TrialResult) -> TrainingSettings:
    """As a trial was trained, which may have been before the study was continued with other settings."""
    kept = result.environment.get("training")
    if not isinstance(kept, dict):
        return settings
    names = {field.name for field in dataclasses.fields(TrainingSettings)} - {"metric_fn"}
    known: dict[str, Any] = {"few_evaluations": False}  # earlier versions, which do not tell, evaluated eight times
    known |= {name: kept[name] for name in names & kept.keys()}
    limits = ("most_seconds", "slow_seconds", "most_parameters", "most_megabytes")
    known |= dict.fromkeys(limits)  # it was trained once
    return dataclasses.replace(settings, **known)


class _Replay:
    """Trials of one study, run again."""

    def __init__(self, study: StudyParts, data: PreparedData, settings: TrainingSettings):
        self._study = study
        self._data = data
        self._settings = settings
        self._restored: list[int] = []
        self._notes: list[str] = []

    def run(self, trial_id: int) -> Replayed:
        for number in sorted(self._gone_below(trial_id)):
            self._run_one(number, is_wanted=False)
        metrics, stored = self._run_one(trial_id, is_wanted=True)
        return Replayed(trial_id, metrics, stored, tuple(self._restored), tuple(dict.fromkeys(self._notes)))

    def _gone_below(self, trial_id: int) -> set[int]:
        """Trials that have to be run first, because their files are needed and gone."""
        found: set[int] = set()
        waiting = list(_completed(self._study, trial_id)[1].builds_on)
        while waiting:
            number = waiting.pop()
            trial, plan, _ = _completed(self._study, number)
            if number in found:
                continue
            if self._is_whole(trial):
                waiting += plan.members  # an ensemble's towers are its members', too
            else:
                found.add(number)
                waiting += plan.builds_on
        return found

    def _run_one(self, trial_id: int, *, is_wanted: bool) -> tuple[Mapping[str, float], Mapping[str, float]]:
        trial, plan, result = _completed(self._study, trial_id)
        settings = trained_as(self._settings, result)
        engine, environment = tensorflow_engine(self._data, settings)
        self._compare(trial_id, plan, result, environment)
        history = History(self._study.record.ranking)
        history.update(self._study.store.history()[0])
        stream = not isinstance(self._data, TableData)
        given = FinishedTowers(history, self._study.artefacts, engine, stream, self._study.store.files).given(plan)
        outcome = engine.run(plan, given, _ending_as(result))
        metric = self._study.record.metric if plan.supernet is None else SUPERNET_LOSS
        is_close = math.isclose(outcome.metrics[metric], result.metrics[metric], rel_tol=_CLOSE)
        if not is_close and not is_wanted:
            raise StudyError(
                f"trial {trial_id}, whose files are needed and gone, now gives {metric} {outcome.metrics[metric]:.5g} "
                f"instead of {result.metrics[metric]:.5g} ({'; '.join(self._notes) or 'the environment is the same'})"
            )
        if is_close and not self._is_whole(trial):
            files = save_outcome(self._study.artefacts, trial_id, outcome)
            self._study.store.restore(trial_id, files)
            self._restored.append(trial_id)
        return outcome.metrics, result.metrics

    def _is_whole(self, trial: Trial) -> bool:
        try:
            for artefact in () if trial.result is None else trial.result.artefacts:
                if artefact.pruned:
                    return False
                self._study.artefacts.read(artefact)
        except DamagedArtefactError:
            return False
        return True

    def _compare(self, trial_id: int, plan: TrialPlan, result: TrialResult, environment: Mapping[str, Any]) -> None:
        for name in _TELLING:
            then, now = result.environment.get(name), environment.get(name)
            if then is not None and then != now:
                self._notes.append(f"{name} was {then} for trial {trial_id} and is {now} now")
        if environment.get("onednn") and "onednn" not in result.environment:
            self._notes.append(f"onednn is on now; trial {trial_id} does not tell whether it was on")
        if result.stopped_at is None and result.curve and result.curve[-1][0] < plan.steps:
            last = result.curve[-1][0]
            self._notes.append(f"trial {trial_id} was last evaluated after {last} of {plan.steps} steps")


def _ending_as(result: TrialResult) -> OnProgress | None:
    """Ends a training after the evaluation that early stopping, or its patience, ended it after; None where none did.

    Whether a rule would end it again depends on the other trials that were there, and which they were is not stored.
    """
    if result.stopped_at is None:
        return None
    end = max(result.stopped_at, result.curve[-1][0] if result.curve else 0)
    return lambda progress: progress.step >= end


def _completed(study: StudyParts, trial_id: int) -> tuple[Trial, TrialPlan, TrialResult]:
    """A completed trial, as the store has it now."""
    try:
        trial = study.store.trial(trial_id)
    except KeyError:
        raise StudyError(f"study {study.record.name!r} has no trial {trial_id}") from None
    if trial.plan is None or trial.result is None:
        raise StudyError(f"trial {trial_id} is {trial.state}; only a completed trial can be compared with its replay")
    return trial, trial.plan, trial.result
