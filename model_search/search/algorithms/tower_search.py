"""What most algorithms share: a grammar, random beginnings, and a look at the trials so far."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.metadata.trial import Trial, TrialState
from model_search.search.algorithms.algorithm import Proposal, SearchAlgorithm
from model_search.search.history.history import History
from model_search.search.space.architecture import Architecture

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

# How often a proposal that another worker is trying at this moment is drawn again.
_REDRAWS = 16


@dataclasses.dataclass(frozen=True)
class Tower:
    """A completed trial of a tower by itself: what was tried, and what came out.

    Attributes:
        trial: The trial.
        architecture: Its architecture, as it was planned.
        loss: Its value of the study's metric, turned so that less is better.
    """

    trial: Trial
    architecture: Architecture
    loss: float


class TowerSearch(SearchAlgorithm):
    """An algorithm that learns from towers trained by themselves."""

    def draw(self, history: History, rng: np.random.Generator) -> Proposal:
        """A random architecture of any depth that is allowed by now."""
        architecture = self.grammar.random_of_any_depth(rng, self.allowed_depth(history))
        return Proposal(architecture, random=self.grammar.is_fixed)

    def allowed_depth(self, history: History) -> int:
        """The size beyond which nothing grows by now."""
        return self.grammar.allowed_depth(history.completed_count)

    def towers(self, history: History) -> list[Tower]:
        """The completed trials of towers by themselves, in the order in which they were completed.

        Ensembles and students are left out: what they reach is not the doing of their architecture alone. The order
        comes from the store's revisions, so that it is the same for every worker and after a restart.
        """
        towers = [
            Tower(trial, trial.plan.architecture, history.loss(trial))
            for trial in history.completed
            if trial.plan is not None and trial.plan.is_on_labels_alone
        ]
        return sorted(towers, key=lambda tower: (tower.trial.revision, tower.trial.id))

    def towers_with_failed(self, history: History) -> list[Tower]:
        """The same and the failed ones, each as bad as the worst completed one; only these where none is completed."""
        towers = self.towers(history)
        unbuilt = history.failures.architectures
        if not towers or not unbuilt:
            return towers
        worst = max(tower.loss for tower in towers)
        failed = (
            Tower(trial, trial.plan.architecture, worst)
            for trial in history.failed
            if trial.state == TrialState.FAILED and trial.plan is not None and trial.plan.architecture in unbuilt
        )
        return sorted([*towers, *failed], key=lambda tower: (tower.trial.revision, tower.trial.id))

    def tried(self, history: History) -> Counter[Architecture]:
        """How often each tower was tried or is being tried, by its canonical form."""
        trials = (*history.completed, *history.failed, *history.unfinished)
        plans = (trial.plan for trial in trials if trial.plan is not None and trial.plan.is_on_labels_alone)
        return Counter(self.grammar.canonical(plan.architecture) for plan in plans)

    def running(self, history: History) -> set[Architecture]:
        """The towers that are being tried, by their canonical form."""
        plans = (trial.plan for trial in history.unfinished if trial.plan is not None)
        return {self.grammar.canonical(plan.architecture) for plan in plans if plan.is_on_labels_alone}

    def unlike_running(self, history: History, make: Callable[[], Proposal]) -> Proposal:
        """The first of a few proposals that no other worker is trying at this moment, else the last one."""
        return self.unlike(self.running(history), make)

    def unlike(self, known: Container[Architecture], make: Callable[[], Proposal]) -> Proposal:
        """The first of a few proposals whose canonical form is not known, else the last one."""
        proposal = make()
        for _ in range(_REDRAWS):
            if self.grammar.canonical(proposal.architecture) not in known:
                break
            proposal = make()
        return proposal


def one_thread() -> AbstractContextManager[Any]:
    """Linear algebra in one thread; on matrices of a few hundred rows several ones only wait for each other."""
    return _libraries().limit(limits=1, user_api="blas")


@functools.cache
def _libraries() -> ThreadpoolController:
    """The libraries of linear algebra in this process; looking for them takes a millisecond or two."""
    import scipy.linalg  # noqa: F401 - brings a library of its own, and only those that are loaded are found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def best_and_latest(towers: list[Tower], best: int, latest: int) -> list[Tower]:
    """The `latest` last towers and the `best` best of the others; all where there are no more."""
    if len(towers) <= best + latest:
        return towers
    return [*best_of(towers[:-latest], best), *towers[-latest:]]


def best_of(towers: Sequence[Tower], count: int) -> list[Tower]:
    """The best `count` towers, best first, ties by id."""
    return sorted(towers, key=lambda tower: (tower.loss, tower.trial.id))[:count]
