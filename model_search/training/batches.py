"""Which rows a step sees: a table's by number, a stream's as they come."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from model_search.data.task import Rows
from model_search.errors import DataError

_SKIPPED_AT_ONCE = 64


class RowOrder:
    """Numbers of the rows of every batch: seeded permutations, epoch by epoch, each row once an epoch.

    A batch may span the end of an epoch, so that every batch is full; one larger than the table sees rows repeatedly.

    Args:
        rows: How many rows there are, or the numbers of those that take part.
        batch_size: Rows of a batch.
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


@dataclasses.dataclass(frozen=True)
class StackedBatches:
    """Several batches: features [batches, batch size, ...], labels, weights and the frozen towers' column likewise."""

    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None
    column: np.ndarray | None = None


class StreamOrder:
    """Cuts what a stream yields into batches of exactly `batch_size` rows."""

    def __init__(self, batches: Iterator[Rows], batch_size: int, like: Rows):
        self._batches = batches
        self._batch_size = batch_size
        self._like = like
        self._parts: list[Rows] = []
        self._count = 0

    def take(self, batches: int) -> StackedBatches:
        """The next batches.

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
        features = np.concatenate([part.features for part in self._parts])
        labels = np.concatenate([part.labels for part in self._parts])
        given = [part.weights for part in self._parts if part.weights is not None]
        weights = np.concatenate(given) if len(given) == len(self._parts) else None
        self._parts = [Rows(features[wanted:], labels[wanted:], None if weights is None else weights[wanted:])]
        self._count -= wanted
        shape = (batches, self._batch_size)
        return StackedBatches(
            features[:wanted].reshape(shape + features.shape[1:]),
            labels[:wanted].reshape(shape + labels.shape[1:]),
            None if weights is None else weights[:wanted].reshape(shape),
        )

    def _check(self, rows: Rows) -> None:
        expected, found = self._like.features.shape[1:], rows.features.shape[1:]
        if found != expected:
            raise DataError(f"the training data yield features of shape {found}; the evaluation data's are {expected}")


def subset(labels: np.ndarray, share: float) -> np.ndarray:
    """The numbers of a random part of the rows, in order; of each class the same share, but at least one row.

    The choice depends on nothing but the labels and the share: all trials of a study see the same rows, and a larger
    share holds those of a smaller one.

    Args:
        labels: Classes as int [rows]; rows of anything else are drawn alike.
        share: Above 0 and at most 1.
    """
    order = np.random.default_rng(len(labels)).permutation(len(labels))
    groups = [order]
    if labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer):
        groups = [order[labels[order] == label] for label in np.unique(labels)]
    return np.sort(np.concatenate([group[: max(1, round(share * len(group)))] for group in groups]))


def skip(batches: RowOrder | StreamOrder, count: int) -> None:
    """Passes over batches, a few at a time."""
    for start in range(0, count, _SKIPPED_AT_ONCE):
        batches.take(min(_SKIPPED_AT_ONCE, count - start))
