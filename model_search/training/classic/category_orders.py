"""Categories as one column each, their place in an order, in place of a column for each category.

Trees then divide the categories of a column in two by a threshold, and need a fraction of the time. For numbers and two
classes the order is that of the mean target; for more classes that of the first principal component of the categories'
class shares (Coppersmith, Hong and Hosking 1999, "Partitioning nominal attributes in decision trees").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model_search.training.classic.fitted import ClassicRows

_PRIOR_ROWS = 10.0  # a category's mean is that of its rows and of so many that are like all others
_LEAST_COLUMNS = 3  # of a category that becomes one; two columns are not worth it


def columns_in_order(columns: int, categories: Sequence[tuple[int, int]]) -> int:
    """How many columns there are with categories in an order.

    Args:
        columns: How many there are otherwise.
        categories: See `ClassicRows`.
    """
    return columns - sum(end - start - 1 for start, end in _merged(categories))


def category_orders(rows: ClassicRows) -> tuple[np.ndarray, np.ndarray]:
    """The orders of the categories, by the rows to train on, and the indicators of the columns that they lead to.

    Args:
        rows: To train on.

    Returns:
        `orders` and `indicator` of an `ORDERED_FOREST` (`towers/classic_arrays`).
    """
    width = rows.features.shape[1]
    orders = np.zeros((width, columns_in_order(width, rows.categories)), np.float32)
    merged = dict(_merged(rows.categories))
    targets = _targets(rows)
    place = np.full(width + 1, -1, np.int32)  # where a column goes that stays as it is; -1, for no column, too
    column = start = 0
    while start < width:
        end = merged.get(start, start + 1)
        if start in merged:
            orders[start:end, column] = _places(rows.features[:, start:end], targets, rows.weights)
        else:
            orders[start, column] = 1.0
            place[start] = column
        start, column = end, column + 1
    indicator = np.full(orders.shape[1], -1, np.int32)
    kept = np.flatnonzero(place[:-1] >= 0)
    indicator[place[kept]] = place[rows.indicator[kept]]
    return orders, indicator


def _merged(categories: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(start, end) for start, end in categories if end - start >= _LEAST_COLUMNS]


def _targets(rows: ClassicRows) -> np.ndarray:
    """float64 [rows, outputs], their mean 0."""
    if rows.is_classification:
        found = np.eye(rows.task.logits_dimension)[rows.targets]
    else:
        found = rows.targets.astype(np.float64)[:, None]
    return found - np.average(found, axis=0, weights=rows.weights)


def _places(is_of: np.ndarray, targets: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """The place of each category in the order, from 0.

    Args:
        is_of: float32 [rows, categories], 1 for each row's category.
        targets: See `_targets`.
        weights: float [rows], or None.
    """
    weighted = is_of if weights is None else is_of * weights[:, None]
    counts = weighted.sum(axis=0, dtype=np.float64)
    means = (weighted.T @ targets) / (counts + _PRIOR_ROWS)[:, None]
    if means.shape[1] > 1:
        _, _, directions = np.linalg.svd(means * np.sqrt(counts)[:, None], full_matrices=False)
        along = means @ (directions[0] * np.sign(directions[0][np.argmax(np.abs(directions[0]))]))
    else:
        along = means[:, 0]
    found = np.empty(len(along))
    found[np.argsort(along, kind="stable")] = np.arange(len(along))
    return found
