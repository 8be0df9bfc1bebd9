"""Architectures as rows of numbers, and edit distances between them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from model_search.search.space.architecture import Architecture, body_of

PADDING = -1


def encode(architectures: Sequence[Architecture], numbers: Mapping[str, int]) -> NDArray[np.int16]:
    """A row of block numbers for each architecture, without flatten blocks, padded with -1 to one length.

    Args:
        architectures: The architectures, in their canonical form.
        numbers: The number of each block; blocks that it lacks share one number.
    """
    # Each name is looked up once, as there are far fewer names than architectures.
    searched = body_of(tuple(dict.fromkeys(itertools.chain.from_iterable(architectures))))
    codes = {name: numbers.get(name, len(numbers)) for name in searched}
    coded = [[codes[name] for name in architecture if name in codes] for architecture in architectures]
    rows = np.full((len(coded), max(map(len, coded), default=0)), PADDING, dtype=np.int16)
    for row, found in zip(rows, coded, strict=True):
        row[: len(found)] = found
    return rows


def hamming(first: NDArray[np.int16], second: NDArray[np.int16]) -> NDArray[np.float64]:
    """Positions at which they differ, [n, m]; a missing block differs from every block."""
    width = max(first.shape[1], second.shape[1])
    one, two = _widen(first, width), _widen(second, width)
    return (one[:, None, :] != two[None, :, :]).sum(axis=2).astype(np.float64)


def levenshtein(first: NDArray[np.int16], second: NDArray[np.int16]) -> NDArray[np.float64]:
    """Blocks to replace, insert or delete, [n, m]: the table of Wagner and Fischer, for all pairs at once."""
    one_lengths, two_lengths = ((rows != PADDING).sum(axis=1) for rows in (first, second))
    pairs = (len(first), len(second))
    row = np.broadcast_to(np.arange(second.shape[1] + 1, dtype=np.int16)[:, None, None], (second.shape[1] + 1, *pairs))
    distances = np.zeros(pairs, dtype=np.float64)
    columns = np.arange(len(second))
    for i in range(first.shape[1] + 1):
        if i:
            above, row = row, np.empty_like(row)
            row[0] = i
            for j in range(1, second.shape[1] + 1):
                differs = first[:, i - 1, None] != second[None, :, j - 1]
                np.minimum(np.minimum(above[j], row[j - 1]) + 1, above[j - 1] + differs, out=row[j])
        ends = np.flatnonzero(one_lengths == i)
        distances[ends] = row[two_lengths[None, :], ends[:, None], columns[None, :]]
    return distances


def _widen(rows: NDArray[np.int16], width: int) -> NDArray[np.int16]:
    if rows.shape[1] == width:
        return rows
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=PADDING)
