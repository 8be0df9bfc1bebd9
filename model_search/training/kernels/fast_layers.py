"""A tower with faster kernels for training and evaluation; stored and exported towers keep their stock layers."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from model_search.training.kernels.block_lstm import BlockLSTM, can_be_block_lstm

_MAP_AXES = 4  # rows, height, width, channels


def with_fast_kernels(model: keras.Model) -> keras.Model:
    """The same model with faster layers where there are some; itself where there are none.

    All other layers are shared with the given model. Weights have the same order and shapes, outputs, gradients and
    moving statistics agree up to rounding.
    """
    if not any(_faster(layer) for layer in model._flatten_layers(include_self=False)):
        return model
    return keras.models.clone_model(model, clone_function=_replaced, recursive=True)


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation of maps in one operation, where Keras uses a dozen (Ioffe & Szegedy 2015)."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """As the stock layer's; a mask is not read, since maps have none."""
        channels = inputs.shape[-1]
        gamma = tf.ones([channels]) if self.gamma is None else tf.convert_to_tensor(self.gamma)
        beta = tf.zeros([channels]) if self.beta is None else tf.convert_to_tensor(self.beta)
        if not (training and self.trainable):
            return tf.raw_ops.FusedBatchNormV3(
                x=inputs,
                scale=gamma,
                offset=beta,
                mean=tf.convert_to_tensor(self.moving_mean),
                variance=tf.convert_to_tensor(self.moving_variance),
                epsilon=self.epsilon,
                is_training=False,
            ).y
        found = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=gamma, offset=beta, mean=[], variance=[], epsilon=self.epsilon, is_training=True
        )
        count = tf.cast(tf.size(inputs) // channels, tf.float32)
        variance = found.batch_variance * (count - 1.0) / count  # the operation's is unbiased, Keras' is not
        for moving, value in ((self.moving_mean, found.batch_mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1.0 - self.momentum))
        return found.y


def _is_slow(layer: Any) -> bool:
    """Whether it is a batch normalisation that one operation can do."""
    return (
        type(layer) is keras.layers.BatchNormalization
        and layer.built
        and _reads_one_map(layer)
        and layer.axis in (-1, _MAP_AXES - 1)
        and not layer.synchronized
        and layer.compute_dtype == "float32"
    )


def _reads_one_map(layer: Any) -> bool:
    """Whether it reads a map, and no mask beside it."""
    given = layer._inbound_nodes[0].input_tensors
    return len(given) == 1 and len(given[0].shape) == _MAP_AXES


def _replaced(layer: Any) -> Any:
    kind = _faster(layer)
    return layer if kind is None else kind.from_config(layer.get_config())


def _faster(layer: Any) -> type[keras.layers.Layer] | None:
    """The faster form of a layer; None where there is none."""
    if _is_slow(layer):
        return FusedBatchNormalization
    return BlockLSTM if can_be_block_lstm(layer) else None
