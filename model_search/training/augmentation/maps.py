"""Augmentations of pictures and other maps, [rows, height, width, channels] as float32; seeds are int32 [2]."""

from __future__ import annotations

from typing import Any

from model_search.training.runtime import tensorflow


def flip(maps: Any, strength: float, seed: Any) -> Any:
    """Mirrors a share of the maps left to right."""
    tf = tensorflow()
    chosen = tf.random.stateless_uniform([tf.shape(maps)[0], 1, 1, 1], seed) < strength
    return tf.where(chosen, tf.reverse(maps, [2]), maps)


def crop(maps: Any, strength: float, seed: Any) -> Any:
    """Moves each map by a random amount either way; what comes in from outside is the mirrored border."""
    tf = tensorflow()
    height, width = maps.shape[1], maps.shape[2]
    high, wide = min(height - 1, round(strength * height)), min(width - 1, round(strength * width))
    padded = tf.pad(maps, [[0, 0], [high, high], [wide, wide], [0, 0]], mode="REFLECT")
    rows = tf.shape(maps)[0]
    down, right = (
        tf.random.stateless_uniform([rows, 1], seed + place, 0, 2 * most + 1, tf.int32)
        for place, most in ((0, high), (1, wide))
    )
    moved = tf.gather(padded, down + tf.range(height), axis=1, batch_dims=1)
    return tf.ensure_shape(tf.gather(moved, right + tf.range(width), axis=2, batch_dims=1), maps.shape)


def cutout(maps: Any, strength: float, seed: Any) -> Any:
    """Blanks a square around a random place, with the map's own mean (DeVries & Taylor 2017)."""
    tf = tensorflow()
    rows = tf.shape(maps)[0]
    inside = []
    for axis, size in ((1, maps.shape[1]), (2, maps.shape[2])):
        centre = tf.random.stateless_uniform([rows, 1], seed + axis, 0, size, tf.int32)
        near = 2 * tf.abs(tf.range(size) - centre) < max(1, round(strength * size))
        inside.append(tf.reshape(near, [rows, size, 1, 1] if axis == 1 else [rows, 1, size, 1]))
    return tf.where(inside[0] & inside[1], tf.reduce_mean(maps, [1, 2], keepdims=True), maps)


def colour(maps: Any, strength: float, seed: Any) -> Any:
    """Changes brightness, contrast and (of three channels or more) saturation of each map by random factors."""
    tf = tensorflow()
    rows = tf.shape(maps)[0]
    light, contrast, saturation = (
        1.0 + tf.random.stateless_uniform([rows, 1, 1, 1], seed + place, -strength, strength) for place in range(3)
    )
    mean = tf.reduce_mean(maps, [1, 2], keepdims=True)
    found = (mean + (maps - mean) * contrast) * light
    if maps.shape[3] == 3:
        grey = tf.reduce_mean(found, axis=3, keepdims=True)
        found = grey + (found - grey) * saturation
    return found
