"""N worker processes on one study: started, watched, replaced, stopped. The parent itself trains nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from model_search.data.prepared_data import TableData
from model_search.data.rows import Rows
from model_search.errors import StoreError
from model_search.metadata import paths, study_folder
from model_search.metadata.store import Claim
from model_search.problem import problem_type
from model_search.trainers import resources
from model_search.trainers.executors.worker_main import WorkerSettings
from model_search.trainers.executors.worker_process import STOP
from model_search.trainers.exit_policy import ExitPolicy, Next
from model_search.trainers.monitor import Monitor
from model_search.trainers.options import SearchOptions
from model_search.trainers.progress import ProgressDisplay
from model_search.trainers.serialization import Contents, SerializedJob
from model_search.trainers.session import RunContext, Session, tensorflow_engine
from model_search.trainers.worker import StopReason

STOP_SECONDS = 1.5

_TICK_SECONDS = 0.1
_LOG_TAIL = 5
_MODULE = "model_search.trainers.executors.worker_process"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def worker_count(session: Session, options: SearchOptions, display: ProgressDisplay) -> int:
    """The number of workers; shows how "auto" was resolved."""
    if options.workers != "auto":
        return int(options.workers or 1)
    count, why = resources.workers_that_fit(_data_bytes(session), len(resources.gpus()))
    display.note(f"workers: {count} ({why})")
    return count


def run_in_processes(session: Session, context: RunContext) -> StopReason:
    """Runs trials in `context.size` processes until the study holds enough of them.

    Raises:
        UserError: if the data or the user's own blocks cannot be sent to another process.
        StopStudyError: if the search cannot go on.
    """
    with contextlib.closing(SerializedJob(Contents.of(session))) as job, context.display:
        return _WorkerPool(session, context, job).run()


@dataclasses.dataclass(frozen=True)
class _Slot:
    """What a worker's process is started with; a process that replaces it gets the same."""

    name: str
    threads: int
    environment: dict[str, str]
    folders: tuple[str, ...]
    study: study_folder.OpenFolder
    log: str


class _WorkerProcess:
    """One process, as the parent sees it."""

    def __init__(
        self,
        slot: _Slot,
        settings: WorkerSettings,
        job: SerializedJob,
        events: queue.SimpleQueue[tuple[Any, dict[str, Any]]],
    ):
        self.slot = slot
        self.claim: Claim | None = None  # on the trial that it has begun
        self.exit_message: dict[str, Any] | None = None
        self.kills_before = resources.memory_kills()
        self._settings = settings
        self._job = job
        self._events = events
        self._orders: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        with slot.study.open_log(slot.log) as log:
            self._process = subprocess.Popen(  # noqa: S603 - no shell; this Python, a module of the package
                [sys.executable, "-P", "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=slot.environment,
                pass_fds=job.descriptors if os.name == "posix" else (),
                start_new_session=True,  # Ctrl-C is the parent's; and what the worker starts can be ended with it
            )
        self._alone = False
        self._threads = [threading.Thread(target=body, daemon=True) for body in (self._send, self._listen)]
        for thread in self._threads:
            thread.start()

    def has_ended(self) -> bool:
        """Whether the process has ended and all its messages have been read. Ends what it has started, too."""
        if self._process.poll() is None:
            return False
        if not self._alone:
            self._end_helpers()
        return not self._threads[1].is_alive()

    @property
    def status(self) -> int:
        """Its exit status; the negative number of a signal if it was killed."""
        return int(self._process.returncode)

    def stop(self) -> None:
        """Asks it to put its trial back and to end."""
        self._orders.put(STOP)

    def kill(self) -> None:
        """Kills it, and ends what it has started."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        self._end_helpers()

    def close(self) -> None:
        """Frees pipes and threads of a process that has ended."""
        self._orders.put(None)
        for thread in self._threads:
            thread.join()

    def _end_helpers(self) -> None:
        """Ends processes that the worker has started and left behind; by force if they keep its pipe open.

        The trackers of Python and joblib, which free shared memory, ignore the first signal and end by themselves.
        """
        self._alone = True
        if not hasattr(os, "killpg"):
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            self._threads[1].join(_TICK_SECONDS)
            if not self._threads[1].is_alive():
                return

    def _send(self) -> None:
        pipe = self._process.stdin
        if pipe is None:
            return
        with contextlib.suppress(OSError), pipe:  # it may end at any time
            pipe.write(json.dumps(dataclasses.asdict(self._settings)).encode() + b"\n")
            self._job.write(pipe)  # type: ignore[arg-type]
            while (order := self._orders.get()) is not None:
                pipe.write(order)
                pipe.flush()

    def _listen(self) -> None:
        pipe = self._process.stdout
        if pipe is None:
            return
        with pipe:
            for line in pipe:
                with contextlib.suppress(ValueError):  # cut off by its end
                    self._events.put((self, json.loads(line)))


class _WorkerPool:
    """All processes of one call of `try_models`."""

    def __init__(self, session: Session, context: RunContext, job: SerializedJob):
        self._session = session
        self._context = context
        self._job = job
        self._target = context.options.number_models
        self._events: queue.SimpleQueue[tuple[_WorkerProcess, dict[str, Any]]] = queue.SimpleQueue()
        self._workers: list[_WorkerProcess] = []
        self._monitor = Monitor(session, context)
        self._exit_policy = ExitPolicy(self._target, context.size)
        self._memory = _memory_bound(context)

    def run(self) -> StopReason:
        """Runs until the workers have nothing left to do."""
        self._session.store.reclaim_dead()
        missing = self._target - self._monitor.resume()
        if missing <= 0:
            return StopReason.FINISHED
        try:
            for slot in self._slots(min(self._context.size, missing)):
                self._start(slot)
            while self._workers:
                if self._context.interrupts.asked:
                    self._stop_all()
                    return StopReason.INTERRUPTED
                if self._context.interrupts.out_of_time and self._monitor.history.completed_count:
                    self._stop_all()
                    self._follow()
                    return StopReason.TIME_LIMIT
                self._read_events(_TICK_SECONDS)
                self._follow()
                self._supervise()
                completed = self._monitor.history.completed_count
                if self._exit_policy.is_overdue(completed, self._session.store.heartbeats):
                    self._stop_all()  # a worker hangs, or was stopped by a signal
            self._follow()
        finally:
            self._end_all()
        return self._exit_policy.result(self._monitor.history.completed_count)

    def _slots(self, count: int) -> list[_Slot]:
        shared = max(1, resources.cores() // self._context.size)
        gpus = resources.gpus()
        study = study_folder.OpenFolder(self._session.folder)
        folders = _module_folders()
        slots = []
        for number in range(1, count + 1):
            name = self._context.options.worker_name(number)
            environment = _environment(shared, folders)
            if gpus:
                environment["CUDA_VISIBLE_DEVICES"] = gpus[(number - 1) % len(gpus)]
                if self._context.size > len(gpus):
                    environment.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
            slots.append(_Slot(name, shared, environment, folders, study, paths.worker_log(name)))
        return slots

    def _start(self, slot: _Slot) -> None:
        seconds = self._context.interrupts.seconds_left
        threads = slot.threads if self._session.make_engine is tensorflow_engine else 0
        within = threads if problem_type(self._session.settings.problem_type).reads_maps else 1
        settings = WorkerSettings(slot.name, self._target, threads, seconds, self._memory, within, slot.folders)
        self._workers.append(_WorkerProcess(slot, settings, self._job, self._events))

    def _read_events(self, seconds: float) -> None:
        """Reads the messages of workers; waits for the first one."""
        with contextlib.suppress(queue.Empty):
            while True:
                worker, said = self._events.get(timeout=seconds)
                seconds = 0
                self._take(worker, said)

    def _take(self, worker: _WorkerProcess, said: dict[str, Any]) -> None:
        display, name = self._context.display, worker.slot.name
        match said["event"]:
            case "start":
                worker.claim = Claim(said["trial"], said["attempt"], name)
                text = f"{name}, trial {said['trial']}: {said['kind']}"
                display.show(text, 0, said["steps"], name)
            case "step":
                display.show(None, said["step"], said["steps"], name)
            case "end":
                worker.claim = None
                display.hide(name)
            case "bye":
                worker.claim = None
                worker.exit_message = said

    def _follow(self) -> None:
        self._exit_policy.models(self._monitor.follow())

    def _supervise(self) -> None:
        for worker in [worker for worker in self._workers if worker.has_ended()]:
            if worker not in self._workers:
                return  # all have been stopped in the meantime
            self._read_events(0)
            self._workers.remove(worker)
            worker.close()
            self._context.display.hide(worker.slot.name)
            self._worker_ended(worker, worker.exit_message or {})

    def _worker_ended(self, worker: _WorkerProcess, said: dict[str, Any]) -> None:
        """Handles the end of a worker."""
        match self._exit_policy.said(said):
            case Next.REPLACE if self._monitor.history.completed_count < self._target:
                self._start(worker.slot)
            case Next.STOP_ALL:
                self._stop_all()
            case Next.REPLACE_DEAD:
                self._replace_dead(worker, said.get("message"))

    def _replace_dead(self, worker: _WorkerProcess, message: str | None) -> None:
        """Replaces a worker that has died: its trial is put back, or fails if it took too much memory."""
        how = message or _words(worker)
        if _was_killed_for_memory(worker):
            self._fail(worker, f"its worker was killed by the system ({how}): memory ran out")
        self._session.store.reclaim_dead()
        name, log = worker.slot.name, worker.slot.study.path / worker.slot.log
        self._exit_policy.died(name, how, f"Its log, {log}, ends with: {_tail(worker.slot)}")
        self._context.display.note(f"{name} has died ({how}); another one takes its place")
        self._start(worker.slot)

    def _fail(self, worker: _WorkerProcess, reason: str) -> None:
        if worker.claim is None:
            return
        with contextlib.suppress(StoreError):  # another process may have put it back already
            self._session.store.fail(worker.claim, reason)

    def _stop_all(self) -> None:
        """Asks every worker to put its trial back; one that does not is killed, and its trial put back from here."""
        for worker in self._workers:
            worker.stop()
        deadline = time.monotonic() + STOP_SECONDS
        while any(not worker.has_ended() for worker in self._workers) and time.monotonic() < deadline:
            self._read_events(_TICK_SECONDS / 2)
        self._end_all()

    def _end_all(self) -> None:
        for worker in self._workers:
            if not worker.has_ended():
                worker.kill()
            worker.close()
        self._read_events(0)
        for worker in self._workers:
            if worker.claim is not None:
                with contextlib.suppress(StoreError):
                    self._session.store.release(worker.claim)
        if self._workers:
            self._session.store.reclaim_dead()
        self._workers.clear()


def _module_folders() -> tuple[str, ...]:
    """Where this process finds modules; Python passes over what is not text."""
    return tuple(folder or os.fspath(pathlib.Path.cwd()) for folder in sys.path if isinstance(folder, str))


def _environment(threads: int, folders: tuple[str, ...]) -> dict[str, str]:
    """This process's environment, for a process that is to find the package; its settings have all folders."""
    fit = [folder for folder in folders if os.pathsep not in folder]  # a variable cannot hold the others
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", **dict.fromkeys(_THREADS, str(threads))}
    return {**quiet, **os.environ, "PYTHONPATH": os.pathsep.join(fit), "PYTHONUNBUFFERED": "1"}


def _memory_bound(context: RunContext) -> int:
    if context.options.worker_memory is not None:
        return int(context.options.worker_memory * 1e9)
    return max(resources.WORKER_BYTES, int(0.8 * resources.free_memory() / context.size))


def _data_bytes(session: Session) -> int:
    data = session.data
    parts: list[Rows] = [data.train, data.valid] if isinstance(data, TableData) else [data.valid]
    return sum(part.nbytes for part in parts)


def _was_killed_for_memory(worker: _WorkerProcess) -> bool:
    after = resources.memory_kills()
    return (
        worker.status == -getattr(signal, "SIGKILL", math.nan)
        and after is not None
        and worker.kills_before is not None
        and after > worker.kills_before
    )


def _words(worker: _WorkerProcess) -> str:
    status = worker.status
    if status >= 0:
        return f"it ended with status {status}"
    try:
        return f"signal {-status}, {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"


def _tail(slot: _Slot) -> str:
    try:
        lines = study_folder.read_file(slot.study.path, slot.log).decode("utf-8", "replace").strip().splitlines()
    except (OSError, StoreError):
        return "(it cannot be read)"
    return " | ".join(lines[-_LOG_TAIL:]) or "(nothing)"
