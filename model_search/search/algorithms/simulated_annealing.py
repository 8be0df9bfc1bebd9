"""SIMULATED_ANNEALING: a walk that takes steps for the worse, ever more rarely."""

from __future__ import annotations

import dataclasses
import math
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

_LEAST_TEMPERATURE = 1e-6


def _check(checker: Checker) -> None:
    settings, path = checker.spec.simulated_annealing, ("simulated_annealing",)
    if not settings.initial_temperature > 0:
        checker.add(
            f"initial_temperature is {settings.initial_temperature:.7g}; expected more than 0.",
            (*path, "initial_temperature"),
        )
    if not 0 < settings.cooling <= 1:
        checker.add(f"cooling is {settings.cooling:.7g}; expected a factor above 0 and at most 1.", (*path, "cooling"))


@register_search(
    "SIMULATED_ANNEALING",
    message="simulated_annealing",
    describe=lambda spec: (
        f"a random walk that cools from {spec.simulated_annealing.initial_temperature:.7g} by "
        f"{spec.simulated_annealing.cooling:.7g} a trial."
    ),
    check=_check,
)
@dataclasses.dataclass(frozen=True)
class SimulatedAnnealing(TowerSearch):
    """A random walk from tower to tower.

    The walk is where the last accepted trial is; a proposal is one change away. A completed trial that is better than
    where the walk stands is accepted; one that is worse by d is accepted with probability exp(-d / (T s)), where s is
    the standard deviation of the metric among the trials so far (which makes the temperature T a number without unit),
    and T falls by a factor with each completed trial. With the same specification it needs no other state than the
    trials: the walk is done again from its beginning, in the order of completion, and the coin of each trial comes from
    the trial's own seed. Trials of parallel workers are steps of the one walk.

    Paper: Kirkpatrick, Gelatt and Vecchi, "Optimization by Simulated Annealing", Science 1983.

    Attributes:
        initial_temperature: T at the first trial, in standard deviations of the metric.
        cooling: The factor by which T falls, above 0, at most 1.
    """

    grammar: Grammar
    initial_temperature: float = 1.0
    cooling: float = 0.97

    def __post_init__(self) -> None:
        if not self.initial_temperature > 0:
            raise SpecError(f"initial_temperature is {self.initial_temperature:g}; expected more than 0")
        if not 0 < self.cooling <= 1:
            raise SpecError(f"cooling is {self.cooling:g}; expected a factor above 0 and at most 1")

    @classmethod
    def of(cls, spec: PhoenixSpec) -> SimulatedAnnealing:
        """The annealing that a spec asks for."""
        settings = spec.simulated_annealing
        return cls(Grammar.of(spec), settings.initial_temperature, settings.cooling)

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """One change away from where the walk stands; random where it has not begun."""
        towers = self.towers(history)
        if not towers:
            return self.unlike_running(history, lambda: self.draw(history, rng))
        here, allowed = self._walk(towers), self.allowed_depth(history)
        return self.unlike_running(
            history, lambda: Proposal(self.grammar.vary(here.architecture, rng, allowed), parent=here.trial.id)
        )

    def _walk(self, towers: list[Tower]) -> Tower:
        """Where the walk stands after these trials."""
        here, temperature = towers[0], self.initial_temperature
        total, squares = here.loss, 0.0
        for number, tower in enumerate(towers[1:], start=2):
            # Welford's way of keeping a variance.
            before = tower.loss - total / (number - 1)
            total += tower.loss
            squares += before * (tower.loss - total / number)
            spread = math.sqrt(max(squares, 0.0) / number)  # nothing, where results differ by very little
            temperature = max(temperature * self.cooling, _LEAST_TEMPERATURE)
            worse = tower.loss - here.loss
            if worse <= 0 or not spread > 0 or _coin(tower) < math.exp(-worse / (temperature * spread)):
                here = tower
        return here


def _coin(tower: Tower) -> float:
    """A number from 0 to 1 that belongs to the trial: the finalizer of SplitMix64, on its seed and id."""
    plan = tower.trial.plan
    mixed = ((plan.seed if plan is not None else 0) << 20) + tower.trial.id + 0x9E3779B97F4A7C15
    mask = 2**64 - 1
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return (mixed ^ (mixed >> 31)) / 2**64
