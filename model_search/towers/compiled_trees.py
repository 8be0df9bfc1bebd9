"""The way from the roots of many trees to their leaves as one compiled function, for predictions in this process.

Stock layers (`classic_models`) make an array of all rows and trees for each operation of each level. XLA makes one loop
of them, which takes about a tenth of the time. It compiles for each number of rows, so that rows are taken in blocks of
a power of two; few rows are not worth it. A model with this layer is never saved.
"""

from __future__ import annotations

import concurrent.futures
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from model_search.towers.classic_arrays import ClassicArrays, levels

BLOCK_ROWS = 1024  # at most, a power of two
FEWEST_ROWS = 200  # compiling takes a few tenths of a second
_NO_COMPILER = (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError, tf.errors.NotFoundError)


class CompiledWalk(keras.layers.Layer):
    """Leaves of rows: features float32 [rows, columns] to nodes int32 [rows, trees].

    Args:
        arrays: Trees, which have been checked (`classic_arrays`).
        name: The layer's name.
    """

    def __init__(self, arrays: ClassicArrays, name: str):
        super().__init__(name=name, trainable=False)
        self._trees = len(arrays["root"])
        self._walk = _Walk(arrays)
        self._compiled = tf.function(self._walk, jit_compile=True, autograph=False)

    def compute_output_spec(self, features: Any) -> keras.KerasTensor:
        """The shape of the leaves."""
        return keras.KerasTensor((features.shape[0], self._trees), "int32")

    def call(self, features: Any) -> Any:
        """The leaf of each row in each tree."""
        rows, nodes = features.shape[0], self._walk.nodes
        if rows < FEWEST_ROWS:
            return self._walk(features, nodes)
        size = min(BLOCK_ROWS, 1 << (rows - 1).bit_length())
        blocks = -(-rows // size)
        padded = tf.pad(features, [[0, blocks * size - rows], [0, 0]])
        first, *others = tf.split(padded, blocks)
        try:
            found = [self._compiled(first, nodes)]  # the others find it compiled
        except _NO_COMPILER:
            self._compiled = self._walk
            found = [self._walk(first, nodes)]
        if others:
            threads = tf.config.threading.get_inter_op_parallelism_threads() or 1
            with concurrent.futures.ThreadPoolExecutor(threads) as pool:
                found += pool.map(lambda block: self._compiled(block, nodes), others)
        return tf.concat(found, axis=0)[:rows]


class _Walk:
    """From features to leaves, by the nodes of some trees.

    It is no function: TensorFlow would take the functions of several forests for one that is traced again and again.
    """

    def __init__(self, arrays: ClassicArrays):
        self._levels = levels(arrays)
        self._has_missing = "missing_left" in arrays and bool(arrays["missing_left"].any())
        column = 2 * arrays["feature"] + arrays["missing_left"] if self._has_missing else arrays["feature"]
        nodes = {**arrays, "column": column}
        kinds = {"column": np.int32, "threshold": np.float32, "left": np.int32, "root": np.int32}
        self.nodes = {key: tf.constant(nodes[key].astype(kind)) for key, kind in kinds.items()}

    def __call__(self, features: tf.Tensor, nodes: dict[str, tf.Tensor]) -> tf.Tensor:
        if self._has_missing:
            # Each column a second time, so that a missing number goes left; NaN is at most no threshold.
            least = tf.where(tf.math.is_nan(features), -np.inf, features)
            features = tf.reshape(tf.stack([features, least], axis=2), (-1, 2 * features.shape[1]))
        numbers, first = tf.reshape(features, [-1]), tf.range(tf.shape(features)[0]) * features.shape[1]
        at = tf.zeros_like(first)[:, None] + nodes["root"][None]
        for _ in range(self._levels):
            left = tf.gather(nodes["left"], at)
            number = tf.gather(numbers, first[:, None] + tf.gather(nodes["column"], at))
            stays = tf.equal(left, at)
            at = left + tf.cast(~(stays | (number <= tf.gather(nodes["threshold"], at))), tf.int32)
        return at


def compiled_leaves(features: Any, arrays: ClassicArrays, name: str) -> Any:
    """The leaf of each row in each tree, int32 [rows, trees]; for `features` of a functional model.

    Args:
        features: float32 [rows, columns].
        arrays: Trees, which have been checked (`classic_arrays`).
        name: The layer's name.
    """
    return CompiledWalk(arrays, name)(features)
