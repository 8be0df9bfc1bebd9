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
    held = 0 if wanted.channels == 4 else wanted.channels  # 0: those of the file; 4 are refused for JPEG and GIF files
    pixels = tf.io.decode_jpeg(encoded, channels=held, dct_method="INTEGER_ACCURATE")
    if wanted.channels == 4:
        pixels = _with_alpha(pixels)
    same = tf.reduce_all(tf.equal(tf.shape(pixels)[:2], [wanted.height, wanted.width]))

    def stretched() -> Any:
        resized = tf.image.resize(pixels, [wanted.height, wanted.width], antialias=True)
        return tf.cast(tf.round(tf.clip_by_value(resized, 0.0, 255.0)), tf.uint8)

    return tf.ensure_shape(tf.cond(same, lambda: pixels, stretched), wanted.shape)


def _with_alpha(pixels: Any) -> Any:
    """Colour and alpha from grey, grey and alpha, colour, or both: without an alpha channel a picture is opaque.

    `decode_png` would fill in 1, 3 or 15 for the alpha of files with fewer than eight bits a channel.

    Args:
        pixels: uint8 [height, width, 1 to 4].
    """
    opaque = tf.fill([*tf.unstack(tf.shape(pixels)[:2]), 1], tf.constant(255, tf.uint8))
    places = tf.constant([[0, 0, 0, 1], [0, 0, 0, 1], [0, 1, 2, 3], [0, 1, 2, 3]])[tf.shape(pixels)[2] - 1]
    return tf.gather(tf.concat([pixels, opaque], axis=2), places, axis=2)
