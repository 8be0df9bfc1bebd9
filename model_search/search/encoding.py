"""Numbers that say how alike two trials are: by their architectures, and by their hyperparameters."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from model_search.metadata.trial import HyperparameterValue

Hyperparameters = Mapping[str, HyperparameterValue]


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Some trials as numbers, a row each.

    Attributes:
        head: Codes of the blocks counted from the input, padded behind. [n, positions]
        tail: The same counted from the output, padded in front; None where all have one length.
        counts: How often each block occurs, as a share of the positions. [n, blocks]
        pairs: How often each two blocks follow each other, scaled; None where all have one length.
        hyperparameters: Values on their scales, 0 to 1; a choice has a column for each value. [n, columns]
    """

    head: np.ndarray
    tail: np.ndarray | None
    counts: np.ndarray
    pairs: np.ndarray | None
    hyperparameters: np.ndarray

    def __len__(self) -> int:
        return len(self.head)

    def rows(self, which: np.ndarray) -> Encoded:
        """Some of the rows."""
        tail = None if self.tail is None else self.tail[which]
        pairs = None if self.pairs is None else self.pairs[which]
        return Encoded(self.head[which], tail, self.counts[which], pairs, self.hyperparameters[which])


@dataclasses.dataclass(frozen=True)
class Alikeness:
    """How alike the trials of two lists are, each as a positive semidefinite matrix of shape [n, m].

    Attributes:
        match: The share of positions with the same block, counted from both ends; 1 on the diagonal.
        count: The product of the shares of each block, wherever it stands.
        pair: The share of places with the same two blocks in a row.
        hyper: From 1 (the same hyperparameters) to 0; None where there is nothing to compare.
    """

    match: np.ndarray
    count: np.ndarray
    pair: np.ndarray
    hyper: np.ndarray | None

    def block(self, rows: np.ndarray) -> Alikeness:
        """The part between some rows and the same columns."""
        square = np.ix_(rows, rows)
        hyper = None if self.hyper is None else self.hyper[square]
        return Alikeness(self.match[square], self.count[square], self.pair[square], hyper)


class Encoder:
    """Encodes trials that belong together, so that they can be compared.

    Of the hyperparameters only those count whose values differ.
    """

    WIDTH = 0.35  # of the bell by which hyperparameters are alike, where 1 is a whole range and each counts alike

    def __init__(
        self, blocks: Sequence[str], positions: int, one_length: bool, hyperparameters: Sequence[Hyperparameters]
    ) -> None:
        """Prepares the columns.

        Args:
            blocks: All blocks; any other counts as no block.
            positions: The greatest length.
            one_length: Whether all architectures are of that length.
            hyperparameters: Values that show the ranges; what comes later is cut to them.
        """
        self._codes = {name: code for code, name in enumerate(dict.fromkeys(blocks), start=1)}
        self._positions = positions
        self._one_length = one_length
        self._scales = _scales(hyperparameters)
        self._names = len({scale.name for scale in self._scales})

    def encode(
        self, architectures: Sequence[Sequence[str]], hyperparameters: Sequence[Hyperparameters] | None = None
    ) -> Encoded:
        """The architectures, and what their trials are trained with, as numbers."""
        n, positions = len(architectures), self._positions
        head = np.zeros((n, positions), np.int32)
        for row, architecture in enumerate(architectures):
            codes = [self._codes.get(name, 0) for name in architecture[:positions]]
            head[row, : len(codes)] = codes
        counts = np.stack([(head == code).sum(axis=1) for code in self._codes.values()], axis=1) / positions
        values = np.zeros((n, 0)) if hyperparameters is None else self._values(hyperparameters)
        if self._one_length:
            return Encoded(head, None, counts, None, values)
        depths = (head > 0).sum(axis=1)
        places = (np.arange(positions) + depths[:, None]) % positions
        tail = np.take_along_axis(head, places, axis=1)
        return Encoded(head, tail, counts, self._pairs(head), values)

    def _pairs(self, head: np.ndarray) -> np.ndarray:
        """The bag of pairs of neighbours, with the edges as neighbours of the first and the last block.

        There are many pairs and few in each row, so that they share 128 columns by a hash; the few collisions only
        blur.
        """
        padded = np.pad(head, ((0, 0), (1, 1)))
        first, second = padded[:, :-1].astype(np.int64), padded[:, 1:].astype(np.int64)
        place = (first * 31 + second * 17 + first * second * 7) % 128
        there = (first > 0) | (second > 0)
        pairs = np.zeros((len(head), 128))
        np.add.at(pairs, (np.repeat(np.arange(len(head)), place.shape[1])[there.ravel()], place[there]), 1.0)
        return pairs / math.sqrt(place.shape[1])

    def _values(self, hyperparameters: Sequence[Hyperparameters]) -> np.ndarray:
        columns = [
            scale.column(hyperparameters[row].get(scale.name) for row in range(len(hyperparameters)))
            for scale in self._scales
        ]
        return np.stack(columns, axis=1) if columns else np.zeros((len(hyperparameters), 0))

    def compare(self, first: Encoded, second: Encoded) -> Alikeness:
        """How alike each of the first is to each of the second."""
        match, pair = _matches(first.head, second.head)
        if first.tail is not None and second.tail is not None:
            match = (match + _matches(first.tail, second.tail)[0]) / 2
        if first.pairs is not None and second.pairs is not None:
            pair = first.pairs @ second.pairs.T
        hyper = None
        if first.hyperparameters.shape[1]:
            one, other = first.hyperparameters, second.hyperparameters
            squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None, :] - 2 * one @ other.T
            hyper = np.exp(-np.maximum(squares, 0.0) / (2 * self.WIDTH**2 * self._names))
        return Alikeness(match, first.counts @ second.counts.T, pair, hyper)


def _matches(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The shares of the same codes, and of the same two codes in a row."""
    match = np.zeros((len(first), len(second)), np.float64)
    pair = np.zeros_like(match)
    before: np.ndarray | None = None
    for position in range(first.shape[1]):
        same = first[:, position, None] == second[None, :, position]
        match += same
        if before is not None:
            pair += same & before
        before = same
    match /= first.shape[1]
    return match, pair / (first.shape[1] - 1) if first.shape[1] > 1 else match


@dataclasses.dataclass(frozen=True)
class _Scale:
    """One column of a hyperparameter: a number on its scale, or whether it has a certain value."""

    name: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    choice: HyperparameterValue | None = None

    def column(self, values: object) -> np.ndarray:
        return np.array([self._at(value) for value in values])  # type: ignore[attr-defined]

    def _at(self, value: HyperparameterValue | None) -> float:
        if self.choice is not None:
            return float(value == self.choice) / math.sqrt(2)
        if value is None or isinstance(value, (str, bool)):
            return 0.5
        number = min(max(float(value), self.low), self.high)
        if self.log:
            return math.log(number / self.low) / math.log(self.high / self.low)
        return (number - self.low) / (self.high - self.low)


def _scales(hyperparameters: Sequence[Hyperparameters]) -> tuple[_Scale, ...]:
    """A column for each number, and one for each value of a choice, of those that differ between trials."""
    seen: dict[str, dict[HyperparameterValue | None, None]] = {}
    for values in hyperparameters:
        for name in values:
            seen.setdefault(name, {})
    for name, known in seen.items():
        known.update(dict.fromkeys(values.get(name) for values in hyperparameters))
    scales: list[_Scale] = []
    for name in sorted(seen):
        given = [value for value in seen[name] if value is not None]
        numbers = [float(value) for value in given if not isinstance(value, (str, bool))]
        if len(seen[name]) < 2:
            continue
        if len(numbers) < len(given) or len(given) < 2:
            scales += [_Scale(name, choice=value) for value in given]
            continue
        low, high = min(numbers), max(numbers)
        scales.append(_Scale(name, low, high, log=low > 0 and high > 8 * low))
    return tuple(scales)
