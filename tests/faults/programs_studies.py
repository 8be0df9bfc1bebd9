"""Processes that begin, continue and overwrite studies; see programs.py."""

import dataclasses
import datetime
import functools
import hashlib
import os
import pathlib
import random
import signal
import tempfile
import time

import numpy as np
import programs
from programs import DATABASE, CheapEngine, Silence, wait_for_start

from model_search import constants
from model_search.data.array_data import Provider as ArrayProvider
from model_search.data.provider import Provider
from model_search.errors import ModelSearchError
from model_search.finish.replacing import whole_or_not
from model_search.metadata.connection import Connection
from model_search.metadata.sqlite_store import SqliteStore
from model_search.search.history.history import History
from model_search.spec.load import load_spec
from model_search.trainers.executors.child_processes import run_in_processes
from model_search.trainers.executors.worker_main import worker_parts
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.opening.overwriting import EarlierStudy
from model_search.trainers.opening.study_setup import open_session
from model_search.trainers.options import SearchOptions
from model_search.trainers.progress import ProgressDisplay
from model_search.trainers.session import RunContext
from model_search.trainers.worker import Worker

ROWS = 60


def spec_of(kind="plain"):
    """A specification; "other" is one that a plain study cannot be continued with."""
    spec = load_spec(constants.DEFAULT_DNN)
    for field in ("ensemble_spec", "distillation_spec"):  # which would want real logits
        spec.ClearField(field)
    if kind == "other":
        del spec.blocks_to_use[1:]
    return spec


class Stream(Provider):
    """Batches of the rows of `numbers`."""

    def __init__(self, x, y):
        self._x = x
        self._y = y

    def number_of_classes(self):
        return 2

    def get_input_fn(self, hparams, mode, batch_size):
        rows = slice(ROWS // 2) if mode == "train" else slice(ROWS // 2, ROWS)
        return lambda: [({"x": self._x[rows]}, self._y[rows])]


def provider_of(data="plain", stream=False):
    """A provider of a study's data, or of "other" ones."""
    x = np.random.default_rng(1 if data == "other" else 0).normal(size=(ROWS, 3))
    y = (x[:, 0] > 0).astype(int)
    return Stream(x, y) if stream else ArrayProvider(x, y)


def fingerprint_of_rows(rows):
    """SHA-256 of rows with their labels."""
    digest = hashlib.sha256()
    for name in sorted(rows.inputs):
        digest.update(np.ascontiguousarray(rows.inputs[name]).tobytes())
    digest.update(np.ascontiguousarray(rows.label).tobytes())
    return digest.hexdigest()


def first_seed(planner, record):
    """The seed of the first trial's plan, which follows from the study's."""
    return planner.plan(1, History(record.ranking), 0).seed


def warm_up():
    """Loads, in the server, whatever a search loads on its way."""
    with tempfile.TemporaryDirectory() as folder:
        begin(pathlib.Path(folder), lambda thing: None, target=1, waits=False)


def begin(folder, say, data="plain", stream=False, spec="plain", target=None, waits=True, **options):
    """Begins the study "x" or joins it, at the same moment as the others; then completes `target` trials, if given.

    Says {"seed", "fingerprint", "spec", "valid", "planned"} of what it works with, or {"error", "message"}.
    """
    if waits:
        _wait_before(folder, say)
    values = {
        "number_models": target or 1, "train_steps": 10, "eval_steps": 5, "root_dir": folder / "runs", "batch_size": 8,
        "experiment_name": "x", "experiment_owner": "me", "progress": False,
    }  # fmt: skip
    try:
        session = open_session(provider_of(data, stream), spec_of(spec), SearchOptions(**(values | options)))
        said = {
            "seed": session.record.seed,
            "fingerprint": session.data.fingerprint,
            "spec": session.record.spec_text,
            "valid": fingerprint_of_rows(session.data.valid),
            "planned": first_seed(session.planner, session.record),
        }
        say(said)
        if target:
            _work(session, say, target, said["valid"])
        say(said)
    except ModelSearchError as error:
        say({"error": type(error).__name__, "message": str(error)})


def in_two_processes(folder, say, target, seconds):
    """A search in two processes, on an engine whose trials take so long."""
    options = SearchOptions(target, 10, 5, folder / "runs", 8, "x", "me", progress=False, workers=2)
    display = ProgressDisplay("loss", target, False)
    try:
        session = open_session(provider_of(), spec_of(), options)
        session = dataclasses.replace(session, make_engine=functools.partial(make_cheap_engine, seconds))
        display.finish = lambda trial, history: say({"done": trial.id} if trial.result else {"failed": trial.id})
        say({"stopped": run_in_processes(session, RunContext(options, 2, Interrupts(), display)).value})
    except ModelSearchError as error:
        say({"error": type(error).__name__, "message": str(error)})


def make_cheap_engine(seconds, data, settings):
    """What the worker processes train with."""
    return CheapEngine(lambda thing: None, seconds=seconds), {}


def _wait_before(folder, say):
    """The first of the two that is called waits for the others: the deletion of an earlier study, the creation."""
    waited = []

    def wait():
        if not waited:
            waited.append(True)
            wait_for_start(folder, say)

    def after(act):
        return lambda *given: (wait(), act(*given))[1]

    SqliteStore.create_study = after(SqliteStore.create_study)
    EarlierStudy.delete = after(EarlierStudy.delete)


def _work(session, say, target, valid):
    def make_engine(data, settings):
        return CheapEngine(lambda thing: None), {"valid": valid}

    parts = worker_parts(dataclasses.replace(session, make_engine=make_engine), Interrupts(), Silence())
    say({"stopped": Worker("w", parts).run(target).value})


def replaces(folder, say, files):
    """Replaces a folder without end by one whose files all hold the next number."""
    number = 0
    while True:
        number += 1
        with whole_or_not(folder / "model") as temporary:
            temporary.mkdir()
            for name in range(files):
                (temporary / str(name)).write_text(str(number))
        say(number)


def migrates(folder, say, statement, after):
    """Opens a study of an earlier version, and is killed before or after one of the statements that upgrade it."""
    execute, number = Connection.execute, 0

    def counted(connection, sql, parameters=()):
        nonlocal number
        number += 1
        if number == statement and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        found = execute(connection, sql, parameters)
        if number == statement:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    Connection.execute = counted
    SqliteStore(folder / DATABASE).close()
    say({"statements": number})


def search_with_jumping_clock(folder, say, target, seed, time_limit=None, **options):
    """The worker loop on a machine whose wall clock jumps by hours at every other reading, either way."""
    rng, wall = random.Random(seed), time.time
    moment = datetime.datetime

    def jumping():
        return wall() + rng.choice((0.0, 7200.0, -7200.0, 1e8, -1e8))

    class Jumping(moment):
        @classmethod
        def now(cls, tz=None):
            return moment.fromtimestamp(jumping(), tz)

    time.time = jumping
    datetime.datetime = Jumping
    began = time.monotonic()
    programs.search(folder, say, target, time_limit=time_limit, **options)
    say({"seconds": time.monotonic() - began})
