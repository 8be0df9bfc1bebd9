"""Columns of text, read part by part: what a column holds is found without all of its cells being in memory at once."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.tabular import columns
from model_search.data.tabular.label_column import has_leading_zero

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 3  # examples in a sentence
_POINT_OF_THREE = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}", re.ASCII)


@dataclasses.dataclass(frozen=True)
class TextNumbers:
    """A column of text read as numbers.

    Attributes:
        values: float64 [rows], NaN where there is none.
        present: Rows that hold anything.
        as_text: Whether a reader needs to know that they were texts: some are no numbers, have thousands separators, or
            stand for missing values.
        notes: What is not taken as it is.
        zeros: A sentence about numbers with leading zeros; empty where there are none.
    """

    values: np.ndarray
    present: int
    as_text: bool
    notes: tuple[str, ...]
    zeros: str


def unit_of(series: pd.Series) -> columns.Unit:
    """The unit of a column of text whose cells may be numbers with one."""
    return columns.common_unit(text for _, _, texts in text_parts(series) for text in texts)


def point_of_thousands(series: pd.Series, unit: columns.Unit) -> str:
    """A text such as "1.234 €", whose point may separate thousands; empty where a text has another point, or a comma.

    In countries that write a decimal comma, amounts of money often have no decimals.
    """
    example = ""
    for _, _, texts in text_parts(series):
        for text, number in zip(texts, unit.taken_from(texts), strict=True):
            if "," in number or ("." in number and not _POINT_OF_THREE.fullmatch(number)):
                return ""
            example = example or (text if "." in number else "")
    return example


def text_numbers(series: pd.Series, least: float, unit: columns.Unit = columns.NO_UNIT) -> TextNumbers | None:
    """Reads a column of text as numbers; None if less than the share `least` of those that are present are numbers."""
    parts: list[np.ndarray] = []
    changes: list[list[columns.Change]] = []
    present, lost, as_text = 0, 0, bool(unit)
    coded_rows, coded = 0, set[str]()
    for codes, cells, texts in text_parts(series):
        values, found = columns.numbers_from_texts(codes, texts, unit)
        filled = np.array([bool(text) for text in texts], dtype=bool)[codes]
        parts.append(values)
        changes.append(found)
        present += int(filled.sum())
        lost += int((np.isnan(values) & filled).sum())
        if _too_many(lost, least, len(series)):
            return None
        as_text = as_text or any(
            "," in text if text else isinstance(cell, str) and cell != ""
            for cell, text in zip(cells, texts, strict=True)
        )
        zeros = [index for index, text in enumerate(texts) if text.isdecimal() and has_leading_zero(text)]
        if zeros:
            coded_rows += int(np.isin(codes, zeros).sum())
            coded = set(sorted({*coded, *(texts[index] for index in zeros)})[:_SHOWN])
    if present and (present - lost) / present < least:
        return None
    return TextNumbers(
        np.concatenate(parts) if parts else np.empty(0),
        present,
        as_text or lost > 0,
        tuple(map(str, columns.merged(changes))),
        _of_zeros(coded_rows, sorted(coded)) if coded else "",
    )


@dataclasses.dataclass(frozen=True)
class TextDates:
    """A column of text read as dates.

    Attributes:
        days: As in `columns.dates_of`.
        order: In which order dates with the year last are read; see `columns.date_order`.
        guessed: Whether that had to be guessed.
        notes: What is not taken as it is.
    """

    days: np.ndarray
    order: str
    guessed: bool
    notes: tuple[str, ...]


def text_dates(series: pd.Series, least: float, *, short_zones: bool = True) -> TextDates | None:
    """Reads a column of text as dates; None if less than the share `least` of those that are present are dates.

    Args:
        series: The column.
        least: The share.
        short_zones: As for `columns.parse_dates`.
    """
    order, guessed = columns.date_order(_dated_texts(series, least, short_zones))
    parts, changes, present, lost = [], [], 0, 0
    for codes, _, texts in text_parts(series):
        days, found = columns.dates_from_texts(codes, texts, order, short_zones=short_zones)
        filled = np.array([bool(text) for text in texts], dtype=bool)[codes]
        parts.append(days)
        changes.append(found)
        present += int(filled.sum())
        lost += int((np.isnan(days) & filled).sum())
        if _too_many(lost, least, len(series)):
            return None
    if not present or (present - lost) / present < least:
        return None
    return TextDates(np.concatenate(parts), order, guessed, tuple(map(str, columns.merged(changes))))


def counts_of(series: pd.Series) -> dict[str, int]:
    """Rows by canonical text, the missing ones under ""; a falsy dict key is the missing value."""
    counts: dict[str, int] = {}
    for codes, _, texts in text_parts(series):
        for text, count in zip(texts, np.bincount(codes, minlength=len(texts)).tolist(), strict=True):
            counts[text] = counts.get(text, 0) + count
    return counts


def _of_zeros(rows: int, examples: Sequence[str]) -> str:
    shown = ", ".join(map(repr, examples))
    return f"{rows} rows hold numbers with leading zeros ({shown}), read as numbers; as texts they would be categories"


def text_parts(series: pd.Series) -> Iterator[tuple[np.ndarray, list[Any], list[str]]]:
    """Of each part of a column: codes int [rows], the cell of each code (None where it is missing), and its text."""
    for part in columns.parts_of(series):
        codes, cells = columns.distinct_cells(part)
        if (codes < 0).any():
            codes, cells = np.where(codes < 0, len(cells), codes), [*cells, None]
        if len(codes):
            yield codes, cells, [columns.canonical_text(cell) for cell in cells]


def _dated_texts(series: pd.Series, least: float, short_zones: bool) -> Iterator[str]:
    """The different texts that look like a date; ends early where too many of the others are found."""
    lost = 0
    for codes, _, texts in text_parts(series):
        dated = [columns.looks_like_date(text, short_zones=short_zones) for text in texts]
        yield from (text for text, is_dated in zip(texts, dated, strict=True) if is_dated)
        other: Sequence[bool] = [bool(text) and not is_dated for text, is_dated in zip(texts, dated, strict=True)]
        lost += int(np.array(other, dtype=bool)[codes].sum())
        if _too_many(lost, least, len(series)):
            return


def _too_many(lost: int, least: float, rows: int) -> bool:
    """Whether the share `least` cannot be reached any more, however the rest of the column is."""
    return lost > (1 - least) * rows + 1


def can_be_looked_up(text: str) -> bool:
    """Whether an exported model can hold a text: Keras drops a NUL at its end, and TensorFlow wants UTF-8."""
    return not text.endswith("\0") and not any("\ud800" <= character <= "\udfff" for character in text)
