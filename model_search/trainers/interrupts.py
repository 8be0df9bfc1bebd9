"""Ctrl-C and time limits, noticed between two chunks of training rather than in the middle of a write."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from model_search.deadline import Deadline
from model_search.errors import ModelSearchError

_POLL_SECONDS = 0.1


class TrialInterruptedError(ModelSearchError):
    """The running trial is interrupted and has to be put back; `reason` says why."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class Interrupts:
    """Turns the first Ctrl-C into a flag (the second one interrupts at once) and watches a deadline.

    Signals can only be caught in the main thread; in other threads Python's own behaviour is kept.
    """

    def __init__(self, deadline: Deadline | None = None):
        self.deadline = Deadline() if deadline is None else deadline
        self._asked = False
        self._previous: Any = None
        self._installed = False

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._on_signal)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._previous)
            self._installed = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True

    def ask(self) -> None:
        """The same as a first Ctrl-C, from any thread."""
        self._asked = True

    @property
    def asked(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._asked

    @property
    def out_of_time(self) -> bool:
        """Whether the time limit has passed."""
        return self.deadline.passed

    def wait_for(self, work: Callable[[], Any]) -> None:
        """Runs slow work that cannot check for Ctrl-C itself, such as loading a large library.

        It runs in another thread, which is abandoned on Ctrl-C.

        Raises:
            TrialInterruptedError: if Ctrl-C was pressed.
        """
        failures: list[BaseException] = []

        def body() -> None:
            try:
                work()
            except BaseException as error:  # raised in the waiting thread
                failures.append(error)

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        while thread.is_alive() and not self._asked:
            thread.join(_POLL_SECONDS)
        if self._asked:
            raise TrialInterruptedError("interrupted")
        if failures:
            raise failures[0]

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the time limit; None where there is none."""
        return self.deadline.remaining if self.deadline.is_set else None
