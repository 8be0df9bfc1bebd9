"""When work has to be done: one object, made when a search begins and handed to every phase of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

Clock = Callable[[], float]


class Deadline:
    """A moment on a clock.

    Args:
        seconds: From now until then; None for never.
        spent: Seconds of these that have passed already, such as those in which the process started.
        clock: Tells the seconds; monotonic.
    """

    def __init__(self, seconds: float | None = None, spent: float = 0.0, clock: Clock = time.monotonic):
        self._clock = clock
        self._end = math.inf if seconds is None else clock() + seconds - spent

    def earlier(self, seconds: float) -> Deadline:
        """Another deadline, so many seconds before this one."""
        other = Deadline(None, clock=self._clock)
        other._end = self._end - seconds
        return other

    @property
    def is_set(self) -> bool:
        """Whether there is such a moment at all."""
        return self._end < math.inf

    @property
    def remaining(self) -> float:
        """Seconds until then, 0 where it has passed; infinite where there is no such moment."""
        return max(0.0, self._end - self.now) if self.is_set else math.inf

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return self.is_set and self.now >= self._end

    @property
    def now(self) -> float:
        """What the clock says."""
        return self._clock()
