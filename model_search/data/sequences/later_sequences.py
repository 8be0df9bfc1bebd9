"""Sequences to predict or to evaluate on after the search."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from model_search.data.prepare_options import reading_rules_of
from model_search.data.rows import is_empty, note_of_clipped
from model_search.data.sequences.padded import LENGTHS, SEQUENCE, Padded, no_sequences, padded, unmarked_padding
from model_search.data.sequences.sequence_files import LabelledSequences, LongColumns, read_file
from model_search.data.tabular.chosen_rows import Labels
from model_search.data.tabular.csv_file import Encoding
from model_search.data.tabular.preprocess import Note
from model_search.errors import DataError


def sequences_of(source: Any, description: Mapping[str, Any], note: Note | None = None) -> dict[str, np.ndarray]:
    """The inputs of a tower.

    Args:
        source: What the provider takes: a list of arrays, one padded array, a dict {"sequence": array, "lengths":
            numbers}, or a file.
        description: The study's description of its data.
        note: Called with a sentence where rows seem to be padded and have no lengths, or hold numbers beyond 1e30.

    Raises:
        DataError: if they cannot be read, or have another number of channels than those in training (in a CSV file, or
            channels of other names).
    """
    return dict(fitted(_read(source, description, note), description).sequences.inputs)


def labelled_sequences(source: Any, description: Mapping[str, Any], note: Note | None = None) -> LabelledSequences:
    """Sequences with labels to evaluate on.

    Args:
        source: A file with labels, or (x, y), x being what `sequences_of` takes, or (x, y, lengths) for a padded array,
            or (x, y, lengths, weights).
        description: The study's description of its data.
        note: As for `sequences_of`.

    Raises:
        DataError: as `sequences_of`, or if there are no labels.
    """
    if isinstance(source, tuple):
        x, lengths = source[0], source[2] if len(source) > 2 else None
        if lengths is not None and isinstance(x, Mapping | str | os.PathLike):
            raise DataError("received lengths beside a dict or a file, which holds its own; leave them out")
        parts = _read(x, description, note) if lengths is None else _noted(padded(x, lengths), note)
        labels = Labels.of(source[1], source[3] if len(source) > 3 else None)
        return fitted(parts.with_labels(labels), description)
    if not isinstance(source, str | os.PathLike):
        raise DataError(f"received {type(source).__name__}; expected a file with labels, or a pair (sequences, labels)")
    found = fitted(_read(source, description, note), description)
    if found.labels is None:
        raise DataError(f"{os.fspath(source)} has no labels; expected some to evaluate on")
    return found


def _read(source: Any, description: Mapping[str, Any], note: Note | None) -> LabelledSequences:
    about = description["sequences"]
    if isinstance(source, str | os.PathLike):
        found = in_file(source, description)
        if note is not None:
            for sentence in found.notes:
                note(sentence)
        _noted(found.sequences, note)
        return found
    if isinstance(source, Mapping):
        if SEQUENCE not in source or set(source) - {SEQUENCE, LENGTHS}:
            raise DataError(f"received a dict of {sorted(map(str, source))}; expected 'sequence' and 'lengths'")
        if source.get(LENGTHS) is None:
            _refuse_one(source[SEQUENCE], about)
        if is_empty(source[SEQUENCE]):
            return _read(source[SEQUENCE], description, note)
        _note_padding(note, source[SEQUENCE], source.get(LENGTHS))
        return _noted(padded(source[SEQUENCE], source.get(LENGTHS)), note)
    if is_empty(source):
        return LabelledSequences(no_sequences(about["channels"]), None)
    _refuse_one(source, about)
    _note_padding(note, source)
    return _noted(padded(source), note)


def in_file(path: str | os.PathLike[str], description: Mapping[str, Any]) -> LabelledSequences:
    """The sequences of a file, read as the study reads files; with labels and ids where it has such.

    Args:
        path: The file.
        description: The study's description of its data.

    Raises:
        DataError: as `sequence_files.read_file`.
    """
    about, encoding = description["sequences"], Encoding.stored(description.get("reading"))
    names, per_step = LongColumns.from_json(about["columns"]), bool(description.get("label_per_step", False))
    return read_file(path, names, per_step, encoding, about.get("names", ()), reading_rules_of(description))


def _noted(sequences: Padded, note: Note | None) -> LabelledSequences:
    """Sequences without labels; notes what of them is not taken as it is."""
    sentence = note_of_clipped(sequences.clipped, "sequences")
    if sentence and note is not None:
        note(sentence)
    return LabelledSequences(sequences, None)


def _refuse_one(x: Any, about: Mapping[str, Any]) -> None:
    """Refuses one sequence [steps, 1] instead of several: each of its steps would be read as a sequence."""
    if isinstance(x, np.ndarray) and x.ndim == 2 and x.shape[1] == 1 and about["steps"] > 1:
        raise DataError(
            f"received {x.shape}, which is one sequence of {len(x)} steps, or {len(x)} sequences of one step; this "
            f"study's sequences have up to {about['steps']} steps: give [sequence] (or, for sequences of one step, "
            "sequences[..., None])"
        )


def _note_padding(note: Note | None, x: Any, lengths: Any = None) -> None:
    sentence = unmarked_padding(x, lengths)
    if sentence is not None and note is not None:
        note(sentence)


def fitted(found: LabelledSequences, description: Mapping[str, Any]) -> LabelledSequences:
    """The sequences, padded to as many steps as in training; longer ones stay longer.

    Raises:
        DataError: if they have another number of channels.
    """
    steps, channels = description["sequences"]["steps"], description["sequences"]["channels"]
    width = found.sequences.values.shape[2]
    if width != channels:
        raise DataError(f"received sequences of {width} channels; expected {channels}, as in training")
    return dataclasses.replace(found, sequences=found.sequences.with_steps(steps))
