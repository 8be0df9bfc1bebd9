"""Finished models for the trials that build on them: members, teachers and warm starts."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from model_search.errors import StudyError, TrialError
from model_search.metadata.artefacts import ArtefactStore, DamagedArtefactError, load_arrays, save_arrays
from model_search.metadata.paths import GIVEN_MODELS, MIXTURE, OPTIMIZER, TRAIN_LOGITS, VALID_LOGITS, WEIGHTS
from model_search.metadata.trial import Artefact, StartKind, Trial, TrialPlan
from model_search.search.history.history import History
from model_search.towers.starting_weights import Source, given_weights
from model_search.training.evaluator import Evaluator
from model_search.training.outcome import FrozenTowers, Given, OptimizerState, TrainedTower, TrialOutcome
from model_search.training.stored_towers import MIXTURE_ARRAYS, stored_arrays, stored_tower

_CACHE_BYTES = 512 << 20


class FinishedTowers:
    """Reads what plans refer to, and caches the logits of towers that are used repeatedly.

    Args:
        history: All trials; the caller keeps it up to date.
        artefacts: The files of trials.
        engine: Runs towers whose logits are not stored.
        stream: Whether the training data are a stream, so that frozen towers have to be run for every batch.
        files: The files of the study itself, among them the models that were given to it.
    """

    def __init__(
        self,
        history: History,
        artefacts: ArtefactStore,
        engine: Evaluator,
        stream: bool,
        files: Callable[[], Mapping[str, Artefact]] = dict,
    ):
        self._history = history
        self._artefacts = artefacts
        self._engine = engine
        self._stream = stream
        self._files = files
        self._cache: OrderedDict[tuple[int, str], np.ndarray] = OrderedDict()
        self._cached_bytes = 0
        self._seconds = 0.0

    def given(self, plan: TrialPlan) -> Given:
        """What a plan builds on.

        Raises:
            TrialError: if a trial that it refers to is not completed, or its files are gone.
        """
        self._seconds = 0.0
        ensemble = plan.ensemble
        start, sources = self._initial_weights(plan), self._sources(plan)
        if ensemble is not None and not ensemble.freeze:
            return Given(start, members=tuple(self.trained(member) for member in plan.members), sources=sources)
        numbers = plan.members if ensemble is not None else plan.teacher
        if plan.start is not None and plan.start.kind is StartKind.MORPH:
            return Given(parent=self.trained(plan.start.trials[0]))
        if not numbers:
            return Given(start, optimizer=self._optimizer(plan), sources=sources)
        frozen = self._frozen(numbers, _reads_training_rows(plan))
        return Given(start, frozen, seconds=self._seconds, sources=sources)

    def trained(self, trial_id: int) -> TrainedTower:
        """The own tower of a completed trial.

        Raises:
            TrialError: if there is none.
        """
        try:
            return stored_tower(self._history.get, self._artefacts, trial_id)
        except (StudyError, DamagedArtefactError) as error:
            raise TrialError(f"trial {trial_id} cannot be built on: {error}") from error

    def tower_parameters(self, trial_id: int) -> int:
        """Parameters of a completed trial's own tower."""
        result = self._completed(trial_id)[0].result
        return 0 if result is None else result.tower_parameters

    def _initial_weights(self, plan: TrialPlan) -> Mapping[str, np.ndarray] | None:
        """The weights that the own tower starts from, where these are all those of one trial's tower."""
        takes_all = plan.start is not None and plan.start.takes_all
        return self.trained(plan.start.trials[0]).weights if plan.start is not None and takes_all else None

    def _sources(self, plan: TrialPlan) -> tuple[Source, ...]:
        """The models from which the own tower takes over what fits."""
        start = plan.start
        if start is None or start.takes_all or start.kind is StartKind.MORPH:
            return ()
        if start.kind is StartKind.GIVEN:
            return (self._given_model(start.source),)
        return tuple(
            Source(self.trained(number).weights, share, start.discount ** (plan.trial_id - number))
            for number, share in zip(start.trials, start.shares, strict=True)
        )

    def _given_model(self, name: str) -> Source:
        found = self._files().get(GIVEN_MODELS)
        if found is None:
            raise TrialError("the models to start from (warm_start_from) are not stored in the study")
        try:
            return Source(given_weights(load_arrays(self._artefacts, found), name))
        except DamagedArtefactError as error:
            raise TrialError(f"the models to start from cannot be read: {error}") from error

    def _optimizer(self, plan: TrialPlan) -> OptimizerState | None:
        """What the optimizer begins with; None for a fresh one."""
        if plan.start is None or not plan.resumes:
            return None
        number = plan.start.trials[0]
        try:
            artefacts = self._completed(number)[0].artefacts
            arrays = stored_arrays(self._artefacts, artefacts, OPTIMIZER)
            return OptimizerState.from_arrays(arrays or {})
        except (DamagedArtefactError, ValueError) as error:
            raise TrialError(f"trial {number} cannot be continued: {error}") from error

    def _frozen(self, numbers: Sequence[int], training_rows: bool) -> FrozenTowers:
        valid = np.stack([self._logits(number, "valid") for number in numbers])
        if not training_rows:
            return FrozenTowers(valid)
        if self._stream:
            return FrozenTowers(valid, forward=self._engine.forward([self.trained(number) for number in numbers]))
        return FrozenTowers(valid, np.stack([self._logits(number, "train") for number in numbers]))

    def _logits(self, trial_id: int, rows: str) -> np.ndarray:
        key = (trial_id, rows)
        if key not in self._cache:
            for name, array in self._load(trial_id, rows).items():
                self._keep((trial_id, name), array)
        self._cache.move_to_end(key)
        return self._cache[key]

    def _load(self, trial_id: int, rows: str) -> Mapping[str, np.ndarray]:
        """The logits of the own tower on these rows, as they are stored; where they are not, the tower is run."""
        trial, _ = self._completed(trial_id)
        if rows == "valid":
            stored = self._arrays(trial, VALID_LOGITS) or {}
            found = stored.get("tower_logits", stored.get("valid_logits"))
        else:
            found = (self._arrays(trial, TRAIN_LOGITS) or {}).get("train_logits")
        if found is not None:
            return {rows: found}
        started = time.perf_counter()
        valid, train = self._engine.logits_of(self.trained(trial_id))
        self._seconds += time.perf_counter() - started
        return {"valid": valid} if train is None else {"valid": valid, "train": train}

    def _keep(self, key: tuple[int, str], array: np.ndarray) -> None:
        if key in self._cache:
            return
        self._cache[key] = array
        self._cached_bytes += array.nbytes
        while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes

    def _completed(self, trial_id: int) -> tuple[Trial, TrialPlan]:
        trial = self._history.get(trial_id)
        if trial is None or trial.plan is None or trial.result is None:
            raise TrialError(f"trial {trial_id} is not completed; it cannot be built on")
        return trial, trial.plan

    def _arrays(self, trial: Trial, name: str) -> dict[str, Any] | None:
        """A file of a trial; None where it is not stored, or damaged."""
        try:
            return stored_arrays(self._artefacts, trial.artefacts, name)
        except DamagedArtefactError:
            return None


def save_outcome(artefacts: ArtefactStore, trial_id: int, outcome: TrialOutcome) -> tuple[Artefact, ...]:
    """Stores the files of a trial: the weights if a tower was trained, and other arrays unless they are redundant."""
    logits = {"valid_logits": outcome.valid_logits, "tower_logits": outcome.tower_logits}
    files: dict[str, Mapping[str, Any]] = {
        WEIGHTS: outcome.weights,
        VALID_LOGITS: logits,
        TRAIN_LOGITS: {"train_logits": outcome.train_logits},
        OPTIMIZER: {} if outcome.optimizer is None else outcome.optimizer.to_arrays(),
        MIXTURE: dict(zip(MIXTURE_ARRAYS, outcome.mixture, strict=False)),
    }
    saved = []
    for name, arrays in files.items():
        there = {key: array for key, array in arrays.items() if array is not None}
        if there:
            saved.append(save_arrays(artefacts, trial_id, name, there))
    return tuple(saved)


def _reads_training_rows(plan: TrialPlan) -> bool:
    """Whether a plan's training reads the logits of its frozen towers; an average of towers is only evaluated."""
    if plan.ensemble is None:
        return True
    return plan.ensemble.combining == "weighted" or plan.ensemble.residual
