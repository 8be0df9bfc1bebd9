"""Raw cells, as a CSV file holds them, to typed columns: the part of a SavedModel that stock layers cannot express.

Reads what `data/tabular/columns.py` reads, from the same list of missing markers; a test holds the two equal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from model_search.data.tabular.columns import GROUPED_NUMBER, LARGEST, MISSING_MARKERS, PLAIN_NUMBER
from model_search.data.tabular.features import CategoryFeature, DateFeature, Feature, NumberFeature

# What Python's str.strip takes away; TensorFlow's own strip handles ASCII only.
_SPACE = r"[\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"
_MISSING = "(?i)(?:" + "|".join(re.escape(marker) for marker in sorted(MISSING_MARKERS)) + ")"
_WHOLE_WITH_FRACTION = r"^([+-]?\d+)\.0*$"
_BLANKS = r"[\s\v]*"  # in TensorFlow's expressions, \s is without \v
_TIME = (
    rf"(?:[T ]{_BLANKS}(\d{{1,2}}):(\d{{2}})(?::(\d{{2}})(?:[.,]\d+)?)?{_BLANKS}([AaPp][Mm])?"
    rf"{_BLANKS}(?:Z|UTC|[+-]\d{{2}}(?::?\d{{2}})?)?|{_BLANKS}(?:Z|UTC|[+-]\d{{2}}:?\d{{2}}))?"
)
_YEAR_FIRST = r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})" + _TIME
_YEAR_LAST = r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})" + _TIME
# TensorFlow's expressions have no back references: that both separators are alike takes an expression of its own.
_SEPARATED_ALIKE = r"\d+(?:-\d+-|/\d+/|\.\d+\.)\d+(?s:[^\d].*)?"


def parse_columns(columns: Sequence[Any], features: Sequence[Feature]) -> list[Any]:
    """Raw cells to typed columns; those that are read alike are read together, so that many make no larger a graph.

    Args:
        columns: string [rows] for each feature, UTF-8.
        features: What each column is.

    Returns:
        For each feature float64 [rows] with NaN for missing, or string [rows] with "" for missing (dates as
        "YYYY-MM-DD HH:MM:SS").
    """
    alike: dict[Any, list[int]] = {}
    for index, feature in enumerate(features):
        alike.setdefault(_way_of_reading(feature), []).append(index)
    parsed: dict[int, Any] = {}
    for indices in alike.values():
        texts = canonical_texts(tf.stack([columns[index] for index in indices], axis=1))
        together = _typed(texts, features[indices[0]])
        parsed |= zip(indices, tf.unstack(together, num=len(indices), axis=1), strict=True)
    return [parsed[index] for index in range(len(features))]


def _way_of_reading(feature: Feature) -> tuple[Any, ...]:
    """Features for which this is equal are read alike."""
    if isinstance(feature, NumberFeature):
        return (NumberFeature, feature.unit)
    if isinstance(feature, CategoryFeature):
        return (CategoryFeature, feature.numeric, *sorted(feature.spelled_booleans.items()))
    return (DateFeature, feature.order)


def _typed(texts: Any, feature: Feature) -> Any:
    if isinstance(feature, NumberFeature):
        unit = feature.unit
        return parse_numbers(tf.strings.regex_replace(texts, unit.pattern, r"\1\2") if unit else texts)
    if isinstance(feature, CategoryFeature):
        for word, category in feature.spelled_booleans.items():
            texts = tf.strings.regex_replace(texts, _any_case(word), category)
        return tf.strings.regex_replace(texts, _WHOLE_WITH_FRACTION, r"\1") if feature.numeric else texts
    return iso_dates(texts, feature.order)


def _any_case(word: str) -> str:
    """An expression for a word in ASCII, in any case; (?i) would take a long s of old prints for an s, too."""
    return "^" + "".join(f"[{letter.upper()}{letter}]" for letter in word) + "$"


def canonical_texts(cells: Any) -> Any:
    """Cells without surrounding white space, "" for every missing-value marker; string, shaped like `cells`."""
    texts = tf.strings.regex_replace(cells, rf"^{_SPACE}+|{_SPACE}+$", "")
    return tf.where(tf.strings.regex_full_match(texts, _MISSING), "", texts)


def parse_numbers(texts: Any) -> Any:
    """Texts to float64; NaN where there is no (finite) number. "1,234.5" has a thousands separator."""
    grouped = tf.strings.regex_full_match(texts, GROUPED_NUMBER.pattern)
    plain = tf.strings.regex_full_match(texts, PLAIN_NUMBER.pattern)
    digits = tf.where(grouped, tf.strings.regex_replace(texts, ",", ""), texts)
    values = tf.strings.to_number(tf.where(plain | grouped, digits, "nan"), tf.float64)
    values = tf.where(tf.math.is_inf(values), tf.constant(float("nan"), tf.float64), values)
    return tf.clip_by_value(values, tf.constant(-LARGEST, tf.float64), tf.constant(LARGEST, tf.float64))


def iso_dates(texts: Any, order: str) -> Any:
    """Texts to "YYYY-MM-DD HH:MM:SS", "" where there is no date; `order` as in `DateFeature`.

    Whether there is such a day in the calendar is left to the preprocessing layers.
    """
    alike = tf.strings.regex_full_match(texts, _SEPARATED_ALIKE)
    first = tf.strings.regex_full_match(texts, _YEAR_FIRST) & alike
    last = tf.strings.regex_full_match(texts, _YEAR_LAST) & alike
    from_first = _fields(texts, first, _YEAR_FIRST)
    from_last = _fields(texts, last, _YEAR_LAST)
    is_month_first = _is_month_first(texts, last, from_last) if order == "ymd" else tf.constant(order == "mdy")
    month = tf.where(is_month_first, from_last[1], from_last[2])
    day = tf.where(is_month_first, from_last[2], from_last[1])
    later = (from_last[3], month, day, *from_last[4:7])
    numbers = [tf.where(first, from_first[place], other) for place, other in enumerate(later, start=1)]
    half = tf.strings.lower(tf.where(first, from_first[7], from_last[7]))
    year, month_, day_, hour, minute, second = (
        tf.strings.to_number(tf.where(tf.equal(text, ""), "0", text), tf.int32) for text in numbers
    )
    afternoon = tf.where(tf.equal(half, "pm"), 12, 0)
    hour = tf.where(tf.equal(half, ""), hour, hour % 12 + afternoon)
    date = tf.strings.join([_padded(year, 4), _padded(month_, 2), _padded(day_, 2)], "-")
    time = tf.strings.join([_padded(hour, 2), _padded(minute, 2), _padded(second, 2)], ":")
    return tf.where(first | last, tf.strings.join([date, time], " "), "")


def _is_month_first(texts: Any, last: Any, fields: Sequence[Any]) -> Any:
    """Whether the dates with the year last of each column are read month first, as `columns.date_order` finds it.

    Args:
        texts: string [rows, ...].
        last: Which of them are such dates, bool [rows, ...].
        fields: What each group of such a date matched, [rows, ...] each.
    """
    first, second = (tf.strings.to_number(tf.where(last, fields[place], "0"), tf.int32) for place in (1, 2))
    day_first, month_first = (tf.reduce_any(numbers > 12, axis=0) for numbers in (first, second))
    begins = last & tf.equal(tf.cumsum(tf.cast(last, tf.int32), axis=0), 1)
    has_slash = tf.strings.regex_full_match(texts, r"\d+/(?s:.*)")
    by_separator = tf.reduce_any(begins & has_slash, axis=0)
    return tf.where(day_first | month_first, ~day_first, by_separator)


def _fields(texts: Any, matches: Any, pattern: str) -> Sequence[Any]:
    """By number of the group: what it matched; "" where it, or the whole, matched nothing."""
    return [
        tf.where(matches, tf.strings.regex_replace(texts, f"^{pattern}$", rf"\{group}"), "") if group else texts
        for group in range(8)
    ]


def _padded(numbers: Any, width: int) -> Any:
    return tf.strings.as_string(numbers, width=width, fill="0")
