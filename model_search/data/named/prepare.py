"""From named inputs to `TableData`, and the inputs of later rows."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from model_search.data.checked_json import need
from model_search.data.named.named_inputs import Given, Kind, NamedInput, read_inputs
from model_search.data.prepare_options import PrepareOptions
from model_search.data.prepared_data import TableData
from model_search.data.rows import Rows, as_pandas, is_empty
from model_search.data.sequences.padded import Padded
from model_search.data.tabular.chosen_rows import (
    Choice,
    ChosenRows,
    Kinds,
    Labels,
    choose_rows,
    evaluated_rows,
)
from model_search.data.text.tokens import TOKENS, TextFormat, Tokenized, usual_steps
from model_search.errors import DataError

WHAT = "rows"
MOST_WORDS = 10_000  # of the vocabulary of an input of text
_BEYOND = 32  # how far resized pictures may lie beyond the scale of their bytes
Note = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class NamedRows:
    """Rows with inputs by name.

    Attributes:
        inputs: The inputs, of equal numbers of rows.
        labels: Their labels.
        notes: What people should know of them.
    """

    inputs: Mapping[str, Given]
    labels: Labels
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, x: Any, labels: Labels, forms: Mapping[str, NamedInput] | None = None) -> NamedRows:
        """Reads a dict of inputs.

        Raises:
            DataError: if it is none, or as `read_inputs`, or the labels have the index of the rows in another order.
        """
        if not isinstance(x, Mapping) or not x:
            shown = "an empty dict" if isinstance(x, Mapping) else type(x).__name__
            wanted = f": {', '.join(forms)}" if forms else ""
            raise DataError(f"received {shown}; expected a dict of inputs by name{wanted}")
        given = {name: as_pandas(value, f"columns of input {str(name)!r}") for name, value in x.items()}
        return cls(read_inputs(given, forms), labels, labels.index_notes(x))

    def with_weights(self, name: str) -> NamedRows:
        """The same with the input of this name, if there is one of single numbers, as their weights."""
        found = self.inputs.get(name)
        if self.labels.weights is not None or found is None or found.form.kind is not Kind.VECTOR:
            return self
        others = {other: one for other, one in self.inputs.items() if other != name}
        labels = dataclasses.replace(self.labels, weights=found.values, weight_name=name)
        return dataclasses.replace(self, inputs=others, labels=labels)

    @property
    def labelled(self) -> tuple[int, Labels]:
        """How many rows there are, and their labels."""
        return len(next(iter(self.inputs.values()))), self.labels


def prepare_named(parts: Sequence[NamedRows], kind: Kinds, options: PrepareOptions) -> TableData:
    """Infers the task, splits the rows, and fits what inputs need on those to train on.

    Args:
        parts: The rows to train on; then, where they are given, those to validate on.
        kind: The provider's choice of a task.
        options: How to prepare data.

    Raises:
        DataError: if the rows cannot be learnt from.
    """
    if options.label_per_step:
        raise DataError("rows of several inputs have one label each; RNN_ALL_ACTIVATIONS expects one for each step")
    texts = [name for name, one in parts[0].inputs.items() if one.form.kind is Kind.TEXT]
    if texts and options.embedding is None:
        raise DataError(
            f"input {texts[0]!r} is text, which is read by towers that begin with an embedding: expected a "
            'specification of RNN_LAST_ACTIVATIONS whose blocks_to_use name "EMBEDDING", such as constants.DEFAULT_TEXT'
        )
    choice = choose_rows([part.labelled for part in parts], WHAT, kind, options)
    notes = [*(note for part in parts for note in part.notes), *choice.notes]
    rules = options.reading_rules
    read = [{name: one.read_by(rules) for name, one in part.inputs.items()} for part in parts]
    forms = {name: _fitted(one, choice.train.numbers, rules) for name, one in read[0].items()}
    inputs = [{name: dataclasses.replace(part[name], form=forms[name]) for name in forms} for part in read]
    dtypes = {name: str(one.values.dtype) for name, one in inputs[0].items() if isinstance(one.values, np.ndarray)}
    inputs = [
        {name: _in_scale(one, name, dtypes.get(name, ""), forms[name]) for name, one in part.items()} for part in inputs
    ]
    steps = {name: max(_steps(part[name]) for part in inputs) for name in forms}
    arrays = [_arrays(part, steps) for part in inputs]
    specs = {}
    for name, one in inputs[0].items():
        own = one.spec(name, choice.train.numbers, rules)
        shape = arrays[0][name].shape[1:]
        if any(part[name].shape[1:] != shape for part in arrays):
            shown = [part[name].shape[1:] for part in arrays]
            raise DataError(f"input {name!r} has the shapes {shown} a row in training and validation; expected one")
        specs[name] = dataclasses.replace(own, shape=tuple(shape))
        cut = _cut(one, name)
        notes += [cut] if cut else []
    description = {
        **choice.described,
        "reading_rules": options.reading_rules,
        "named": {name: form.to_json() for name, form in forms.items()},
        "columns": list(arrays[0]),
        "reading": {"source": "named inputs"},
        "notes": notes,
    }
    return TableData(
        task=choice.task,
        train=choice.train.rows(arrays[choice.train.part], choice.tasks),
        valid=choice.valid.rows(arrays[choice.valid.part], choice.tasks),
        fingerprint=_fingerprint(inputs, choice),
        description=description,
        lengths={name: spec.lengths for name, spec in specs.items() if spec.lengths is not None},
        own_specs=specs,
        other_tasks=choice.others,
    )


def later_inputs(source: Any, description: Mapping[str, Any], note: Note | None = None) -> dict[str, np.ndarray]:
    """The inputs of later rows, as a tower reads them.

    Args:
        source: A dict of inputs by name, as in training.
        description: The study's description of its data.
        note: Called with a sentence if texts are cut, or numbers clipped.

    Raises:
        DataError: if an input is missing, or of another form, shape or scale than in training.
    """
    forms = _forms(description)
    stored = need(description.get("inputs"), Mapping, "the inputs")
    shapes = {name: tuple(stored[name]["shape"]) for name in forms}
    if isinstance(source, Mapping):  # what a row would be, an empty list does not say
        none = {name: np.empty((0, *shapes[name]), stored[name]["dtype"]) for name in forms if forms[name].text is None}
        source = {key: none.get(str(key), value) if is_empty(value) else value for key, value in source.items()}
    found = NamedRows.of(source, Labels(()), forms).inputs
    found = {name: _in_scale(one, name, stored[name]["dtype"], forms[name]) for name, one in found.items()}
    arrays = _arrays(found, {name: shape[0] for name, shape in shapes.items()})
    for name, one in found.items():
        shape, expected = arrays[name].shape[1:], shapes[name]
        if isinstance(one.values, Padded):
            shape, expected = shape[1:], expected[1:]
        if tuple(shape) != expected:
            raise DataError(f"input {name!r} has the shape {tuple(shape)} a row; expected {expected}, as in training")
        cut = _cut(one, name)
        if cut and note is not None:
            note(cut)
    return arrays


def later_labelled(source: Any, description: Mapping[str, Any], note: Note | None = None) -> Rows:
    """Later rows with labels.

    Args:
        source: (inputs by name, labels) or (inputs by name, labels, weights).
        description: The study's description of its data.
        note: As for `later_inputs`; called for labels, too.

    Raises:
        DataError: as `later_inputs`, or if there are no labels, or their index has another order.
    """
    if not isinstance(source, tuple):
        raise DataError(f"received {type(source).__name__}; expected a pair (inputs by name, labels)")
    inputs, labels = later_inputs(source[0], description, note), Labels.of(*source[1:])
    for sentence in labels.index_notes(source[0]):
        if note is not None:
            note(sentence)
    return evaluated_rows(inputs, labels, WHAT, description, note)


def text_formats(description: Mapping[str, Any]) -> dict[str, TextFormat]:
    """The formats of the texts that a study reads, by the input that holds their ids."""
    if "text" in description:
        return {TOKENS: TextFormat.from_json(description["text"])}
    forms = _forms(description) if "named" in description else {}
    return {name: form.text for name, form in forms.items() if form.text is not None}


def _forms(description: Mapping[str, Any]) -> dict[str, NamedInput]:
    stored = need(description.get("named"), Mapping, "the forms of the inputs")
    return {str(name): NamedInput.from_json(values) for name, values in stored.items()}


def _fitted(one: Given, rows: np.ndarray, rules: int) -> NamedInput:
    """The form with the format of texts, and the scale of pictures."""
    if isinstance(one.values, np.ndarray):
        is_float = one.form.kind is Kind.MAP and one.values.dtype.kind == "f" and one.values.size > 0
        of_bytes = is_float and bool(one.values.min() >= -_BEYOND and 128 < one.values.max() <= 255 + _BEYOND)
        return dataclasses.replace(one.form, has_floats_of_bytes=of_bytes)
    if not isinstance(one.values, Tokenized):
        return one.form
    steps = usual_steps(one.values, rows)
    return dataclasses.replace(one.form, text=TextFormat.fitted(one.values, rows, steps, MOST_WORDS, rules))


def _in_scale(one: Given, name: str, dtype: str, training: NamedInput) -> Given:
    """Pictures of the type that those in training have, which tells their scale; other inputs as they are.

    Args:
        one: The input.
        name: Its name.
        dtype: The type in training.
        training: How those in training are read, which tells the scale of floats.

    Raises:
        DataError: if they are bytes and those in training are floats of another scale, or they are no numbers from 0 to
            255 and those in training are bytes.
    """
    values = one.values
    if one.form.kind is not Kind.MAP or not isinstance(values, np.ndarray) or str(values.dtype) == dtype:
        return one
    if values.dtype == np.uint8 and training.has_floats_of_bytes:
        return dataclasses.replace(one, values=values.astype(dtype))
    if values.dtype == np.uint8:
        raise DataError(
            f"input {name!r} holds pictures of type uint8; expected {dtype}, as in training: if those were from 0 to "
            f"1, give x / 255.0; if they were from 0 to 255, give x.astype({dtype!r})"
        )
    is_of_bytes = bool(((values >= 0) & (values <= 255)).all()) and (
        values.max(initial=0) > 1 or bool((values == np.rint(values)).all())
    )
    if values.size and not is_of_bytes:
        raise DataError(
            f"input {name!r} holds pictures of numbers from {values.min():g} to {values.max():g}; expected "
            "numbers from 0 to 255, as in training: multiply pictures from 0 to 1 by 255"
        )
    return dataclasses.replace(one, values=np.rint(values).astype(np.uint8))


def _steps(one: Given) -> int:
    return one.values.values.shape[1] if isinstance(one.values, Padded) else 0


def _arrays(inputs: Mapping[str, Given], steps: Mapping[str, int]) -> dict[str, np.ndarray]:
    return {key: values for name, one in inputs.items() for key, values in one.arrays(name, steps[name]).items()}


def _cut(one: Given, name: str) -> str:
    """A sentence on texts that are cut, or numbers that are clipped; empty where none is."""
    if not isinstance(one.values, Tokenized) or one.form.text is None:
        return one.note(name)
    longer = int((one.values.counts > one.form.text.steps).sum())
    kept = one.form.text.steps
    return f"input {name!r}: {longer} texts have more than {kept} words; what follows is cut off" if longer else ""


def _fingerprint(inputs: Sequence[Mapping[str, Given]], choice: Choice) -> str:
    digest = hashlib.sha256(repr((choice.task.kind.value, choice.task.label, choice.task.classes)).encode())
    for part in (choice.train, choice.valid):
        _digest(digest, inputs[part.part], part)
    return digest.hexdigest()


def _digest(digest: Any, inputs: Mapping[str, Given], part: ChosenRows) -> None:
    for name, one in sorted(inputs.items()):
        digest.update(repr((name, one.form.kind.value)).encode())
        if isinstance(one.values, Tokenized):
            for row in part.numbers:
                digest.update("\0".join(one.values.words[code] for code in one.values.codes[row]).encode() + b"\0\0")
            continue
        for key, values in one.arrays(name).items():
            digest.update(repr((key, values.shape[1:], str(values.dtype))).encode())
            digest.update(np.ascontiguousarray(values[part.numbers]).data)
    digest.update(part.digested)
