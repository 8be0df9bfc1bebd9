"""A tower that repeats a normal and a reduction cell.

After Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition", CVPR 2018. Departures: the
output of a cell are all its nodes side by side, as in Liu et al., "DARTS", ICLR 2019; and a reduction cell halves its
two inputs before its nodes read them, so that all nodes of a cell read maps of one shape.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import keras
from keras import layers, ops

from model_search.blocks.cells.operations import INITIALIZER, apply_operation, normalised, short_name
from model_search.cells import CellKind, CellLayout, Cells, Graph

STEM_KERNEL = 3


@dataclasses.dataclass(frozen=True)
class PlacedCell:
    """A cell of a tower.

    Attributes:
        kind: Normal or reduction.
        number: How many cells come before it.
        channels: Of each of its nodes.
        stride: By which height and width are divided.
    """

    kind: CellKind
    number: int
    channels: int
    stride: int

    @property
    def name(self) -> str:
        """What the names of its layers begin with."""
        return f"cell_{self.number}_{self.kind}"


def placed_cells(layout: CellLayout) -> Iterator[PlacedCell]:
    """The cells of a tower, from its input on."""
    number = 0
    for stage in range(layout.reductions + 1):
        channels = layout.channels * 2**stage
        if stage:
            yield PlacedCell(CellKind.REDUCTION, number, channels, 2)
            number += 1
        for _ in range(layout.repeats):
            yield PlacedCell(CellKind.NORMAL, number, channels, 1)
            number += 1


def edge_name(cell: PlacedCell, node: int, edge: int, operation: str) -> str:
    """What the names of the layers of an edge begin with."""
    return f"{cell.name}_node_{node}_{'ab'[edge]}_{short_name(operation)}"


def image_cells(tensor: keras.KerasTensor, cells: Cells, layout: CellLayout, prefix: str) -> keras.KerasTensor:
    """The output of all cells for a map, float32 [batch, height, width, channels].

    Args:
        tensor: The map.
        cells: The graphs; a tower with reduction cells that has no graph for them uses that of the normal cell.
        layout: How often cells are repeated, and their channels.
        prefix: What the names of all layers begin with.
    """
    stem = layers.Conv2D(
        layout.channels,
        STEM_KERNEL,
        strides=layout.stem_stride,
        padding="same",
        use_bias=False,
        kernel_initializer=INITIALIZER,
        name=f"{prefix}stem_convolution",
    )(tensor)
    before = last = normalised(stem, f"{prefix}stem")
    for place in placed_cells(layout):
        graph = cells.get(place.kind, cells[CellKind.NORMAL])
        before, last = last, _cell(place, graph, (before, last), prefix)
    return layers.ReLU(name=f"{prefix}cells_relu")(last)


def _cell(place: PlacedCell, graph: Graph, inputs: Sequence[keras.KerasTensor], prefix: str) -> keras.KerasTensor:
    """A cell's output: its nodes side by side."""
    size = -(-inputs[-1].shape[1] // place.stride)
    tensors = [_entrance(place, number, tensor, size, prefix) for number, tensor in enumerate(inputs)]
    for node, edges in enumerate(graph):
        found = [
            apply_operation(operation, tensors[previous], prefix + edge_name(place, node, edge, operation))
            for edge, (previous, operation) in enumerate(edges)
        ]
        tensors.append(layers.Add(name=f"{prefix}{place.name}_node_{node}")(found))
    return ops.concatenate(tensors[len(inputs) :], axis=-1)


def _entrance(place: PlacedCell, number: int, tensor: keras.KerasTensor, size: int, prefix: str) -> keras.KerasTensor:
    """An input of a cell with the channels and the size of the cell's nodes."""
    name = f"{prefix}{place.name}_input_{number}"
    tensor = layers.ReLU(name=f"{name}_relu")(tensor)
    factor = -(-tensor.shape[1] // size)
    if factor > 1:
        tensor = layers.AveragePooling2D(factor, padding="same", name=f"{name}_pooling")(tensor)
    options = {"use_bias": False, "kernel_initializer": INITIALIZER}
    return normalised(layers.Conv2D(place.channels, 1, name=f"{name}_convolution", **options)(tensor), name)
