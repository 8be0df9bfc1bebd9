"""Decoded pictures on disk, where they would take too much memory."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from model_search.data.files.disk_cache import PICTURES_SUFFIX, Content, DiskCache, kept_on_disk, key_of
from model_search.data.images.decode_files import decoded_blocks
from model_search.data.images.picture_format import PictureFormat
from model_search.errors import DataError


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


class _Pictures(Content[_About, CachedPictures]):
    """Pictures of files in a format."""

    suffix, what, smaller = PICTURES_SUFFIX, "decoded pictures", "a smaller image_height and image_width"
    record = _About

    def __init__(self, paths: Sequence[pathlib.Path], wanted: PictureFormat) -> None:
        self._paths, self._wanted = paths, wanted
        self._rows, self._damaged = 0, list[tuple[int, str]]()

    def blocks(self) -> Iterator[np.ndarray]:
        for found, bad in decoded_blocks(self._paths, self._wanted):
            self._damaged += bad
            self._rows += len(found)
            yield found
        if not self._rows:
            raise DataError(f"none of the {len(self._paths)} files can be read, such as {self._paths[0]}")

    def about(self, sha256: str) -> _About:
        rows, reasons = zip(*self._damaged, strict=True) if self._damaged else ((), ())
        return _About(self._rows, self._wanted.shape, tuple(rows), tuple(reasons), sha256)

    def opened(self, file: pathlib.Path, about: _About) -> CachedPictures | None:
        shape = (about.rows, *self._wanted.shape)
        if about.shape != self._wanted.shape or about.rows < 1 or file.stat().st_size != int(np.prod(shape)):
            return None
        if len(about.damaged_rows) != len(about.reasons):
            return None
        damaged = tuple(zip(about.damaged_rows, about.reasons, strict=True))
        return CachedPictures(np.memmap(file, np.uint8, "r", shape=shape), damaged, file)


def on_disk(paths: Sequence[pathlib.Path], wanted: PictureFormat, cache: DiskCache) -> CachedPictures:
    """Decodes files into a cache, or finds the cache in which that was done before.

    Args:
        paths: The files; others, or other sizes and times of these, are another cache.
        wanted: The format of the pictures.
        cache: Where caches are, and how large they may be.

    Raises:
        DataError: if there is no room.
    """
    needed = len(paths) * int(np.prod(wanted.shape))
    return kept_on_disk(key_of(paths, wanted.to_json()), _Pictures(paths, wanted), needed, cache)
