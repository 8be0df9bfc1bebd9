"""What a worker does in whatever process or machine it was started: the same for worker processes and Ray actors."""

from __future__ import annotations

import dataclasses
import logging
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from model_search.errors import ModelSearchError
from model_search.metadata.trial import Trial
from model_search.trainers.exit_policy import BROKEN, GROWN, STOPPED
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.resources import used_memory

if TYPE_CHECKING:
    from model_search.trainers.worker import WorkerParts

_GROWTH = 1.5  # of the memory after the first trial, where that is more than the bound
_LOG = logging.getLogger("model_search.worker")


@dataclasses.dataclass(frozen=True)
class Head:
    """What one worker is told before the job, which is the same for all.

    Attributes:
        name: The worker's name.
        target: Completed trials that the study is to hold.
        threads: Operations that TensorFlow may run at a time; 0 where the engine needs no TensorFlow.
        seconds: Until the time limit; None where there is none.
        memory: Bytes that the worker may hold between two trials.
    """

    name: str
    target: int
    threads: int
    seconds: float | None
    memory: int


class MemoryGuard:
    """Asks for the end of the worker, after a finished trial, where it holds more than it should."""

    def __init__(self, bound: int, interrupts: Interrupts):
        self._bound = bound
        self._interrupts = interrupts
        self._first: int | None = None
        self.grown = False

    def __call__(self, trial: Trial) -> None:
        """Looks after each trial. A study that needs more than the bound from the start may grow by a half."""
        used = used_memory()
        if self._first is None:
            self._first = used
        elif used > max(self._bound, int(_GROWTH * self._first)):
            _LOG.info("the worker holds %.1f GB; a fresh one takes its place", used / 1e9)
            self.grown = True
            self._interrupts.ask()


def run_worker(head: Head, make_parts: Callable[[], WorkerParts]) -> dict[str, Any]:
    """Runs trials until there is nothing to do; returns why it has ended, as `ExitPolicy` understands it."""
    from model_search.trainers.worker import Worker

    try:
        parts = make_parts()
        guard = MemoryGuard(head.memory, parts.interrupts)
        reason = Worker(head.name, dataclasses.replace(parts, callbacks=(guard,))).run(head.target)
        return {"reason": GROWN if guard.grown else reason.value}
    except ModelSearchError as error:
        return {"reason": STOPPED, "kind": type(error).__name__, "message": str(error)}
    except BaseException as error:
        traceback.print_exc()
        return {"reason": BROKEN, "message": f"{type(error).__name__}: {error}"}
