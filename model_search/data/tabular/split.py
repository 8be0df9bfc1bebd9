"""Which rows to train on and which to validate on."""

from __future__ import annotations

import math

import numpy as np


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
