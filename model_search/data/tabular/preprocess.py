"""Transforms raw columns into the float32 matrix that a tower reads; `features.py` defines each feature's numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.tabular import columns
from model_search.data.tabular.features import CategoryFeature, Feature, FeatureSchema, NumberFeature
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_MOST_SHOWN = 50  # names in a message
CLIP = 3.0  # features never leave (-3, 3)


def standardise(values: np.ndarray, center: float, scale: float) -> np.ndarray:
    """``z = (x - center) / scale``, NaN at 0, then the smooth clip ``z / sqrt(1 + (z / 3)**2)``; float64 [rows]."""
    z = np.nan_to_num((values - center) / scale, nan=0.0, posinf=1e300, neginf=-1e300)
    return z / np.hypot(1.0, z / CLIP)


class Preprocessor:
    """Applies a fitted `FeatureSchema`; the same for training, validation and prediction.

    Args:
        schema: The features, fitted on the training rows.
    """

    def __init__(self, schema: FeatureSchema):
        self.schema = schema

    def transform(self, frame: pd.DataFrame | Mapping[str, Sequence[Any]]) -> np.ndarray:
        """The matrix of features.

        Args:
            frame: Raw columns by name, as text (as read from a CSV file) or typed; other columns are ignored.

        Returns:
            float32 [rows, schema.width], every number finite.

        Raises:
            DataError: if columns are missing; the message names them.
        """
        table = self._table(frame)
        matrix = np.zeros((len(table), self.schema.width), np.float32)
        start = 0
        for feature in self.schema.features:
            _fill(matrix[:, start : start + feature.width], feature, table[feature.column])
            start += feature.width
        return matrix

    def typed_columns(self, frame: pd.DataFrame | Mapping[str, Sequence[Any]]) -> dict[str, np.ndarray]:
        """The columns that are read, each with its own type, as an exported model takes them.

        Returns:
            By column: numbers float32 [rows] with NaN for missing; categories texts (object) [rows] with "" for
            missing; dates texts (object) [rows], "YYYY-MM-DD HH:MM:SS" or "" for missing.

        Raises:
            DataError: if columns are missing; the message names them.
        """
        table = self._table(frame)
        typed: dict[str, np.ndarray] = {}
        for feature in self.schema.features:
            series = table[feature.column]
            if isinstance(feature, NumberFeature):
                typed[feature.column] = columns.numbers_of(series).astype(np.float32)
            elif isinstance(feature, CategoryFeature):
                codes, texts = columns.distinct_texts(series)
                typed[feature.column] = np.array(texts, dtype=object)[codes]
            else:
                typed[feature.column] = columns.iso_texts(columns.dates_of(series, feature.order))
        return typed

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dict; `from_json` reads it."""
        return self.schema.to_json()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Preprocessor:
        """Reads what `to_json` wrote; DamagedRecordError where it is something else."""
        return cls(FeatureSchema.from_json(values))

    def _table(self, frame: pd.DataFrame | Mapping[str, Sequence[Any]]) -> pd.DataFrame:
        import pandas as pd

        table = frame if isinstance(frame, pd.DataFrame) else pd.DataFrame(dict(frame))
        there = set(table.columns)
        missing = [column for column in self.schema.columns if column not in there]
        if missing:
            raise DataError(
                f"the data lack {'column' if len(missing) == 1 else 'columns'} {shown(map(repr, missing))}; "
                f"the model reads: {shown(self.schema.columns)}"
            )
        return table


def shown(names: Iterable[str]) -> str:
    """Names in a message: all of them, or the first of very many."""
    found = list(names)
    rest = len(found) - _MOST_SHOWN
    return f"{', '.join(found[:_MOST_SHOWN])}{f' and {rest} more' if rest > 0 else ''}"


def _fill(block: np.ndarray, feature: Feature, series: pd.Series) -> None:
    if isinstance(feature, NumberFeature):
        values = columns.numbers_of(series)
        block[:, 0] = standardise(values, feature.center, feature.scale)
        missing = np.isnan(values)
    elif isinstance(feature, CategoryFeature):
        codes, texts = columns.distinct_texts(series)
        position = {text: index for index, text in enumerate(feature.vocabulary)}
        bins = np.array([position.get(text, len(position)) for text in texts], dtype=np.int64)
        block[np.arange(len(codes)), bins[codes]] = 1.0
        return
    else:
        days = columns.dates_of(series, feature.order)
        parts = columns.date_parts(days, feature.parts)
        for index, (values, center, scale) in enumerate(zip(parts, feature.centers, feature.scales, strict=True)):
            block[:, index] = standardise(values, center, scale)
        missing = np.isnan(days)
    if feature.indicator:
        block[:, -1] = missing
