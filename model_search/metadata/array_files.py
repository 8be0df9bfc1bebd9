"""Reads arrays from files that anybody may have made: nothing is unpickled, nothing grows when it is read.

A study's `.npz` files are written without compression, so that what is in them is never larger than they are. A file
that promises more is refused before memory is taken for it: compressed or overlapping members, and arrays whose shape
does not go with the bytes that are there.
"""

from __future__ import annotations

import io
import math
import zipfile

import numpy as np

ARRAY = ".npy"
MOST_FILE_BYTES = 8 << 30
MOST_ARRAYS = 100_000


def read_arrays(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an uncompressed `.npz` file, by name.

    Raises:
        ValueError: if it promises more than it holds, or holds something else than plain arrays.
        zipfile.BadZipFile: if it is no such file; or another error of `zipfile`.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        _check_entries(entries, len(content))
        return {entry.filename.removesuffix(ARRAY): _array(archive, entry) for entry in entries}


def _check_entries(entries: list[zipfile.ZipInfo], size: int) -> None:
    if len(entries) > MOST_ARRAYS:
        raise ValueError(f"it holds {len(entries):,} arrays; expected {MOST_ARRAYS:,} at most")
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ValueError(f"{entry.filename[:80]!r} is compressed; a study's arrays are not")
    expanded = sum(entry.file_size for entry in entries)
    if expanded > size:
        raise ValueError(f"its arrays would take {expanded:,} bytes, more than the {size:,} of the file")
    if len({entry.filename for entry in entries}) < len(entries):
        raise ValueError("two of its arrays have one name")


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    content = archive.read(entry)
    _check_shape(content)
    found: np.ndarray = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return found


def _check_shape(content: bytes) -> None:
    """NumPy takes memory for the shape in the header before it reads the numbers."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"an array is in version {version} of NumPy's format; expected 1.0 or 2.0")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise ValueError("an array holds Python objects, which are never unpickled")
    there, promised = len(content) - file.tell(), math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or not dtype.itemsize or promised != there:
        raise ValueError(f"an array of shape {shape} and type {dtype} takes {promised:,} bytes; there are {there:,}")
