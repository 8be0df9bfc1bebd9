"""The architectures of a supernet as paths: the number of the choice at each position, in the form of equal graphs."""

from __future__ import annotations

import itertools

import numpy as np

from model_search.cells import CellKind
from model_search.metadata.trial import SupernetPlan
from model_search.problem import problem_type
from model_search.search.space.architecture import Architecture, body_of
from model_search.search.space.equivalence import Equivalence
from model_search.search.space.grammar import Grammar

Path = tuple[int, ...]


class Paths:
    """Draws, changes and names paths.

    Attributes:
        plan: The space.
        grammar: The same as a grammar.
    """

    def __init__(self, plan: SupernetPlan) -> None:
        self.plan = plan
        self.grammar = Grammar(
            blocks=tuple(dict.fromkeys(itertools.chain.from_iterable(plan.positions))),
            problem_type=problem_type("CNN"),
            minimum_depth=len(plan.positions),
            maximum_depth=len(plan.positions),
            positions=plan.positions,
            equivalence=Equivalence(of_cells=True),
            crossed_together=(2 * CellKind.NORMAL.edges,) * (len(plan.positions) // (2 * CellKind.NORMAL.edges)),
        )

    def random(self, rng: np.random.Generator) -> Path:
        """A path, every architecture as it is written being equally likely."""
        return self.path(self.grammar.random(rng))

    def vary(self, path: Path, rng: np.random.Generator) -> Path:
        """Another path, one change away."""
        return self.path(self.grammar.vary(self.architecture(path), rng))

    def path(self, architecture: Architecture) -> Path:
        """The path of an architecture: that of the form that all equal graphs share."""
        return self.plan.choices_of(body_of(self.grammar.canonical(architecture)))

    def architecture(self, path: Path) -> Architecture:
        """The blocks of a path."""
        return self.plan.architecture_of(path)
