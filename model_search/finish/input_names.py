"""Names of an exported model's inputs: the user's column names wherever Keras and TensorFlow allow them."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_]+")
_NOT_OF_KERAS = re.compile(r"[/\0]")
_TAKEN_BY_TENSORFLOW = frozenset({"self"})


def keras_names(columns: Sequence[str]) -> tuple[str, ...]:
    """Names of Keras inputs, in the order of the columns: the column's own name, unless Keras refuses it.

    Keras takes any text as the name of an input except the empty one and one with a slash, its file format none with a
    zero byte. These become "_", an empty name "column"; where that makes two alike, the later one gets a number
    appended.
    """
    return _distinct(columns, [_NOT_OF_KERAS.sub("_", column) or "column" for column in columns], fold=False)


def signature_names(columns: Sequence[str]) -> tuple[str, ...]:
    """Names of a SavedModel signature's inputs, in the order of the columns: letters, digits and "_" only.

    TensorFlow compares names in lower case, and refuses Python's keywords and a leading "_".
    """
    cleaned = []
    for column in columns:
        name = _NOT_PLAIN.sub("_", column).strip("_") or "column"
        if name[0].isdigit():
            name = f"column_{name}"
        if keyword.iskeyword(name) or name.lower() in _TAKEN_BY_TENSORFLOW:
            name = f"{name}_"
        cleaned.append(name)
    return _distinct(columns, cleaned, fold=True)


def _distinct(columns: Sequence[str], cleaned: Sequence[str], fold: bool) -> tuple[str, ...]:
    """Numbers duplicates; a column that keeps its own name is never the one that is renamed."""

    def key(name: str) -> str:
        return name.lower() if fold else name

    taken: set[str] = set()
    names: list[str | None] = [None] * len(columns)
    unchanged_first = sorted(range(len(columns)), key=lambda i: (cleaned[i] != columns[i], i))
    for i in unchanged_first:
        name, number = cleaned[i], 2
        while key(name) in taken:
            name, number = f"{cleaned[i]}_{number}", number + 1
        taken.add(key(name))
        names[i] = name
    return tuple(name for name in names if name is not None)
