"""PREDICTOR_GUIDED_BEAM: the adaptive beam, with a predictor that chooses among many children. The default."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from model_search.search.algorithm import Proposal, SearchAlgorithm
from model_search.search.architecture import Architecture, get_allowed_depth
from model_search.search.beam import AdaptiveBeam
from model_search.search.grammar import Grammar
from model_search.search.history import History
from model_search.search.predictor import Predictor

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

WARM_UP = 5
CHILDREN = 320
ROUNDS = 2
EXPLORATION = 1.0


@dataclasses.dataclass(frozen=True)
class _Child:
    """A candidate and the trial that it descends from."""

    architecture: Architecture
    parent: int | None


@dataclasses.dataclass(frozen=True)
class GuidedBeam(SearchAlgorithm):
    """The adaptive beam with a predictor.

    The first trials are random. From then on a small Gaussian process (`predictor.py`) learns from all trials. Of the
    best trials, by their results and by what is expected of them, it makes hundreds of children (mutated, grown,
    crossed), and of the most promising of those children again. The one with the highest upper confidence bound is
    proposed. As long as the predictor foretells the trials badly, a share of the proposals are the plain beam's.

    Papers: Mazzawi et al., Interspeech 2019 (the beam); White et al., "BANANAS", AAAI 2021 (a predictor that ranks
    mutations of the best); Srinivas et al., ICML 2010 (the confidence bound); Ginsbourger et al. 2010 (running trials
    are taken as the predictor expects them).

    Attributes:
        beam: The plain beam: grammar, beam size, growth.
        repeats: Whether an architecture may be tried again, with other hyperparameters.
    """

    beam: AdaptiveBeam
    repeats: bool = True
    _last: list[tuple[History, object, Predictor]] = dataclasses.field(default_factory=list, repr=False, compare=False)

    @classmethod
    def of(cls, spec: PhoenixSpec) -> GuidedBeam:
        """The guided beam that a spec asks for."""
        from model_search.search.space import build_space

        parameters = build_space(spec, train_steps=1).parameters
        return cls(AdaptiveBeam.of(spec), repeats=any(len(parameter.bins) > 1 for parameter in parameters))

    @property
    def grammar(self) -> Grammar:
        """The architectures there are."""
        return self.beam.grammar

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """The most promising of many children of the best trials."""
        if not Predictor.can_learn(history, WARM_UP):
            return Proposal(self.grammar.random(rng))
        predictor = self._predictor(history)
        if rng.random() < 0.5 - predictor.skill:
            return self.beam.propose(history, rng)
        beta = EXPLORATION
        child = self._best_child(predictor, history, beta, rng)
        if child is None:
            return self.beam.propose(history, rng)
        return Proposal(child.architecture, parent=child.parent)

    def _allowed(self, history: History) -> int:
        depth = get_allowed_depth(history.completed_count, self.beam.thresholds, self.grammar.maximum_depth)
        return max(depth, self.grammar.minimum_depth)

    def _predictor(self, history: History) -> Predictor:
        """The predictor of this history; made once for all the draws of a trial."""
        running = tuple((trial.id, trial.plan.key) for trial in history.unfinished if trial.plan is not None)
        state = (history.completed_count, running)
        for known, its_state, predictor in self._last:
            # A completed trial never changes, so that the number of them says whether there are others now.
            if known is history and its_state == state:
                return predictor
        predictor = Predictor(history, self.grammar, self._allowed(history))
        self._last[:] = [(history, state, predictor)]
        return predictor

    def _best_child(
        self, predictor: Predictor, history: History, beta: float, rng: np.random.Generator
    ) -> _Child | None:
        allowed = self._allowed(history)
        tried = set() if self.repeats else self._tried(history)
        parents = self._parents(predictor)
        children: dict[Architecture, _Child] = {}
        scores: dict[Architecture, float] = {}
        for round_number in range(ROUNDS):
            new: dict[Architecture, _Child] = {}
            for child in self._children(parents, allowed, rng, CHILDREN >> round_number):
                same = self.grammar.canonical(child.architecture)
                if same not in tried and same not in children:
                    new.setdefault(same, child)
            if not new:
                break
            predicted = predictor.predict(list(new))
            children |= new
            scores |= dict(zip(new, predicted.mean + beta * predicted.deviation, strict=True))
            parents = [children[same] for same in sorted(scores, key=scores.__getitem__, reverse=True)[:5]]
        return children[max(scores, key=scores.__getitem__)] if scores else None

    def _tried(self, history: History) -> set[Architecture]:
        trials = (*history.completed, *history.unfinished, *history.failed)
        return {self.grammar.canonical(trial.plan.architecture) for trial in trials if trial.plan is not None}

    def _parents(self, predictor: Predictor) -> list[_Child]:
        """The best trials by their results, and the best by what is expected of them."""
        size = self.beam.beam_size
        expected = np.argsort(-predictor.expected, kind="stable")[:size]
        places = dict.fromkeys([*range(min(size, len(predictor.tried))), *map(int, expected)])
        trials = [predictor.tried[place].trial for place in places]
        return [_Child(trial.plan.architecture, trial.id) for trial in trials if trial.plan is not None]

    def _children(
        self, parents: Sequence[_Child], allowed: int, rng: np.random.Generator, count: int
    ) -> Iterator[_Child]:
        grammar = self.grammar
        for number in range(count):
            parent = parents[number % len(parents)]
            kind = rng.random()
            if kind < 0.1:
                other = parents[int(rng.integers(len(parents)))]
                child = grammar.cross(parent.architecture, other.architecture, rng)
                if len(child) > allowed:
                    continue
            else:
                child = grammar.vary(parent.architecture, rng, allowed)
                while rng.random() < 0.4:
                    child = grammar.vary(child, rng, allowed)
            yield _Child(child, parent.parent)
        for _ in range(count // 8):
            depth = int(rng.integers(grammar.minimum_depth, allowed + 1)) if not grammar.is_fixed else None
            yield _Child(grammar.random(rng, depth), None)

    def everything(self, history: History, rng: np.random.Generator) -> Iterator[Proposal]:
        """All architectures, the shallow ones first; only the least depth where nothing may ever grow."""
        return self.beam.everything(history, rng)

