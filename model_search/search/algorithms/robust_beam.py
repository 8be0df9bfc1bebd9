"""A guided beam with several scales, and every seventh trial of a local search: version 2 of PREDICTOR_GUIDED_BEAM."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from model_search.metadata.trial import Trial
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.algorithms.guided_beam import EXPLORATION, WARM_UP, Acquisition, Child, GuidedBeam
from model_search.search.history.history import History
from model_search.search.predictor.additive_gaussian_process import Prediction
from model_search.search.predictor.predictor import Predictor, is_own
from model_search.search.predictor.scales import Scale, log_regret, normal_scores, targets
from model_search.search.space.architecture import Architecture

IMPROVEMENT = 0.5  # of the trials go to the greatest expected improvement
NEIGHBOURS = 240  # of the best trials, in the first round
PROMISING = 96  # neighbours of the most promising candidates, in each further round
POPULATION, TOURNAMENT = 50, 5
LOCAL_EVERY, LOCAL_FROM = 7, 14  # every seventh trial, from the 14th on, is that of a local search
MOST_STEPS = 100  # of local search that are looked back at
PATIENCE = 10  # trials without a better one, after which exploration grows,
SLOWNESS = 60.0  # by the uncertainty's weight once more for each so many further ones,
MOST_IMPATIENT = 60  # up to so many
MOST_KNOWN = 256  # towers whose neighbours are kept


@dataclasses.dataclass
class RobustBeam(GuidedBeam):
    """The guided beam, made robust.

    It differs from the first version in this:

    * The predictor learns on a scale that is drawn anew for each trial (`scales.py`): differences among the good ones,
      ranks, or the logarithm of the regret. No single view of the results decides alone.
    * Half of the trials, drawn at random, go to the candidate with the greatest expected improvement, the others to
      the upper confidence bound, in which the uncertainty weighs the more the longer no trial was better.
    * Candidates are the one-step neighbours of the best trials, children that differ more, children of tournaments
      among the latest trials as in regularized evolution, and the neighbours of the most promising of all these.
    * Every seventh trial is that of a plain local search, which goes to better neighbours until there is none and then
      begins anew at a random place, whatever the predictor believes.

    Papers, besides those of `GuidedBeam`: White, Nolen and Savani, "Exploring the Loss Landscape in Neural Architecture
    Search", UAI 2021 (the neighbours of the best are a strong set of candidates).

    Attributes:
        varied: Candidates that are children of the best and differ in one place or more.
        evolved: Candidates that are children of the winners of tournaments.
        newcomers: Candidates that are random.
    """

    scales: ClassVar[tuple[Scale, ...]] = (targets, normal_scores, log_regret)
    rounds: ClassVar[int] = 3
    least_parents: ClassVar[int] = 8
    has_baseline: ClassVar[bool] = True
    varied: ClassVar[int] = 60
    evolved: ClassVar[int] = 60
    newcomers: ClassVar[int] = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        self._known_neighbours: dict[tuple[Architecture, int], dict[Architecture, Architecture]] = {}

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """A random architecture at first, then the most promising candidate."""
        if not Predictor.can_learn(history, WARM_UP):
            architecture = self.grammar.random_of_any_depth(rng, self._allowed(history))
            return Proposal(architecture, random=self.grammar.is_fixed)
        place = 1 + sum(map(is_own, history.trials))
        if place >= LOCAL_FROM and place % LOCAL_EVERY == 0:
            return self._local_step(history, rng)
        return super().propose(history, rng)

    def _local_step(self, history: History, rng: np.random.Generator) -> Proposal:
        """An untried neighbour of where a local search stands, which has no predictor; else a random beginning."""
        allowed, tried = self._allowed(history), self._exhausted(history, 1)
        current = _standing(history)
        if current is not None and current.plan is not None:
            untried = [
                neighbour
                for form, neighbour in self._neighbours_of(current.plan.architecture, allowed).items()
                if form not in tried
                and self._is_allowed(neighbour, Child(current.plan.architecture, current.id), allowed)
                and not history.failures.avoids(neighbour)
            ]
            if untried:
                return Proposal(untried[int(rng.integers(len(untried)))], parent=current.id)
        return Proposal(self.grammar.random_of_any_depth(rng, allowed))

    def _acquisition(self, history: History, predictor: Predictor) -> Acquisition:
        """The expected improvement or an upper confidence bound, the same for all draws of a trial."""
        if np.random.default_rng([len(history), history.completed_count, 1]).random() < IMPROVEMENT:
            best = float(predictor.targets.max())
            return lambda expected: expected_improvement(expected, best)
        late = min(max(trials_since_the_best(history) - PATIENCE, 0), MOST_IMPATIENT)
        weight = EXPLORATION * (1 + late / SLOWNESS)
        return lambda expected: expected.mean + weight * expected.deviation

    def _children(
        self,
        parents: Sequence[Child],
        allowed: int,
        rng: np.random.Generator,
        round_number: int,
        history: History,
    ) -> Iterator[Child]:
        """All architectures of a small space; else neighbours of the parents, and at first others, too."""
        if self._is_small(allowed, NEIGHBOURS):
            if round_number == 0:
                yield from self._all(allowed, rng)
            return
        if round_number > 0:
            yield from self._neighbours(parents[:4], allowed, rng, PROMISING)
            return
        yield from (parent for parent in parents if self._is_allowed(parent.architecture, parent, allowed))
        yield from self._neighbours(parents, allowed, rng, NEIGHBOURS)
        yield from self._varied(parents, allowed, rng, self.varied)
        yield from self._evolved(history, allowed, rng)
        yield from self._newcomers(allowed, rng, self.newcomers)

    def _evolved(self, history: History, allowed: int, rng: np.random.Generator) -> Iterator[Child]:
        """Children of the winners of tournaments among the latest trials."""
        if not self.evolved:
            return
        population = [
            (history.loss(trial), trial.id, trial.plan.architecture)
            for trial in heapq.nlargest(POPULATION, filter(is_own, history.completed), key=lambda trial: trial.id)
            if trial.plan is not None
        ]
        for _ in range(self.evolved):
            members = rng.integers(len(population), size=TOURNAMENT)
            _, parent, architecture = min(population[int(member)] for member in members)
            child = self.grammar.vary(architecture, rng, allowed)
            if self._is_allowed(child, Child(architecture, parent), allowed):
                yield Child(child, parent)

    def _neighbours_of(self, architecture: Architecture, allowed: int) -> dict[Architecture, Architecture]:
        """All that one change leads to, by canonical form; the best trials are asked for theirs again and again."""
        known = self._known_neighbours
        if (architecture, allowed) not in known:
            if len(known) >= MOST_KNOWN:
                known.clear()
            known[architecture, allowed] = self.grammar.neighbours_by_form(architecture, allowed)
        return known[architecture, allowed]

    def _neighbours(
        self, parents: Sequence[Child], allowed: int, rng: np.random.Generator, most: int
    ) -> Iterator[Child]:
        """The one-step neighbours of the parents; a random part of those of each where they would be too many."""
        share = -(-most // max(len(parents), 1))
        for parent in parents:
            every = self._neighbours_of(parent.architecture, allowed).values()
            found = [architecture for architecture in every if self._is_allowed(architecture, parent, allowed)]
            if len(found) > share:
                found = [found[int(place)] for place in np.sort(rng.choice(len(found), share, replace=False))]
            yield from (Child(architecture, parent.parent) for architecture in found)


def expected_improvement(expected: Prediction, best: float) -> np.ndarray:
    """By how much a candidate is expected to be better than the best (Mockus, 1975)."""
    from scipy.special import ndtr

    z = (expected.mean - best) / expected.deviation
    return expected.deviation * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))


def _standing(history: History) -> Trial | None:
    """Where the local search of every seventh trial stands; None before its first result.

    A trial whose parent is not where it stood has begun elsewhere.
    """
    current, completed = None, {trial.id for trial in history.completed}
    every = sorted(filter(is_own, history.trials), key=lambda trial: trial.id)
    for trial in every[LOCAL_FROM - 1 :: LOCAL_EVERY][-MOST_STEPS:]:
        if trial.id not in completed or trial.plan is None:
            continue
        if current is None or trial.plan.parent != current.id or history.loss(trial) < history.loss(current):
            current = trial
    return current


def trials_since_the_best(history: History) -> int:
    """How many trials were completed since the best one began."""
    best = history.best(1)[0].id
    return sum(1 for trial in history.completed if trial.id > best)
