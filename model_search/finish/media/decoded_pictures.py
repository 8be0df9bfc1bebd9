"""Encoded pictures to a study's format inside a SavedModel; the counterpart of `PictureFormat.read_bytes`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from model_search.data.images.picture_format import PictureFormat


def decoded_picture(encoded: Any, wanted: PictureFormat) -> Any:
    """The content of a PNG, JPEG or GIF file as uint8 [height, width, channels].

    Decoding is the accurate one of libjpeg, and stretching uses a triangle filter, as with Pillow in training; the two
    differ by rounding.

    Args:
        encoded: A scalar string.
        wanted: The study's format.
    """
    # Decodes PNG and GIF files, too, and unlike `decode_image` lets the accurate transform be chosen.
    channels = wanted.channels
    pixels = (
        tf.io.decode_png(encoded, channels=channels)
        if channels == 4
        else tf.io.decode_jpeg(encoded, channels=channels, dct_method="INTEGER_ACCURATE")
    )
    same = tf.reduce_all(tf.equal(tf.shape(pixels)[:2], [wanted.height, wanted.width]))

    def stretched() -> Any:
        resized = tf.image.resize(pixels, [wanted.height, wanted.width], antialias=True)
        return tf.cast(tf.round(tf.clip_by_value(resized, 0.0, 255.0)), tf.uint8)

    return tf.ensure_shape(tf.cond(same, lambda: pixels, stretched), wanted.shape)
