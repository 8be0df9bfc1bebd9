"""The gradient of a matrix product, without the slow transposed product that large layers meet with small batches."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from model_search.training.runtime import tensorflow

_NAME = "ModelSearchMatMul"
_LARGE = 512 * 512  # values of a weight matrix from which on it pays (measured: a third at 512, a half at 1,024)


@contextlib.contextmanager
def faster_products() -> Iterator[None]:
    """Products in the default graph made inside get a gradient of their own, as far as `tf.gradients` is concerned."""
    tf = tensorflow()
    _register()
    with tf.compat.v1.get_default_graph().gradient_override_map({"MatMul": _NAME}):
        yield


@functools.cache
def _register() -> None:
    tensorflow().RegisterGradient(_NAME)(_gradient)


def _gradient(operation: Any, upstream: Any) -> tuple[Any, Any]:
    """Gradients of `x @ w` (and of its transposed forms) with respect to both factors.

    The usual one of `x` is `dy @ w^T`, a product that reads the large matrix against its order in memory;
    `(w @ dy^T)^T` reads it in order and transposes two small matrices instead.
    """
    tf = tensorflow()
    left, right = operation.inputs
    first, second = operation.get_attr("transpose_a"), operation.get_attr("transpose_b")
    if first or second:
        return _general(left, right, upstream, (first, second))
    for_right = tf.matmul(left, upstream, transpose_a=True)
    shape = right.shape
    rows = upstream.shape[0]
    if shape.is_fully_defined() and shape.num_elements() >= _LARGE and rows is not None and 8 * rows <= shape[0]:
        return tf.transpose(tf.matmul(right, tf.transpose(upstream))), for_right
    return tf.matmul(upstream, right, transpose_b=True), for_right


def _general(left: Any, right: Any, upstream: Any, transposed: tuple[bool, bool]) -> tuple[Any, Any]:
    tf = tensorflow()
    match transposed:
        case (True, False):
            return tf.matmul(right, upstream, transpose_b=True), tf.matmul(left, upstream)
        case (False, True):
            return tf.matmul(upstream, right), tf.matmul(upstream, left, transpose_a=True)
        case _:
            return (
                tf.matmul(right, upstream, transpose_a=True, transpose_b=True),
                tf.matmul(upstream, left, transpose_a=True, transpose_b=True),
            )
