"""Cells: small graphs that a tower repeats, as blocks of an architecture, as graphs and as JSON. Imports nothing heavy.

A cell is a list of nodes. Each node of a normal or a reduction cell adds up two edges, each of which applies an
operation to an earlier tensor: 0 and 1 are the outputs of the cell before the last one and of the last one, 2 is the
first node. Each node of a recurrent cell has one edge: 0 is the step's input and state, which the first node alone
reads, 1 is the first node.

In an architecture each edge is two blocks, what it reads and what it does, so that every search knows cells as towers
of one length whose positions have rules::

    {"normal": [[[0, "CELL_CONVOLUTION_3X3"], [1, "CELL_IDENTITY"]]]}
    NORMAL_CELL_INPUT_0, CELL_CONVOLUTION_3X3, NORMAL_CELL_INPUT_1, CELL_IDENTITY
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from model_search import macro
from model_search.errors import SpecError, TrialError

Edge = tuple[int, str]
Graph = tuple[tuple[Edge, ...], ...]

MOST_NODES = 6
MOST_INPUTS = 8  # tensors that an edge may name

MAP_OPERATIONS = (
    "CELL_IDENTITY", "CELL_CONVOLUTION_1X1", "CELL_CONVOLUTION_3X3", "CELL_SEPARABLE_CONVOLUTION_3X3",
    "CELL_SEPARABLE_CONVOLUTION_5X5", "CELL_DILATED_CONVOLUTION_3X3", "CELL_AVERAGE_POOLING_3X3",
    "CELL_MAX_POOLING_3X3",
)  # fmt: skip
STEP_OPERATIONS = ("CELL_TANH", "CELL_RELU", "CELL_SIGMOID", "CELL_LINEAR")


class CellKind(enum.StrEnum):
    """What a cell is for."""

    NORMAL = "normal"
    REDUCTION = "reduction"
    RECURRENT = "recurrent"

    @property
    def edges(self) -> int:
        """Edges that end in each node."""
        return 1 if self is CellKind.RECURRENT else 2

    @property
    def offset(self) -> int:
        """The number of the first node among the tensors that an edge may read."""
        return 1 if self is CellKind.RECURRENT else 2

    @property
    def operations(self) -> tuple[str, ...]:
        """All operations of its edges."""
        return STEP_OPERATIONS if self is CellKind.RECURRENT else MAP_OPERATIONS

    def readable(self, node: int) -> range:
        """What the edges of a node may read."""
        if self is CellKind.RECURRENT:
            return range(1, node + 1) if node else range(1)
        return range(node + self.offset)

    def input_block(self, previous: int) -> str:
        """The block that says what an edge reads."""
        return f"{self.name}_CELL_INPUT_{previous}"


Cells = Mapping[CellKind, Graph]

_INPUTS = {kind.input_block(number): (kind, number) for kind in CellKind for number in range(MOST_INPUTS)}
_OPERATIONS = frozenset((*MAP_OPERATIONS, *STEP_OPERATIONS))
PARTS = frozenset((*_INPUTS, *_OPERATIONS))
_MACRO = "macro"  # the key of a macro tower in JSON


@dataclasses.dataclass(frozen=True)
class CellLayout:
    """How often cells are repeated, and how wide they are; each is a hyperparameter of a trial, `cell_<name>`.

    Attributes:
        channels: Of each node in the first stage; each reduction cell doubles them.
        repeats: Normal cells in each stage.
        reductions: Reduction cells; there is one stage more.
        stem_stride: By which the first convolution divides height and width.
        units: Width of a recurrent cell's state.
    """

    channels: int = 16
    repeats: int = 1
    reductions: int = 1
    stem_stride: int = 1
    units: int = 64

    @property
    def widest(self) -> int:
        """The most channels or units that there are."""
        return max(self.units, self.channels * 2 ** min(self.reductions, 64))

    @classmethod
    def of(cls, hyperparameters: Mapping[str, Any]) -> CellLayout:
        """The layout that the hyperparameters of a trial ask for.

        Raises:
            TrialError: if a value is no whole number of at least 1 (0 for reductions).
        """
        values = {}
        for field in dataclasses.fields(cls):
            value = hyperparameters.get(f"cell_{field.name}", field.default)
            least = 0 if field.name == "reductions" else 1
            if type(value) is not int or not least <= value:
                raise TrialError(f"cell_{field.name} is {value!r}; expected a whole number of at least {least}")
            values[field.name] = value
        return cls(**values)


LAYOUT = tuple(f"cell_{field.name}" for field in dataclasses.fields(CellLayout))


def positions(kind: CellKind, nodes: int, operations: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The blocks that may stand at each position of a cell."""
    for node in range(nodes):
        for _ in range(kind.edges):
            yield tuple(map(kind.input_block, kind.readable(node)))
            yield tuple(operations)


def cell_range(architecture: Sequence[str]) -> range:
    """The positions of the blocks that make up cells, or a macro tower; empty where there are none.

    A part of a cell that belongs to none is a block like any other.
    """
    of_macro = macro.part_range(architecture)
    if of_macro:
        return of_macro
    edges = [i for i, pair in enumerate(itertools.pairwise(architecture)) if _is_edge(*pair)]
    if not edges:
        return range(0)
    end = edges[0]
    while end + 1 < len(architecture) and _is_edge(architecture[end], architecture[end + 1]):
        end += 2
    return range(edges[0], end)


def _is_edge(first: str, second: str) -> bool:
    return first in _INPUTS and second in _OPERATIONS


def has_cells(architecture: Sequence[str]) -> bool:
    """Whether an architecture has cells, or is a macro tower."""
    return bool(cell_range(architecture))


def cells_of(architecture: Sequence[str]) -> dict[CellKind, Graph]:
    """The cells of an architecture, by kind in their order; none of a macro tower.

    Raises:
        SpecError: if its blocks do not make up cells.
    """
    if macro.part_range(architecture):
        return {}
    places = cell_range(architecture)
    edges: dict[CellKind, list[Edge]] = {}
    for place in places[::2]:
        kind, previous = _INPUTS[architecture[place]]
        edges.setdefault(kind, []).append((previous, architecture[place + 1]))
    found = {}
    for kind, of_kind in edges.items():
        if len(of_kind) % kind.edges:
            raise SpecError(f"a {kind} cell has {len(of_kind)} edges; expected {kind.edges} for each node")
        of_nodes = range(0, len(of_kind), kind.edges)
        found[kind] = tuple(tuple(of_kind[i : i + kind.edges]) for i in of_nodes)
        _check(kind, found[kind])
    if CellKind.RECURRENT in found and len(found) > 1:
        raise SpecError(f"an architecture has {', '.join(found)} cells; expected a recurrent cell by itself, or none")
    if CellKind.REDUCTION in found and CellKind.NORMAL not in found:
        raise SpecError("an architecture has a reduction cell alone; expected a normal cell as well")
    return found


def _check(kind: CellKind, graph: Graph) -> None:
    if not 1 <= len(graph) <= MOST_NODES:
        raise SpecError(f"a {kind} cell has {len(graph)} nodes; expected 1 to {MOST_NODES}")
    for node, edges in enumerate(graph):
        for previous, operation in edges:
            if previous not in kind.readable(node):
                known = ", ".join(map(str, kind.readable(node)))
                raise SpecError(f"node {node} of a {kind} cell reads {previous!r}; expected one of {known}")
            if operation not in kind.operations:
                known = ", ".join(kind.operations)
                raise SpecError(
                    f"node {node} of a {kind} cell has the operation {operation!r}; expected one of {known}"
                )


def blocks_of(cells: Cells) -> tuple[str, ...]:
    """The blocks that make up cells.

    Raises:
        SpecError: if a graph is none.
    """
    for kind, graph in cells.items():
        _check(kind, graph)
    return tuple(
        name
        for kind, graph in cells.items()
        for edges in graph
        for previous, operation in edges
        for name in (kind.input_block(previous), operation)
    )


def to_json(architecture: Sequence[str]) -> str:
    """The cells of an architecture as JSON: by kind a list of nodes, each a list of [previous, operation].

    Of a macro tower: `{"macro": [{"height": ..., "width": ..., "filters": ..., "stride": ..., "inputs": [...]}, ...]}`.

    >>> to_json(["RECURRENT_CELL_INPUT_0", "CELL_TANH", "RECURRENT_CELL_INPUT_1", "CELL_RELU"])
    '{"recurrent": [[[0, "CELL_TANH"]], [[1, "CELL_RELU"]]]}'

    Raises:
        SpecError: if it has none.
    """
    if macro.part_range(architecture):
        return json.dumps({_MACRO: macro.to_values(architecture)})
    cells = cells_of(architecture)
    if not cells:
        raise SpecError(f"the architecture {' > '.join(architecture)} has no cells")
    return json.dumps({kind.value: graph for kind, graph in cells.items()})


def from_json(text: str) -> tuple[str, ...]:
    """The blocks that make up the cells, or the macro tower, which `to_json` wrote.

    Raises:
        SpecError: if the text is something else, or a graph refers to a later node.
    """
    form = '{"normal": [[[0, "CELL_IDENTITY"], [1, "CELL_IDENTITY"]], ...], ...}'
    if not isinstance(text, str):
        raise SpecError(f"the graphs of cells are a {type(text).__name__}; expected the text {form}")
    try:
        given = json.loads(text)
        if isinstance(given, dict) and list(given) == [_MACRO]:
            return macro.from_values(given[_MACRO])
        cells = {CellKind(kind): tuple(tuple(map(_edge, node)) for node in nodes) for kind, nodes in given.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise SpecError(f"the graphs of cells are {text[:80]!r} ({error}); expected {form}") from error
    wrong = [kind for kind, graph in cells.items() if any(len(edges) != kind.edges for edges in graph)]
    if wrong or not cells:
        edges = f"{wrong[0].edges} edges for each node of a {wrong[0]} cell" if wrong else "a cell"
        raise SpecError(f"the graphs of cells are {text[:80]!r}; expected {edges}, as in {form}")
    blocks = blocks_of({kind: cells[kind] for kind in CellKind if kind in cells})
    cells_of(blocks)
    return blocks


def _edge(given: Any) -> Edge:
    previous, operation = given
    if type(previous) is not int or not isinstance(operation, str):
        raise ValueError(f"{given!r} is no [previous, operation]")
    return previous, operation


def canonical(blocks: Sequence[str]) -> tuple[str, ...]:
    """The blocks with the cells in the form that all equal graphs share; blocks that make up none stay as they are.

    Graphs are equal where they differ only in the order of nodes, or of the two edges of a node.
    """
    places = cell_range(blocks)
    if not places or macro.part_range(blocks):
        return tuple(blocks)
    return (*blocks[: places.start], *_canonical(tuple(blocks[places.start : places.stop])), *blocks[places.stop :])


# Searches call this repeatedly for the same cells.
@functools.lru_cache(maxsize=1 << 16)
def _canonical(blocks: tuple[str, ...]) -> tuple[str, ...]:
    try:
        cells = cells_of(blocks)
    except SpecError:  # it cannot be built, and is like no other
        return blocks
    return blocks_of({kind: _least(kind, graph) for kind, graph in cells.items()})


def _least(kind: CellKind, graph: Graph) -> Graph:
    """Of the orders in which each node is the least of those that may come next, the least one."""
    read = {previous for edges in graph for previous, _ in edges}

    def completions(numbers: Mapping[int, int], done: Graph) -> Iterator[Graph]:
        if len(done) == len(graph):
            yield done
            return
        ready = {
            node: tuple(sorted((numbers[previous], operation) for previous, operation in edges))
            for node, edges in enumerate(graph)
            if node + kind.offset not in numbers and all(previous in numbers for previous, _ in edges)
        }
        least = min(ready.values())
        tied = [node for node, edges in ready.items() if edges == least]
        unread = [node for node in tied if node + kind.offset not in read]
        # Nodes that nobody reads can change places.
        for node in [*(node for node in tied if node not in unread), *unread[:1]]:
            yield from completions({**numbers, node + kind.offset: len(numbers)}, (*done, least))

    return min(completions({number: number for number in range(kind.offset)}, ()))


def in_words(architecture: Sequence[str]) -> list[str]:
    """An architecture for people: a line for each cell, and for each block that is part of none."""
    places = cell_range(architecture)
    try:
        cells = cells_of(architecture)
        layers = macro.layers_of(architecture)
    except SpecError:
        return list(architecture)
    lines = [f"macro tower {', '.join(layer.words for layer in layers)}"] if layers else []
    for kind, graph in cells.items():
        nodes = ("+".join(f"{_short(operation)}({previous})" for previous, operation in edges) for edges in graph)
        lines.append(f"{kind} cell {', '.join(nodes)}")
    return [*architecture[: places.start], *lines, *architecture[places.stop :]]


def _short(operation: str) -> str:
    return operation.removeprefix("CELL_").lower()
