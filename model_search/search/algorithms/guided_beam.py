"""The adaptive beam, with a predictor that chooses among many children: version 1 of PREDICTOR_GUIDED_BEAM."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from model_search.search.algorithms.adaptive_beam import AdaptiveBeam
from model_search.search.algorithms.algorithm import Proposal, SearchAlgorithm
from model_search.search.algorithms.tower_search import one_thread
from model_search.search.history.history import History
from model_search.search.predictor.additive_gaussian_process import Prediction
from model_search.search.predictor.predictor import Memory, Predictor, Predictors
from model_search.search.space.architecture import Architecture, get_allowed_depth
from model_search.search.space.hyperparameter_space import Space, build_space
from model_search.search.space.starting_points import StartingPoint, starting_points

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

Acquisition = Callable[[Prediction], np.ndarray]

WARM_UP = 5
PACE = 2  # completed trials for one block more, where the spec names no numbers
CHILDREN = 240
ROUNDS = 2
EXPLORATION = 1.0
NEW = 0.5  # of the proposals are of architectures that were not tried, with whatever hyperparameters
CROSSED = 0.1
CHANGED_AGAIN = 0.4


def _combinations(space: Space) -> int:
    """How many combinations of bins there are of the hyperparameters that every architecture has."""
    shared = [parameter for parameter in space.parameters if parameter.block is None]
    optimizers = [value for parameter in shared if parameter.name == "optimizer" for value in parameter.bins]
    others = [parameter for parameter in shared if parameter.name != "optimizer"]
    return sum(
        math.prod(len(parameter.bins) for parameter in others if parameter.is_active({"optimizer": optimizer}))
        for optimizer in optimizers
    )


@dataclasses.dataclass(frozen=True)
class Child:
    """A candidate and the trial that it descends from."""

    architecture: Architecture
    parent: int | None


@dataclasses.dataclass(frozen=True)
class Pool:
    """The candidates of one history, how promising each is, and the predictor's skill."""

    children: tuple[Child, ...]
    scores: np.ndarray
    skill: float


@dataclasses.dataclass
class GuidedBeam(SearchAlgorithm):
    """The adaptive beam with a predictor.

    The first trials are towers that have proved themselves on other data (`starting_points.py`), unless the
    specification lacks their blocks or says itself how towers grow, and random ones. From then on a small Gaussian
    process (`predictor.py`) learns from all trials. Of the best trials, by their results and by what is expected of
    them, it makes hundreds of children (mutated, grown, crossed), and of the most promising of those children again.
    The one with the highest upper confidence bound is proposed. As long as the trials are predicted badly, a
    share of the proposals are the plain beam's.

    Papers: Mazzawi et al., Interspeech 2019 (the beam); White et al., "BANANAS", AAAI 2021 (a predictor that ranks
    mutations of the best); Srinivas et al., ICML 2010 (the confidence bound); Ginsbourger et al. 2010 (running trials
    are taken as the predictor expects them).

    Attributes:
        beam: The plain beam: grammar, beam size, growth.
        repeats: How often an architecture may be tried, with different hyperparameters.
        starting_points: See `SearchAlgorithm`.
    """

    sampler: ClassVar[str] = "predictor"
    rounds: ClassVar[int] = ROUNDS
    least_parents: ClassVar[int] = 1
    beam: AdaptiveBeam
    repeats: int
    starting_points: tuple[StartingPoint, ...] = ()

    def __post_init__(self) -> None:
        self.grammar = self.beam.grammar
        self._predictors = Predictors(self.grammar)
        self._pools: Memory[Pool] = Memory()
        self._forms: dict[Architecture, Architecture] = {}

    @classmethod
    def of(cls, spec: PhoenixSpec) -> GuidedBeam:
        """The guided beam that a spec asks for."""
        space = build_space(spec, train_steps=1)
        beam = AdaptiveBeam.of(spec)
        grows_freely = not beam.thresholds and beam.grow_probability > 0
        known = starting_points(beam.grammar, space) if spec.starting_points and grows_freely else ()
        if not beam.thresholds:
            pace = tuple(PACE * depth for depth in range(beam.grammar.maximum_depth))
            beam = dataclasses.replace(beam, thresholds=pace)
        return cls(beam, _combinations(space), known)

    def for_short_histories(self) -> AdaptiveBeam:
        """The plain beam: a few trials are too few for a predictor, and no beginning of a study either."""
        return self.beam

    def use(self, predictors: Predictors) -> None:
        """Takes the predictors of the study."""
        self._predictors = predictors

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """The most promising of many children of the best trials."""
        if not Predictor.can_learn(history, WARM_UP):
            return Proposal(self.grammar.random_of_any_depth(rng, self._allowed(history)))
        with one_thread():
            pool = self._pool(history)
        if not pool.children or rng.random() < 0.3 - pool.skill:
            return self.beam.propose(history, rng)
        child = pool.children[int(np.argmax(pool.scores))]
        return Proposal(child.architecture, parent=child.parent)

    def _pool(self, history: History) -> Pool:
        """The candidates of this history, made once for all the draws of a trial."""
        # The candidates are random, but those of a history are always the same: draws may share them.
        return self._pools.recall(
            history, lambda: self._make_pool(history, np.random.default_rng([len(history), history.completed_count]))
        )

    def _make_pool(self, history: History, rng: np.random.Generator) -> Pool:
        allowed = self._allowed(history)
        predictor = self._predictors.of(history)
        exhausted = self._exhausted(history, 1 if rng.random() < NEW else self.repeats)
        parents, acquisition = self._parents(predictor), self._acquisition(history, predictor)
        children: dict[Architecture, Child] = {}
        scores = np.zeros(0)
        for round_number in range(self.rounds):
            new: dict[Architecture, Child] = {}
            for child in self._children(parents, allowed, rng, round_number, history):
                same = self.grammar.canonical(child.architecture)
                if same in exhausted or same in children or history.failures.avoids(child.architecture):
                    continue
                new.setdefault(same, child)
            if not new:
                break
            children |= new
            scores = np.concatenate([scores, acquisition(predictor.predict(list(new)))])
            promising = np.argsort(-scores, kind="stable")[:5]
            known = list(children.values())
            parents = [known[place] for place in promising]
        return Pool(tuple(children.values()), scores, predictor.skill)

    def _acquisition(self, history: History, predictor: Predictor) -> Acquisition:
        """How promising a candidate is by what is expected of it: its upper confidence bound."""
        del history, predictor
        return lambda expected: expected.mean + EXPLORATION * expected.deviation

    def _allowed(self, history: History) -> int:
        if not self.beam.grow_probability > 0:
            return self.grammar.minimum_depth
        depth = get_allowed_depth(history.completed_count, self.beam.thresholds, self.grammar.maximum_depth)
        return max(depth, self.grammar.minimum_depth)

    def _exhausted(self, history: History, repeats: int) -> set[Architecture]:
        """Architectures that have been tried so often."""
        forms, counts = self._forms, collections.Counter[Architecture]()
        for trial in (*history.completed, *history.unfinished, *history.failed):
            if trial.plan is not None:
                # Kept, as each proposal asks for those of all trials.
                architecture = trial.plan.architecture
                form = forms.get(architecture)
                if form is None:
                    form = forms[architecture] = self.grammar.canonical(architecture)
                counts[form] += 1
        return {architecture for architecture, count in counts.items() if count >= repeats}

    def _parents(self, predictor: Predictor) -> list[Child]:
        """The best trials by their results, and the best by what is expected of them."""
        size = max(self.beam.beam_size, self.least_parents)
        expected = np.argsort(-predictor.expected, kind="stable")[:size]
        places = dict.fromkeys([*range(min(size, len(predictor.tried))), *map(int, expected)])
        trials = [predictor.tried[place].trial for place in places]
        return [Child(trial.plan.architecture, trial.id) for trial in trials if trial.plan is not None]

    def _children(
        self,
        parents: Sequence[Child],
        allowed: int,
        rng: np.random.Generator,
        round_number: int,
        history: History,
    ) -> Iterator[Child]:
        """All architectures of a small space; else children of the parents and some random architectures."""
        del history
        count = CHILDREN >> round_number
        if self._is_small(allowed, count):
            yield from self._all(allowed, rng)
            return
        yield from self._varied(parents, allowed, rng, count)
        yield from self._newcomers(allowed, rng, count // 8)

    def _is_small(self, allowed: int, count: int) -> bool:
        """Whether there are at most so many architectures."""
        depths = range(self.grammar.minimum_depth, allowed + 1)
        return sum(len(self.grammar.blocks) ** depth for depth in depths) <= count

    def _all(self, allowed: int, rng: np.random.Generator) -> Iterator[Child]:
        for depth in range(self.grammar.minimum_depth, allowed + 1):
            every = self.grammar.enumerate(depth, rng)
            yield from (Child(architecture, None) for architecture in every if len(architecture) <= allowed)

    def _varied(self, parents: Sequence[Child], allowed: int, rng: np.random.Generator, count: int) -> Iterator[Child]:
        """Children of the parents in turn, changed at one place or more, or crossed."""
        grammar = self.grammar
        for number in range(count):
            parent = parents[number % len(parents)]
            if rng.random() < CROSSED:
                other = parents[int(rng.integers(len(parents)))]
                child = grammar.cross(parent.architecture, other.architecture, rng)
            else:
                child = grammar.vary(parent.architecture, rng, allowed)
                while rng.random() < CHANGED_AGAIN:
                    child = grammar.vary(child, rng, allowed)
            if self._is_allowed(child, parent, allowed):
                yield Child(child, parent.parent)

    def _is_allowed(self, child: Architecture, parent: Child, allowed: int) -> bool:
        # A starting point may be deeper than is allowed by then, and so may its children.
        return len(child) <= (max(allowed, len(parent.architecture)) if self.starting_points else allowed)

    def _newcomers(self, allowed: int, rng: np.random.Generator, count: int) -> Iterator[Child]:
        """Random architectures of any allowed depth."""
        depths = range(self.grammar.minimum_depth, allowed + 1)
        for _ in range(count):
            newcomer = self.grammar.random(rng, int(rng.choice(depths)))
            if len(newcomer) <= allowed:
                yield Child(newcomer, None)

    def everything(self, history: History, rng: np.random.Generator) -> Iterator[Proposal]:
        """All architectures, the shallow ones first; only the least depth where nothing may ever grow."""
        return self.beam.everything(history, rng)
