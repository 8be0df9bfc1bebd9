"""The cells that a specification asks for: what may stand at each of their positions, and their hyperparameters."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

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
    """The blocks that may stand at each position of a tower of cells."""
    found = (
        positions(kind, spec.cell.nodes, tuple(dict.fromkeys(spec.cell.operations)) or kind.operations)
        for kind in cell_kinds(spec, problem_type)
    )
    return tuple(itertools.chain.from_iterable(found))


def cell_parameters(spec: PhoenixSpec, problem_type: ProblemType) -> Iterator[Choice]:
    """How often cells are repeated and how wide they are; one value each, or those that the specification lists."""
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
