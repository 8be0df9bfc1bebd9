"""REGULARIZED_EVOLUTION: tournaments in a population from which the oldest drop out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from model_search.errors import SpecError
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.algorithms.registry import register_search
from model_search.search.algorithms.tower_search import Tower, TowerSearch
from model_search.search.history.history import History
from model_search.search.space.grammar import Grammar

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
    from model_search.spec.check import Checker


def _check(checker: Checker) -> None:
    settings, path = checker.spec.evolution, ("evolution",)
    checker.at_least(settings, 1, path, ["sample_size"])
    if settings.population_size < max(settings.sample_size, 1):
        checker.add(
            f"population_size is {settings.population_size}; expected at least sample_size ({settings.sample_size}).",
            (*path, "population_size"),
            (*path, "sample_size"),
        )


@register_search(
    "REGULARIZED_EVOLUTION",
    message="evolution",
    reads=("mutate_probability", "crossover_probability", "random_architecture_probability"),
    describe=lambda spec: (
        f"children of the best of {spec.evolution.sample_size}, drawn from the last {spec.evolution.population_size} "
        "trials."
    ),
    check=_check,
)
@dataclasses.dataclass(frozen=True)
class RegularizedEvolution(TowerSearch):
    """Regularized (aging) evolution.

    The first `population_size` trials are random. From then on the population are the trials that were completed last,
    as many: whatever its merit, a tower dies of age. The parent of a proposal is the best of `sample_size` members
    drawn at random (with replacement, as in the paper); the child differs from it by one change.

    Paper: Real et al., "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019. Departures: changes
    besides replacing (insert, delete, swap, duplicate), crossover and random newcomers, each with its own probability;
    a child that another worker is trying at this moment is drawn anew.

    Attributes:
        population_size: Trials in the population.
        sample_size: Members in a tournament.
        crossover_probability: Share of children that have two parents, each the winner of a tournament.
        mutate_probability: Share of those children that are changed besides; a child of one parent always is.
        random_probability: Share of proposals that are random newcomers.
    """

    grammar: Grammar
    population_size: int = 50
    sample_size: int = 10
    crossover_probability: float = 0.0
    mutate_probability: float = 0.0
    random_probability: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.sample_size <= self.population_size:
            raise SpecError(
                f"sample_size is {self.sample_size} and population_size is {self.population_size}; "
                "expected 1 <= sample_size <= population_size"
            )

    @classmethod
    def of(cls, spec: PhoenixSpec) -> RegularizedEvolution:
        """The evolution that a spec asks for."""
        return cls(
            grammar=Grammar.of(spec),
            population_size=spec.evolution.population_size,
            sample_size=spec.evolution.sample_size,
            crossover_probability=spec.crossover_probability,
            mutate_probability=spec.mutate_probability,
            random_probability=spec.random_architecture_probability,
        )

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """A random newcomer, or a child of the winners of tournaments."""
        towers = self.towers(history)
        begun = len(towers) + len(history.unfinished)
        if not towers or begun < self.population_size or rng.random() < self.random_probability:
            return self.unlike_running(history, lambda: self.draw(history, rng))
        population = towers[-self.population_size :]
        return self.unlike_running(history, lambda: self._child(population, history, rng))

    def _child(self, population: list[Tower], history: History, rng: np.random.Generator) -> Proposal:
        parent = self._winner(population, rng)
        child = parent.architecture
        if rng.random() < self.crossover_probability:
            child = self.grammar.cross(child, self._winner(population, rng).architecture, rng)
        is_copy = self.grammar.canonical(child) == self.grammar.canonical(parent.architecture)
        if is_copy or rng.random() < self.mutate_probability:
            child = self.grammar.vary(child, rng, self.allowed_depth(history))
        return Proposal(child, parent=parent.trial.id)

    def _winner(self, population: list[Tower], rng: np.random.Generator) -> Tower:
        drawn = rng.integers(len(population), size=self.sample_size)
        return min((population[i] for i in drawn), key=lambda tower: (tower.loss, tower.trial.id))
