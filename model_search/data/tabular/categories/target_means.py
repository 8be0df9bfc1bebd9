"""Values of a column as the mean of the label (target encoding, Micci-Barreca 2001), shrunk towards that of all rows.

A mean that counts a row's own label tells it, and a model that learns from such means trusts them too much. So the
training rows are given those of other rows: each fifth of them the means of the other four. Validation rows are given
the means of all training rows; rows to predict those of all rows whose label is known, which are more.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from model_search.data.tabular.features import CategoryFeature, Feature, FeatureSchema, NumberFeature
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


FeatureWithMeans = TypeVar("FeatureWithMeans", bound=NumberFeature | CategoryFeature)


@dataclasses.dataclass(frozen=True)
class Target:
    """Labels, to which features are fitted: those of the training rows, unless said otherwise.

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

    def weights_of_rows(self) -> np.ndarray:
        """The weights, float64 [rows]."""
        return np.ones(len(self.values)) if self.weights is None else np.asarray(self.weights, np.float64)

    def folds(self) -> np.ndarray:
        """The fold of each row, int [rows]; a group is in one fold."""
        generator = np.random.default_rng([self.seed, 0x7A26])
        units = np.arange(len(self.values)) if self.groups is None else np.unique(self.groups, return_inverse=True)[1]
        drawn = generator.permutation(int(units.max()) + 1) % FOLDS
        return drawn[units]


def least_shared_rows(counts: np.ndarray) -> int:
    """How many rows a value has at least that has a mean, of values with so many rows each, int [values].

    More than one where most rows have a value of their own.
    """
    shared = int(counts[counts > 1].sum())
    return 1 if 2 * shared > int(counts.sum()) else LEAST_SHARED_ROWS


def with_means(feature: CategoryFeature, series: pd.Series, target: Target) -> CategoryFeature | None:
    """The feature with means of the label; None where these do not predict the label of rows that they do not count.

    Args:
        feature: A feature with `mean_texts`, without means.
        series: Its column, the training rows.
        target: Their labels.
    """
    if not 0 <= target.classes <= MOST_CLASSES or not feature.mean_texts:
        return None
    found = fitted_means(mean_places(feature, series), feature.mean_count, target)
    return with_table(feature, found.table()) if found.gain > LEAST_GAIN else None


def give_means_of_others(
    matrix: np.ndarray,
    schema: FeatureSchema,
    frame: pd.DataFrame,
    target: Target,
    later: tuple[pd.DataFrame, Target] | None = None,
) -> FeatureSchema:
    """Replaces the means of the training rows, in place, by those of rows in other folds.

    Args:
        matrix: Their features, float32 [rows, schema.width].
        schema: The features, fitted to the same rows.
        frame: The rows.
        target: Their labels, as for `with_means`.
        later: Further rows and their labels, which the means for rows to predict count, too; None for none.

    Returns:
        The schema by which rows to predict are read.
    """
    found = list[Feature]()
    for feature, start in zip(schema.features, schema.starts, strict=True):
        if not isinstance(feature, NumberFeature | CategoryFeature) or not feature.outputs:
            found.append(feature)
            continue
        means = fitted_means(mean_places(feature, frame[feature.column]), feature.mean_count, target)
        begin = start + feature.mean_start
        matrix[:, begin : begin + feature.outputs] = means.rows
        if later is not None:
            means = means.counting(feature, later[0][feature.column], later[1])
        found.append(with_table(feature, means.table()))
    return dataclasses.replace(schema, features=tuple(found))


def with_table(feature: FeatureWithMeans, table: np.ndarray) -> FeatureWithMeans:
    """The feature with the means of a table, as `Means.table` gives it."""
    return dataclasses.replace(feature, means=tuple(round(value, _DIGITS) for value in table.ravel().tolist()))


@dataclasses.dataclass(frozen=True)
class Units:
    """The units of labels and weights: those of the training rows, whose mean is 0.

    Attributes:
        center: Their mean, float64 [outputs].
        deviation: Their standard deviation; 1 for classes.
        weight: Their mean weight.
    """

    center: np.ndarray
    deviation: float
    weight: float

    @classmethod
    def of(cls, target: Target) -> Units:
        """Those of the training rows."""
        values, weights = target.outputs(), target.weights_of_rows()
        center = np.average(values, axis=0, weights=weights)
        deviation = 1.0 if target.classes else float(np.std(values - center)) or 1.0
        return cls(center, deviation, float(weights.mean()))

    def values(self, target: Target) -> np.ndarray:
        """The labels of any rows, float64 [rows, outputs]."""
        return (target.outputs() - self.center) / self.deviation

    def weights(self, target: Target) -> np.ndarray:
        """The weights of any rows, float64 [rows]."""
        return target.weights_of_rows() / self.weight


@dataclasses.dataclass(frozen=True)
class Means:
    """The means of the label.

    Attributes:
        rows: For each training row those of the rows in other folds, as in the matrix, float64 [rows, outputs].
        gain: By how much these reduce the squared error, in standard errors.
        sums: The weighted sum of the labels of each text, and 0 for all others, float64 [texts + 1, outputs].
        mass: The sum of the weights, likewise, float64 [texts + 1].
        strength: How many rows the mean of all rows counts as, float64 [outputs].
        scale: What means are divided by in the matrix, float64 [outputs].
        units: Of the labels.
    """

    rows: np.ndarray
    gain: float
    sums: np.ndarray
    mass: np.ndarray
    strength: np.ndarray
    scale: np.ndarray
    units: Units

    def table(self) -> np.ndarray:
        """Those of all rows, by text and then for all others, as in the matrix, float64 [texts + 1, outputs]."""
        return np.clip(shrunk(self.sums, self.mass[:, None], self.strength) / self.scale, -CLIP, CLIP)

    def counting(self, feature: NumberFeature | CategoryFeature, series: pd.Series, target: Target) -> Means:
        """The same with further rows: a model that has read the means of the training rows reads these as well."""
        places, values = mean_places(feature, series), self.units.values(target)
        own = (places < feature.mean_count) * self.units.weights(target)
        sums = [np.bincount(places, own * column, len(self.mass)) for column in values.T]
        mass = self.mass + np.bincount(places, own, len(self.mass))
        return dataclasses.replace(self, sums=self.sums + np.stack(sums, axis=1), mass=mass)


def fitted_means(places: np.ndarray, known: int, target: Target) -> Means:
    """The means of the label by the values of a column.

    Args:
        places: The place of each training row's value among those with a mean for themselves, int [rows]; `known` for
            all others.
        known: How many of them there are.
        target: The labels.
    """
    units = Units.of(target)
    values, weights = units.values(target), units.weights(target)
    folds, count = target.folds(), FOLDS * (known + 1)
    cells = FOLDS * places + folds
    own = (places < known) * weights  # all others have the mean of all rows
    mass = np.bincount(cells, own, count).reshape(-1, FOLDS)
    all_mass = mass.sum(axis=1)
    sums, strengths, rows = list[np.ndarray](), list[float](), list[np.ndarray]()
    for column in values.T:
        of_folds = np.bincount(cells, own * column, count).reshape(-1, FOLDS)
        sums.append(of_folds.sum(axis=1))
        strengths.append(strength_of(sums[-1], all_mass, float(np.sum(own * column**2))))
        others = shrunk(sums[-1][:, None] - of_folds, all_mass[:, None] - mass, strengths[-1])
        rows.append(others[places, folds])
    found = np.stack(rows, axis=1)
    gain, scale = _gain(values, found, weights), scale_of(found)
    given = np.clip(found / scale, -CLIP, CLIP)
    return Means(given, gain, np.stack(sums, axis=1), all_mass, np.array(strengths), scale, units)


def strength_of(sums: np.ndarray, mass: np.ndarray, squares: float) -> float:
    """How many rows the mean of all rows counts as: the variance within categories by that of their means.

    Empirical Bayes: both are estimated by moments, as in an analysis of variance with random effects around 0.
    """
    there = mass > _SMALLEST
    rows, categories = float(mass.sum()), int(there.sum())
    between = float(np.sum(sums[there] ** 2 / mass[there]))
    within = max(squares - between, 0.0) / max(rows - categories, 1.0)
    of_means = (between - categories * within) / max(rows, 1.0)
    return within / of_means if of_means > 0 else math.inf


def shrunk(sums: np.ndarray, mass: np.ndarray, strength: float | np.ndarray) -> np.ndarray:
    """The mean of each category, shrunk towards 0, which counts as `strength` rows; 0 where there are none."""
    return np.where(mass > _SMALLEST, sums / (np.maximum(mass, _SMALLEST) + strength), 0.0)


def _gain(values: np.ndarray, rows: np.ndarray, weights: np.ndarray) -> float:
    gains = weights * np.sum(values**2 - (values - rows) ** 2, axis=1)
    error = float(np.std(gains)) / math.sqrt(len(gains))
    return float(np.mean(gains)) / error if error > 0 else 0.0


def scale_of(rows: np.ndarray) -> np.ndarray:
    """The standard deviation of each output; up to twice of it where some would be cut off otherwise, [outputs]."""
    deviation = np.std(rows, axis=0)
    furthest = np.max(np.abs(rows), axis=0)
    stretched = np.clip(furthest / (CLIP * np.maximum(deviation, _SMALLEST)), 1.0, _MOST_STRETCHED)
    return np.where(deviation > _SMALLEST, deviation * stretched, 1.0)
