"""Augmentations of sequences, [rows, steps, channels] as float32; seeds are int32 [2].

`lengths` is int32 [rows], `mean` and `deviation` are those of the channels over the training rows.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from model_search.training.runtime import tensorflow


@dataclasses.dataclass(frozen=True)
class Steps:
    """The sequences of an update, with what augmentations need to know of them."""

    values: Any
    lengths: Any
    mean: Any
    deviation: Any


def time_mask(given: Steps, strength: float, seed: Any) -> Any:
    """Blanks a random stretch of the valid steps, with the mean (Park et al. 2019)."""
    tf = tensorflow()
    lengths = tf.cast(given.lengths[:, None], tf.float32)
    share, place = (tf.random.stateless_uniform(tf.shape(lengths), seed + draw) for draw in range(2))
    width = tf.floor(share * (strength * lengths + 1.0))
    start = tf.floor(place * (lengths - width + 1.0))
    step = tf.range(tf.shape(given.values)[1], dtype=tf.float32)
    masked = (step >= start) & (step < start + width)
    return tf.where(masked[:, :, None], given.mean, given.values)


def frequency_mask(given: Steps, strength: float, seed: Any) -> Any:
    """Blanks some neighbouring channels, with their means (Park et al. 2019); one channel always stays."""
    tf = tensorflow()
    channels = given.values.shape[2]
    rows = tf.shape(given.values)[0]
    most = min(channels - 1, round(strength * channels))
    width = tf.random.stateless_uniform([rows, 1], seed, 0, most + 1, tf.int32)
    start = tf.cast(
        tf.random.stateless_uniform([rows, 1], seed + 1) * tf.cast(channels - width + 1, tf.float32), tf.int32
    )
    channel = tf.range(channels)
    masked = (channel >= start) & (channel < start + width)
    return tf.where(masked[:, None, :], given.mean, given.values)


def time_shift(given: Steps, strength: float, seed: Any) -> Any:
    """Moves the valid steps by a random amount either way; the first or the last step is repeated."""
    tf = tensorflow()
    lengths = given.lengths[:, None]
    most = strength * tf.cast(lengths, tf.float32)
    shift = tf.cast(tf.round(most * tf.random.stateless_uniform(tf.shape(lengths), seed, -1.0, 1.0)), tf.int32)
    step = tf.range(tf.shape(given.values)[1])
    source = tf.where(step < lengths, tf.clip_by_value(step + shift, 0, lengths - 1), step)
    return tf.ensure_shape(tf.gather(given.values, source, axis=1, batch_dims=1), given.values.shape)


def noise(given: Steps, strength: float, seed: Any) -> Any:
    """Adds normal noise to every value."""
    tf = tensorflow()
    return given.values + strength * given.deviation * tf.random.stateless_normal(tf.shape(given.values), seed)
