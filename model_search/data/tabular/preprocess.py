"""Transforms raw columns into the float32 matrix that a tower reads; `features.py` defines each feature's numbers."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.tabular import columns
from model_search.data.tabular.categories.words import words_in
from model_search.data.tabular.features import (
    MISSING_CATEGORY,
    CategoryFeature,
    DateFeature,
    Feature,
    FeatureSchema,
    NumberFeature,
)
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_MOST_SHOWN = 50  # names in a message
CLIP = 3.0  # features never leave (-3, 3)
_BOOLEANS = frozenset({"true", "false"})
_WHOLE_WITH_FRACTION = re.compile(r"([+-]?\d+)\.0*", re.ASCII)

Note = Callable[[str], None]  # takes a sentence for people


def standardise(values: np.ndarray, center: float, scale: float) -> np.ndarray:
    """``z = (x - center) / scale``, NaN at 0, then the smooth clip ``z / sqrt(1 + (z / 3)**2)``; float64 [rows]."""
    z = np.nan_to_num((values - center) / scale, nan=0.0, posinf=1e300, neginf=-1e300)
    return z / np.hypot(1.0, z / CLIP)


def sentences(changes: Mapping[str, Sequence[columns.Change]]) -> Iterator[str]:
    """A sentence for each column in which something is not taken as it is."""
    for name, found in changes.items():
        if found:
            yield f"column {name!r}: {'; '.join(map(str, found))}"


class Preprocessor:
    """Applies a fitted `FeatureSchema`; the same for training, validation and prediction.

    Args:
        schema: The features, fitted on the training rows.
    """

    def __init__(self, schema: FeatureSchema):
        self.schema = schema

    def transform(self, frame: pd.DataFrame | Mapping[str, Sequence[Any]], note: Note | None = None) -> np.ndarray:
        """The matrix of features.

        Args:
            frame: Raw columns by name, as text (as read from a CSV file) or typed; other columns are ignored.
            note: Called with a sentence for each column in which cells are not taken as they are: with what they hold
                (infinite numbers, what is no number or no date, unknown categories) and how many rows do.

        Returns:
            float32 [rows, schema.width], every number finite.

        Raises:
            DataError: if columns are missing; the message names them.
        """
        matrix, changes = self.transform_and_compare(frame)
        if note is not None:
            for sentence in sentences(changes):
                note(sentence)
        return matrix

    def transform_and_compare(
        self, frame: pd.DataFrame | Mapping[str, Sequence[Any]], orders: DateOrders | None = None
    ) -> tuple[np.ndarray, dict[str, list[columns.Change]]]:
        """The matrix that `transform` gives, and, by column, what is not taken as it is.

        Args:
            frame: As for `transform`.
            orders: Those of the pieces before, where the frame is a piece of a file.
        """
        orders = orders or DateOrders()
        table = self._table(frame)
        matrix = np.zeros((len(table), self.schema.width), np.float32)
        changes = {}
        for feature, start in zip(self.schema.features, self.schema.starts, strict=True):
            row, found = 0, []
            order = orders.of(feature, table[feature.column])
            for part in columns.parts_of(table[feature.column]):
                block = matrix[row : row + len(part), start : start + feature.width]
                found.append(_fill(block, feature, part, order))
                row += len(part)
            changes[feature.column] = columns.merged(found)
        return matrix, changes

    def typed_columns(self, frame: pd.DataFrame | Mapping[str, Sequence[Any]]) -> dict[str, np.ndarray]:
        """The columns that are read, each with its own type, as an exported model takes them.

        Returns:
            By column: numbers [rows] (see `NumberFeature.dtype`) with NaN for missing; categories texts (object) [rows]
            with "" for missing; dates texts (object) [rows], "YYYY-MM-DD HH:MM:SS" or "" for missing.

        Raises:
            DataError: if columns are missing; the message names them.
        """
        table = self._table(frame)
        typed: dict[str, np.ndarray] = {}
        for feature in self.schema.features:
            series = table[feature.column]
            if isinstance(feature, NumberFeature):
                typed[feature.column] = columns.numbers_of(series, feature.unit).astype(feature.dtype)
            elif isinstance(feature, CategoryFeature):
                codes, cells = columns.distinct_cells(series)
                texts = [_category(cell, feature) for cell in cells]
                typed[feature.column] = np.array([*texts, MISSING_CATEGORY], dtype=object)[codes]
            else:
                order = DateOrders().of(feature, series)
                days = columns.dates_of(series, order, in_seconds=feature.in_seconds)
                typed[feature.column] = columns.iso_texts(days)
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

        table = frame if isinstance(frame, pd.DataFrame) else columns.side_by_side(frame)
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


class DateOrders:
    """The orders in which the dates of columns are read, the same in all pieces of a file."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, bool]] = {}  # of a column; and whether it had to be guessed

    def of(self, feature: Feature, series: pd.Series) -> str:
        """The order of a column in the next piece, see `columns.order_of_later`; empty if it has no dates.

        Raises:
            DataError: if the piece shows that the order of an earlier one was guessed wrongly.
        """
        if not isinstance(feature, DateFeature):
            return ""
        own = columns.order_of_later(series, feature.order)
        if feature.order != "ymd" or own == "ymd":
            return own  # known from training, or no date has the year last
        parts = columns.parts_of(series)
        _, guessed = columns.date_order(text for part in parts for text in columns.distinct_texts(part)[1])
        order, was_guessed = self._known.setdefault(feature.column, (own, guessed))
        if was_guessed and not guessed:
            if own != order:
                first, later = ("day", "month") if order == "dmy" else ("month", "day")
                raise DataError(
                    f"column {feature.column!r} holds dates with the year last; the first ones may be either and were "
                    f"read with the {first} first, later ones have the {later} first: write the year first (2024-05-31)"
                )
            self._known[feature.column] = (order, False)
        return order


def _fill(block: np.ndarray, feature: Feature, series: pd.Series, order: str) -> list[columns.Change]:
    """Fills a feature's part of the matrix, dates read in an order; returns what is not taken as it is."""
    if isinstance(feature, CategoryFeature):
        return _fill_categories(block, feature, series)
    if isinstance(feature, NumberFeature):
        values, changes = columns.read_numbers(series, feature.unit)
        block[:, 0] = standardise(values, feature.center, feature.scale)
        if feature.outputs:
            block[:, 1 : 1 + feature.outputs] = feature.mean_table[_places_of_numbers(feature, values)]
        missing = np.isnan(values)
    else:
        days, changes = columns.read_dates(series, order, in_seconds=feature.in_seconds)
        changes = changes if order == feature.order else [*changes, *columns.year_last(series, order)]
        parts = columns.date_parts(days, feature.parts)
        for index, (values, center, scale) in enumerate(zip(parts, feature.centers, feature.scales, strict=True)):
            block[:, index] = standardise(values, center, scale)
        missing = np.isnan(days)
    if feature.indicator:
        block[:, -1] = missing
    return changes


def _fill_categories(block: np.ndarray, feature: CategoryFeature, series: pd.Series) -> list[columns.Change]:
    codes, cells = columns.distinct_cells(series)
    texts = [_category(cell, feature) for cell in cells]
    if feature.one_hot:
        position = {text: index for index, text in enumerate(feature.vocabulary)}
        bins = np.array([position.get(text, len(position)) for text in [*texts, MISSING_CATEGORY]], dtype=np.int64)
        block[np.arange(len(codes)), bins[codes]] = 1.0
    if feature.outputs:
        block[:, feature.one_hot : feature.word_start] = feature.told[_places(feature, texts)[codes]]
    if feature.words:
        block[:, feature.word_start :] = words_in(feature.words, [*texts, MISSING_CATEGORY])[codes]
        return []  # texts are expected to be new
    unknown = [index for index, text in enumerate(texts) if text != MISSING_CATEGORY and text not in feature.known]
    rows = int(np.isin(codes, unknown).sum()) if unknown else 0
    if not rows:
        return []
    what = "categories that were not there, or rare, in training"
    return [columns.Change(what, "one category for all others", rows, tuple(sorted({texts[i] for i in unknown})))]


def mean_places(feature: NumberFeature | CategoryFeature, series: pd.Series) -> np.ndarray:
    """The row of the feature's `mean_table` that belongs to each row of a column, int64 [rows]."""
    if isinstance(feature, NumberFeature):
        return _places_of_numbers(feature, columns.numbers_of(series, feature.unit))
    found = [np.empty(0, np.int64)]
    for part in columns.parts_of(series):
        codes, cells = columns.distinct_cells(part)
        found.append(_places(feature, [_category(cell, feature) for cell in cells])[codes])
    return np.concatenate(found)


def _places_of_numbers(feature: NumberFeature, values: np.ndarray) -> np.ndarray:
    known = np.array(feature.mean_values)
    place = np.searchsorted(known, values)
    there = np.append(known, np.nan)[place] == values
    return np.where(there, place, len(known))


def _places(feature: CategoryFeature, texts: Sequence[str]) -> np.ndarray:
    """The same for texts, and a last one for the missing value."""
    place = {text: index for index, text in enumerate(feature.mean_texts)}
    return np.array([place.get(text, len(place)) for text in (*texts, MISSING_CATEGORY)], dtype=np.int64)


def _category(cell: Any, feature: CategoryFeature) -> str:
    """The category of a cell: the known one among the ways in which it may be written, else its canonical text."""
    return next((text for text in _writings(cell, feature) if text in feature.known), columns.canonical_text(cell))


def _writings(cell: Any, feature: CategoryFeature) -> Iterator[str]:
    """The texts that a cell may be as a category: of 1.0 "1" and "1.0", of a midnight its day, of TRUE "true", too."""
    text = columns.canonical_text(cell)
    yield text
    if (word := text.lower()) in _BOOLEANS and word in feature.spelled_booleans:
        yield feature.spelled_booleans[word]
    if isinstance(cell, float | np.floating):
        yield repr(float(cell))
    elif isinstance(cell, datetime.datetime):
        yield text.removesuffix(columns.MIDNIGHT)
    elif feature.numeric and isinstance(cell, str) and (match := _WHOLE_WITH_FRACTION.fullmatch(text)):
        yield match[1]
