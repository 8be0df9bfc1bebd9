"""A worker in a process of its own: `python -P -m model_search.trainers.executors.worker_process`.

It is started by `child_processes.py` only. Standard input has what to do: a line of JSON
(`WorkerSettings`), the job, then commands of one line each; where it ends, the parent has ended, and so does the
worker. Standard output takes one line of JSON for everything that happens. What the user's code prints goes into log
files.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import pathlib
import sys
import threading
import time
import traceback
from typing import Any, BinaryIO

from model_search.deadline import Deadline
from model_search.errors import ModelSearchError
from model_search.metadata import paths, study_folder
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.trial import Trial, TrialPlan
from model_search.printable import PrintableFormatter
from model_search.search.history.history import History
from model_search.trainers.executors.worker_main import WorkerSettings, run_worker, stopped, worker_parts
from model_search.trainers.exit_policy import UNFIT
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.serialization import SerializedJob
from model_search.trainers.worker import WorkerParts
from model_search.training.outcome import Progress

STOP = b"stop\n"

_ORPHAN_SECONDS = 5.0  # for a worker to put its trial back after its parent has ended
_LOG = logging.getLogger("model_search.worker")


class Reporter:
    """Reports events to the parent, and writes a log for each trial into the trial's folder."""

    def __init__(self, name: str, folder: pathlib.Path, events: BinaryIO):
        self._name = name
        self._study = study_folder.OpenFolder(folder)
        self._events = events
        self._between = os.dup(2)
        self._plan: TrialPlan | None = None

    def say(self, event: str, **values: Any) -> None:
        """One line to the parent, which may have ended."""
        with contextlib.suppress(OSError, ValueError):
            self._events.write(json.dumps({"event": event, **values}).encode() + b"\n")
            self._events.flush()

    def note(self, text: str) -> None:
        """Goes into the log; the parent informs the user."""
        _LOG.info("%s", text)

    def resume(self, history: History) -> None:
        """Nothing to show: the parent does."""

    def start(self, plan: TrialPlan, attempt: int) -> None:
        """The trial's log begins."""
        self._plan = plan
        with self._study.open_log(paths.trial_log(plan.trial_id, self._name)) as log:
            _to(log.fileno())
        _LOG.info("trial %d by %s: %s", plan.trial_id, self._name, plan.to_json())
        self.say("start", trial=plan.trial_id, attempt=attempt, kind=str(plan.kind), steps=plan.steps)

    def step(self, progress: Progress) -> None:
        """The trial has made progress."""
        if self._plan is not None:
            _LOG.info("step %d of %d: loss %.5g, best %s", progress.step, progress.steps, progress.loss, progress.best)
            self.say("step", trial=self._plan.trial_id, step=progress.step, steps=progress.steps)

    def finish(self, trial: Trial, history: History) -> None:
        """The trial's log ends."""
        if trial.result is None:
            _LOG.info("trial %d has %s: %s", trial.id, trial.state, trial.reason)
        else:
            _LOG.info("trial %d has %s: %s", trial.id, trial.state, dict(trial.result.metrics))
        self.end()

    def end(self) -> None:
        """What is printed from here on belongs to no trial."""
        if self._plan is not None:
            _to(self._between)
            self.say("end", trial=self._plan.trial_id)
            self._plan = None


class _Orders(threading.Thread):
    """Reads what the parent sends for as long as it lives, so that its end is noticed at any moment."""

    def __init__(self, orders: BinaryIO, settings: WorkerSettings, interrupts: Interrupts):
        super().__init__(daemon=True, name="orders")
        self._orders = orders
        self._settings = settings
        self._interrupts = interrupts
        self._parts: list[bytearray] = []
        self._arrived = threading.Event()
        self.at_work = False  # otherwise there is nothing to put back

    def run(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            self._parts = SerializedJob.receive(self._orders)
            self._arrived.set()
            while self._orders.readline() == STOP:
                self._leave()
        self._leave()
        time.sleep(_ORPHAN_SECONDS)
        os._exit(1)

    def parts(self) -> list[bytearray]:
        """The job, once it has arrived."""
        self._arrived.wait()
        return self._parts

    def _leave(self) -> None:
        self._interrupts.ask()
        if not self.at_work:
            os._exit(0)


def main() -> None:
    """Works until there is nothing to do, and ends the process without TensorFlow's slow shutdown."""
    orders, events = _own_pipes()
    settings = WorkerSettings(**json.loads(orders.readline()))
    sys.path[:] = settings.folders  # PYTHONPATH leaves out folders that it cannot name
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    interrupts = Interrupts(Deadline(settings.seconds))
    reader = _Orders(orders, settings, interrupts)
    reader.start()
    said = _work(settings, reader, interrupts, events)
    with contextlib.suppress(OSError):
        events.write(json.dumps({"event": "bye", **said}).encode() + b"\n")
        events.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _work(settings: WorkerSettings, reader: _Orders, interrupts: Interrupts, events: BinaryIO) -> dict[str, Any]:
    """Returns why it has ended, for the parent."""
    from model_search.training.runtime import tensorflow

    try:
        if settings.threads:
            tensorflow(settings.threads_within, settings.threads)  # before the user's own modules load it noisily
        contents = SerializedJob.opened(reader.parts())
        folder = contents.session["folder"]
        session = contents.open(SqliteStore(folder / paths.DATABASE, create=False, file=contents.file))
    except ModelSearchError as error:
        return stopped(error)
    except Exception as error:
        traceback.print_exc()
        return {"reason": UNFIT, "message": f"{type(error).__name__}: {error}"}
    reporter = Reporter(settings.name, folder, events)

    def make_parts() -> WorkerParts:
        parts = worker_parts(session, interrupts, reporter)
        reader.at_work = True
        return parts

    said = run_worker(settings, make_parts)
    reporter.end()
    session.store.close()
    return said


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Duplicates of the two pipes; the standard streams are left to the user's code and the log."""
    orders, events = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=functools.partial(_cut_off, orders.fileno(), events.fileno()))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return orders, events


def _cut_off(*descriptors: int) -> None:
    """Leads them nowhere: in a process that the user's code has forked they would keep the pipes of the worker open."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)


def _to(descriptor: int) -> None:
    """Redirects what any library prints from here on."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


if __name__ == "__main__":
    main()
