"""Reading single columns: missing values, numbers, dates, canonical texts. Only this module parses cells."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.errors import DataError

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
# A number of thousands never begins with 0: "0,478" has a decimal comma.
GROUPED_NUMBER = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?", re.ASCII)
_CURRENCY = (
    r"(?:[A-Z]{0,2}[$¢£¤¥฿₦₩₪₫€₱₴₹₺₽₿]|(?:USD|EUR|GBP|JPY|CHF|CAD|AUD|NZD|CNY|INR|SEK|NOK|DKK|PLN|BRL|MXN|KRW|ZAR))"
)
_WORD = r"[^\W\d_]{1,12}[²³]?"
_BLANKS = "[ \t\u00a0\u202f]*"  # written out, since the expressions of TensorFlow know fewer blanks
_WITH_UNIT = re.compile(
    rf"[+-]?(?P<before>{_CURRENCY})?{_BLANKS}(?:{PLAIN_NUMBER.pattern}|{GROUPED_NUMBER.pattern}){_BLANKS}"
    rf"(?P<after>[%‰]|°[CF]?|{_CURRENCY}|{_WORD}(?:/{_WORD})?)?"
)
_SAMPLED_TEXTS = 1000
_SHORTEST_PLURAL = 3  # letters of a unit that may have an "s" in some rows: "1 month", "2 months"
_EXACT, _LONGEST_EXACT = 2**53, 15  # whole numbers up to this, and of so many digits, are float64 exactly
_OF_ONE_TYPE = frozenset({"string", "integer", "floating", "boolean", "bytes", "empty"})  # see pandas' infer_dtype
_INFINITE = re.compile(r"[+-]?inf(?:inity)?", re.ASCII | re.IGNORECASE)
LARGEST = 1e30  # larger numbers are clipped; their squares would overflow
_A_DAY = {"s": 86400.0, "ms": 86400e3, "us": 86400e6, "ns": 86400e9}
_WHATS = (  # the order in which changes are said
    "no number", "infinite numbers", f"numbers beyond {LARGEST:g}", "whole numbers beyond 2**53"
)  # fmt: skip
_MOST_EXAMPLES = 4
MIDNIGHT = " 00:00:00"  # at the end of a time's canonical text
EPOCH = datetime.date(1970, 1, 1).toordinal()
DAYS_OF_YEAR = 365.25
SEASON_PARTS = ("season_sine", "season_cosine")
WEEKDAY_PARTS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# A zone of hours alone follows a time only: 2021-03-09-05 is no date.
TIME_OF_DAY = r"(?:[T ]\s*(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?\s*([AaPp][Mm])?\s*(?:Z|UTC|[+-]\d{2}(?::?\d{2})?)?"
ZONE_ALONE = r"|\s*(?:Z|UTC|[+-]\d{2}:?\d{2}))?"
# Of a date: one with a zone that was none before rules 3.
_SHORT_ZONE = re.compile(r".*(?:UTC|:.*[+-]\d{2})", re.ASCII | re.DOTALL)
DATE_YEAR_FIRST = r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})"
DATE_YEAR_LAST = r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})"
_YEAR_FIRST = re.compile(DATE_YEAR_FIRST + TIME_OF_DAY + ZONE_ALONE, re.ASCII)
_YEAR_LAST = re.compile(DATE_YEAR_LAST + TIME_OF_DAY + ZONE_ALONE, re.ASCII)


@dataclasses.dataclass(frozen=True)
class Change:
    """Cells of a column that are not taken as they are.

    Attributes:
        what: What the cells hold.
        taken_as: What they are taken as.
        rows: How many rows hold them.
        examples: Some of them.
    """

    what: str
    taken_as: str
    rows: int
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = ", ".join(repr(one if len(one) <= 40 else f"{one[:37]}...") for one in self.examples[:3])
        shown += ", ..." if len(self.examples) > 3 else ""
        rows = "1 row holds" if self.rows == 1 else f"{self.rows} rows hold"
        return f"{rows} {self.what}{f' ({shown})' if shown else ''}, read as {self.taken_as}"


@dataclasses.dataclass(frozen=True)
class Unit:
    """What stands beside the numbers of a column in most rows: "$" before them, or "%" or "months" after them."""

    before: str = ""
    after: str = ""

    def __bool__(self) -> bool:
        return bool(self.before or self.after)

    @property
    def is_currency(self) -> bool:
        """Whether it is that of an amount of money."""
        return any(re.fullmatch(_CURRENCY, part) for part in (self.before, self.after))

    def __str__(self) -> str:
        return " and ".join(repr(part) for part in (self.before, self.after) if part)

    @property
    def pattern(self) -> str:
        """A regular expression that matches any text whole; its two groups are the text without the unit.

        It means the same in Python, and to TensorFlow.
        """
        stem = self.after.removesuffix("s")
        is_word = stem.isalpha() and len(stem) >= _SHORTEST_PLURAL
        after = f"{re.escape(stem)}s?" if is_word else re.escape(self.after)
        return f"^([+-]?)(?:{re.escape(self.before)})?{_BLANKS}(.*?){_BLANKS}(?:{after})?$"

    def taken_from(self, texts: Sequence[str]) -> list[str]:
        """Texts without the unit; as they are where it is not there."""
        if not self:
            return list(texts)
        pattern = re.compile(self.pattern)
        return [pattern.sub(r"\1\2", text) for text in texts]


NO_UNIT = Unit()


def common_unit(texts: Iterable[str]) -> Unit:
    """The unit of most of the texts that are a number and at most one unit on each side, by their first thousand."""
    found: collections.Counter[Unit] = collections.Counter()
    for text in itertools.islice(filter(None, texts), _SAMPLED_TEXTS):
        if match := _WITH_UNIT.fullmatch(text):
            found[Unit(match["before"] or "", match["after"] or "")] += 1
    return found.most_common(1)[0][0] if found else NO_UNIT


def canonical_text(value: Any) -> str:
    """A cell as text: stripped, whole numbers without a fraction, "" for every missing-value marker."""
    if isinstance(value, str):
        text = value.strip()
        return "" if len(text) <= _LONGEST_MARKER and text.lower() in MISSING_MARKERS else text
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, float | np.floating):
        if math.isnan(value):
            return ""
        return str(int(value)) if math.isfinite(value) and value == int(value) else repr(float(value))
    if isinstance(value, datetime.datetime | datetime.date):
        return "" if value != value else value.isoformat(*((" ",) if isinstance(value, datetime.datetime) else ()))
    if isinstance(value, bytes):
        try:
            return canonical_text(value.decode("utf-8"))
        except UnicodeDecodeError:
            return repr(value)
    return canonical_text(str(value))


def side_by_side(found: Mapping[str, Any]) -> pd.DataFrame:
    """Columns by name as a frame. Their cells go together by position; the index of a pandas Series has no effect.

    Raises:
        DataError: if they differ in length.
    """
    import pandas as pd

    lengths = {name: len(values) for name, values in found.items() if hasattr(values, "__len__")}
    if len(set(lengths.values())) > 1:
        raise DataError(f"the columns differ in length: {lengths}; expected a cell for each row")
    by_position = {
        name: one.reset_index(drop=True) if isinstance(one, pd.Series) else one for name, one in found.items()
    }
    return pd.DataFrame(by_position)


def cells_of(series: pd.Series) -> Iterator[np.ndarray]:
    """The cells of a column in order, object [rows], block by block where the column is packed (`PackedText`)."""
    packed = getattr(series.array, "cells", None)
    return iter([series.to_numpy(dtype=object)]) if packed is None else packed()


def parts_of(series: pd.Series) -> Iterator[pd.Series]:
    """A column in parts that are read by themselves: a packed one block by block, any other as a whole."""
    import pandas as pd

    if hasattr(series.array, "cells"):
        return (pd.Series(cells, name=series.name, dtype=object) for cells in cells_of(series))
    return iter([series])


def merged(changes: Iterable[Sequence[Change]]) -> list[Change]:
    """The changes of a column's parts as those of the column."""
    found: dict[tuple[str, str], Change] = {}
    for one in itertools.chain.from_iterable(changes):
        key = (one.what, one.taken_as)
        if key in found:  # of many examples, so many as are shown, and one more
            examples = tuple(sorted({*found[key].examples, *one.examples})[:_MOST_EXAMPLES])
            found[key] = dataclasses.replace(one, rows=found[key].rows + one.rows, examples=examples)
        else:
            found[key] = one
    return sorted(found.values(), key=lambda one: _WHATS.index(one.what) if one.what in _WHATS else 0)


def distinct_cells(series: pd.Series) -> tuple[np.ndarray, list[Any]]:
    """The different cells of a column; cells of different types are different (True, 1 and 1.0 are equal in Python).

    Returns:
        Codes int [rows], -1 where a cell is None or NaN; and the cell of each code.
    """
    import pandas as pd
    import pandas.api.types as types

    if hasattr(series.array, "cells"):
        numbers_: dict[Any, int] = {}
        parts = [_merge(distinct_cells(part), numbers_) for part in parts_of(series)]
        return np.concatenate(parts) if parts else np.empty(0, np.int32), list(numbers_)
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf":
        codes, numbers = pd.factorize(series.to_numpy(), use_na_sentinel=True)
        return codes, numbers.tolist()
    cells = series.to_numpy(dtype=object)
    if types.infer_dtype(cells, skipna=True) in _OF_ONE_TYPE:
        codes, values = pd.factorize(cells, use_na_sentinel=True)
        return codes, list(values)
    found: dict[Any, int] = {}
    values, codes = [], np.full(len(cells), -1, dtype=np.int64)
    for row in np.flatnonzero(~pd.isna(cells)).tolist():
        cell = cells[row]
        key = (type(cell), cell if isinstance(cell, str | bytes | int | float) else repr(cell))
        if key not in found:
            found[key] = len(values)
            values.append(cell)
        codes[row] = found[key]
    return codes, values


def _merge(part: tuple[np.ndarray, list[Any]], numbers: dict[Any, int]) -> np.ndarray:
    """The codes of a part of a column as codes of the column, whose different cells are collected in `numbers`."""
    codes, cells = part
    table = np.array([*(numbers.setdefault(cell, len(numbers)) for cell in cells), -1], dtype=np.int32)
    return table[codes]


def distinct_texts(series: pd.Series) -> tuple[np.ndarray, list[str]]:
    """A column as canonical texts.

    Returns:
        Codes int [rows], and the text of each code (two codes may share a text; missing is "").
    """
    codes, cells = distinct_cells(series)
    texts = [canonical_text(cell) for cell in cells]
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


def is_duration(series: pd.Series, *, of_arrow: bool = True) -> bool:
    """Whether the column holds durations by its dtype; `of_arrow`: whether those of Arrow count."""
    import pandas as pd
    import pandas.api.types as types

    if isinstance(series.dtype, pd.ArrowDtype):
        return of_arrow and series.dtype.kind == "m"
    return types.is_timedelta64_dtype(series.dtype)


def is_infinite(text: str) -> bool:
    """Whether a text is an infinite number, such as "inf" or "-Infinity"."""
    return bool(_INFINITE.fullmatch(text))


def numbers_of(series: pd.Series, unit: Unit = NO_UNIT) -> np.ndarray:
    """A column as float64 [rows]; NaN where a cell is missing, infinite or no number. Texts may have the unit."""
    return read_numbers(series, unit)[0]


def read_numbers(series: pd.Series, unit: Unit = NO_UNIT) -> tuple[np.ndarray, list[Change]]:
    """A column as float64 [rows], as `numbers_of` gives it, and what is not taken as it is."""
    import pandas.api.types as types

    if types.is_complex_dtype(series.dtype):
        rows = int(series.notna().sum())
        return np.full(len(series), np.nan), [Change("complex numbers", "missing", rows)] if rows else []
    if types.is_bool_dtype(series.dtype) or types.is_numeric_dtype(series.dtype):
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        changes = _number_changes(values, np.ones(len(values), dtype=np.int64), None)
        if types.is_integer_dtype(series.dtype) and len(values) and np.nanmax(np.abs(values), initial=0) >= _EXACT:
            changes += _rounded(series)
        return _tamed(values), changes
    parts = [numbers_from_texts(*distinct_texts(part), unit) for part in parts_of(series)]
    return _joined([values for values, _ in parts]), merged(changes for _, changes in parts)


def numbers_from_texts(
    codes: np.ndarray, texts: Sequence[str], unit: Unit = NO_UNIT
) -> tuple[np.ndarray, list[Change]]:
    """As `read_numbers`, of a column as `distinct_texts` gives it."""
    if not texts:
        return np.empty(0), []
    values = _parsed(unit.taken_from(texts))
    counts = np.bincount(codes, minlength=len(texts))
    return _tamed(values)[codes], _number_changes(values, counts, texts)


def _number_changes(values: np.ndarray, counts: np.ndarray, texts: Sequence[str] | None) -> list[Change]:
    """What is not taken as it is.

    Args:
        values: float64, each for as many rows as `counts` says; not yet capped.
        counts: int, as many.
        texts: What each value was read from; None where they are typed.
    """

    def change(mask: np.ndarray, what: str, taken_as: str) -> list[Change]:
        rows = int(counts[mask].sum())
        of_texts = () if texts is None else tuple(sorted(texts[index] for index in np.flatnonzero(mask).tolist()))
        return [Change(what, taken_as, rows, of_texts)] if rows else []

    found = change(np.isinf(values), "infinite numbers", "missing")
    found += change(np.isfinite(values) & (np.abs(values) > LARGEST), f"numbers beyond {LARGEST:g}", f"{LARGEST:g}")
    if texts is not None:
        unread = np.isnan(values) & np.array([bool(text) for text in texts])
        found = change(unread, "no number", "missing") + found
        rounded = np.zeros(len(texts), dtype=bool)
        for index in np.flatnonzero(np.abs(np.nan_to_num(values)) >= _EXACT).tolist():
            text = texts[index].replace(",", "")
            is_long = _LONGEST_EXACT < len(text) < 300 and text.lstrip("+-").isdecimal()
            rounded[index] = is_long and int(text) != int(values[index])
        found += change(rounded, "whole numbers beyond 2**53", "the nearest float64")
    return found


def _rounded(series: pd.Series) -> list[Change]:
    codes, cells = distinct_cells(series)
    counts = np.bincount(codes[codes >= 0], minlength=len(cells))
    rows = sum(count for cell, count in zip(cells, counts.tolist(), strict=True) if int(cell) != int(float(cell)))
    return [Change("whole numbers beyond 2**53", "the nearest float64", rows)] if rows else []


def parse_numbers(texts: Sequence[str]) -> np.ndarray:
    """Texts as float64; NaN where there is no number. "1,234.5" is read with its thousands separators."""
    return _tamed(_parsed(texts))


def _parsed(texts: Sequence[str]) -> np.ndarray:
    """As `parse_numbers`, but not capped; infinite ones stay infinite."""
    try:
        joined = "".join(texts)
        if joined.isascii() and "_" not in joined:  # float() takes other digits, too, and 1_000
            return np.array([float(text) if text else math.nan for text in texts], dtype=np.float64)
    except ValueError:
        pass
    return np.array([_number(text) for text in texts], dtype=np.float64)


def dates_of(series: pd.Series, order: str, *, in_seconds: bool = False) -> np.ndarray:
    """A column of dates as float64 [rows]: days since 1970-01-01 with the fraction of the day; NaN where missing.

    A time zone is ignored: the hour is taken as written. Texts lose the fraction of a second; `in_seconds`: typed
    times, too.
    """
    return read_dates(series, order, in_seconds=in_seconds)[0]


def read_dates(series: pd.Series, order: str, *, in_seconds: bool = False) -> tuple[np.ndarray, list[Change]]:
    """A column of dates as `dates_of` gives it, and what is not taken as it is."""
    if is_typed_date(series):
        moments = _without_zone(series)
        moments = moments.astype("datetime64[s]") if in_seconds else moments
        # Not as a difference of pandas' times: these reach from 1677 to 2262 only, columns of seconds from year 1 on.
        days = moments.view(np.int64) / _A_DAY[np.datetime_data(moments.dtype)[0]]
        return np.where(np.isnat(moments), np.nan, days), []
    parts = [dates_from_texts(*distinct_texts(part), order) for part in parts_of(series)]
    return _joined([days for days, _ in parts]), merged(changes for _, changes in parts)


def _without_zone(series: pd.Series) -> np.ndarray:
    """Typed dates as datetime64 [rows], in their own unit; those of Arrow in microseconds."""
    import pandas as pd

    is_arrow = isinstance(series.dtype, pd.ArrowDtype)
    zone = getattr(series.dtype.pyarrow_dtype if is_arrow else series.dtype, "tz", None)
    naive = series if zone is None else series.dt.tz_localize(None)
    naive = naive.astype("datetime64[us]") if is_arrow else naive
    return naive.to_numpy(dtype=naive.dtype)


def order_of_later(series: pd.Series, order: str) -> str:
    """The order in which dates of later rows are read: that of training, or their own where training had none.

    Args:
        series: A column of later rows.
        order: Of training, as in `DateFeature`; "ymd" where no date had the year last.
    """
    if order != "ymd" or is_typed_date(series):
        return order
    return date_order(itertools.chain.from_iterable(distinct_texts(part)[1] for part in parts_of(series)))[0]


def year_last(series: pd.Series, order: str) -> list[Change]:
    """A change for the dates with the year last, where training had none; `order` is that in which they are read."""
    codes, texts = distinct_texts(series)
    dated = [bool(_YEAR_LAST.fullmatch(text)) and not math.isnan(_days(text, order)) for text in texts]
    rows = int(np.array(dated, dtype=bool)[codes].sum()) if texts else 0
    examples = tuple(sorted(itertools.compress(texts, dated)))
    read_as = "day first" if order == "dmy" else "month first"
    return [Change("dates with the year last, of which training had none", read_as, rows, examples)] if rows else []


def looks_like_date(text: str, *, short_zones: bool = True) -> bool:
    """Whether a text has the form of a date; its numbers may be none. `short_zones` as for `parse_dates`."""
    if not (_YEAR_FIRST.fullmatch(text) or _YEAR_LAST.fullmatch(text)):
        return False
    return short_zones or not _SHORT_ZONE.fullmatch(text)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0), *parts])


def dates_from_texts(
    codes: np.ndarray, texts: Sequence[str], order: str, *, short_zones: bool = True
) -> tuple[np.ndarray, list[Change]]:
    """As `read_dates`, of a column as `distinct_texts` gives it; `short_zones` as for `parse_dates`."""
    if not texts:
        return np.empty(0), []
    days = parse_dates(texts, order, short_zones=short_zones)
    unread = np.isnan(days) & np.array([bool(text) for text in texts])
    rows = int(np.bincount(codes, minlength=len(texts))[unread].sum())
    examples = tuple(sorted(texts[index] for index in np.flatnonzero(unread).tolist()))
    return days[codes], [Change("no date", "missing", rows, examples)] if rows else []


def parse_dates(texts: Sequence[str], order: str, *, short_zones: bool = True) -> np.ndarray:
    """Texts as days since 1970-01-01, float64; NaN where there is no date.

    Args:
        texts: The texts.
        order: As in `DateFeature`.
        short_zones: Whether a time may end with a zone of hours alone ("+01") or "UTC"; before rules 3 it did not.
    """
    is_read = [short_zones or not _SHORT_ZONE.fullmatch(text) for text in texts]
    return np.array([_days(text, order) if read else math.nan for text, read in zip(texts, is_read, strict=True)])


def date_order(texts: Iterable[str]) -> tuple[str, bool]:
    """The order in which dates with the year last are read.

    Returns:
        "ymd", "dmy" or "mdy"; and whether that had to be guessed.
    """
    first, day_first, month_first = "", False, False
    for match in filter(None, map(_YEAR_LAST.fullmatch, texts)):
        first = first or match[2]
        day_first = day_first or int(match[1]) > 12
        month_first = month_first or int(match[3]) > 12
    if not first:
        return "ymd", False
    if day_first or month_first:
        return ("dmy" if day_first else "mdy"), day_first and month_first
    return ("mdy" if first == "/" else "dmy"), True


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
    wanted = {*parts}
    if wanted & {*SEASON_PARTS}:
        day = (dates - dates.astype("datetime64[Y]").astype("datetime64[D]")).astype("int64")
        season = 2 * math.pi * day / DAYS_OF_YEAR
        values |= {"season_sine": np.sin(season), "season_cosine": np.cos(season)}
    values |= {name: values["weekday"] == number for number, name in enumerate(WEEKDAY_PARTS) if name in wanted}
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
    return math.inf if is_infinite(text) else math.nan


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
