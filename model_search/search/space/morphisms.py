"""Which towers may begin as the function of a smaller one: with blocks inserted, or replaced by wider ones.

What is said here follows from the catalogue alone. Widths depend on the data, so that a few of these towers cannot
(`towers/morphisms/` finds out).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from model_search.blocks import catalogue
from model_search.blocks.catalogue_records import BlockInfo
from model_search.search.space.architecture import Architecture, fix_order
from model_search.search.space.grammar import Grammar

MOST_INSERTED = 4


def is_morphism(new: Architecture, old: Architecture) -> bool:
    """Whether a tower may begin as the function of another one, and is not the same."""
    more = len(new) - len(old)
    if not 0 <= more <= MOST_INSERTED or new == old:
        return False
    return any(_fits(new, old, places) for places in itertools.combinations(range(len(new)), more))


def _fits(new: Architecture, old: Architecture, inserted: tuple[int, ...]) -> bool:
    kept = [name for place, name in enumerate(new) if place not in inserted]
    if not all(one == other or is_wider(one, other) for one, other in zip(kept, old, strict=True)):
        return False
    return all(catalogue.get(new[place]).can_be_inserted for place in inserted)


def is_wider(new: str, old: str) -> bool:
    """Whether a block is another one with more units, more channels or a larger kernel."""
    one, other = catalogue.get(new), catalogue.get(old)
    same_kind = (one.family, one.module) == (other.family, other.module) and one.builder is None
    if new == old or not same_kind or one.init_args.keys() != other.init_args.keys():
        return False
    if not one.init_args:  # parts of cells and of macro towers, which differ by their names alone
        return False
    return all(_at_least(value, other.init_args[name]) for name, value in one.init_args.items())


def _at_least(value: Any, other: Any) -> bool:
    if isinstance(value, tuple) and isinstance(other, tuple) and len(value) == len(other):
        return all(map(_at_least, value, other))
    if type(value) is int and type(other) is int:
        return value >= other
    return bool(value == other)


def larger(architecture: Architecture, grammar: Grammar, allowed: int) -> Iterator[Architecture]:
    """The towers that are one morphism larger: a block inserted, or replaced by a wider one.

    Args:
        architecture: A legal tower.
        grammar: The blocks there are.
        allowed: The most blocks.
    """
    seen = {architecture}
    infos = [catalogue.get(name) for name in grammar.blocks]
    changes = itertools.chain(_inserted(architecture, infos, allowed), _widened(architecture, infos))
    for blocks in changes:
        if blocks not in seen and fix_order(blocks, grammar.problem_type) == blocks and grammar.fits(blocks):
            seen.add(blocks)
            yield blocks


def _inserted(architecture: Architecture, infos: list[BlockInfo], allowed: int) -> Iterator[Architecture]:
    if len(architecture) >= allowed:
        return
    for place, info in itertools.product(range(len(architecture) + 1), infos):
        if info.can_be_inserted:
            yield (*architecture[:place], info.name, *architecture[place:])


def _widened(architecture: Architecture, infos: list[BlockInfo]) -> Iterator[Architecture]:
    for place, info in itertools.product(range(len(architecture)), infos):
        if is_wider(info.name, architecture[place]):
            yield (*architecture[:place], info.name, *architecture[place + 1 :])
