"""How version 1.0 read cells, so that its studies go on, are evaluated and decode as they did.

It merged labels that are equal as numbers ("1.1" and "1.10" beside "2.0b"), took blanks off labels, read whole numbers
of a file through floats, and merged cells of one column that are equal in Python (True and 1).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.tabular import columns
from model_search.data.tabular.label_column import LabelColumn
from model_search.data.task import Label

if TYPE_CHECKING:
    import pandas as pd

_WHOLE = re.compile(r"[+-]?(?:0|[1-9]\d*)", re.ASCII)


def read_labels(series: pd.Series) -> LabelColumn:
    """Reads a column of labels, text (as in a CSV file) or typed."""
    import pandas as pd
    import pandas.api.types as types

    codes, raw = pd.factorize(series.to_numpy(dtype=object), use_na_sentinel=True)
    if columns.is_typed_number(series) or types.is_bool_dtype(series.dtype):
        labels = [_plain(value) for value in raw]
    else:
        labels = _from_cells(list(raw))
    order = sorted({key(label): label for label in labels if label is not None}.values(), key=_rank)
    position = {key(label): index for index, label in enumerate(order)}
    translate = np.array([-1 if label is None else position[key(label)] for label in labels] + [-1], dtype=np.int64)
    return LabelColumn(str(series.name), tuple(order), translate[codes])


def key(label: Label) -> str:
    """The canonical form of a label: the same for 1, 1.0 and "1", and for True and "True"."""
    if isinstance(label, bool) or not isinstance(label, int | float | str):
        return str(label)
    if isinstance(label, str):
        number = columns.parse_numbers([label])[0] if not _has_leading_zero(label) else math.nan
        return label.strip() if math.isnan(number) else key(float(number))
    return str(int(label)) if float(label).is_integer() else repr(float(label))


def read_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of objects that are not all text, as the texts that they were taken for."""
    import pandas as pd

    found = {}
    for name in frame.columns:
        series = frame[name]
        if series.dtype == object and not all(isinstance(cell, str) for cell in series):
            codes, values = pd.factorize(series.to_numpy(dtype=object), use_na_sentinel=True)
            texts = np.array([_text(value) for value in values] + [""], dtype=object)
            series = pd.Series(texts[codes], index=series.index, name=series.name, dtype=object)
        found[name] = series
    return pd.DataFrame(found, index=frame.index)


def _text(value: Any) -> str:
    return columns.canonical_text(str(value) if isinstance(value, bytes) else value)


def _from_cells(cells: Sequence[Any]) -> list[Label | None]:
    """Different cells as labels: numbers if all of them are, else as they are."""
    texts = [cell.strip() if isinstance(cell, str) else None for cell in cells]
    if any(text is None for text in texts):
        return [cell if text is None else text for cell, text in zip(map(_plain, cells), texts, strict=True)]
    strings = [str(text) for text in texts]
    numbers = columns.parse_numbers(["" if text.lower() in columns.MISSING_MARKERS else text for text in strings])
    are_numbers = all(
        text.lower() in columns.MISSING_MARKERS or (not math.isnan(number) and not _has_leading_zero(text))
        for text, number in zip(strings, numbers, strict=True)
    )
    if are_numbers and not np.isnan(numbers).all():
        whole = all(_WHOLE.fullmatch(text) for text, number in zip(strings, numbers, strict=True) if number == number)
        return [None if math.isnan(number) else int(number) if whole else float(number) for number in numbers]
    return [None if text.lower() in columns.MISSING_LABELS else text for text in strings]


def _has_leading_zero(text: str) -> bool:
    digits = text.lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()


def _plain(value: Any) -> Label | None:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str) else str(value)


def _rank(label: Label) -> tuple[int, Any]:
    return (1, label) if isinstance(label, str) else (0, label)
