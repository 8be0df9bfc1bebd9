"""Decoded pictures on disk, where they would take too much memory: made once, by one process, and read by all.

A cache is two files, `KEY.pictures` and `KEY.json`. The second one says what the first one holds, with its SHA-256, and
is written last, each under a temporary name: what a killed writer leaves is never taken for a cache. Writers hold a
lock of the operating system, which ends with their process; who comes second waits, and reads what the first one made.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from model_search.data.checked_json import read_record
from model_search.data.images.decode_files import decoded_blocks
from model_search.data.images.picture_format import PictureFormat
from model_search.errors import DamagedRecordError, DataError

GIB = 2**30
_HASHED_AT_ONCE = 2**26  # bytes
_SPARE = GIB  # of a disk, that stays free


@dataclasses.dataclass(frozen=True)
class DiskCache:
    """Where decoded pictures go that take too much memory.

    Attributes:
        memory_gb: Decoded pictures of up to so many GiB stay in memory; half of what is free, at most 4, where None.
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
        """Up to how many bytes pictures stay in memory."""
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


@dataclasses.dataclass(frozen=True)
class CachedPictures:
    """Decoded pictures on disk.

    Attributes:
        pictures: uint8 [pictures, height, width, channels], read from the file when they are used.
        damaged: The files that are no pictures: position and reason. The others are there, in their order.
        file: The file.
    """

    pictures: np.ndarray
    damaged: tuple[tuple[int, str], ...]
    file: pathlib.Path


@dataclasses.dataclass(frozen=True)
class _About:
    """What is written of a cache."""

    rows: int
    shape: tuple[int, ...]
    damaged_rows: tuple[int, ...]
    reasons: tuple[str, ...]
    sha256: str


def on_disk(paths: Sequence[pathlib.Path], wanted: PictureFormat, cache: DiskCache) -> CachedPictures:
    """Decodes files into a cache, or finds the cache in which that was done before.

    Args:
        paths: The files; others, or other sizes and times of these, are another cache.
        wanted: The format of the pictures.
        cache: Where caches are, and how large they may be.

    Raises:
        DataError: if there is no room.
    """
    folder = cache.place
    key = _key(paths, wanted)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _claimed(folder / f"{key}.lock"):
            found = _found(folder, key, wanted)
            if found is None:
                _make_room(folder, key, len(paths) * int(np.prod(wanted.shape)), cache)
                _write(folder, key, paths, wanted)
                found = _found(folder, key, wanted)
    except OSError as error:
        raise DataError(
            f"decoded pictures cannot be kept in {folder}: {error.strerror or error}; name another folder, "
            "cache=DiskCache(folder=...)"
        ) from error
    if found is None:
        raise DataError(f"{folder / key}.pictures changed while it was made; delete it, and try again")
    return found


def _key(paths: Sequence[pathlib.Path], wanted: PictureFormat) -> str:
    digest = hashlib.sha256(json.dumps(wanted.to_json(), sort_keys=True).encode())
    for path in paths:
        try:
            about = path.stat()
            digest.update(repr((os.fspath(path.absolute()), about.st_size, about.st_mtime_ns)).encode())
        except OSError:  # it is found out to be damaged when it is decoded
            digest.update(repr((os.fspath(path.absolute()), None)).encode())
    return digest.hexdigest()[:32]


@contextlib.contextmanager
def _claimed(place: pathlib.Path) -> Iterator[None]:
    """Within this context no other process is in it; where there are no such locks, each makes a cache of its own."""
    with place.open("a") as file:
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _found(folder: pathlib.Path, key: str, wanted: PictureFormat) -> CachedPictures | None:
    """The cache of this key; None where there is none, or its content is not what was written."""
    file = folder / f"{key}.pictures"
    try:
        about: _About = read_record(_About, json.loads((folder / f"{key}.json").read_bytes()), "a cache of pictures")
        size = file.stat().st_size
    except (OSError, ValueError, DamagedRecordError):
        return None
    if about.shape != wanted.shape or about.rows < 1 or size != about.rows * int(np.prod(wanted.shape)):
        return None
    if len(about.damaged_rows) != len(about.reasons) or _sha256(file) != about.sha256:
        return None
    os.utime(file)  # used now
    pictures = np.memmap(file, np.uint8, "r", shape=(about.rows, *wanted.shape))
    return CachedPictures(pictures, tuple(zip(about.damaged_rows, about.reasons, strict=True)), file)


def _sha256(file: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(_HASHED_AT_ONCE):
            digest.update(block)
    return digest.hexdigest()


def _write(folder: pathlib.Path, key: str, paths: Sequence[pathlib.Path], wanted: PictureFormat) -> None:
    """Decodes into temporary files, which get their names once they are complete."""
    damaged: list[tuple[int, str]] = []
    digest, rows = hashlib.sha256(), 0
    for left in folder.glob(f".{key}.*"):  # of a writer that was killed; nobody else holds the lock
        left.unlink(missing_ok=True)

    def write(name: str, blocks: Iterator[Any]) -> None:
        temporary = folder / f".{name}.{os.getpid()}"
        try:
            with temporary.open("wb") as file:
                for block in blocks:
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(folder / name)
        finally:
            temporary.unlink(missing_ok=True)

    def pictures() -> Iterator[Any]:
        nonlocal rows
        for found, bad in decoded_blocks(paths, wanted):
            damaged.extend(bad)
            digest.update(found.data)
            rows += len(found)
            yield found.data

    write(f"{key}.pictures", pictures())
    if not rows:
        raise DataError(f"none of the {len(paths)} files can be read, such as {paths[0]}")
    about = _About(rows, wanted.shape, tuple(row for row, _ in damaged), tuple(why for _, why in damaged), "")
    whole = dataclasses.asdict(about) | {"sha256": digest.hexdigest()}
    write(f"{key}.json", iter([json.dumps(whole).encode()]))


def _make_room(folder: pathlib.Path, key: str, needed: int, cache: DiskCache) -> None:
    """Deletes caches that were not used for longest, until there is room.

    Raises:
        DataError: if there is none all the same.
    """
    most = int(cache.most_gb * GIB)
    if needed > most:
        raise DataError(
            f"the decoded pictures need {needed / GIB:.1f} GiB on disk; expected at most {cache.most_gb:g}: choose a "
            "smaller image_height and image_width, or cache=DiskCache(most_gb=...)"
        )
    others = sorted(
        (about.st_mtime_ns, about.st_size, file)
        for file in folder.glob("*.pictures")
        if file.stem != key and (about := file.stat())
    )
    total = sum(size for _, size, _ in others)
    for _, size, file in others:
        if total + needed <= most and shutil.disk_usage(folder).free >= needed + _SPARE:
            break
        for suffix in (".json", ".pictures"):
            file.with_suffix(suffix).unlink(missing_ok=True)
        total -= size
    if shutil.disk_usage(folder).free < needed + _SPARE:
        raise DataError(
            f"the decoded pictures need {needed / GIB:.1f} GiB, and {folder} has "
            f"{shutil.disk_usage(folder).free / GIB:.1f} GiB free; name another folder, cache=DiskCache(folder=...)"
        )
