"""Which rows a step sees: a table's by number, a stream's as they come."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from model_search.data.task import Rows
from model_search.errors import DataError


class RowOrder:
    """Numbers of the rows of every batch: seeded permutations, epoch by epoch, each row once an epoch.

    A batch may span the end of an epoch, so that every batch is full; one larger than the table sees rows repeatedly.
    """

    def __init__(self, rows: int, batch_size: int, seed: int):
        self._rows = rows
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
        return numbers[:wanted].reshape(batches, self._batch_size)


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
