"""Reading single columns: missing values, numbers, dates, canonical texts. Only this module parses cells."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

# Stripped and lower-cased cells that mean "missing" in a feature, whatever its kind.
MISSING_MARKERS = frozenset(
    {"", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none", "nat", "?", "-", "--", "."}
)
_LONGEST_MARKER = max(map(len, MISSING_MARKERS))
# In a label, "none", "-", "?" and "." may well be classes.
MISSING_LABELS = frozenset({"", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "nat"})

PLAIN_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
GROUPED_NUMBER = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?", re.ASCII)
LARGEST = 1e30  # larger numbers are clipped; their squares would overflow
_A_DAY = {"s": 86400.0, "ms": 86400e3, "us": 86400e6, "ns": 86400e9}
EPOCH = datetime.date(1970, 1, 1).toordinal()
_TIME = r"(?:[T ]\s*(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?\s*([AaPp][Mm])?)?\s*(?:Z|[+-]\d{2}:?\d{2})?"
_YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})" + _TIME, re.ASCII)
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})" + _TIME, re.ASCII)


def canonical_text(value: Any) -> str:
    """A cell as text: stripped, whole numbers without a fraction, "" for every missing-value marker."""
    if isinstance(value, str):
        text = value.strip()
        return "" if len(text) <= _LONGEST_MARKER and text.lower() in MISSING_MARKERS else text
    if value is None or value != value:
        return ""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, float | np.floating):
        return str(int(value)) if math.isfinite(value) and value == int(value) else repr(float(value))
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat(*((" ",) if isinstance(value, datetime.datetime) else ()))
    return canonical_text(str(value))


def distinct_texts(series: pd.Series) -> tuple[np.ndarray, list[str]]:
    """A column as canonical texts.

    Returns:
        Codes int [rows], and the text of each code (two codes may share a text; missing is "").
    """
    import pandas as pd

    codes, values = pd.factorize(series.to_numpy(dtype=object), use_na_sentinel=True)
    texts = [canonical_text(value) for value in values]
    if (codes < 0).any():
        codes = np.where(codes < 0, len(texts), codes)
        texts.append("")
    return codes, texts


def is_typed_number(series: pd.Series) -> bool:
    """Whether the column holds numbers (not booleans, not text) by its dtype."""
    import pandas.api.types as types

    return types.is_numeric_dtype(series.dtype) and not types.is_bool_dtype(series.dtype)


def is_typed_date(series: pd.Series) -> bool:
    """Whether the column holds dates by its dtype."""
    import pandas.api.types as types

    return types.is_datetime64_any_dtype(series.dtype)


def numbers_of(series: pd.Series) -> np.ndarray:
    """A column as float64 [rows]; NaN where a cell is missing, infinite or no number."""
    import pandas.api.types as types

    if types.is_bool_dtype(series.dtype) or types.is_numeric_dtype(series.dtype):
        return _tamed(series.to_numpy(dtype=np.float64, na_value=np.nan))
    codes, texts = distinct_texts(series)
    return parse_numbers(texts)[codes] if texts else np.empty(0)


def parse_numbers(texts: Sequence[str]) -> np.ndarray:
    """Texts as float64; NaN where there is no number. "1,234.5" is read with its thousands separators."""
    try:
        joined = "".join(texts)
        if joined.isascii() and "_" not in joined:  # float() takes other digits, too, and 1_000
            return _tamed(np.array([float(text) if text else math.nan for text in texts], dtype=np.float64))
    except ValueError:
        pass
    return _tamed(np.array([_number(text) for text in texts], dtype=np.float64))


def dates_of(series: pd.Series, order: str) -> np.ndarray:
    """A column of dates as float64 [rows]: days since 1970-01-01 with the fraction of the day; NaN where missing.

    A time zone is ignored: the hour is taken as written.
    """
    if is_typed_date(series):
        naive = series.dt.tz_localize(None) if getattr(series.dt, "tz", None) is not None else series
        moments = naive.to_numpy(dtype=naive.dtype)
        # Not as a difference of pandas' times: these reach from 1677 to 2262 only, columns of seconds from year 1 on.
        days = moments.view(np.int64) / _A_DAY[np.datetime_data(moments.dtype)[0]]
        return np.where(np.isnat(moments), np.nan, days)
    codes, texts = distinct_texts(series)
    return parse_dates(texts, order)[codes] if texts else np.empty(0)


def parse_dates(texts: Sequence[str], order: str) -> np.ndarray:
    """Texts as days since 1970-01-01, float64; NaN where there is no date. `order` as in `DateFeature`."""
    return np.array([_days(text, order) for text in texts], dtype=np.float64)


def date_order(texts: Sequence[str]) -> tuple[str, bool]:
    """The order in which dates with the year last are read.

    Returns:
        "ymd", "dmy" or "mdy"; and whether that had to be guessed.
    """
    matches = [match for match in map(_YEAR_LAST.fullmatch, texts) if match]
    if not matches:
        return "ymd", False
    day_first = any(int(match[1]) > 12 for match in matches)
    month_first = any(int(match[3]) > 12 for match in matches)
    if day_first or month_first:
        return ("dmy" if day_first else "mdy"), day_first and month_first
    return ("mdy" if matches[0][2] == "/" else "dmy"), True


def date_parts(days: np.ndarray, parts: Sequence[str]) -> list[np.ndarray]:
    """The parts of dates (see `DateFeature`).

    Args:
        days: float64 [rows], days since 1970-01-01; NaN where missing.
        parts: Names of the parts.

    Returns:
        float64 [rows] for each part; NaN where missing.
    """
    missing = np.isnan(days)
    seconds = np.rint(np.where(missing, 0.0, days) * 86400).astype("int64")  # whole seconds: no 9:59:59.99 for 10:00
    whole = seconds // 86400
    dates = whole.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    values = {
        "days": seconds / 86400.0,
        "month": months.astype("int64") % 12 + 1,
        "day": (dates - months.astype("datetime64[D]")).astype("int64") + 1,
        "weekday": (whole + 3) % 7,
        "hour": seconds % 86400 // 3600,
    }
    return [np.where(missing, np.nan, values[part].astype(np.float64)) for part in parts]


def iso_texts(days: np.ndarray) -> np.ndarray:
    """Days since 1970-01-01 as texts "YYYY-MM-DD HH:MM:SS", object [rows]; "" where missing."""
    missing = np.isnan(days)
    seconds = np.rint(np.where(missing, 0.0, days) * 86400).astype("int64").astype("datetime64[s]")
    texts = np.char.replace(np.datetime_as_string(seconds), "T", " ").astype(object)
    texts[missing] = ""
    return texts


def _number(text: str) -> float:
    if PLAIN_NUMBER.fullmatch(text):
        return float(text)
    if GROUPED_NUMBER.fullmatch(text):
        return float(text.replace(",", ""))
    return math.nan


def _tamed(values: np.ndarray) -> np.ndarray:
    return np.clip(np.where(np.isinf(values), np.nan, values), -LARGEST, LARGEST)


def _days(text: str, order: str) -> float:
    if match := _YEAR_FIRST.fullmatch(text):
        year, month, day = int(match[1]), int(match[3]), int(match[4])
    elif match := _YEAR_LAST.fullmatch(text):
        year = int(match[4])
        day, month = (int(match[3]), int(match[1])) if order == "mdy" else (int(match[1]), int(match[3]))
    else:
        return math.nan
    hour, minute, second = (int(match[group] or 0) for group in (5, 6, 7))
    if match[8]:
        hour = hour % 12 + 12 * (match[8].lower() == "pm")
    if hour > 23 or minute > 59 or second > 59:
        return math.nan
    try:
        ordinal = datetime.date(year, month, day).toordinal()
    except ValueError:
        return math.nan
    return ordinal - EPOCH + (hour * 3600 + minute * 60 + second) / 86400.0
