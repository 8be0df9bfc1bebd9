"""Sound: WAV files in folders of classes or in a CSV file of paths and labels, as log-mel features."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from model_search.data.array_data import parse_kinds
from model_search.data.audio.log_mel import LogMel
from model_search.data.audio.recordings import (
    RECORDINGS,
    DamagedRecordingError,
    features_of,
    note_of_cut_off,
    read_wav,
    steps_by_header,
)
from model_search.data.audio.stored_features import StoredFeatures, features_on_disk
from model_search.data.audio.streamed_recordings import streamed
from model_search.data.files.disk_cache import GIB, DiskCache
from model_search.data.files.labelled_files import (
    FileColumns,
    LabelledFiles,
    files_in,
    files_of_csv,
    find_in_folders,
    named,
)
from model_search.data.prepare_options import PrepareOptions
from model_search.data.prepared_data import PreparedData
from model_search.data.provider import Provider as BaseProvider
from model_search.data.rows import LABEL
from model_search.data.sequences.padded import LONG, USUAL_SHARE, padded
from model_search.data.sequences.prepare import WHAT, prepare_sequences
from model_search.data.sequences.sequence_files import LabelledSequences
from model_search.data.tabular.chosen_rows import Labels, infer
from model_search.data.tabular.csv_file import Encoding
from model_search.data.task import TaskKind
from model_search.errors import DataError

AUTO_DB = "auto"
GROUPS_DB = 40.0  # below the loudest moment, of recordings with groups
_RATES_READ = 200  # files whose rates decide that of a study


class Provider(BaseProvider):
    """Recordings and their labels.

    Args:
        input_dir: A folder with a folder of WAV files for each class; or with folders "train" and, where there are
            validation recordings, "valid", each of which holds folders of classes (a "test" folder is left alone).
        filename: A CSV file of paths and labels instead of a folder; relative paths start at its folder.
        validation_filename: A CSV file of paths and labels to validate on.
        path_column: The CSV file's column of paths; the first where None.
        label: The CSV file's column of labels; the second where None. Of several tasks a list of columns.
        weight: The CSV file's column of weights, numbers from 0 on; None where all recordings weigh the same.
        groups: The CSV file's column of groups (of a speaker, say): recordings of one group are all trained on, or
            all validated on. None where recordings are independent.
        label_pattern: A regular expression whose first group, found in a file's name, is the label; `input_dir` then
            needs no folders of classes. For example "([0-9])_".
        group_pattern: The same for the group of a recording, beside `label_pattern`. For example "_([a-z]+)_".
        rate: Samples a second; recordings of other rates are resampled. The most frequent one where None.
        bands: Mel bands.
        max_seconds: What a longer recording has after so many seconds is not read; all of it where None. All
            cost as much time as the longest one.
        centred: Whether each band's mean over a recording is subtracted, so that loudness, microphone and voice matter
            less; a sound that never changes is lost by it. Where None: with groups.
        top_db: Values that are more decibels below the loudest one of a recording are raised to that, so that the noise
            of the room and the microphone matters less. "auto" is 40 with groups, and none without; None for none.
        cache: When features are kept on disk instead of in memory, and where; see `DiskCache`.
        task: "classification" or "regression"; inferred from the labels where None. Of several tasks a dict by name.
        encoding: Of the text of CSV files.

    Raises:
        DataError: if the arguments do not fit.
    """

    def __init__(
        self,
        input_dir: str | os.PathLike[str] | None = None,
        *,
        filename: str | os.PathLike[str] | None = None,
        validation_filename: str | os.PathLike[str] | None = None,
        path_column: str | None = None,
        label: str | Sequence[str] | None = None,
        weight: str | None = None,
        groups: str | None = None,
        label_pattern: str | None = None,
        group_pattern: str | None = None,
        rate: int | None = None,
        bands: int = 40,
        max_seconds: float | None = None,
        centred: bool | None = None,
        top_db: float | str | None = AUTO_DB,
        cache: DiskCache | None = None,
        task: str | TaskKind | Mapping[str, str | TaskKind | None] | None = None,
        encoding: str = "utf-8",
    ):
        if (input_dir is None) == (filename is None):
            raise DataError("expected input_dir (folders of classes) or filename (a CSV file of paths and labels)")
        if label_pattern is not None and input_dir is None:
            raise DataError("label_pattern reads the names of files in input_dir; a CSV file has its own labels")
        if validation_filename is not None and filename is None:
            raise DataError("validation_filename belongs to filename; with input_dir use folders train and valid")
        self._input_dir, self._filename, self._validation = input_dir, filename, validation_filename
        if (weight or groups) and filename is None:
            raise DataError("weight and groups name columns of a CSV file; give it as filename")
        if group_pattern is not None and label_pattern is None:
            raise DataError("group_pattern belongs to label_pattern; of a CSV file name the column: groups=")
        read_as = Encoding.given(encoding, filename is not None)
        self._columns = dataclasses.replace(FileColumns.of(path_column, label, weight), groups=groups, encoding=read_as)
        self._pattern = None if label_pattern is None else _compiled("label_pattern", label_pattern)
        self._group_pattern = None if group_pattern is None else _compiled("group_pattern", group_pattern)
        if max_seconds is not None and not 0 < max_seconds < math.inf:
            raise DataError(f"max_seconds is {max_seconds}; expected a number above 0")
        self._rate, self._bands, self._max_seconds, self._centred = rate, bands, max_seconds, centred
        is_number = isinstance(top_db, int | float) and not isinstance(top_db, bool) and 0 < top_db < math.inf
        if top_db is not None and top_db != AUTO_DB and not is_number:
            raise DataError(f"top_db is {top_db!r}; expected decibels above 0, {AUTO_DB!r} or None")
        self._top_db = top_db
        self._task, self._cache = parse_kinds(task), cache or DiskCache()

    def number_of_classes(self) -> int:
        """The number of classes; 1 for regression."""
        train = self._files(self._columns)[0]
        return infer([(len(train.paths), _labels_of(train))], WHAT, self._task).logits_dimension

    def prepare(self, options: PrepareOptions) -> PreparedData:
        """Reads the recordings, computes their features and splits them."""
        if options.label_per_step:
            raise DataError(
                "a recording has one label; expected the problem type RNN_LAST_ACTIVATIONS (a label for each step is "
                "learnt from sequence_data)"
            )
        weight = self._columns.weight or options.weights or None
        columns = dataclasses.replace(self._columns, weight=weight if self._filename is not None else None)
        train, valid, notes = self._files(columns)
        wanted = LogMel.usual(self._chosen_rate(train, notes), self._bands)
        if self._max_seconds is not None:
            samples = max(wanted.frame, round(self._max_seconds * wanted.rate))
            wanted = dataclasses.replace(wanted, most_steps=wanted.steps(samples))
        wanted = dataclasses.replace(
            wanted,
            centred=self._is_centred(train.groups is not None, notes),
            top_db=self._chosen_range(train.groups is not None, notes),
        )
        given = [files for files in (train, valid) if files is not None]
        notes += note_of_cut_off([path for files in given for path in files.paths])
        about = {"audio": wanted.to_json(), "reading": {"source": "audio", **columns.to_json()}}
        functions = (self.get_loss_fn(), self.get_metric_fn())
        expected = [[steps_by_header(path, wanted) for path in files.paths] for files in given]
        longest = max(max(steps) for steps in expected)
        if 4 * wanted.bands * longest * sum(map(len, expected)) > self._cache.memory_bytes:
            stored = [
                _stored(files, wanted, sum(steps), self._cache, notes)
                for files, steps in zip(given, expected, strict=True)
            ]
            notes += _note_of_lengths(np.concatenate([features.lengths for features, _ in stored]), wanted)
            return streamed(stored, self._task, options, {**about, "notes": notes}, self._cache, functions)
        parts = [_read(files, wanted, notes) for files in given]
        notes += _note_of_lengths(np.concatenate([part.sequences.lengths for part in parts]), wanted)
        return prepare_sequences(parts, self._task, options, {**about, "notes": notes}, functions)

    def _files(self, columns: FileColumns) -> tuple[LabelledFiles, LabelledFiles | None, list[str]]:
        """The files to train on, those to validate on where they are given, and notes."""
        if self._filename is not None:
            given = [name for name in (self._filename, self._validation) if name is not None]
            train, *others = [files_of_csv(name, RECORDINGS, columns, needed=self._columns.named) for name in given]
            return train, others[0] if others else None, []
        if self._pattern is not None:
            return self._by_name(self._pattern), None, []
        found = find_in_folders(self._input_dir or "", RECORDINGS)
        notes = [] if found.test is None else [f"the recordings in {found.test} are left alone, for `evaluate`"]
        return found.train, found.valid, notes

    def _is_centred(self, has_groups: bool, notes: list[str]) -> bool:
        if self._centred is None and has_groups:
            notes.append(
                "each band's mean over a recording is subtracted, since groups are given: what is learnt is to hold "
                "for other voices, microphones or places; centred=False leaves it, which sounds that never change need"
            )
        return has_groups if self._centred is None else self._centred

    def _chosen_range(self, has_groups: bool, notes: list[str]) -> float | None:
        if not isinstance(self._top_db, str):
            return None if self._top_db is None else float(self._top_db)
        if has_groups:
            notes.append(
                f"what is more than {GROUPS_DB:g} dB softer than the loudest moment of a recording counts as that soft "
                "where groups are given: rooms and microphones differ by their noise; top_db=None leaves it"
            )
        return GROUPS_DB if has_groups else None

    def _by_name(self, pattern: re.Pattern[str]) -> LabelledFiles:
        files = files_in(self._input_dir or "", RECORDINGS)
        patterns = [pattern, *([] if self._group_pattern is None else [self._group_pattern])]
        paths, skipped, texts = [], list(files.skipped), []
        for path in files.paths:
            found = [(one, one.search(path.name)) for one in patterns]
            missing = next((one for one, match in found if match is None), None)
            if missing is not None:
                skipped.append((path, f"its name has no {missing.pattern}"))
                continue
            texts.append([match[1] for _, match in found if match is not None])
            paths.append(path)
        if not paths:
            raise DataError(
                f"no name of the {len(files.paths)} files has {' and '.join(repr(one.pattern) for one in patterns)}, "
                f"such as {files.paths[0]}"
            )
        labels, *groups = zip(*texts, strict=True)
        return LabelledFiles(tuple(paths), labels, tuple(skipped), groups=groups[0] if groups else None)

    def _chosen_rate(self, files: LabelledFiles, notes: list[str]) -> int:
        rates: Counter[int] = Counter()
        step = max(1, len(files.paths) // _RATES_READ)
        for path in files.paths[::step]:
            try:
                rates[read_wav(path).rate] += 1
            except DamagedRecordingError:
                continue
        if not rates:
            raise DataError(f"none of the {len(files.paths)} files is a recording, such as {files.paths[0]}")
        chosen = self._rate or rates.most_common(1)[0][0]
        if set(rates) != {chosen}:
            notes.append(f"recordings of {', '.join(map(str, sorted(rates)))} Hz are resampled to {chosen} Hz")
        return chosen


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise DataError(f"{name} is {pattern!r}, which is no regular expression: {error}") from None
    if found.groups < 1:
        raise DataError(f"{name} is {pattern!r}; expected a group that is the label, such as '([0-9])_'")
    return found


def _read(files: LabelledFiles, wanted: LogMel, notes: list[str]) -> LabelledSequences:
    """The recordings that can be read; the others are named in a note."""
    features, damaged = features_of(files.paths, wanted)
    keep = _readable(files, damaged, notes)
    sequences = LabelledSequences(padded([features[row] for row in keep]), None)
    return sequences.with_labels(_labels_of(files).take(keep))


def _stored(
    files: LabelledFiles, wanted: LogMel, steps: int, cache: DiskCache, notes: list[str]
) -> tuple[StoredFeatures, Labels]:
    """The recordings that can be read, on disk, and their labels; the others are named in a note."""
    found = features_on_disk(files.paths, wanted, steps, cache)
    keep = _readable(files, found.damaged, notes)
    size = found.file.stat().st_size / GIB
    notes.append(f"features of recordings are in {found.file} ({size:.2g} GiB), which may be deleted later")
    labels = _labels_of(files).take(keep)
    return found, dataclasses.replace(labels, weight_name=Labels.weight_name)  # as `LabelledSequences` calls them


def _readable(files: LabelledFiles, damaged: Sequence[tuple[int, str]], notes: list[str]) -> np.ndarray:
    """The numbers of the files that can be read; the others are named in a note."""
    lost = [*files.skipped, *((files.paths[row], reason) for row, reason in damaged)]
    if lost:
        notes.append(f"{len(lost)} of {len(files.paths) + len(files.skipped)} files are left out: {named(lost)}")
    notes += [files.unread] if files.unread else []
    bad = {row for row, _ in damaged}
    keep = [row for row in range(len(files.paths)) if row not in bad]
    if not keep:
        raise DataError(f"none of the {len(files.paths)} files can be read: {named(lost)}")
    return np.array(keep)


def _note_of_lengths(lengths: np.ndarray, wanted: LogMel) -> list[str]:
    """How many recordings are not read to their ends, or what the longest ones cost."""
    longest = int(lengths.max())
    if wanted.most_steps is not None:
        count = int((lengths >= wanted.most_steps).sum())
        seconds = wanted.seconds(wanted.most_steps)
        return (
            [f"{count} of {len(lengths)} recordings last {seconds:.2g} s or longer; no more is read"] if count else []
        )
    usual = int(np.quantile(lengths, USUAL_SHARE))
    if longest <= LONG * usual:
        return []
    return [
        f"the longest recording lasts {wanted.seconds(longest):.2g} s, {USUAL_SHARE:.0%} of all at most "
        f"{wanted.seconds(usual):.2g} s, and each costs as much time as the longest: with "
        f"max_seconds={wanted.seconds(usual):.2g} a search is {longest / usual:.1f} times faster"
    ]


def _labels_of(files: LabelledFiles) -> Labels:
    found = files.as_labels
    if found is None:
        raise DataError("the recordings have no labels; expected a column of labels, or folders of classes")
    return found if found.others else dataclasses.replace(found, name=LABEL)
