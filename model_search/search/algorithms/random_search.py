"""NONADAPTIVE_RANDOM_SEARCH: architectures of one depth, drawn at random."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from model_search.search.algorithms.algorithm import Proposal, SearchAlgorithm, without_failing_blocks
from model_search.search.algorithms.registry import register_search
from model_search.search.history.history import History
from model_search.search.space.grammar import Grammar


@register_search(
    "NONADAPTIVE_RANDOM_SEARCH",
    describe=lambda spec: f"every tower is drawn at random, with {spec.minimum_depth} blocks.",
)
@dataclasses.dataclass(frozen=True)
class RandomSearch(SearchAlgorithm):
    """Architectures of `minimum_depth` blocks, all equally likely; learns nothing from what was tried."""

    draws_least_depth: ClassVar[bool] = True
    grammar: Grammar

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """A random architecture, whatever the history."""
        del history
        return Proposal(self.grammar.random(rng), random=self.grammar.is_fixed)

    def everything(self, history: History, rng: np.random.Generator) -> Iterator[Proposal]:
        """All architectures of `minimum_depth` blocks."""
        grammar = without_failing_blocks(self.grammar, history)
        for architecture in grammar.enumerate(grammar.minimum_depth, rng):
            yield Proposal(architecture)
