"""Architectures: legal orders of blocks, how they grow and change, and how deep they may be."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from model_search.blocks import catalogue
from model_search.errors import SpecError
from model_search.spec import check

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

Architecture = tuple[str, ...]

CNN = "CNN"
EMPTY_BLOCK = "EMPTY_BLOCK"
DEFAULT_FLATTEN = "PLATE_REDUCTION_FLATTEN"


def fix_order(architecture: Sequence[str], problem_type: str) -> Architecture:
    """Puts the blocks into a legal order.

    In a CNN: the blocks whose order matters (convolutions) in their order, one flatten block (the first there is, else
    a `PLATE_REDUCTION_FLATTEN`), then the others (dense layers) in their order. Elsewhere every order is legal.
    `EMPTY_BLOCK` is only padding and vanishes.

    Args:
        architecture: Names of blocks, input to output.
        problem_type: Name of the spec's problem type ("CNN", "DNN", ...).
    """
    blocks = [name for name in architecture if name != EMPTY_BLOCK]
    if problem_type != CNN:
        return tuple(blocks)
    flatten = next((name for name in blocks if catalogue.get(name).is_flatten), DEFAULT_FLATTEN)
    body = [name for name in blocks if not catalogue.get(name).is_flatten]
    ordered = [name for name in body if catalogue.get(name).order_important]
    unordered = [name for name in body if not catalogue.get(name).order_important]
    return (*ordered, flatten, *unordered)


def canonical(architecture: Sequence[str], problem_type: str) -> Architecture:
    """The one form of all architectures that build the same tower; the only place where equivalence is decided."""
    return fix_order(architecture, problem_type)


def grow(architecture: Sequence[str], block: str, problem_type: str) -> Architecture:
    """Adds a block.

    In a CNN a block whose order matters becomes the last convolution (just before the first block whose order does
    not matter); any other block becomes the last one, as everywhere else.
    """
    if problem_type == CNN and catalogue.get(block).order_important:
        place = next(
            (i for i, name in enumerate(architecture) if not catalogue.get(name).order_important), len(architecture)
        )
        return fix_order((*architecture[:place], block, *architecture[place:]), problem_type)
    return fix_order((*architecture, block), problem_type)


def replaceable_positions(architecture: Sequence[str]) -> list[int]:
    """Positions that a mutation may replace: all but the flatten blocks."""
    return [i for i, name in enumerate(architecture) if not catalogue.get(name).is_flatten]


def replace(architecture: Sequence[str], position: int, block: str, problem_type: str) -> Architecture:
    """Replaces the block at `position` and puts the result into a legal order."""
    return fix_order((*architecture[:position], block, *architecture[position + 1 :]), problem_type)


def get_allowed_depth(completed: int, thresholds: Sequence[int], maximum_depth: int) -> int:
    """How many blocks an architecture may have to be grown to, given the number of completed trials.

    It is the index of the first threshold above `completed`, and `maximum_depth` from the last threshold on. Without
    thresholds they are 0, 5, 10, ...: depth 1 for the first five trials, 2 for the next five, and so on.

    >>> [get_allowed_depth(n, (), 5) for n in (0, 4, 5, 19, 20)]
    [1, 1, 2, 4, 5]
    >>> [get_allowed_depth(n, (10, 30, 50), 20) for n in (9, 10, 30, 50)]
    [0, 1, 2, 20]

    Raises:
        SpecError: if there are more thresholds than `maximum_depth`.
    """
    if len(thresholds) > maximum_depth:
        raise SpecError(
            f"increase_complexity_minimum_trials has {len(thresholds)} values but maximum_depth is {maximum_depth}; "
            "give at most one value for each depth"
        )
    steps = list(thresholds) or [5 * depth for depth in range(maximum_depth)]
    if not steps or completed >= steps[-1]:
        return maximum_depth
    return next(index for index, threshold in enumerate(steps) if threshold > completed)


@dataclasses.dataclass(frozen=True)
class Grammar:
    """The architectures that a spec speaks of: its blocks, its problem type and its depths.

    A flatten block that `fix_order` puts into a CNN counts towards its size.
    """

    blocks: tuple[str, ...]
    problem_type: str
    minimum_depth: int
    maximum_depth: int

    def __post_init__(self) -> None:
        if not self.blocks:
            raise SpecError("blocks_to_use names no block; name at least one")
        if not 1 <= self.minimum_depth <= self.maximum_depth:
            raise SpecError(
                f"minimum_depth is {self.minimum_depth} and maximum_depth is {self.maximum_depth}; "
                "expected 1 <= minimum_depth <= maximum_depth"
            )

    @classmethod
    def of(cls, spec: PhoenixSpec) -> Grammar:
        """Reads the grammar out of a spec."""
        return cls(
            blocks=tuple(dict.fromkeys(name for name in spec.blocks_to_use if name != EMPTY_BLOCK)),
            problem_type=check.problem_type(spec),
            minimum_depth=spec.minimum_depth,
            maximum_depth=spec.maximum_depth,
        )

    def draw_block(self, rng: np.random.Generator) -> str:
        """One block, all equally likely."""
        return self.blocks[int(rng.integers(len(self.blocks)))]

    def random(self, rng: np.random.Generator) -> Architecture:
        """`minimum_depth` blocks drawn independently, in a legal order."""
        return fix_order([self.draw_block(rng) for _ in range(self.minimum_depth)], self.problem_type)

    def grow(self, architecture: Sequence[str], rng: np.random.Generator) -> Architecture:
        """The architecture with one more block, drawn at random."""
        return grow(architecture, self.draw_block(rng), self.problem_type)

    def mutate(self, architecture: Sequence[str], rng: np.random.Generator) -> Architecture:
        """The architecture with a random block, which may be the same again, at a random place."""
        block = self.draw_block(rng)
        positions = replaceable_positions(architecture)
        if not positions:
            return grow(architecture, block, self.problem_type)
        return replace(architecture, positions[int(rng.integers(len(positions)))], block, self.problem_type)

    @property
    def draws(self) -> range:
        """How many blocks may be drawn for an architecture (besides a flatten block that is put in)."""
        added = 1 if self.problem_type == CNN else 0
        return range(self.minimum_depth, max(self.minimum_depth, self.maximum_depth - added) + 1)

    def enumerate(self, draws: int, rng: np.random.Generator) -> Iterator[Architecture]:
        """Every architecture of `draws` drawn blocks, each once, the blocks in a random order."""
        shuffled = [self.blocks[i] for i in rng.permutation(len(self.blocks))]
        seen: set[Architecture] = set()
        for drawn in itertools.product(shuffled, repeat=draws):
            architecture = fix_order(drawn, self.problem_type)
            # Outside a CNN no two draws give the same architecture, and there is nothing to remember.
            if self.problem_type == CNN:
                if architecture in seen:
                    continue
                seen.add(architecture)
            yield architecture
