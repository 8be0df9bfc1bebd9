"""Files that trials store: written atomically, and never loaded if they are damaged."""

from __future__ import annotations

import abc
import hashlib
import os
import pathlib
import posixpath
import zipfile
from collections.abc import Callable, Mapping
from typing import BinaryIO

import numpy as np

from model_search.errors import StoreError
from model_search.metadata import study_folder
from model_search.metadata.array_files import ARRAY, MOST_FILE_BYTES, read_arrays
from model_search.metadata.paths import artefact_path, check_relative, of_whom, trial_of
from model_search.metadata.trial import Artefact

Content = bytes | Callable[[BinaryIO], None]

_BLOCK_BYTES = 1 << 20
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time, so that equal arrays make equal files


class DamagedArtefactError(StoreError):
    """A trial's file is missing, cut short or changed since it was written."""


class PrunedArtefactError(DamagedArtefactError):
    """A trial's file was deleted to save room; `Study.replay` makes it again."""


class ArtefactStore(abc.ABC):
    """Keeps the files of one study. Safe for many processes and threads at once."""

    @abc.abstractmethod
    def write(self, trial_id: int | None, name: str, content: Content) -> Artefact:
        """Stores a file of a trial, or of the study; when it returns, the whole file is on disk.

        Args:
            trial_id: The trial; None for a file of the study itself.
            name: Its name, unique within the trial's result.
            content: The bytes, or a function that writes them to an open binary file.

        Raises:
            DiskFullError: if there is no room.
            StoreError: if it cannot be written for another reason.
        """

    @abc.abstractmethod
    def read(self, artefact: Artefact) -> bytes:
        """The file's bytes.

        Raises:
            DamagedArtefactError: if they differ from what was written.
            StoreError: if its path leads out of the study.
        """

    @abc.abstractmethod
    def delete(self, artefact: Artefact) -> None:
        """Deletes the file; one that is not there is no error.

        Raises:
            StoreError: if it cannot be deleted, or its path leads out of the study.
        """


class LocalArtefacts(ArtefactStore):
    """Keeps files in the study's folder, below `trials/`."""

    def __init__(self, study_dir: str | os.PathLike[str]):
        self._folder = pathlib.Path(study_dir).absolute()  # the working folder may change
        self._opened = study_folder.OpenFolder(self._folder)

    def write(self, trial_id: int | None, name: str, content: Content) -> Artefact:
        """Writes under a temporary name, syncs, and renames; VanishedStudyError if the study's folder is gone."""
        try:
            with self._opened.held() as place:
                folder = study_folder.make_folder(place, posixpath.dirname(artefact_path(trial_id, name, "")))
                with study_folder.new_file(folder) as (file, rename):
                    sha256, size = _write_whole(file, content)
                    path = artefact_path(trial_id, name, sha256)
                    rename(posixpath.basename(path))
        except OSError as error:
            self._opened.check()  # what fails because the study is gone is told as that
            what = f"{name} {of_whom(trial_id)} cannot be written in {self._folder}"
            raise study_folder.not_written(what, error) from error
        return Artefact(name=name, path=path, sha256=sha256, size=size)

    def read(self, artefact: Artefact) -> bytes:
        """Reads the whole file and compares its size and hash."""
        path = self._folder / check_relative(artefact.path)
        check_size(artefact)
        try:
            content = study_folder.read_file(self._folder, artefact.path, artefact.size)
        except OSError as error:
            raise DamagedArtefactError(
                f"{artefact.name} cannot be read from {path}: {error.strerror or error}"
            ) from error
        except ValueError as error:
            raise _not_what_was_written(path, str(error), artefact) from error
        if hashlib.sha256(content).hexdigest() != artefact.sha256:
            raise _not_what_was_written(path, f"its {len(content)} bytes have another SHA-256", artefact)
        return content

    def delete(self, artefact: Artefact) -> None:
        """Unlinks the file; VanishedStudyError if the study's folder is gone, or another is in its place."""
        path = study_folder.inside(self._folder, check_relative(artefact.path))
        try:
            with self._opened.held() as folder:
                study_folder.delete_file(folder, artefact.path)
        except OSError as error:
            raise StoreError(f"{path} cannot be deleted: {error.strerror or error}; delete it by hand") from error


def save_arrays(store: ArtefactStore, trial_id: int | None, name: str, arrays: Mapping[str, np.ndarray]) -> Artefact:
    """Stores arrays by name, uncompressed and without pickle, in NumPy's .npz format; equal arrays make equal files.

    Raises:
        ValueError: if an array's type cannot be stored without pickle (objects, extension types), or its name cannot.
        StoreError: if the file cannot be written.
    """
    for key, array in arrays.items():
        _check_storable(key, array)
    return store.write(trial_id, name, lambda file: _write_arrays(file, arrays))


def load_arrays(store: ArtefactStore, artefact: Artefact) -> dict[str, np.ndarray]:
    """Reads what `save_arrays` wrote; never unpickles.

    Raises:
        PrunedArtefactError: if the file was deleted to save room.
        DamagedArtefactError: if the file is not the one that was written, or holds something else than arrays.
    """
    if artefact.pruned:
        trial_id = trial_of(artefact.path)
        raise PrunedArtefactError(
            f"{artefact.name} of trial {trial_id} was deleted to save room (keep_models, disk_limit); "
            f"study.replay({trial_id}, data) makes it again"
        )
    try:
        return read_arrays(store.read(artefact))
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        raise DamagedArtefactError(f"{artefact.name} ({artefact.path}) does not hold plain arrays: {error}") from error


def check_size(artefact: Artefact) -> None:
    """Checks how much of the memory a file would take, before it is read.

    Raises:
        DamagedArtefactError: if that is more than a file of a study takes.
    """
    if artefact.size > MOST_FILE_BYTES:
        raise DamagedArtefactError(
            f"{artefact.name} ({artefact.path}) is said to have {artefact.size:,} bytes; a file of a study has "
            f"{MOST_FILE_BYTES:,} at most, and it is not read"
        )


def _not_what_was_written(path: pathlib.Path, found: str, artefact: Artefact) -> DamagedArtefactError:
    return DamagedArtefactError(
        f"{path} is damaged: {found} and is not the file of {artefact.size} bytes that the trial wrote; restore a "
        "copy, or choose another trial"
    )


def _write_whole(file: BinaryIO, content: Content) -> tuple[str, int]:
    """Writes into a new file; returns the SHA-256 of what is read back, and the size in bytes."""
    if isinstance(content, bytes):
        file.write(content)
    else:
        content(file)
    file.flush()
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size


def _write_arrays(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for key, array in arrays.items():
            with archive.open(zipfile.ZipInfo(key + ARRAY, _ZIP_EPOCH), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


def _check_storable(key: str, array: np.ndarray) -> None:
    if zipfile.ZipInfo(key + ARRAY).filename != key + ARRAY:
        raise ValueError(f"an array is named {key!r}; choose a name without NUL or backslash")
    dtype = np.asanyarray(array).dtype
    if dtype.hasobject or dtype.isbuiltin == 2:
        raise ValueError(f"array {key!r} is of type {dtype}, which cannot be stored without pickle; convert it first")
