"""Drawings of the cells of an architecture: what reads what, and what it does to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from model_search.cells import CellKind, Graph, cells_of, to_json
from model_search.errors import SpecError
from model_search.macro import Layer, ends_of, layers_of

_WIDTH, _ACROSS, _DOWN, _LINE = 168, 220, 18, 15  # of a box, between columns, between boxes, of a line of text


@dataclasses.dataclass(frozen=True)
class Box:
    """A tensor of a cell: where its box is, and its lines of text."""

    x: int
    y: int
    height: int
    lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A cell, or a macro tower: what it is, the size of the drawing, its boxes and the paths between them."""

    kind: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    paths: tuple[str, ...]
    box_width: int = _WIDTH


@dataclasses.dataclass(frozen=True)
class _Node:
    """Lines of text, and the tensors that are read, by number."""

    lines: tuple[str, ...]
    reads: tuple[int, ...] = ()


def cell_drawings(architecture: Sequence[str]) -> tuple[list[Drawing], str]:
    """A drawing of each cell, or of a macro tower, and all as JSON; nothing where the architecture has none."""
    try:
        cells, tower = cells_of(architecture), layers_of(architecture)
    except SpecError:
        return [], ""
    if tower:
        return [_drawing("macro tower", _macro_nodes(tower))], to_json(architecture)
    drawings = [_drawing(f"{kind} cell", _cell_nodes(kind, graph)) for kind, graph in cells.items()]
    return drawings, to_json(architecture) if cells else ""


def _cell_nodes(kind: CellKind, graph: Graph) -> list[_Node]:
    words = ["the input and the state"] if kind is CellKind.RECURRENT else ["0: the cell before", "1: the last cell"]
    nodes = [_Node((word,)) for word in words]
    for number, edges in enumerate(graph, start=kind.offset):
        parts = [f"{operation.removeprefix('CELL_').lower()} of {previous}" for previous, operation in edges]
        nodes.append(_Node((f"{number}", *parts), tuple(sorted({previous for previous, _ in edges}))))
    return nodes


def _macro_nodes(tower: Sequence[Layer]) -> list[_Node]:
    nodes = [_Node(("the picture",))]
    for number, layer in enumerate(tower):
        size = f"{layer.height}x{layer.width}, {layer.filters} filters"
        stride = (f"stride {layer.stride}",) if layer.stride > 1 else ()
        nodes.append(_Node((f"{number}", size, *stride), tuple(read + 1 for read in layer.inputs) or (0,)))
    return [*nodes, _Node(("the output",), tuple(end + 1 for end in ends_of(tower)))]


def _drawing(kind: str, nodes: Sequence[_Node]) -> Drawing:
    columns: list[int] = []
    for node in nodes:
        columns.append(1 + max((columns[read] for read in node.reads), default=-1))
    filled: dict[int, int] = {}
    boxes = []
    for column, node in zip(columns, nodes, strict=True):
        top, height = filled.get(column, 1), _LINE * len(node.lines) + 10
        boxes.append(Box(1 + column * _ACROSS, top, height, tuple(_fitting(line) for line in node.lines)))
        filled[column] = top + height + _DOWN
    paths = [_path(boxes[read], boxes[number]) for number, node in enumerate(nodes) for read in node.reads]
    width = 2 + max(columns) * _ACROSS + _WIDTH
    return Drawing(kind, width, max(filled.values()) - _DOWN + 2, tuple(boxes), tuple(paths))


def _path(start: Box, end: Box) -> str:
    x, y, to_x, to_y = start.x + _WIDTH, start.y + start.height // 2, end.x, end.y + end.height // 2
    middle = (x + to_x) // 2
    return f"M{x} {y}C{middle} {y} {middle} {to_y} {to_x} {to_y}"


def _fitting(line: str) -> str:
    return line.replace("convolution", "conv").replace("separable", "sep").replace("dilated", "dil")
