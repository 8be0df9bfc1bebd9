"""Does memory grow with the number of models? Trains many different towers in one process and watches resident memory.

    python benchmarks/memory.py --trials 200
    python benchmarks/memory.py --search --trials 1000

With --search it is a whole search, with its store, files and planner: descriptors, threads, database and files are
watched, too. The first trials fill caches that stay (TensorFlow's, the allocator's), so growth is measured after them.
"""

from __future__ import annotations

import argparse
import gc
import pathlib
import tempfile
import time

import numpy as np
import psutil
from towers import sampled_plans

from model_search import SingleTrainer, constants
from model_search.data.array_data import Provider
from model_search.data.prepared_data import TableData
from model_search.data.rows import Rows
from model_search.data.task import Task, TaskKind
from model_search.training.engine import Engine
from model_search.training.outcome import TrainingSettings

WARM_UP = 40
REACH_MB = 1.0  # a trial


def resident_mb() -> float:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def synthetic(rows: int, width: int, rng: np.random.Generator) -> TableData:
    features = rng.normal(size=(rows, width)).astype(np.float32)
    labels = (features[:, 0] * features[:, 1] > 0).astype(np.int32)
    both = Rows.of(features, labels)
    train, valid = both.take(slice(rows // 2)), both.take(slice(rows // 2, None))
    return TableData(Task(TaskKind.CLASSIFICATION, "label", 2, (0, 1)), train, valid, "synthetic", {})


def search(trials: int, steps: int) -> list[float]:
    """Resident memory in MB after each trial of a search."""
    rng, seen, started = np.random.default_rng(0), [], time.perf_counter()
    features = rng.normal(size=(200, 4)).astype(np.float32)
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as root:

        def look(_: object) -> None:
            seen.append(resident_mb())
            if len(seen) % 50 and len(seen) != trials:
                return
            sizes = {kind: size_of(root, kind) for kind in ("study.db*", "*.npz")}
            print(
                f"{len(seen):4d} trials  {seen[-1]:7.1f} MB  {process.num_fds()} descriptors  {process.num_threads()} "
                f"threads  database {sizes['study.db*'] / 1e3:.0f} KB  files {sizes['*.npz'] / 1e6:.1f} MB  "
                f"{time.perf_counter() - started:6.1f} s",
                flush=True,
            )

        trainer = SingleTrainer(Provider(features, (features[:, 0] > 0).astype(int)), constants.DEFAULT_DNN)
        trainer.try_models(
            trials, steps, 1, root, 16, "long", "", progress=False, finish="neither", callbacks=look, disk_limit=0.2
        )
    return seen


def size_of(root: str, pattern: str) -> int:
    return sum(path.stat().st_size for path in pathlib.Path(root).rglob(pattern))


def engine_alone(arguments: argparse.Namespace) -> list[float]:
    """Resident memory in MB after each trial of the engine."""
    engine = Engine(
        synthetic(2000, 8, np.random.default_rng(0)),
        TrainingSettings("DNN", "loss", "minimize", dropout_between_blocks=True),
    )
    started, seen = time.perf_counter(), []
    for number, plan in enumerate(sampled_plans(arguments.trials, arguments.steps, batch_size=32, seed=1), start=1):
        engine.run(plan)
        seen.append(resident_mb())
        if number % 20 == 0 or number == arguments.trials:
            objects = f", {len(gc.get_objects()):,} objects" if arguments.objects else ""
            print(
                f"{number:4d} trials  {seen[-1]:7.1f} MB  {time.perf_counter() - started:6.1f} s{objects}", flush=True
            )
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--objects", action="store_true", help="print how many Python objects are alive, too (slow)")
    parser.add_argument("--search", action="store_true", help="a whole search, not the engine alone")
    arguments = parser.parse_args()
    seen = search(arguments.trials, arguments.steps) if arguments.search else engine_alone(arguments)
    if len(seen) < WARM_UP + 20:
        raise SystemExit(f"{len(seen)} trials are too few to measure growth; use at least {WARM_UP + 20}")
    # A straight line through all readings after the warm-up; its slope is less noisy than two readings.
    growth = float(np.polyfit(np.arange(WARM_UP, len(seen)), seen[WARM_UP:], 1)[0])
    verdict = "reached" if growth < REACH_MB else "NOT reached"
    print(f"growth {growth:.3f} MB a trial after trial {WARM_UP} (aim: below {REACH_MB} MB): {verdict}")


if __name__ == "__main__":
    main()
