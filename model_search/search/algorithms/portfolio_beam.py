"""A portfolio of a guided beam and of plain steps from the best trials: version 3 of PREDICTOR_GUIDED_BEAM."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from model_search.search.algorithms.algorithm import Proposal
from model_search.search.algorithms.guided_beam import EXPLORATION, WARM_UP, Acquisition, Child, GuidedBeam
from model_search.search.algorithms.robust_beam import (
    IMPROVEMENT,
    RobustBeam,
    expected_improvement,
    trials_since_the_best,
)
from model_search.search.history.history import History
from model_search.search.predictor.predictor import Predictor, has_own, is_own
from model_search.search.space.architecture import Architecture
from model_search.search.space.edit_distance import encode, hamming, levenshtein
from model_search.spec.searches import SEARCHES

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

NAME = "PREDICTOR_GUIDED_BEAM"
STEPS_FROM = 14  # the first trial that may be a step
LEAST_STEPS = 0.15  # of the trials from then on
STALLED = 40  # trials without a better one, after which steps have their greatest share; more where neighbours are more
STANDINGS = 1000  # of the best trials that steps leave from,
LEAVES = 0.7  # with this probability from the first that has untried neighbours, else from one after it
NEAR = 2  # edits, within which of a local optimum steps leave from no other trial


@dataclasses.dataclass
class PortfolioBeam(RobustBeam):
    """The robust beam, with a share of plain steps that grows while nothing is better.

    A step goes from one of the best trials to a neighbour that was not tried, whatever the predictor believes. A
    predictor that errs near the best trials errs there again and again: what it finds promising has been tried, and
    what is better is where it expects nothing. How many of the trials are steps follows from the progress: few as long
    as the best trial is one of the latest; `most_steps` of them after as many trials without a better one as the best
    has neighbours, at least forty. So they are rare where neighbours are too many to be tried.

    A step mostly leaves from the best trial that has untried neighbours, else from one after it. When all neighbours of
    a trial were tried and none is better, it is a local optimum, and steps leave from no trial within two edits of it
    either, but from the best one elsewhere; where there is none, from a random tower.

    Of the other trials, the more go to the expected improvement, and the fewer to the upper confidence bound, the
    longer nothing was better: the bound stays where it has been.

    Attributes:
        most_steps: The greatest share of trials that are plain steps.
    """

    rounds: ClassVar[int] = 2
    likelihood_rows: ClassVar[int] = 64
    varied: ClassVar[int] = 40
    evolved: ClassVar[int] = 0
    newcomers: ClassVar[int] = 20
    most_steps: float = 0.5

    @classmethod
    def of(cls, spec: PhoenixSpec) -> PortfolioBeam:
        """The search that a spec asks for."""
        settings = SEARCHES.get(NAME).values(spec)
        found = super().of(spec)
        return cls(found.beam, found.repeats, found.starting_points, float(settings["most_steps"]))

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """A random architecture at first, then the most promising candidate or a step from one of the best."""
        if not Predictor.can_learn(history, WARM_UP):
            architecture = self.grammar.random_of_any_depth(rng, self._allowed(history))
            return Proposal(architecture, random=self.grammar.is_fixed)
        # The same for all draws of a trial.
        coin = np.random.default_rng([len(history), history.completed_count, 2]).random()
        if coin < self._share_of_steps(history):
            return self._step(history, rng)
        return GuidedBeam.propose(self, history, rng)

    def _acquisition(self, history: History, predictor: Predictor) -> Acquisition:
        """The expected improvement or an upper confidence bound; the former alone when progress has stalled."""
        best = float(predictor.targets.max())
        share = IMPROVEMENT + (1 - IMPROVEMENT) * self._stalled(history)
        # The same for all draws of a trial.
        if np.random.default_rng([len(history), history.completed_count, 1]).random() < share:
            return lambda expected: expected_improvement(expected, best)
        return lambda expected: expected.mean + EXPLORATION * expected.deviation

    def _share_of_steps(self, history: History) -> float:
        if not has_own(history, STEPS_FROM - 1):
            return 0.0
        least = min(LEAST_STEPS, self.most_steps)
        return least + (self.most_steps - least) * self._stalled(history)

    def _stalled(self, history: History) -> float:
        """From 0, where the last trial is the best, to 1, where none of very many was."""
        best = next(filter(is_own, history.completed)).plan
        neighbours = {} if best is None else self._neighbours_of(best.architecture, self._allowed(history))
        return min(trials_since_the_best(history) / max(STALLED, len(neighbours)), 1.0)

    def _step(self, history: History, rng: np.random.Generator) -> Proposal:
        """An untried neighbour of one of the best trials, the better the likelier; else a random tower."""
        allowed, tried = self._allowed(history), self._exhausted(history, 1)
        remaining = [
            Child(trial.plan.architecture, trial.id)
            for trial in itertools.islice(filter(is_own, history.completed), STANDINGS)
            if trial.plan is not None
        ]
        found: tuple[Child, list[Architecture]] | None = None
        while remaining:
            standing = remaining.pop(0)
            untried = [
                neighbour
                for form, neighbour in self._neighbours_of(standing.architecture, allowed).items()
                if form not in tried
                and self._is_allowed(neighbour, standing, allowed)
                and not history.failures.avoids(neighbour)
            ]
            if untried:
                found = (standing, untried)
                if rng.random() < LEAVES:
                    break
            else:
                remaining = self._far_from(standing, remaining)
        if found is None:
            return Proposal(self.grammar.random_of_any_depth(rng, allowed))
        standing, untried = found
        return Proposal(untried[int(rng.integers(len(untried)))], parent=standing.parent)

    def _far_from(self, optimum: Child, others: list[Child]) -> list[Child]:
        """Those that have no neighbour in common with a tower that nothing beside it is better than."""
        if not others:
            return []
        numbers = {name: number for number, name in enumerate(self.grammar.blocks)}
        codes = encode([self.grammar.canonical(child.architecture) for child in (optimum, *others)], numbers)
        edits = (hamming if self.grammar.is_fixed else levenshtein)(codes[:1], codes[1:])[0]
        return [other for other, distance in zip(others, edits, strict=True) if distance > NEAR]
