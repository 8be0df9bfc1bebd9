"""What many files hold, on disk, where it would take too much memory: made once, by one process, and read by all.

A cache is two files, `KEY.SUFFIX` (numbers) and `KEY.json`. The second one says what the first one holds, with its
SHA-256, and is written last, each under a temporary name: what a killed writer leaves is never taken for a cache.
Writers hold a lock of the operating system, which ends with their process; who comes second waits, and reads what the
first one made.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from model_search.data.checked_json import read_record
from model_search.errors import DamagedRecordError, DataError

GIB = 2**30
PICTURES_SUFFIX, FEATURES_SUFFIX = "pictures", "features"
_SUFFIXES = (PICTURES_SUFFIX, FEATURES_SUFFIX)  # of the files that make room for others
_HASHED_AT_ONCE = 2**26  # bytes
_SPARE = GIB  # of a disk, that stays free
_Record = TypeVar("_Record")
_Opened = TypeVar("_Opened")


@dataclasses.dataclass(frozen=True)
class DiskCache:
    """Where decoded pictures, or features of recordings, go that take too much memory.

    Attributes:
        memory_gb: Up to so many GiB stay in memory; half of what is free, at most 4, where None.
        folder: The folder of caches; "model_search" in the user's cache folder where None.
        most_gb: How large all caches together may be, in GiB; those not used for longest are deleted first.
    """

    memory_gb: float | None = None
    folder: str | os.PathLike[str] | None = None
    most_gb: float = 100.0

    def __post_init__(self) -> None:
        for name in ("memory_gb", "most_gb"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise DataError(f"{name} is {value}; expected a number of GiB from 0 on")

    @property
    def memory_bytes(self) -> int:
        """Up to how many bytes stay in memory."""
        if self.memory_gb is not None:
            return int(self.memory_gb * GIB)
        import psutil

        return min(4 * GIB, int(psutil.virtual_memory().available) // 2)

    @property
    def place(self) -> pathlib.Path:
        """The folder of caches."""
        if self.folder is not None:
            return pathlib.Path(self.folder).expanduser()
        return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "model_search"


class Content(abc.ABC, Generic[_Record, _Opened]):
    """What a cache holds of some files; an object writes it at most once.

    Attributes:
        suffix: Of the file of numbers.
        what: What it is called in messages.
        smaller: How it takes less room, for messages.
        record: The dataclass of `KEY.json`, with a field `sha256`.
    """

    suffix: ClassVar[str]
    what: ClassVar[str]
    smaller: ClassVar[str]
    record: type[_Record]

    @abc.abstractmethod
    def blocks(self) -> Iterator[np.ndarray]:
        """The file of numbers, block by block.

        Raises:
            DataError: if there is nothing to write.
        """

    @abc.abstractmethod
    def about(self, sha256: str) -> _Record:
        """The record of what `blocks` gave."""

    @abc.abstractmethod
    def opened(self, file: pathlib.Path, about: _Record) -> _Opened | None:
        """What is read from a file with the record's SHA-256; None where the record does not fit it."""


def key_of(paths: Sequence[pathlib.Path], settings: Mapping[str, Any]) -> str:
    """The name of a cache: other files, other sizes or times of these, or other settings have another one."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in paths:
        try:
            about = path.stat()
            digest.update(repr((os.fspath(path.absolute()), about.st_size, about.st_mtime_ns)).encode())
        except OSError:  # it is found out to be damaged when it is read
            digest.update(repr((os.fspath(path.absolute()), None)).encode())
    return digest.hexdigest()[:32]


def kept_on_disk(key: str, content: Content[_Record, _Opened], needed: int, cache: DiskCache) -> _Opened:
    """Writes content into a cache, or finds the cache in which that was done before.

    Args:
        key: From `key_of`.
        content: What is kept.
        needed: About how many bytes it takes.
        cache: Where caches are, and how large they may be.

    Raises:
        DataError: if there is no room.
    """
    folder = cache.place
    file = folder / f"{key}.{content.suffix}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _claimed(folder / f"{key}.lock"):
            found = _found(file, content)
            if found is None:
                _make_room(file, content, needed, cache)
                _write(file, content)
                found = _found(file, content)
    except OSError as error:
        raise DataError(
            f"{content.what} cannot be kept in {folder}: {error.strerror or error}; name another folder, "
            "cache=DiskCache(folder=...)"
        ) from error
    if found is None:
        raise DataError(f"{file} changed while it was made; delete it, and try again")
    return found


@contextlib.contextmanager
def _claimed(place: pathlib.Path) -> Iterator[None]:
    """Within this context no other process is in it; where there are no such locks, each makes a cache of its own."""
    with place.open("a") as file:
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _found(file: pathlib.Path, content: Content[_Record, _Opened]) -> _Opened | None:
    """What the cache holds; None where there is none, or its content is not what was written."""
    try:
        values = json.loads(file.with_suffix(".json").read_bytes())
        about = read_record(content.record, values, f"a cache of {content.what}")
        if _sha256(file) != values["sha256"]:
            return None
    except (OSError, ValueError, DamagedRecordError):
        return None
    found = content.opened(file, about)
    if found is not None:
        os.utime(file)  # used now
    return found


def _sha256(file: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(_HASHED_AT_ONCE):
            digest.update(block)
    return digest.hexdigest()


def _write(file: pathlib.Path, content: Content[Any, Any]) -> None:
    """Writes temporary files, which get their names once they are complete."""
    digest = hashlib.sha256()
    for left in file.parent.glob(f".{file.stem}.*"):  # of a writer that was killed; nobody else holds the lock
        left.unlink(missing_ok=True)

    def blocks() -> Iterator[memoryview]:
        for block in content.blocks():
            data = np.ascontiguousarray(block).data
            digest.update(data)
            yield data

    _write_file(file, blocks())
    about = dataclasses.asdict(content.about(digest.hexdigest()))
    _write_file(file.with_suffix(".json"), [json.dumps(about).encode()])


def _write_file(place: pathlib.Path, blocks: Iterable[Any]) -> None:
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            for block in blocks:
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


def _make_room(own: pathlib.Path, content: Content[Any, Any], needed: int, cache: DiskCache) -> None:
    """Deletes caches that were not used for longest, until there is room.

    Raises:
        DataError: if there is none all the same.
    """
    most, folder = int(cache.most_gb * GIB), own.parent
    if needed > most:
        raise DataError(
            f"the {content.what} need {needed / GIB:.1f} GiB on disk; expected at most {cache.most_gb:g}: choose "
            f"{content.smaller}, or cache=DiskCache(most_gb=...)"
        )
    others = sorted(
        (about.st_mtime_ns, about.st_size, file)
        for suffix in _SUFFIXES
        for file in folder.glob(f"*.{suffix}")
        if file != own and (about := file.stat())
    )
    total = sum(size for _, size, _ in others)
    for _, size, file in others:
        if total + needed <= most and shutil.disk_usage(folder).free >= needed + _SPARE:
            break
        for one in (file.with_suffix(".json"), file):
            one.unlink(missing_ok=True)
        total -= size
    if shutil.disk_usage(folder).free < needed + _SPARE:
        raise DataError(
            f"the {content.what} need {needed / GIB:.1f} GiB, and {folder} has "
            f"{shutil.disk_usage(folder).free / GIB:.1f} GiB free; name another folder, cache=DiskCache(folder=...)"
        )
