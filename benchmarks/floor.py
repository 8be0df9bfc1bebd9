"""The time that arithmetic alone would take: matrix products, and the optimizer's memory traffic."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

from model_search.training.runtime import tensorflow, without_grappler


def _seconds(step: Callable[[Any], Any], repetitions: int) -> float:
    """Seconds of one step inside a compiled loop; the least of five runs."""
    tf = tensorflow()

    def loop() -> Any:
        return tf.while_loop(
            lambda i, total: i < repetitions,
            lambda i, total: (i + 1, total + step(total)),
            (tf.constant(0), tf.constant(0.0)),
            parallel_iterations=1,
        )[1]

    with without_grappler():
        function = tf.function(loop, autograph=False).get_concrete_function()
        function()
        best = float("inf")
        for _ in range(5):
            started = time.perf_counter()
            function()
            best = min(best, time.perf_counter() - started)
    return best / repetitions


def product_rate(rows: int, inputs: int, outputs: int) -> float:
    """Floating-point operations a second of the three products of one dense layer, as fast as they go side by side."""
    tf = tensorflow()
    x, w = tf.Variable(tf.random.normal([rows, inputs])), tf.Variable(tf.random.normal([inputs, outputs]))
    dy = tf.Variable(tf.random.normal([rows, outputs]))
    operations = 2 * rows * inputs * outputs

    def corner(*products: Any) -> Any:
        return tf.add_n([product[0, 0] for product in products]) * 1e-30

    def forward(total: Any) -> Any:
        return corner(tf.matmul(x + total, w))

    def forward_twice(total: Any) -> Any:
        return corner(tf.matmul(x + total, w), tf.matmul(x - total, w))

    def backward(total: Any) -> Any:
        return corner(tf.matmul(dy + total, w, transpose_b=True), tf.matmul(x, dy + total, transpose_a=True))

    repetitions = max(20, int(4e8 / operations))
    return max(
        operations / _seconds(forward, repetitions),
        2 * operations / _seconds(forward_twice, repetitions),
        2 * operations / _seconds(backward, repetitions),
    )


def update_seconds(values: int) -> float:
    """Seconds of one fused Adam update of a variable with `values` elements."""
    tf = tensorflow()
    variable, first, second = (tf.Variable(tf.zeros([values])) for _ in range(3))
    gradient = tf.Variable(tf.random.normal([values]) * 1e-3)

    def update(total: Any) -> Any:
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=first.handle,
            v=second.handle,
            beta1_power=0.0,
            beta2_power=0.0,
            lr=1e-3 + total,
            beta1=0.9,
            beta2=0.999,
            epsilon=1e-7,
            grad=gradient,
        )
        return tf.constant(0.0)

    return _seconds(update, max(20, int(2e7 / values)))


def floor_seconds(widths: Sequence[int], rows: int, steps: int) -> tuple[float, float, float]:
    """The floor of training a tower of dense layers.

    Args:
        widths: Inputs, units of each layer, logits.
        rows: Rows per batch.
        steps: Updates.

    Returns:
        Seconds of products, seconds of updates, and floating-point operations a second of the largest layer.
    """
    products, updates, best_rate = 0.0, 0.0, 0.0
    measured: dict[tuple[int, int], tuple[float, float]] = {}
    for place, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        if (inputs, outputs) not in measured:
            measured[inputs, outputs] = (product_rate(rows, inputs, outputs), update_seconds(inputs * outputs))
        rate, update = measured[inputs, outputs]
        products += (6 if place else 4) * rows * inputs * outputs / rate  # the features need no gradient
        updates += update
        best_rate = max(best_rate, rate)
    return products * steps, updates * steps, best_rate
