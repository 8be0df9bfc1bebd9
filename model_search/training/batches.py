"""Batches of training rows: row numbers of a table, or the rows of a stream in the order of their arrival."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from model_search.data.rows import Rows, concatenate
from model_search.errors import DataError

_SKIPPED_AT_ONCE = 64


class RowOrder:
    """Row numbers of every batch: a seeded permutation per epoch, each row once per epoch.

    A batch may span the end of an epoch, so that every batch is full; one larger than the table sees rows repeatedly.

    Args:
        rows: The number of rows, or the row numbers to draw from.
        batch_size: Rows per batch.
        seed: Of the permutations.
    """

    def __init__(self, rows: int | np.ndarray, batch_size: int, seed: int):
        self._numbers = None if isinstance(rows, int) else rows.astype(np.int32)
        self._rows = rows if isinstance(rows, int) else len(rows)
        self._batch_size = batch_size
        self._rng = np.random.default_rng(seed)
        self._left = np.empty(0, dtype=np.int32)

    def take(self, batches: int) -> np.ndarray:
        """The next batches, int32 [batches, batch size]."""
        wanted = batches * self._batch_size
        parts, count = [self._left], len(self._left)
        while count < wanted:
            parts.append(self._rng.permutation(self._rows).astype(np.int32))
            count += self._rows
        numbers = np.concatenate(parts)
        self._left = numbers[wanted:]
        taken = numbers[:wanted].reshape(batches, self._batch_size)
        return taken if self._numbers is None else self._numbers[taken]


class StreamOrder:
    """Cuts what a stream yields into batches of exactly `batch_size` rows."""

    def __init__(self, batches: Iterator[Rows], batch_size: int, like: Rows):
        self._batches = batches
        self._batch_size = batch_size
        self._like = like
        self._parts: list[Rows] = []
        self._count = 0

    def take(self, batches: int) -> Rows:
        """The rows of the next batches, one batch after the other.

        Raises:
            DataError: if the stream ends, or yields rows of another shape than before.
        """
        wanted = batches * self._batch_size
        while self._count < wanted:
            rows = next(self._batches, None)
            if rows is None:
                raise DataError("the training data ended; the provider's input_fn must be endless, or open again")
            self._check(rows)
            self._parts.append(rows)
            self._count += len(rows)
        joined = concatenate(self._parts)
        self._parts = [joined.take(slice(wanted, None))]
        self._count -= wanted
        return joined.take(slice(None, wanted))

    def _check(self, rows: Rows) -> None:
        for name, values in self._like.inputs.items():
            expected, found = values.shape[1:], rows.inputs[name].shape[1:]
            if found != expected:
                raise DataError(
                    f"the training data yield {name} of shape {found}; the evaluation data's are {expected}"
                )


def subset(labels: np.ndarray, share: float) -> np.ndarray:
    """Row numbers of a random subset, in order; the same share of each class, but at least one row.

    The choice depends on nothing but the labels and the share: all trials of a study see the same rows, and a larger
    share holds those of a smaller one.

    Args:
        labels: Classes as int [rows]; with any other labels, rows are drawn uniformly.
        share: Above 0 and at most 1.
    """
    order = np.random.default_rng(len(labels)).permutation(len(labels))
    groups = [order]
    if labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer):
        groups = [order[labels[order] == label] for label in np.unique(labels)]
    return np.sort(np.concatenate([group[: max(1, round(share * len(group)))] for group in groups]))


def skip(batches: RowOrder | StreamOrder, count: int) -> None:
    """Skips batches, a few at a time."""
    for start in range(0, count, _SKIPPED_AT_ONCE):
        batches.take(min(_SKIPPED_AT_ONCE, count - start))
