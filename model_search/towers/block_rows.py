"""How many rows a model is given at a time where nothing is learnt from them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

INPUT_VALUES = 4_000_000  # values of the inputs in one forward pass: 16 MB
WIDEST_VALUES = 16_000_000  # values of the widest layer in one forward pass: 64 MB


def rows_at_a_time(model: keras.Model) -> int:
    """Rows for which neither the inputs nor any layer's values take much memory; at least 1."""
    read = sum(_values(tensor) for tensor in model.inputs)
    return max(1, min(INPUT_VALUES // max(1, read), WIDEST_VALUES // max(1, _widest(model))))


def _widest(model: keras.Model) -> int:
    """Values of one row in the layer that has the most."""
    nodes = (node for layer in model._flatten_layers(include_self=False) for node in layer._inbound_nodes)
    return max((_values(tensor) for node in nodes for tensor in node.output_tensors), default=1)


def _values(tensor: keras.KerasTensor) -> int:
    return math.prod(size or 1 for size in tensor.shape[1:])
