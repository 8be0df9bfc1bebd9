"""Scaling with workers: models per minute of worker processes, and the bookkeeping overhead of simulated trainers.

    python benchmarks/scaling.py [--datasets DIR --table phoneme] [--models 24] [--only real|sqlite|ray]

1. One and two worker processes on the same search, each process with its threads: models a minute, whole searches
   (starting TensorFlow included) and from the first trial on.
2. Trainers that simulate training for 10 seconds, each with the real loop, planner, store and artefacts: 1, 8, 64 and
   256 of them, as threads of 16 processes on one SQLite file, and of 16 Ray actors that ask the one which owns it.
   The share of their time that is not training is what bookkeeping takes. (256 processes with TensorFlow would say
   nothing about bookkeeping on a machine with two cores.)
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import multiprocessing
import os
import pathlib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from tables import add_datasets_flag, read_index
from towers import plain_beam

from model_search.metadata.artefacts import ArtefactStore, LocalArtefacts
from model_search.metadata.ray_store import FileKeeper, RayArtefacts, RayStore, StoreKeeper
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import Store, StudyRecord
from model_search.metadata.trial import TrialPlan
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.progress import ProgressDisplay
from model_search.trainers.worker import Worker, WorkerParts
from model_search.training.outcome import Progress, TrialOutcome

HERE = pathlib.Path(__file__).resolve().parent
GOAL_SPEEDUP, GOAL_SHARE = 1.6, 0.02
CHUNK = 0.5  # seconds between two reports of progress, as in the engine
ROWS = 500
PROCESSES = 16  # that the simulated trainers are spread over
# Trainers of one process share Python's lock, which real ones do not; so they hand it on quickly.
SWITCH_SECONDS = 0.0005


class Simulated:
    """Trains for `seconds`, asleep; keeps how long it really trained."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.trained = 0.0

    def run(self, plan: TrialPlan, given: Any = None, on_progress: Any = None) -> TrialOutcome:
        chunks = round(self.seconds / CHUNK * (0.5 + plan.seed % 1001 / 1000))  # trials differ; this long on average
        for chunk in range(chunks):
            on_progress(Progress(chunk, chunks, 1.0, None))
            started = time.perf_counter()
            time.sleep(CHUNK)
            self.trained += time.perf_counter() - started
        rng = np.random.default_rng(plan.seed)
        loss = float(rng.random()) + 1 / len(plan.architecture)
        curve = tuple((plan.steps * part // 5, loss + 1 / part) for part in range(1, 6))
        weights = {"logits/kernel": rng.random((64, 64), np.float32)}
        return TrialOutcome(
            {"loss": loss}, 4096, plan.steps, {"train": self.seconds}, curve, weights, np.ones((ROWS, 2))
        )


def one_trainer(name: str, store: Store, artefacts: ArtefactStore, target: int, seconds: float) -> Spent:
    """Runs the real loop with a simulated engine."""
    timed_store, timed_files = Timed(store), Timed(artefacts)
    engine = Simulated(seconds)
    spec = plain_beam()
    for field in ("ensemble_spec", "distillation_spec"):  # which would want real logits
        spec.ClearField(field)
    planner = Planner(spec, PlannerSettings(1, 1000, 32), "loss", "minimize")
    parts = WorkerParts(
        store=timed_store,  # type: ignore[arg-type]
        planner=planner,
        history=History("loss", "minimize"),
        engine=engine,  # type: ignore[arg-type]
        artefacts=timed_files,  # type: ignore[arg-type]
        environment={},
        interrupts=Interrupts(),
        display=ProgressDisplay("loss", target, enabled=False),
    )
    finished = Clock(timed_store)
    parts = dataclasses.replace(parts, callbacks=(finished,))
    started = time.perf_counter()
    Worker(name, parts).run(target)
    return Spent(finished.last - started, engine.trained, finished.stored, timed_files.seconds)


class Timed:
    """Passes calls on and adds up how long they take."""

    def __init__(self, inner: Any):
        self.inner = inner
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)

        def call(*arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return method(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - started

        return call


class Spent(NamedTuple):
    """Seconds of one trainer: at work in all, and of those in training, in the store's calls, in writing files."""

    worked: float
    trained: float
    store: float
    files: float


class Clock:
    """Remembers when the last trial was finished; what comes after is waiting for others."""

    def __init__(self, store: Timed) -> None:
        self._store = store
        self.last, self.stored = time.perf_counter(), 0.0

    def __call__(self, trial: Any) -> None:
        self.last, self.stored = time.perf_counter(), self._store.seconds


def new_study(folder: str) -> str:
    database = str(pathlib.Path(folder) / "study.db")
    store = SqliteStore(database)
    store.create_study(StudyRecord("scaling", "", "", "loss", "minimize", 1, "", {}, {}, {}))
    store.close()
    return database


def warm_up() -> None:
    """Runs one trial of no length, so that lazy imports are not measured."""
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(new_study(folder))
        one_trainer("w", store, LocalArtefacts(folder), 1, 0.0)
        store.close()


def many(count: int, body: Any) -> list[Spent]:
    """Runs `body(number)` in `count` threads."""
    sys.setswitchinterval(SWITCH_SECONDS)
    results: list[Spent] = []

    def act(number: int) -> None:
        results.append(body(number))

    threads = [threading.Thread(target=act, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def shares(results: Sequence[Spent]) -> str:
    """The part of the trainers' time that was not training, and what of it went where; cells of a table."""
    all_of = Spent(*(sum(values) for values in zip(*results, strict=True)))
    parts = (all_of.worked - all_of.trained, all_of.store, all_of.files)
    return " | ".join(f"{part / all_of.worked:.2%}" for part in parts)


def sync_seconds() -> float:
    """Seconds to sync a few bytes to the disk, the median of 20."""
    seconds = []
    with tempfile.TemporaryFile() as file:
        for _ in range(20):
            started = time.perf_counter()
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def on_sqlite(count: int, trials: int, seconds: float) -> str:
    with tempfile.TemporaryDirectory() as folder:
        new_study(folder)
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(min(PROCESSES, count), mp_context=context) as pool:
            parts = [len(range(number, count, PROCESSES)) for number in range(min(PROCESSES, count))]
            running = [pool.submit(in_process, folder, part, (trials * count, seconds)) for part in parts]
            return shares([result for part in running for result in part.result()])


def in_process(folder: str, count: int, work: tuple[int, float]) -> list[Spent]:
    """Several trainers, a thread each."""
    warm_up()

    def body(number: int) -> Spent:
        store = SqliteStore(pathlib.Path(folder) / "study.db")
        try:
            return one_trainer(f"w{os.getpid()}-{number}", store, LocalArtefacts(folder), *work)
        finally:
            store.close()

    return many(count, body)


class Trainers:
    """A Ray actor with several trainers, a thread each."""

    def run(self, first: int, count: int, keepers: tuple[Any, Any], work: tuple[int, float]) -> list[Spent]:
        keeper, files = keepers
        return many(
            count, lambda number: one_trainer(f"w{first + number}", RayStore(keeper), RayArtefacts(files), *work)
        )


def on_ray(ray: Any, count: int, trials: int, seconds: float) -> str:
    with tempfile.TemporaryDirectory() as folder:
        database = new_study(folder)
        keeper = ray.remote(num_cpus=0)(StoreKeeper).remote(database)
        files = ray.remote(num_cpus=0, max_concurrency=4)(FileKeeper).remote(folder)
        actors = min(PROCESSES, count)
        made = [ray.remote(num_cpus=0)(Trainers).remote() for _ in range(actors)]
        parts = [len(range(number, count, actors)) for number in range(actors)]
        running = [
            actor.run.remote(1000 * number, part, (keeper, files), (trials * count, seconds))
            for number, (actor, part) in enumerate(zip(made, parts, strict=True))
        ]
        results = [result for part in ray.get(running) for result in part]
        for actor in (*made, keeper, files):
            ray.kill(actor)
        return shares(results)


def real(provider: Any, models: int, workers: int, steps: int) -> tuple[float, float]:
    """Models a minute of a search in worker processes: from its beginning, and from the first finished model on."""
    from model_search.trainers.executors.child_processes import run_in_processes
    from model_search.trainers.opening.study_setup import open_session
    from model_search.trainers.options import SearchOptions
    from model_search.trainers.session import RunContext

    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        options = SearchOptions(
            number_models=models, train_steps=steps, eval_steps=100, root_dir=pathlib.Path(folder), batch_size=32,
            experiment_name="scaling", experiment_owner="", seed=7, progress=False, workers=workers,
            callbacks=(lambda trial: ends.append(time.perf_counter()),),
        )  # fmt: skip
        started = time.perf_counter()
        session = open_session(provider, plain_beam(), options)
        run_in_processes(session, RunContext(options, workers, Interrupts(), ProgressDisplay("loss", models, False)))
        session.store.close()
    return 60 * models / (ends[-1] - started), 60 * (models - workers) / (ends[-1] - ends[workers - 1])


def show_real(arguments: argparse.Namespace) -> None:
    from model_search.data import csv_data

    if arguments.datasets:
        table = read_index(arguments.datasets)[arguments.table]
        source, label = table.train, table.label
    else:
        source, label = HERE.parent / "data" / "breast_cancer.csv", "diagnosis"
    print(f"\nReal searches: {source.parent.name}/{source.name}, {arguments.models} models, {arguments.steps} steps\n")
    print("| worker processes | models a minute, whole search | from the first model on |\n|---|---|---|")
    found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for _ in range(arguments.repeats):  # interleaved, since a machine's speed drifts
        for workers, rates in found.items():
            provider = csv_data.Provider(filename=str(source), label=label)
            rates.append(real(provider, arguments.models, workers, arguments.steps))
    rates = {workers: [statistics.median(part) for part in zip(*runs, strict=True)] for workers, runs in found.items()}
    for workers, (whole, warm) in rates.items():
        print(f"| {workers} | {whole:.1f} | {warm:.1f} |")
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    print(f"| ratio (at least {GOAL_SPEEDUP}) | {ratios[0]:.2f} | {ratios[1]:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add_datasets_flag(parser)
    parser.add_argument("--table", default="phoneme")
    parser.add_argument("--models", type=int, default=24)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--trainers", default="1,8,64,256")
    parser.add_argument("--seconds", type=float, default=10.0, help="that a simulated trial takes")
    parser.add_argument("--trials", type=int, default=5, help="of each simulated trainer")
    parser.add_argument("--only", choices=["real", "sqlite", "ray"])
    arguments = parser.parse_args()
    counts = [int(count) for count in arguments.trainers.split(",")]
    if arguments.only in (None, "real"):
        show_real(arguments)
    if arguments.only == "real":
        return
    sync = f"{1000 * sync_seconds():.1f} ms"
    print(f"\nBookkeeping, as share of the time of trainers whose trials take {arguments.seconds:g} s")
    print(f"(under {GOAL_SHARE:.0%} at 64); a write to the disk takes {sync} now\n")
    print("| trainers | where | bookkeeping | in the store | writing files |\n|---|---|---|---|---|")
    if arguments.only in (None, "sqlite"):
        for count in counts:
            print(f"| {count} | SQLite | {on_sqlite(count, arguments.trials, arguments.seconds)} |", flush=True)
    if arguments.only in (None, "ray"):
        try:
            import ray
        except ImportError:
            sys.exit("Ray is not installed: pip install model_search[ray]")
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=2 * 10**8)
        for count in counts:
            result = on_ray(ray, count, arguments.trials, arguments.seconds)
            print(f"| {count} | SQLite behind a Ray actor | {result} |", flush=True)


if __name__ == "__main__":
    main()
