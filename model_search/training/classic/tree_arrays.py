"""Trees of scikit-learn as arrays of nodes (`towers/classic_arrays`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Tree:
    """The nodes of a tree, the root first. All arrays are [nodes]; what leaves have but in `left` has no meaning.

    Attributes:
        left: The left child; -1 for a leaf.
        right: The right child.
        feature: The column that is compared.
        threshold: A row goes left where its number is at most that; float64.
    """

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray

    def by_level(self) -> tuple[np.ndarray, np.ndarray]:
        """The nodes level by level, and in that order the new number of each one's left child.

        The two children of a node follow each other; a leaf is its own left child.
        """
        level, order, left, end = np.zeros(1, np.int64), [], [], 1
        while len(level):
            own = np.arange(end - len(level), end)
            inner = self.left[level] >= 0
            own[inner] = end + 2 * np.arange(np.count_nonzero(inner))
            order.append(level)
            left.append(own)
            parents = level[inner]
            level = np.stack([self.left[parents], self.right[parents]], axis=1).reshape(-1)
            end += len(level)
        return np.concatenate(order), np.concatenate(left)


def nodes_of(trees: Iterable[Tree]) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """The nodes of trees one tree after the other, and the order of each one's nodes.

    Returns:
        `feature`, `threshold`, `left` and `root`; and for each tree the nodes in the order in which they now stand.
    """
    parts: dict[str, list[np.ndarray]] = {"feature": [], "threshold": [], "left": []}
    roots, orders, start = [], [], 0
    for tree in trees:
        order, left = tree.by_level()
        is_leaf = left == np.arange(len(left))
        parts["feature"].append(np.where(is_leaf, 0, tree.feature[order]))
        parts["threshold"].append(np.where(is_leaf, 0, rounded_down(tree.threshold[order])))
        parts["left"].append(start + left)
        roots.append(start)
        orders.append(order)
        start += len(order)
    kinds = {"feature": np.int32, "threshold": np.float32, "left": np.int32}
    arrays = {name: np.concatenate(found).astype(kinds[name]) for name, found in parts.items()}
    return arrays | {"root": np.array(roots, np.int32)}, orders


def rounded_down(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 that is not above each threshold: features are float32, so that rows go the same way."""
    with np.errstate(over="ignore"):
        found = thresholds.astype(np.float32)
    too_large = found > thresholds
    found[too_large] = np.nextafter(found[too_large], np.float32(-np.inf))
    return found
