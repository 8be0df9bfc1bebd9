"""Pictures: from folders of classes, a CSV file of paths and labels, or arrays."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.array_data import parse_task
from model_search.data.files.labelled_files import LabelledFiles, files_of_csv, find_in_folders, named
from model_search.data.images.decode_files import chosen_format, decode
from model_search.data.images.later_pictures import IMAGE
from model_search.data.images.picture_format import PICTURES, PictureFormat, checked_array
from model_search.data.prepare_options import READING_RULES, PrepareOptions
from model_search.data.prepared_data import PreparedData, TableData
from model_search.data.provider import Provider as BaseProvider
from model_search.data.rows import InputSpec, Rows
from model_search.data.tabular import labels as label_columns
from model_search.data.tabular.split import split_rows
from model_search.data.task import Task, TaskKind
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MIN_PICTURES = 10


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
        label: The CSV file's column of labels; the second where None.
        x: Pictures instead of files: [rows, height, width] or [rows, height, width, channels], from 0 to 255.
        y: The labels of `x`.
        validation: (x, y) to validate on.
        channels: 1 for grey, 3 for colour, 4 for colour and alpha; chosen from the pictures where None.
        task: "classification" or "regression"; inferred from the labels where None.

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
        label: str | None = None,
        x: Any = None,
        y: Any = None,
        validation: tuple[Any, Any] | None = None,
        channels: int | None = None,
        task: str | TaskKind | None = None,
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
        if validation is not None and (x is None or not isinstance(validation, tuple | list) or len(validation) != 2):
            raise DataError("validation is expected as (x, y), beside x and y")
        if eval_fraction is not None and not 0 < eval_fraction < 1:
            raise DataError(f"eval_fraction is {eval_fraction}; expected a share between 0 and 1")
        if (path_column or label) and filename is None:
            raise DataError("path_column and label name columns of a CSV file; give it as filename")
        self._input_dir, self._filename = input_dir, filename
        self._path_column, self._label = path_column, label
        self._arrays = None if x is None else (checked_array(x), y)
        self._validation = None if validation is None else (checked_array(validation[0]), validation[1])
        self._size = (image_height, image_width, channels)
        self._eval_fraction = eval_fraction
        self._task = parse_task(task)

    def number_of_classes(self) -> int:
        """The number of classes; 1 for regression."""
        train, _, _ = self._files() if self._arrays is None else (None, None, [])
        values = self._arrays[1] if self._arrays is not None else train.labels if train is not None else None
        return label_columns.infer_task(
            label_columns.read_labels(_series(values, self._label_name)), self._task
        ).logits_dimension

    def prepare(self, options: PrepareOptions) -> PreparedData:
        """Decodes the pictures and splits them."""
        notes: list[str] = []
        if self._arrays is not None:
            parts, wanted = self._from_arrays(notes)
        else:
            parts, wanted = self._from_files(notes)
        column = label_columns.read_labels(_series(parts[0].labels, self._label_name))
        task = label_columns.infer_task(column, options.task_kind or self._task)
        encoded = [_encoded(part, task, notes) for part in parts]
        if len(encoded[0].targets) < MIN_PICTURES:
            raise DataError(
                f"there are {len(encoded[0].targets)} pictures with a label; expected {MIN_PICTURES} or more"
            )
        split: dict[str, Any] = {"by": "given validation data"}
        if len(encoded) == 1:
            encoded, split = self._split(encoded[0], task, options, notes)
        train, valid = encoded
        split |= {"train_rows": len(train.targets), "valid_rows": len(valid.targets)}
        task = label_columns.fit_scale(task, train.targets)
        spec = _normalised(train.pictures, wanted)
        description = {
            "task": task.to_json(),
            "reading_rules": options.reading_rules,
            "images": wanted.to_json(),
            "columns": [IMAGE],
            "split": split,
            "reading": {"source": "images", "path_column": self._path_column, "label_column": self._label},
            "notes": notes,
        }
        return TableData(
            task=task,
            train=train.rows(task),
            valid=valid.rows(task),
            fingerprint=_fingerprint(encoded, task),
            description=description,
            loss_fn=self.get_loss_fn(),
            metric_fn=self.get_metric_fn(),
            own_specs={IMAGE: spec},
        )

    @property
    def _label_name(self) -> str:
        return "label" if self._label is None else self._label

    def _files(self) -> tuple[LabelledFiles, LabelledFiles | None, list[str]]:
        """The files to train on, those to validate on where they are given, and notes."""
        if self._filename is not None:
            return files_of_csv(self._filename, self._path_column, self._label), None, []
        found = find_in_folders(self._input_dir or "", PICTURES)
        notes = [] if found.test is None else [f"the pictures in {found.test} are left alone, for `evaluate`"]
        return found.train, found.valid, notes

    def _from_files(self, notes: list[str]) -> tuple[list[_Labelled], PictureFormat]:
        train, valid, more = self._files()
        notes += more
        wanted, sentence = chosen_format(train.paths, *self._size)
        notes += [sentence] if sentence else []
        return [_read(files, wanted, notes) for files in (train, valid) if files is not None], wanted

    def _from_arrays(self, notes: list[str]) -> tuple[list[_Labelled], PictureFormat]:
        given = [part for part in (self._arrays, self._validation) if part is not None]
        own = given[0][0].shape[1:]
        wanted = PictureFormat(*(side if asked is None else asked for asked, side in zip(self._size, own, strict=True)))
        if wanted.shape != own:
            notes.append(f"pictures of shape {own} are brought into the shape {wanted.shape}, as asked")
        parts = []
        for pictures, values in given:
            if len(pictures) != len(values):
                raise DataError(f"{len(pictures)} pictures, {len(values)} labels; expected one label for each picture")
            parts.append(_Labelled(wanted.of_array(pictures), values))
        return parts, wanted

    def _split(
        self, part: _Encoded, task: Task, options: PrepareOptions, notes: list[str]
    ) -> tuple[list[_Encoded], dict[str, Any]]:
        fraction = options.valid_fraction if self._eval_fraction is None else self._eval_fraction
        classes = part.targets if task.kind is TaskKind.CLASSIFICATION else None
        train, valid, whole = split_rows(len(part.targets), fraction, options.seed, classes)
        if not len(valid):
            raise DataError("every class has too few pictures to keep some for validation; give validation pictures")
        if whole:
            shown = ", ".join(repr(task.classes[index]) for index in whole[:10])
            notes.append(f"classes with too few pictures to be split stay in training: {shown}")
        by = "shuffled" if classes is None else "shuffled, stratified by class"
        return [part.take(train), part.take(valid)], {"by": by, "seed": options.seed, "valid_fraction": fraction}


@dataclasses.dataclass(frozen=True)
class _Labelled:
    """Pictures with the user's own labels."""

    pictures: np.ndarray
    labels: Any


@dataclasses.dataclass(frozen=True)
class _Encoded:
    """Pictures with encoded labels."""

    pictures: np.ndarray
    targets: np.ndarray

    def take(self, rows: np.ndarray) -> _Encoded:
        return _Encoded(self.pictures[rows], self.targets[rows])

    def rows(self, task: Task) -> Rows:
        return Rows.of({IMAGE: self.pictures}, label_columns.to_rows(self.targets, task))


def _read(files: LabelledFiles, wanted: PictureFormat, notes: list[str]) -> _Labelled:
    """The pictures that can be read; the others are named in a note."""
    pictures, damaged = decode(files.paths, wanted)
    lost = [*files.skipped, *((files.paths[row], reason) for row, reason in damaged)]
    labels = np.array(files.labels, dtype=object)
    if lost:
        notes.append(f"{len(lost)} of {len(files.paths) + len(files.skipped)} files are left out: {named(lost)}")
    if damaged:
        keep = np.ones(len(pictures), bool)
        keep[[row for row, _ in damaged]] = False
        pictures, labels = pictures[keep], labels[keep]
    if not len(pictures):
        raise DataError(f"none of the {len(files.paths)} files can be read: {named(lost)}")
    return _Labelled(pictures, labels)


def _series(values: Any, name: str) -> pd.Series:
    import pandas as pd

    if values is None:
        raise DataError("the pictures have no labels; expected a column of labels, or folders of classes")
    if isinstance(values, Sequence):
        values = np.array(values, dtype=object)
    found = np.asarray(values)
    if found.ndim != 1:
        raise DataError(f"labels have the shape {found.shape}; expected one label for each picture")
    return pd.Series(found, name=name)


def _encoded(part: _Labelled, task: Task, notes: list[str]) -> _Encoded:
    column = label_columns.read_like_training(_series(part.labels, task.label), task, READING_RULES)
    present = ~column.missing
    if not present.all():
        notes.append(f"{int((~present).sum())} pictures have no label and are left out")
    pictures = part.pictures if present.all() else part.pictures[present]
    return _Encoded(pictures, label_columns.encode(column.take(np.flatnonzero(present)), task, note=notes.append))


def _normalised(pictures: np.ndarray, wanted: PictureFormat) -> InputSpec:
    """The spec of the pictures, with the mean and the deviation of each channel over the training pictures."""
    sums, squares, count = np.zeros(wanted.channels), np.zeros(wanted.channels), 0
    for start in range(0, len(pictures), 1024):
        block = pictures[start : start + 1024].reshape(-1, wanted.channels).astype(np.float64)
        sums, squares, count = sums + block.sum(0), squares + np.square(block).sum(0), count + len(block)
    mean = sums / count
    deviation = np.sqrt(np.maximum(squares / count - np.square(mean), 1.0))
    return InputSpec(
        wanted.shape,
        "uint8",
        mean=tuple(round(float(value), 4) for value in mean),
        deviation=tuple(round(float(value), 4) for value in deviation),
    )


def _fingerprint(parts: Sequence[_Encoded], task: Task) -> str:
    digest = hashlib.sha256(repr((task.kind.value, task.label, task.classes)).encode())
    for part in parts:
        digest.update(repr(part.pictures.shape).encode())
        digest.update(np.ascontiguousarray(part.pictures).data)
        digest.update(part.targets.tobytes())
    return digest.hexdigest()
