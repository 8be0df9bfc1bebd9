"""ENAS: a controller draws the paths, and learns from what shared weights reach on validation rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_search.metadata.trial import Candidate
from model_search.ranking import Objective
from model_search.search.algorithms.reinforce.controller import Batch, Controller, probabilities
from model_search.training.supernet.method import Method
from model_search.training.supernet.paths import Path

_PATHS = 5  # that the controller learns from at a time
_ROWS = 256  # validation rows that a path is rewarded on
_DECAY = 0.95  # of the moving baseline
_HOTTER, _DRAWS = 1.15, 16  # a path that was compared is drawn anew, at a higher temperature


class SharedByController(Method):
    """Weights are trained on paths that a recurrent network draws; in turn it learns by REINFORCE.

    Paper: Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018 (the micro space).
    Departures: the two take turns within an epoch, and the first validation rows give every reward.
    """

    name = "ENAS"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        settings, space = self.settings, self.paths.plan.positions
        self._blocks = self.paths.grammar.blocks
        self._possible = np.zeros((len(space), len(self._blocks) + 1), dtype=bool)
        for position, names in enumerate(space):
            self._possible[position, [self._blocks.index(name) + 1 for name in names]] = True
        rng = np.random.default_rng([self.plan.seed, 1])
        self._controller = Controller.make(len(self._blocks) + 1, int(settings["controller_units"]), rng)
        self._baseline: float | None = None
        self._updates = 0

    def step(self, rows: np.ndarray, rate: float, rng: np.random.Generator) -> float:
        """See `Method`; every few updates the controller learns first."""
        if self._updates and self._updates % int(self.settings["controller_every"]) == 0:
            self._learn(rng)
        self._updates += 1
        return self.shared.train(np.array(self._path(self._draw(rng))), rows, rate)

    def propose(self, scored: Sequence[Candidate], objective: Objective, rng: np.random.Generator) -> Path:
        """What the controller draws."""
        known = {candidate.choices for candidate in scored}
        path = self._path(self._draw(rng))
        for draw in range(1, _DRAWS):
            if path not in known:
                break
            path = self._path(self._draw(rng, _HOTTER**draw))
        return path

    def state(self) -> dict[str, np.ndarray]:
        """See `Method`."""
        controller = self._controller
        parts = {"weights": controller.weights, "first": controller.moments[0], "second": controller.moments[1]}
        arrays = {f"{part}/{name}": array for part, found in parts.items() for name, array in found.items()}
        baseline = np.nan if self._baseline is None else self._baseline
        return arrays | {"counts": np.array([controller.updates, self._updates]), "baseline": np.array(baseline)}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """See `Method`."""
        first, second = (_part(arrays, part) for part in ("first", "second"))
        counts = arrays["counts"]
        self._controller = Controller(_part(arrays, "weights"), (first, second), int(counts[0]))
        self._updates = int(counts[1])
        self._baseline = None if np.isnan(arrays["baseline"]) else float(arrays["baseline"])

    def _learn(self, rng: np.random.Generator) -> None:
        drawn = [self._draw(rng) for _ in range(_PATHS)]
        rewards = np.array([-self.loss_of(self._path(tokens), _ROWS) for tokens in drawn])
        rewards = np.where(np.isfinite(rewards), rewards, np.nanmin(rewards, initial=-1.0))
        if self._baseline is None:
            self._baseline = float(rewards.mean())
        advantages = rewards - self._baseline
        self._baseline += (1 - _DECAY) * float(advantages.mean())
        possible = np.broadcast_to(self._possible, (_PATHS, *self._possible.shape))
        batch = Batch(np.array(drawn), possible, advantages)
        settings = self.settings
        self._controller.learn(batch, float(settings["entropy_weight"]), float(settings["controller_learning_rate"]))

    def _draw(self, rng: np.random.Generator, temperature: float = 1.0) -> list[int]:
        """A token for each position."""
        state, before, tokens = self._controller.begin(), 0, []
        for possible in self._possible:
            logits, step = self._controller.step(np.array([before]), state)
            state = (step[0], step[1])
            shares = probabilities(logits[0] / temperature, possible)
            before = int(rng.choice(len(shares), p=shares))
            tokens.append(before)
        return tokens

    def _path(self, tokens: Sequence[int]) -> Path:
        return self.paths.path(tuple(self._blocks[token - 1] for token in tokens))


def _part(arrays: Mapping[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(f"{part}/"): array for name, array in arrays.items() if name.startswith(f"{part}/")}
