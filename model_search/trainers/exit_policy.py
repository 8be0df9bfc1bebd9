"""Why workers end, and what that means for the study; the same for every executor."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from model_search import errors
from model_search.errors import SpaceExhaustedError, StopStudyError
from model_search.metadata.store import Heartbeat
from model_search.trainers.worker import StopReason

MAX_DEATHS_IN_A_ROW = 6  # plus one for each worker: more than a trial may cost, so that the trial is given up first

LEAVING_SECONDS = 10.0  # for workers to notice that the study is complete; longer than between two heartbeats

GROWN = "grown"  # the worker wants to be replaced by a fresh one
BROKEN = "broken"  # an unexpected error
UNFIT = "unfit"  # what was sent cannot be used
STOPPED = "stopped"  # an error that ends the study


class Next(enum.Enum):
    """What to do after a worker's end."""

    NOTHING = "nothing"
    REPLACE = "replace"
    REPLACE_DEAD = "replace dead"  # it has died: put back its trial, then replace it
    STOP_ALL = "stop all"


class ExitPolicy:
    """Counts the deaths of workers and remembers why they have ended.

    Attributes:
        workers: The number of workers; all of them may die at once, with their machine, and the search goes on.
    """

    def __init__(self, target: int, workers: int = 1):
        self.workers = workers
        self._target = target
        self._reasons: set[str] = set()
        self._error: errors.ModelSearchError | None = None
        self._deaths_in_a_row = 0
        self._complete_since: float | None = None
        self._beats: Sequence[Heartbeat] = ()

    def models(self, count: int) -> None:
        """`count` more models were finished."""
        if count:
            self._deaths_in_a_row = 0

    def said(self, exit_message: Mapping[str, Any]) -> Next:
        """A worker has ended; `exit_message` says why, and is empty where it could not.

        Raises:
            StopStudyError: if it could not use what it was sent.
        """
        reason = exit_message.get("reason")
        if reason == GROWN:
            return Next.REPLACE
        if reason == UNFIT:
            raise StopStudyError(f"a worker cannot use what it was sent ({exit_message['message']}); see its log")
        if reason == STOPPED:
            kind = getattr(errors, exit_message["kind"], StopStudyError)
            self._error = self._error or kind(exit_message["message"])
            return Next.NOTHING if kind is SpaceExhaustedError else Next.STOP_ALL
        if reason is None or reason == BROKEN:
            return Next.REPLACE_DEAD
        self._reasons.add(reason)
        return Next.NOTHING

    def died(self, name: str, how: str, log: str) -> None:
        """A worker has died.

        Raises:
            StopStudyError: if that happens repeatedly; the message ends with `log`, about the last worker's log.
        """
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row >= MAX_DEATHS_IN_A_ROW + self.workers:
            raise StopStudyError(
                f"{self._deaths_in_a_row} workers have died one after the other, without a model in between; the "
                f"last one, {name}: {how}. {log}"
            )

    def is_overdue(self, completed: int, heartbeats: Callable[[], Sequence[Heartbeat]]) -> bool:
        """Whether the study has been complete for so long that every worker should have ended by now.

        Another call may have completed it while workers of this one were training: they are waited for as long as
        their hearts beat.

        Args:
            completed: How many trials are completed.
            heartbeats: Reads the heartbeats of all trials that are held.
        """
        if completed < self._target:
            return False
        now, beats = time.monotonic(), heartbeats()
        if self._complete_since is None or beats != self._beats:
            self._complete_since, self._beats = now, beats
        return now - self._complete_since > LEAVING_SECONDS

    def result(self, completed: int) -> StopReason:
        """The stop reason of the call of `try_models`, when no worker is left.

        Raises:
            ModelSearchError: the error that ended a worker.
        """
        if self._error is not None:
            if not completed or not isinstance(self._error, SpaceExhaustedError):
                raise self._error
            return StopReason.EXHAUSTED
        for reason in (StopReason.INTERRUPTED, StopReason.TIME_LIMIT, StopReason.EXHAUSTED):
            if reason.value in self._reasons and completed < self._target:
                return reason
        return StopReason.FINISHED
