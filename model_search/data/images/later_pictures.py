"""Pictures to predict or to evaluate on after the search; brought into the study's format."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_search.data.files.labelled_files import (
    NO_COLUMNS,
    FileColumns,
    files_by_class,
    files_of_csv,
    named,
    none_skipped,
    paths_of,
)
from model_search.data.images.decode_files import decode
from model_search.data.images.picture_format import MODES, PICTURES, DamagedPictureError, PictureFormat
from model_search.data.rows import is_empty
from model_search.data.tabular.chosen_rows import Labels
from model_search.data.tabular.preprocess import Note
from model_search.errors import DataError

IMAGE = "image"  # the only input of a tower that reads pictures


def picture_paths(
    source: Any, columns: FileColumns = NO_COLUMNS, note: Note | None = None
) -> list[pathlib.Path] | None:
    """The pictures that a source names, see `paths_of`; None where it holds pictures itself."""
    return paths_of(source, PICTURES, columns, note)


def pictures_of(source: Any, description: Mapping[str, Any], note: Note | None = None) -> dict[str, np.ndarray]:
    """The pictures to predict, as a tower reads them.

    Args:
        source: As for `picture_paths`; or arrays [rows, height, width(, channels)] from 0 to 255, of any size (a list
            of arrays may hold several sizes), a dict {"image": array}, or a list of encoded pictures (bytes). One
            picture [height, width, channels] is refused: its rows would be read as grey pictures.
        description: The study's description of its data.
        note: Called with a sentence if links to folders are left out.

    Raises:
        DataError: if a picture cannot be read; the message names it.
    """
    wanted = PictureFormat.from_json(description["images"])
    paths = picture_paths(source, FileColumns.from_json(description.get("reading")), note)
    if paths is not None:
        return {IMAGE: _decoded(paths, wanted)}
    if isinstance(source, Mapping):
        if set(source) != {IMAGE}:
            raise DataError(f"received a dict of {sorted(map(str, source))}; expected {{'image': pictures}}")
        return pictures_of(source[IMAGE], description, note)
    if is_empty(source):
        return {IMAGE: np.empty((0, *wanted.shape), np.uint8)}
    if isinstance(source, np.ndarray) and source.dtype != object:
        return {IMAGE: _of_array(source, wanted)}
    if hasattr(source, "numpy"):
        return {IMAGE: _of_array(source.numpy(), wanted)}
    if isinstance(source, Sequence | np.ndarray) and len(source):
        return {IMAGE: np.stack([_one(item, row, wanted) for row, item in enumerate(source, start=1)])}
    raise DataError(
        f"received {type(source).__name__}; expected a folder, a list of files, or an array [rows, height, width, "
        "channels] of pictures"
    )


def labelled_pictures(
    source: Any, description: Mapping[str, Any], note: Note | None = None
) -> tuple[dict[str, np.ndarray], Labels]:
    """Pictures to evaluate on, and their labels.

    Args:
        source: A folder of folders of classes, a CSV file of paths and labels, or a pair (x, y) or (x, y, weights).
        description: The study's description of its data.
        note: Called with a sentence if links to folders are left out.

    Raises:
        DataError: if there are no labels, or a picture cannot be read.
    """
    if isinstance(source, tuple):
        return pictures_of(source[0], description, note), Labels.of(*source[1:])
    if not isinstance(source, str | os.PathLike):
        raise DataError(
            f"received {type(source).__name__}; expected a folder of folders of classes, a CSV file of paths and "
            "labels, or a pair (pictures, labels)"
        )
    path = pathlib.Path(source).expanduser()
    columns = FileColumns.from_json(description.get("reading"))
    files = files_by_class(path, PICTURES) if path.is_dir() else files_of_csv(path, PICTURES, columns)
    labels = none_skipped(files, PICTURES, note).as_labels
    if labels is None:
        raise DataError(f"{path} has no column of labels; expected one to evaluate on")
    return {IMAGE: _decoded(files.paths, PictureFormat.from_json(description["images"]))}, labels


def _decoded(paths: Sequence[pathlib.Path], wanted: PictureFormat) -> np.ndarray:
    found, damaged = decode(paths, wanted)
    if damaged:
        shown = named([(paths[row], reason) for row, reason in damaged])
        raise DataError(f"{len(damaged)} of {len(paths)} pictures cannot be read: {shown}; leave them out")
    return found


def _of_array(array: np.ndarray, wanted: PictureFormat) -> np.ndarray:
    """Several pictures; one alone is refused, since its rows would be read as grey pictures."""
    if array.ndim == 3 and array.shape[2] in MODES:
        channels = array.shape[2]
        if (wanted.channels > 1 and channels > 1) or channels != wanted.width:
            raise DataError(
                f"received one picture of shape {array.shape}; this study's pictures have {wanted.channels} "
                f"channel{'s' * (wanted.channels > 1)}: give [picture] or picture[None] (if they are {len(array)} grey "
                f"pictures that are {channels} pixels wide, pictures[..., None])"
            )
    return wanted.of_array(array)


def _one(item: Any, row: int, wanted: PictureFormat) -> np.ndarray:
    if isinstance(item, bytes):
        try:
            return wanted.read_bytes(item)
        except DamagedPictureError as error:
            raise DataError(f"picture {row} cannot be read: {error}") from None
    try:
        array = np.asarray(item)
    except ValueError:
        raise DataError(
            f"picture {row} has rows of different lengths; expected [height, width] or with channels"
        ) from None
    if array.ndim not in (2, 3):
        raise DataError(f"picture {row} has the shape {array.shape}; expected [height, width] or with channels")
    return wanted.of_array(array[None])[0]
