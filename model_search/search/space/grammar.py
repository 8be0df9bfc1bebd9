"""The architectures of a spec: which blocks are allowed where, and how to sample, mutate, cross and enumerate them."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from model_search.blocks import catalogue
from model_search.errors import SpecError
from model_search.problem import ProblemType
from model_search.search.space.architecture import (
    EMPTY_BLOCK,
    NOTHING_IS_EQUIVALENT,
    Architecture,
    body_of,
    canonical,
    fix_order,
    get_allowed_depth,
    grow,
    problem_type_of,
    reorders,
    replace,
    replaceable_positions,
)
from model_search.search.space.cell_space import cell_positions, positions_together
from model_search.search.space.equivalence import Equivalence

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

_T = TypeVar("_T")

# How often a mutation that leads to the same tower is redrawn before it is accepted.
_REDRAWS = 16


@dataclasses.dataclass(frozen=True)
class Grammar:
    """The architectures of a spec: its blocks, its problem type, its depths, and rules of position.

    A flatten block that `fix_order` adds counts towards the size, but has no position of its own.

    Attributes:
        blocks: All blocks there are.
        problem_type: The spec's problem type.
        minimum_depth: The least number of blocks that are drawn.
        maximum_depth: The greatest size.
        positions: The blocks allowed at each position, in a space of fixed length whose positions mean something; empty
            where every block may stand everywhere.
        equivalence: The rules by which architectures are the same tower.
        thresholds: Numbers of completed trials from which on each depth is allowed; empty for one more every 5 trials.
        crossed_together: The lengths of groups of neighbouring positions that a child has of one parent: those of a
            node of a cell. Empty where each position is a group.
    """

    blocks: tuple[str, ...]
    problem_type: ProblemType
    minimum_depth: int
    maximum_depth: int
    positions: tuple[tuple[str, ...], ...] = ()
    equivalence: Equivalence = NOTHING_IS_EQUIVALENT
    thresholds: tuple[int, ...] = ()
    crossed_together: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.blocks:
            raise SpecError("blocks_to_use names no block; name at least one")
        if not 1 <= self.minimum_depth <= self.maximum_depth:
            raise SpecError(
                f"minimum_depth is {self.minimum_depth} and maximum_depth is {self.maximum_depth}; "
                "expected 1 <= minimum_depth <= maximum_depth"
            )
        get_allowed_depth(0, self.thresholds, self.maximum_depth)
        if self.positions:
            self._check_positions()

    def _check_positions(self) -> None:
        if not len(self.positions) == self.minimum_depth == self.maximum_depth:
            raise SpecError(
                f"there are {len(self.positions)} positions, minimum_depth is {self.minimum_depth} and "
                f"maximum_depth is {self.maximum_depth}; expected the same number three times"
            )
        for position, choices in enumerate(self.positions):
            for name in choices:
                if catalogue.get(name).is_embedding:
                    raise SpecError(f"position {position} may have {name}, which every tower begins with; leave it out")
                if name not in self.blocks:
                    raise SpecError(f"position {position} may have {name}, which blocks_to_use does not name; add it")
            if not choices:
                raise SpecError(f"position {position} has no blocks; name at least one")
        if self.problem_type.ordered_by_rank:
            self._check_order()

    def _check_order(self) -> None:
        """Each position is either for blocks that read maps or for dense blocks, those for maps first."""
        roles = []
        for position, choices in enumerate(self.positions):
            infos = [catalogue.get(name) for name in choices]
            if any(info.is_flatten for info in infos) or len({info.order_important for info in infos}) > 1:
                raise SpecError(
                    f"position {position} of a {self.problem_type.name} may have {', '.join(choices)}; expected only "
                    "convolutions or only dense blocks, and no flatten block (it is put in between them)"
                )
            roles.append(infos[0].order_important)
        if roles != sorted(roles, reverse=True):
            raise SpecError("a position for convolutions stands after one for dense blocks; put convolutions first")

    @classmethod
    def of(cls, spec: PhoenixSpec) -> Grammar:
        """Reads the grammar out of a spec."""
        kind = problem_type_of(spec)
        if spec.HasField("cell"):
            return cls._of_cells(spec, kind)
        blocks = tuple(dict.fromkeys(name for name in spec.blocks_to_use if name != EMPTY_BLOCK))
        if kind.first_block is not None and sum(catalogue.get(name).is_embedding for name in blocks) == 1:
            # Every tower has it; as one block among others it would change nothing.
            blocks = tuple(name for name in blocks if name != kind.first_block)
        return cls(
            blocks=blocks,
            problem_type=kind,
            minimum_depth=spec.minimum_depth,
            maximum_depth=spec.maximum_depth,
            positions=_positions(spec, blocks),
            equivalence=Equivalence.of(spec),
            thresholds=tuple(spec.increase_complexity_minimum_trials),
        )

    @classmethod
    def _of_cells(cls, spec: PhoenixSpec, kind: ProblemType) -> Grammar:
        """Towers of cells: each edge of a graph is two positions, and a node's (a layer's) are crossed together."""
        positions = cell_positions(spec, kind)
        return cls(
            blocks=tuple(dict.fromkeys(itertools.chain.from_iterable(positions))),
            problem_type=kind,
            minimum_depth=len(positions),
            maximum_depth=len(positions),
            positions=positions,
            equivalence=Equivalence.of(spec),
            crossed_together=positions_together(spec, kind),
        )

    @property
    def is_fixed(self) -> bool:
        """Whether all architectures have the same number of blocks, so that nothing grows."""
        return self.minimum_depth == self.maximum_depth

    def choices(self, position: int) -> tuple[str, ...]:
        """The blocks allowed at a position (flatten blocks are not counted)."""
        return self.positions[position] if self.positions else self.blocks

    def fits(self, architecture: Sequence[str]) -> bool:
        """Whether its blocks are allowed at their positions; always true without rules of position."""
        if not self.positions:
            return True
        body = self._body(architecture)
        return len(body) == len(self.positions) and all(
            name in choices for name, choices in zip(body, self.positions, strict=True)
        )

    def canonical(self, architecture: Sequence[str]) -> Architecture:
        """The canonical form of all architectures that build the same tower."""
        if self._is_plain(architecture):
            return self.equivalence.reduce(architecture)
        return canonical(architecture, self.problem_type, self.equivalence)

    @functools.cached_property
    def _plain_blocks(self) -> frozenset[str]:
        """The blocks, where each order of them is legal and no other block is put in between; else none."""
        kind = self.problem_type
        has_rules = reorders(self.blocks, kind) or kind.added_size or EMPTY_BLOCK in self.blocks
        if has_rules or any(catalogue.get(name).has_own_place for name in self.blocks):
            return frozenset()
        return frozenset(self.blocks)

    def _is_plain(self, architecture: Sequence[str]) -> bool:
        """Whether each order of these blocks is legal, so that searches need not ask what each block is."""
        return bool(self._plain_blocks) and self._plain_blocks.issuperset(architecture)

    def _body(self, architecture: Sequence[str]) -> Architecture:
        return tuple(architecture) if self._is_plain(architecture) else body_of(architecture)

    def draw_block(self, rng: np.random.Generator) -> str:
        """One block, all equally likely."""
        return _pick(self.blocks, rng)

    def random(self, rng: np.random.Generator, depth: int | None = None) -> Architecture:
        """`depth` blocks (the least number by default) drawn independently, in a legal order."""
        count = self.minimum_depth if depth is None else depth
        return self._ordered([_pick(self.choices(position), rng) for position in range(count)])

    def random_of_any_depth(self, rng: np.random.Generator, allowed_depth: int | None = None) -> Architecture:
        """As `random`, every depth up to the allowed size (the greatest one by default) being equally likely."""
        limit = self.maximum_depth if allowed_depth is None else allowed_depth
        depths = [draws for draws in self.draws if draws + self.problem_type.added_size <= limit]
        return self.random(rng, _pick(depths, rng) if depths else None)

    def allowed_depth(self, completed: int) -> int:
        """How many blocks an architecture may be grown to; the greatest number where nothing grows."""
        if self.is_fixed:
            return self.maximum_depth
        return get_allowed_depth(completed, self.thresholds, self.maximum_depth)

    def grow(self, architecture: Sequence[str], rng: np.random.Generator) -> Architecture:
        """The architecture with one more block, drawn at random.

        Raises:
            ValueError: if the positions have rules; such a space has one length only.
        """
        if self.positions:
            raise ValueError("an architecture of fixed length does not grow")
        return grow(architecture, self.draw_block(rng), self.problem_type)

    def mutate(self, architecture: Sequence[str], rng: np.random.Generator) -> Architecture:
        """The architecture with a random block, which may be the same again, at a random position.

        One that violates the rules of position (the spec has changed since) is replaced by a random one.
        """
        if self.positions:
            return self._mutate_position(architecture, rng)
        block = self.draw_block(rng)
        positions = replaceable_positions(architecture)
        if not positions:
            return grow(architecture, block, self.problem_type)
        return replace(architecture, positions[int(rng.integers(len(positions)))], block, self.problem_type)

    def _mutate_position(self, architecture: Sequence[str], rng: np.random.Generator) -> Architecture:
        if not self.fits(architecture):
            return self.random(rng)
        free = [position for position, choices in enumerate(self.positions) if len(choices) > 1]
        if not free:
            return tuple(architecture)
        position = _pick(free, rng)
        return self._rebuild(architecture, _put(self._body(architecture), position, _pick(self.choices(position), rng)))

    def replace(self, architecture: Sequence[str], rng: np.random.Generator) -> Architecture | None:
        """Another block at a random position; None where there is no other."""
        body = self._body(architecture)
        choices = [self.choices(place) for place in range(len(body))]
        free = [place for place, name in enumerate(body) if choices[place].count(name) < len(choices[place])]
        if not free:
            return None
        place = _pick(free, rng)
        return self._rebuild(architecture, _put(body, place, _pick(self._others(body, place), rng)))

    def insert(self, architecture: Sequence[str], rng: np.random.Generator) -> Architecture | None:
        """One more block at a random position; None where positions have rules."""
        if self.positions:
            return None
        body = self._body(architecture)
        place = int(rng.integers(len(body) + 1))
        return self._rebuild(architecture, (*body[:place], self.draw_block(rng), *body[place:]))

    def delete(self, architecture: Sequence[str], rng: np.random.Generator) -> Architecture | None:
        """One block less; None where that would be too few, or positions have rules."""
        body = self._body(architecture)
        if self.positions or len(body) <= self.minimum_depth:
            return None
        place = int(rng.integers(len(body)))
        return self._rebuild(architecture, (*body[:place], *body[place + 1 :]))

    def duplicate(self, architecture: Sequence[str], rng: np.random.Generator) -> Architecture | None:
        """A copy of one block right after it; None where there is no block, or positions have rules."""
        body = self._body(architecture)
        if self.positions or not body:
            return None
        place = int(rng.integers(len(body)))
        return self._rebuild(architecture, (*body[: place + 1], *body[place:]))

    def swap(self, architecture: Sequence[str], rng: np.random.Generator) -> Architecture | None:
        """Two different blocks swapped; None where no two may be."""
        body = self._body(architecture)
        pairs = list(self._swappable(body))
        if not pairs:
            return None
        return self._rebuild(architecture, _swapped(body, *_pick(pairs, rng)))

    def vary(
        self, architecture: Sequence[str], rng: np.random.Generator, allowed_depth: int | None = None
    ) -> Architecture:
        """One random change: replace, and where the length is free swap, insert, delete and duplicate.

        Each kind of change that is possible is equally likely. The result is another tower, unless there is none.

        Args:
            architecture: The architecture to change; one that does not fit is replaced by a random one.
            rng: Source of all randomness.
            allowed_depth: The size beyond which nothing grows by now; `maximum_depth` where None.
        """
        if not self.fits(architecture):
            return self.random(rng)
        before, changed = self.canonical(architecture), tuple(architecture)
        for _ in range(_REDRAWS):
            change = _pick(self._changes(architecture, allowed_depth), rng)
            changed = change(architecture, rng) or changed
            if self.canonical(changed) != before:
                break
        return changed

    def cross(self, first: Sequence[str], second: Sequence[str], rng: np.random.Generator) -> Architecture:
        """A child of two architectures.

        With rules of position each position (each node of a cell) comes from either parent; else it has the beginning
        of the first and the end of the second, cut so that the depth is legal.
        """
        one, two = self._body(first), self._body(second)
        if self.positions:
            if not self.fits(first) or not self.fits(second):
                return tuple(first)
            ends = list(itertools.accumulate(self.crossed_together or (1,) * len(one)))
            parts = [_pick((one, two), rng)[start:end] for start, end in itertools.pairwise((0, *ends))]
            return self._rebuild(first, [name for part in parts for name in part])
        draws = self.draws
        cuts = [
            (i, j)
            for i in range(len(one) + 1)
            for j in range(len(two) + 1)
            if i + len(two) - j in draws and (i, j) not in ((0, 0), (len(one), len(two)))
        ]
        if not cuts:
            return tuple(first)
        i, j = _pick(cuts, rng)
        return self._rebuild(first, (*one[:i], *two[j:]))

    def neighbours(self, architecture: Sequence[str], allowed_depth: int | None = None) -> list[Architecture]:
        """All other towers that one change leads to (as in `vary`), each once, in a fixed order."""
        return list(self.neighbours_by_form(architecture, allowed_depth).values())

    def neighbours_by_form(
        self, architecture: Sequence[str], allowed_depth: int | None = None
    ) -> dict[Architecture, Architecture]:
        """The same by their canonical forms."""
        if not self.fits(architecture):
            return {}
        bodies = self._changed_bodies(self._body(architecture), len(architecture), allowed_depth)
        found: dict[Architecture, Architecture] = {}
        if self._is_plain(architecture):
            # Each change is a legal tower: searches of long towers ask for thousands.
            for body in bodies:
                found.setdefault(self.equivalence.reduce(body), body)
        else:
            for body in bodies:
                neighbour = self._rebuild(architecture, body)
                found.setdefault(self.canonical(neighbour), neighbour)
        found.pop(self.canonical(architecture), None)
        return found

    @property
    def draws(self) -> range:
        """How many blocks may be drawn for an architecture (besides a flatten block that is put in)."""
        greatest = max(self.minimum_depth, self.maximum_depth - self.problem_type.added_size)
        return range(self.minimum_depth, greatest + 1)

    def enumerate(self, draws: int, rng: np.random.Generator | None = None) -> Iterator[Architecture]:
        """Every tower of `draws` drawn blocks, each once, the blocks in a random order (their own where None).

        A tower that is the same as one of fewer blocks is skipped.
        """
        order = range(len(self.blocks)) if rng is None else rng.permutation(len(self.blocks))
        shuffled = [self.blocks[i] for i in order]
        choices = [[name for name in shuffled if name in self.choices(position)] for position in range(draws)]
        identities = self.equivalence.identity_blocks
        shrinks = bool(identities) and not self.equivalence.stages
        if shrinks and draws > self.minimum_depth:
            choices = [[name for name in names if name not in identities] for names in choices]
        seen: set[Architecture] = set()
        all_drawn: Iterator[Architecture] = itertools.product(*choices)
        if shrinks and self._plain_blocks and not self.equivalence.of_cells:
            all_drawn = _named_once(choices, identities)
        for drawn in all_drawn:
            architecture = self._ordered(drawn)
            # Otherwise no two draws give the same tower, and nothing has to be remembered.
            if reorders(self.blocks, self.problem_type) or not self.equivalence.is_trivial:
                same = self.canonical(architecture)
                if same in seen:
                    continue
                seen.add(same)
            yield architecture

    def _ordered(self, blocks: Sequence[str]) -> Architecture:
        return tuple(blocks) if self._is_plain(blocks) else fix_order(blocks, self.problem_type)

    def _rebuild(self, before: Sequence[str], body: Sequence[str]) -> Architecture:
        """A legal architecture of these blocks; flatten block and embedding stay, unless one was put in."""
        if self._is_plain(before):
            return self._ordered(body)
        return self._ordered([*body, *(name for name in before if catalogue.get(name).has_own_place)])

    def _others(self, body: Sequence[str], place: int) -> list[str]:
        return [name for name in self.choices(place) if name != body[place]]

    def _swappable(self, body: Sequence[str]) -> Iterator[tuple[int, int]]:
        for i, j in itertools.combinations(range(len(body)), 2):
            if body[i] == body[j]:
                continue
            if self.problem_type.ordered_by_rank and len({catalogue.get(body[k]).order_important for k in (i, j)}) > 1:
                continue
            if not self.positions or (body[i] in self.positions[j] and body[j] in self.positions[i]):
                yield i, j

    def _changes(
        self, architecture: Sequence[str], allowed_depth: int | None
    ) -> list[Callable[[Sequence[str], np.random.Generator], Architecture | None]]:
        """The kinds of change that can be tried; one of them may still find nothing to change."""
        changes: list[Callable[[Sequence[str], np.random.Generator], Architecture | None]] = [self.replace]
        if not self.is_fixed:
            changes += [self.swap, self.delete]
            if self._may_grow(len(architecture), allowed_depth):
                changes += [self.insert, self.duplicate]
        return changes

    def _may_grow(self, size: int, allowed_depth: int | None) -> bool:
        limit = self.maximum_depth if allowed_depth is None else min(allowed_depth, self.maximum_depth)
        return not self.is_fixed and size < limit

    def _changed_bodies(self, body: Architecture, size: int, allowed_depth: int | None) -> Iterator[Architecture]:
        for place in range(len(body)):
            for name in self._others(body, place):
                yield _put(body, place, name)
        if not self.is_fixed:
            for i, j in self._swappable(body):
                yield _swapped(body, i, j)
        if not self.is_fixed and len(body) > self.minimum_depth:
            for place in range(len(body)):
                yield (*body[:place], *body[place + 1 :])
        if self._may_grow(size, allowed_depth):
            for place in range(len(body) + 1):
                for name in self.blocks:
                    yield (*body[:place], name, *body[place:])


def _named_once(choices: Sequence[Sequence[str]], identities: Collection[str]) -> Iterator[Architecture]:
    """One name of each tower of which identity blocks may be left out, in the order of `itertools.product`.

    A tower of 30 positions may have millions of names. What follows a beginning depends on its length, and on what it
    has besides identity blocks: of two that are alike in both, the later one leads to nothing new.
    """
    begun: set[tuple[int, Architecture]] = set()

    def ended(drawn: Architecture, reduced: Architecture) -> Iterator[Architecture]:
        if (len(drawn), reduced) in begun:
            return
        begun.add((len(drawn), reduced))
        if len(drawn) == len(choices):
            yield drawn
            return
        for name in choices[len(drawn)]:
            yield from ended((*drawn, name), reduced if name in identities else (*reduced, name))

    return ended((), ())


def _pick(among: Sequence[_T], rng: np.random.Generator) -> _T:
    return among[int(rng.integers(len(among)))]


def _put(body: Sequence[str], place: int, name: str) -> Architecture:
    return (*body[:place], name, *body[place + 1 :])


def _swapped(body: Sequence[str], i: int, j: int) -> Architecture:
    return _put(_put(body, i, body[j]), j, body[i])


def _positions(spec: PhoenixSpec, blocks: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The blocks allowed at each position: its own choices, else those of its stage, else every block."""
    if not spec.position_choices and not spec.stages:
        return ()
    own = [tuple(dict.fromkeys(given.blocks)) for given in spec.position_choices]
    given = own or [()] * spec.maximum_depth
    choices = []
    for position, named in enumerate(given):
        of_stage = next((stage.blocks for stage in spec.stages if stage.first <= position <= stage.last), ())
        choices.append(named or tuple(dict.fromkeys(of_stage)) or blocks)
    for stage in spec.stages:
        if stage.last >= len(choices):
            raise SpecError(
                f"a stage goes from {stage.first} to {stage.last}, but the last position is {len(choices) - 1}; "
                "positions are counted from 0"
            )
    return tuple(choices)
