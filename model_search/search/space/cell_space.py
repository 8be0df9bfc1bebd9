"""The cells that a specification asks for: what may stand at each of their positions, and their hyperparameters."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from model_search import macro
from model_search.cells import CellKind, CellLayout, positions
from model_search.errors import SpecError
from model_search.problem import SEQUENCE_RANK, ProblemType
from model_search.search.space.hyperparameters import Choice

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


def cell_kinds(spec: PhoenixSpec, problem_type: ProblemType) -> tuple[CellKind, ...]:
    """The cells that are searched: of maps a normal and, with reductions, a reduction cell; else a recurrent one.

    Raises:
        SpecError: if there are no cells for such inputs.
    """
    if problem_type.reads_maps:
        return (CellKind.NORMAL, CellKind.REDUCTION) if spec.cell.reductions else (CellKind.NORMAL,)
    if problem_type.input_rank == SEQUENCE_RANK:
        return (CellKind.RECURRENT,)
    raise SpecError(f"cell is for maps and sequences, and problem_type is {problem_type.name}; leave it out")


def cell_positions(spec: PhoenixSpec, problem_type: ProblemType) -> tuple[tuple[str, ...], ...]:
    """The blocks that may stand at each position of a tower of cells, or of a macro tower.

    Raises:
        SpecError: if there are no cells for such inputs.
    """
    kinds = cell_kinds(spec, problem_type)
    if spec.cell.layers:
        return tuple(macro.positions(spec.cell.layers, macro_choices(spec)))
    found = (
        positions(kind, spec.cell.nodes, tuple(dict.fromkeys(spec.cell.operations)) or kind.operations)
        for kind in kinds
    )
    return tuple(itertools.chain.from_iterable(found))


def macro_choices(spec: PhoenixSpec) -> dict[str, tuple[int, ...]]:
    """The values that each field of a layer of a macro tower may have: those of the specification, or the usual."""
    given = {field: tuple(dict.fromkeys(getattr(spec.cell, macro.PLURALS[field]))) for field in macro.USUAL}
    return {field: given[field] or usual for field, usual in macro.USUAL.items()}


def positions_together(spec: PhoenixSpec, problem_type: ProblemType) -> tuple[int, ...]:
    """How many neighbouring positions belong together: those of each node of a cell, or layer of a macro tower."""
    if spec.cell.layers:
        return tuple(map(macro.size_of, range(spec.cell.layers)))
    return tuple(2 * kind.edges for kind in cell_kinds(spec, problem_type) for _ in range(spec.cell.nodes))


def cell_parameters(spec: PhoenixSpec, problem_type: ProblemType) -> Iterator[Choice]:
    """How often cells are repeated and how wide they are; one value each, or those that the specification lists.

    A macro tower has no such hyperparameters.
    """
    if spec.cell.layers:
        return
    usual, given = CellLayout(), spec.cell
    if CellKind.RECURRENT in cell_kinds(spec, problem_type):
        yield _choice("units", tuple(given.units) or (usual.units,))
        return
    yield _choice("channels", tuple(given.channels) or (usual.channels,))
    yield _choice("repeats", (given.repeats,))
    yield _choice("reductions", (given.reductions,))
    yield _choice("stem_stride", (given.stem_stride,))


def _choice(name: str, values: tuple[int, ...]) -> Choice:
    return Choice(name=f"cell_{name}", values=tuple(dict.fromkeys(values)))
