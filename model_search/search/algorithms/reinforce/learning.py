"""What a controller has learnt, and from what."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model_search.search.algorithms.reinforce.controller import Controller
from model_search.search.algorithms.tower_search import Tower
from model_search.search.space.architecture import Architecture

Mark = tuple[int, tuple[tuple[int, float], ...]]

_BASELINE_DECAY = 0.9


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A batch that a replica has drawn."""

    replica: int
    towers: tuple[Tower, ...]

    @property
    def mark(self) -> Mark:
        """What tells it from others: the replica, the trials and their losses."""
        return self.replica, tuple((tower.trial.id, tower.loss) for tower in self.towers)


@dataclasses.dataclass
class Learnt:
    """A controller, what it has learnt from, and the scale of the rewards so far.

    Attributes:
        fetched: By replica the controller as it was when its latest batch was completed.
        beginning: The controller before it had learnt anything.
        past: What was drawn, without flatten blocks and embeddings, where it is remembered.
    """

    controller: Controller
    marks: list[Mark] = dataclasses.field(default_factory=list)
    fetched: dict[int, Controller] = dataclasses.field(default_factory=dict)
    past: list[Architecture] = dataclasses.field(default_factory=list)
    losses: list[float] = dataclasses.field(default_factory=list)  # sorted
    total: float = 0.0
    squares: float = 0.0
    baseline: float | None = None

    def __post_init__(self) -> None:
        self.beginning = self.controller.copy()

    def copy(self) -> Learnt:
        """One that learns by itself."""
        found = dataclasses.replace(
            self,
            controller=self.controller.copy(),
            losses=list(self.losses),
            fetched=dict(self.fetched),
            past=list(self.past),
        )
        found.beginning = self.beginning
        return found

    def advantages(self, losses: Sequence[float], shape: str) -> NDArray[np.float64]:
        """How much better than expected the trials of a batch were, [trials]; it then counts for what is expected."""
        rewards = np.array([self.reward(loss, shape) for loss in losses])
        if self.baseline is None:
            self.baseline = float(rewards.mean())
        advantages: NDArray[np.float64] = rewards - self.baseline
        self.baseline += (1 - _BASELINE_DECAY) * float(advantages.mean())
        return advantages

    def reward(self, loss: float, shape: str) -> float:
        """The reward of a trial, by the trials before it, which it then joins."""
        seen = len(self.losses)
        if shape == "STANDARDIZED":
            mean = self.total / seen if seen else loss
            deviation = (max(self.squares / seen - mean**2, 0.0)) ** 0.5 if seen else 0.0
            reward = float(np.clip((mean - loss) / deviation, -3, 3)) if deviation > 0 else 0.0
        else:
            share = (seen - bisect.bisect_right(self.losses, loss)) / seen if seen else 0.5
            reward = share**3 if shape == "CUBE" else share
        bisect.insort(self.losses, loss)
        self.total += loss
        self.squares += loss**2
        return reward
