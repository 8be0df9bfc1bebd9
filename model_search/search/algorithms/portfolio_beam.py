"""PREDICTOR_GUIDED_BEAM: a portfolio of a guided beam and of plain steps from the best trials. The default."""

from __future__ import annotations

import dataclasses
import heapq
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from model_search.search.algorithms.algorithm import Proposal
from model_search.search.algorithms.guided_beam import WARM_UP, Child, GuidedBeam
from model_search.search.algorithms.registry import register_search
from model_search.search.algorithms.robust_beam import RobustBeam, trials_since_the_best
from model_search.search.history.history import History
from model_search.search.predictor.predictor import Predictor, is_own
from model_search.spec.searches import LATEST_VERSION, SEARCHES, VERSION, Setting

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

NAME = "PREDICTOR_GUIDED_BEAM"
STEPS_FROM = 14  # trials, before which the predictor decides alone
LEAST_STEPS = 0.15  # of the trials from then on
STALLED = 40  # trials without a better one, after which steps have their greatest share
STANDINGS = 10  # of the best trials that steps are taken from


@register_search(
    NAME,
    reads=("starting_points",),
    settings=[
        Setting(VERSION, LATEST_VERSION, minimum=1, maximum=LATEST_VERSION),
        Setting("most_steps", 0.5, minimum=0.0, maximum=1.0),
    ],
    describe=lambda spec: f"of many children of the best {spec.beam_size}, the one a predictor finds most promising.",
)
@dataclasses.dataclass
class PortfolioBeam(RobustBeam):
    """The robust beam, with a share of plain steps that grows while nothing is better.

    A step goes from one of the best trials to a neighbour that was not tried, whatever the predictor believes. A
    predictor that errs near the best ones errs there again and again: its own proposals have then been tried, and what
    is better is where it expects nothing. How many of the trials are steps is decided by the progress: few as long as
    the best trial is one of the latest, `most_steps` of them after forty trials without a better one.

    A step mostly leaves from the best trial that has untried neighbours, else from the next ones; when none of the best
    has any, it begins anew at a random tower.

    Versions 1 and 2 are `GuidedBeam` and `RobustBeam`; studies go on with the version that they began with.

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
    def of(cls, spec: PhoenixSpec) -> GuidedBeam:  # type: ignore[override] # or an earlier version
        """The search that a spec asks for, in the version that it names."""
        settings = SEARCHES.get(NAME).values(spec)
        if settings[VERSION] != LATEST_VERSION:
            return (GuidedBeam if settings[VERSION] == 1 else RobustBeam).of(spec)
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

    def _share_of_steps(self, history: History) -> float:
        if sum(map(is_own, history.trials)) < STEPS_FROM - 1:
            return 0.0
        late = min(trials_since_the_best(history) / STALLED, 1.0)
        least = min(LEAST_STEPS, self.most_steps)
        return least + (self.most_steps - least) * late

    def _step(self, history: History, rng: np.random.Generator) -> Proposal:
        """An untried neighbour of one of the best trials, the better the likelier; else a random beginning."""
        allowed, tried = self._allowed(history), self._exhausted(history, 1)
        last: list[tuple[Child, list[tuple[str, ...]]]] = []
        for trial in heapq.nsmallest(STANDINGS, filter(is_own, history.completed), key=history.loss):
            if trial.plan is None:
                continue
            standing = Child(trial.plan.architecture, trial.id)
            untried = [
                neighbour
                for neighbour in self._neighbours_of(standing.architecture, allowed)
                if self._is_allowed(neighbour, standing, allowed)
                and self.grammar.canonical(neighbour) not in tried
                and not history.failures.avoids(neighbour)
            ]
            if untried:
                last = [(standing, untried)]
                if rng.random() < 0.5:
                    break
        if not last:
            return Proposal(self.grammar.random_of_any_depth(rng, allowed))
        standing, untried = last[0]
        return Proposal(untried[int(rng.integers(len(untried)))], parent=standing.parent)
