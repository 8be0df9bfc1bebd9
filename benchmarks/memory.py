"""Does memory grow with the number of models? Trains many different towers in one process and watches resident memory.

    python benchmarks/memory.py --trials 200

The first trials fill caches that stay (TensorFlow's, the allocator's), so growth is measured after them.
"""

from __future__ import annotations

import argparse
import gc
import pathlib
import time

import numpy as np
from towers import sampled_plans

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--objects", action="store_true", help="print how many Python objects are alive, too (slow)")
    arguments = parser.parse_args()
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
    if len(seen) < WARM_UP + 20:
        raise SystemExit(f"{len(seen)} trials are too few to measure growth; use at least {WARM_UP + 20}")
    # A straight line through all readings after the warm-up; its slope is less noisy than two readings.
    growth = float(np.polyfit(np.arange(WARM_UP, len(seen)), seen[WARM_UP:], 1)[0])
    verdict = "reached" if growth < REACH_MB else "NOT reached"
    print(f"growth {growth:.3f} MB a trial after trial {WARM_UP} (aim: below {REACH_MB} MB): {verdict}")


if __name__ == "__main__":
    main()
