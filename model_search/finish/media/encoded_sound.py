"""Log-mel features inside a SavedModel; the counterpart of `LogMel.features`."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from model_search.data.audio.log_mel import FLOOR, LogMel


def log_mel_features(waveforms: Any, samples: Any, wanted: LogMel, steps: int) -> tuple[Any, Any]:
    """The features of padded waveforms.

    Args:
        waveforms: float32 [rows, samples], from -1 to 1.
        samples: int32 [rows], the valid samples of each row; all of the row where they are more.
        wanted: How features are computed.
        steps: Steps of the result; a longer recording is cut.

    Returns:
        float32 [rows, steps, bands] and int32 [rows], the valid steps.
    """
    samples = tf.minimum(samples, tf.shape(waveforms)[1])  # silence that is not there would count as heard
    is_valid = tf.range(tf.shape(waveforms)[1]) < samples[:, None]
    silent = tf.where(is_valid, waveforms, 0.0)
    silent = tf.pad(silent, [[0, 0], [0, (steps - 1) * wanted.hop + wanted.frame]])
    frames = tf.signal.frame(silent, wanted.frame, wanted.hop)[:, :steps]
    spectrum = tf.abs(tf.signal.rfft(frames * wanted.window, [wanted.bins]))
    features = tf.math.log(tf.square(spectrum) @ wanted.weights + FLOOR)
    lengths = tf.minimum(1 + tf.maximum(0, samples - wanted.frame) // wanted.hop, steps)
    is_read = tf.sequence_mask(lengths, steps, tf.float32)[:, :, None]
    if wanted.range is not None:
        heard = tf.where(is_read > 0, features, -math.inf)
        features = tf.maximum(features, tf.reduce_max(heard, axis=[1, 2], keepdims=True) - wanted.range)
    if wanted.centred:
        total = tf.reduce_sum(features * is_read, axis=1, keepdims=True)
        features -= total / tf.cast(lengths, tf.float32)[:, None, None]
    return tf.ensure_shape(features, [None, steps, wanted.bands]), lengths
