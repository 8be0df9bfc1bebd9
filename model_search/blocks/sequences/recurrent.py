"""Recurrent blocks.

A recurrent layer that reads forwards needs no lengths: padding comes after the valid steps. One that reads backwards
begins at the last valid step, and its outputs are put back into the order of the steps (the archived system left them
reversed).
"""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers, ops

from model_search.blocks.block import BlockSettings
from model_search.blocks.sequences.sequence_block import SequenceBlock, valid_steps

Layer = Callable[..., layers.Layer]


class _Recurrent(SequenceBlock):
    """Base: a recurrent layer, in one direction or in both, optionally plus the input.

    Args:
        units: Width of the state; the output is twice as wide if it reads in both directions.
        skip: Whether the input is added, through a linear layer where the widths differ.
    """

    layer: Layer
    both_directions = False

    def __init__(self, units: int = 128, skip: bool = False) -> None:
        super().__init__()
        self._units = units
        self._skip = skip

    def transform(
        self, sequence: keras.KerasTensor, lengths: keras.KerasTensor | None, hparams: BlockSettings
    ) -> keras.KerasTensor:
        """See the class."""
        output = self._read(sequence, "forwards")
        if self.both_directions:
            mask = None if lengths is None else valid_steps(sequence, lengths)
            backwards = self._read(sequence, "backwards", mask, go_backwards=True)
            output = ops.concatenate([output, ops.flip(backwards, axis=1)], axis=-1)
        return self.plus_input(sequence, output) if self._skip else output

    def _read(
        self, sequence: keras.KerasTensor, part: str, mask: keras.KerasTensor | None = None, go_backwards: bool = False
    ) -> keras.KerasTensor:
        layer = type(self).layer(
            self._units, return_sequences=True, go_backwards=go_backwards, name=f"{self.name}_{part}"
        )
        return layer(sequence, mask=mask)


class RnnBlock(_Recurrent):
    """A simple recurrent layer with tanh."""

    layer = layers.SimpleRNN


class LSTMBlock(_Recurrent):
    """A layer of Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 1997."""

    layer = layers.LSTM


class BidirectionalLSTMBlock(LSTMBlock):
    """Two LSTM layers side by side, one of which reads backwards.

    After Graves and Schmidhuber, "Framewise phoneme classification with bidirectional LSTM", Neural Networks 2005.
    """

    both_directions = True


class GRUBlock(_Recurrent):
    """A layer of Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", EMNLP 2014."""

    layer = layers.GRU


class BidirectionalGRUBlock(GRUBlock):
    """Two GRU layers side by side, one of which reads backwards."""

    both_directions = True
