"""What the named inputs of a row are called in Keras, and back. Imports Keras only where a name is chosen."""

from __future__ import annotations

import functools
import re
from typing import Any

_ESCAPED = "input."  # no plain name has a dot
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_OWN_LAYERS = re.compile(  # of towers, of the models that they are joined in, and of predictions
    r"logits|\w+_flatten|\w+_normalised|inputs_side_by_side|frozen_logits|side_by_side|mixture|average|probabilities|temperature"
    r"|tower(_\d+)?|ensemble"
)
_NUMBER = re.compile(r"_\d+$")


def input_name(name: str) -> str:
    """The name of the Keras input for a named input of a row: its own name wherever that is safe.

    In a Keras model inputs and layers share their names, and some characters are refused. A name that a layer may have
    (`logits`, `cast_1`), or that is anything but letters, digits and "_", is escaped. Different names stay different,
    and `row_name` gives them back. No weight is named after an input.
    """
    joined = _NUMBER.sub("", name).replace("_", "").lower()
    if _PLAIN.fullmatch(name) and not _OWN_LAYERS.fullmatch(name) and joined not in _automatic_names():
        return name
    return _ESCAPED + re.sub(r"[^A-Za-z0-9]", lambda found: f"_{ord(found[0]):x}_", name)


def row_name(name: str) -> str:
    """The named input of a row that a Keras input reads; the inverse of `input_name`."""
    if not name.startswith(_ESCAPED):
        return name
    return re.sub(r"_([0-9a-f]+)_", lambda found: chr(int(found[1], 16)), name.removeprefix(_ESCAPED))


@functools.cache
def _automatic_names() -> frozenset[str]:
    """What Keras calls layers and operations that are given no name: their classes' names, in lower case and joined.

    They are the same for the life of a process.
    """
    import keras

    found: set[str] = set()
    pending: list[Any] = [keras.Operation]
    while pending:
        pending += (kind := pending.pop()).__subclasses__()
        if kind.__module__.startswith("keras."):
            found.add(kind.__name__.replace("_", "").lower())
    return frozenset(found)
