"""Whole numbers that are codes (of a shop, a route, an article), so that neighbouring ones are not alike.

Such a column is a number that says little by its size; the mean of the label for each code (`target_means.py`) says
much. Whether it is one is judged by the labels: the means of codes must foretell those of rows that they do not count
clearly better than the means of ranges of the numbers do.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from model_search.data.tabular.categories.target_means import (
    MOST_CLASSES,
    MOST_TEXTS,
    Means,
    Target,
    fitted_means,
    least_shared_rows,
    with_table,
)
from model_search.data.tabular.features import NumberFeature

_FEWEST = 256  # different numbers; histograms of boosted trees can tell fewer from each other
_MOST_SHARE = 0.9  # of the rows; with more, hardly any number has two
_LARGEST = 2.0**53  # above, not every whole number is a float64
_FEWEST_RANGES, _USUAL_RANGES = 4, 64
_LEAST_GAIN = 4.0  # of codes over ranges of numbers, in standard errors
_LEAST_SHARE = 0.01  # and as a share of the squared error


def with_codes(feature: NumberFeature, values: np.ndarray, target: Target) -> NumberFeature | None:
    """The feature with means of the label for whole numbers that are codes; None where they are none.

    Args:
        feature: A feature without means.
        values: Its column, float64 [rows] with NaN for missing: the training rows.
        target: Their labels.
    """
    there = ~np.isnan(values)
    if not feature.whole or not 0 <= target.classes <= MOST_CLASSES or np.abs(values[there]).max() >= _LARGEST:
        return None
    numbers, place, counts = np.unique(values[there], return_inverse=True, return_counts=True)
    if len(numbers) < _FEWEST or len(numbers) > _MOST_SHARE * there.sum():
        return None
    least = least_shared_rows(counts)
    by_rows = np.argsort(-counts, kind="stable")[: min(MOST_TEXTS, int((counts >= least).sum()))]
    own = np.sort(by_rows)
    place_of = np.full(len(numbers) + 1, len(own))
    place_of[own] = np.arange(len(own))
    codes = np.full(len(values), len(numbers))
    codes[there] = place
    means = fitted_means(place_of[codes], len(own), target)
    weights = means.units.weights(target)
    errors = weights * _squared_errors(means, target)
    for ranges in _numbers_of_ranges(len(numbers)):
        of_ranges = fitted_means(_ranges(counts, ranges)[codes], ranges, target)
        gain = weights * _squared_errors(of_ranges, target) - errors
        needed = max(_LEAST_SHARE * errors.mean(), _LEAST_GAIN * gain.std() / math.sqrt(len(gain)))
        if not gain.mean() > needed:
            return None
    return with_table(dataclasses.replace(feature, mean_values=tuple(numbers[own].tolist())), means.table())


def _numbers_of_ranges(numbers: int) -> list[int]:
    """4, 8, 16 and so on up to half as many as there are numbers; first those that sizes are most often told by."""
    every = [_FEWEST_RANGES << doubled for doubled in range(numbers.bit_length())]
    return sorted(
        (ranges for ranges in every if ranges <= numbers // 2), key=lambda ranges: abs(ranges - _USUAL_RANGES)
    )


def _ranges(counts: np.ndarray, ranges: int) -> np.ndarray:
    """The range of each of the sorted numbers, and one more for a missing one; ranges have about as many rows each.

    Args:
        counts: How many rows each number has.
        ranges: How many ranges.
    """
    until = np.cumsum(counts)
    middle = (until - counts / 2) / until[-1]
    return np.append(np.minimum((middle * ranges).astype(np.int64), ranges - 1), ranges)


def _squared_errors(means: Means, target: Target) -> np.ndarray:
    """Those of the training rows, float64 [rows]."""
    return np.sum((means.units.values(target) - means.rows * means.scale) ** 2, axis=1)
