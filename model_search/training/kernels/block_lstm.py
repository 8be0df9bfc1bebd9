"""A narrow LSTM layer as one operation for all of its steps, in place of a loop of several operations a step."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

MOST_UNITS = 64  # wider ones are faster as a loop, whose products use the processor better


class BlockLSTM(keras.layers.LSTM):
    """The stock layer, computed by `BlockLSTMV2`, which reads Keras' weights as they are.

    A mask is only read where `can_be_block_lstm` says so: its padding is at the end.
    """

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        """As the stock layer's."""
        if initial_state is not None or (mask is not None and not self.go_backwards):
            return super().call(sequences, initial_state, mask, training)
        if self.go_backwards:
            lengths = None if mask is None else tf.math.count_nonzero(mask, axis=1, dtype=tf.int32)
            sequences = _reversed(sequences, lengths)
        states = tf.transpose(self._states(tf.transpose(sequences, [1, 0, 2])), [1, 0, 2])
        if mask is not None:  # as Keras has them: padding first, with zeros, then the valid steps from last to first
            states = tf.where(mask[:, :, None], states, tf.zeros_like(states))
            states = tf.reverse(tf.reverse_sequence(states, lengths, seq_axis=1), [1])
        return states if self.return_sequences else states[:, -1]

    def _states(self, sequences: Any) -> Any:
        """Outputs of all steps, [steps, rows, units], of sequences [steps, rows, width]."""
        cell = self.cell
        weights = tf.concat([tf.convert_to_tensor(cell.kernel), tf.convert_to_tensor(cell.recurrent_kernel)], axis=0)
        return _block_lstm(sequences, weights, tf.convert_to_tensor(cell.bias))


@tf.custom_gradient
def _block_lstm(sequences: Any, weights: Any, bias: Any) -> Any:
    """Outputs of all steps, with their gradient.

    TensorFlow's own gradient of the operation takes the gates in the order of its first version, and so is wrong.
    """
    units = bias.shape[0] // 4
    zeros, no_peephole = tf.zeros([tf.shape(sequences)[1], units], sequences.dtype), tf.zeros([units], sequences.dtype)
    given = {
        "seq_len_max": tf.shape(sequences, out_type=tf.int64)[0],
        "x": sequences,
        "cs_prev": zeros,
        "h_prev": zeros,
        "w": weights,
        "wci": no_peephole,
        "wcf": no_peephole,
        "wco": no_peephole,
        "b": bias,
        "use_peephole": False,
    }
    found = tf.raw_ops.BlockLSTMV2(**given, cell_clip=0)

    def gradient(upstream: Any) -> tuple[Any, Any, Any]:
        inner = {name: getattr(found, name) for name in ("i", "cs", "f", "o", "ci", "co", "h")}
        back = tf.raw_ops.BlockLSTMGradV2(**given, **inner, cs_grad=tf.zeros_like(found.cs), h_grad=upstream)
        return back.x_grad, back.w_grad, back.b_grad

    return found.h, gradient


def can_be_block_lstm(layer: Any) -> bool:
    """Whether a layer is a narrow LSTM of the usual kind that reads one sequence, with padding at the end if any."""
    return (
        type(layer) is keras.layers.LSTM
        and layer.built
        and layer.units <= MOST_UNITS
        and layer.use_bias
        and layer.activation is keras.activations.tanh
        and layer.recurrent_activation is keras.activations.sigmoid
        and not (layer.dropout or layer.recurrent_dropout or layer.stateful or layer.return_state)
        and layer.compute_dtype == "float32"
        and _has_padding_last(layer)
    )


def _has_padding_last(layer: Any) -> bool:
    """Whether it reads a sequence without a mask, or backwards with a mask that is made of lengths."""
    if len(layer._inbound_nodes) != 1:
        return False
    arguments = layer._inbound_nodes[0].arguments
    if len(arguments.keras_tensors) > 1 + ("mask" in arguments.kwargs):
        return False
    mask = arguments.kwargs.get("mask")
    if mask is None:
        return getattr(arguments.keras_tensors[0], "_keras_mask", None) is None
    return bool(layer.go_backwards) and _is_made_of_lengths(mask)


def _is_made_of_lengths(mask: Any) -> bool:
    """Whether a mask says that a step's number is below the row's length."""
    operation = mask._keras_history.operation
    if not isinstance(operation, keras.src.ops.numpy.Greater):
        return False
    compared = operation._inbound_nodes[0].arguments.args[1]
    return isinstance(compared, np.ndarray) and np.array_equal(compared, np.arange(mask.shape[1]))


def _reversed(sequences: Any, lengths: Any) -> Any:
    """The valid steps from last to first; padding stays at the end."""
    return tf.reverse(sequences, [1]) if lengths is None else tf.reverse_sequence(sequences, lengths, seq_axis=1)
