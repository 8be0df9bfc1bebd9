"""Arrays in files on disk, as another process on the same machine is told of them: by their place, without content."""

from __future__ import annotations

import contextlib
import dataclasses
import mmap
import os
import pathlib
from typing import Any, BinaryIO

import numpy as np

from model_search.errors import DataError

_DESCRIPTORS = "/dev/fd"  # the files that are open in a process, by number; also those that were deleted since
_PIECES, _PIECE = 64, 4096  # that are compared, and bytes of each


@dataclasses.dataclass(frozen=True)
class MappedArray:
    """Where the values of an array are.

    Attributes:
        path: The file.
        number: That of the open file, in the process that tells of it and in those that it starts with it.
        identity: What tells the file from one that took its place: device and number on it.
        start: The first byte of the file that belongs to the array.
        size: How many bytes lie between the first and the last one.
        first: Bytes from `start` to the first value.
        dtype: The type of a value.
        shape: The array's.
        strides: Bytes from a value to the next, along each axis.
    """

    path: str
    number: int
    identity: tuple[int, int]
    start: int
    size: int
    first: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def opened(self) -> np.ndarray:
        """The array, whose values are read from the file when they are used.

        Raises:
            DataError: if the file is gone.
        """
        for place in (f"{_DESCRIPTORS}/{self.number}", self.path):
            with contextlib.suppress(OSError, ValueError), pathlib.Path(place).open("rb") as file:
                about = os.fstat(file.fileno())
                if (about.st_dev, about.st_ino) == self.identity:
                    return self._read(file)
        raise DataError(
            f"{self.path}, which holds the data, is gone or another one; expected it as it was when the search began: "
            "search again, with more room for such files if another search deleted it, cache=DiskCache(most_gb=...)"
        )

    def _read(self, file: BinaryIO) -> np.ndarray:
        content = np.memmap(file, np.uint8, "r", self.start, (self.size,))
        return np.ndarray(self.shape, self.dtype, content, self.first, self.strides)


def mapped(array: np.memmap[Any, Any]) -> tuple[MappedArray, BinaryIO] | None:
    """Where the values of an array are, and the open file, which has to stay open; None where nobody can tell.

    An array that can be changed, or whose file has another content by now, has to be sent with its values.
    """
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    base = base.obj if isinstance(base, memoryview) else base
    if not isinstance(base, mmap.mmap) or array.mode != "r" or array.filename is None or not array.size:
        return None
    address = _address(array)
    spans = [(count - 1) * stride for count, stride in zip(array.shape, array.strides, strict=True)]
    lowest = address + sum(min(0, span) for span in spans)
    size = address - lowest + sum(max(0, span) for span in spans) + array.itemsize
    within = lowest - _address(np.frombuffer(base, np.uint8))
    start = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY + within
    try:
        path = pathlib.Path(array.filename).absolute()
        file = path.open("rb")
    except OSError:
        return None
    about = os.fstat(file.fileno())
    identity = (about.st_dev, about.st_ino)
    found = MappedArray(
        str(path), file.fileno(), identity, start, size, address - lowest, array.dtype, array.shape, array.strides
    )
    if about.st_size >= start + size and _is_same(file, start, memoryview(base)[within : within + size]):
        return found, file
    file.close()
    return None


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _is_same(file: BinaryIO, start: int, values: memoryview) -> bool:
    """Whether a file holds these bytes, as far as pieces of it tell."""
    for place in np.linspace(0, max(0, len(values) - _PIECE), _PIECES).astype(int).tolist():
        file.seek(start + place)
        piece = values[place : place + _PIECE]
        if file.read(len(piece)) != piece:
            return False
    return True
