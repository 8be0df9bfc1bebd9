"""Loading a specification."""

from __future__ import annotations

import os
import pathlib

from google.protobuf import text_format

from model_search.errors import SpecError
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


def load_spec(source: str | os.PathLike[str] | PhoenixSpec) -> PhoenixSpec:
    """A copy of the message, or what the text file at a path says."""
    spec = PhoenixSpec()
    if isinstance(source, PhoenixSpec):
        spec.CopyFrom(source)
        return spec
    try:
        text_format.Parse(pathlib.Path(source).read_text(encoding="utf-8"), spec)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise SpecError(f"Cannot read the specification {os.fspath(source)}: {error}") from error
    return spec


def to_text(spec: PhoenixSpec) -> str:
    """The specification as text that `load_spec` reads."""
    return text_format.MessageToString(spec, as_utf8=True)


def warnings_of(spec: PhoenixSpec) -> list[str]:
    """What the specification asks for that this version does not do, a sentence each."""
    return []


def incompatibilities(old: PhoenixSpec, new: PhoenixSpec) -> list[str]:
    """The differences that forbid continuing a study, a sentence each."""
    if old.problem_type != new.problem_type:
        return ["problem_type differs"]
    return []
