"""From the cells of an architecture to their output."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from model_search.blocks.cells.macro_tower import macro_tensor
from model_search.blocks.cells.network import image_cells
from model_search.blocks.cells.recurrent import recurrent_cell
from model_search.cells import CellKind, CellLayout, cells_of
from model_search.errors import ModelSearchError, TrialError
from model_search.macro import layers_of
from model_search.problem import MAP_RANK, SEQUENCE_RANK

_MOST_CELLS = 100


def cell_tensor(
    tensor: keras.KerasTensor, architecture: Sequence[str], layout: CellLayout, prefix: str
) -> keras.KerasTensor:
    """The output of an architecture's cells, or of its macro tower.

    Args:
        tensor: float32 [batch, height, width, channels], or [batch, steps, width] for a recurrent cell.
        architecture: Names of blocks, those of the cells among them.
        layout: How often cells are repeated, and how wide they are.
        prefix: What the names of all layers begin with.

    Raises:
        TrialError: if the cells do not fit the tensor, or cannot be built.
    """
    try:
        cells, tower = cells_of(architecture), layers_of(architecture)
    except ModelSearchError as error:
        raise TrialError(f"the cells cannot be built: {error}") from error
    rank = SEQUENCE_RANK if CellKind.RECURRENT in cells else MAP_RANK
    if len(tensor.shape) != 1 + rank:
        what = "sequences, [batch, steps, width]" if rank == SEQUENCE_RANK else "maps, [batch, height, width, channels]"
        raise TrialError(f"the cells received a tensor of shape {tuple(tensor.shape)}; expected {what}")
    if tower:
        return macro_tensor(tensor, tower, prefix)
    count = layout.reductions + layout.repeats * (layout.reductions + 1)
    if count > _MOST_CELLS:
        raise TrialError(f"the tower would have {count:,} cells; expected {_MOST_CELLS} at most")
    if rank == SEQUENCE_RANK:
        return recurrent_cell(tensor, cells[CellKind.RECURRENT], layout.units, prefix)
    return image_cells(tensor, cells, layout, prefix)
