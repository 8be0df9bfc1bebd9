"""Landscapes: made-up spaces of networks whose best is known, for searches to be compared on.

Each name stands for a kind; a seed makes one of that kind, the same one each time. Larger values are better. Those of
one length are given by a table of all their networks, the others by a formula. Stuart Kauffman's NK model ("The Origins
of Order", 1993) gives the ones with interactions: the contribution of each position depends on its own block and on
those of K others.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping

import numpy as np
from nas_study import block, fix_hyperparameters, searched_by

from model_search.metadata.trial import TrialPlan
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

FAILS = math.nan


@dataclasses.dataclass(frozen=True)
class Landscape:
    """A space of networks with known values.

    Attributes:
        blocks: How many blocks there are.
        lengths: The least and the greatest number of blocks of a network.
        table: The value of each network of the greatest length, NaN where it cannot be trained. [blocks] * length
        formula: The value of a plan, instead of a table.
        best: The best value there is.
        noise: The standard deviation of what a trial shows about its value.
        tunes: Whether the learning rate is searched.
    """

    blocks: int
    lengths: tuple[int, int]
    best: float
    table: np.ndarray | None = None
    formula: Callable[[TrialPlan], float] | None = None
    noise: float = 0.0
    tunes: bool = False

    def value(self, plan: TrialPlan) -> float:
        """The value of a plan's network without noise; NaN where it cannot be trained."""
        if self.formula is not None:
            return self.formula(plan)
        if self.table is None:
            raise ValueError("a landscape has a table or a formula")
        return float(self.table[digits(plan)])

    @property
    def is_noisy(self) -> bool:
        """Whether a trial shows something else than the value."""
        return self.noise > 0

    def shown(self, plan: TrialPlan, rng: np.random.Generator) -> float:
        """What a trial shows of the value."""
        return self.value(plan) + self.noise * float(rng.standard_normal())

    def spec(self, contestant: str) -> PhoenixSpec:
        """The specification of a contestant's search."""
        least, most = self.lengths
        names = [block(str(digit)) for digit in range(self.blocks)]
        spec = PhoenixSpec(minimum_depth=least, maximum_depth=most, blocks_to_use=names, problem_type=PhoenixSpec.DNN)
        fix_hyperparameters(spec)
        if self.tunes:
            spec.learning_spec.learning_rate_range[0].minimum = 1e-4
            spec.learning_spec.learning_rate_range[0].maximum = 1e-1
        return searched_by(contestant, spec)


def digits(plan: TrialPlan) -> tuple[int, ...]:
    """The network of a plan as numbers of its blocks."""
    return tuple(int(name[-1]) for name in plan.architecture)


def _of_table(table: np.ndarray, noise_share: float = 0.0) -> Landscape:
    """The landscape of a table in units of the spread of its networks; noise as a share of the best tenth's spread."""
    good = table[np.isfinite(table)]
    table = (table - good.mean()) / good.std()
    best_tenth = np.sort(table[np.isfinite(table)])[-max(len(good) // 10, 2) :]
    return Landscape(
        blocks=table.shape[0],
        lengths=(table.ndim, table.ndim),
        best=float(np.nanmax(table)),
        table=table,
        noise=noise_share * float(best_tenth.std()),
    )


def _interacting(seed: int, positions: int, blocks: int, neighbours: int) -> np.ndarray:
    """An NK model: each position's contribution depends on its block and those of `neighbours` random others."""
    rng = np.random.default_rng(seed)
    table = np.zeros((blocks,) * positions)
    for position in range(positions):
        others = rng.choice([p for p in range(positions) if p != position], neighbours, replace=False)
        involved = {position, *map(int, others)}
        shape = [blocks if p in involved else 1 for p in range(positions)]
        table = table + rng.random(shape)
    return table


def _sparse_triples(seed: int, positions: int, blocks: int) -> np.ndarray:
    """Positions that count by themselves, and a few effects of three of them together."""
    rng = np.random.default_rng(seed)
    table = _interacting(seed, positions, blocks, 0)
    for _ in range(10):
        triple = rng.choice(positions, 3, replace=False)
        place: list[int | slice] = [slice(None)] * positions
        for position in triple:
            place[int(position)] = int(rng.integers(blocks))
        table[tuple(place)] += rng.normal()
    return table


def _dead_ends(seed: int, positions: int, blocks: int) -> np.ndarray:
    """Block 0 annuls what stands before it; what stands after it still counts."""
    rng = np.random.default_rng(seed)
    gains = rng.random((positions, blocks)) + 0.5
    follows = rng.normal(scale=0.3, size=(positions, blocks, blocks))
    table = np.zeros((blocks,) * positions)
    for network in np.ndindex(table.shape):
        value = 0.0
        for position, chosen in enumerate(network):
            previous = network[position - 1] if position else 0
            value = (
                0.3 * value if chosen == 0 else value + gains[position, chosen] + follows[position, previous, chosen]
            )
        table[network] = value
    return table


def _many_names(seed: int, positions: int, blocks: int) -> np.ndarray:
    """Only which blocks there are counts, not their order: up to `positions`! networks are the same."""
    rng = np.random.default_rng(seed)
    weights, together = rng.normal(size=blocks), rng.normal(size=(blocks, blocks))
    counts = np.stack([(np.indices((blocks,) * positions) == one).sum(axis=0) for one in range(blocks)], axis=-1)
    reached = np.sqrt(counts)
    return reached @ weights + 0.5 * np.einsum("...i,ij,...j->...", reached, together, reached)


def _plateaus(seed: int, positions: int, blocks: int) -> np.ndarray:
    """Few levels, each as wide as a sixth of the range, and rare peaks one level above what surrounds them."""
    rng = np.random.default_rng(seed)
    smooth = _interacting(seed, positions, blocks, 1)
    levels = np.floor(6 * (smooth - smooth.min()) / (np.ptp(smooth) + 1e-9))
    return levels + (rng.random(levels.shape) < 0.01) + 1e-3 * smooth


def _heavy_tail(seed: int, positions: int, blocks: int, neighbours: int) -> np.ndarray:
    """Strong interactions, and a tenth of the networks that lie far below the others."""
    table = _interacting(seed, positions, blocks, neighbours)
    low = np.quantile(table, 0.1)
    hashed = np.random.default_rng(seed + 1).exponential(4 * table.std(), table.shape)
    return np.where(table < low, table - hashed, table)


def _failing(seed: int, positions: int, blocks: int, share: float) -> np.ndarray:
    """Networks with certain pairs of neighbouring blocks cannot be trained: about `share` of them."""
    rng = np.random.default_rng(seed)
    table, bad = _interacting(seed, positions, blocks, 1), np.zeros((blocks,) * positions, bool)
    indices = np.indices(table.shape)
    for position, first, second in rng.permutation(list(np.ndindex(positions - 1, blocks, blocks))):
        if bad.mean() >= share:
            break
        bad |= (indices[position] == first) & (indices[position + 1] == second)
    return np.where(bad, FAILS, table)


def _free_length(seed: int, blocks: int, most: int) -> Landscape:
    """Networks of 1 to `most` blocks: each block's gain, what follows what, and a depth that suits the blocks."""
    rng = np.random.default_rng(seed)
    gains, follows, size = rng.random(blocks), rng.normal(scale=0.5, size=(blocks, blocks)), rng.uniform(0.5, 2, blocks)

    def value(chosen: tuple[int, ...]) -> float:
        found = sum(gains[one] * 0.9**place for place, one in enumerate(chosen))
        found += sum(follows[one, two] for one, two in itertools.pairwise(chosen))
        return float(found - 0.3 * (sum(size[one] for one in chosen) - 5.0) ** 2 / 5.0)

    every = [value(chosen) for n in range(1, most + 1) for chosen in itertools.product(range(blocks), repeat=n)]
    return Landscape(blocks, (1, most), max(every), formula=lambda plan: value(digits(plan)))


def _tuned(seed: int, positions: int, blocks: int) -> Landscape:
    """The best learning rate depends on the network, and how much it counts, too."""
    rng = np.random.default_rng(seed)
    table = _of_table(_interacting(seed, positions, blocks, 1)).table
    suits, width = rng.uniform(0, 1, (positions, blocks)), rng.uniform(0.15, 0.5, blocks)

    def value(plan: TrialPlan) -> float:
        network = digits(plan)
        suited = float(np.mean([suits[position, chosen] for position, chosen in enumerate(network)]))
        rate = math.log(float(plan.hyperparameters["learning_rate"]) / 1e-4) / math.log(1e3)
        return float(table[network] - 2 * min(((rate - suited) / width[network[0]]) ** 2, 4.0))

    return Landscape(blocks, (positions, positions), float(table.max()), formula=value, tunes=True)


# Made anew for each seed, so that no search can be fitted to a single one.
LANDSCAPES: Mapping[str, Callable[[int], Landscape]] = {
    "additive": lambda seed: _of_table(_interacting(seed, 8, 4, 0)),
    "nk1": lambda seed: _of_table(_interacting(seed, 8, 4, 1)),
    "nk2": lambda seed: _of_table(_interacting(seed, 8, 4, 2)),
    "nk3": lambda seed: _of_table(_interacting(seed, 8, 4, 3)),
    "nk4_binary": lambda seed: _of_table(_interacting(seed, 15, 2, 4)),
    "triples": lambda seed: _of_table(_sparse_triples(seed, 8, 4)),
    "wide": lambda seed: _of_table(_interacting(seed, 4, 10, 1)),
    "dead_ends": lambda seed: _of_table(_dead_ends(seed, 7, 4)),
    "many_names": lambda seed: _of_table(_many_names(seed, 7, 5)),
    "plateaus": lambda seed: _of_table(_plateaus(seed, 8, 3)),
    "heavy_tail": lambda seed: _of_table(_heavy_tail(seed, 8, 4, 3)),
    "noise_half": lambda seed: _of_table(_interacting(seed, 8, 4, 1), 0.5),
    "noise_full": lambda seed: _of_table(_interacting(seed, 8, 4, 2), 1.0),
    "failing_10": lambda seed: _of_table(_failing(seed, 8, 4, 0.1)),
    "failing_30": lambda seed: _of_table(_failing(seed, 8, 4, 0.3)),
    "failing_90": lambda seed: _of_table(_failing(seed, 8, 4, 0.9)),
    "free_length": lambda seed: _free_length(seed, 5, 6),
    "tuned": lambda seed: _tuned(seed, 6, 4),
}
