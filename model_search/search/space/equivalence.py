"""Which architectures build the same tower: stages, blocks that change nothing, and equal graphs of cells."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from model_search import cells
from model_search.errors import SpecError

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


@dataclasses.dataclass(frozen=True)
class Stage:
    """Positions of a tower of fixed length that belong together.

    Attributes:
        first: Its first position, from 0.
        last: Its last position, included.
        first_changes_shape: Whether the block at `first` changes the shape, and so keeps its position.
    """

    first: int
    last: int
    first_changes_shape: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last:
            raise SpecError(f"a stage goes from {self.first} to {self.last}; expected 0 <= first <= last")

    @property
    def interchangeable(self) -> slice:
        """Positions among which an identity block may stand anywhere."""
        return slice(self.first + int(self.first_changes_shape), self.last + 1)


@dataclasses.dataclass(frozen=True)
class Equivalence:
    """When two architectures are the same tower.

    Without stages an identity block may be left out. With stages, where a position has a meaning of its own (its
    stride, its number of channels), an identity block may only be swapped with the others of its stage.

    Attributes:
        identity_blocks: Blocks that change nothing.
        stages: Stages that do not overlap; a position in none of them is one by itself.
        of_cells: Whether architectures are graphs of cells, of which those that differ in the order of nodes, or of the
            edges of a node, are the same.
    """

    identity_blocks: frozenset[str] = frozenset()
    stages: tuple[Stage, ...] = ()
    of_cells: bool = False

    def __post_init__(self) -> None:
        ordered = sorted(self.stages, key=lambda stage: stage.first)
        for before, after in itertools.pairwise(ordered):
            if after.first <= before.last:
                raise SpecError(
                    f"the stages {before.first}-{before.last} and {after.first}-{after.last} overlap; "
                    "give each position to one stage at most"
                )

    @classmethod
    def of(cls, spec: PhoenixSpec) -> Equivalence:
        """Reads the rules out of a spec."""
        return cls(
            frozenset(spec.identity_blocks),
            tuple(Stage(stage.first, stage.last, stage.first_changes_shape) for stage in spec.stages),
            spec.HasField("cell"),
        )

    @property
    def is_trivial(self) -> bool:
        """Whether no two architectures are the same."""
        return not self.identity_blocks and not self.of_cells

    def reduce(self, blocks: Sequence[str]) -> tuple[str, ...]:
        """The canonical form of these blocks (without flatten blocks).

        >>> stage = Stage(0, 3)
        >>> Equivalence(frozenset({"I"}), (stage,)).reduce(["I", "I", "A", "B"])
        ('I', 'A', 'B', 'I')
        >>> Equivalence(frozenset({"I"})).reduce(["I", "I", "A", "B"])
        ('A', 'B')
        """
        if self.of_cells:
            return cells.canonical(blocks)
        if not self.identity_blocks:
            return tuple(blocks)
        if not self.stages:
            return tuple(name for name in blocks if name not in self.identity_blocks)
        return _identities_last(tuple(blocks), self.identity_blocks, self.stages)


def _identities_last(
    blocks: tuple[str, ...], identity_blocks: frozenset[str], stages: tuple[Stage, ...]
) -> tuple[str, ...]:
    """Each stage with its identity blocks, in their order, behind the others that may change places with them."""
    # Searches ask for the form of hundreds of long towers, most of which keep theirs.
    if identity_blocks.isdisjoint(blocks):
        return blocks
    for stage in stages:
        places = stage.interchangeable
        inside = blocks[places]
        if not identity_blocks.isdisjoint(inside):
            others = [name for name in inside if name not in identity_blocks]
            identities = [name for name in inside if name in identity_blocks]
            blocks = (*blocks[: places.start], *others, *identities, *blocks[places.stop :])
    return blocks
