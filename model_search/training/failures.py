"""Readable messages for whatever goes wrong in a trial."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from model_search.errors import ModelSearchError, TrialError

_NOISE = re.compile(r"\{\{.*?\}\}|\[Op:[^\]]*\]|name: .*$|\[\[.*?\]\]", re.DOTALL)
_LONGEST = 400


@contextlib.contextmanager
def plain_words(what: str) -> Iterator[None]:
    """Turns whatever a trial's model raises into a `TrialError` that begins with `what`.

    Errors of this package, and exceptions that are no errors (an interrupt), pass unchanged.
    """
    try:
        yield
    except ModelSearchError:
        raise
    except MemoryError as error:
        raise TrialError(f"{what}: there is not enough memory for it") from error
    except Exception as error:
        if type(error).__name__ == "ResourceExhaustedError":
            raise TrialError(f"{what}: there is not enough memory for it ({_shortened(error)})") from error
        raise TrialError(f"{what}: {type(error).__name__}: {_shortened(error)}") from error


def _shortened(error: Exception) -> str:
    text = " ".join(_NOISE.sub(" ", str(error)).split())
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."
