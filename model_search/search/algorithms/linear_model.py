"""LINEAR_MODEL: a ridge regression over which block stands where."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model_search.errors import SpecError
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.algorithms.registry import register_search
from model_search.search.algorithms.tower_search import Tower, TowerSearch, best_and_latest, one_thread
from model_search.search.history.history import History
from model_search.search.space.architecture import EMPTY_BLOCK, Architecture, body_of, fix_order
from model_search.search.space.grammar import Grammar

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
    from model_search.spec.check import Checker

_Floats = NDArray[np.float64]

ALIGNMENTS = ("NET_ALIGN_HEAD", "NET_ALIGN_BASE")

_BEST, _LATEST = 200, 200
_MUTATIONS = 64
_TRIALS_FOR_OUTLIERS = 10


def _check(checker: Checker) -> None:
    settings, path = checker.spec.linear_model, ("linear_model",)
    checker.at_least(settings, 0, path, ["ridge_penalty"])
    checker.at_least(settings, 1, path, ["trials_before_fit"])


@register_search(
    "LINEAR_MODEL",
    message="linear_model",
    describe=lambda spec: (
        f"after {spec.linear_model.trials_before_fit} random towers, what a linear model of their blocks finds best."
    ),
    check=_check,
)
@dataclasses.dataclass(frozen=True)
class LinearModel(TowerSearch):
    """A linear model of the loss: each block at each position has its own weight.

    After `trials_before_fit` random towers of `minimum_depth` blocks, each proposal takes at each position the block of
    the least weight, an empty one being one of them (ties are broken at random). Then, with probability
    `grow_probability` and where the depth allows it, a random block is added; a tower that was tried is changed at a
    random place until it is new.

    Paper: Mazzawi et al., Interspeech 2019, which this search came with; Hoerl and Kennard, "Ridge Regression",
    Technometrics 1970. Departures from the archived system: towers grow up to the allowed depth and not beyond it; no
    position up to `minimum_depth` is empty; bad trials are left out by the 90th percentile where losses are not all
    positive, for ten times the median means nothing there; what is running counts as tried; and of more than 400 trials
    the model sees the 200 best and the 200 latest.

    Attributes:
        alignment: "NET_ALIGN_HEAD" (positions are counted from the input) or "NET_ALIGN_BASE" (from the output).
        ridge_penalty: Weight of the squared weights.
        remove_outliers: Whether bad trials are left out, from ten trials on.
        trials_before_fit: Random trials at the beginning.
        grow_probability: How often a block is added, where there is room.
    """

    grammar: Grammar
    alignment: str = "NET_ALIGN_HEAD"
    ridge_penalty: float = 0.001
    remove_outliers: bool = True
    trials_before_fit: int = 10
    grow_probability: float = 1.0

    def __post_init__(self) -> None:
        if self.alignment not in ALIGNMENTS:
            raise SpecError(f"network_alignment is {self.alignment}; expected one of {', '.join(ALIGNMENTS)}")
        if not self.ridge_penalty >= 0:
            raise SpecError(f"ridge_penalty is {self.ridge_penalty:g}; expected 0 or more")
        if self.trials_before_fit < 1:
            raise SpecError(f"trials_before_fit is {self.trials_before_fit}; expected at least 1")

    @classmethod
    def of(cls, spec: PhoenixSpec) -> LinearModel:
        """The linear model that a spec asks for."""
        settings = spec.linear_model
        name = type(settings).NetworkAlignment.Name(settings.network_alignment)
        return cls(
            grammar=Grammar.of(spec),
            alignment=ALIGNMENTS[0] if name == "NET_ALIGN_UNSPECIFIED" else name,
            ridge_penalty=settings.ridge_penalty,
            remove_outliers=settings.remove_outliers,
            trials_before_fit=settings.trials_before_fit,
            grow_probability=spec.increase_complexity_probability,
        )

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """What the model thinks best, or near to it."""
        towers = [tower for tower in self.towers_with_failed(history) if self.grammar.fits(tower.architecture)]
        if not towers or len(towers) < self.trials_before_fit:
            return self.unlike_running(
                history, lambda: Proposal(self.grammar.random(rng), random=self.grammar.is_fixed)
            )
        with one_thread():
            best = self._best(self._kept(best_and_latest(towers, _BEST, _LATEST)), rng)
        tried, allowed = self.tried(history), self.allowed_depth(history)
        if rng.random() < self.grow_probability and len(best) < allowed and not self.grammar.is_fixed:
            best = self.grammar.grow(best, rng)
        for _ in range(_MUTATIONS):
            if self.grammar.canonical(best) not in tried and not history.failures.avoids(best):
                break
            best = self.grammar.mutate(best, rng)
        return Proposal(best)

    def _kept(self, towers: list[Tower]) -> list[Tower]:
        """The trials without outliers; all where none would be left."""
        if not self.remove_outliers or len(towers) < _TRIALS_FOR_OUTLIERS:
            return towers
        losses = np.array([tower.loss for tower in towers])
        limit = float(np.percentile(losses, 90, method="higher"))
        if losses.min() > 0:
            limit = min(limit, 10 * float(np.median(losses)))
        return [tower for tower in towers if tower.loss < limit] or towers

    def _best(self, towers: list[Tower], rng: np.random.Generator) -> Architecture:
        """At each position the block of the least weight."""
        bodies = [body_of(tower.architecture) for tower in towers]
        depth = max(*map(len, bodies), self.grammar.minimum_depth)
        names = (*self.grammar.blocks, EMPTY_BLOCK)
        weights = self._weights([self._padded(body, depth) for body in bodies], names, towers)
        chosen = []
        for place in range(depth):
            # Counted from the end that the towers are aligned at.
            nearness = place if self.alignment == ALIGNMENTS[0] else depth - 1 - place
            possible = self._possible(place, nearness)
            shown = np.array([weights[place, names.index(name)] for name in possible])
            least = np.flatnonzero(shown == shown.min())
            chosen.append(possible[int(rng.choice(least))])
        blocks = [name for name in chosen if name != EMPTY_BLOCK]
        return fix_order(blocks[: self._limit], self.grammar.problem_type)

    def _padded(self, body: Architecture, depth: int) -> Architecture:
        padding = (EMPTY_BLOCK,) * (depth - len(body))
        return body + padding if self.alignment == ALIGNMENTS[0] else padding + body

    def _weights(self, padded: list[Architecture], names: tuple[str, ...], towers: list[Tower]) -> _Floats:
        """The weight of each name at each position, [depth, names]."""
        depth, known = len(padded[0]), {name: number for number, name in enumerate(names)}
        rows = np.zeros((len(padded), depth, len(names)))
        for row, body in zip(rows, padded, strict=True):
            for place, name in enumerate(body):
                if name in known:
                    row[place, known[name]] = 1
        inputs = rows.reshape(len(padded), depth * len(names))
        losses = np.array([tower.loss for tower in towers])
        inputs, losses = inputs - inputs.mean(axis=0), losses - losses.mean()
        # The dual of the ridge regression: one unknown a trial, of which there are fewer than of blocks and positions.
        gram = inputs @ inputs.T + max(self.ridge_penalty, 1e-9) * np.eye(len(losses))
        return (inputs.T @ np.linalg.solve(gram, losses)).reshape(depth, len(names))

    def _possible(self, place: int, nearness: int) -> tuple[str, ...]:
        choices = self.grammar.choices(place)
        return choices if nearness < self.grammar.minimum_depth else (*choices, EMPTY_BLOCK)

    @property
    def _limit(self) -> int:
        """The most blocks besides a flatten block."""
        return max(self.grammar.maximum_depth - self.grammar.problem_type.added_size, self.grammar.minimum_depth)
