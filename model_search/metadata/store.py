"""The interface of a study's store. `tests/metadata` holds the contract suite that every store passes."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from model_search.errors import DamagedRecordError, UnstorableError
from model_search.metadata.filesystem import FileIdentity
from model_search.metadata.final_models import FinalModel
from model_search.metadata.trial import Artefact, Trial, TrialPlan, TrialResult
from model_search.ranking import Ranking, as_ranking

WORSE_THAN_CONSTANT = "worse_than_constant"  # the setting that says so of the best trial, in a sentence

_SETTINGS: Mapping[str, tuple[type, ...]] = {
    "number_models": (int,),
    "train_steps": (int,),
    "steps_from_data": (bool,),
    "eval_steps": (int,),
    "batch_size": (int,),
    "time_limit": (int, float),
    "sampler": (str,),
    "search_version": (int,),
    "deterministic": (bool,),
    "spec": (str,),
    "artefacts": (str,),
    WORSE_THAN_CONSTANT: (str,),
}


@dataclasses.dataclass(frozen=True)
class StudyRecord:
    """The record of a study; written once when it is created.

    Attributes:
        name: The experiment's name.
        owner: The experiment's owner (informative).
        spec_text: The specification as text protobuf.
        metric: Name of the metric that trials are compared by.
        goal: "minimize" or "maximize".
        seed: The study's seed.
        data_fingerprint: SHA-256 of the training rows and their labels.
        data: JSON-able description of the data: task, labels, feature schema, split.
        settings: JSON-able settings of the search (train_steps, batch_size, ...); may change when it is continued.
        environment: JSON-able versions and hardware of the creating process.
    """

    name: str
    owner: str
    spec_text: str
    metric: str
    goal: str
    seed: int
    data_fingerprint: str
    data: Mapping[str, Any]
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]

    def checked(self) -> StudyRecord:
        """The same record, if its goal and its settings are what they can be.

        Raises:
            DamagedRecordError: if one is something else: the database was edited, or damaged.
        """
        if self.seed < 0:
            raise _damaged(self.name, f"its seed is {self.seed}, below 0")
        if self.goal not in ("minimize", "maximize"):
            raise _damaged(self.name, f"its goal is {self.goal!r}, neither minimize nor maximize")
        wrong = _wrong_setting(self.settings)
        if wrong is not None:
            raise _damaged(self.name, wrong)
        return self

    def whole_setting(self, name: str) -> int:
        """A setting that is a whole number above 0.

        Raises:
            DamagedRecordError: if it is missing.
        """
        value = self.settings.get(name)
        if type(value) is not int or value < 1:
            raise _damaged(self.name, f"its setting {name} is {value!r}")
        return value

    def is_same(self, other: StudyRecord) -> bool:
        """Whether both are of studies on the same data, seed, specification and metric, with files in the same place.

        Whatever was prepared for the one fits the other. Owner, other settings and environment may differ.
        """

        def made_of(record: StudyRecord) -> tuple[Any, ...]:
            what = record.seed, record.data_fingerprint, record.spec_text, record.metric, record.goal
            how = "inputs" in record.data, record.data.get("reading_rules", 1)  # earlier versions prepared otherwise
            return *what, *how, record.settings.get("artefacts")

        return made_of(self) == made_of(other)

    @property
    def ranking(self) -> Ranking:
        """How trials and final models of the study are compared."""
        return as_ranking(self.metric, self.goal)


def check_settings(settings: Mapping[str, Any]) -> None:
    """Checks settings before they are written: with others the study could not be opened again.

    Raises:
        UnstorableError: if one of them is not what it can be.
    """
    wrong = _wrong_setting(settings)
    if wrong is not None:
        raise UnstorableError(f"the settings of the study are not written: {wrong}")


def _wrong_setting(settings: Mapping[str, Any]) -> str | None:
    for name, kinds in _SETTINGS.items():
        value = settings.get(name)
        if value is not None and (type(value) not in kinds or (int in kinds and value <= 0)):
            return f"its setting {name} is {value!r}"
    return None


def _damaged(study: str, why: str) -> DamagedRecordError:
    return DamagedRecordError(
        f"the record of study {study!r} is damaged in its database: {why}; restore a copy of the database"
    )


@dataclasses.dataclass(frozen=True)
class Claim:
    """A worker's hold on a trial.

    Attributes:
        trial_id: The trial.
        attempt: How often it has been begun, this time included.
        worker: Who holds it.
        plan: Set where an interrupted trial is taken up again.
        failures: How many of the earlier attempts have failed for a reason outside of the trial.
    """

    trial_id: int
    attempt: int
    worker: str
    plan: TrialPlan | None = None
    failures: int = 0


@dataclasses.dataclass(frozen=True)
class Heartbeat:
    """The state of a heartbeat: `counter` is incremented by every heartbeat of this attempt."""

    trial_id: int
    attempt: int
    counter: int


class Store(abc.ABC):
    """Keeps one study. Safe for many processes at once; one instance belongs to one thread.

    A trial's life, as a worker calls it::

        claim = store.claim(worker="w1", target=50)     # CLAIMED, first heartbeat in the same transaction
        store.commit_plan(claim, plan)                  # RUNNING; refused if repeated
        store.heartbeat(claim)                          # regularly, while training
        store.complete(claim, result)                   # COMPLETED  (or fail -> FAILED, release -> INTERRUPTED)

    A worker with a heartbeat thread opens a second instance there; claims may be passed between instances.
    """

    @abc.abstractmethod
    def create_study(self, record: StudyRecord) -> StudyRecord:
        """Writes the record, or returns the one that exists already (the first writer wins)."""

    @abc.abstractmethod
    def study(self) -> StudyRecord:
        """The study's record; StudyError where there is none."""

    @abc.abstractmethod
    def change_settings(self, changes: Mapping[str, Any], without: Collection[str] = ()) -> None:
        """Changes settings that may change when a study is continued, in one transaction; others stay as they are.

        Args:
            changes: The new values, by name.
            without: Settings that the study has no more, unless they are among the changes.
        """

    @abc.abstractmethod
    def claim(self, worker: str, target: int) -> Claim | None:
        """Takes an interrupted trial, or the next id while completed + unfinished trials are fewer than `target`.

        Returns None when there is nothing to take: the target is met or others are working on the rest.
        """

    @abc.abstractmethod
    def claim_trial(self, worker: str, trial_id: int | None = None) -> Claim | None:
        """Takes a certain interrupted trial, or the next id where None, however many trials there are.

        Returns None where the trial is not interrupted: it has ended, or another worker holds it.
        """

    @abc.abstractmethod
    def commit_plan(self, claim: Claim, plan: TrialPlan) -> None:
        """Attaches the plan.

        Raises:
            RepeatedPlanError: another trial has the same `plan.key`.
            StaleClaimError: the trial is no longer this claim's.
        """

    @abc.abstractmethod
    def heartbeat(self, claim: Claim) -> None:
        """Signals that the worker lives (increments the counter); StaleClaimError if the claim has been lost."""

    @abc.abstractmethod
    def complete(self, claim: Claim, result: TrialResult) -> None:
        """Stores the result; StaleClaimError if the claim has been lost."""

    @abc.abstractmethod
    def fail(self, claim: Claim, reason: str) -> None:
        """Ends the trial as FAILED with its reason; StaleClaimError if the claim has been lost."""

    @abc.abstractmethod
    def release(self, claim: Claim, has_failed: bool = False) -> None:
        """Puts the trial back as INTERRUPTED: not counted, taken up by the next claim under the same id.

        Args:
            claim: The claim.
            has_failed: Whether this attempt has failed, for a reason outside of the trial; later claims count it.
        """

    @abc.abstractmethod
    def reclaim_dead(self) -> list[int]:
        """Puts back (INTERRUPTED, or LOST after too many attempts) trials whose process on this host is gone.

        Returns their ids.
        """

    @abc.abstractmethod
    def heartbeats(self) -> list[Heartbeat]:
        """The last heartbeat of every trial that a worker holds, by id."""

    @abc.abstractmethod
    def reclaim(self, stale: Iterable[Heartbeat]) -> list[int]:
        """Puts back, like `reclaim_dead`, those trials whose heartbeat is still exactly the given one.

        Of several callers with the same heartbeat one succeeds; returns the ids that this call has put back.
        """

    @abc.abstractmethod
    def history(self, since: int = 0) -> tuple[list[Trial], int]:
        """Trials that changed after revision `since`, by id, and the current revision."""

    @abc.abstractmethod
    def trial(self, trial_id: int) -> Trial:
        """One trial; KeyError where there is none."""

    @abc.abstractmethod
    def prune(self, trial_ids: Iterable[int]) -> list[Artefact]:
        """Records that the files of completed trials are to be deleted; returns those that were not yet marked.

        A trial that the plan of an unfinished trial, or a final model, builds on keeps its files.
        """

    @abc.abstractmethod
    def restore(self, trial_id: int, artefacts: Sequence[Artefact]) -> None:
        """Records files of a completed trial that were made again, replacing those of the same names, pruned or not."""

    @abc.abstractmethod
    def save_final_models(self, models: Sequence[FinalModel], instead_of: Sequence[FinalModel] | None = None) -> bool:
        """Replaces all final models by these, at most one of a kind, in one transaction.

        Args:
            models: The new ones.
            instead_of: What is there before, as the caller knows it; whatever it is where None.

        Returns:
            False where nothing was changed: other final models have been stored meanwhile, or files of a trial that
            one of these consists of have been pruned.
        """

    @abc.abstractmethod
    def final_models(self) -> list[FinalModel]:
        """The final models, by kind: the ensemble first; empty before the final stage."""

    @abc.abstractmethod
    def save_file(self, artefact: Artefact) -> None:
        """Records a file of the study itself, replacing an earlier one of that name."""

    @abc.abstractmethod
    def forget_files(self, names: Iterable[str]) -> list[Artefact]:
        """Deletes the records of files of the study itself, in one transaction; returns those that there were."""

    @abc.abstractmethod
    def files(self) -> dict[str, Artefact]:
        """Files of the study itself by name."""

    def another(self) -> Store:
        """Another instance on the same study, for another thread; the same one if any thread may use it."""
        return self

    @property
    def file(self) -> FileIdentity | None:
        """The identity of the file that keeps the study, where this instance has it open."""
        return None

    @abc.abstractmethod
    def close(self) -> None:
        """Closes the connection."""
