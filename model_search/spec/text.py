"""Reading the text format: every problem of a text at once, and where each value stands.

protobuf's own reader stops at the first problem and forgets places. Here, a walk along the text notes the place of
every value and what is wrong with it; a field that cannot be read is cut out, and protobuf reads what is left.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import text_encoding, text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.spec.diagnostics import Path, Place, Positions, Problem

_TOKEN = re.compile(
    r"""(?P<space>(?:\s|\#[^\n]*)+)
    |(?P<name>[A-Za-z_][0-9A-Za-z_]*)
    |(?P<number>(?:[0-9+-]|\.[0-9])[0-9A-Za-z_.+-]*)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<sign>.)""",
    re.VERBOSE,
)
_CLOSING = {"{": "}", "<": ">", "[": "]"}
_INTEGERS = {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64}
_FLOATS = {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}


@dataclasses.dataclass(frozen=True)
class ParsedText:
    """What a text says.

    Attributes:
        spec: The message, without the fields that could not be read.
        positions: Where its values stand.
        problems: What could not be read.
        is_complete: False where the reading stopped at a syntax error.
    """

    spec: PhoenixSpec
    positions: Positions
    problems: tuple[Problem, ...]
    is_complete: bool


def parse(text: str) -> ParsedText:
    """Reads a specification from text; never raises for what the text says."""
    walk = _Walk(text)
    spec = PhoenixSpec()
    is_complete = walk.run()
    if is_complete:
        try:
            text_format.Parse(walk.without_cuts(), spec)
        except (text_format.ParseError, ValueError) as error:
            walk.problems.append(_parse_problem(error))
            is_complete = False
    return ParsedText(spec, Positions(walk.places), tuple(walk.problems), is_complete)


def _parse_problem(error: Exception) -> Problem:
    line, column = (error.GetLine(), error.GetColumn()) if isinstance(error, text_format.ParseError) else (None, None)
    message = re.sub(r"^\d+:\d+ : ", "", str(error))
    return Problem(f"{message.rstrip('.')}.", line, column)


@dataclasses.dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: Place
    start: int
    end: int

    def __str__(self) -> str:
        return "the end of the text" if self.kind == "end" else repr(self.text)


def _tokens(text: str) -> Iterator[_Token]:
    line, line_start = 1, 0
    for match in _TOKEN.finditer(text):
        if match.lastgroup == "space":
            breaks = match[0].count("\n")
            if breaks:
                line += breaks
                line_start = match.start() + match[0].rindex("\n") + 1
            continue
        place = (line, match.start() - line_start + 1)
        yield _Token(str(match.lastgroup), match[0], place, match.start(), match.end())
    yield _Token("end", "", (line, len(text) - line_start + 1), len(text), len(text))


class _SyntaxError(Exception):
    """The text cannot be followed any further."""

    def __init__(self, message: str, place: Place) -> None:
        super().__init__(message)
        self.place = place


class _Walk:
    """A walk along the text. `places` and `problems` grow on the way."""

    def __init__(self, text: str) -> None:
        self.places: dict[Path, Place] = {}
        self.problems: list[Problem] = []
        self._text = text
        self._tokens = list(_tokens(text))
        self._index = 0
        self._cuts: list[tuple[int, int, str]] = []

    def run(self) -> bool:
        """Walks; returns whether it came to the end."""
        try:
            self._message(PhoenixSpec.DESCRIPTOR, (), None)
        except _SyntaxError as error:
            self._problem(str(error), error.place)
            return False
        return True

    def without_cuts(self) -> str:
        """The text without what could not be read."""
        kept, end = [], 0
        for start, stop, instead in sorted(self._cuts):
            if start >= end:
                kept += [self._text[end:start], instead]
                end = stop
        return "".join([*kept, self._text[end:]])

    def _problem(self, message: str, place: Place) -> None:
        self.problems.append(Problem(message, *place))

    @property
    def _token(self) -> _Token:
        return self._tokens[self._index]

    def _next(self) -> _Token:
        token = self._token
        self._index += token.kind != "end"
        return token

    def _accept(self, *texts: str) -> bool:
        if self._token.kind == "sign" and self._token.text in texts:
            self._next()
            return True
        return False

    def _end_of_previous(self) -> int:
        return self._tokens[self._index - 1].end

    def _message(self, descriptor: Descriptor, path: Path, opening: _Token | None) -> None:
        counts: dict[str, int] = {}
        closing = _CLOSING[opening.text] if opening else None
        while True:
            token = self._token
            if opening and token.kind == "end":
                raise _SyntaxError(f"This {opening} is never closed.", opening.place)
            if token.kind == "end" or (closing and token.text == closing and token.kind == "sign"):
                self._next()
                return
            if token.kind != "name":
                raise _SyntaxError(f"Found {token}, expected the name of a field.", token.place)
            self._field(descriptor, path, counts)
            self._accept(",", ";")

    def _field(self, descriptor: Descriptor, path: Path, counts: dict[str, int]) -> None:
        name = self._next()
        field = descriptor.fields_by_name.get(name.text)
        if field is None:
            self._skip_value(name)
            self._cut(name)
            self._problem(_unknown_field(name.text, descriptor), name.place)
            return
        clash = _clash(field, counts)
        if clash:
            self._skip_value(name)
            self._cut(name)
            self._problem(clash, name.place)
            return
        counts.setdefault(field.name, 0)
        if field.message_type is not None:
            self._messages(field, name, path, counts)
        else:
            self._scalars(field, name, path, counts)

    def _messages(self, field: FieldDescriptor, name: _Token, path: Path, counts: dict[str, int]) -> None:
        self._accept(":")
        in_list = _is_repeated(field) and self._accept("[")
        if in_list and self._accept("]"):
            return
        while True:
            here = self._path_of(field, path, counts)
            opening = self._token
            self.places[here] = opening.place if in_list else name.place
            if not self._accept("{", "<"):
                raise _SyntaxError(f"Found {opening}, expected the {{ of {field.name}.", opening.place)
            self._message(field.message_type, here, opening)
            counts[field.name] += 1
            key = self.places.get((*here, "key"))
            if field.message_type.GetOptions().map_entry and key:
                # An entry of a map is found again by its key, for a message does not keep their order.
                self.places[(*here[:-1], self._string_at(key))] = self.places.get((*here, "value"), key)
            if not in_list or not self._accept(","):
                break
        if in_list and not self._accept("]"):
            raise _SyntaxError(f"Found {self._token}, expected , or ] in the list of {field.name}.", self._token.place)

    def _scalars(self, field: FieldDescriptor, name: _Token, path: Path, counts: dict[str, int]) -> None:
        if not self._accept(":"):
            raise _SyntaxError(f"Found {self._token}, expected : after {field.name}.", self._token.place)
        start = self._token.start
        if not (_is_repeated(field) and self._accept("[")):
            if not self._scalar(field, path, counts):
                self._cut(name)
            return
        kept = []
        while not self._accept("]"):
            item = self._token.start
            if self._scalar(field, path, counts):
                kept.append(self._text[item : self._end_of_previous()])
            if not self._accept(",") and self._token.text != "]":
                raise _SyntaxError(
                    f"Found {self._token}, expected , or ] in the list of {field.name}.", self._token.place
                )
        self._cuts.append((start, self._end_of_previous(), f"[{', '.join(kept)}]"))

    def _scalar(self, field: FieldDescriptor, path: Path, counts: dict[str, int]) -> bool:
        """Reads one value; returns whether it is one of this field."""
        token = self._next()
        if token.kind in ("sign", "end"):
            raise _SyntaxError(f"Found {token}, expected a value for {field.name}.", token.place)
        while token.kind == "string" and self._token.kind == "string":
            self._next()
        wrong = _wrong_value(field, token)
        if wrong:
            self._problem(wrong, token.place)
            return False
        self.places[self._path_of(field, path, counts)] = token.place
        counts[field.name] += 1
        return True

    def _skip_value(self, name: _Token) -> None:
        has_colon = self._accept(":")
        token = self._next()
        if token.text not in _CLOSING or token.kind != "sign":
            if token.kind in ("sign", "end") or not has_colon:
                raise _SyntaxError(f"Found {token}, expected the value of {name.text}.", token.place)
            while token.kind == "string" and self._token.kind == "string":
                self._next()
            return
        waiting = [token]
        while waiting:
            token = self._next()
            if token.kind == "end":
                raise _SyntaxError(f"This {waiting[-1]} is never closed.", waiting[-1].place)
            if token.kind == "sign" and token.text in _CLOSING:
                waiting.append(token)
            elif token.kind == "sign" and token.text == _CLOSING[waiting[-1].text]:
                waiting.pop()

    def _cut(self, name: _Token) -> None:
        self._cuts.append((name.start, self._end_of_previous(), ""))

    def _string_at(self, place: Place) -> str:
        token = next(token for token in self._tokens if token.place == place)
        return str(text_encoding.CUnescape(token.text[1:-1]), "utf-8", "replace")

    @staticmethod
    def _path_of(field: FieldDescriptor, path: Path, counts: dict[str, int]) -> Path:
        return (*path, field.name, counts[field.name]) if _is_repeated(field) else (*path, field.name)


def _is_repeated(field: FieldDescriptor) -> bool:
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(field.label == FieldDescriptor.LABEL_REPEATED)  # protobuf before 6


def _clash(field: FieldDescriptor, counts: dict[str, int]) -> str | None:
    if _is_repeated(field):
        return None
    if counts.get(field.name):
        return f"{field.name} is given a second time; give it once."
    if field.containing_oneof is not None:
        others = [other.name for other in field.containing_oneof.fields if counts.get(other.name)]
        if others:
            return f"{field.name} is given beside {others[0]}; give only one of the two."
    return None


def _unknown_field(name: str, descriptor: Descriptor) -> str:
    near = difflib.get_close_matches(name, descriptor.fields_by_name, n=3)
    hint = f"the nearest names are {', '.join(near)}" if near else "docs/spec.md lists the fields"
    return f"{descriptor.name} has no field {name!r}; {hint}."


def _wrong_value(field: FieldDescriptor, token: _Token) -> str | None:
    expected = _expected(field)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        fits = token.kind == "string"
    elif token.kind == "string":
        fits = False
    else:
        fits = _reads(field, token.text)
    if fits:
        return None
    if field.enum_type is not None:
        near = difflib.get_close_matches(token.text.upper(), field.enum_type.values_by_name, n=1)
        hint = f" (perhaps {near[0]})" if near else ""
        return f"{field.name} is {token.text}{hint}; expected {expected}."
    return f"{field.name} is {token.text}; expected {expected}."


def _expected(field: FieldDescriptor) -> str:
    if field.enum_type is not None:
        return "one of " + ", ".join(value.name for value in field.enum_type.values)
    if field.cpp_type in _INTEGERS:
        return "a whole number"
    if field.cpp_type in _FLOATS:
        return "a number"
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return "true or false"
    return "a text in quotes"


def _reads(field: FieldDescriptor, text: str) -> bool:
    try:
        _read(field, text)
    except ValueError:
        return False
    return True


def _read(field: FieldDescriptor, text: str) -> Any:
    if field.enum_type is not None:
        return text_format.ParseEnum(field, text)
    if field.cpp_type in _INTEGERS:
        is_long = field.cpp_type == FieldDescriptor.CPPTYPE_INT64
        return text_format.ParseInteger(text, is_signed=True, is_long=is_long)
    if field.cpp_type in _FLOATS:
        return text_format.ParseFloat(text)
    return text_format.ParseBool(text)
