"""How the paths of a supernet are chosen: in training, and when architectures are compared."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np

from model_search.metadata.trial import Candidate, HyperparameterValue, TrialPlan
from model_search.ranking import Objective
from model_search.training.supernet.paths import Path, Paths
from model_search.training.supernet.shared_weights import SharedWeights

RANDOM_SHARE = 0.25  # of the candidates are drawn from the whole space
_POPULATION, _SAMPLE = 50, 10


class Method(abc.ABC):
    """Trains shared weights and proposes architectures.

    Attributes:
        name: What a plan calls it.
        shared: The shared weights.
        paths: The architectures there are.
        plan: The plan.
        loss_of: The study's metric of a path as a loss, on the first validation rows or on all.
    """

    name: ClassVar[str]

    def __init__(
        self, shared: SharedWeights, paths: Paths, plan: TrialPlan, loss_of: Callable[[Path, int | None], float]
    ) -> None:
        self.shared = shared
        self.paths = paths
        self.plan = plan
        self.loss_of = loss_of

    @property
    def settings(self) -> Mapping[str, HyperparameterValue]:
        """The settings of the method that the plan has."""
        return self.paths.plan.settings

    @abc.abstractmethod
    def step(self, rows: np.ndarray, rate: float, rng: np.random.Generator) -> float:
        """One update on training rows with these numbers; returns the loss."""

    def propose(self, scored: Sequence[Candidate], objective: Objective, rng: np.random.Generator) -> Path:
        """An architecture to compare next: here a child of the best of a few of the latest ones."""
        latest = scored[-_POPULATION:]
        drawn = [latest[int(rng.integers(len(latest)))] for _ in range(_SAMPLE)]
        parent = min(drawn, key=lambda candidate: objective.loss(candidate.value))
        return self.paths.vary(parent.choices, rng)

    def state(self) -> dict[str, np.ndarray]:
        """What it has learnt itself, by name."""
        return {}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Goes on from what `state` gave."""
        del arrays

    def metrics(self) -> dict[str, float]:
        """Finite figures of its training, by name, for the record of the trial."""
        return {}


class SinglePath(Method):
    """A path for each update, drawn at random; then evolution by the validation rows.

    Paper: Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", ECCV 2020. Departure:
    regularized evolution in place of the paper's.
    """

    name = "SPOS"

    def step(self, rows: np.ndarray, rate: float, rng: np.random.Generator) -> float:
        """See `Method`."""
        return self.shared.train(np.array(self.paths.random(rng)), rows, rate)
