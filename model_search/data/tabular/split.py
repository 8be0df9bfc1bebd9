"""Which rows to train on and which to validate on."""

from __future__ import annotations

import math

import numpy as np

from model_search.errors import DataError


def split_rows(
    rows: int, fraction: float, seed: int, classes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Splits row numbers at random; the same seed gives the same split.

    Args:
        rows: Number of rows.
        fraction: Share of the rows to validate on.
        seed: Seed of the split.
        classes: int [rows], to have every class split by itself; None splits all rows together.

    Returns:
        Training and validation row numbers, each in ascending order, and the classes that have too few rows to be
        split: all of theirs are training rows.
    """
    generator = np.random.default_rng([seed, 0x5B11])
    shuffled = generator.permutation(rows)
    groups = {0: shuffled}
    if classes is not None:
        order = classes[shuffled]
        groups = {int(value): shuffled[order == value] for value in np.unique(classes)}
    whole: list[int] = []
    chosen: list[np.ndarray] = []
    for value, members in groups.items():
        count = min(math.floor(len(members) * fraction + 0.5), len(members) - 1)
        if count < 1:
            whole.append(value)
        chosen.append(members[: max(count, 0)])
    valid = np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)
    mask = np.ones(rows, bool)
    mask[valid] = False
    return np.flatnonzero(mask), valid, whole


def split_groups(groups: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits row numbers so that no group is on both sides: random groups, of at least a share of the rows together.

    Args:
        groups: The group of each row, int [rows], from 0.
        fraction: Share of the rows to validate on.
        seed: Seed of the split.

    Returns:
        Training and validation row numbers, each in ascending order.

    Raises:
        DataError: if there is one group alone.
    """
    sizes = np.bincount(groups)
    present = np.flatnonzero(sizes)
    if len(present) < 2:
        raise DataError(f"there is {len(present)} group of rows; expected two at least, to train and to validate on")
    order = np.random.default_rng([seed, 0x6B11]).permutation(present)
    until = np.cumsum(sizes[order])
    count = min(int(np.searchsorted(until, fraction * len(groups))) + 1, len(order) - 1)
    is_valid = np.isin(groups, order[:count])
    return np.flatnonzero(~is_valid), np.flatnonzero(is_valid)


def split_latest(times: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Splits row numbers so that the latest rows are those to validate on; rows of one time stay together.

    Args:
        times: The time of each row, float [rows], in any unit.
        fraction: Share of the rows to validate on, about.

    Returns:
        Training and validation row numbers, each in ascending order.

    Raises:
        DataError: if all rows have one time.
    """
    distinct, counts = np.unique(times, return_counts=True)
    if len(distinct) < 2:
        raise DataError("all rows have the same time; expected earlier ones to train, and later ones to validate on")
    later = np.cumsum(counts[::-1])[::-1]  # rows of each time, or later
    first = max(1, int(np.argmin(np.abs(later - fraction * len(times)))))
    is_valid = times >= distinct[first]
    return np.flatnonzero(~is_valid), np.flatnonzero(is_valid)
