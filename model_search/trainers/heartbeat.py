"""Heartbeats from a separate thread, so that a worker is not taken for dead during a long phase of a trial."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from model_search.errors import StaleClaimError, StoreError
from model_search.metadata.store import Claim, Store
from model_search.metadata.study_folder import VanishedStudyError

HEARTBEAT_SECONDS = 5.0
GRACE_SECONDS = 60.0  # twelve beats
PATIENCE_SECONDS = 3600.0  # a trial without progress for so long hangs; its worker stops sending heartbeats
_JOIN_SECONDS = 1.0

_LOG = logging.getLogger(__name__)


class Heartbeat:
    """Sends heartbeats for the current trial.

    A store belongs to one thread, so this one opens its own. The main thread calls `check` regularly, which also
    signals progress: a trial that hangs is not kept alive for ever.

    Args:
        another: Opens another instance of the store, for the heartbeat thread.
        seconds: Interval of heartbeats.
        patience: Seconds without `check` after which the trial counts as hanging.
        clock: A monotonic clock in seconds.
    """

    def __init__(
        self,
        another: Callable[[], Store],
        seconds: float = HEARTBEAT_SECONDS,
        patience: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._another = another
        self._clock = clock
        self._seconds = seconds
        self._patience = patience
        self._moved = 0.0
        self._lost: StoreError | None = None

    @contextlib.contextmanager
    def of(self, claim: Claim) -> Iterator[None]:
        """Sends heartbeats for the claim within the context."""
        self._moved, self._lost = self._clock(), None
        done = threading.Event()
        thread = threading.Thread(target=self._beat, args=(claim, done), daemon=True, name="heartbeat")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(_JOIN_SECONDS)  # it may be waiting for the database; do not wait for it

    def check(self) -> None:
        """Signals that the trial makes progress.

        Raises:
            StaleClaimError: if the trial was given to another worker in the meantime.
            VanishedStudyError: if the study is no longer where it was.
        """
        self._moved = self._clock()
        if self._lost is not None:
            raise self._lost

    def _beat(self, claim: Claim, done: threading.Event) -> None:
        store: Store | None = None
        try:
            while not done.wait(self._seconds):
                if self._clock() - self._moved > self._patience:
                    continue
                try:
                    store = self._another() if store is None else store
                    store.heartbeat(claim)
                except (StaleClaimError, VanishedStudyError) as error:
                    if not done.is_set():
                        self._lost = error
                    return
                except StoreError as error:  # a full disk, for example; the next heartbeat may find room
                    _LOG.warning("no heartbeat for trial %d: %s", claim.trial_id, error)
        finally:
            if store is not None:
                with contextlib.suppress(StoreError):
                    store.close()
