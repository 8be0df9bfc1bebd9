"""Pictures: from folders of classes, a CSV file of paths and labels, or arrays."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from model_search.data.array_data import parse_kinds
from model_search.data.files.disk_cache import GIB, DiskCache
from model_search.data.files.labelled_files import FileColumns, LabelledFiles, files_of_csv, find_in_folders, named
from model_search.data.images.decode_files import MAX_BYTES, chosen_format, decode, note_of_few_bits
from model_search.data.images.decoded_cache import on_disk
from model_search.data.images.later_pictures import IMAGE
from model_search.data.images.picture_format import PICTURES, PictureFormat, checked_array, pictures_by
from model_search.data.prepare_options import RULES_OF_NEW_STUDIES, PrepareOptions
from model_search.data.prepared_data import PreparedData, StreamData, TableData
from model_search.data.provider import Provider as BaseProvider
from model_search.data.rows import InputSpec, Rows
from model_search.data.tabular.chosen_rows import Choice, ChosenRows, Labels, choose_rows, infer
from model_search.data.tabular.csv_file import Encoding
from model_search.data.task import TaskKind
from model_search.errors import DataError

WHAT = "pictures"


class Provider(BaseProvider):
    """Pictures and their labels.

    Args:
        input_dir: A folder with a folder of pictures for each class; or with folders "train" and, where there are
            validation pictures, "valid", each of which holds folders of classes (a "test" folder is left alone).
        image_width: Width to which pictures are stretched; the median of their widths, at most 224, where None.
        image_height: As `image_width`.
        eval_fraction: Share of the pictures to validate on, where there are no validation pictures.
        filename: A CSV file of paths and labels instead of a folder; relative paths start at its folder.
        path_column: The CSV file's column of paths; the first where None.
        label: The CSV file's column of labels; the second where None. Of several tasks a list of columns.
        weight: The CSV file's column of weights, numbers from 0 on; None where all pictures weigh the same.
        groups: The CSV file's column of groups (of a patient, say), or the groups of `x` [rows]: pictures of one
            group are all trained on, or all validated on. None where pictures are independent.
        x: Pictures instead of files: [rows, height, width] or [rows, height, width, channels], from 0 to 255.
        y: The labels of `x`; of several tasks a dict of labels by name, or a frame of label columns.
        weights: The weights of `x`, at least 0; of several tasks also a dict by name.
        validation: (x, y) or (x, y, weights) to validate on.
        cache: When decoded pictures of files are kept on disk instead of in memory, and where; see `DiskCache`.
        channels: 1 for grey, 3 for colour, 4 for colour and alpha; chosen from the pictures where None.
        task: "classification" or "regression"; inferred from the labels where None. Of several tasks a dict by name.
        encoding: Of the text of a CSV file.

    Raises:
        DataError: if the arguments do not fit.
    """

    def __init__(
        self,
        input_dir: str | os.PathLike[str] | None = None,
        image_width: int | None = None,
        image_height: int | None = None,
        eval_fraction: float | None = None,
        *,
        filename: str | os.PathLike[str] | None = None,
        path_column: str | None = None,
        label: str | Sequence[str] | None = None,
        weight: str | None = None,
        groups: Any = None,
        x: Any = None,
        y: Any = None,
        weights: Any = None,
        validation: tuple[Any, ...] | None = None,
        channels: int | None = None,
        cache: DiskCache | None = None,
        task: str | TaskKind | Mapping[str, str | TaskKind | None] | None = None,
        encoding: str = "utf-8",
    ):
        given = [
            name for name, value in (("input_dir", input_dir), ("filename", filename), ("x", x)) if value is not None
        ]
        if len(given) != 1:
            raise DataError(
                f"received {' and '.join(given) or 'no pictures'}; expected one of input_dir, filename and x"
            )
        if (x is None) != (y is None):
            raise DataError("x and y belong together: pictures and their labels")
        if weights is not None and x is None:
            raise DataError("weights belong to x and y; of a CSV file name the column: weight=")
        is_pair = isinstance(validation, tuple | list) and len(validation) in (2, 3)
        if validation is not None and (x is None or not is_pair):
            raise DataError("validation is expected as (x, y) or (x, y, weights), beside x and y")
        if eval_fraction is not None and not 0 < eval_fraction < 1:
            raise DataError(f"eval_fraction is {eval_fraction}; expected a share between 0 and 1")
        if (path_column or label or weight) and filename is None:
            raise DataError("path_column, label and weight name columns of a CSV file; give it as filename")
        self._input_dir, self._filename = input_dir, filename
        if groups is not None and x is None and (filename is None or not isinstance(groups, str)):
            raise DataError("groups name a column of a CSV file, or are those of x; expected filename or x with them")
        read_as = Encoding.given(encoding, filename is not None)
        self._columns = dataclasses.replace(FileColumns.of(path_column, label, weight), encoding=read_as)
        self._arrays = []
        if x is None:
            self._columns = dataclasses.replace(self._columns, groups=groups)
        else:
            labels = dataclasses.replace(Labels.of(y, weights), groups=groups)
            self._arrays = [_Labelled(checked_array(x), labels)]
        if validation is not None:
            self._arrays.append(_Labelled(checked_array(validation[0]), Labels.of(*validation[1:])))
        self._size = (image_height, image_width, channels)
        self._eval_fraction, self._cache = eval_fraction, cache or DiskCache()
        self._task = parse_kinds(task)

    def number_of_classes(self) -> int:
        """The number of classes; 1 for regression."""
        if self._arrays:
            return infer([self._arrays[0].counted], WHAT, self._task).logits_dimension
        train = self._files(self._columns, RULES_OF_NEW_STUDIES)[0]
        return infer([(len(train.paths), _labels_of(train))], WHAT, self._task).logits_dimension

    def prepare(self, options: PrepareOptions) -> PreparedData:
        """Decodes the pictures and splits them."""
        if options.label_per_step:
            raise DataError("a picture has one label; RNN_ALL_ACTIVATIONS expects one for each step")
        notes: list[str] = []
        weight = self._columns.weight or options.weights or None
        columns = dataclasses.replace(self._columns, weight=weight if self._filename is not None else None)
        rules = options.reading_rules
        parts, wanted = self._from_arrays(notes, rules) if self._arrays else self._from_files(columns, notes, rules)
        if self._eval_fraction is not None:
            options = dataclasses.replace(options, valid_fraction=self._eval_fraction)
        choice = choose_rows([part.counted for part in parts], WHAT, self._task, options)
        pictures = [part.pictures for part in parts]
        about = {
            **choice.described,
            "reading_rules": options.reading_rules,
            "images": wanted.to_json(),
            "columns": [IMAGE],
            "reading": {"source": "images", **columns.to_json()},
            "notes": notes + choice.notes,
        }
        if any(isinstance(part, np.memmap) for part in pictures):
            return self._streamed(pictures, choice, about, options.batch_size)
        train, valid = (one.rows({IMAGE: pictures[one.part]}, choice.tasks) for one in (choice.train, choice.valid))
        return TableData(
            task=choice.task,
            train=train,
            valid=valid,
            fingerprint=_fingerprint(pictures, choice),
            description=about,
            loss_fn=self.get_loss_fn(),
            metric_fn=self.get_metric_fn(),
            own_specs={IMAGE: _normalised(pictures, choice.train)},
            other_tasks=choice.others,
            groups=choice.groups,
        )

    def _streamed(
        self, pictures: Sequence[np.ndarray], choice: Choice, about: Mapping[str, Any], batch_size: int
    ) -> StreamData:
        """Pictures on disk: batches are read from there, the validation pictures are in memory."""
        if choice.others:
            raise DataError(
                "several tasks are learnt from pictures in memory; choose a smaller image_height and image_width, or "
                "allow more memory: cache=DiskCache(memory_gb=...)"
            )
        valid, train = choice.valid, choice.train
        needed = len(valid.numbers) * int(np.prod(pictures[valid.part].shape[1:]))
        if needed > max(self._cache.memory_bytes, MAX_BYTES):
            raise DataError(
                f"the validation pictures need {needed / GIB:.1f} GiB of memory; choose a smaller eval_fraction, or a "
                "smaller image_height and image_width"
            )

        def train_batches(seed: int) -> Iterator[Rows]:
            rng = np.random.default_rng(seed)
            while True:
                order = rng.permutation(len(train.numbers))
                for start in range(0, len(order), batch_size):
                    batch = train.take(order[start : start + batch_size])
                    yield batch.rows({IMAGE: pictures[train.part]}, choice.tasks)

        return StreamData(
            task=choice.task,
            train_batches=train_batches,
            valid=valid.rows({IMAGE: pictures[valid.part]}, choice.tasks),
            fingerprint=_fingerprint(pictures, choice),
            description=about,
            loss_fn=self.get_loss_fn(),
            metric_fn=self.get_metric_fn(),
            own_specs={IMAGE: _normalised(pictures, train)},
        )

    def _files(self, columns: FileColumns, rules: int) -> tuple[LabelledFiles, LabelledFiles | None, list[str]]:
        """The files to train on, those to validate on where they are given, and notes."""
        if self._filename is not None:
            return files_of_csv(self._filename, PICTURES, columns, needed=self._columns.named), None, []
        found = find_in_folders(self._input_dir or "", pictures_by(rules))
        notes = [] if found.test is None else [f"the pictures in {found.test} are left alone, for `evaluate`"]
        return found.train, found.valid, notes

    def _from_files(self, columns: FileColumns, notes: list[str], rules: int) -> tuple[list[_Labelled], PictureFormat]:
        train, valid, more = self._files(columns, rules)
        notes += more
        wanted, sentence = chosen_format(train.paths, *self._size, rules)
        dim = note_of_few_bits(train.paths, rules)
        notes += [said for said in (sentence, dim) if said]
        given = [files for files in (train, valid) if files is not None]
        needed = sum(len(files.paths) for files in given) * int(np.prod(wanted.shape))
        cache = self._cache if needed > self._cache.memory_bytes else None
        return [_read(files, wanted, cache, notes) for files in given], wanted

    def _from_arrays(self, notes: list[str], rules: int) -> tuple[list[_Labelled], PictureFormat]:
        own = self._arrays[0].pictures.shape[1:]
        height, width, channels = (
            side if asked is None else asked for asked, side in zip(self._size, own, strict=True)
        )
        wanted = PictureFormat(height, width, channels, rules)
        if wanted.shape != own:
            notes.append(f"pictures of shape {own} are brought into the shape {wanted.shape}, as asked")
        return [_Labelled(wanted.of_array(part.pictures), part.labels) for part in self._arrays], wanted


@dataclasses.dataclass(frozen=True)
class _Labelled:
    """Pictures with the user's own labels."""

    pictures: np.ndarray
    labels: Labels

    @property
    def counted(self) -> tuple[int, Labels]:
        """How many there are, and their labels."""
        return len(self.pictures), self.labels


def _labels_of(files: LabelledFiles) -> Labels:
    found = files.as_labels
    if found is None:
        raise DataError("the pictures have no labels; expected a column of labels, or folders of classes")
    return found


def _read(files: LabelledFiles, wanted: PictureFormat, cache: DiskCache | None, notes: list[str]) -> _Labelled:
    """The pictures that can be read, on disk where there is a cache; the others are named in a note."""
    labels, pictures, damaged = _labels_of(files), np.empty(0), list[tuple[int, str]]()
    if cache is None:
        pictures, damaged = decode(files.paths, wanted, most_bytes=len(files.paths) * int(np.prod(wanted.shape)))
    else:
        found = on_disk(files.paths, wanted, cache)
        pictures, damaged = found.pictures, list(found.damaged)
        notes.append(
            f"decoded pictures are in {found.file} ({pictures.nbytes / GIB:.2g} GiB), which may be deleted later"
        )
    lost = [*files.skipped, *((files.paths[row], reason) for row, reason in damaged)]
    if lost:
        notes.append(f"{len(lost)} of {len(files.paths) + len(files.skipped)} files are left out: {named(lost)}")
    notes += [files.unread] if files.unread else []
    if damaged:
        keep = np.ones(len(files.paths), bool)
        keep[[row for row, _ in damaged]] = False
        labels = labels.take(keep)
    if not len(pictures):
        raise DataError(f"none of the {len(files.paths)} files can be read: {named(lost)}")
    return _Labelled(pictures, labels)


def _in_blocks(pictures: np.ndarray, numbers: np.ndarray) -> Iterator[np.ndarray]:
    """Some of the pictures, a few hundred at a time."""
    for start in range(0, len(numbers), 512):
        yield pictures[numbers[start : start + 512]]


def _normalised(pictures: Sequence[np.ndarray], train: ChosenRows) -> InputSpec:
    """The spec of the pictures, with the mean and the deviation of each channel over the training pictures."""
    shape = pictures[train.part].shape[1:]
    sums, squares, count = np.zeros(shape[-1]), np.zeros(shape[-1]), 0
    for block in _in_blocks(pictures[train.part], train.numbers):
        values = block.reshape(-1, shape[-1]).astype(np.float64)
        sums, squares, count = sums + values.sum(0), squares + np.square(values).sum(0), count + len(values)
    mean = sums / count
    deviation = np.sqrt(np.maximum(squares / count - np.square(mean), 1.0))
    return InputSpec(
        tuple(shape),
        "uint8",
        mean=tuple(round(float(value), 4) for value in mean),
        deviation=tuple(round(float(value), 4) for value in deviation),
    )


def _fingerprint(pictures: Sequence[np.ndarray], choice: Choice) -> str:
    task = choice.task
    digest = hashlib.sha256(repr((task.kind.value, task.label, task.classes)).encode())
    for chosen in (choice.train, choice.valid):
        own = pictures[chosen.part]
        digest.update(repr((len(chosen.numbers), *own.shape[1:])).encode())
        for block in _in_blocks(own, chosen.numbers):
            digest.update(np.ascontiguousarray(block).data)
        digest.update(chosen.digested)
    return digest.hexdigest()
