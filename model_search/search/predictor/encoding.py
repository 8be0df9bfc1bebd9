"""Numbers that say how alike two trials are: by their architectures, and by their hyperparameters."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from model_search.metadata.trial import HyperparameterValue
from model_search.search.space.architecture import DEFAULT_FLATTEN

Hyperparameters = Mapping[str, HyperparameterValue]


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Some trials as numbers, a row each.

    Attributes:
        head: Codes of the blocks counted from the input, padded behind. [n, positions]
        tail: The same counted from the output, padded in front; None where all have one length.
        counts: How often each block occurs, and each word that the names of some blocks share, as a share of the
            positions. [n, blocks + words]
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
class Similarity:
    """How alike the trials of two lists are, each as a positive semidefinite matrix of shape [n, m].

    Attributes:
        levels: The shares of positions with the same block, counted from both ends, that there are. [levels]
        level: Which of them each pair has; that of 1 on the diagonal. [n, m]
        parts: What may count by itself, one matrix each. [parts, n, m]
        hyper: From 1 (the same hyperparameters) to 0; None where there is nothing to compare.
    """

    levels: np.ndarray
    level: np.ndarray
    parts: np.ndarray
    hyper: np.ndarray | None

    @property
    def match(self) -> np.ndarray:
        """The share of positions with the same block, counted from both ends, [n, m]; 1 on the diagonal."""
        return self.levels[self.level]

    def whole(self, steepness: float) -> np.ndarray:
        """How alike architectures are as a whole: 1 where they are the same, the smaller the steeper; [n, m]."""
        return np.exp((self.levels - 1.0) * steepness)[self.level]

    def block(self, rows: np.ndarray) -> Similarity:
        """The part between some rows and the same columns."""
        square = np.ix_(rows, rows)
        hyper = None if self.hyper is None else self.hyper[square]
        return Similarity(self.levels, self.level[square], self.parts[:, rows[:, None], rows[None, :]], hyper)


class Encoder:
    """Encodes trials that belong together, so that they can be compared.

    Of the hyperparameters only those count whose values differ.
    """

    WIDTH = 0.35  # of the bell by which hyperparameters are similarity, where 1 is a whole range and each counts alike
    DEPTH_WIDTH = 0.3  # of the bell by which depths are, where 1 is the greatest
    OF_PLACES, OF_PAIRS, OF_COUNTS, OF_HYPERPARAMETERS = 0.25, 0.1, 0.4, 0.4
    PLACES = 12  # that may count by themselves where all architectures have one length

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
        self._words = _shared_words(list(self._codes))
        self._positions = positions
        self._one_length = one_length
        self._scales = _scales(hyperparameters)
        self._columns = {
            name: [column for column, scale in enumerate(self._scales) if scale.name == name]
            for name in dict.fromkeys(scale.name for scale in self._scales)
        }
        self.shares = self._shares()

    def _shares(self) -> np.ndarray:
        """How much each part of the similarity is counts before anything is known, an array of shape [parts]."""
        places = min(self._positions, self.PLACES) if self._one_length else min(self._positions, 2) + 3
        pairs = 0 if self._one_length and self._positions < 2 else 1
        names = len(self._columns)
        return np.repeat(
            [self.OF_PLACES / places, self.OF_PAIRS, self.OF_COUNTS, self.OF_HYPERPARAMETERS / max(names, 1)],
            [places, pairs, 1, names],
        )

    @property
    def shares_of_wholes(self) -> np.ndarray:
        """The same where no part of an architecture counts by itself, but its hyperparameters do."""
        of_architectures = np.arange(len(self.shares)) < len(self.shares) - len(self._columns)
        return np.where(of_architectures, 0.0, self.shares)

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
        counts = np.concatenate([counts, counts @ self._words], axis=1)
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
        # Candidates of one round mostly have the very same ones.
        distinct = {id(given): given for given in hyperparameters}
        values = {name: [given.get(name) for given in distinct.values()] for name in self._columns}
        columns = [scale.column(values[scale.name]) for scale in self._scales]
        if not columns:
            return np.zeros((len(hyperparameters), 0))
        row_of = {known: row for row, known in enumerate(distinct)}
        return np.stack(columns, axis=1)[[row_of[id(given)] for given in hyperparameters]]

    def compare(self, first: Encoded, second: Encoded) -> Similarity:
        """How alike each of the first is to each of the second.

        What may count by itself: where all have one length, the block at each place; else the share of matching
        places, the first block, the second, the last, and the depth. Then how often each block occurs, which blocks
        follow each other, and each hyperparameter. Blocks whose names share words are alike in how often they occur.
        """
        parts = np.empty((len(self.shares), len(first), len(second)))
        architectures = len(parts) - len(self._columns)
        levels, level = self._compare_architectures(first, second, parts[:architectures])
        return Similarity(levels, level, parts, self._compare_values(first, second, parts[architectures:]))

    def _compare_architectures(
        self, first: Encoded, second: Encoded, parts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Writes the parts that are of architectures; the levels of matches, and which of them each pair has."""
        places = _places(first.head, second.head)
        shares = np.arange(len(places) + 1) / len(places)
        hits = _sum(places)
        if first.tail is not None and second.tail is not None:
            from_behind = _places(first.tail, second.tail)
            levels = ((shares[:, None] + shares) / 2).ravel()
            level = hits * len(shares) + _sum(from_behind)
            of_places = [levels[level], *places[:2], from_behind[-1], self._depths(first, second)]
        else:
            levels, level = shares, hits
            of_places = places[: self.PLACES]
        for part, place in zip(parts, of_places, strict=False):
            part[...] = place
        if first.pairs is not None and second.pairs is not None:
            np.matmul(first.pairs, second.pairs.T, out=parts[-2])
        elif len(places) > 1:
            np.divide(_sum([one & other for one, other in itertools.pairwise(places)]), len(places) - 1, out=parts[-2])
        np.matmul(first.counts, second.counts.T, out=parts[-1])
        return levels, level

    def _compare_values(self, first: Encoded, second: Encoded, parts: np.ndarray) -> np.ndarray | None:
        """Writes the parts that are of hyperparameters, one for each; how alike they are together, None without any.

        Most values occur often: candidates mostly have the same ones, and choices are few. Exponentials are taken of
        those that differ.
        """
        if not len(parts):
            return None
        bell = -2 * self.WIDTH**2
        rows, row_of = _distinct(first.hyperparameters)
        total = np.zeros((len(rows), len(second)))
        for part, columns in zip(parts, self._columns.values(), strict=True):
            ours, our = _distinct(rows[:, columns])
            theirs, their = _distinct(second.hyperparameters[:, columns])
            squares = _squares(ours, theirs)
            total += squares[:, their][our]
            squares /= bell
            part[...] = np.exp(squares, out=squares)[:, their][our][row_of]
        total /= len(parts)
        total /= bell
        return np.exp(total, out=total)[row_of]

    def alone(self, trials: Encoded) -> Similarity:
        """How alike each trial is to itself, as a column: [n, 1], and [parts, n, 1]."""
        n = len(trials)
        parts = np.ones((len(self.shares), n, 1))
        place = len(parts) - len(self._columns) - 1
        parts[place, :, 0] = (trials.counts**2).sum(axis=1)
        if trials.pairs is not None:
            parts[place - 1, :, 0] = (trials.pairs**2).sum(axis=1)
        same = np.zeros((n, 1), np.int16)
        return Similarity(np.ones(1), same, parts, np.ones((n, 1)) if self._columns else None)

    def _depths(self, first: Encoded, second: Encoded) -> np.ndarray:
        one, other = ((each.head > 0).sum(axis=1) for each in (first, second))
        every = np.arange(self._positions + 1) / self._positions
        return np.exp((every[:, None] - every) ** 2 / (-2 * self.DEPTH_WIDTH**2))[:, other][one]


def _shared_words(blocks: Sequence[str]) -> np.ndarray:
    """Which words of their names some blocks have and others lack, an array of zeros and ones of shape [blocks, words].

    FULLY_CONNECTED_RESIDUAL_CONCAT_BATCHNORM and FULLY_CONNECTED_RESIDUAL_PROJECT_BATCHNORM do much the same: what one
    reaches tells of the other, before the other was tried.
    """
    searched = [name for name in blocks if name != DEFAULT_FLATTEN]
    owners: dict[frozenset[str], None] = {}
    for word in dict.fromkeys(itertools.chain.from_iterable(name.split("_") for name in searched)):
        sharing = frozenset(name for name in searched if word in name.split("_"))
        if 1 < len(sharing) < len(searched):
            owners[sharing] = None
    return np.array([[float(name in sharing) for sharing in owners] for name in blocks]).reshape(
        len(blocks), len(owners)
    )


def _places(first: np.ndarray, second: np.ndarray) -> list[np.ndarray]:
    """For each place, who has the same block there (or none either)."""
    return [one[:, None] == other[None, :] for one, other in zip(first.T.copy(), second.T.copy(), strict=True)]


def _sum(of: Sequence[np.ndarray]) -> np.ndarray:
    """How many of these are true, for each pair: whole numbers of 32 bits."""
    total = np.zeros(of[0].shape, np.int32)
    for each in of:
        total += each
    return total


def _squares(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared distances between rows, [n, m]; 1 between two choices."""
    squares = np.zeros((len(first), len(second)))
    for one, other in zip(first.T, second.T, strict=True):
        differences = np.subtract.outer(one, other)
        squares += np.multiply(differences, differences, out=differences)
    return squares


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | slice]:
    """The rows that differ, and which of them each row is; all rows where most of them differ."""
    if len(rows) and (rows == rows[0]).all():
        return rows[:1], np.zeros(len(rows), np.intp)
    if rows.shape[1] == 1:
        distinct, which = np.unique(rows[:, 0], return_inverse=True)
        found = distinct[:, None]
    else:
        found, which = np.unique(rows, axis=0, return_inverse=True)
    return (rows, slice(None)) if 2 * len(found) > len(rows) else (found, which.reshape(-1))


@dataclasses.dataclass(frozen=True)
class _Scale:
    """One column of a hyperparameter: a number on its scale, or whether it has a certain value."""

    name: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    choice: HyperparameterValue | None = None

    def column(self, values: Sequence[HyperparameterValue | None]) -> np.ndarray:
        """The values on the scale, half-way where there is no number; [n]."""
        if self.choice is not None:
            return np.array([value == self.choice for value in values]) / math.sqrt(2)
        if any(issubclass(kind, (str, bool)) for kind in set(map(type, values))):
            values = [None if isinstance(value, (str, bool)) else value for value in values]
        numbers = np.array(values, dtype=np.float64)  # None becomes NaN
        cut = np.minimum(np.maximum(numbers, self.low), self.high)
        if self.log:
            # The logarithm of the standard library, as that of NumPy differs between processors.
            logarithms = np.array([math.log(ratio) for ratio in (cut / self.low).tolist()])
            scaled = logarithms / math.log(self.high / self.low)
        else:
            scaled = (cut - self.low) / (self.high - self.low)
        return np.where(np.isnan(numbers), 0.5, scaled)


def _scales(hyperparameters: Sequence[Hyperparameters]) -> tuple[_Scale, ...]:
    """A column for each number, and one for each value of a choice, of those that differ between trials."""
    scales: list[_Scale] = []
    for name in sorted(set(itertools.chain.from_iterable(hyperparameters))):
        seen = dict.fromkeys([values.get(name) for values in hyperparameters])
        given = [value for value in seen if value is not None]
        numbers = [float(value) for value in given if not isinstance(value, (str, bool))]
        if len(seen) < 2:
            continue
        if len(numbers) < len(given) or len(given) < 2:
            scales += [_Scale(name, choice=value) for value in given]
            continue
        low, high = min(numbers), max(numbers)
        scales.append(_Scale(name, low, high, log=low > 0 and high > 8 * low))
    return tuple(scales)
