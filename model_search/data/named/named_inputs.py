"""Inputs by name as users give them: what kind each is, and their arrays."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_search.data.checked_json import damaged, read_record
from model_search.data.inputs import as_array
from model_search.data.prepare_options import RULES_OF_NEW_STUDIES
from model_search.data.rows import InputSpec, clip, note_of_clipped
from model_search.data.sequences.padded import Padded, divisors, padded
from model_search.data.text.tokens import TextFormat, Tokenized, is_missing, tokenized
from model_search.errors import DamagedRecordError, DataError

LENGTHS = "_lengths"  # after the name of a sequence: the input that holds its lengths


class Kind(enum.StrEnum):
    """What an input is: numbers, a sequence of vectors, a map (a picture), or text."""

    VECTOR = "vector"
    SEQUENCE = "sequence"
    MAP = "map"
    TEXT = "text"


@dataclasses.dataclass(frozen=True)
class NamedInput:
    """How an input is read.

    Attributes:
        kind: What it is.
        columns: The columns of a frame, in order; empty for anything else.
        text: The format of texts.
        has_floats_of_bytes: Whether the pictures in training were floats from 0 to 255, so that bytes have their scale.
    """

    kind: Kind
    columns: tuple[str, ...] = ()
    text: TextFormat | None = None
    has_floats_of_bytes: bool = False

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dict; `from_json` reads it."""
        found: dict[str, Any] = {"kind": self.kind.value, "columns": list(self.columns)}
        found |= {"has_floats_of_bytes": True} if self.has_floats_of_bytes else {}
        return found if self.text is None else found | {"text": self.text.to_json()}

    @classmethod
    def from_json(cls, values: Any) -> NamedInput:
        """Reads what `to_json` wrote.

        Raises:
            DamagedRecordError: for anything else.
        """
        if not isinstance(values, Mapping):
            raise damaged("an input's form", f"it is {values!r:.60}")
        text = values.get("text")
        found = read_record(_Form, {name: value for name, value in values.items() if name != "text"}, "an input's form")
        text_format = None if text is None else TextFormat.from_json(text)
        return cls(found.kind, found.columns, text_format, found.has_floats_of_bytes)


@dataclasses.dataclass(frozen=True)
class _Form:
    kind: Kind
    columns: tuple[str, ...] = ()
    has_floats_of_bytes: bool = False


@dataclasses.dataclass(frozen=True)
class Given:
    """One input of some rows.

    Attributes:
        form: How it is read.
        values: An array [rows, ...], padded sequences, or texts as numbers of words.
        clipped: How many rows of an array held numbers beyond 1e30.
        texts: The texts themselves, until it is known how they become words.
    """

    form: NamedInput
    values: np.ndarray | Padded | Tokenized
    clipped: int = 0
    texts: Sequence[Any] = ()

    def __len__(self) -> int:
        return len(self.values)

    def read_by(self, rules: int) -> Given:
        """The same with texts read by the reading rules of a study, see `PrepareOptions`."""
        is_text = isinstance(self.values, Tokenized) and rules != RULES_OF_NEW_STUDIES
        return dataclasses.replace(self, values=tokenized(self.texts, rules)) if is_text else self

    def note(self, name: str) -> str:
        """A sentence on numbers that are not taken as they are; empty where all are."""
        found = note_of_clipped(self.values.clipped if isinstance(self.values, Padded) else self.clipped)
        return found and f"input {name!r}: {found}"

    def arrays(self, name: str, steps: int = 0) -> dict[str, np.ndarray]:
        """The inputs of a tower; sequences are padded to a number of steps."""
        if isinstance(self.values, Padded):
            whole = self.values.with_steps(steps)
            return {name: whole.values, name + LENGTHS: whole.lengths}
        if isinstance(self.values, Tokenized):
            if self.form.text is None:
                raise DamagedRecordError(f"the format of the text {name!r} is missing in the study's database")
            return dict(zip((name, name + LENGTHS), self.form.text.inputs(self.values).values(), strict=True))
        return {name: self.values}

    def spec(self, name: str, rows: np.ndarray, rules: int = RULES_OF_NEW_STUDIES) -> InputSpec:
        """What a tower reads, normalised by these rows' mean and deviation; read by a tower of its own."""
        if isinstance(self.values, Tokenized):
            size, steps = (0, 1) if self.form.text is None else (self.form.text.size, self.form.text.steps)
            return InputSpec((steps,), "int32", name + LENGTHS, vocabulary=size, own_tower=True)
        if isinstance(self.values, Padded):
            return dataclasses.replace(self.values.take(rows).spec(rules=rules), lengths=name + LENGTHS, own_tower=True)
        own = self.values[rows].reshape(-1, self.values.shape[-1]).astype(np.float64)
        deviation = divisors(own.std(axis=0), np.abs(own).max(axis=0), rules)
        shape, dtype = self.values.shape[1:], str(self.values.dtype)
        mean = tuple(float(value) for value in own.mean(axis=0))
        return InputSpec(shape, dtype, mean=mean, deviation=tuple(map(float, deviation)), own_tower=True)


def are_named_inputs(x: Any) -> bool:
    """Whether it is a dict of inputs, not of the columns of one table: one has more than one number a row."""
    return isinstance(x, Mapping) and any(_is_wide(value) for value in x.values())


def _is_wide(value: Any) -> bool:
    if hasattr(value, "columns"):
        return True
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.ndim > 1
    return isinstance(value, list | tuple | np.ndarray) and len(value) > 0 and _shape(value[0]) != ()


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of a value; None of lists of different lengths."""
    try:
        return np.shape(value)
    except ValueError:
        return None


def read_inputs(x: Mapping[Any, Any], forms: Mapping[str, NamedInput] | None = None) -> dict[str, Given]:
    """The inputs of some rows.

    Args:
        x: By name: an array of numbers [rows], [rows, columns], [rows, steps, channels] or [rows, height, width,
            channels]; pictures of bytes may leave channels out; a list of arrays [steps, channels] of any length; a
            frame of numbers; a list of texts. "<name>_lengths" are the valid steps of the sequence "<name>".
        forms: How inputs are read; inferred where None.

    Raises:
        DataError: if two have one name, or different numbers of rows, or one cannot be read.
    """
    named: dict[str, Any] = {}
    for key, value in x.items():
        if str(key) in named or not str(key):
            raise DataError(f"there are two inputs named {str(key)!r}, or one without a name; give each its own name")
        named[str(key)] = value
    lengths = {name: named[name + LENGTHS] for name in named if name + LENGTHS in named}
    wanted = [name for name in named if name.removesuffix(LENGTHS) not in lengths or not name.endswith(LENGTHS)]
    if forms is not None:
        missing = [name for name in forms if name not in named]
        if missing:
            raise DataError(
                f"the inputs {', '.join(map(repr, missing))} are missing; the model reads {', '.join(forms)}"
            )
        wanted = list(forms)
    found = {}
    for name in wanted:
        form = None if forms is None else forms[name]
        found[name] = _given(named[name], lengths.get(name), form, f"input {name!r}")
    taken = [name + LENGTHS for name, one in found.items() if not isinstance(one.values, np.ndarray)]
    clash = [name for name in taken if name in found]
    if clash:
        raise DataError(f"{clash[0]!r} is the name of the lengths of another input; give the input another name")
    counts = {name: len(one) for name, one in found.items()}
    if len(set(counts.values())) > 1:
        raise DataError(f"the inputs have different numbers of rows: {counts}; expected one number")
    return found


def _given(value: Any, lengths: Any, form: NamedInput | None, what: str) -> Given:
    if (form is not None and form.kind is Kind.TEXT) or (form is None and _are_texts(value)):
        texts = _listed(value, what)
        if form is None or form.text is None:
            return Given(form or NamedInput(Kind.TEXT), tokenized(texts), texts=texts)
        return Given(form, tokenized(texts, form.text.reading_rules))
    if hasattr(value, "columns"):
        return _of_frame(value, form, what)
    shapes = {_shape(one) for one in value} if isinstance(value, list | tuple) else set()
    is_listed = len(shapes) > 1 or None in shapes
    if shapes and lengths is None and form is not None and form.kind is Kind.SEQUENCE:
        is_listed = True  # later rows may be one, or all have one length
    if lengths is not None or is_listed:
        given = Given(NamedInput(Kind.SEQUENCE), padded(value if is_listed else as_array(value, what), lengths))
    else:
        given = _of_array(as_array(value, what), what)
    if form is not None and given.form.kind is not form.kind:
        raise DataError(f"{what} is a {given.form.kind}; expected a {form.kind}, as in training")
    return given


def _of_frame(frame: Any, form: NamedInput | None, what: str) -> Given:
    if form is not None and form.kind is not Kind.VECTOR:
        raise DataError(f"{what} is a frame, which is a {Kind.VECTOR}; expected a {form.kind}, as in training")
    if not len(frame.columns):
        raise DataError(f"{what} is a frame without columns; expected columns of numbers")
    columns = tuple(map(str, frame.columns)) if form is None else form.columns
    if not columns:  # an array in training: its columns have a place alone
        columns = tuple(str(place) for place in range(1, len(frame.columns) + 1))
        frame = frame.set_axis(list(columns), axis="columns")
    found = frame.set_axis([str(name) for name in frame.columns], axis="columns")
    doubled = sorted(set(found.columns[found.columns.duplicated()]) & set(columns))
    if doubled:
        shown = ", ".join(map(repr, doubled))
        raise DataError(f"{what}: there are several columns named {shown}; give each its own name")
    missing = [name for name in columns if name not in found.columns]
    if missing:
        raise DataError(f"{what} lacks the columns {', '.join(map(repr, missing))}; expected {', '.join(columns)}")
    texts = [name for name in columns if found[name].dtype.kind not in "biuf"]
    if texts:
        raise DataError(
            f"column {texts[0]!r} of {what} is {found[texts[0]].dtype}; expected numbers: beside other inputs, give "
            "categories as columns of 0 and 1 (pandas.get_dummies), and texts as an input of their own"
        )
    return _of_numbers(form or NamedInput(Kind.VECTOR, columns), found[list(columns)].to_numpy(dtype=np.float64), what)


def _of_array(array: np.ndarray, what: str) -> Given:
    if array.dtype.kind not in "biuf" or 0 in array.shape[1:] or array.ndim > 4:
        raise DataError(
            f"{what} is {array.dtype} of shape {array.shape}; expected numbers [rows], [rows, columns], [rows, steps, "
            "channels] or [rows, height, width, channels], or a list of texts"
        )
    if array.dtype == np.uint8 and array.ndim >= 3:
        return Given(NamedInput(Kind.MAP), array[..., None] if array.ndim == 3 else array)
    if array.ndim == 3:
        return Given(NamedInput(Kind.SEQUENCE), padded(array))
    kind = Kind.MAP if array.ndim == 4 else Kind.VECTOR
    return _of_numbers(NamedInput(kind), array[:, None] if array.ndim == 1 else array, what)


def _of_numbers(form: NamedInput, array: np.ndarray, what: str) -> Given:
    with np.errstate(over="ignore"):
        floats = array.astype(np.float32)
    bad = ~np.isfinite(floats).all(axis=tuple(range(1, floats.ndim)))
    if bad.any():
        raise DataError(
            f"{what} holds missing or infinite numbers in {int(bad.sum())} rows (the first is row "
            f"{np.flatnonzero(bad)[0] + 1}); fill them in, or leave these rows out"
        )
    clipped = clip(floats)
    return Given(form, floats, clipped)


def _are_texts(value: Any) -> bool:
    """Whether the first value that is not missing is a text."""
    shape = _shape(value[:1] if hasattr(value, "__getitem__") else value)
    if hasattr(value, "columns") or shape is None or len(shape) != 1:
        return False
    first = next((one for one in value if not is_missing(one)), None)
    return isinstance(first, str | bytes)


def _listed(value: Any, what: str) -> Sequence[Any]:
    if isinstance(value, str | bytes) or not hasattr(value, "__len__"):
        raise DataError(f"{what} is {type(value).__name__}; expected a list of texts")
    return list(value)
