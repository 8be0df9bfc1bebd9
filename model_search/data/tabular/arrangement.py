"""How rows belong together: by group (a person, a machine), or by time. The split and the folds keep to it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from model_search.data.tabular import columns
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

BY_GROUP, BY_TIME = "group", "time"  # in the description of a split


@dataclasses.dataclass(frozen=True)
class Arrangement:
    """The group or the time of each row.

    Attributes:
        by: `BY_GROUP` or `BY_TIME`.
        column: Name of the column.
        values: Groups int [rows] from 0, or times float64 [rows].
    """

    by: str
    column: str
    values: np.ndarray

    def take(self, rows: np.ndarray) -> Arrangement:
        """Some of the rows."""
        return dataclasses.replace(self, values=self.values[rows])


def arrangement_of(groups: pd.Series | None, times: pd.Series | None) -> Arrangement | None:
    """Reads the column that tells how rows belong together; None where there is none.

    Raises:
        DataError: if there are two, or a row has no time.
    """
    if groups is not None and times is not None:
        raise DataError(f"groups ({groups.name!r}) and time ({times.name!r}) are given; expected one of the two")
    if groups is not None:
        return Arrangement(BY_GROUP, str(groups.name), _groups(groups))
    if times is not None:
        return Arrangement(BY_TIME, str(times.name), _times(times))
    return None


def _groups(series: pd.Series) -> np.ndarray:
    """The number of each row's group; a row without one is a group by itself."""
    codes, texts = columns.distinct_texts(series)
    missing = np.flatnonzero(np.isin(codes, [code for code, text in enumerate(texts) if not text.strip()]))
    found = np.array(codes, np.int64)
    found[missing] = len(texts) + np.arange(len(missing))
    return np.unique(found, return_inverse=True)[1].reshape(-1)


def _times(series: pd.Series) -> np.ndarray:
    """Numbers as they are, dates as days.

    Raises:
        DataError: if a cell is neither; the message names the row.
    """
    found = np.full(len(series), np.nan)
    if not columns.is_typed_date(series):
        found = columns.numbers_of(series)
    if not np.isfinite(found).all():
        order = "" if columns.is_typed_date(series) else columns.date_order(columns.distinct_texts(series)[1])[0]
        found = columns.dates_of(series, order)
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        raise DataError(
            f"time column {str(series.name)!r} holds {series.iloc[int(bad[0])]!r} in row {bad[0] + 1}; expected a "
            "number or a date in each row"
        )
    return found
