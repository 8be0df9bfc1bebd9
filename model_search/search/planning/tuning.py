"""The phase after the search: other hyperparameters for the best few architectures."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from model_search.errors import SpecError
from model_search.metadata.trial import Trial, TrialKind, TrialState
from model_search.search.history.history import History
from model_search.search.samplers.bayesian_sampler import BayesianSampler
from model_search.search.space.architecture import Architecture

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

_RANDOM_TRIALS = 3  # of an architecture, before the sampler has something to learn from


@dataclasses.dataclass(frozen=True)
class Assignment:
    """What to tune.

    Attributes:
        best: The best trial of the architecture so far.
        history: The trials of that architecture that were trained in full, for the sampler.
    """

    best: Trial
    history: History


class Tuning:
    """Hands the last trials of a study to its best architectures, in turn.

    Args:
        trials: How many of the study's trials tune.
        architectures: How many architectures they are for.
        canonical: The one form of all architectures that build the same tower.
    """

    def __init__(self, trials: int, architectures: int, canonical: Callable[[Architecture], Architecture]):
        if trials < 0 or architectures < 1:
            raise SpecError(f"tuning has {trials} trials of {architectures} architectures; expected 0 or more, of 1 up")
        self._trials, self._architectures = trials, architectures
        self._canonical = canonical
        self.sampler = BayesianSampler(random_trials=_RANDOM_TRIALS)

    @classmethod
    def of(cls, spec: PhoenixSpec, canonical: Callable[[Architecture], Architecture]) -> Tuning:
        """The phase that a spec asks for."""
        return cls(spec.tuning.trials, spec.tuning.architectures, canonical)

    def is_on(self, trial_id: int, history: History, number_models: int | None) -> bool:
        """Whether the trials of the search have been done, or are being done by others.

        Args:
            trial_id: The trial to plan.
            history: All trials.
            number_models: Trials that the study is to complete; None where that is not known.
        """
        if not self._trials or number_models is None:
            return False
        lost = (TrialState.FAILED, TrialState.LOST)
        searched = sum(
            trial.id < trial_id
            and trial.state not in lost
            and (trial.plan is None or trial.plan.kind != TrialKind.TUNING)
            for trial in history.trials
        )
        return searched >= number_models - self._trials

    def assign(self, trial_id: int, history: History, survivors: History) -> Assignment | None:
        """The architecture that has been tuned least, among the best ones that the search has found.

        Args:
            trial_id: The trial to plan.
            history: All trials.
            survivors: The same as the algorithm sees them, best first.
        """
        found: dict[Architecture, Trial] = {}
        for trial in survivors.completed:
            if len(found) == self._architectures:
                break
            if trial.id < trial_id and trial.plan is not None and trial.plan.is_searched:
                found.setdefault(self._canonical(trial.plan.architecture), trial)
        if not found:
            return None
        tuned = Counter(
            self._canonical(trial.plan.architecture)
            for trial in history.trials
            if trial.plan is not None and trial.plan.kind == TrialKind.TUNING
        )
        chosen = min(found, key=lambda architecture: tuned[architecture])
        alike = History(history.ranking)
        alike.update(trial for trial in _by_id(history) if self._is_alike(trial, chosen))
        return Assignment(found[chosen], alike)

    def _is_alike(self, trial: Trial, architecture: Architecture) -> bool:
        plan = trial.plan
        if plan is None or not plan.trains_one_tower_in_full:
            return False
        return self._canonical(plan.architecture) == architecture


def _by_id(history: History) -> list[Trial]:
    return sorted(history.trials, key=lambda trial: trial.id)
