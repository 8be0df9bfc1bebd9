"""What a worker does wherever it was started: in this process, in a process of its own, as a Ray actor."""

from __future__ import annotations

import dataclasses
import logging
import traceback
from collections.abc import Callable
from typing import Any

from model_search.data.prepared_data import TableData
from model_search.errors import ModelSearchError
from model_search.metadata.trial import Trial
from model_search.search.history.history import History
from model_search.trainers.exit_policy import BROKEN, GROWN, STOPPED
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.progress import Display
from model_search.trainers.pruning import Pruner
from model_search.trainers.resources import used_memory
from model_search.trainers.session import Session
from model_search.trainers.worker import Worker, WorkerParts
from model_search.training.outcome import TrainingSettings

_GROWTH = 1.5  # of the memory after the first trial, where that is more than the bound
_LOG = logging.getLogger("model_search.worker")


@dataclasses.dataclass(frozen=True)
class WorkerSettings:
    """The settings of one worker; the job is the same for all.

    Attributes:
        name: The worker's name.
        target: Completed trials that the study is to hold.
        threads: Operations that TensorFlow may run at a time; 0 where the engine needs no TensorFlow.
        seconds: Seconds until the time limit; None where there is none.
        memory: Bytes that the worker may hold between two trials.
        threads_within: Threads within one operation.
        folders: Where a child process finds modules, as `sys.path`.
    """

    name: str
    target: int
    threads: int
    seconds: float | None
    memory: int
    threads_within: int = 1
    folders: tuple[str, ...] = ()


class MemoryGuard:
    """Ends the worker after a finished trial if it holds more memory than it may."""

    def __init__(self, bound: int, interrupts: Interrupts):
        self._bound = bound
        self._interrupts = interrupts
        self._first: int | None = None
        self.grown = False

    def __call__(self, trial: Trial) -> None:
        """Checks after each trial. A study that exceeds the bound from the start may grow by a half."""
        used = used_memory()
        if self._first is None:
            self._first = used
        elif used > max(self._bound, int(_GROWTH * self._first)):
            _LOG.info("the worker holds %.1f GB; a fresh one takes its place", used / 1e9)
            self.grown = True
            self._interrupts.ask()


def worker_parts(session: Session, interrupts: Interrupts, display: Display) -> WorkerParts:
    """The dependencies of a worker in this process; makes the engine."""
    engine, environment = session.make_engine(session.data, session.settings)
    history, pruner = History(session.record.metric, session.record.goal), None
    if session.keeping is not None:
        pruner = Pruner(session.store, session.artefacts, history, session.keeping)
    return WorkerParts(
        store=session.store,
        planner=session.planner,
        history=history,
        engine=engine,
        artefacts=session.artefacts,
        environment={**environment, "seed": session.record.seed, "training": _trained_with(session.settings)},
        interrupts=interrupts,
        display=display,
        stream=not isinstance(session.data, TableData),
        pruner=pruner,
    )


def _trained_with(settings: TrainingSettings) -> dict[str, Any]:
    """The settings that a trial depends on besides its plan, as stored in its environment; without functions."""
    return {name: value for name, value in dataclasses.asdict(settings).items() if name != "metric_fn"}


def stopped(error: ModelSearchError) -> dict[str, Any]:
    """The exit message of a worker that an error of ours has ended."""
    return {"reason": STOPPED, "kind": type(error).__name__, "message": str(error)}


def run_worker(settings: WorkerSettings, make_parts: Callable[[], WorkerParts]) -> dict[str, Any]:
    """Runs trials until there is nothing to do; returns why it has ended, as `ExitPolicy` understands it."""
    try:
        parts = make_parts()
        guard = MemoryGuard(settings.memory, parts.interrupts)
        reason = Worker(settings.name, dataclasses.replace(parts, callbacks=(guard,))).run(settings.target)
        return {"reason": GROWN if guard.grown else reason.value}
    except ModelSearchError as error:
        return stopped(error)
    except BaseException as error:
        traceback.print_exc()
        return {"reason": BROKEN, "message": f"{type(error).__name__}: {error}"}
