"""Gradients, without the slow transposed product that large layers meet with small batches."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from model_search.training.runtime import tensorflow

_NAME = "ModelSearchMatMul"
_LARGE = 512 * 512  # values of a weight matrix from which it pays off: a quarter at 512, a half at 1,024
_ROWS = 8  # minimum ratio of inputs to rows in the batch


def loss_and_gradients(loss: Callable[[], Any], values: Sequence[Any], batch_size: int) -> tuple[Any, list[Any]]:
    """A loss and its gradients with respect to `values`, inside a graph; zeros for values that it does not depend on.

    The gradient of `x @ w` with respect to `x` is usually `dy @ w^T`, which reads a large `w` against its order in
    memory. `(w @ dy^T)^T` is the same, reads it in order and transposes two small matrices instead: half the time for
    1,024 units and 32 rows. Only symbolic gradients allow this; they take a little longer to trace than a tape.
    """
    tf = tensorflow()
    zeros = tf.UnconnectedGradients.ZERO
    if any(_pays(value.shape, batch_size) for value in values):
        _register()
        with tf.compat.v1.get_default_graph().gradient_override_map({"MatMul": _NAME}):
            found = loss()
        return found, tf.gradients(found, list(values), unconnected_gradients=zeros)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        for value in values:
            tape.watch(value)
        found = loss()
    return found, tape.gradient(found, list(values), unconnected_gradients=zeros)


def _pays(shape: Any, rows: int | None) -> bool:
    """Whether a matrix of this shape is large enough."""
    if shape.rank != 2 or not shape.is_fully_defined() or rows is None:
        return False
    return math.prod(shape) >= _LARGE and _ROWS * rows <= shape[0]


@functools.cache
def _register() -> None:
    tensorflow().RegisterGradient(_NAME)(_gradient)


def _gradient(operation: Any, upstream: Any) -> tuple[Any, Any]:
    tf = tensorflow()
    left, right = operation.inputs
    match operation.get_attr("transpose_a"), operation.get_attr("transpose_b"):
        case False, False:
            for_right = tf.matmul(left, upstream, transpose_a=True)
            if _pays(right.shape, upstream.shape[0]):
                return tf.transpose(tf.matmul(right, tf.transpose(upstream))), for_right
            return tf.matmul(upstream, right, transpose_b=True), for_right
        case True, False:
            return tf.matmul(right, upstream, transpose_b=True), tf.matmul(left, upstream)
        case False, True:
            return tf.matmul(upstream, right), tf.matmul(upstream, left, transpose_a=True)
        case _:
            return (
                tf.matmul(right, upstream, transpose_a=True, transpose_b=True),
                tf.matmul(upstream, left, transpose_a=True, transpose_b=True),
            )
