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
    Target,
    Units,
    fitted_means,
    least_shared_rows,
    with_table,
)
from model_search.data.tabular.features import NumberFeature

_FEWEST = 256  # different numbers; histograms of boosted trees can tell fewer from each other
_MOST_SHARE = 0.9  # of the rows; with more, hardly any number has two
_LARGEST = 2.0**53  # above, not every whole number is a float64
_FEWEST_RANGES = 4
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
    errors = _squared_errors(means.rows * means.scale, target)
    gain = _errors_of_ranges(codes, counts, target) - errors
    weights = Units.of(target).weights(target)
    gain, spread = float(np.mean(weights * gain)), float(np.std(weights * gain))
    if gain < _LEAST_SHARE * float(np.mean(weights * errors)) or gain * math.sqrt(len(values)) < _LEAST_GAIN * spread:
        return None
    return with_table(dataclasses.replace(feature, mean_values=tuple(numbers[own].tolist())), means.table())


def _errors_of_ranges(codes: np.ndarray, counts: np.ndarray, target: Target) -> np.ndarray:
    """Squared errors of the means of ranges with as many rows each, float64 [rows]: of the best number of ranges.

    Args:
        codes: The place of each row's number among the sorted ones, int [rows]; one more for a missing one.
        counts: How many rows each number has.
        target: The labels.
    """
    until, best, ranges = np.cumsum(counts), np.empty(0), _FEWEST_RANGES
    while ranges <= max(_FEWEST_RANGES, len(counts) // 2):
        middle = (until - counts / 2) / until[-1]
        range_of = np.append(np.minimum((middle * ranges).astype(np.int64), ranges - 1), ranges)
        found = fitted_means(range_of[codes], ranges, target)
        errors = _squared_errors(found.rows * found.scale, target)
        if not len(best) or errors.mean() < best.mean():
            best = errors
        ranges *= 2
    return best


def _squared_errors(predicted: np.ndarray, target: Target) -> np.ndarray:
    return np.sum((Units.of(target).values(target) - predicted) ** 2, axis=1)
