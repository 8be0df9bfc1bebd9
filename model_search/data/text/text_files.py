"""Texts with labels, from lists, CSV files and folders of classes."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.files.labelled_files import (
    FileKind,
    LabelledFiles,
    files_by_class,
    files_in,
    named,
    none_skipped,
    size_of,
)
from model_search.data.rows import as_pandas
from model_search.data.tabular.chosen_rows import Labels
from model_search.data.tabular.csv_file import UTF_8, Encoding
from model_search.data.tabular.csv_reading import Reading, read_csv
from model_search.data.tabular.preprocess import Note
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

TEXT, LABEL = "text", "label"  # names of the columns where none are given
TEXTS = FileKind("texts", frozenset({".txt"}))
MAX_FILE_BYTES = 10_000_000


@dataclasses.dataclass(frozen=True)
class TextColumns:
    """The columns of a CSV file or a frame.

    Attributes:
        text: That of the texts; "text" where None, or the only one that is left.
        label: That of the labels; "label" where None, or the only one that is left.
        weight: That of the weights of the rows; None for none.
    """

    text: str | None = None
    label: str | None = None
    weight: str | None = None

    def found(self, names: Sequence[str], source: str, *, needs_label: bool) -> TextColumns:
        """The same with names for all columns that there are.

        Raises:
            DataError: if a column is missing, or cannot be told.
        """
        for name in (self.text, self.label if needs_label else None, self.weight if needs_label else None):
            if name is not None and name not in names:
                raise DataError(f"{source} has no column {name!r}; its columns are {', '.join(names)}")
        left = [name for name in names if name not in (self.text, self.label, self.weight)]
        text = self.text or _only(TEXT, left, [name for name in left if name != LABEL])
        if text is None:
            raise DataError(f"{source} has the columns {', '.join(names)}; name that of the texts")
        left = [name for name in left if name != text]
        label = (self.label if self.label in names else None) or _only(LABEL, left, left)
        if label is None and needs_label:
            raise DataError(f"{source} has the columns {', '.join(names)}; name that of the labels")
        return TextColumns(text, label, self.weight)


def _only(usual: str, names: Sequence[str], others: Sequence[str]) -> str | None:
    if usual in names:
        return usual
    return others[0] if len(others) == 1 else None


@dataclasses.dataclass(frozen=True)
class LabelledTexts:
    """Texts with the user's own labels.

    Attributes:
        texts: The texts; a missing one is None or NaN.
        labels: Their labels; None where there are none.
        columns: The columns that they were in.
        notes: What people should know of them.
    """

    texts: Sequence[Any]
    labels: Labels | None
    columns: TextColumns = TextColumns()
    notes: tuple[str, ...] = ()


def of_frame(frame: pd.DataFrame, columns: TextColumns, source: str, *, needs_label: bool) -> LabelledTexts:
    """The texts of a frame.

    Raises:
        DataError: if a column is missing, or cannot be told.
    """
    frame = as_pandas(frame, "texts")
    named_columns = columns.found([str(name) for name in frame.columns], source, needs_label=needs_label)
    text, label, weight = named_columns.text, named_columns.label, named_columns.weight
    labels = None
    if label is not None:
        weights = frame[weight].to_numpy(dtype=object) if weight in frame.columns else None
        labels = Labels(frame[label].to_numpy(dtype=object), weights, label, weight or "weight")
    return LabelledTexts(frame[text].to_numpy(dtype=object), labels, named_columns)


def of_csv(
    path: str | os.PathLike[str], columns: TextColumns, encoding: Encoding, *, needs_label: bool
) -> LabelledTexts:
    """The texts of a CSV file.

    Raises:
        DataError: if it cannot be read, or a column is missing; or if it has one column, whose first row may be a text.
    """
    table = read_csv(path, Reading(encoding=encoding.name), of_study=encoding.of_study)
    names = [str(name) for name in table.frame.columns]
    wanted = columns.text or TEXT
    if len(names) == 1 and table.reading.header and names[0] != wanted:
        raise DataError(
            f"{os.fspath(path)} has one column, and its first row is {names[0]!r:.60}; expected the name of the column "
            f"of texts: put {wanted!r} above the texts (in place of that row, if it is a name)"
        )
    return of_frame(table.frame, columns, os.fspath(path), needs_label=needs_label)


def of_files(files: LabelledFiles) -> LabelledTexts:
    """The texts of `.txt` files in UTF-8; files that cannot be read are named in a note.

    Raises:
        DataError: if none can be read.
    """
    texts, kept, lost = [], [], list(files.skipped)
    for row, path in enumerate(files.paths):
        try:
            texts.append(_content(path))
        except DataError as error:
            lost.append((path, str(error)))
        else:
            kept.append(row)
    if not texts:
        raise DataError(f"none of the {len(files.paths)} files can be read: {named(lost)}")
    total = len(files.paths) + len(files.skipped)
    notes = (f"{len(lost)} of {total} files are left out: {named(lost)}",) if lost else ()
    own = files.as_labels
    labels = None if own is None else own.take(np.array(kept))
    return LabelledTexts(texts, labels, notes=notes)


def later_texts(
    source: Any, columns: TextColumns, encoding: Encoding = UTF_8, note: Note | None = None
) -> Sequence[Any]:
    """Texts to predict, in their order.

    Args:
        source: A list, an array or a Series of texts; a frame or a dict with the study's column of texts; the path of
            a CSV file with it, of a `.txt` file, or of a folder (all `.txt` files below it, by path); or a list of
            `pathlib.Path`s of such files.
        columns: The study's columns.
        encoding: That in which the study reads CSV files.
        note: Called with a sentence if links to folders are left out.

    Raises:
        DataError: if it is none of these, or a file cannot be read; names it.
    """
    if isinstance(source, str | os.PathLike):
        return _of_path(source, columns, encoding, note)
    if hasattr(source, "columns"):
        return of_frame(source, _text_alone(columns), "the frame", needs_label=False).texts
    if isinstance(source, Mapping):
        name = columns.text or TEXT
        if name not in source:
            raise DataError(f"received a dict of {sorted(map(str, source))}; expected {name!r}, a list of texts")
        return list(source[name])
    if not hasattr(source, "__len__") or isinstance(source, bytes):
        raise DataError(f"received {type(source).__name__}; expected a list of texts, a CSV file or a folder")
    items = list(source)
    if items and all(isinstance(item, os.PathLike) for item in items):
        return _all_read(LabelledFiles(tuple(map(pathlib.Path, items)), None))
    return items


def evaluated_texts(
    source: Any, columns: TextColumns, encoding: Encoding = UTF_8, note: Note | None = None
) -> LabelledTexts:
    """Texts with labels to evaluate on.

    Args:
        source: A folder of folders of classes, a CSV file or a frame with a column of labels, or (texts, labels) or
            (texts, labels, weights).
        columns: The study's columns.
        encoding: That in which the study reads CSV files.
        note: Called with a sentence if links to folders are left out.

    Raises:
        DataError: if there are no labels, or their index is that of the texts in another order.
    """
    if isinstance(source, tuple):
        labels = Labels.of(*source[1:])
        return LabelledTexts(
            later_texts(source[0], columns, encoding, note), labels, notes=labels.index_notes(source[0])
        )
    if hasattr(source, "columns"):
        return of_frame(source, columns, "the frame", needs_label=True)
    if not isinstance(source, str | os.PathLike):
        raise DataError(
            f"received {type(source).__name__}; expected a folder of folders of classes, a CSV file with labels, or a "
            "pair (texts, labels)"
        )
    path = pathlib.Path(source).expanduser()
    if path.is_dir():
        files = files_by_class(path, TEXTS)
        return LabelledTexts(_all_read(files, note), files.as_labels)
    return of_csv(path, columns, encoding, needs_label=True)


def _of_path(
    source: str | os.PathLike[str], columns: TextColumns, encoding: Encoding, note: Note | None
) -> Sequence[Any]:
    path = pathlib.Path(source).expanduser()
    if path.is_dir():
        return _all_read(files_in(path, TEXTS), note)
    if not path.is_file():
        raise DataError(f"there is no file or folder {os.fspath(source)!r}; expected one, or a list of texts: [text]")
    if path.suffix.lower() in TEXTS.suffixes:
        return _all_read(LabelledFiles((path,), None))
    return of_csv(path, _text_alone(columns), encoding, needs_label=False).texts


def _text_alone(columns: TextColumns) -> TextColumns:
    return TextColumns(text=columns.text)


def _all_read(files: LabelledFiles, note: Note | None = None) -> Sequence[str]:
    texts = []
    for path in none_skipped(files, TEXTS, note).paths:
        try:
            texts.append(_content(path))
        except DataError as error:
            raise DataError(f"{path} cannot be read: {error}; leave it out") from None
    return texts


def _content(path: pathlib.Path) -> str:
    """Raises DataError with the reason, without the name."""
    try:
        size = size_of(path)
        if size > MAX_FILE_BYTES:
            raise DataError(f"it has {size:,} bytes; expected at most {MAX_FILE_BYTES:,}")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError("it is no text in UTF-8") from None
    except OSError as error:
        raise DataError(error.strerror or str(error)) from None
