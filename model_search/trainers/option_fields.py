"""How an argument of `try_models` is declared: its default, what it means, how it is checked, and its flag."""

from __future__ import annotations

import dataclasses
import math
import numbers
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from model_search.errors import UserError
from model_search.metadata.paths import absolute_place

Check = Callable[[str, Any], None]
"""Name and value; raises UserError saying what was received and what is expected."""

_NEEDED: Any = dataclasses.MISSING
_METADATA = "option"


@dataclasses.dataclass(frozen=True)
class Flag:
    """The command's flag for an argument.

    Attributes:
        name: Its name after `--`.
        kind: Its type.
        default: Its value where the flag is absent.
        help: One sentence for people.
        choices: The accepted texts, if these are few.
        minimum: The least accepted number.
        read: From the value of the flag to that of the argument.
    """

    name: str
    kind: type
    default: Any
    help: str
    choices: Sequence[str] | None = None
    minimum: int | None = None
    read: Callable[[Any], Any] = lambda value: value


@dataclasses.dataclass(frozen=True)
class Option:
    """The declaration of an argument besides its name, type and default.

    Attributes:
        help: What it means: the text of the docstring.
        check: What its value has to be; it is not called with None where that is the default.
        flag: The command's flag; None where it has none.
        read: From the accepted forms of the value to the one that is stored.
    """

    help: str
    check: Check | None = None
    flag: Flag | None = None
    read: Callable[[Any], Any] = lambda value: value


def option(
    help_text: str,
    check: Check | None = None,
    flag: Flag | None = None,
    default: Any = _NEEDED,
    read: Callable[[Any], Any] = lambda value: value,
) -> Any:
    """A field of a dataclass that is an argument."""
    return dataclasses.field(default=default, metadata={_METADATA: Option(help_text, check, flag, read)})


def option_of(field: dataclasses.Field[Any]) -> Option:
    """The declaration that `option` made for a field."""
    declared: Option = field.metadata[_METADATA]
    return declared


def whole(minimum: int, instead: str = "", allowed: Sequence[object] = (), maximum: int | None = None) -> Check:
    """A whole number of at least `minimum` (and at most `maximum`), or one of the values that `instead` describes."""

    def check(name: str, value: Any) -> None:
        if any(value is other or value == other for other in allowed if type(value) is type(other)):
            return
        if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < minimum:
            raise UserError(f"{name} is {value!r}; expected a whole number of at least {minimum}{instead}")
        if maximum is not None and int(value) > maximum:
            raise UserError(f"{name} is {value!r}; expected a whole number of at most {maximum}{instead}")

    return check


def positive(what: str) -> Check:
    """A number above 0 of the unit `what`."""

    def check(name: str, value: Any) -> None:
        if not is_positive(value):
            raise UserError(f"{name} is {value!r}; expected a number of {what} above 0")

    return check


def one_of(choices: Sequence[str]) -> Check:
    """One of a few texts."""

    def check(name: str, value: Any) -> None:
        if value not in choices:
            raise UserError(f"{name} is {value!r}; expected one of {', '.join(choices)}")

    return check


def text(expected: str = "a text that is not empty") -> Check:
    """A text that is not empty."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, str) or not value:
            raise UserError(f"{name} is {value!r}; expected {expected}")

    return check


def any_text(name: str, value: Any) -> None:
    """A text, which may be empty."""
    if not isinstance(value, str):
        raise UserError(f"{name} is {value!r}; expected a text")


def truth(name: str, value: Any) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise UserError(f"{name} is {value!r}; expected True or False")


def is_positive(value: object) -> bool:
    """Whether it is a finite number above 0."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and 0 < float(value) < math.inf


def plain(value: Any) -> Any:
    """A number or truth value of NumPy as one of Python; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def as_path(value: str | os.PathLike[str]) -> str:
    """A path, or a URL, as text; a path as it is named in every working folder.

    Raises:
        UserError: if it is neither.
    """
    try:
        return absolute_place(os.fspath(value))
    except TypeError:
        raise UserError(f"artefacts is {value!r}; expected a folder or a URL") from None


def as_root_dir(root_dir: str | os.PathLike[str]) -> pathlib.Path:
    """The folder of all studies, as a path; `~` is the home folder."""
    try:
        path = pathlib.Path(root_dir).expanduser()
    except (TypeError, RuntimeError):  # no path; the home folder of no one
        raise UserError(f"root_dir is {root_dir!r}; expected a path") from None
    if "\0" in str(path):
        raise UserError(f"root_dir is {str(path)!r}; expected a path without zero bytes")
    return path


def workers_of(written: str | None) -> int | str | None:
    """From what is written after `--workers`."""
    try:
        return None if written is None else int(written)
    except ValueError:
        return written  # "auto", or a text that the check refuses


def folds_of(written: str | None) -> int | str | None:
    """From what is written after `--folds`."""
    if written is None or written == "none":
        return None
    return workers_of(written)  # a number, "auto", or a text that the check refuses


def amounts_of(written: Sequence[str] | None) -> dict[str, float] | None:
    """From what is written after `--resources`.

    Raises:
        UserError: if these are no amounts by name.
    """
    if written is None:
        return None
    try:
        return {name: float(amount) for name, _, amount in (part.partition("=") for part in written)}
    except ValueError:
        raise UserError(f"--resources={','.join(written)}: expected amounts by name, such as cpu=1,gpu=0.5") from None
