"""Classic models as arrays of numbers, and their logits by NumPy. Never imports Keras or scikit-learn.

A forest of boosted trees (`FOREST`), all trees one after the other:

* `feature` int32 [nodes], `threshold` float32 [nodes]: a row goes left where its number is at most the threshold.
* `left` int32 [nodes]: the left child; the right one is the next node. A leaf is its own left child.
* `missing_left` bool [nodes]: where a row goes whose number is missing (NaN).
* `value` float32 [nodes]: what a leaf adds.
* `root` int32 [trees]: tree `t` is for output `t % outputs`.
* `baseline` float32 [outputs]: what the sum begins with.
* `indicator` int32 [columns]: for each column of the features, the one that holds 1 where it is missing; -1 for none.

If it reads categories in an order (`ORDERED_FOREST`), its columns are products of the features with `orders` float32
[columns of the features, columns]: the columns of a category become one, its place; the others stay as they are.

A forest whose trees are averaged (`AVERAGED`): `feature`, `threshold`, `left`, `root` and `indicator` as above, and

* `leaf` int32 [nodes]: which row of `value` a leaf has.
* `value` float32 [kinds, outputs]: what leaves predict: the classes' probabilities, or a number.
* `floor` float32 [1]: the logit of a class is the log of the mean probability, and of no less than that; for numbers
  it is empty, and the mean is the output.

A linear model (`LINEAR`): `kernel` float32 [columns, outputs] and `bias` float32 [outputs]. If it reads some columns
without their smooth clip (`data/tabular/preprocess.py`), it also has `unclipped` bool [columns], which are these.

A kernel model (`KERNEL`): the outputs are the similarities of a row to some rows, times `kernel`, and `bias`.

* `centers` float32 [centers, columns]: these rows.
* `scale` float32 [1], above 0: the similarity is `1 / sqrt(1 + scale * squared distance)`.
* `kernel` float32 [centers, outputs] and `bias` float32 [outputs].

One output for two classes is the logit of the second one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from model_search.data.tabular.preprocess import CLIP
from model_search.errors import StudyError

FOREST = ("feature", "threshold", "left", "missing_left", "value", "root", "baseline", "indicator")
ORDERED_FOREST = (*FOREST, "orders")
AVERAGED = ("feature", "threshold", "left", "leaf", "value", "root", "floor", "indicator")
LINEAR = ("kernel", "bias")
UNCLIPPED = (*LINEAR, "unclipped")
KERNEL = ("centers", "scale", *LINEAR)
# That a number without the clip may be from 0: beyond that, float32 tells few apart once it is clipped.
FURTHEST = 100.0
MOST_FEATURE = float(np.float32(FURTHEST / (1 + (FURTHEST / CLIP) ** 2) ** 0.5))  # the same number, clipped
_MOST_LEVELS = 64
MOST_NODES = 2**24  # whole numbers that float32 holds

ClassicArrays = Mapping[str, np.ndarray]


def checked(arrays: ClassicArrays, whose: str) -> ClassicArrays:
    """The arrays of a classic model, if they are what this module describes.

    Raises:
        StudyError: if they are something else: a walk from a root might not end, or leave the arrays.
    """
    known = _kind(arrays)
    if set(arrays) != set(known) or not all(array.dtype.kind in "fiub" for array in arrays.values()):
        raise StudyError(f"the arrays of {whose} are {', '.join(sorted(arrays))}; expected {', '.join(known)}")
    of_kind = {FOREST: _is_boosted, ORDERED_FOREST: _is_ordered, AVERAGED: _is_averaged, KERNEL: _is_of_kernel}
    fits = of_kind.get(known, _is_linear)
    if not fits(arrays):
        raise StudyError(f"the arrays of {whose} do not fit together")
    return arrays


def _kind(arrays: ClassicArrays) -> tuple[str, ...]:
    if "root" in arrays:
        if "orders" in arrays:
            return ORDERED_FOREST
        return AVERAGED if "leaf" in arrays else FOREST
    if "centers" in arrays:
        return KERNEL
    return UNCLIPPED if "unclipped" in arrays else LINEAR


def _is_linear(arrays: ClassicArrays) -> bool:
    kernel, unclipped = arrays["kernel"], arrays.get("unclipped")
    if kernel.ndim != 2 or arrays["bias"].shape != kernel.shape[1:]:
        return False
    return unclipped is None or (unclipped.shape == kernel.shape[:1] and unclipped.dtype == bool)


def _is_of_kernel(arrays: ClassicArrays) -> bool:
    centers, scale = arrays["centers"], arrays["scale"]
    if centers.ndim != 2 or arrays["kernel"].shape[:1] != centers.shape[:1] or scale.shape != (1,):
        return False
    return bool(scale[0] > 0) and _is_linear(arrays)


def _is_boosted(arrays: ClassicArrays) -> bool:
    count = len(arrays["feature"])
    if any(arrays[name].shape != (count,) for name in ("missing_left", "value")) or arrays["baseline"].ndim != 1:
        return False
    if not len(arrays["baseline"]) or len(arrays["root"]) % len(arrays["baseline"]):
        return False
    return _are_trees(arrays)


def _is_ordered(arrays: ClassicArrays) -> bool:
    orders = arrays["orders"]
    if orders.ndim != 2 or orders.shape[1:] != arrays["indicator"].shape or not np.isfinite(orders).all():
        return False
    return _is_boosted(arrays)


def _is_averaged(arrays: ClassicArrays) -> bool:
    value, floor = arrays["value"], arrays["floor"]
    if arrays["leaf"].shape != arrays["feature"].shape or value.ndim != 2 or floor.ndim != 1 or len(floor) > 1:
        return False
    if not value.shape[1] or not len(arrays["root"]) or not (floor > 0).all():
        return False
    return _within(arrays["leaf"], 0, len(value)) and _are_trees(arrays)


def _are_trees(arrays: ClassicArrays) -> bool:
    nodes = [arrays[name] for name in ("feature", "threshold", "left")]
    count, columns, left = len(arrays["feature"]), len(arrays["indicator"]), arrays["left"]
    if any(array.shape != (count,) for array in nodes) or any(arrays[name].ndim != 1 for name in ("root", "indicator")):
        return False
    if not 0 < count < MOST_NODES:
        return False
    numbers = np.arange(count)
    inner = left != numbers
    return bool(
        _within(arrays["feature"], 0, columns)
        and _within(arrays["root"], 0, count)
        and _within(arrays["indicator"], -1, columns)
        and (left[inner] > numbers[inner]).all()
        and _within(left[inner], 0, count - 1)
        and levels(arrays) <= _MOST_LEVELS
    )


def _within(values: np.ndarray, least: int, most: int) -> bool:
    return not len(values) or (int(values.min()) >= least and int(values.max()) < most)


def levels(arrays: ClassicArrays) -> int:
    """How many steps it takes at most from a root to a leaf; more than any forest may have where there is no end."""
    left = arrays["left"]
    at = np.unique(arrays["root"])
    for level in range(_MOST_LEVELS + 1):
        at = at[left[at] != at]
        if not len(at):
            return level
        at = np.unique(np.concatenate([left[at], left[at] + 1]))
    return _MOST_LEVELS + 1


def columns_of(arrays: ClassicArrays) -> int:
    """How many columns of features a model reads."""
    if "orders" in arrays:
        return arrays["orders"].shape[0]
    if "root" in arrays:
        return len(arrays["indicator"])
    return arrays["centers"].shape[1] if "centers" in arrays else arrays["kernel"].shape[0]


def squared_distances(rows: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Those of rows [rows, columns] from centers [centers, columns]: float64 [rows, centers]."""
    rows, centers = rows.astype(np.float64), centers.astype(np.float64)
    found = (rows**2).sum(axis=1)[:, None] + (centers**2).sum(axis=1)[None] - 2 * rows @ centers.T
    return np.maximum(found, 0)


def similarities(distances: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The similarities of a kernel model from squared distances: float64 of the same shape."""
    return np.asarray(1 / np.sqrt(1 + float(scale[0]) * distances))


def parameters_of(arrays: ClassicArrays) -> int:
    """Numbers that were fitted: thresholds and leaves, or weights."""
    if "feature" in arrays:
        return len(arrays["feature"])
    return sum(array.size for name, array in arrays.items() if name != "unclipped")


def with_missing(features: np.ndarray, indicator: np.ndarray) -> np.ndarray:
    """Features [rows, columns] with NaN where an indicator says that a number is missing."""
    columns = np.flatnonzero(indicator >= 0)
    if not len(columns):
        return features
    found = features.copy()
    found[:, columns] = np.where(features[:, indicator[columns]] > 0.5, np.nan, found[:, columns])
    return found


def in_order(features: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Features [rows, columns of the features] as a forest reads them: float32 [rows, columns].

    Args:
        features: As a tower reads them.
        orders: See `ORDERED_FOREST`.
    """
    return features @ orders


def without_clip(features: np.ndarray, unclipped: np.ndarray | None) -> np.ndarray:
    """Features [rows, columns] as float64, some of the columns as they were before the smooth clip.

    Args:
        features: As a tower reads them.
        unclipped: bool [columns], which ones; None for none.
    """
    found = features.astype(np.float64)
    if unclipped is not None:
        clipped = np.clip(found[:, unclipped], -MOST_FEATURE, MOST_FEATURE)
        found[:, unclipped] = CLIP * clipped / np.sqrt((CLIP - clipped) * (CLIP + clipped))
    return found


def joined(forest: ClassicArrays, more: ClassicArrays) -> dict[str, np.ndarray]:
    """A forest with further trees; what is not of nodes or trees is that of the first."""
    nodes = np.int32(len(forest["feature"]))
    moved = {"left": nodes, "root": nodes, "leaf": np.int32(len(forest["value"]))}
    found = dict(forest)
    for name in ("feature", "threshold", "left", "missing_left", "leaf", "value", "root"):
        if name in forest:
            found[name] = np.concatenate([forest[name], more[name] + moved[name] if name in moved else more[name]])
    return found


def side_by_side(parts: Sequence[ClassicArrays]) -> list[ClassicArrays]:
    """Forests that read categories in orders of their own, so that they can be joined: all have all columns."""
    orders = np.concatenate([part["orders"] for part in parts], axis=1)
    starts = np.cumsum([0, *(part["orders"].shape[1] for part in parts[:-1])])
    moved = [
        np.where(part["indicator"] < 0, -1, part["indicator"] + start)
        for part, start in zip(parts, starts, strict=True)
    ]
    shared = {"orders": orders, "indicator": np.concatenate(moved).astype(np.int32)}
    return [
        {**part, **shared, "feature": (part["feature"] + start).astype(np.int32)}
        for part, start in zip(parts, starts, strict=True)
    ]


def first_trees(forest: ClassicArrays, count: int) -> dict[str, np.ndarray]:
    """The first trees of a forest whose trees are averaged: the same mean, with more noise.

    Args:
        forest: Its trees stand one after the other, as they are trained and stored.
        count: How many of them, at least 1.
    """
    roots = forest["root"]
    end = int(roots[count]) if count < len(roots) else len(forest["feature"])
    kinds, leaf = np.unique(forest["leaf"][:end], return_inverse=True)
    nodes = {name: forest[name][:end] for name in ("feature", "threshold", "left")}
    return {**forest, **nodes, "root": roots[:count], "leaf": leaf.astype(np.int32), "value": forest["value"][kinds]}


def sums_of_trees(arrays: ClassicArrays, features: np.ndarray) -> np.ndarray:
    """What boosted trees add for rows, without the baseline: float64 [rows, outputs].

    Args:
        arrays: A forest of boosted trees.
        features: float32 [rows, columns], with NaN for missing.
    """
    value, outputs = arrays["value"], len(arrays["baseline"])
    total = np.zeros((len(features), outputs))
    for tree, leaves in enumerate(_leaves(arrays, features)):
        total[:, tree % outputs] += value[leaves]
    return total


def sums_of_leaves(arrays: ClassicArrays, features: np.ndarray) -> np.ndarray:
    """The sum of what the trees of a forest of averaged trees predict for rows: float64 [rows, outputs].

    Args:
        arrays: A forest of averaged trees.
        features: float32 [rows, columns].
    """
    leaf, value = arrays["leaf"], arrays["value"]
    total = np.zeros((len(features), value.shape[1]))
    for leaves in _leaves(arrays, features):
        total += value[leaf[leaves]]
    return total


def where_averaged(means: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """The outputs of a forest of averaged trees from the means of what its trees predict; see `floor`."""
    return np.log(np.maximum(means, floor)) if len(floor) else means


def _leaves(arrays: ClassicArrays, features: np.ndarray) -> Iterator[np.ndarray]:
    """For each tree the leaf of each row, int [rows]."""
    feature, threshold, left = arrays["feature"], arrays["threshold"], arrays["left"]
    by_column, rows = np.ascontiguousarray(features.T), np.arange(len(features))
    has_missing = "missing_left" in arrays and bool(np.isnan(features).any())
    for root in arrays["root"]:
        at, going = np.full(len(features), root), rows
        while len(going):
            node = at[going]
            inner = left[node] != node
            going, node = going[inner], node[inner]
            numbers = by_column[feature[node], going]
            goes_left = numbers <= threshold[node]
            if has_missing:
                goes_left = np.where(np.isnan(numbers), arrays["missing_left"][node], goes_left)
            at[going] = left[node] + ~goes_left
        yield at


def as_logits(found: np.ndarray, width: int) -> np.ndarray:
    """A model's outputs [rows, outputs] as float32 [rows, width]; one output for two classes is that of the second."""
    if found.shape[1] == width:
        return found.astype(np.float32)
    return np.concatenate([np.zeros_like(found), found], axis=1).astype(np.float32)
