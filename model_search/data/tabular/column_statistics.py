"""What a table's training rows say of its columns: which belong together, and how the numbers are distributed.

Towers encode numbers by it (`blocks/tabular/encodings.py`). It is kept in the study, with the other facts about an
input.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import statistics
from collections.abc import Iterator

import numpy as np

from model_search.data.rows import InputSpec
from model_search.data.tabular.features import CategoryFeature, FeatureSchema, NumberFeature

POINTS = 49  # quantiles of a number; with every other one, every third one... there are whole numbers of bins
_FEWEST_POINTS = 5
_MOST_NUMBERS = 20_000  # in the statistics of all columns together
_MOST_CELLS = 20_000_000  # of the rows that are looked at


def table_spec(schema: FeatureSchema, matrix: np.ndarray) -> InputSpec:
    """The specification of a table's input, with the statistics of its columns.

    Args:
        schema: The features.
        matrix: The training rows, float32 [rows, schema.width].
    """
    step = max(1, matrix.size // _MOST_CELLS)
    kinds = list(_kinds(schema))
    numbers = sum(is_number for _, is_number in kinds)
    points = max(_FEWEST_POINTS, min(POINTS, _MOST_NUMBERS // max(1, 2 * numbers)))
    widths, quantiles, distinct, start = [], [], [], 0
    for width, is_number in kinds:
        values = np.sort(matrix[::step, start]) if is_number else np.empty(0, np.float32)
        there = np.unique(values)
        is_known = len(there) > 2  # two values are as good as a category's two columns
        widths.append(width)
        quantiles.append(_points(values, points) if is_known else ())
        distinct.append(_points(there, points) if is_known else ())
        start += width
    return InputSpec(
        (matrix.shape[1],),
        str(matrix.dtype),
        widths=tuple(widths),
        quantiles=tuple(quantiles),
        distinct=tuple(distinct),
    )


def _kinds(schema: FeatureSchema) -> Iterator[tuple[int, bool]]:
    """Width of adjacent columns that belong together, and whether they are one number."""
    for feature in schema.features:
        if isinstance(feature, CategoryFeature):
            if feature.one_hot:
                yield feature.one_hot, False
            yield from itertools.repeat((1, True), feature.width - feature.one_hot)
            continue
        numbers = 1 + feature.outputs if isinstance(feature, NumberFeature) else len(feature.parts)
        yield from itertools.repeat((1, True), numbers)
        if feature.indicator:
            yield 1, False


def _points(values: np.ndarray, count: int) -> tuple[float, ...]:
    """Sorted values, or as many of them at equal distances."""
    if len(values) > count:
        values = values[np.rint(np.linspace(0, len(values) - 1, count)).astype(int)]
    return tuple(map(float, values))


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a vector as a tower's blocks read them.

    Attributes:
        numbers: Places of the numbers.
        others: Places of all other columns.
        categories: The adjacent columns of each category, as (first, last + 1).
    """

    numbers: tuple[int, ...]
    others: tuple[int, ...]
    categories: tuple[tuple[int, int], ...]
    _quantiles: tuple[tuple[float, ...], ...]
    _distinct: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, width: int, spec: InputSpec | None) -> Columns:
        """The columns of a vector of that width; where nothing is known, numbers as a normal distribution has them."""
        if spec is None or not spec.widths:
            usual = (_usual_points(),) * width
            return cls(tuple(range(width)), (), (), usual, usual)
        starts = [0, *itertools.accumulate(spec.widths)]
        known = [place for place, values in enumerate(spec.quantiles) if values]
        numbers = tuple(starts[place] for place in known)
        return cls(
            numbers,
            tuple(column for column in range(width) if column not in set(numbers)),
            tuple((start, start + size) for start, size in zip(starts, spec.widths, strict=False) if size > 1),
            tuple(spec.quantiles[place] for place in known),
            tuple(spec.distinct[place] for place in known),
        )

    def edges(self, bins: int) -> list[np.ndarray]:
        """Edges of at most so many bins for each number, rising, float64.

        They are the distinct values where these are few; else half of them are quantiles of the values, half of them
        quantiles of the distinct values, so that neither frequent values nor long tails get all.
        """
        return [
            _edges(np.array(values), np.array(there), bins)
            for values, there in zip(self._quantiles, self._distinct, strict=True)
        ]


def _edges(values: np.ndarray, distinct: np.ndarray, bins: int) -> np.ndarray:
    if len(distinct) <= min(bins, POINTS - 1):
        return distinct
    half = bins // 2 + 1
    return np.unique(np.concatenate([_some(values, half), _some(distinct, half)]))


def _some(values: np.ndarray, count: int) -> np.ndarray:
    return values[np.rint(np.linspace(0, len(values) - 1, min(count, len(values)))).astype(int)]


@functools.cache
def _usual_points() -> tuple[float, ...]:
    normal = statistics.NormalDist()
    return tuple(normal.inv_cdf((point + 0.5) / POINTS) for point in range(POINTS))
