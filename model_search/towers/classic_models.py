"""Classic models as Keras models of stock layers: features in, logits out.

Trees are walked level by level, all trees at once: an `Embedding` is the table of the nodes. A `.keras` file and a
SavedModel hold them as arrays of numbers, and plain Keras loads them in safe mode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from model_search.data.rows import FEATURES
from model_search.data.tabular.preprocess import CLIP
from model_search.towers.classic_arrays import (
    MOST_FEATURE,
    MOST_NODES,
    ClassicArrays,
    checked,
    columns_of,
    joined,
    levels,
    side_by_side,
)
from model_search.towers.compiled_trees import compiled_leaves
from model_search.towers.keras_inputs import input_name
from model_search.towers.naming import own_names

_MOST_TREES = 4096  # that are walked together: some megabytes for a thousand rows


def classic_model(arrays: ClassicArrays, width: int, whose: str, *, compiled: bool = False) -> keras.Model:
    """A model from features [rows, columns] to logits [rows, width].

    Args:
        arrays: See `classic_arrays`.
        width: Of the logits.
        whose: Whose they are, for messages.
        compiled: See `bag_of_classic_models`.

    Raises:
        StudyError: if the arrays are not those of a classic model.
    """
    return bag_of_classic_models([arrays], width, whose, lambda logits: logits[0], compiled=compiled)


def bag_of_classic_models(
    parts: Sequence[ClassicArrays],
    width: int,
    whose: str,
    combine: Callable[[list[Any]], Any],
    *,
    compiled: bool = False,
) -> keras.Model:
    """One model of several classic models of a kind. Their trees are walked together: each level is some operations.

    Args:
        parts: The models; see `classic_arrays`.
        width: Of the logits.
        whose: Whose they are, for messages.
        combine: From the logits of each part to those of the model.
        compiled: Whether trees are walked by a compiled function: many times faster, but not to be saved.

    Raises:
        StudyError: if the arrays are not those of classic models.
    """
    for arrays in parts:
        checked(arrays, whose)
    first = parts[0]
    with own_names():
        features = keras.Input((columns_of(first),), dtype="float32", name=input_name(FEATURES))
        logits: list[Any] = []
        if "kernel" in first:
            logits = [_without_trees(features, arrays, place) for place, arrays in enumerate(parts)]
        for group in _groups(parts) if "root" in first else ():
            logits += _forests(features, group, len(logits), compiled_leaves if compiled else _leaves)
        full = [one if one.shape[1] == width else ops.concatenate([ops.zeros_like(one), one], axis=1) for one in logits]
        return keras.Model(features, combine(full), name="tower")


def _numbered(name: str, place: int) -> str:
    return name if not place else f"{name}_{place}"


def _groups(parts: Sequence[ClassicArrays]) -> list[list[ClassicArrays]]:
    """Forests that are walked together: each row is at one node of each tree at once."""
    groups: list[list[ClassicArrays]] = [[]]
    trees = nodes = 0
    for arrays in parts:
        trees, nodes = trees + len(arrays["root"]), nodes + len(arrays["feature"])
        if groups[-1] and (trees > _MOST_TREES or nodes >= MOST_NODES):
            groups.append([])
            trees, nodes = len(arrays["root"]), len(arrays["feature"])
        groups[-1].append(arrays)
    return groups


def _without_trees(features: Any, arrays: ClassicArrays, place: int) -> Any:
    """The outputs of a linear model or a kernel model."""
    if "centers" in arrays:
        features = _similarities(features, arrays, _numbered("distances", place))
    elif "unclipped" in arrays:
        features = _without_clip(features, arrays["unclipped"])
    return _dense(features, arrays["kernel"], arrays["bias"], _numbered("logits", place))


def _dense(features: Any, kernel: np.ndarray, bias: np.ndarray, name: str) -> Any:
    layer = layers.Dense(kernel.shape[1], name=name)
    found = layer(features)
    layer.set_weights([kernel, bias])
    return found


def _similarities(features: Any, arrays: ClassicArrays, name: str) -> Any:
    """See `classic_arrays.similarities`: the squares of a center are a bias, so that one product does the most."""
    centers, scale = arrays["centers"].astype(np.float64), float(arrays["scale"][0])
    squares = 1 + scale * (centers**2).sum(axis=1)
    products = _dense(features, (-2 * scale * centers.T).astype(np.float32), squares.astype(np.float32), name)
    own = scale * ops.sum(ops.square(features), axis=1, keepdims=True)
    # In this order: Keras takes a second summand [rows, 1] for a bias where there are as many rows as centers.
    return ops.rsqrt(ops.maximum(own + products, 1.0))


def _without_clip(features: Any, unclipped: np.ndarray) -> Any:
    """Features, some of the columns as they were before the smooth clip."""
    clipped = ops.clip(features, -MOST_FEATURE, MOST_FEATURE)
    numbers = CLIP * clipped / ops.sqrt((CLIP - clipped) * (CLIP + clipped))  # these differences are exact near the end
    return ops.where(unclipped[None], numbers, features)


def _forests(
    features: Any, parts: Sequence[ClassicArrays], place: int, walk: Callable[[Any, ClassicArrays, str], Any]
) -> list[Any]:
    """The outputs of forests of a kind, the first of which is the one at this place of the model."""
    if "orders" in parts[0]:
        parts = side_by_side(parts)
        orders = parts[0]["orders"]
        features = _dense(features, orders, np.zeros(orders.shape[1], np.float32), _numbered("orders", place))
    arrays = parts[0]
    for more in parts[1:]:
        arrays = joined(arrays, more)
    leaves = walk(_with_missing(features, arrays["indicator"]), arrays, _numbered("nodes", place))
    if "leaf" in arrays:
        kinds = _table(arrays["leaf"][:, None].astype(np.float32), _numbered("leaves", place))(leaves)
        leaves = ops.cast(kinds[..., 0], "int32")
    table = arrays["value"].reshape(len(arrays["value"]), -1).astype(np.float32)
    values = _table(table, _numbered("values", place))(leaves)
    found, start = [], 0
    for number, part in enumerate(parts, place):
        own = values[:, start : start + len(part["root"])]
        found.append(_averaged(own, part) if "leaf" in part else _boosted(own, part, _numbered("logits", number)))
        start += len(part["root"])
    return found


def _boosted(values: Any, arrays: ClassicArrays, name: str) -> Any:
    """From what the leaves of boosted trees add: [rows, trees, 1]."""
    trees, outputs = len(arrays["root"]), len(arrays["baseline"])
    by_output = ops.reshape(values, (-1, trees // outputs, outputs))
    summed = layers.Dense(outputs, name=name)
    found = summed(ops.sum(by_output, axis=1))
    summed.set_weights([np.eye(outputs, dtype=np.float32), arrays["baseline"].astype(np.float32)])
    return found


def _averaged(values: Any, arrays: ClassicArrays) -> Any:
    """From what the leaves of averaged trees predict: [rows, trees, outputs]."""
    means = ops.mean(values, axis=1)
    return ops.log(ops.maximum(means, float(arrays["floor"][0]))) if len(arrays["floor"]) else means


def _leaves(features: Any, arrays: ClassicArrays, name: str) -> Any:
    """The leaf of each row in each tree: int32 [rows, trees]."""
    nothing = np.zeros(len(arrays["feature"]), bool)
    columns = [arrays["feature"], arrays["threshold"], arrays["left"], arrays.get("missing_left", nothing)]
    nodes = _table(np.stack(columns, axis=1).astype(np.float32), name)
    at = ops.zeros_like(features[:, :1], dtype="int32") + arrays["root"].astype("int32")[None]
    for _ in range(levels(arrays)):
        node = nodes(at)
        numbers = ops.take_along_axis(features, ops.cast(node[..., 0], "int32"), axis=1)
        left = ops.cast(node[..., 2], "int32")
        goes_left = ops.where(ops.isnan(numbers), node[..., 3] > 0.5, numbers <= node[..., 1])
        is_leaf = ops.equal(left, at)
        at = ops.where(ops.logical_or(goes_left, is_leaf), left, left + 1)
    return at


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
