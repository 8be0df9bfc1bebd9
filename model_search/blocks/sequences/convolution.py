"""Convolutions over the steps of a sequence."""

from __future__ import annotations

import keras
from keras import layers

from model_search.blocks.block import BlockSettings
from model_search.blocks.sequences.sequence_block import INITIALIZER, SequenceBlock, without_padding


class Conv1DBlock(SequenceBlock):
    """A convolution over steps that reads as many before a step as after it; padded steps read as zeros.

    Kernels of more than one step have a ReLU; those of one step (RECURRENT_DENSE) are linear, as in the archived
    system.

    Args:
        filters: Width of the output.
        kernel_size: Number of steps that the kernel reads.
        skip: Whether the input is added, through a linear layer where the widths differ.
    """

    def __init__(self, filters: int = 128, kernel_size: int = 1, skip: bool = False) -> None:
        super().__init__()
        self._filters = filters
        self._kernel_size = kernel_size
        self._skip = skip

    def transform(
        self, sequence: keras.KerasTensor, lengths: keras.KerasTensor | None, hparams: BlockSettings
    ) -> keras.KerasTensor:
        """See the class."""
        output = layers.Conv1D(
            self._filters,
            self._kernel_size,
            padding="same",
            activation="relu" if self._kernel_size > 1 else None,
            kernel_initializer=INITIALIZER,
            name=f"{self.name}_convolution",
        )(without_padding(sequence, lengths) if self._kernel_size > 1 else sequence)
        return self.plus_input(sequence, output) if self._skip else output
