"""What the processes of the fault tests run, and the server that starts them: python programs.py

Loading modules takes longer than most of these programs run. So one process loads them, and forks (before it has any
thread) a child for each line of JSON that it reads: {"role": ..., "out": a file, "config": {...}}. It answers with the
child's process number. A child says what happens as lines of JSON in its file; how it ended goes into the file's
neighbour `.exit`. All children end with the server.
"""

import contextlib
import dataclasses
import datetime
import importlib
import json
import math
import os
import pathlib
import resource
import select
import signal
import sys
import time
import traceback

import numpy as np

from model_search import constants
from model_search.deadline import Deadline
from model_search.errors import ModelSearchError, RetryTrialError, TrialError
from model_search.metadata import sqlite_store
from model_search.metadata.artefacts import LocalArtefacts
from model_search.metadata.processes import ProcessIdentity
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import StudyRecord
from model_search.metadata.trial import TrialKind, TrialPlan, TrialResult
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.spec.load import load_spec, load_text
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.worker import Worker, WorkerParts
from model_search.training.outcome import Progress, TrialOutcome

DATABASE = "study.db"
_SPIN_SECONDS = 0.001


def make_record(seed=1):
    return StudyRecord("s", "me", "", "loss", "minimize", seed, "f", {}, {}, {})


def make_plan(trial_id):
    key = f"key-{trial_id}"
    return TrialPlan(trial_id, TrialKind.SEARCH, ("IDENTITY",), {"learning_rate": 0.001}, 10, 4, trial_id, key)


def make_result(trial_id):
    return TrialResult({"loss": 1 / trial_id}, 10, 10, {"total": 0.1}, ((5, 1.0), (10, 1 / trial_id)), {"cpu": "some"})


def wait_for_start(folder, say):
    """So that all begin together: says that it is ready, waits for the file "go"."""
    say("ready")
    while not (folder / "go").exists():
        time.sleep(_SPIN_SECONDS)


# The roles. Each is called with the study's folder, `say` and its configuration.


def claims(folder, say, number):
    """Claims trials as fast as it can."""
    store = SqliteStore(folder / DATABASE)
    wait_for_start(folder, say)
    say([store.claim("w", 10**6).trial_id for _ in range(number)])


def create(folder, say, seed):
    """Makes the study."""
    wait_for_start(folder, say)
    say(SqliteStore(folder / DATABASE).create_study(make_record(seed)).seed)


def hold(folder, say, planned=False):
    """Claims a trial and does nothing more."""
    store = SqliteStore(folder / DATABASE)
    claim = store.claim("holder", 10**6)
    if planned:
        store.commit_plan(claim, claim.plan or make_plan(claim.trial_id))
    say(claim.trial_id)
    time.sleep(600)


def reclaims(folder, say, beats, pause):
    """Puts back one stale trial after the other, each at a moment that all reclaimers share."""
    store = SqliteStore(folder / DATABASE)
    stale = [sqlite_store.Heartbeat(*beat) for beat in beats]
    wait_for_start(folder, say)
    begun, found = (folder / "go").stat().st_mtime + 0.2, []
    for number, beat in enumerate(stale):
        time.sleep(max(0.0, begun + number * pause - time.time()))
        found.append(len(store.reclaim([beat])))
    say(found)


def commits(folder, say):
    """Completes trials without end, saying so after each."""
    store = SqliteStore(folder / DATABASE)
    while True:
        claim = store.claim("w", 10**6)
        store.commit_plan(claim, claim.plan or make_plan(claim.trial_id))
        store.complete(claim, make_result(claim.trial_id))
        say(claim.trial_id)


def full_disk(folder, say, pages=None, file_bytes=None, **search_options):
    """Searches with a database that may have so many pages, or files of so many bytes."""
    if file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))
    if pages is not None:
        prepare = sqlite_store.Connection._prepare

        def prepare_small(connection):
            prepare(connection)
            connection.database.execute(f"PRAGMA max_page_count={pages}")

        sqlite_store.Connection._prepare = prepare_small
    search(folder, say, **search_options)


def search(folder, say, target, name="w", **options):
    """The worker loop on an engine that takes as long as is wanted.

    Args:
        folder: The study's.
        say: Takes {"done": id} when a result is stored, then {"stopped": reason}.
        target: Completed trials.
        name: The worker's.
        options: seconds: of a trial; beat, grace: of the heartbeat; elsewhere: pretend to be on another host;
            time_limit: seconds; spec: a specification, in place of the default one;
            clock: seconds that all clocks are wrong by; fails: share of trials that go wrong; size: of the weights;
            notes: whether it also says {"note": text}.
    """
    if options.get("elsewhere"):
        _move_elsewhere()
    _shift_clocks(options.get("clock", 0.0))
    store = SqliteStore(folder / DATABASE)
    record = store.create_study(make_record())
    settings = PlannerSettings(seed=record.seed, train_steps=10, batch_size=4, sampler="random")

    def done(trial):
        if trial.result is not None:
            said = {"done": trial.id, "attempt": trial.attempt, "loss": trial.result.metrics["loss"]}
            say(said | {"seed": trial.plan.seed, "key": trial.plan.key})

    parts = WorkerParts(
        store=store,
        planner=Planner(
            load_text(options["spec"]) if "spec" in options else load_spec(constants.DEFAULT_DNN),
            settings,
            "loss",
            "minimize",
        ),
        history=History("loss", "minimize"),
        engine=CheapEngine(say, **{key: options[key] for key in ("seconds", "fails", "size") if key in options}),
        artefacts=LocalArtefacts(folder),
        environment={"cpu": "some"},
        interrupts=Interrupts(Deadline(options.get("time_limit"))),
        display=Notes(say) if options.get("notes") else Silence(),
        callbacks=(done,),
        heartbeat_seconds=options.get("beat", 5.0),
        grace_seconds=options.get("grace", 60.0),
    )
    try:
        say({"stopped": Worker(name, parts).run(target).value})
    except ModelSearchError as error:
        say({"error": type(error).__name__, "message": str(error)})


class CheapEngine:
    """Pretends to train: the loss follows from the plan's seed."""

    def __init__(self, say, seconds=0.0, fails=0.0, size=3):
        self._say = say
        self._seconds = seconds
        self._fails = fails
        self._size = size

    def run(self, plan, given=None, on_progress=None):
        self._say({"begun": plan.trial_id})
        rng = np.random.default_rng(plan.seed)
        loss, unlucky, way = float(rng.random()), rng.random() < self._fails, int(rng.integers(8))
        end = time.monotonic() + self._seconds
        on_progress(Progress(0, plan.steps, 1.0, None))
        while time.monotonic() < end:
            time.sleep(min(0.02, self._seconds))
            on_progress(Progress(1, plan.steps, 1.0, None))
        if unlucky:
            return _gone_wrong(way, loss)
        weights = [np.full(self._size, loss, np.float32)]
        return _outcome(loss, weights)

    def logits_of(self, tower):
        return np.ones((4, 2), np.float32), np.ones((8, 2), np.float32)

    def forward(self, towers):
        return lambda features: np.ones((len(towers), len(features), 2), np.float32)


def _outcome(loss, weights=()):
    return TrialOutcome(
        {"loss": loss},
        10,
        10,
        {"total": 0.0},
        ((10, loss),),
        {f"logits/{i}": array for i, array in enumerate(weights)},
        np.ones((4, 2)),
    )


def _gone_wrong(way, loss):
    match way:
        case 0:
            raise TrialError("no luck")
        case 1:
            raise KeyError("a block's own")
        case 2:
            raise RetryTrialError("a file server that is away")
        case 3:
            return None
        case 4:
            return dataclasses.replace(_outcome(loss), timings={"total": math.nan})
        case 5:
            return dataclasses.replace(_outcome(loss), metrics={"loss": None})
        case 6:
            return _outcome(math.nan)
    return _outcome(math.inf)


class Silence:
    """A display that shows nothing."""

    def note(self, text):
        pass

    resume = start = step = finish = lambda self, *events: None


class Notes(Silence):
    """A display that shows notes alone."""

    def __init__(self, say):
        self._say = say

    def note(self, text):
        self._say({"note": text})


def _move_elsewhere():
    here = ProcessIdentity.of
    ProcessIdentity.of = lambda pid=None: dataclasses.replace(here(pid), host="elsewhere")


def _shift_clocks(seconds):
    """All clocks of this process are wrong by so much."""
    if not seconds:
        return
    for name in ("time", "monotonic", "perf_counter"):
        true = getattr(time, name)
        setattr(time, name, lambda true=true: true() + seconds)

    sqlite_store._now = lambda: datetime.datetime.fromtimestamp(time.time(), datetime.UTC).isoformat()


# The server.


def _child(order):
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    out = os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(os.open(order["out"] + ".log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)

    def say(thing):
        os.write(1, json.dumps(thing).encode() + b"\n")

    status = 1
    try:
        module, _, role = order["role"].rpartition(".")
        act = getattr(importlib.import_module(module), role) if module else globals()[role]
        act(pathlib.Path(order["config"].pop("folder")), say, **order["config"])
        status = 0
    except BaseException:
        say({"error": "unexpected", "message": traceback.format_exc()})
    finally:
        os._exit(status)


def _reap(children):
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        out = children.pop(pid)
        pathlib.Path(out + ".tmp").write_text(str(os.waitstatus_to_exitcode(status)))
        pathlib.Path(out + ".tmp").rename(out + ".exit")


def serve():
    children, waiting = {}, b""
    while True:
        readable, _, _ = select.select([0], [], [], 0.005)
        _reap(children)
        if not readable:
            continue
        got = os.read(0, 65536)
        if not got:
            break
        *lines, waiting = (waiting + got).split(b"\n")
        for order in map(json.loads, lines):
            module = order["role"].rpartition(".")[0]  # a module beside this one, which is loaded but once
            if module and module not in sys.modules:
                getattr(importlib.import_module(module), "warm_up", int)()
            pid = os.fork()
            if not pid:
                _child(order)
            children[pid] = order["out"]
            os.write(1, f"{pid}\n".encode())
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.modules["programs"] = sys.modules["__main__"]
    serve()
