"""Records of a study's data, read from JSON that may have been edited: whatever is wrong is one sentence."""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from model_search.errors import DamagedRecordError

Record = TypeVar("Record")
_LONGEST_SHOWN = 60  # characters of a value in a message


def read_record(cls: type[Record], values: Any, what: str) -> Record:
    """A dataclass from its fields as JSON holds them: tuples as lists, enums as their values.

    Args:
        cls: The dataclass.
        values: The fields by name; those with a default may be missing.
        what: How the record is called in errors, such as "the task".

    Raises:
        DamagedRecordError: if a field is missing, unknown, or of another type.
    """
    values = need(values, Mapping, what)
    hints = _hints(cls)  # type: ignore[arg-type]
    unknown = [str(name) for name in values if name not in hints]
    if unknown:
        raise damaged(what, f"it has {', '.join(unknown)}, which this version does not know")
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    missing = [field.name for field in fields if _is_needed(field) and field.name not in values]
    if missing:
        raise damaged(what, f"it lacks {', '.join(missing)}")
    return cls(**{name: _read(value, hints[name], f"{name} of {what}") for name, value in values.items()})


def need(value: Any, kind: type[Any], what: str) -> Any:
    """The value, if it is of a type.

    Raises:
        DamagedRecordError: if it is not.
    """
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise damaged(what, f"it is {_shown(value)}")
    return value


def damaged(what: str, why: str) -> DamagedRecordError:
    """The error that a part of a record is damaged."""
    return DamagedRecordError(f"{what} is damaged in the study's database: {why}; restore a copy of the database")


@functools.cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _is_needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _read(value: Any, hint: Any, what: str) -> Any:
    """The value that JSON stands for, if it fits the type."""
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError:
            raise damaged(what, f"it is {_shown(value)}, none of {', '.join(map(str, hint))}") from None
    if not _fits(value, hint):
        raise damaged(what, f"it is {_shown(value)}")
    return tuple(value) if isinstance(value, list) else value


def _fits(value: Any, hint: Any) -> bool:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return isinstance(value, list | tuple) and all(_fits(one, typing.get_args(hint)[0]) for one in value)
    if hint is float:
        return type(value) in (int, float)
    return type(value) is hint


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
