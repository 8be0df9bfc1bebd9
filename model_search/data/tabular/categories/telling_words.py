"""Which words of a column of texts go with the label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model_search.data.tabular.categories.target_means import Target, Units
from model_search.data.tabular.categories.words import words_of
from model_search.data.tabular.text_columns import can_be_looked_up, text_parts

if TYPE_CHECKING:
    import pandas as pd

MOST_WORDS = 100
LEAST_ROWS = 10  # have the word, and as many lack it
LEAST_Z = 4.0  # of thousands of words, some differ by three standard errors by chance
_SMALLEST = 1e-9


def telling_words(series: pd.Series, target: Target) -> tuple[str, ...]:
    """The words by which the label differs most clearly, in alphabetical order; none where it does not.

    A z test of the labels' mean, or of the share of each class, in the rows that have the word, as in `Target`.

    Args:
        series: The column, the training rows.
        target: Their labels.
    """
    from scipy import sparse

    if target.classes < 0:
        return ()
    units = Units.of(target)
    values, weights = units.values(target), units.weights(target)
    number: dict[str, int] = {}
    texts, places, sums, mass, rows = (
        list[int](),
        list[int](),
        list[np.ndarray](),
        list[np.ndarray](),
        list[np.ndarray](),
    )
    begin = count = 0
    for codes, _, cells in text_parts(series):
        part = slice(begin, begin + len(codes))
        rows.append(np.bincount(codes, minlength=len(cells)))
        mass.append(np.bincount(codes, weights[part], len(cells)))
        sums.append(np.stack([np.bincount(codes, weights[part] * column[part], len(cells)) for column in values.T], 1))
        for text, cell in enumerate(cells, start=count):
            own = {number.setdefault(word, len(number)) for word in words_of(cell)}
            places += own
            texts += [text] * len(own)
        begin, count = begin + len(codes), count + len(cells)
    if not number:
        return ()
    there = sparse.csr_matrix((np.ones(len(places)), (places, texts)), (len(number), count))
    rows_with = there @ np.concatenate(rows)
    inside = there @ np.concatenate(mass)
    outside = weights.sum() - inside
    means = (there @ np.concatenate(sums)) / np.maximum(inside, _SMALLEST)[:, None]
    errors = 1 / np.maximum(inside, _SMALLEST) + 1 / np.maximum(outside, _SMALLEST)
    spread = np.maximum(np.average(values**2, axis=0, weights=weights), _SMALLEST)
    # The rows without the word have the mean -means * inside / outside, as that of all is 0.
    differences = means * (1 + inside / np.maximum(outside, _SMALLEST))[:, None]
    z = np.max(np.abs(differences) / np.sqrt(spread * errors[:, None]), axis=1)
    is_shared = (rows_with >= LEAST_ROWS) & (rows_with <= begin - LEAST_ROWS)
    is_kept = is_shared & (z > LEAST_Z) & np.array([can_be_looked_up(word) for word in number])
    kept = np.flatnonzero(is_kept)
    words = list(number)
    return tuple(sorted(words[place] for place in kept[np.argsort(-z[kept], kind="stable")][:MOST_WORDS]))
