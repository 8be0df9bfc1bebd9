"""Features of recordings on disk, where they would take too much memory: one after the other, without padding."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from model_search.data.audio.log_mel import LogMel
from model_search.data.audio.recordings import each_features
from model_search.data.files.disk_cache import FEATURES_SUFFIX, Content, DiskCache, kept_on_disk, key_of
from model_search.data.files.labelled_files import named
from model_search.data.sequences.padded import Padded
from model_search.errors import DataError

_FLOAT = 4  # bytes
_FEATURES = 1  # the version of what `LogMel.features` computes; features of another one are other caches


@dataclasses.dataclass(frozen=True)
class StoredFeatures:
    """Features of recordings on disk.

    Attributes:
        values: float32 [steps of all recordings, bands], read from the file when they are used.
        lengths: int32 [recordings], the steps of each.
        damaged: The files that are no recordings: position and reason. The others are there, in their order.
        file: The file.
    """

    values: np.ndarray
    lengths: np.ndarray
    damaged: tuple[tuple[int, str], ...]
    file: pathlib.Path

    def __len__(self) -> int:
        return len(self.lengths)

    @functools.cached_property
    def _ends(self) -> np.ndarray:
        found: np.ndarray = np.cumsum(self.lengths, dtype=np.int64)
        return found

    def each(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """The features of some recordings [steps, bands], by number."""
        for row in rows:
            end = self._ends[row]
            yield self.values[end - self.lengths[row] : end]

    def padded(self, rows: np.ndarray, steps: int) -> Padded:
        """Some recordings in memory, by number, padded to a number of steps."""
        found = np.zeros((len(rows), steps, self.values.shape[1]), np.float32)
        for place, own in zip(found, self.each(rows), strict=True):
            place[: len(own)] = own
        return Padded(found, self.lengths[rows])


@dataclasses.dataclass(frozen=True)
class _About:
    """What is written of a cache."""

    rows: int
    steps: int
    damaged_rows: tuple[int, ...]
    reasons: tuple[str, ...]
    sha256: str


class _Features(Content[_About, StoredFeatures]):
    """Features of files: float32 [steps of all, bands], then the steps of each, int32 [recordings]."""

    suffix, what, smaller = FEATURES_SUFFIX, "features of the recordings", "fewer bands, or max_seconds"
    record = _About

    def __init__(self, paths: Sequence[pathlib.Path], wanted: LogMel) -> None:
        self._paths, self._wanted = paths, wanted
        self._lengths, self._damaged = list[int](), list[tuple[int, str]]()

    def blocks(self) -> Iterator[np.ndarray]:
        for row, found in enumerate(each_features(self._paths, self._wanted)):
            if isinstance(found, str):
                self._damaged.append((row, found))
                continue
            if not np.isfinite(found).all():
                raise DataError(f"the features of {self._paths[row]} are not finite; leave it out")
            self._lengths.append(len(found))
            yield found
        if not self._lengths:
            reasons = [(self._paths[row], reason) for row, reason in self._damaged]
            raise DataError(f"none of the {len(self._paths)} files can be read: {named(reasons)}")
        yield np.array(self._lengths, np.int32)

    def about(self, sha256: str) -> _About:
        rows, reasons = zip(*self._damaged, strict=True) if self._damaged else ((), ())
        return _About(len(self._lengths), sum(self._lengths), tuple(rows), tuple(reasons), sha256)

    def opened(self, file: pathlib.Path, about: _About) -> StoredFeatures | None:
        shape = (about.steps, self._wanted.bands)
        if about.rows < 1 or about.steps < about.rows:
            return None
        if len(about.damaged_rows) != len(about.reasons) or about.rows + len(about.reasons) != len(self._paths):
            return None
        if file.stat().st_size != _FLOAT * (int(np.prod(shape)) + about.rows):
            return None
        lengths = np.fromfile(file, np.int32, offset=_FLOAT * int(np.prod(shape)))
        if lengths.min() < 1 or lengths.sum(dtype=np.int64) != about.steps:
            return None
        damaged = tuple(zip(about.damaged_rows, about.reasons, strict=True))
        return StoredFeatures(np.memmap(file, np.float32, "r", shape=shape), lengths, damaged, file)


def features_on_disk(paths: Sequence[pathlib.Path], wanted: LogMel, steps: int, cache: DiskCache) -> StoredFeatures:
    """Computes features into a cache, or finds the cache in which that was done before.

    Args:
        paths: The files; others, or other sizes and times of these, are another cache.
        wanted: How features are computed.
        steps: About how many vectors all files give together.
        cache: Where caches are, and how large they may be.

    Raises:
        DataError: if there is no room, or no file can be read.
    """
    key = key_of(paths, {"features": _FEATURES, **wanted.to_json()})
    return kept_on_disk(key, _Features(paths, wanted), _FLOAT * (steps * wanted.bands + len(paths)), cache)
