"""Drawings of the cells of an architecture: what reads what, and what it does to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from model_search.cells import CellKind, Graph, cells_of, to_json
from model_search.errors import SpecError

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
    """A cell: its kind, the size of the drawing, its boxes and the paths between them."""

    kind: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    paths: tuple[str, ...]
    box_width: int = _WIDTH


def cell_drawings(architecture: Sequence[str]) -> tuple[list[Drawing], str]:
    """A drawing of each cell and all of them as JSON; nothing where the architecture has none."""
    try:
        cells = cells_of(architecture)
    except SpecError:
        return [], ""
    return [_drawing(kind, graph) for kind, graph in cells.items()], to_json(architecture) if cells else ""


def _drawing(kind: CellKind, graph: Graph) -> Drawing:
    words = ["the input and the state"] if kind is CellKind.RECURRENT else ["0: the cell before", "1: the last cell"]
    texts: list[tuple[str, ...]] = [(word,) for word in words]
    columns = [0] * kind.offset
    for number, edges in enumerate(graph, start=kind.offset):
        columns.append(1 + max(columns[previous] for previous, _ in edges))
        parts = [f"{operation.removeprefix('CELL_').lower()} of {previous}" for previous, operation in edges]
        texts.append((f"{number}", *parts))
    filled: dict[int, int] = {}
    boxes = []
    for column, lines in zip(columns, texts, strict=True):
        top, height = filled.get(column, 1), _LINE * len(lines) + 10
        boxes.append(Box(1 + column * _ACROSS, top, height, tuple(_fitting(line) for line in lines)))
        filled[column] = top + height + _DOWN
    paths = [
        _path(boxes[previous], boxes[number])
        for number, edges in enumerate(graph, start=kind.offset)
        for previous in sorted({previous for previous, _ in edges})
    ]
    width = 2 + max(columns) * _ACROSS + _WIDTH
    return Drawing(str(kind), width, max(filled.values()) - _DOWN + 2, tuple(boxes), tuple(paths))


def _path(start: Box, end: Box) -> str:
    x, y, to_x, to_y = start.x + _WIDTH, start.y + start.height // 2, end.x, end.y + end.height // 2
    middle = (x + to_x) // 2
    return f"M{x} {y}C{middle} {y} {middle} {to_y} {to_x} {to_y}"


def _fitting(line: str) -> str:
    return line.replace("convolution", "conv").replace("separable", "sep").replace("dilated", "dil")
