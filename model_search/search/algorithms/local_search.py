"""LOCAL_SEARCH: always to a better neighbour; from a local optimum to a random place."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from model_search.errors import SpecError
from model_search.metadata.trial import Trial
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.algorithms.registry import register_search
from model_search.search.algorithms.tower_search import Tower, TowerSearch
from model_search.search.history.history import History
from model_search.search.space.architecture import Architecture
from model_search.search.space.grammar import Grammar

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


@register_search(
    "LOCAL_SEARCH",
    message="local_search",
    describe=lambda spec: (
        f"from {spec.local_search.random_starts} random towers to ever better neighbours, then from others."
    ),
    check=lambda checker: checker.at_least(checker.spec.local_search, 1, ("local_search",), ["random_starts"]),
)
@dataclasses.dataclass(frozen=True)
class LocalSearch(TowerSearch):
    """Descents from random places.

    A descent begins with `random_starts` random towers. Then the neighbours of its best tower (all that one change
    leads to) are tried in a random order, moving on as soon as one is better. When all of them were tried, the next
    descent begins. A neighbour that any trial tried or is trying is not tried again, so that parallel workers share a
    descent.

    Paper: White, Nolen and Savani, "Exploring the Loss Landscape in Neural Architecture Search", UAI 2021 (the variant
    that moves at the first improvement). It needs no other state than the trials: which trial belongs to which descent
    is read from their parents, and descents that parallel beginnings left unfinished are finished later.

    Attributes:
        random_starts: Random towers at the beginning of each descent, the best of which it starts from.
    """

    grammar: Grammar
    random_starts: int = 1

    def __post_init__(self) -> None:
        if self.random_starts < 1:
            raise SpecError(f"random_starts is {self.random_starts}; expected at least 1")

    @classmethod
    def of(cls, spec: PhoenixSpec) -> LocalSearch:
        """The local search that a spec asks for."""
        return cls(Grammar.of(spec), spec.local_search.random_starts)

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """An untried neighbour of the best of the newest descent that has one; else a random beginning."""
        tried = self.tried(history)
        descents = self._descents(history)
        if descents and descents[-1].roots >= self.random_starts:
            for descent in reversed(descents):
                untried = self._untried(descent.best, history, tried)
                if descent.best is not None and untried:
                    architecture = untried[int(rng.integers(len(untried)))]
                    return Proposal(architecture, parent=descent.best.trial.id)
        # Not for the baseline of random search: among its random trials, these are told from beginnings by that.
        return self.unlike(tried, lambda: dataclasses.replace(self.draw(history, rng), random=False))

    def _untried(self, best: Tower | None, history: History, tried: dict[Architecture, int]) -> list[Architecture]:
        if best is None:
            return []
        neighbours = self.grammar.neighbours(best.architecture, self.allowed_depth(history))
        return [
            neighbour
            for neighbour in neighbours
            if self.grammar.canonical(neighbour) not in tried and not history.failures.avoids(neighbour)
        ]

    def _descents(self, history: History) -> list[_Descent]:
        """All descents, oldest first: trials without parent begin them, the others belong to that of their parent."""
        towers = {tower.trial.id: tower for tower in self.towers(history)}
        descents: list[_Descent] = []
        member: dict[int, _Descent] = {}
        for trial in sorted(_planned(history), key=lambda trial: trial.id):
            parent = trial.plan.parent if trial.plan is not None else None
            descent = member.get(parent) if parent is not None else None
            if descent is None:
                if not descents or descents[-1].roots >= self.random_starts:
                    descents.append(_Descent())
                descent = descents[-1]
                descent.roots += 1
            member[trial.id] = descent
            tower = towers.get(trial.id)
            if tower is not None and (descent.best is None or tower.loss < descent.best.loss):
                descent.best = tower
        return descents


@dataclasses.dataclass
class _Descent:
    roots: int = 0
    best: Tower | None = None


def _planned(history: History) -> list[Trial]:
    """Trials of towers that did not fail (a beginning that failed is made up for) and are no baseline."""
    plans = ((trial, trial.plan) for trial in (*history.completed, *history.unfinished))
    return [trial for trial, plan in plans if plan is not None and plan.is_on_labels_alone and not plan.random]
