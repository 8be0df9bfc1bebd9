"""Recordings: reading WAV files, and bringing them to one rate and one channel."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import math
import os
import pathlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np

from model_search.data.audio.log_mel import LogMel
from model_search.data.files.labelled_files import FileKind, named, size_of
from model_search.data.files.read_ahead import read_ahead
from model_search.errors import DataError

MAX_FILE_BYTES = 500_000_000
MAX_SECONDS = 600.0  # of one recording
_NEARLY_ALL = 0.99  # of the samples; some programs count a few bytes too many
_OF_A_PIPE = 0x7FFF0000  # bytes of samples; from these on, programs that do not know the number write one
_HEADER_BYTES = 4096  # of a file, in which its format is looked for
_UNREAD = {".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".wma", ".aif", ".aiff", ".au", ".amr"}
RECORDINGS = FileKind("recordings", frozenset({".wav", ".wave"}), frozenset(_UNREAD), "WAV")


class DamagedRecordingError(DataError):
    """A file that is no recording; the message is the reason, without the name."""


@dataclasses.dataclass(frozen=True)
class Recording:
    """A recording.

    Attributes:
        rate: Samples a second.
        samples: float32 [samples], from -1 to 1; the mean of several channels.
    """

    rate: int
    samples: np.ndarray

    def at(self, rate: int) -> np.ndarray:
        """The samples at another rate, by a polyphase filter."""
        if rate == self.rate:
            return self.samples
        from math import gcd

        from scipy.signal import resample_poly

        common = gcd(rate, self.rate)
        return np.asarray(resample_poly(self.samples, rate // common, self.rate // common), np.float32)


def read_wav(path: str | os.PathLike[str]) -> Recording:
    """A WAV file of whole numbers or floats.

    Raises:
        DamagedRecordingError: if it is none, or longer than `MAX_SECONDS`.
    """
    from scipy.io import wavfile

    try:
        size = size_of(path)
        if size > MAX_FILE_BYTES:
            raise DamagedRecordingError(f"its file has {size:,} bytes; expected at most {MAX_FILE_BYTES:,}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of other programs
            rate, samples = wavfile.read(path)
    except OSError as error:
        raise DamagedRecordingError(f"it cannot be read ({error.strerror or error})") from None
    except (
        ValueError,
        EOFError,
        MemoryError,
        TypeError,
        KeyError,
        IndexError,
        ZeroDivisionError,
        OverflowError,
    ) as error:
        raise DamagedRecordingError(f"it is no WAV file that can be read ({error})") from None
    except Exception as error:  # SciPy raises struct.error, ValueError and others for a damaged header
        raise DamagedRecordingError(f"it is no WAV file that can be read ({error})") from None
    if not rate or not samples.size:
        raise DamagedRecordingError("it holds no samples")
    if len(samples) > MAX_SECONDS * rate:
        raise DamagedRecordingError(f"it is {len(samples) / rate:.0f} s long; expected at most {MAX_SECONDS:.0f}")
    floats = _as_floats(samples)
    if not np.isfinite(floats).all():
        raise DamagedRecordingError("it holds samples that are not finite")
    return Recording(int(rate), floats if floats.ndim == 1 else floats.mean(axis=1))


def features_of(
    paths: Sequence[pathlib.Path], wanted: LogMel, threads: int | None = None
) -> tuple[list[np.ndarray], list[tuple[int, str]]]:
    """The features of many files.

    Args:
        paths: The files.
        wanted: How features are computed; recordings of other rates are resampled.
        threads: How many threads read; as many as there are cores where None.

    Returns:
        float32 [steps, bands] for each file, and the damaged files: position and reason (theirs have no step).
    """
    found = list(each_features(paths, wanted, threads))
    empty = np.zeros((0, wanted.bands), np.float32)
    damaged = [(row, reason) for row, reason in enumerate(found) if isinstance(reason, str)]
    return [empty if isinstance(features, str) else features for features in found], damaged


def each_features(
    paths: Sequence[pathlib.Path], wanted: LogMel, threads: int | None = None
) -> Iterator[np.ndarray | str]:
    """The features of one file after the other; few are in memory at a time.

    Args:
        paths: The files.
        wanted: How features are computed; recordings of other rates are resampled.
        threads: How many threads read; as many as there are cores where None.

    Yields:
        float32 [steps, bands]; of a damaged file the reason.
    """

    def one(path: pathlib.Path) -> np.ndarray | str:
        try:
            return wanted.features(read_wav(path).at(wanted.rate))
        except DamagedRecordingError as error:
            return str(error)

    count = threads or os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        yield from read_ahead(pool, one, paths, 4 * count)


def steps_by_header(path: pathlib.Path, wanted: LogMel) -> int:
    """About how many vectors a WAV file gives, by the rate in its header and the size of the file; 0 if it is none.

    A damaged file may give fewer, or none.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        return 0
    order: Literal["little", "big"] = "big" if head[:4] == b"RIFX" else "little"
    at = head.find(b"fmt ")
    if head[8:12] != b"WAVE" or at < 0 or at + 24 > len(head):
        return 0
    rate, frame = (
        int.from_bytes(head[at + start : at + end], order) for start, end in ((12, 16), (20, 22))
    )  # samples a second, bytes a sample of all channels
    if not rate or not frame:
        return 0
    seconds = min(size / frame / rate, MAX_SECONDS)
    return wanted.steps(math.ceil(seconds * wanted.rate))


def cut_off(paths: Iterable[pathlib.Path]) -> list[tuple[pathlib.Path, str]]:
    """The WAV files that end before their header says, each with a reason; their samples are read as far as they go.

    A file that was written to a pipe says nothing of its length.
    """
    found = ((path, _cut_off(path)) for path in paths)
    return [(path, reason) for path, reason in found if reason]


def note_of_cut_off(paths: Sequence[pathlib.Path]) -> list[str]:
    """A sentence that names the files that end before their header says, if there are any."""
    found = cut_off(paths)
    if not found:
        return []
    many = f"{len(found)} of {len(paths)} recordings"
    return [f"{many} end before their header says, and are read as far as they go: {named(found)}"]


def _cut_off(path: pathlib.Path) -> str:
    try:
        with path.open("rb") as file:
            head, size = file.read(12), os.fstat(file.fileno()).st_size
            order: Literal["little", "big"] = "big" if head[:4] == b"RIFX" else "little"
            if head[:4] not in (b"RIFF", b"RIFX") or head[8:] != b"WAVE":
                return ""
            rate = 0  # bytes a second
            while len(chunk := file.read(8)) == 8:
                expected, start = int.from_bytes(chunk[4:], order), file.tell()
                if chunk[:4] == b"fmt ":
                    rate = int.from_bytes(file.read(12)[8:], order)
                if chunk[:4] == b"data":
                    there = size - start
                    is_cut = rate > 0 and 0 < there < _NEARLY_ALL * expected and expected < _OF_A_PIPE
                    return f"it holds {there / rate:.3g} of {expected / rate:.3g} s" if is_cut else ""
                file.seek(start + expected + expected % 2)
    except OSError:
        pass
    return ""


def _as_floats(samples: np.ndarray) -> np.ndarray:
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128.0) / 128.0
    if samples.dtype.kind == "i":
        return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    return samples.astype(np.float32)
