"""A recurrent block that reads lengths, as a user adds it: this file and one registration."""

import numpy as np
from keras import layers, ops

from model_search import blocks


class GruBlock(blocks.Block):
    """A GRU over the valid steps of a sequence."""

    def __init__(self, units):
        super().__init__()
        self._units = units

    def build(self, input_tensors, is_training, lengths=None, hparams=None):
        sequence = input_tensors[-1]
        is_valid = None
        if lengths is not None:
            is_valid = ops.expand_dims(lengths, 1) > np.arange(sequence.shape[1], dtype="int32")
        return [*input_tensors, layers.GRU(self._units, return_sequences=True)(sequence, mask=is_valid)]
