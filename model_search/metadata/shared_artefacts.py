"""Files of a study in a location that several machines share: a folder, or a URL of fsspec (s3://, gs://)."""

from __future__ import annotations

import contextlib
import hashlib
import pathlib
import posixpath
import secrets
from typing import Any

from model_search.errors import StoreError, UserError
from model_search.metadata.artefacts import ArtefactStore, Content, DamagedArtefactError, LocalArtefacts
from model_search.metadata.paths import artefact_path, check_relative
from model_search.metadata.ray_store import as_bytes
from model_search.metadata.trial import Artefact


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
        except ImportError as error:
            raise UserError("artefacts= needs fsspec: pip install fsspec, or model_search[ray]") from error
        try:
            self._system, root = url_to_fs(url)
        except Exception as error:  # every file system raises its own errors
            raise UserError(
                f"artefacts is {url!r}, which cannot be used: {_words(error)}; expected a folder or URL"
            ) from error
        self._root = str(root).rstrip("/")
        self._renames = type(self._system).mv is not AbstractFileSystem.mv  # which copies, and expands "[1]"

    def write(self, trial_id: int | None, name: str, content: Content) -> Artefact:
        """Writes the whole file at once."""
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
        place = f"{self._root}/{check_relative(artefact.path)}"
        try:
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
        place = f"{self._root}/{check_relative(artefact.path)}"
        try:
            with contextlib.suppress(FileNotFoundError):
                self._system.rm_file(place)
        except Exception as error:
            raise StoreError(f"{self._url}/{artefact.path} cannot be deleted: {_words(error)}") from error


def open_artefacts(folder: pathlib.Path, settings: Any) -> ArtefactStore:
    """Where a study keeps its files: in its folder, or where its settings say."""
    url = settings.get("artefacts")
    return LocalArtefacts(folder) if url is None else SharedArtefacts(f"{url.rstrip('/')}/{folder.name}")


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"
