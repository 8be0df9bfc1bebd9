"""Raw CSV cells to typed columns, in TensorFlow alone, for the SavedModel's serving function.

What counts as missing, as a number and as a date is what `data/columns.py` says; the regular expressions are those of
RE2, which `tf.strings` uses.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from model_search.data import columns
from model_search.data.features import CategoryFeature, DateFeature, Feature, NumberFeature

_TIME = r"(?:[T ]\s*\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\s*(?:[AaPp][Mm])?)?\s*(?:Z|[+-]\d{2}:?\d{2})?"
_YEAR_FIRST = r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}" + _TIME
_YEAR_LAST = r"\d{1,2}[-/.]\d{1,2}[-/.]\d{4}" + _TIME

_ZONE = r"\s*(?:Z|[+-]\d{2}:?\d{2})$"
_TO_ISO = (
    (r"-0(\d\d)", r"-\1"),  # two digits each: 012 to 12
    (r"^(\d{4}-\d\d-\d\d)" + _ZONE, r"\1"),
    (r"^(\d{4}-\d\d-\d\d)[T ]\s*(\d{1,2}):", r"\1 0\2:"),
    (r" 0(\d\d):", r" \1:"),
    (r"( \d\d:\d\d[^+Z-]*)" + _ZONE, r"\1"),
    (r"(:\d\d)[.,]\d+", r"\1"),
    (r"^(\S+ \d\d:\d\d)(\s*[AaPp][Mm])?$", r"\1:00\2"),
)


def typed_from_text(feature: Feature, cells: Any) -> Any:
    """One column of raw cells, string [rows], as the typed column that `preprocessing_model` takes."""
    texts = _canonical(cells)
    if isinstance(feature, NumberFeature):
        return _numbers(texts)
    if isinstance(feature, DateFeature):
        return _iso(texts, feature.order)
    if isinstance(feature, CategoryFeature):
        return texts
    raise TypeError(f"no way to read a {type(feature).__name__} from text")


def _canonical(cells: Any) -> Any:
    """Stripped texts; "" for every marker of a missing value."""
    texts = tf.strings.strip(cells)
    markers = tf.constant(sorted(columns.MISSING_MARKERS))
    missing = tf.reduce_any(tf.equal(tf.strings.lower(texts)[:, None], markers[None, :]), axis=1)
    return tf.where(missing, "", texts)


def _numbers(texts: Any) -> Any:
    grouped = tf.strings.regex_full_match(texts, columns.GROUPED_NUMBER.pattern)
    plain = tf.strings.regex_full_match(texts, columns.PLAIN_NUMBER.pattern)
    digits = tf.where(grouped, tf.strings.regex_replace(texts, ",", ""), tf.where(plain, texts, "nan"))
    numbers = tf.strings.to_number(digits, tf.float32)
    return tf.where(tf.math.is_inf(numbers), float("nan"), numbers)


def _iso(texts: Any, order: str) -> Any:
    """Dates as "YYYY-MM-DD HH:MM:SS"; "" where a text has not the form of a date."""
    year_first = tf.strings.regex_full_match(texts, _YEAR_FIRST)
    year_last = tf.strings.regex_full_match(texts, _YEAR_LAST)
    ymd = tf.strings.regex_replace(texts, r"^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})", r"\1-0\2-0\3")
    last = r"\3-0\1-0\2" if order == "mdy" else r"\3-0\2-0\1"
    other = tf.strings.regex_replace(texts, r"^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})", last)
    dates = tf.where(year_first, ymd, tf.where(year_last, other, ""))
    for pattern, replacement in _TO_ISO:
        dates = tf.strings.regex_replace(dates, pattern, replacement)
    return _without_am_pm(dates)


def _without_am_pm(texts: Any) -> Any:
    texts = tf.strings.regex_replace(texts, r" 12(:\d\d:\d\d)\s*[Aa][Mm]$", r" 00\1")
    for hour in range(1, 12):
        texts = tf.strings.regex_replace(texts, rf" {hour:02d}(:\d\d:\d\d)\s*[Pp][Mm]$", rf" {hour + 12}\1")
    return tf.strings.regex_replace(texts, r"\s*[AaPp][Mm]$", "")
