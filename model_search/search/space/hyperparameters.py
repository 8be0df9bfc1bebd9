"""Hyperparameters: their values, conditions and bins."""

from __future__ import annotations

import abc
import bisect
import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from model_search.metadata.trial import HyperparameterValue

BINS = 10

Bin = int | str | float | bool


@dataclasses.dataclass(frozen=True)
class Condition:
    """In effect only while another, earlier hyperparameter has one of these values."""

    name: str
    values: tuple[HyperparameterValue, ...]

    def holds(self, hyperparameters: Mapping[str, HyperparameterValue]) -> bool:
        """Whether the values so far satisfy it."""
        return hyperparameters.get(self.name) in self.values


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parameter(abc.ABC):
    """A hyperparameter.

    Attributes:
        name: Its name in a plan.
        condition: When it is in effect; always where None.
        block: The block that it belongs to; in effect only in architectures with that block.
    """

    name: str
    condition: Condition | None = None
    block: str | None = None

    def is_active(self, hyperparameters: Mapping[str, HyperparameterValue]) -> bool:
        """Whether it is in effect, given the values so far."""
        return self.condition is None or self.condition.holds(hyperparameters)

    @abc.abstractmethod
    def draw(self, rng: np.random.Generator) -> HyperparameterValue:
        """A random value."""

    @property
    @abc.abstractmethod
    def bins(self) -> Sequence[Bin]:
        """All its bins; two values in the same bin count as the same value."""

    @abc.abstractmethod
    def bin(self, value: HyperparameterValue) -> Bin:
        """The bin of a value; a value outside the range (a user's own) has a separate bin."""

    @abc.abstractmethod
    def draw_in(self, which: Bin, rng: np.random.Generator) -> HyperparameterValue:
        """A random value in one of `bins`."""

    def holds(self, value: HyperparameterValue) -> bool:
        """Whether the value is one of its values."""
        return self.bin(value) in self.bins


def _own_bin(value: HyperparameterValue) -> str:
    return f"={value!r}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice(Parameter):
    """One of a few values; each is its own bin.

    Attributes:
        values: The values, without repetition.
        weights: Their probabilities, above 0; all the same where None.
    """

    values: tuple[HyperparameterValue, ...]
    weights: tuple[float, ...] | None = None

    def draw(self, rng: np.random.Generator) -> HyperparameterValue:
        """A random value, by the weights."""
        if self.weights is None:
            return self.values[int(rng.integers(len(self.values)))]
        return self.values[int(rng.choice(len(self.values), p=self.weights))]

    @property
    def bins(self) -> Sequence[Bin]:
        """The values."""
        return self.values

    def bin(self, value: HyperparameterValue) -> Bin:
        """The value itself."""
        return next((known for known in self.values if known == value), _own_bin(value))

    def draw_in(self, which: Bin, rng: np.random.Generator) -> HyperparameterValue:
        """The value itself; `rng` is not used."""
        del rng
        return which


@dataclasses.dataclass(frozen=True, kw_only=True)
class Real(Parameter):
    """A number between two bounds (included), uniform on its scale; ten bins of the same width on that scale."""

    minimum: float
    maximum: float
    log: bool = False

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value

    def _at(self, share: float) -> float:
        low, high = self._scaled(self.minimum), self._scaled(self.maximum)
        scaled = low + share * (high - low)
        return min(max(math.exp(scaled) if self.log else scaled, self.minimum), self.maximum)

    def draw(self, rng: np.random.Generator) -> float:
        """A random value, uniform on the scale."""
        return self._at(float(rng.random()))

    @property
    def bins(self) -> Sequence[Bin]:
        """0 to 9, lowest values first; a range without width has a single bin."""
        return range(BINS) if self.minimum < self.maximum else range(1)

    def bin(self, value: HyperparameterValue) -> Bin:
        """The number of the bin."""
        if isinstance(value, str) or not self.minimum <= value <= self.maximum:
            return _own_bin(value)
        if self.minimum == self.maximum:
            return 0
        low, high = self._scaled(self.minimum), self._scaled(self.maximum)
        share = (self._scaled(float(value)) - low) / (high - low) if high > low else 0.0
        return min(int(share * BINS), BINS - 1)

    def draw_in(self, which: Bin, rng: np.random.Generator) -> float:
        """A random value in the bin, a little away from its borders so that rounding cannot move it out."""
        if self.minimum == self.maximum:
            return self.minimum
        return self._at((int(which) + 0.01 + 0.98 * float(rng.random())) / BINS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Whole(Parameter):
    """A whole number between two bounds (included), uniform on its scale.

    Each is its own bin; where there are more than ten, there are at most ten bins, of the same width on the scale. On a
    logarithmic scale those that would hold no whole number are left out.

    Attributes:
        minimum: The lowest value; at least 1 on a logarithmic scale.
        maximum: The highest value.
        log: Whether the scale is logarithmic.
    """

    minimum: int
    maximum: int
    log: bool = False

    @property
    def _count(self) -> int:
        return self.maximum - self.minimum + 1

    @property
    def _starts(self) -> list[int]:
        """The lowest value of each bin, as its distance from the minimum."""
        if self._count <= BINS:
            return list(range(self._count))
        if not self.log:
            return [-(-which * self._count // BINS) for which in range(BINS)]
        ratio = (self.maximum + 1) / self.minimum
        starts = (math.ceil(self.minimum * ratio ** (which / BINS)) - self.minimum for which in range(1, BINS))
        return sorted({0, *(start for start in starts if start < self._count)})

    def draw(self, rng: np.random.Generator) -> int:
        """A random value, uniform on the scale."""
        if self.log:
            return self._draw_log(self.minimum, self.maximum, rng)
        return int(rng.integers(self.minimum, self.maximum + 1))

    @property
    def bins(self) -> Sequence[Bin]:
        """0 to (at most) 9, lowest values first."""
        return range(len(self._starts))

    def bin(self, value: HyperparameterValue) -> Bin:
        """The number of the bin."""
        if isinstance(value, str) or not self.minimum <= value <= self.maximum or value != int(value):
            return _own_bin(value)
        return bisect.bisect_right(self._starts, int(value) - self.minimum) - 1

    def draw_in(self, which: Bin, rng: np.random.Generator) -> int:
        """A random value in the bin."""
        starts = [*self._starts, self._count]
        first, last = starts[int(which)], starts[int(which) + 1] - 1
        if self.log:
            return self._draw_log(self.minimum + first, self.minimum + last, rng)
        return self.minimum + int(rng.integers(first, last + 1))

    def _draw_log(self, low: int, high: int, rng: np.random.Generator) -> int:
        """A value whose logarithm is uniform; each value stands for the numbers that are rounded to it."""
        bottom, top = math.log(low - 0.5), math.log(high + 0.5)
        return min(max(round(math.exp(bottom + (top - bottom) * float(rng.random()))), low), high)
