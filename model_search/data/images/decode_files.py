"""Many picture files as one array, decoded by several threads."""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from model_search.data.files.read_ahead import read_ahead
from model_search.data.images.picture_format import (
    DamagedPictureError,
    PictureFormat,
    PictureHeader,
    header,
    largest_of_sixteen_bits,
)
from model_search.errors import DataError

MAX_BYTES = 4 * 2**30  # of pictures that are predicted or evaluated at once
MAX_SIDE = 224  # of a picture whose size is not given
_Result = TypeVar("_Result")
_HEADERS = 2000  # files whose headers decide the size
_DEPTHS = 100  # files of which the largest numbers are looked at
_DIM = 2**14  # in pictures of sixteen bits, numbers below are dark: 63 of 255
_PROGRESS_FROM = 500  # files from which progress is shown
_BLOCK = 64  # files that a thread decodes at a time


def chosen_format(
    paths: Sequence[pathlib.Path], height: int | None, width: int | None, channels: int | None, rules: int
) -> tuple[PictureFormat, str]:
    """The format for some files, and a sentence on what was chosen from them.

    What is not given is chosen from the files' headers: the median height and width, scaled down until no side is
    longer than `MAX_SIDE`; grey where all pictures are grey, and alpha where all have it. `rules` are the study's
    `PrepareOptions.reading_rules`.

    Raises:
        DataError: if no file is a picture.
    """
    if height is not None and width is not None and channels is not None:
        return PictureFormat(height, width, channels, rules), ""
    step = max(1, len(paths) // _HEADERS)
    found = [head for head in (_header_or_none(path, rules) for path in paths[::step]) if head is not None]
    if not found:
        raise DataError(f"none of the {len(paths)} files is a picture, such as {paths[0]}")
    kinds = Counter(head.channels for head in found)
    middle = (float(np.median([head.height for head in found])), float(np.median([head.width for head in found])))
    shrink = min(1.0, MAX_SIDE / max(middle))
    size = [given or max(1, round(side * shrink)) for given, side in zip((height, width), middle, strict=True)]
    if channels is None:
        channels = next(iter(kinds)) if len(kinds) == 1 else 3
    sizes = len({(head.height, head.width) for head in found})
    chosen = PictureFormat(size[0], size[1], channels, rules)
    if sizes == 1 and len(kinds) == 1 and shrink == 1.0 and None in (height, width):
        return chosen, ""
    asked = "" if None in (height, width) else ", as asked"
    return chosen, (
        f"pictures of {sizes} different sizes are stretched to {chosen.height} x {chosen.width} pixels{asked}, with "
        f"{chosen.channels} channel{'s' if chosen.channels > 1 else ''}"
    )


def note_of_few_bits(paths: Sequence[pathlib.Path], rules: int) -> str:
    """A sentence if pictures of sixteen bits use few of these, and become nearly black; empty if none do.

    Args:
        paths: The files; of many, some are looked at.
        rules: The study's `PrepareOptions.reading_rules`.
    """
    looked_at = paths[:: max(1, -(-len(paths) // _DEPTHS))]
    found = [one for one in (largest_of_sixteen_bits(path, rules) for path in looked_at) if one is not None]
    largest = max(found, default=0)
    if not 0 < largest < _DIM:
        return ""
    of_all = "" if len(looked_at) == len(paths) else f" (of {len(looked_at)} that were looked at)"
    return (
        f"{len(found)} pictures of sixteen bits{of_all} hold numbers up to {largest:,}, of 65,535, and become nearly "
        f"black; if they have {largest.bit_length()} bits, multiply their numbers by {2 ** (16 - largest.bit_length())}"
    )


def decode(
    paths: Sequence[pathlib.Path], wanted: PictureFormat, threads: int | None = None, most_bytes: int = MAX_BYTES
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Decodes files.

    Args:
        paths: The files.
        wanted: The format of the result.
        threads: How many threads decode; as many as there are cores where None.
        most_bytes: How much memory the result may take.

    Returns:
        uint8 [pictures, height, width, channels] of the others in their order, and the damaged files: position and
        reason.

    Raises:
        DataError: if they need more memory.
    """
    needed = len(paths) * int(np.prod(wanted.shape))
    if needed > most_bytes:
        raise DataError(
            f"{len(paths)} pictures of {wanted.height} x {wanted.width} x {wanted.channels} need {needed / 2**30:.1f} "
            f"GiB of memory; expected at most {most_bytes / 2**30:.0f}: choose a smaller image_height and image_width"
        )
    found = np.zeros((len(paths), *wanted.shape), np.uint8)
    damaged: list[tuple[int, str]] = []
    kept = 0
    for pictures, bad in decoded_blocks(paths, wanted, threads):
        found[kept : kept + len(pictures)] = pictures
        kept += len(pictures)
        damaged += bad
    return found[:kept], damaged


def decoded_blocks(
    paths: Sequence[pathlib.Path], wanted: PictureFormat, threads: int | None = None
) -> Iterator[tuple[np.ndarray, list[tuple[int, str]]]]:
    """Decodes files, a few dozen at a time; a bar on a terminal shows how far that is.

    Args:
        paths: The files.
        wanted: The format of the result.
        threads: How many threads decode; as many as there are cores where None.

    Yields:
        uint8 [pictures, height, width, channels] of the next files, and the damaged ones among these: position among
        all and reason.
    """

    def block(start: int) -> tuple[np.ndarray, list[tuple[int, str]]]:
        pictures, bad = [], []
        for row in range(start, min(start + _BLOCK, len(paths))):
            try:
                pictures.append(wanted.read_file(paths[row]))
            except DamagedPictureError as error:
                bad.append((row, str(error)))
        return np.array(pictures, np.uint8).reshape(-1, *wanted.shape), bad

    count = threads or os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        yield from _shown(read_ahead(pool, block, range(0, len(paths), _BLOCK), 2 * count), len(paths))


def _shown(blocks: Iterable[_Result], files: int) -> Iterable[_Result]:
    """The same blocks; a bar on a terminal shows how far the reading is."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    quiet = files < _PROGRESS_FROM or not console.is_terminal
    total = -(-files // _BLOCK)
    return track(blocks, "reading pictures", total, console=console, transient=True, disable=quiet)


def _header_or_none(path: pathlib.Path, rules: int) -> PictureHeader | None:
    try:
        return header(path, rules)
    except DamagedPictureError:
        return None
