"""Files that trials store: written atomically, and never loaded if they are damaged."""

from __future__ import annotations

import abc
import contextlib
import hashlib
import io
import os
import pathlib
import secrets
import zipfile
from collections.abc import Callable, Mapping
from typing import BinaryIO

import numpy as np

from model_search.errors import DiskFullError, StoreError
from model_search.metadata.connection import VanishedStudyError, identity_of
from model_search.metadata.filesystem import NO_ROOM
from model_search.metadata.paths import artefact_path, of_whom, resolve_artefact, trial_of
from model_search.metadata.trial import Artefact

Content = bytes | Callable[[BinaryIO], None]

_BLOCK_BYTES = 1 << 20
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time, so that equal arrays make equal files
_ARRAY = ".npy"


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
        self._identity = identity_of(self._folder)

    def write(self, trial_id: int | None, name: str, content: Content) -> Artefact:
        """Writes under a temporary name, syncs, and renames; VanishedStudyError if the study's folder is gone."""
        try:
            if self._identity is not None and identity_of(self._folder) != self._identity:
                raise VanishedStudyError.of(self._folder)
            folder = self._made_folder(trial_id, name)
            temporary = folder / f".{secrets.token_hex(8)}.tmp"
            try:
                sha256, size = _write_whole(temporary, content)
                path = artefact_path(trial_id, name, sha256)
                temporary.replace(self._folder / path)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise
            _sync_folder(folder)
        except OSError as error:
            if not self._folder.is_dir():
                raise VanishedStudyError.of(self._folder) from error
            kind, cure = (DiskFullError, "make room") if error.errno in NO_ROOM else (StoreError, "mend that")
            raise kind(
                f"{name} {of_whom(trial_id)} cannot be written in {self._folder}: {error.strerror or error}; "
                f"{cure} and run again"
            ) from error
        return Artefact(name=name, path=path, sha256=sha256, size=size)

    def read(self, artefact: Artefact) -> bytes:
        """Reads the whole file and compares its size and hash."""
        path = resolve_artefact(self._folder, artefact.path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DamagedArtefactError(
                f"{artefact.name} cannot be read from {path}: {error.strerror or error}"
            ) from error
        if len(content) != artefact.size or hashlib.sha256(content).hexdigest() != artefact.sha256:
            raise DamagedArtefactError(
                f"{path} is damaged: it has {len(content)} bytes and is not the file of {artefact.size} bytes that the "
                "trial wrote; restore a copy, or choose another trial"
            )
        return content

    def delete(self, artefact: Artefact) -> None:
        """Unlinks the file."""
        path = resolve_artefact(self._folder, artefact.path)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{path} cannot be deleted: {error.strerror or error}; delete it by hand") from error

    def _made_folder(self, trial_id: int | None, name: str) -> pathlib.Path:
        folder = (self._folder / artefact_path(trial_id, name, "")).parent
        if not folder.is_dir():
            make_below(self._folder, folder)
            _sync_folder(folder.parent)
            _sync_folder(self._folder)
        return folder


def make_below(study_dir: pathlib.Path, folder: pathlib.Path) -> None:
    """Makes a folder inside of a study's, which is never made: it may just have been moved elsewhere.

    Raises:
        VanishedStudyError: if the study's folder is gone.
        OSError: if the folder cannot be made.
    """
    made = study_dir
    try:
        for part in folder.relative_to(study_dir).parts:
            made /= part
            made.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise VanishedStudyError.of(study_dir) from error


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
    content = store.read(artefact)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {
                entry.removesuffix(_ARRAY): np.lib.format.read_array(
                    io.BytesIO(archive.read(entry)), allow_pickle=False
                )
                for entry in archive.namelist()
            }
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        raise DamagedArtefactError(f"{artefact.name} ({artefact.path}) does not hold plain arrays: {error}") from error


def _write_whole(path: pathlib.Path, content: Content) -> tuple[str, int]:
    """Writes a new file and syncs it to disk; returns the SHA-256 of what is read back, and the size in bytes."""
    with path.open("x+b") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content(file)
        file.flush()
        os.fsync(file.fileno())
        digest, size = hashlib.sha256(), 0
        file.seek(0)
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def _write_arrays(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for key, array in arrays.items():
            with archive.open(zipfile.ZipInfo(key + _ARRAY, _ZIP_EPOCH), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


def _check_storable(key: str, array: np.ndarray) -> None:
    if zipfile.ZipInfo(key + _ARRAY).filename != key + _ARRAY:
        raise ValueError(f"an array is named {key!r}; choose a name without NUL or backslash")
    dtype = np.asanyarray(array).dtype
    if dtype.hasobject or dtype.isbuiltin == 2:
        raise ValueError(f"array {key!r} is of type {dtype}, which cannot be stored without pickle; convert it first")


def _sync_folder(folder: pathlib.Path) -> None:
    """Makes a new name in a folder survive a power cut, where the system supports that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
