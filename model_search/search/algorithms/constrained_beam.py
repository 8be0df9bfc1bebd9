"""CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT: a beam over cells, with a reduction block after each."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from model_search.blocks import catalogue
from model_search.errors import SpecError
from model_search.metadata.trial import Trial, TrialPlan
from model_search.search.algorithms.algorithm import Proposal, without_failing_blocks
from model_search.search.algorithms.registry import register_search
from model_search.search.algorithms.tower_search import TowerSearch
from model_search.search.history.history import History
from model_search.search.space.architecture import Architecture, fix_order
from model_search.search.space.grammar import Grammar

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
    from model_search.spec.check import Checker


def _check(checker: Checker) -> None:
    spec = checker.spec
    checker.at_least(spec, 1, (), ["num_blocks_in_cell"])
    for rule in ("position_choices", "stages"):
        if getattr(spec, rule):
            checker.add(f"{rule} do not go with CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT, which has cells.", (rule, 0))
    if spec.HasField("cell"):
        checker.add("cell does not go with CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT, whose cells are rows.", ("cell",))
    known = [catalogue.get(name) for name in spec.blocks_to_use if catalogue.is_known(name)]
    if known and all(info.is_reduction or info.is_flatten for info in known):
        checker.add(
            "blocks_to_use names no block for the cells; reductions and flatten blocks are none.", ("blocks_to_use", 0)
        )
    reduction = spec.reduction_block_type
    is_read = checker.problem_type.reads_maps or spec.HasField("reduction_block_type")
    if is_read and reduction and not catalogue.is_known(reduction):
        checker.add(catalogue.unknown(reduction), ("reduction_block_type",))


@register_search(
    "CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT",
    reads=("num_blocks_in_cell", "reduction_block_type", "replicate_cell"),
    describe=lambda spec: (
        f"as the adaptive beam, in {'equal ' if spec.replicate_cell else ''}cells of {spec.num_blocks_in_cell} blocks."
    ),
    check=_check,
)
@dataclasses.dataclass(frozen=True)
class ConstrainedBeam(TowerSearch):
    """The adaptive beam over towers of cells, after the NASNet family: every few blocks a reduction makes maps smaller.

    A proposal takes one of the best `beam_size` towers (a random one at the beginning), takes its reductions out, lets
    it grow by a block or replaces one, and puts `reduction` behind every `cell` blocks. With `replicate` it takes the
    first `cell` blocks only, replaces one, and repeats that cell as often as `maximum_depth` has room for.

    Papers: Mazzawi et al., Interspeech 2019, for the beam; Zoph et al., "Learning Transferable Architectures for
    Scalable Image Recognition", CVPR 2018, for cells. Departures from the archived system: reductions among
    `blocks_to_use` are never drawn, where drawing one ended the search, nor are flatten blocks, the first of which is
    that of every tower; a tower of convolutions alone can grow; a depth that has no room for one cell gives the cell
    that it has room for; a repeated cell begins with all its blocks.

    Attributes:
        cell: Blocks in a cell.
        reduction: The block behind each cell; none where empty.
        flatten: The flatten block of a CNN; the usual one where empty.
        replicate: Whether all cells are the same.
        beam_size: How many of the best trials may be parents.
        grow_probability: The share of proposals that add a block, where there is room.
    """

    grammar: Grammar
    cell: int = 4
    reduction: str = ""
    flatten: str = ""
    replicate: bool = False
    beam_size: int = 1
    grow_probability: float = 1.0

    def __post_init__(self) -> None:
        if self.cell < 1:
            raise SpecError(f"num_blocks_in_cell is {self.cell}; expected at least 1")
        if self.beam_size < 1:
            raise SpecError(f"beam_size is {self.beam_size}; expected at least 1")
        if self.grammar.positions:
            raise SpecError("the constrained search has cells; it does not go with position_choices, stages or cell")

    @classmethod
    def of(cls, spec: PhoenixSpec) -> ConstrainedBeam:
        """The constrained beam that a spec asks for."""
        grammar = Grammar.of(spec)
        infos = [catalogue.get(name) for name in grammar.blocks]
        blocks = tuple(info.name for info in infos if not info.is_reduction and not info.is_flatten)
        if not blocks:
            raise SpecError("blocks_to_use names no block for the cells; reductions and flatten blocks are none")
        # The default is for maps; elsewhere a reduction is only what the specification itself names.
        has_reduction = grammar.problem_type.reads_maps or spec.HasField("reduction_block_type")
        reduction = spec.reduction_block_type if has_reduction else ""
        if reduction and not catalogue.is_known(reduction):
            raise SpecError(catalogue.unknown(reduction))
        return cls(
            grammar=grammar if grammar.positions else dataclasses.replace(grammar, blocks=blocks),
            cell=spec.num_blocks_in_cell,
            reduction=reduction,
            flatten=next((info.name for info in infos if info.is_flatten), ""),
            replicate=spec.replicate_cell,
            beam_size=spec.beam_size,
            grow_probability=spec.increase_complexity_probability,
        )

    def propose(self, history: History, rng: np.random.Generator) -> Proposal:
        """A child of one of the best trials, or of a random tower."""
        beam = list(itertools.islice(_towers(history), self.beam_size))
        if not beam:
            return Proposal(self._child(self.grammar.random(rng, self._first_blocks), history, rng))
        trial, plan = beam[int(rng.integers(len(beam)))]
        return Proposal(self._child(plan.architecture, history, rng), parent=trial.id)

    def everything(self, history: History, rng: np.random.Generator) -> Iterator[Proposal]:
        """All towers of cells, the shallow ones first."""
        grammar = without_failing_blocks(self.grammar, history)
        depths = [self._cell_blocks] if self.replicate else self._body_depths
        for depth in depths:
            for architecture in grammar.enumerate(depth, rng):
                yield Proposal(self._dress(self._strip(architecture)))

    @property
    def _body_depths(self) -> list[int]:
        """Blocks besides reductions for which there is room, that can be drawn or grown to."""
        depths = range(self.grammar.minimum_depth, self.grammar.maximum_depth + 1)
        return [depth for depth in depths if self._size(depth) <= self.grammar.maximum_depth] or [depths[0]]

    @property
    def _first_blocks(self) -> int:
        return self._cell_blocks if self.replicate else self.grammar.minimum_depth

    @property
    def _cell_blocks(self) -> int:
        """Blocks in a cell that is repeated: as many as asked for, or as there is room for."""
        return max((size for size in range(1, self.cell + 1) if self._room(size)), default=1)

    def _room(self, cell_blocks: int) -> int:
        """How many cells of that size `maximum_depth` has room for, their reductions and a flatten block included."""
        return (self.grammar.maximum_depth - self.grammar.problem_type.added_size) // (
            cell_blocks + bool(self.reduction)
        )

    def _size(self, blocks: int) -> int:
        """Size of a tower of so many blocks with its reductions and flatten block."""
        return blocks + (blocks // self.cell if self.reduction else 0) + self.grammar.problem_type.added_size

    def _child(self, architecture: Sequence[str], history: History, rng: np.random.Generator) -> Architecture:
        body = self._strip(architecture)
        if self.replicate:
            body = self._strip(self._mutated(body[: self._cell_blocks], rng))
            return self._dress(body)
        wants_to_grow = bool(rng.random() < self.grow_probability) and not self.grammar.is_fixed
        if wants_to_grow and self._size(len(body) + 1) <= self.allowed_depth(history):
            return self._dress(self._strip(self.grammar.grow(self._legal(body), rng)))
        return self._dress(self._strip(self._mutated(body, rng)))

    def _mutated(self, body: Sequence[str], rng: np.random.Generator) -> Architecture:
        return self.grammar.mutate(self._legal(body), rng)

    def _legal(self, body: Sequence[str]) -> Architecture:
        return fix_order(body, self.grammar.problem_type)

    def _strip(self, architecture: Sequence[str]) -> Architecture:
        """The blocks of the cells: no reductions, no flatten block."""
        infos = [(name, catalogue.get(name)) for name in architecture]
        return tuple(name for name, info in infos if not info.is_reduction and not info.is_flatten)

    def _dress(self, body: Architecture) -> Architecture:
        """The tower of these blocks: cells repeated where that is asked for, reductions behind each."""
        step = max(len(body), 1) if self.replicate else self.cell
        if self.replicate:
            body = body * max(self._room(step), 1)
        dressed: list[str] = []
        for number, name in enumerate(body, start=1):
            dressed.append(name)
            if self.reduction and number % step == 0:
                dressed.append(self.reduction)
        return fix_order([*dressed, self.flatten] if self.flatten else dressed, self.grammar.problem_type)


def _towers(history: History) -> Iterator[tuple[Trial, TrialPlan]]:
    """Completed trials of towers, best first."""
    for trial in history.completed:
        if trial.plan is not None and trial.plan.is_on_labels_alone:
            yield trial, trial.plan
