"""Classic models as Keras models of stock layers: features in, logits out.

Trees are walked level by level, all trees at once: an `Embedding` is the table of the nodes. A `.keras` file and a
SavedModel hold them as arrays of numbers, and plain Keras loads them in safe mode.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from model_search.data.rows import FEATURES
from model_search.towers.classic_arrays import ClassicArrays, checked, levels
from model_search.towers.keras_inputs import input_name
from model_search.towers.naming import own_names


def classic_model(arrays: ClassicArrays, width: int, whose: str) -> keras.Model:
    """A model from features [rows, columns] to logits [rows, width].

    Args:
        arrays: See `classic_arrays`.
        width: Of the logits.
        whose: Whose they are, for messages.

    Raises:
        StudyError: if the arrays are not those of a classic model.
    """
    checked(arrays, whose)
    is_linear = "kernel" in arrays
    columns = arrays["kernel"].shape[0] if is_linear else len(arrays["indicator"])
    with own_names():
        features = keras.Input((columns,), dtype="float32", name=input_name(FEATURES))
        found = _linear(features, arrays) if is_linear else _forest(features, arrays)
        if found.shape[1] != width:
            found = ops.concatenate([ops.zeros_like(found), found], axis=1)
        return keras.Model(features, found, name="tower")


def _linear(features: Any, arrays: ClassicArrays) -> Any:
    layer = layers.Dense(arrays["kernel"].shape[1], name="logits")
    found = layer(features)
    layer.set_weights([arrays["kernel"], arrays["bias"]])
    return found


def _forest(features: Any, arrays: ClassicArrays) -> Any:
    features = _with_missing(features, arrays["indicator"])
    count, trees, outputs = len(arrays["feature"]), len(arrays["root"]), len(arrays["baseline"])
    columns = [arrays[name] for name in ("feature", "threshold", "left", "missing_left")]
    nodes = _table(np.stack(columns, axis=1).astype(np.float32), "nodes")
    roots = arrays["root"].astype("int32")[None]
    at = ops.zeros_like(features[:, :1], dtype="int32") + roots
    for _ in range(levels(arrays)):
        node = nodes(at)
        numbers = ops.take_along_axis(features, ops.cast(node[..., 0], "int32"), axis=1)
        left = ops.cast(node[..., 2], "int32")
        goes_left = ops.where(ops.isnan(numbers), node[..., 3] > 0.5, numbers <= node[..., 1])
        is_leaf = ops.equal(left, at)
        at = ops.where(ops.logical_or(goes_left, is_leaf), left, left + 1)
    values = _table(arrays["value"].reshape(count, 1).astype(np.float32), "values")(at)
    by_output = ops.reshape(values, (-1, trees // outputs, outputs))
    summed = layers.Dense(outputs, name="logits")
    found = summed(ops.sum(by_output, axis=1))
    summed.set_weights([np.eye(outputs, dtype=np.float32), arrays["baseline"].astype(np.float32)])
    return found


def _table(values: np.ndarray, name: str) -> layers.Embedding:
    """A layer that looks rows of an array up."""
    table = layers.Embedding(*values.shape, name=name)
    table.build(())
    table.set_weights([values])
    return table


def _with_missing(features: Any, indicator: np.ndarray) -> Any:
    """Features with NaN where their indicator is 1."""
    if not (indicator >= 0).any():
        return features
    padded = ops.concatenate([features, ops.zeros_like(features[:, :1])], axis=1)
    marks = ops.take(padded, np.where(indicator < 0, len(indicator), indicator).astype("int32"), axis=1)
    return ops.where(marks > 0.5, float("nan"), features)
