"""When work has to be done: one object, created when a search begins and passed to every phase of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

Clock = Callable[[], float]


class Deadline:
    """A deadline on a clock.

    Args:
        seconds: From now until then; None for never.
        spent: Seconds of these that have passed already, such as those in which the process started.
        clock: A monotonic clock in seconds.
    """

    def __init__(self, seconds: float | None = None, spent: float = 0.0, clock: Clock = time.monotonic):
        self._clock = clock
        self._end = math.inf if seconds is None else clock() + seconds - spent

    def earlier(self, seconds: float) -> Deadline:
        """A deadline that many seconds before this one."""
        other = Deadline(None, clock=self._clock)
        other._end = self._end - seconds
        return other

    def within(self, seconds: float) -> Deadline:
        """This deadline, or one that many seconds from now, whichever comes first."""
        other = Deadline(None, clock=self._clock)
        other._end = min(self._end, self.now + seconds)
        return other

    @property
    def is_set(self) -> bool:
        """Whether there is a deadline at all."""
        return self._end < math.inf

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, 0 if it has passed; infinite without a deadline."""
        return max(0.0, self._end - self.now) if self.is_set else math.inf

    @property
    def passed(self) -> bool:
        """Whether the time is up."""
        return self.is_set and self.now >= self._end

    @property
    def now(self) -> float:
        """The time on the clock."""
        return self._clock()
