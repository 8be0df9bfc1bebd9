"""Loading a specification: everything that is wrong with it is reported at once."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import NoReturn

from google.protobuf import text_format

from model_search.errors import DamagedRecordError, SpecError
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.spec.check import check, in_order, problem_type, search_type
from model_search.spec.describe import explain, incompatibilities, warnings_of
from model_search.spec.diagnostics import Positions, Problem
from model_search.spec.text import parse

__all__ = [
    "Positions",
    "Problem",
    "check",
    "explain",
    "incompatibilities",
    "load_spec",
    "load_text",
    "stored_spec",
    "to_text",
    "warnings_of",
]


MOST_BYTES = 1 << 19  # of a specification as a message; tens of thousands of names
MOST_STORED = 1 << 23  # characters of its text, which take seconds to parse


def load_spec(source: str | os.PathLike[str] | PhoenixSpec) -> PhoenixSpec:
    """Reads and checks a specification.

    Args:
        source: Path of a file in protobuf's text format, or a message, which stays as it is.

    Returns:
        A new message; a search type or a problem type that is not given is filled in.

    Raises:
        SpecError: with every problem that makes the specification unusable, each with its line and column.
    """
    if isinstance(source, PhoenixSpec):
        return _checked(source, [], Positions(), "The specification")
    return load_text(_read(source), os.fspath(source))


def load_text(text: str, name: str = "The specification") -> PhoenixSpec:
    """Reads and checks a specification from text, as `load_spec` does.

    Args:
        text: What the specification says, in protobuf's text format.
        name: How the text is called in errors.

    Raises:
        SpecError: with every problem that makes the specification unusable, each with its line and column.
    """
    if not text.strip():
        raise SpecError(f"{name} is empty; expected a PhoenixSpec in protobuf's text format.")
    parsed = parse(text)
    if not parsed.is_complete:
        _refuse(parsed.problems, name)
    return _checked(parsed.spec, parsed.problems, parsed.positions, name)


def to_text(spec: PhoenixSpec) -> str:
    """The specification as text that `load_spec` reads."""
    return text_format.MessageToString(spec, as_utf8=True)


def stored_spec(text: str, study: str) -> PhoenixSpec:
    """A specification that a study has stored; it was checked when the study began.

    Raises:
        DamagedRecordError: if it is none.
    """
    if not isinstance(text, str):
        raise DamagedRecordError(f"the specification that study {study!r} has stored is {text!r:.80}; restore a copy")
    if len(text) > MOST_STORED:
        raise DamagedRecordError(
            f"the specification that study {study!r} has stored has {len(text):,} characters; {MOST_STORED:,} are read "
            "at most"
        )
    try:
        return text_format.Parse(text, PhoenixSpec())
    except (text_format.ParseError, RecursionError) as error:
        raise DamagedRecordError(
            f"the specification that study {study!r} has stored cannot be read: {error}; restore a copy of its "
            "database, or use the version of model_search that wrote it"
        ) from error


def _read(source: str | os.PathLike[str]) -> str:
    try:
        name = os.fspath(source)
    except TypeError:
        raise SpecError(
            f"The specification is {source!r:.80}; give the path of a .pbtxt file, or a PhoenixSpec."
        ) from None
    try:
        return pathlib.Path(source).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise SpecError(f"There is no specification file {name}; give the path of a .pbtxt file.") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{name} is not UTF-8 at byte {error.start}; save the specification as UTF-8 text.") from error
    except OSError as error:
        raise SpecError(f"Cannot read the specification {name}: {error.strerror or error}.") from error
    except ValueError as error:
        raise SpecError(f"{name!r} is not a path; give the path of a .pbtxt file.") from error


def _checked(spec: PhoenixSpec, found: Sequence[Problem], positions: Positions, name: str) -> PhoenixSpec:
    if spec.ByteSize() > MOST_BYTES:
        raise SpecError(f"{name} takes {spec.ByteSize():,} bytes; expected {MOST_BYTES:,} at most.")
    problems = [*found, *(problem for problem in check(spec, positions) if problem.severity == "error")]
    if problems:
        _refuse(in_order(problems), name)
    checked = PhoenixSpec()
    checked.CopyFrom(spec)
    known = PhoenixSpec.SearchType.DESCRIPTOR.values_by_name.get(search_type(spec))
    if known is not None:  # a search of the user's own has a name only
        checked.search_type = PhoenixSpec.SearchType.Value(known.name)
    checked.problem_type = PhoenixSpec.ProblemType.Value(problem_type(spec))
    return checked


def _refuse(problems: Sequence[Problem], name: str) -> NoReturn:
    if len(problems) == 1:
        problem = problems[0]
        raise SpecError(f"{name}{': ' if problem.line is None else ', '}{problem}")
    raise SpecError("\n  ".join([f"{name} has {len(problems)} problems:", *map(str, problems)]))
