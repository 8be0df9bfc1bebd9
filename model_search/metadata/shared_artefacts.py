"""Files of a study in a location that several machines share: a folder, or a URL of fsspec (s3://, gs://)."""

from __future__ import annotations

import contextlib
import hashlib
import pathlib
import posixpath
import re
import secrets

from model_search.errors import StoreError, StudyError, UserError
from model_search.metadata.artefacts import ArtefactStore, Content, DamagedArtefactError, LocalArtefacts, check_size
from model_search.metadata.paths import absolute_place, artefact_path, check_relative, folders_of
from model_search.metadata.ray_store import as_bytes
from model_search.metadata.store import StudyRecord
from model_search.metadata.trial import Artefact

ID_SETTING = "artefacts_id"
_ID = re.compile("[0-9a-f]{8}")  # a part of a path: nothing else gets there
_SHOWN = 200  # characters of what a study says


class SharedArtefacts(ArtefactStore):
    """Keeps files below a URL of fsspec.

    A file appears whole: where there are renames it is written under a temporary name and moved; in stores of objects
    a plain write is the only way.

    Args:
        url: A folder: a path, or a URL such as "s3://bucket/folder".

    Raises:
        UserError: if fsspec or what it needs for such a URL is not installed, or the location cannot be reached.
    """

    def __init__(self, url: str):
        self._url = url
        try:
            from fsspec import AbstractFileSystem
            from fsspec.core import url_to_fs
            from fsspec.implementations.local import LocalFileSystem
        except ImportError as error:
            raise UserError("artefacts= needs fsspec: pip install fsspec, or model_search[ray]") from error
        try:
            self._system, root = url_to_fs(url)
        except Exception as error:  # every file system raises its own errors
            raise UserError(
                f"artefacts is {url!r}, which cannot be used: {_words(error)}; expected a folder or URL"
            ) from error
        self._root = str(root).rstrip("/")
        # A folder is looked at for links as the study's own is.
        self._folder = LocalArtefacts(self._root) if isinstance(self._system, LocalFileSystem) else None
        self._renames = type(self._system).mv is not AbstractFileSystem.mv  # which copies, and expands "[1]"

    def write(self, trial_id: int | None, name: str, content: Content) -> Artefact:
        """Writes the whole file at once."""
        if self._folder is not None:
            return self._written_locally(self._folder, trial_id, name, content)
        whole = as_bytes(content)
        sha256 = hashlib.sha256(whole).hexdigest()
        path = artefact_path(trial_id, name, sha256)
        target = f"{self._root}/{path}"
        try:
            self._system.makedirs(posixpath.dirname(target), exist_ok=True)
            if self._renames:
                self._write_and_rename(target, whole)
            else:
                self._system.pipe_file(target, whole)
        except Exception as error:  # every file system raises its own errors
            raise StoreError(
                f"{name} of trial {trial_id} cannot be written in {self._url}: {_words(error)}; make room or give the "
                "right to write, and run again"
            ) from error
        return Artefact(name=name, path=path, sha256=sha256, size=len(whole))

    def _written_locally(self, folder: LocalArtefacts, trial_id: int | None, name: str, content: Content) -> Artefact:
        try:
            pathlib.Path(self._root).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{name} of trial {trial_id} cannot be written in {self._url}: {_words(error)}; give the right to "
                "write, and run again"
            ) from error
        return folder.write(trial_id, name, content)

    def _write_and_rename(self, target: str, whole: bytes) -> None:
        temporary = f"{posixpath.dirname(target)}/.{secrets.token_hex(8)}.tmp"
        try:
            self._system.pipe_file(temporary, whole)
            self._system.mv(temporary, target)
        except BaseException:
            with contextlib.suppress(Exception):
                self._system.rm_file(temporary)
            raise

    def read(self, artefact: Artefact) -> bytes:
        """Reads the whole file and compares its size and hash."""
        if self._folder is not None:
            return self._folder.read(artefact)
        check_size(artefact)
        place = f"{self._root}/{check_relative(artefact.path)}"
        try:
            if self._system.size(place) not in (artefact.size, None):
                raise OSError("it has another size: it is damaged")
            content: bytes = self._system.cat_file(place)
        except Exception as error:
            raise DamagedArtefactError(
                f"{artefact.name} cannot be read from {self._url}/{artefact.path}: {_words(error)}"
            ) from error
        if len(content) != artefact.size or hashlib.sha256(content).hexdigest() != artefact.sha256:
            raise DamagedArtefactError(
                f"{self._url}/{artefact.path} is damaged: it has {len(content)} bytes and is not the file of "
                f"{artefact.size} bytes that the trial wrote; restore a copy, or choose another trial"
            )
        return content

    def delete(self, artefact: Artefact) -> None:
        """Removes the file."""
        if self._folder is not None:
            if pathlib.Path(self._root).exists():  # it is made with the first file
                self._folder.delete(artefact)
            return
        place = f"{self._root}/{check_relative(artefact.path)}"
        try:
            with contextlib.suppress(FileNotFoundError):
                self._system.rm_file(place)
        except Exception as error:
            raise StoreError(f"{self._url}/{artefact.path} cannot be deleted: {_words(error)}") from error


class UnnamedPlace(ArtefactStore):
    """Stands for a place of files that a study names and its user does not: it is never touched.

    Args:
        study: The study's name.
        place: What the study says of it.
    """

    def __init__(self, study: str, place: str):
        self._study = study
        self._place = place

    def write(self, trial_id: int | None, name: str, content: Content) -> Artefact:
        """Refuses."""
        raise self.refusal()

    def read(self, artefact: Artefact) -> bytes:
        """Refuses."""
        raise self.refusal()

    def delete(self, artefact: Artefact) -> None:
        """Refuses."""
        raise self.refusal()

    def refusal(self) -> StudyError:
        """What its user can do."""
        shown = ascii(self._place[:_SHOWN])
        return StudyError(
            f"study {self._study!r} keeps the files of its trials in {shown}, which is used only if you name it, too: "
            f"give artefacts={shown} (--artefacts) if you trust that place"
        )


def open_artefacts(folder: pathlib.Path, record: StudyRecord, place: str | None) -> ArtefactStore:
    """Where a study keeps its files: in its folder, or in the place that its user names.

    A study may come from a stranger. The place that is stored with it is compared only: nothing is opened there unless
    the user names the same one.

    Args:
        folder: The study's.
        record: What the study is.
        place: The place that the user names; None for none.

    Raises:
        StudyError: if the user names another place than the study.
        UserError: if the place cannot be used.
    """
    stored = record.settings.get("artefacts")
    if stored is not None and not isinstance(stored, str):
        raise StudyError(f"the settings of study {record.name!r} are damaged: artefacts is {stored!r:.80}")
    if place is None:
        return LocalArtefacts(folder) if stored is None else UnnamedPlace(record.name, stored)
    # Earlier versions stored a relative path, as it was given.
    if stored is None or absolute_place(place).rstrip("/") != absolute_place(stored).rstrip("/"):
        own = "its own folder" if stored is None else ascii(stored[:_SHOWN])
        raise StudyError(
            f"study {record.name!r} keeps its files in {own}, not in {place}; "
            + ("leave artefacts out to continue it" if stored is None else "name that place")
            + ", or choose another study"
        )
    return shared_artefacts(folder, place, _id_of(record))


def shared_artefacts(folder: pathlib.Path, place: str | None, own_id: str | None = None) -> ArtefactStore:
    """The files of a study in a place that its user names.

    Args:
        folder: The study's.
        place: The place; None for the study's own folder.
        own_id: What tells the study from others of its name in that place; None for one of an earlier version.

    Raises:
        UserError: if the place cannot be used.
    """
    if place is None:
        return LocalArtefacts(folder)
    own = folder.name if own_id is None else f"{'/'.join(folders_of(folder))}-{own_id}"
    return SharedArtefacts(f"{place.rstrip('/')}/{own}")


def new_id() -> str:
    """What tells a new study from others of its name in a shared place; no random choice of a study depends on it."""
    return secrets.token_hex(4)


def _id_of(record: StudyRecord) -> str | None:
    found = record.settings.get(ID_SETTING)
    if found is not None and not (isinstance(found, str) and _ID.fullmatch(found)):
        raise StudyError(f"the settings of study {record.name!r} are damaged: {ID_SETTING} is {found!r:.80}")
    return found


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"
