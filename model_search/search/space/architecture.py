"""Architectures: legal orders of blocks, how they grow and change, and how deep they may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from model_search import problem
from model_search.blocks import catalogue
from model_search.errors import SpecError
from model_search.problem import DEFAULT_FLATTEN, SEQUENCE_RANK, VECTOR_RANK, ProblemType
from model_search.search.space.equivalence import Equivalence
from model_search.spec import check

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

__all__ = [
    "DEFAULT_FLATTEN", "EMPTY_BLOCK", "NOTHING_IS_EQUIVALENT", "Architecture", "body_of", "canonical", "fix_order",
    "get_allowed_depth", "grow", "problem_type_of", "reorders", "replace", "replaceable_positions",
]  # fmt: skip

Architecture = tuple[str, ...]

EMPTY_BLOCK = "EMPTY_BLOCK"
NOTHING_IS_EQUIVALENT = Equivalence()


def problem_type_of(spec: PhoenixSpec) -> ProblemType:
    """The problem type of a spec, with the flatten block or the embedding that is added to its towers.

    The towers of a spec for sequences whose `blocks_to_use` names embeddings begin with one; with the first of these
    where they name none.

    Where `blocks_to_use` names the user's own flatten blocks and no stock one, the first of them is added instead of
    the usual one. A stock flatten block in `blocks_to_use` changes nothing, as in the archived system.
    """
    found = problem.problem_type(check.problem_type(spec))
    infos = [catalogue.get(name) for name in spec.blocks_to_use if catalogue.is_known(name)]
    embeddings = [info.name for info in infos if info.is_embedding]
    if embeddings and found.input_rank == SEQUENCE_RANK:
        found = dataclasses.replace(found, first_block=embeddings[0])
    if found.added_block is None:
        return found
    flatten = [info for info in infos if info.is_flatten]
    if flatten and not any(info.is_stock for info in flatten):
        return dataclasses.replace(found, added_block=flatten[0].name)
    return found


def fix_order(architecture: Sequence[str], problem_type: ProblemType) -> Architecture:
    """Puts the blocks into a legal order.

    Where blocks are ordered by rank (in a CNN): the blocks that read maps or sequences in their order, one flatten
    block (the first there is, else the one that the problem type adds), then the others (dense layers) in their order.
    In towers of sequences no block that reads sequences follows one that pools them (reads sequences and writes
    vectors), of which there is one, the first; and of token ids, an embedding comes first, the first there is, else the
    one that the problem type has. Every other order is legal. `EMPTY_BLOCK` is only padding and vanishes.

    Args:
        architecture: Names of blocks, input to output.
        problem_type: The problem type.
    """
    blocks = [name for name in architecture if name != EMPTY_BLOCK]
    if not problem_type.ordered_by_rank:
        if problem_type.input_rank != SEQUENCE_RANK:
            return tuple(blocks)
        return _embedded_first(_pooled_last(blocks), problem_type)
    flatten: list[str] = []
    ordered: list[str] = []
    unordered: list[str] = []
    for name in blocks:
        info = catalogue.get(name)
        (flatten if info.is_flatten else ordered if info.order_important else unordered).append(name)
    added = [] if problem_type.added_block is None else [problem_type.added_block]
    return (*ordered, *(flatten or added)[:1], *unordered)


def reorders(blocks: Sequence[str], problem_type: ProblemType) -> bool:
    """Whether `fix_order` may change the order of some architecture of these blocks."""
    pools = any(map(_pools_sequences, map(catalogue.get, blocks)))
    embeds = any(catalogue.get(name).is_embedding for name in blocks)
    return problem_type.ordered_by_rank or (problem_type.input_rank == SEQUENCE_RANK and (pools or embeds))


def _pools_sequences(info: catalogue.BlockInfo) -> bool:
    return info.reads_rank == SEQUENCE_RANK and info.output_rank(SEQUENCE_RANK) == VECTOR_RANK


def _pooled_last(blocks: Sequence[str]) -> Architecture:
    """The first pooling block after all blocks that read sequences, without other ones; the rest stays as it is."""
    infos = [catalogue.get(name) for name in blocks]
    pools = [info for info in infos if _pools_sequences(info)]
    if not pools:
        return tuple(blocks)
    first = infos.index(pools[0])
    later = [info for info in infos[first:] if not _pools_sequences(info)]
    reading = [info.name for info in later if info.reads_rank == SEQUENCE_RANK]
    others = [info.name for info in later if info.reads_rank != SEQUENCE_RANK]
    return (*blocks[:first], *reading, pools[0].name, *others)


def _embedded_first(blocks: Sequence[str], problem_type: ProblemType) -> Architecture:
    """One embedding, if there is any, before all other blocks."""
    embeddings = [name for name in blocks if catalogue.get(name).is_embedding]
    added = [] if problem_type.first_block is None else [problem_type.first_block]
    return (*(embeddings or added)[:1], *(name for name in blocks if name not in embeddings))


def canonical(
    architecture: Sequence[str], problem_type: ProblemType, equivalence: Equivalence = NOTHING_IS_EQUIVALENT
) -> Architecture:
    """The canonical form of all architectures that build the same tower; equivalence is decided only here.

    With identity blocks it need not be an architecture of the space itself: a tower of nothing but them becomes empty.
    """
    legal = fix_order(architecture, problem_type)
    if equivalence.is_trivial:
        return legal
    placed = [name for name in legal if catalogue.get(name).has_own_place]
    if not problem_type.ordered_by_rank and not placed:
        return equivalence.reduce(legal)
    return fix_order([*equivalence.reduce(body_of(legal)), *placed], problem_type)


def body_of(architecture: Sequence[str]) -> Architecture:
    """The blocks without flatten blocks and embeddings."""
    return tuple(name for name in architecture if not catalogue.get(name).has_own_place)


def grow(architecture: Sequence[str], block: str, problem_type: ProblemType) -> Architecture:
    """Adds a block.

    Where blocks are ordered by rank, a block that reads maps or sequences becomes the last of those (just before the
    first block of another kind); any other block becomes the last one, as everywhere else.
    """
    if problem_type.ordered_by_rank and catalogue.get(block).order_important:
        place = next(
            (i for i, name in enumerate(architecture) if not catalogue.get(name).order_important), len(architecture)
        )
        return fix_order((*architecture[:place], block, *architecture[place:]), problem_type)
    return fix_order((*architecture, block), problem_type)


def replaceable_positions(architecture: Sequence[str]) -> list[int]:
    """Positions that a mutation may replace: all but flatten blocks and embeddings."""
    return [i for i, name in enumerate(architecture) if not catalogue.get(name).has_own_place]


def replace(architecture: Sequence[str], position: int, block: str, problem_type: ProblemType) -> Architecture:
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
