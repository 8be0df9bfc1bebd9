"""Trials on a Ray cluster: each worker is an actor; the study stays on the disk of the machine that asked for it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from model_search.deadline import Deadline
from model_search.errors import ModelSearchError, StaleClaimError, StoreError
from model_search.metadata import paths
from model_search.metadata.artefacts import LocalArtefacts
from model_search.metadata.ray_store import FileKeeper, RayArtefacts, RayStore, StoreKeeper
from model_search.metadata.store import Claim
from model_search.metadata.trial import Trial, TrialPlan
from model_search.printable import PrintableFormatter
from model_search.problem import problem_type
from model_search.search.history.history import History
from model_search.trainers.executors.ray_connection import Connection, connected
from model_search.trainers.executors.worker_main import WorkerSettings, run_worker, stopped, worker_parts
from model_search.trainers.exit_policy import UNFIT, ExitPolicy, Next
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.monitor import Monitor
from model_search.trainers.serialization import Contents, SerializedJob
from model_search.trainers.session import RunContext, Session, tensorflow_engine
from model_search.trainers.worker import StopReason
from model_search.training.outcome import Progress

STOP_SECONDS = 1.5

_TICK_SECONDS = 0.2
_ROOM_SECONDS = 2.0  # between two checks of how much room the cluster has
_LOG_SECONDS = 5.0
_KEEPER_SECONDS = 10.0  # for the actor that keeps the study to say who holds what
_MEMORY_SHARE = 0.8
_LOG = logging.getLogger("model_search.worker")


def run_on_ray(session: Session, context: RunContext) -> StopReason:
    """Runs trials on the cluster that `ray.init()` finds, or on this machine where there is none.

    Raises:
        UserError: if Ray is not installed, no cluster can be reached or started, or the user's objects cannot be sent.
        StopStudyError: if the search cannot go on.
    """
    job = SerializedJob(Contents.of(session), far=True)
    with connected() as connection, context.display:
        return _Cluster(connection, session, context, job.parts).run()


class RayWorker:
    """The actor that runs trials. `stop` may be called while `run` goes on."""

    def __init__(self, settings: WorkerSettings, parts: list[np.ndarray], keeper: Any, files: Any):
        self._settings = settings
        self._parts = parts
        self._keeper = keeper
        self._files = files
        self._interrupts = Interrupts(Deadline(settings.seconds))

    def stop(self) -> None:
        """The trial is put back, and `run` ends."""
        self._interrupts.ask()

    def run(self) -> dict[str, Any]:
        """Works until there is nothing to do; returns why it has ended."""
        from model_search.training.runtime import tensorflow

        logging.getLogger().setLevel(logging.INFO)
        try:
            if self._settings.threads:
                tensorflow(self._settings.threads_within, self._settings.threads)
            session = SerializedJob.opened(self._parts).open(RayStore(self._keeper))
        except ModelSearchError as error:
            return stopped(error)
        except Exception as error:
            traceback.print_exc()
            return {"reason": UNFIT, "message": f"{type(error).__name__}: {error}"}
        if isinstance(session.artefacts, LocalArtefacts):
            session = dataclasses.replace(session, artefacts=RayArtefacts(self._files))
        reporter = _LogSender(self._settings.name, self._files)
        said = run_worker(self._settings, lambda: worker_parts(session, self._interrupts, reporter))
        reporter.end()
        return said


class _LogSender:
    """Sends the log of each trial to where the study is."""

    def __init__(self, name: str, files: Any):
        self._name = name
        self._files = files
        self._trial: int | None = None
        self._text = io.StringIO()
        handler = logging.StreamHandler(self._text)
        handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(handler)

    def note(self, text: str) -> None:
        """Goes into the log."""
        _LOG.info("%s", text)

    def resume(self, history: History) -> None:
        """Nothing to show: the driver does."""

    def start(self, plan: TrialPlan, attempt: int) -> None:
        """The trial's log begins."""
        self._trial = plan.trial_id
        _LOG.info("trial %d by %s: %s", plan.trial_id, self._name, plan.to_json())

    def step(self, progress: Progress) -> None:
        """The trial has made progress."""
        _LOG.info("step %d of %d: loss %.5g, best %s", progress.step, progress.steps, progress.loss, progress.best)

    def finish(self, trial: Trial, history: History) -> None:
        """The trial's log ends."""
        result = trial.reason if trial.result is None else dict(trial.result.metrics)
        _LOG.info("trial %d has %s: %s", trial.id, trial.state, result)
        self.end()

    def end(self) -> None:
        """What is logged from here on belongs to no trial."""
        if self._trial is not None:
            import ray

            sent = self._files.log.remote(self._trial, self._name, self._text.getvalue())
            self._trial = None
            with contextlib.suppress(ray.exceptions.RayError):  # the logs of an ended search are not needed
                ray.get(sent, timeout=_LOG_SECONDS)
        self._text.seek(0)
        self._text.truncate()


@dataclasses.dataclass(frozen=True)
class _Slot:
    """A worker actor and its name."""

    name: str
    number: int
    actor: Any


class _Cluster:
    """All actors of one call of `try_models`."""

    def __init__(
        self, connection: Connection, session: Session, context: RunContext, parts: Iterable[bytes | memoryview]
    ):
        self._ray = ray = connection.ray
        self._logs = connection.logs
        self._session = session
        self._context = context
        self._target = context.options.number_models
        self._needs = {"cpu": 1, **(context.options.resources or {})}
        self._parts = ray.put([np.frombuffer(part, np.uint8) for part in parts])
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            node_id=ray.get_runtime_context().get_node_id(), soft=False
        )
        pinned = {"num_cpus": 0, "scheduling_strategy": here}
        folder = session.folder.resolve()
        self._keeper = ray.remote(StoreKeeper).options(**pinned).remote(str(folder / paths.DATABASE), {"create": False})
        self._files = ray.remote(FileKeeper).options(**pinned, max_concurrency=4).remote(str(folder))
        self._monitor = Monitor(session, context)
        self._exit_policy = ExitPolicy(self._target)
        self._slots: dict[Any, _Slot] = {}
        self._room_checked_at = -_ROOM_SECONDS
        self._wanted = 0
        self._ending = False

    def run(self) -> StopReason:
        """Runs until the workers have nothing left to do."""
        try:
            if self._monitor.resume() >= self._target:
                return StopReason.FINISHED
            self._ray.get(self._keeper.ask.remote("reclaim_dead", (), {}))
            while not self._ending or self._slots:
                if self._context.interrupts.asked:
                    self._stop_all()
                    return StopReason.INTERRUPTED
                if self._context.interrupts.out_of_time and self._monitor.history.completed_count:
                    self._stop_all()
                    return StopReason.TIME_LIMIT
                self._fill()
                ended, _ = self._ray.wait(list(self._slots), timeout=_TICK_SECONDS)
                self._exit_policy.models(self._monitor.follow())
                for reference in ended:
                    self._worker_ended(reference)
                completed = self._monitor.history.completed_count
                if self._exit_policy.is_overdue(completed, self._session.store.heartbeats):
                    self._ending = True
                    self._stop_all()
            self._monitor.follow()
        finally:
            self._end_all()
        return self._exit_policy.result(self._monitor.history.completed_count)

    def _fill(self) -> None:
        """Starts as many workers as are wanted; those for which there is no room yet wait in Ray's queue."""
        if self._ending:
            return
        now = time.monotonic()
        if now - self._room_checked_at >= _ROOM_SECONDS:
            self._room_checked_at = now
            missing = self._target - self._monitor.history.completed_count
            workers = self._context.options.workers
            limit = self._room() if workers in (None, "auto") else int(workers or 1)
            wanted = max(1, min(limit, missing))
            if wanted > self._wanted:
                self._context.display.note(f"workers: {wanted}, on a Ray cluster of {self._machines()}")
            if not self._wanted and not self._room():
                self._context.display.note(f"no machine has room for a trial that takes {self._needs}; waiting for one")
            self._wanted = self._exit_policy.workers = wanted
        taken = {slot.number for slot in self._slots.values()}
        free = (number for number in range(1, self._wanted + 1) if number not in taken)
        for number in free:
            if len(self._slots) < self._wanted:
                self._start(number)

    def _machines(self) -> str:
        alive = sum(node["Alive"] for node in self._ray.nodes())
        return "one machine" if alive == 1 else f"{alive} machines"

    def _room(self) -> int:
        """How many workers the machines of the cluster have room for."""
        needs = {_RAY_NAMES.get(name, name): amount for name, amount in self._needs.items() if amount}
        alive = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        fits = [[int(node.get(name, 0) // amount) for name, amount in needs.items()] for node in alive]
        return sum(min(counts, default=1) for counts in fits)

    def _start(self, number: int) -> None:
        others = {name: amount for name, amount in self._needs.items() if name not in _RAY_NAMES}
        cpus = self._needs["cpu"]
        threads = max(1, int(cpus)) if self._session.make_engine is tensorflow_engine else 0
        tuner_id = self._context.options.tuner_id
        name = f"ray-{number}" if tuner_id is None else f"{tuner_id}-{number}"
        within = threads if problem_type(self._session.settings.problem_type).reads_maps else 1
        seconds = self._context.interrupts.seconds_left
        settings = WorkerSettings(name, self._target, threads, seconds, self._memory(), within)
        kind = self._ray.remote(RayWorker).options(
            num_cpus=cpus,
            num_gpus=self._needs.get("gpu", 0),
            resources=others or None,
            max_concurrency=2,
            scheduling_strategy="SPREAD",
        )
        actor = kind.remote(settings, self._parts, self._keeper, self._files)
        self._slots[actor.run.remote()] = _Slot(name, number, actor)

    def _memory(self) -> int:
        wanted = self._context.options.worker_memory
        if wanted is not None:
            return int(wanted * 1e9)
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        shares = [node["memory"] / max(1, node.get("CPU", 1)) for node in nodes if node.get("memory")]
        return int(_MEMORY_SHARE * min(shares)) if shares else 1 << 40

    def _worker_ended(self, reference: Any) -> None:
        """Handles the end of a worker."""
        slot = self._slots.pop(reference, None)
        if slot is None:
            return  # all have been stopped in the meantime
        try:
            said = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._replace_dead(slot, error)
            return
        self._ray.kill(slot.actor)
        match self._exit_policy.said(said):
            case Next.NOTHING:
                self._ending = True
            case Next.STOP_ALL:
                self._ending = True
                self._stop_all()
            case Next.REPLACE_DEAD:
                self._replace_dead(slot, said.get("message", "it has ended without a message"))

    def _replace_dead(self, slot: _Slot, error: Any) -> None:
        """A worker, or its whole machine, is gone: its trial is put back; `_fill` starts another one."""
        how = next(iter(str(error).strip().splitlines()), type(error).__name__)
        store, claims = self._session.store, self._claims_of([slot.name])
        if "OUT_OF_MEMORY" in str(error) or isinstance(error, self._ray.exceptions.OutOfMemoryError):
            _give_up(claims, lambda claim: store.fail(claim, f"memory ran out: {how}"))
        attempts = {(claim.trial_id, claim.attempt) for claim in claims}
        store.reclaim([beat for beat in store.heartbeats() if (beat.trial_id, beat.attempt) in attempts])
        self._context.display.note(f"{slot.name} is gone ({how}); its trial is run again")
        self._exit_policy.died(slot.name, how, self._logs)

    def _claims_of(self, names: list[str]) -> list[Claim]:
        """The last claims of these workers; another program's workers on the study may have the same names."""
        with contextlib.suppress(self._ray.exceptions.RayError):  # `reclaim_dead` finds trials of an ended keeper
            claims: list[Claim] = self._ray.get(self._keeper.claims.remote(names), timeout=_KEEPER_SECONDS)
            return claims
        return []

    def _stop_all(self) -> None:
        """Asks every worker to put its trial back; one that does not is killed, and its trial put back from here."""
        for slot in self._slots.values():
            slot.actor.stop.remote()
        if self._slots:
            self._ray.wait(list(self._slots), num_returns=len(self._slots), timeout=STOP_SECONDS)
        self._end_workers()

    def _end_workers(self) -> None:
        for slot in self._slots.values():
            self._ray.kill(slot.actor)
        names = [slot.name for slot in self._slots.values()]
        self._slots.clear()
        if names:
            with contextlib.suppress(StoreError):
                _give_up(self._claims_of(names), self._session.store.release)
                self._session.store.reclaim_dead()

    def _end_all(self) -> None:
        self._end_workers()
        for actor in (self._keeper, self._files):
            self._ray.kill(actor)


def _give_up(claims: Iterable[Claim], act: Callable[[Claim], None]) -> None:
    for claim in claims:
        with contextlib.suppress(StaleClaimError):  # the trial has ended, or another worker holds it
            act(claim)


_RAY_NAMES = {"cpu": "CPU", "gpu": "GPU"}
