"""A column of labels, read as the user's own values."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.prepare_options import RULES_AS_WRITTEN
from model_search.data.tabular import columns
from model_search.data.task import Label
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_WHOLE = re.compile(r"[+-]?(?:0|[1-9]\d*)", re.ASCII)
_EXACT = 2**53  # whole numbers up to here are all floats, too
_MOST_DIGITS = 4000  # Python refuses to read or write whole numbers of 4,300 digits
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class LabelColumn:
    """A label column as the user's own values.

    Attributes:
        name: The column's name.
        values: The different labels (str, int, float or bool), sorted.
        codes: int [rows], position in `values`; -1 where the label is missing.
        missing_as: What stands in the rows without a label, with the number of these rows.
        respelled: A sentence about labels that are one number and were written in several ways, if there are any.
        alike: A sentence about different labels that look alike, if there are any.
        is_date: Whether the labels are typed dates.
    """

    name: str
    values: tuple[Label, ...]
    codes: np.ndarray
    missing_as: Mapping[str, int] = dataclasses.field(default_factory=dict)
    respelled: str = ""
    alike: str = ""
    is_date: bool = False

    @property
    def missing(self) -> np.ndarray:
        """Mask [rows] of the rows without a label."""
        return self.codes < 0

    @property
    def is_numeric(self) -> bool:
        """Whether every label is a number (a boolean is not)."""
        return all(is_number(value) for value in self.values)

    @property
    def is_whole(self) -> bool:
        """Whether every label is a whole number."""
        return self.is_numeric and all(isinstance(value, int) or float(value).is_integer() for value in self.values)

    def numbers(self) -> np.ndarray:
        """float64 [rows], NaN where missing.

        Raises:
            DataError: if a number is too large.
        """
        try:
            table = np.array([float(value) for value in self.values] + [math.nan], dtype=np.float64)
        except OverflowError:
            raise DataError(_beyond(self.name, max(self.values, key=lambda value: abs(float_or_inf(value))))) from None
        return table[self.codes]

    def take(self, rows: np.ndarray) -> LabelColumn:
        """Some of the rows (numbers or a mask)."""
        return dataclasses.replace(self, codes=self.codes[rows])


def is_number(label: object) -> bool:
    """Whether a label is a number; a boolean is not."""
    return isinstance(label, int | float) and not isinstance(label, bool)


def float_or_inf(label: Label) -> float:
    """A number as a float, infinity where it is beyond that."""
    try:
        return float(label)
    except OverflowError:
        return math.inf


def read_labels(
    series: pd.Series,
    *,
    as_text: bool = False,
    rules: int = RULES_AS_WRITTEN,
    markers: frozenset[str] = columns.MISSING_LABELS,
) -> LabelColumn:
    """Reads a column of labels, each as it is written.

    Where all labels are numbers, equal ones are one label; the most common way of writing it decides whether it is a
    whole number (1) or one with a fraction (1.0). Otherwise every text and every typed value is a label of its own.
    Dates are labels as pandas writes them to a CSV file.

    Args:
        series: Texts (as in a CSV file) or typed values.
        as_text: Whether texts stay texts where they all are numbers, too.
        rules: The study's `PrepareOptions.reading_rules`; those of version 1.0 are in `earlier_rules`.
        markers: Texts, in lower case, that mean that there is no label.

    Raises:
        DataError: if a cell holds no single value, a number is beyond float64, or bytes are not UTF-8.
    """
    name, is_date = str(series.name), columns.is_typed_date(series)
    codes, cells = columns.distinct_cells(_dates_as_text(series))
    counts = np.bincount(codes[codes >= 0], minlength=len(cells))
    missing_as: Counter[str] = Counter({"empty": int((codes < 0).sum())})
    found: list[Label | None] = [_plain(cell, name) for cell in cells]
    numbers = None if as_text else _numbers(found, name, infinite_is_missing=rules >= 3)
    kept = [None if _is_missing(label, markers) else label for label in found] if numbers is None else list(numbers)
    for label, cell, count in zip(kept, found, counts.tolist(), strict=True):
        if label is None:
            missing_as[_as_missing(cell)] += count
    labels, translate, respelled = _merged(kept, found, counts) if numbers is not None else _separate(kept)
    return LabelColumn(
        name,
        labels,
        translate[codes],
        {what: count for what, count in missing_as.items() if count},
        respelled,
        "" if numbers is not None else _alike(labels),
        is_date,
    )


def parse_number(text: str, name: str = "label") -> int | float | None:
    """A text as the number that it is, whole ones exactly; None if it is none, or has leading zeros (an identifier).

    Raises:
        DataError: if it is beyond what float64 holds.
    """
    text = text.strip()
    if has_leading_zero(text):
        return None
    if columns.GROUPED_NUMBER.fullmatch(text):
        text = text.replace(",", "")
    if not columns.PLAIN_NUMBER.fullmatch(text):
        return None
    if _WHOLE.fullmatch(text):
        return int(text) if len(text) <= _MOST_DIGITS else None
    value = float(text)
    if math.isinf(value) or (value == 0 and any(digit in "123456789" for digit in text.lower().partition("e")[0])):
        raise DataError(_beyond(name, text))
    if abs(value) >= _EXACT and "e" not in text.lower():  # with an exponent it is a float, as Python writes it
        exact = decimal.Decimal(text)
        if exact == int(exact):
            return value if value == int(exact) else int(exact)
    return value


def has_leading_zero(text: str) -> bool:
    """Whether a text is written like an identifier: 007, 01234."""
    digits = text.lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()


def shown(labels: Sequence[object], most: int = _SHOWN) -> str:
    """Some labels, as a message shows them."""
    return ", ".join(f"{label!r:.80}" for label in labels[:most]) + (", ..." if len(labels) > most else "")


def _beyond(name: str, number: object) -> str:
    return (
        f"label column {name!r} holds {number!s:.40}, which is beyond what float64 holds (1e-308 to 1.8e308); "
        "multiply or divide the labels by a constant"
    )


def _dates_as_text(series: pd.Series) -> pd.Series:
    """Typed dates and durations as pandas writes them to a CSV file: without a time where none of them has one."""
    import pandas.api.types as types

    if not (columns.is_typed_date(series) or types.is_timedelta64_dtype(series.dtype)):
        return series
    return series.astype(str).astype(object).mask(series.isna().to_numpy(), None)


def _plain(cell: Any, name: str) -> Label | None:
    """A cell as a label, None where it is an infinite number."""
    if isinstance(cell, np.generic):
        cell = cell.item() if not isinstance(cell, np.datetime64 | np.timedelta64) else str(cell)
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else None
    if isinstance(cell, bool | int | str):
        return cell
    if isinstance(cell, bytes):
        try:
            return cell.decode("utf-8")
        except UnicodeDecodeError:
            raise DataError(f"label column {name!r} holds the bytes {cell!r:.80}, which are not UTF-8 text") from None
    if isinstance(cell, decimal.Decimal | datetime.date | datetime.time):
        return str(cell)
    if isinstance(cell, Sequence | Mapping | set | frozenset | np.ndarray):
        raise DataError(
            f"label column {name!r} holds a {type(cell).__name__} ({cell!r:.80}); expected one text, number, boolean "
            "or date in each row"
        )
    return str(cell)


def _is_missing(label: Label | None, markers: frozenset[str]) -> bool:
    return label is None or (isinstance(label, str) and label.strip().lower() in markers)


def _is_infinite(label: Label | None) -> bool:
    """Whether a text is an infinite number."""
    return isinstance(label, str) and columns.is_infinite(label.strip())


def _as_missing(label: Label | None) -> str:
    if label is None or _is_infinite(label):
        return "infinite"
    return repr(label.strip()) if isinstance(label, str) and label.strip() else "empty"


def _numbers(found: Sequence[Label | None], name: str, *, infinite_is_missing: bool) -> list[int | float | None] | None:
    """The labels as numbers; None where one is something else, or texts and typed numbers are mixed."""
    present = [label for label in found if label is not None]
    if not present or all(is_number(label) for label in present):
        return [label if is_number(label) else None for label in found]  # type: ignore[misc]
    if not all(isinstance(label, str) for label in present):
        return None
    numbers: list[int | float | None] = []
    for label in found:
        is_missing = _is_missing(label, columns.MISSING_MARKERS) or (infinite_is_missing and _is_infinite(label))
        number = None if is_missing else parse_number(str(label), name)
        if number is None and not is_missing:
            return None
        numbers.append(number)
    return numbers if any(number is not None for number in numbers) else None


def _merged(
    numbers: Sequence[Label | None], found: Sequence[Label | None], counts: np.ndarray
) -> tuple[tuple[Label, ...], np.ndarray, str]:
    """Numbers of which equal ones are one label, in the type of the most common way of writing it."""
    written: dict[Any, Counter[str]] = {}
    types: dict[Any, Counter[type]] = {}
    for number, cell, count in zip(numbers, found, counts.tolist(), strict=True):
        if number is not None:
            written.setdefault(number, Counter())[str(cell).strip()] += count
            types.setdefault(number, Counter())[type(number)] += count
    order = sorted(written)
    position = {number: index for index, number in enumerate(order)}
    labels = tuple(_in_type(number, types[number]) for number in order)
    others = [ways.most_common()[1:] for ways in (written[number] for number in order)]
    rows, examples = sum(count for ways in others for _, count in ways), []
    for number, ways in zip(order, others, strict=True):
        if ways:
            examples.append(f"{ways[0][0]!r:.40} for {written[number].most_common(1)[0][0]!r:.40}")
    note = ""
    if rows:
        more = ", ..." if len(examples) > _SHOWN else ""
        note = (
            f"{rows} rows write a label in another way than most ({', '.join(examples[:_SHOWN])}{more}); equal numbers "
            "are one class"
        )
    translate = np.array([-1 if number is None else position[number] for number in numbers] + [-1], dtype=np.int64)
    return labels, translate, note


def _in_type(number: int | float, types: Counter[type]) -> Label:
    if types[int] >= types[float]:
        return int(number)
    if isinstance(number, float) or abs(number) > _EXACT:
        return number
    return float(number)


def _separate(kept: Sequence[Label | None]) -> tuple[tuple[Label, ...], np.ndarray, str]:
    """Every value of every type a label of its own."""
    keys = [None if label is None else (type(label).__name__, label) for label in kept]
    order = sorted({key for key in keys if key is not None}, key=_rank)
    position = {key: index for index, key in enumerate(order)}
    translate = np.array([-1 if key is None else position[key] for key in keys] + [-1], dtype=np.int64)
    return tuple(label for _, label in order), translate, ""


def _rank(key: tuple[str, Label]) -> tuple[Any, ...]:
    kind, label = key
    return (1, label) if isinstance(label, str) else (0, label, kind)


def _alike(labels: Sequence[Label]) -> str:
    """A sentence about labels that differ in blanks, case or type alone."""
    groups: dict[str, list[Label]] = {}
    for label in labels:
        groups.setdefault(str(label).strip().casefold(), []).append(label)
    alike = [" and ".join(map(repr, group)) for group in groups.values() if len(group) > 1]
    if not alike:
        return ""
    more = ", ..." if len(alike) > _SHOWN else ""
    return f"labels that look alike are different classes: {', '.join(alike[:_SHOWN])}{more}"
