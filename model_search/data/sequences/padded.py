"""Sequences of different lengths as one padded array with lengths."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from model_search.data.files.disk_cache import GIB
from model_search.data.prepare_options import RULES_OF_ANY_SCALE, RULES_OF_NEW_STUDIES
from model_search.data.rows import Arrays, InputSpec, clip, with_missing
from model_search.errors import DataError

SEQUENCE = "sequence"  # the input of a tower that reads sequences
LENGTHS = "lengths"  # the input that holds their lengths
USUAL_SHARE, LONG = 0.97, 2.0  # of the sequences are no longer; the longest is so many times as long, which is said
_HUGE = 1e18  # the rounding of such numbers is itself no small number
_SMALLEST = 1e-30  # a channel whose numbers are all smaller by far is one of zeros
_BLOCK = 2**18  # numbers that are checked at a time


@dataclasses.dataclass(frozen=True)
class Padded:
    """Sequences of equal width, padded at their ends with zeros.

    Attributes:
        values: float32 [rows, steps, channels].
        lengths: int32 [rows], the valid steps of each row, at least 1.
        clipped: How many rows held numbers beyond 1e30 when they were read.
    """

    values: np.ndarray
    lengths: np.ndarray
    clipped: int = 0

    def __len__(self) -> int:
        return len(self.values)

    @property
    def valid(self) -> np.ndarray:
        """Which steps are no padding, bool [rows, steps]."""
        found: np.ndarray = np.arange(self.values.shape[1]) < self.lengths[:, None]
        return found

    @property
    def inputs(self) -> Arrays:
        """The inputs of a tower."""
        return {SEQUENCE: self.values, LENGTHS: self.lengths}

    def take(self, rows: np.ndarray) -> Padded:
        """Some of the rows, by number or mask."""
        return Padded(self.values[rows], self.lengths[rows])

    def with_steps(self, at_least: int) -> Padded:
        """The same sequences, padded to a number of steps, or to that of the longest if it has more."""
        steps = max(at_least, int(self.lengths.max(initial=0)))
        if steps == self.values.shape[1]:
            return self
        found = _zeros((len(self), steps, self.values.shape[2]), "give fewer sequences at a time")
        kept = min(steps, self.values.shape[1])
        found[:, :kept] = self.values[:, :kept]
        return dataclasses.replace(self, values=found)

    def spec(self, at_least: int = 0, rules: int = RULES_OF_NEW_STUDIES) -> InputSpec:
        """What a tower reads, with the mean and the deviation of each channel over the valid steps.

        Args:
            at_least: To how many steps the sequences are padded later, if to more than now.
            rules: The study's rules of reading.
        """
        rows = zip(self.values, self.lengths.tolist(), strict=True)
        steps, channels = self.values.shape[1:]
        valid_steps = [np.concatenate([row[:valid] for row, valid in rows])]
        return spec_of_steps(valid_steps, (max(at_least, steps), channels), rules)


def spec_of_steps(blocks: Iterable[np.ndarray], shape: tuple[int, ...], rules: int = RULES_OF_NEW_STUDIES) -> InputSpec:
    """What a tower reads, from all valid steps.

    Mean and deviation of a channel are those of all blocks, by the update of Chan, Golub & LeVeque ("Updating Formulae
    and a Pairwise Algorithm for Computing Sample Variances", 1979).

    Args:
        blocks: The valid steps, [steps, channels] each; one is in memory at a time.
        shape: That of a padded sequence: (steps, channels).
        rules: The study's rules of reading.
    """
    count, largest = 0, np.zeros(shape[1])
    mean, squares = np.zeros(shape[1]), np.zeros(shape[1])
    for block in blocks:
        steps = block.astype(np.float64)
        total = count + len(steps)
        own = steps.mean(axis=0)
        squares += np.square(steps - own).sum(axis=0) + np.square(own - mean) * (count * len(steps) / total)
        mean += (own - mean) * (len(steps) / total)
        largest = np.maximum(largest, np.abs(steps).max(axis=0))
        count = total
    deviation = divisors(np.sqrt(squares / count), largest, rules)
    return InputSpec(
        shape,
        lengths=LENGTHS,
        mean=tuple(float(value) for value in mean),
        deviation=tuple(float(value) for value in deviation),
    )


def divisors(deviation: np.ndarray, largest: np.ndarray, rules: int) -> np.ndarray:
    """What the values of each channel are divided by: their deviation; 1 for a constant channel of no huge number.

    Args:
        deviation: Of each channel.
        largest: The largest absolute value of each.
        rules: The study's rules of reading.
    """
    if rules < RULES_OF_ANY_SCALE:
        return np.where(deviation < 1e-6 * np.maximum(1.0, largest), 1.0, deviation)
    whole = np.where(largest > _HUGE, largest, 1.0)
    return np.where(deviation < 1e-6 * np.maximum(largest, _SMALLEST), whole, deviation)


def unmarked_padding(x: Any, lengths: Any = None) -> str | None:
    """A sentence where rows of one array end in steps of zeros that count as valid, since no lengths are given."""
    if lengths is not None or not isinstance(x, np.ndarray) or x.dtype.kind not in "biuf" or x.ndim not in (2, 3):
        return None
    last = x[:, -1:] if x.ndim == 2 else x[:, -1]
    rows = int((~last.any(axis=-1)).sum()) if 0 not in x.shape else 0
    if not rows:
        return None
    return f"{rows} of {len(x)} sequences end in a step of zeros, which counts as valid; give lengths if it is padding"


def note_of_lengths(lengths: np.ndarray) -> str | None:
    """A sentence where few sequences are much longer than the others, which then cost as much as the longest."""
    if not len(lengths):
        return None
    longest, usual = int(lengths.max()), max(1, int(np.quantile(lengths, USUAL_SHARE)))
    if longest <= LONG * usual:
        return None
    return (
        f"the longest sequence has {longest:,} steps, {USUAL_SHARE:.0%} of all have at most {usual:,}, and each costs "
        "as much time and memory as the longest; a search is faster without the longer ones, or with these cut"
    )


def no_sequences(channels: int) -> Padded:
    """No rows, as those of a study whose sequences have so many channels."""
    return Padded(np.empty((0, 1, channels), np.float32), np.empty(0, np.int32))


def padded(x: Any, lengths: Any = None) -> Padded:
    """Sequences as one array; numbers beyond 1e30 become 1e30.

    Args:
        x: A list of arrays [steps, channels] (or [steps] for one channel) of different lengths; or an array [rows,
            steps, channels] (or [rows, steps]). What a masked array masks is missing.
        lengths: The valid steps of each row of an array; all where None.

    Raises:
        DataError: if they have different widths, no steps, or hold what is no finite number; or if they need more than
            half of the memory that is free.
    """
    if isinstance(x, np.ndarray) and x.dtype != object:
        return _of_array(x, lengths)
    if lengths is not None:
        raise DataError("lengths belong to one padded array; a list of sequences has its own")
    if not isinstance(x, Sequence | np.ndarray) or not len(x):
        raise DataError(
            f"received {type(x).__name__}; expected a list of sequences, or one array [rows, steps, channels]"
        )
    parts = [_of_one(item, row) for row, item in enumerate(x, start=1)]
    width = parts[0].shape[1]
    for row, part in enumerate(parts, start=1):
        if part.shape[1] != width:
            raise DataError(f"sequence {row} has {part.shape[1]} channels, sequence 1 has {width}; expected as many")
    counts = np.array([len(part) for part in parts])
    longest = int(counts.argmax())
    values = _zeros(
        (len(parts), int(counts[longest]), width),
        f"sequence {longest + 1} has {counts[longest]:,} steps, and all are padded to as many: cut it or leave it out",
    )
    common = np.result_type(np.float32, *{part.dtype for part in parts})
    bad: list[tuple[int, int]] = []
    with np.errstate(over="ignore"):
        for row, part in enumerate(parts):
            floats = part.astype(common, copy=False).astype(np.float32, copy=False)
            finite = np.isfinite(floats).all(axis=1)
            if not finite.all():
                bad.append((row, int(finite.argmin())))
            values[row, : len(part)] = floats
    _refuse(bad)
    return Padded(values, counts.astype(np.int32), clip(values))


def _of_array(x: np.ndarray, lengths: Any) -> Padded:
    x = with_missing(x)
    values = x[..., None] if x.ndim == 2 else x
    if values.ndim != 3 or 0 in values.shape[1:]:
        raise DataError(
            f"received sequences of shape {x.shape}; expected [rows, steps, channels], or [rows, steps] for one channel"
        )
    if values.dtype.kind not in "biuf":
        raise DataError(f"received sequences of type {values.dtype}; expected numbers")
    if lengths is None:
        return _checked(values, np.full(len(values), values.shape[1], np.int32))
    counts = np.asarray(lengths)
    if counts.shape != (len(values),) or counts.dtype.kind not in "iuf" or (counts != np.rint(counts)).any():
        raise DataError(
            f"lengths have the shape {counts.shape}; expected a whole number for each of {len(values)} rows"
        )
    bad = np.flatnonzero((counts < 1) | (counts > values.shape[1]))
    if len(bad):
        raise DataError(f"the length in row {bad[0] + 1} is {counts[bad[0]]}; expected 1 to {values.shape[1]} steps")
    return _checked(values, counts.astype(np.int32))


def _of_one(item: Any, row: int) -> np.ndarray:
    try:
        array = np.asarray(with_missing(item))
    except ValueError:
        raise DataError(
            f"sequence {row} has steps of different widths; expected numbers [steps, channels], as many in each step"
        ) from None
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "biuf":
        raise DataError(
            f"sequence {row} is {array.dtype} of shape {np.shape(item)}; expected numbers [steps, channels], at least "
            "one step"
        )
    return array


def _checked(values: np.ndarray, counts: np.ndarray) -> Padded:
    """A padded array as float32 with zeros after the valid steps; some rows at a time, so that one copy is made."""
    found = np.empty(values.shape, np.float32)
    bad: list[tuple[int, int]] = []
    clipped = 0
    number = max(1, _BLOCK // max(1, values[0].size if len(values) else 1))
    for start in range(0, len(values), number):
        rows = slice(start, start + number)
        with np.errstate(over="ignore"):
            found[rows] = values[rows]
        valid = np.arange(values.shape[1]) < counts[rows, None]
        wrong = ~np.isfinite(found[rows]).all(axis=2) & valid
        bad += [(start + int(row), int(wrong[row].argmax())) for row in np.flatnonzero(wrong.any(axis=1))]
        found[rows][~valid] = 0.0
        clipped += clip(found[rows])
    _refuse(bad)
    return Padded(found, counts, clipped)


def _refuse(bad: Sequence[tuple[int, int]]) -> None:
    """Raises DataError if there are rows with a missing or infinite number, each with its first such step."""
    if bad:
        row, step = bad[0]
        raise DataError(
            f"{len(bad)} sequences hold missing or infinite numbers (the first is number {row + 1}, at step {step + 1})"
            "; fill them in, or leave these sequences out"
        )


def _zeros(shape: tuple[int, int, int], hint: str) -> np.ndarray:
    """Room for padded sequences, float32.

    Raises:
        DataError: with the hint, if they need more than half of the memory that is free: rows are copied once more.
    """
    import psutil

    needed, room = 4 * math.prod(shape), int(psutil.virtual_memory().available) // 2
    if needed > room:
        raise DataError(
            f"{shape[0]:,} sequences, padded to {shape[1]:,} steps of {shape[2]} channels, need {needed / GIB:,.1f} "
            f"GiB of memory; expected at most {room / GIB:,.1f} GiB, half of what is free; {hint}"
        )
    return np.zeros(shape, np.float32)
