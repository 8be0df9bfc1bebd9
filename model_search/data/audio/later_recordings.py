"""Recordings to predict or to evaluate on after the search."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_search.data.audio.log_mel import LogMel
from model_search.data.audio.recordings import RECORDINGS, features_of, note_of_cut_off
from model_search.data.files.labelled_files import (
    NO_COLUMNS,
    FileColumns,
    files_by_class,
    files_of_csv,
    named,
    none_skipped,
    paths_of,
)
from model_search.data.rows import is_empty
from model_search.data.sequences.padded import no_sequences, padded
from model_search.data.sequences.sequence_files import LabelledSequences
from model_search.data.tabular.chosen_rows import Labels
from model_search.data.tabular.preprocess import Note
from model_search.errors import DataError


def recording_paths(
    source: Any, columns: FileColumns = NO_COLUMNS, note: Note | None = None
) -> list[pathlib.Path] | None:
    """The recordings that a source names, see `paths_of`; None where it holds samples itself."""
    return paths_of(source, RECORDINGS, columns, note)


def recordings_of(source: Any, description: Mapping[str, Any], note: Note | None = None) -> LabelledSequences:
    """The features of recordings, without labels.

    Args:
        source: As for `recording_paths`; or waveforms: a list of arrays [samples] from -1 to 1, at the study's rate.
        description: The study's description of its data.
        note: Called with a sentence if links to folders are left out, or recordings end before their header says.

    Raises:
        DataError: if a recording cannot be read; the message names it.
    """
    wanted = LogMel.from_json(description["audio"])
    paths = recording_paths(source, FileColumns.from_json(description.get("reading")), note)
    if paths is not None:
        return LabelledSequences(padded(_read(paths, wanted, note)), None)
    if is_empty(source):
        return LabelledSequences(no_sequences(description["sequences"]["channels"]), None)
    if not isinstance(source, Sequence | np.ndarray) or not len(source):
        raise DataError(f"received {type(source).__name__}; expected a folder, a list of files, or a list of waveforms")
    return LabelledSequences(padded([wanted.features(_samples(one, row)) for row, one in enumerate(source, 1)]), None)


def labelled_recordings(source: Any, description: Mapping[str, Any], note: Note | None = None) -> LabelledSequences:
    """The features of recordings with labels.

    Args:
        source: A folder of folders of classes, a CSV file of paths and labels, or a pair (x, y) or (x, y, weights).
        description: The study's description of its data.
        note: Called with a sentence if links to folders are left out, or recordings end before their header says.

    Raises:
        DataError: as `recordings_of`, or if there are no labels.
    """
    if isinstance(source, tuple):
        return recordings_of(source[0], description, note).with_labels(Labels.of(*source[1:]))
    if not isinstance(source, str | os.PathLike):
        raise DataError(
            f"received {type(source).__name__}; expected a folder of folders of classes, a CSV file of paths and "
            "labels, or a pair (recordings, labels)"
        )
    path, columns = pathlib.Path(source).expanduser(), FileColumns.from_json(description.get("reading"))
    files = files_by_class(path, RECORDINGS) if path.is_dir() else files_of_csv(path, RECORDINGS, columns)
    labels = none_skipped(files, RECORDINGS, note).as_labels
    if labels is None:
        raise DataError(f"{path} has no column of labels; expected one to evaluate on")
    features = _read(files.paths, LogMel.from_json(description["audio"]), note)
    return LabelledSequences(padded(features), None).with_labels(labels)


def _read(paths: Sequence[pathlib.Path], wanted: LogMel, note: Note | None) -> list[np.ndarray]:
    found, damaged = features_of(paths, wanted)
    if damaged:
        shown = named([(paths[row], reason) for row, reason in damaged])
        raise DataError(f"{len(damaged)} of {len(paths)} recordings cannot be read: {shown}; leave them out")
    if note is not None:
        for sentence in note_of_cut_off(paths):
            note(sentence)
    return found


def _samples(one: Any, row: int) -> np.ndarray:
    samples = np.asarray(one)
    if samples.ndim != 1 or not samples.size or samples.dtype.kind not in "iuf":
        raise DataError(f"waveform {row} is {samples.dtype} of shape {samples.shape}; expected numbers [samples]")
    if samples.dtype.kind in "iu" or np.abs(samples).max() > 16:
        raise DataError(
            f"waveform {row} is {samples.dtype} from {samples.min()} to {samples.max()}; expected floats from -1 to 1: "
            "divide whole numbers of 16 bits by 32768"
        )
    return samples.astype(np.float32)
