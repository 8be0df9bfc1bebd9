"""Sentences about data that are not taken as they are, as warnings of Python."""

from __future__ import annotations

import sys
import warnings

from model_search.errors import DataWarning


def warn(sentence: str) -> None:
    """Warns the caller of the package; Python shows a sentence once for each line that it came from."""
    warnings.warn(sentence, DataWarning, stacklevel=_calls_from_outside())


def _calls_from_outside() -> int:
    """How many calls of this package there are between its user and the caller, as `warnings.warn` counts them."""
    frame, calls = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("model_search."):
        frame, calls = frame.f_back, calls + 1
    return calls
