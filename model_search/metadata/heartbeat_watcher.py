"""Detects workers whose heartbeats have stopped, without comparing two clocks."""

from __future__ import annotations

import time
from collections.abc import Callable

from model_search.errors import UserError
from model_search.metadata.store import Heartbeat, Store


class HeartbeatWatcher:
    """Puts back trials whose heartbeat has not moved for a grace time, measured on the watcher's own clock.

    Call `observe` regularly; nothing can be put back before the second call::

        watcher = HeartbeatWatcher(grace_seconds=60)
        watcher.observe(store)    # [] - records every trial's counter
        watcher.observe(store)    # [7], more than a minute later, where trial 7's counter is the same

    Args:
        grace_seconds: How long a counter may stand still; several times the workers' heartbeat interval.
        clock: A monotonic clock in seconds.

    Raises:
        UserError: if the grace time is not positive.
    """

    def __init__(self, grace_seconds: float, clock: Callable[[], float] = time.monotonic):
        if not grace_seconds > 0:
            raise UserError(f"grace_seconds is {grace_seconds}; expected more than 0")
        self._grace = grace_seconds
        self._clock = clock
        self._since: dict[Heartbeat, float] = {}

    def observe(self, store: Store) -> list[int]:
        """Checks every counter; returns the ids of the trials that this call has put back."""
        now = self._clock()
        self._since = {beat: self._since.get(beat, now) for beat in store.heartbeats()}
        stale = [beat for beat, since in self._since.items() if now - since >= self._grace]
        return store.reclaim(stale) if stale else []
