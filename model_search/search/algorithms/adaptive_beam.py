"""ADAPTIVE_COORDINATE_DESCENT: a greedy beam that grows or mutates one of the best architectures so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from model_search.errors import SpecError
from model_search.metadata.trial import Trial, TrialPlan
from model_search.search.algorithms.algorithm import Proposal, SearchAlgorithm, without_failing_blocks
from model_search.search.algorithms.registry import register_search
from model_search.search.history.history import History
from model_search.search.space.architecture import fix_order, get_allowed_depth
from model_search.search.space.grammar import Grammar

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


@register_search(
    "ADAPTIVE_COORDINATE_DESCENT",
    describe=lambda spec: (
        f"one of the best {spec.beam_size} grows with probability {spec.increase_complexity_probability:.7g}, "
        "else one of its blocks is replaced."
    ),
)
@dataclasses.dataclass(frozen=True)
class AdaptiveBeam(SearchAlgorithm):
    """The adaptive greedy beam of Model Search.

    It starts with random architectures of the least depth. From then on it picks one of the best `beam_size` trials
    and either adds a block to its architecture or replaces one. How deep it may grow depends on the number of completed
    trials (`get_allowed_depth`).

    Paper: Mazzawi et al., "Improving Keyword Spotting and Language Identification via Neural Architecture Search at
    Scale", Interspeech 2019. Departure from the archived system: the planner tries nothing twice.

    Attributes:
        grammar: The architectures there are.
        beam_size: How many of the best trials may be parents.
        grow_probability: The share of proposals that add a block, where the depth allows it.
        thresholds: Numbers of completed trials from which on each depth is allowed; empty for one more every 5 trials.
    """

    grammar: Grammar
    beam_size: int = 1
    grow_probability: float = 1.0
    thresholds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.beam_size < 1:
            raise SpecError(f"beam_size is {self.beam_size}; expected at least 1")
        if not 0 <= self.grow_probability <= 1:
            raise SpecError(f"increase_complexity_probability is {self.grow_probability:g}; expected 0 to 1")
        get_allowed_depth(0, self.thresholds, self.grammar.maximum_depth)

    @classmethod
    def of(cls, spec: PhoenixSpec) -> AdaptiveBeam:
        """The beam that a spec asks for."""
        return cls(
            grammar=Grammar.of(spec),
            beam_size=spec.beam_size,
            grow_probability=spec.increase_complexity_probability,
            thresholds=tuple(spec.increase_complexity_minimum_trials),
        )

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """A random architecture, or a child of one of the best trials."""
        beam = [(trial, trial.plan) for trial in history.best(self.beam_size) if trial.plan is not None]
        if not beam:
            return Proposal(self.grammar.random(rng))
        trial, plan = beam[int(rng.integers(len(beam)))]
        return self._child(trial, plan, history, rng)

    def _child(self, trial: Trial, plan: TrialPlan, history: History, rng: np.random.Generator) -> Proposal:
        architecture = fix_order(plan.architecture, self.grammar.problem_type)
        allowed = get_allowed_depth(history.completed_count, self.thresholds, self.grammar.maximum_depth)
        wants_to_grow = bool(rng.random() < self.grow_probability)
        if wants_to_grow and not self.grammar.is_fixed and len(architecture) < allowed:
            return Proposal(self.grammar.grow(architecture, rng), parent=trial.id)
        return Proposal(self.grammar.mutate(architecture, rng), parent=trial.id)

    def everything(self, history: History, rng: np.random.Generator) -> Iterator[Proposal]:
        """All architectures, the shallow ones first; only the least depth where nothing may ever grow."""
        grammar = without_failing_blocks(self.grammar, history)
        for depth in grammar.draws if self.grow_probability > 0 else grammar.draws[:1]:
            for architecture in grammar.enumerate(depth, rng):
                yield Proposal(architecture)
