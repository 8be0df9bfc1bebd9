"""What the values of a column add to what all other columns tell: their effects on the label.

The mean label of a value holds what other columns, with which it goes together, account for as well; an effect does
not. Effects are those of a linear model of the label, fitted by turns (backfitting, Buja, Hastie and Tibshirani 1989):
the ridge regression, on all other columns, of what the effects leave over, and for each column with means the shrunk
means of what all else leaves over (random effects). They replace the means where a linear model is clearly better with
them. Both beside each other would tell a model the labels of its own rows: the folds leave a row out of both, and their
difference shows what it would have added.

As with means, training rows are given the effects of other rows: those that four fifths of the rows have, of which
they are no part. Validation rows are given the effects of all training rows; rows to predict those of all rows whose
label is known.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from model_search.data.tabular.categories.target_means import (
    FOLDS,
    LEAST_GAIN,
    Target,
    Units,
    scale_of,
    shrunk,
    strength_of,
    with_table,
)
from model_search.data.tabular.features import CategoryFeature, FeatureSchema, NumberFeature
from model_search.data.tabular.preprocess import CLIP, mean_places

if TYPE_CHECKING:
    import pandas as pd

MOST_COLUMNS = 500  # in the matrix; with more of them the regressions take longer than effects are worth
FEWEST_ROWS = 30  # to validate on, by which the effects are compared with the means
LEAST_LESS = 0.05  # of the squared error that the means leave
_ROUNDS = 6
_PENALTY = 1.0  # in rows, as columns have a variance of about 1
_ROWS_AT_ONCE = 65_536


@dataclasses.dataclass(frozen=True)
class ReadRows:
    """Rows, as they are read with means.

    Attributes:
        matrix: float32 [rows, schema.width].
        frame: The cells.
        target: Their labels.
    """

    matrix: np.ndarray
    frame: pd.DataFrame
    target: Target


@dataclasses.dataclass(frozen=True)
class Effects:
    """The effects of the values of each column with means.

    Attributes:
        training: The training rows as they are read with the effects of others, float32 [rows, schema.width].
        validation: The validation rows as they are read with the effects of the training rows, likewise.
        schema: The features with these effects.
        of_all: The features with the effects of all these rows.
    """

    training: np.ndarray
    validation: np.ndarray
    schema: FeatureSchema
    of_all: FeatureSchema

    @property
    def note(self) -> str:
        """What is read, for people."""
        names = [repr(feature.column) for feature, _ in _with_means(self.schema)]
        those = f"column {names[0]}" if len(names) == 1 else f"columns {', '.join(names)}"
        return f"{those}: where a value has a mean, this is of what all other columns leave over"


def fitted_effects(schema: FeatureSchema, training: ReadRows, validation: ReadRows) -> Effects | None:
    """The effects of values; None where they do not clearly help a linear model of the validation rows.

    Args:
        schema: The features with means, fitted to the training rows.
        training: The training rows, with the means of others.
        validation: The validation rows, with the means of the training rows.
    """
    coded = _with_means(schema)
    if not coded or schema.width > MOST_COLUMNS or len(validation.matrix) < FEWEST_ROWS:
        return None
    target, units = training.target, Units.of(training.target)
    rows, folds = _Rows.of(training, schema), target.folds()
    values, weights = units.values(target), units.weights(target)
    products = _products(rows.matrix, weights, folds)
    others = [np.zeros(values.shape) for _ in coded]
    for fold in range(FOLDS):
        inside = folds == fold
        fit = _fitted(rows, products.sum(axis=0) - products[fold], values, np.where(inside, 0.0, weights))
        for found, table, own in zip(others, fit.tables, rows.places, strict=True):
            found[inside] = table[own[inside]]
    scales = list(map(scale_of, others))
    fit = _fitted(rows, products.sum(axis=0), values, weights)
    of_training = _with_tables(schema, _scaled(fit.tables, scales))
    later = _Rows.of(validation, schema)
    given = _replaced(training.matrix, schema, _scaled(others, scales))
    tables = [feature.mean_table for feature, _ in _with_means(of_training)]
    read = [table[own] for table, own in zip(tables, later.places, strict=True)]
    found = _replaced(validation.matrix, schema, read)
    more, more_weights = units.values(validation.target), units.weights(validation.target)
    before = _errors((training.matrix, values, weights), validation.matrix, more) * more_weights
    less = before - _errors((given, values, weights), found, more) * more_weights
    error = float(np.std(less)) / len(less) ** 0.5
    if not float(np.mean(less)) > max(LEAST_GAIN * error, LEAST_LESS * float(np.mean(before))):
        return None
    fit = fit.counting(later, more, more_weights)
    return Effects(given, found, of_training, _with_tables(schema, _scaled(fit.tables, scales)))


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Rows as a linear model with effects reads them.

    Attributes:
        matrix: The columns of features without means, and one of ones, float32 [rows, columns].
        places: For each column with means the place of each row's value in its table, int [rows].
        known: For each of them how many values have a mean for themselves; this place is that of all others.
    """

    matrix: np.ndarray
    places: Sequence[np.ndarray]
    known: Sequence[int]

    @classmethod
    def of(cls, rows: ReadRows, schema: FeatureSchema) -> _Rows:
        """The same for rows that are read as the schema tells."""
        coded = _with_means(schema)
        others = np.ones(schema.width, bool)
        for feature, begin in coded:
            others[begin - feature.mean_start : begin - feature.mean_start + feature.width] = False
        places = [mean_places(feature, rows.frame[feature.column]) for feature, _ in coded]
        return cls(_with_ones(rows.matrix[:, others]), places, [feature.mean_count for feature, _ in coded])

    def sums(self, place: int, rest: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """By value of a column, the weighted sums of `rest` [values + 1, outputs], and of the weights [values + 1]."""
        own, count = self.places[place], self.known[place] + 1
        weights = np.where(own < self.known[place], weights, 0.0)
        sums = [np.bincount(own, weights * column, count) for column in rest.T]
        return np.stack(sums, axis=1), np.bincount(own, weights, count)


@dataclasses.dataclass(frozen=True)
class _Fit:
    """A linear model with effects.

    Attributes:
        coefficients: Of the columns of features without means, float32 [columns, outputs].
        sums: For each column with means the weighted sums of what all else leaves over, float64 [values + 1, outputs];
            the last row is that of all values without a mean for themselves, and 0.
        mass: The sums of the weights, likewise, float64 [values + 1].
        strengths: How many rows an effect of 0 counts as, float64 [outputs].
    """

    coefficients: np.ndarray
    sums: Sequence[np.ndarray]
    mass: Sequence[np.ndarray]
    strengths: Sequence[np.ndarray]

    @functools.cached_property
    def tables(self) -> Sequence[np.ndarray]:
        """For each column with means the effects of its values, float64 [values + 1, outputs]."""
        parts = zip(self.sums, self.mass, self.strengths, strict=True)
        return [shrunk(sums, mass[:, None], strength) for sums, mass, strength in parts]

    def counting(self, rows: _Rows, values: np.ndarray, weights: np.ndarray) -> _Fit:
        """The same with what the model leaves over of further rows."""
        parts = [table[places] for table, places in zip(self.tables, rows.places, strict=True)]
        rest = values - rows.matrix @ self.coefficients - np.sum(parts, axis=0)
        more = [rows.sums(place, rest + part, weights) for place, part in enumerate(parts)]
        return dataclasses.replace(
            self,
            sums=[before + sums for before, (sums, _) in zip(self.sums, more, strict=True)],
            mass=[before + mass for before, (_, mass) in zip(self.mass, more, strict=True)],
        )


def _fitted(rows: _Rows, products: np.ndarray, values: np.ndarray, weights: np.ndarray) -> _Fit:
    """The model of the rows whose weight is above 0; `products` are those of the matrix with itself, weighted."""
    from scipy import linalg

    factor = linalg.cho_factor(products + _PENALTY * np.eye(len(products)))
    parts = [np.zeros(values.shape) for _ in rows.places]
    sums, mass, strengths = ([np.zeros(0)] * len(parts) for _ in range(3))
    for _ in range(_ROUNDS):
        rest = values - np.sum(parts, axis=0)
        moments = rows.matrix.T @ (rest * weights[:, None]).astype(np.float32)
        coefficients = linalg.cho_solve(factor, moments).astype(np.float32)
        rest -= rows.matrix @ coefficients
        for place, own in enumerate(rows.places):
            rest += parts[place]
            sums[place], mass[place] = rows.sums(place, rest, weights)
            squares = (np.where(own < rows.known[place], weights, 0.0) @ rest**2).tolist()
            strengths[place] = np.array(
                [strength_of(sums[place][:, k], mass[place], square) for k, square in enumerate(squares)]
            )
            parts[place] = shrunk(sums[place], mass[place][:, None], strengths[place])[own]
            rest -= parts[place]
    return _Fit(coefficients, sums, mass, strengths)


def _errors(known: tuple[np.ndarray, np.ndarray, np.ndarray], matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The squared error of ridge regression for each row of a matrix, float64 [rows].

    Args:
        known: The matrix, the labels and the weights of the rows that it learns from.
        matrix: float32 [rows, columns].
        values: The labels of these rows, float64 [rows, outputs].
    """
    columns, labels, weights = known
    columns = _with_ones(columns)
    products = _products(columns, weights, np.zeros(len(columns), int)).sum(axis=0)
    moments = columns.T @ (labels * weights[:, None]).astype(np.float32)
    coefficients = np.linalg.solve(products + _PENALTY * np.eye(len(products)), moments).astype(np.float32)
    return np.sum((values - _with_ones(matrix) @ coefficients) ** 2, axis=1)


def _products(matrix: np.ndarray, weights: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Of the rows of each fold, the weighted products of all columns, float64 [folds, columns, columns]."""
    found = np.zeros((FOLDS, matrix.shape[1], matrix.shape[1]))
    for fold in range(FOLDS):
        rows = np.flatnonzero(folds == fold)
        for begin in range(0, len(rows), _ROWS_AT_ONCE):  # each is copied, as float64
            taken = rows[begin : begin + _ROWS_AT_ONCE]
            piece = matrix[taken].astype(np.float64)
            found[fold] += piece.T @ (piece * weights[taken, None])
    return found


def _with_means(schema: FeatureSchema) -> list[tuple[NumberFeature | CategoryFeature, int]]:
    """The features with means, and the first of their columns that tells them."""
    return [
        (feature, start + feature.mean_start)
        for feature, start in zip(schema.features, schema.starts, strict=True)
        if isinstance(feature, NumberFeature | CategoryFeature) and feature.outputs
    ]


def _with_tables(schema: FeatureSchema, tables: Sequence[np.ndarray]) -> FeatureSchema:
    """The features with other means."""
    found, features = iter(tables), list(schema.features)
    for place, feature in enumerate(features):
        if isinstance(feature, NumberFeature | CategoryFeature) and feature.outputs:
            features[place] = with_table(feature, next(found))
    return dataclasses.replace(schema, features=tuple(features))


def _replaced(matrix: np.ndarray, schema: FeatureSchema, effects: Sequence[np.ndarray]) -> np.ndarray:
    """The matrix, which is read as the schema tells, with effects for means."""
    found = matrix.copy()
    for (feature, begin), own in zip(_with_means(schema), effects, strict=True):
        found[:, begin : begin + feature.outputs] = own
    return found


def _scaled(effects: Sequence[np.ndarray], scales: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [np.clip(own / scale, -CLIP, CLIP) for own, scale in zip(effects, scales, strict=True)]


def _with_ones(matrix: np.ndarray) -> np.ndarray:
    return np.concatenate([matrix, np.ones((len(matrix), 1), np.float32)], axis=1)
