"""The base of blocks that read sequences, [steps, width], of which the steps from a row's length on are padding."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from model_search.blocks.block import Block, BlockSettings
from model_search.errors import TrialError
from model_search.problem import SEQUENCE_RANK

INITIALIZER = "glorot_uniform"


class SequenceBlock(Block):
    """Base of the families: a subclass defines `transform`. Layers are named after the block that makes them.

    Padded steps must not influence the outputs of valid ones. Their own outputs may be anything: every block that
    reads more than earlier steps masks its input.
    """

    def build(
        self,
        input_tensors: list[keras.KerasTensor],
        is_training: bool | None,
        lengths: keras.KerasTensor | None = None,
        hparams: BlockSettings | None = None,
    ) -> list[keras.KerasTensor]:
        """Appends the transformed last tensor.

        Raises:
            TrialError: if that is no sequence, float32 [batch, steps, width].
        """
        tensor = input_tensors[-1]
        if len(tensor.shape) != 1 + SEQUENCE_RANK:
            raise TrialError(
                f"The block {self.name} received a tensor of shape {tuple(tensor.shape)}; expected a sequence, "
                "[batch, steps, width]. Put it before the blocks that make a vector of a sequence."
            )
        return [*input_tensors, self.transform(tensor, lengths, hparams or BlockSettings())]

    def transform(
        self, sequence: keras.KerasTensor, lengths: keras.KerasTensor | None, hparams: BlockSettings
    ) -> keras.KerasTensor:
        """The block's output for a sequence, float32 [batch, steps, width].

        Args:
            sequence: float32 [batch, steps, width].
            lengths: int32 [batch], the valid steps of each row, at least 1; None where all are valid.
            hparams: The block's own hyperparameters.
        """
        raise NotImplementedError

    def plus_input(self, sequence: keras.KerasTensor, output: keras.KerasTensor) -> keras.KerasTensor:
        """The output plus the input, which a linear layer projects where the widths differ."""
        return output + self.projected(sequence, output.shape[-1])

    def projected(self, sequence: keras.KerasTensor, width: int) -> keras.KerasTensor:
        """The sequence itself if it has that width, else a linear layer named `<block>_projection` at every step."""
        if sequence.shape[-1] == width:
            return sequence
        return layers.Dense(width, kernel_initializer=INITIALIZER, name=f"{self.name}_projection")(sequence)


def valid_steps(sequence: keras.KerasTensor, lengths: keras.KerasTensor) -> keras.KerasTensor:
    """Which steps are no padding, bool [batch, steps]."""
    return ops.expand_dims(lengths, 1) > np.arange(sequence.shape[1], dtype="int32")


def without_padding(
    sequence: keras.KerasTensor, lengths: keras.KerasTensor | None, instead: float = 0.0
) -> keras.KerasTensor:
    """The sequence with `instead` in every padded step; unchanged where all steps are valid."""
    if lengths is None:
        return sequence
    is_valid = ops.expand_dims(valid_steps(sequence, lengths), -1)
    return ops.where(is_valid, sequence, ops.full_like(sequence, instead))
