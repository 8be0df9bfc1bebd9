"""Why workers end, wherever they ran, and what that means for the study."""

from __future__ import annotations

import enum
import time
from collections.abc import Mapping
from typing import Any

from model_search import errors
from model_search.errors import SpaceExhaustedError, StopStudyError
from model_search.trainers.worker import StopReason

MAX_DEATHS_IN_A_ROW = 6  # and one for each worker: more than a trial may cost, so that it is given up first

LEAVING_SECONDS = 10.0  # for workers to notice that the study is complete

GROWN = "grown"  # the worker wants to be replaced by a fresh one
BROKEN = "broken"  # an error that nobody expected
UNFIT = "unfit"  # what was sent cannot be used
STOPPED = "stopped"  # an error that ends the study


class Next(enum.Enum):
    """What is to be done after a worker's end."""

    NOTHING = "nothing"
    REPLACE = "replace"
    BURY = "bury"  # it has died: put its trial back, then replace it
    STOP_ALL = "stop all"


class ExitPolicy:
    """Counts the deaths of workers and remembers why they have ended.

    Attributes:
        workers: How many there are; all of them may die at once, with their machine, and the search goes on.
    """

    def __init__(self, target: int, workers: int = 1):
        self.workers = workers
        self._target = target
        self._reasons: set[str] = set()
        self._error: errors.ModelSearchError | None = None
        self._deaths_in_a_row = 0
        self._complete_since: float | None = None

    def models(self, count: int) -> None:
        """So many models were finished."""
        if count:
            self._deaths_in_a_row = 0

    def said(self, farewell: Mapping[str, Any]) -> Next:
        """A worker has ended and said why; an empty farewell is none.

        Raises:
            StopStudyError: if it could not use what it was sent.
        """
        reason = farewell.get("reason")
        if reason == GROWN:
            return Next.REPLACE
        if reason == UNFIT:
            raise StopStudyError(f"a worker cannot use what it was sent ({farewell['message']}); see its log")
        if reason == STOPPED:
            kind = getattr(errors, farewell["kind"], StopStudyError)
            self._error = self._error or kind(farewell["message"])
            return Next.NOTHING if kind is SpaceExhaustedError else Next.STOP_ALL
        if reason is None or reason == BROKEN:
            return Next.BURY
        self._reasons.add(reason)
        return Next.NOTHING

    def died(self, name: str, how: str, log: str) -> None:
        """A worker has died.

        Raises:
            StopStudyError: if that happens again and again; ends with `log`, a sentence about the last one's log.
        """
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row >= MAX_DEATHS_IN_A_ROW + self.workers:
            raise StopStudyError(
                f"{self._deaths_in_a_row} workers have died one after the other, without a model between them; the "
                f"last one, {name}: {how}. {log}"
            )

    def is_overdue(self, completed: int) -> bool:
        """Whether the study has been complete for so long that every worker should have ended by now."""
        if completed < self._target:
            return False
        if self._complete_since is None:
            self._complete_since = time.monotonic()
        return time.monotonic() - self._complete_since > LEAVING_SECONDS

    def result(self, completed: int) -> StopReason:
        """What the call of `try_models` ends with, when no worker is left.

        Raises:
            ModelSearchError: what a worker could not go on with.
        """
        if self._error is not None:
            if not completed or not isinstance(self._error, SpaceExhaustedError):
                raise self._error
            return StopReason.EXHAUSTED
        for reason in (StopReason.INTERRUPTED, StopReason.TIME_LIMIT, StopReason.EXHAUSTED):
            if reason.value in self._reasons and completed < self._target:
                return reason
        return StopReason.FINISHED
