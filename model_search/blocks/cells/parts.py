"""The parts of cells as blocks by themselves: what a tower has of them that belong to no cell."""

from __future__ import annotations

import keras
from keras import layers

from model_search.blocks.block import Block, BlockSettings
from model_search.blocks.cells.operations import apply_operation, short_name
from model_search.blocks.cells.recurrent import activation_of
from model_search.blocks.images.map_block import MapBlock
from model_search.blocks.sequences.sequence_block import SequenceBlock


class CellInputBlock(Block):
    """What an edge of a cell reads. By itself it changes nothing."""

    def build(
        self,
        input_tensors: list[keras.KerasTensor],
        is_training: bool | None,
        lengths: keras.KerasTensor | None = None,
        hparams: BlockSettings | None = None,
    ) -> list[keras.KerasTensor]:
        """Appends the last tensor once more."""
        return [*input_tensors, input_tensors[-1]]


class MacroPartBlock(CellInputBlock):
    """A choice of a layer of a macro tower. By itself it changes nothing."""


class CellOperationBlock(MapBlock):
    """What an edge of a normal or a reduction cell does to a map: a convolution, a pooling, or nothing.

    Args:
        operation: Name of the operation.
    """

    def __init__(self, operation: str = "CELL_IDENTITY") -> None:
        super().__init__()
        self._operation = operation

    def transform(self, tensor: keras.KerasTensor, hparams: BlockSettings) -> keras.KerasTensor:
        """See the class."""
        return apply_operation(self._operation, tensor, f"{self.name}_{short_name(self._operation)}")


class CellActivationBlock(SequenceBlock):
    """The activation of a node of a recurrent cell, at every step.

    Args:
        activation: Name of the operation.
    """

    def __init__(self, activation: str = "CELL_LINEAR") -> None:
        super().__init__()
        self._activation = activation

    def transform(
        self, sequence: keras.KerasTensor, lengths: keras.KerasTensor | None, hparams: BlockSettings
    ) -> keras.KerasTensor:
        """See the class."""
        return layers.Activation(activation_of(self._activation), name=f"{self.name}_activation")(sequence)
