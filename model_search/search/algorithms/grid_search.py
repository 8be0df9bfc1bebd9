"""GRID_SEARCH: all architectures, one after the other."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from model_search.search.algorithms.algorithm import MOST_AVOIDED, Proposal, without_failing_blocks
from model_search.search.algorithms.registry import register_search
from model_search.search.algorithms.tower_search import TowerSearch
from model_search.search.history.history import History
from model_search.search.predictor.predictor import Memory
from model_search.search.space.architecture import Architecture
from model_search.search.space.grammar import Grammar


@register_search("GRID_SEARCH", describe="all towers in order, the shallow ones first.")
@dataclasses.dataclass(frozen=True)
class GridSearch(TowerSearch):
    """Goes through all architectures, the shallow ones first, blocks in the order of `blocks_to_use`.

    When each has been tried once, each is tried again, with other hyperparameters. It draws nothing at random.

    Reference: the exhaustive search that random search is measured against in Bergstra and Bengio, "Random Search for
    Hyper-Parameter Optimization", JMLR 2012.
    """

    grammar: Grammar
    _memory: Memory[Proposal] = dataclasses.field(default_factory=Memory, compare=False, repr=False)

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """The first architecture in the order of the grid that was tried least often."""
        del rng
        return self._memory.recall(history, lambda: self._next(history))

    def _next(self, history: History) -> Proposal:
        tried, grammar = self.tried(history), without_failing_blocks(self.grammar, history)
        least, chosen = math.inf, Architecture()
        avoided, most = 0, MOST_AVOIDED + len(history.failures.architectures)
        for draws in grammar.draws:
            for architecture in grammar.enumerate(draws):
                if history.failures.avoids(architecture):
                    avoided += 1
                    if avoided > most:
                        return Proposal(chosen or architecture)
                    continue
                times = tried[self.grammar.canonical(architecture)]
                if times == 0:
                    return Proposal(architecture)
                if times < least:
                    least, chosen = times, architecture
        return Proposal(chosen or next(self.grammar.enumerate(self.grammar.minimum_depth)))
