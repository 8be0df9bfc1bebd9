"""Categories as the mean of the label (target encoding, Micci-Barreca 2001), shrunk towards the mean of all rows.

A mean that counts a row's own label tells it, and a model that learns from such means trusts them too much. So the
training rows are given those of other rows: each fifth of them the means of the other four. All later rows are given
the means of all training rows.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from model_search.data.tabular.features import CategoryFeature, FeatureSchema
from model_search.data.tabular.preprocess import CLIP, mean_places

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 5
MOST_TEXTS = 10_000  # that have a mean for themselves
LEAST_SHARED_ROWS = 2  # of a text that has one, where most rows have a text of their own
MOST_CLASSES = 10
LEAST_GAIN = 2.0  # out of fold, in standard errors
MIN_COMPARED_ROWS = 5
CLEAR_Z = 2.0  # minimum distance of the labels of rows in a mask and all others, in standard errors
_SMALLEST = 1e-6  # below this a mean is that of all rows, and no weight is left
_MOST_STRETCHED = 2.0
_DIGITS = 6  # of what is stored


@dataclasses.dataclass(frozen=True)
class Target:
    """The training labels, to which features are fitted.

    Attributes:
        values: Class indices int [rows], or float [rows] for regression.
        classes: Number of classes; 0 for regression.
        weights: float [rows]; None where all rows weigh the same.
        groups: The group of each row, int [rows], which is not divided; None where rows are independent.
        seed: Decides the folds.
    """

    values: np.ndarray
    classes: int
    weights: np.ndarray | None = None
    groups: np.ndarray | None = None
    seed: int = 0

    def depends_on(self, mask: np.ndarray) -> bool:
        """Whether the labels of the rows in the mask differ significantly from the others'.

        A two-sample z test of the mean (regression) or of the share of each class.
        """
        inside = int(mask.sum())
        outside = len(mask) - inside
        if inside < MIN_COMPARED_ROWS or outside < MIN_COMPARED_ROWS:
            return False
        if self.classes:
            shares_in = np.bincount(self.values[mask], minlength=self.classes) / inside
            shares_out = np.bincount(self.values[~mask], minlength=self.classes) / outside
            pooled = np.bincount(self.values, minlength=self.classes) / len(mask)
            differences, variances = shares_in - shares_out, pooled * (1 - pooled)
        else:
            differences = np.array([self.values[mask].mean() - self.values[~mask].mean()])
            variances = np.array([self.values.var()])
        errors = np.sqrt(variances * (1 / inside + 1 / outside))
        return bool(np.any(np.abs(differences) > CLEAR_Z * np.maximum(errors, np.finfo(np.float64).tiny)))

    def outputs(self) -> np.ndarray:
        """What means are taken of, float64 [rows, outputs]: the numbers, the second class of two, or each class."""
        if not self.classes:
            return np.asarray(self.values, np.float64)[:, None]
        chosen = np.array([1]) if self.classes == 2 else np.arange(self.classes)
        return (self.values[:, None] == chosen).astype(np.float64)

    def folds(self) -> np.ndarray:
        """The fold of each row, int [rows]; a group is in one fold."""
        generator = np.random.default_rng([self.seed, 0x7A26])
        units = np.arange(len(self.values)) if self.groups is None else np.unique(self.groups, return_inverse=True)[1]
        drawn = generator.permutation(int(units.max()) + 1) % FOLDS
        return drawn[units]


def with_means(feature: CategoryFeature, series: pd.Series, target: Target) -> CategoryFeature | None:
    """The feature with means of the label; None where these do not predict the label of rows that they do not count.

    Args:
        feature: A feature with `mean_texts`, without means.
        series: Its column, the training rows.
        target: Their labels.
    """
    if not 0 <= target.classes <= MOST_CLASSES or not feature.mean_texts:
        return None
    found = _fitted(mean_places(feature, series), len(feature.mean_texts), target)
    if found.gain <= LEAST_GAIN:
        return None
    means = tuple(round(value, _DIGITS) for value in found.table.ravel().tolist())
    return dataclasses.replace(feature, means=means)


def give_means_of_others(matrix: np.ndarray, schema: FeatureSchema, frame: pd.DataFrame, target: Target) -> None:
    """Replaces the means of the training rows, in place, by those of rows in other folds.

    Args:
        matrix: Their features, float32 [rows, schema.width].
        schema: The features, fitted to the same rows.
        frame: The rows.
        target: Their labels, as for `with_means`.
    """
    end = 0
    for feature in schema.features:
        end += feature.width
        if isinstance(feature, CategoryFeature) and feature.outputs:
            places = mean_places(feature, frame[feature.column])
            matrix[:, end - feature.outputs : end] = _fitted(places, len(feature.mean_texts), target).rows


@dataclasses.dataclass(frozen=True)
class _Means:
    """The means of the label as they stand in the matrix: 0 for that of all rows.

    Attributes:
        table: Those of all rows, by text and then for all others, float64 [texts + 1, outputs].
        rows: For each row those of the rows in other folds, float64 [rows, outputs].
        gain: By how much the latter reduce the squared error, in standard errors.
    """

    table: np.ndarray
    rows: np.ndarray
    gain: float


def _fitted(places: np.ndarray, texts: int, target: Target) -> _Means:
    weights = np.ones(len(places)) if target.weights is None else np.asarray(target.weights, np.float64)
    weights, values = weights / weights.mean(), target.outputs()
    values = values - np.average(values, axis=0, weights=weights)
    if not target.classes:
        values /= float(np.std(values)) or 1.0
    folds = target.folds()
    found = [_of_output(places, texts, column, weights, folds) for column in values.T]
    table, rows = (np.stack(columns, axis=1) for columns in zip(*found, strict=True))
    gain = _gain(values, rows, weights)
    scale = _scale(rows)
    return _Means(np.clip(table / scale, -CLIP, CLIP), np.clip(rows / scale, -CLIP, CLIP), gain)


def _of_output(
    places: np.ndarray, texts: int, values: np.ndarray, weights: np.ndarray, folds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The shrunk means [texts + 1] and, for each row, those of the rows in other folds; of values around 0, [rows]."""
    cells, count = FOLDS * places + folds, FOLDS * (texts + 1)
    own = (places < texts) * weights  # all others have the mean of all rows
    mass = np.bincount(cells, own, count).reshape(-1, FOLDS)
    sums = np.bincount(cells, own * values, count).reshape(-1, FOLDS)
    all_mass, all_sums = mass.sum(axis=1), sums.sum(axis=1)
    strength = _strength(all_sums, all_mass, float(np.sum(own * values**2)))
    others = _shrunk(all_sums[:, None] - sums, all_mass[:, None] - mass, strength)
    return _shrunk(all_sums, all_mass, strength), others[places, folds]


def _strength(sums: np.ndarray, mass: np.ndarray, squares: float) -> float:
    """How many rows the mean of all rows counts as: the variance within categories by that of their means.

    Empirical Bayes: both are estimated by moments, as in an analysis of variance with random effects around 0.
    """
    there = mass > _SMALLEST
    rows, categories = float(mass.sum()), int(there.sum())
    between = float(np.sum(sums[there] ** 2 / mass[there]))
    within = max(squares - between, 0.0) / max(rows - categories, 1.0)
    of_means = (between - categories * within) / max(rows, 1.0)
    return within / of_means if of_means > 0 else math.inf


def _shrunk(sums: np.ndarray, mass: np.ndarray, strength: float) -> np.ndarray:
    return np.where(mass > _SMALLEST, sums / (np.maximum(mass, _SMALLEST) + strength), 0.0)


def _gain(values: np.ndarray, rows: np.ndarray, weights: np.ndarray) -> float:
    gains = weights * np.sum(values**2 - (values - rows) ** 2, axis=1)
    error = float(np.std(gains)) / math.sqrt(len(gains))
    return float(np.mean(gains)) / error if error > 0 else 0.0


def _scale(rows: np.ndarray) -> np.ndarray:
    """The standard deviation of each output; up to twice of it where some would be cut off otherwise, [outputs]."""
    deviation = np.std(rows, axis=0)
    furthest = np.max(np.abs(rows), axis=0)
    stretched = np.clip(furthest / (CLIP * np.maximum(deviation, _SMALLEST)), 1.0, _MOST_STRETCHED)
    return np.where(deviation > _SMALLEST, deviation * stretched, 1.0)
