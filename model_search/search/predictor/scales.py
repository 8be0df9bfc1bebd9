"""Scales on which a predictor learns: what of the results counts, and what outliers may do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Scale = Callable[[np.ndarray], np.ndarray]


def targets(values: np.ndarray) -> np.ndarray:
    """Objectives, larger is better, on a scale on which the good ones differ: mean 0, variance 1.

    What lies below the median is compressed by a logarithm, since how bad a bad trial is says little, and one that
    went astray must not outweigh all others.
    """
    # What rounding alone can make of equal values is no difference between them.
    noise = 1e-12 * np.abs(values).max()
    median = np.median(values)
    spread = np.quantile(values, 0.9) - median
    if not spread > noise:
        spread = values.std()
    if not spread > noise:
        return np.zeros(len(values))
    scaled = (values - median) / spread
    return _standardized(np.where(scaled < 0, -np.log1p(np.maximum(-scaled, 0.0)), scaled))


def normal_scores(values: np.ndarray) -> np.ndarray:
    """The normal quantiles of the ranks of objectives: mean 0, variance 1. Ties share the mean of their ranks.

    Only the order counts, so that no outlier and no heavy tail does (Van der Waerden, 1952).
    """
    from scipy.special import ndtri

    # No scipy.stats: its import takes half a second, in the first proposals of every worker.
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return _standardized(ndtri((ranks[place] - 0.5) / len(values)))


def log_regret(values: np.ndarray) -> np.ndarray:
    """The negative logarithm of how far objectives, larger is better, lie below the best: mean 0, variance 1.

    Differences among the best count most. The unit is a quarter of the median's distance from the best one.
    """
    regrets = values.max() - values
    unit = np.median(regrets) / 4
    if not unit > 1e-12 * np.abs(values).max():
        unit = regrets.mean()
    if not unit > 1e-12 * np.abs(values).max():
        return np.zeros(len(values))
    return _standardized(-np.log1p(regrets / unit))


def _standardized(values: np.ndarray) -> np.ndarray:
    deviation = values.std()
    return (values - values.mean()) / deviation if deviation > 0 else np.zeros(len(values))
