"""Boosted trees of several folds at a time: one after the other, in threads and in processes.

    python benchmarks/boosted_folds.py [--workers 2] [--rounds 40] [--times 9]

Each row is as many fits of `boosted_trees` as workers, on made-up classes, each without an eighth of the rows:
the median wall and processor seconds of so many times, the three ways taking turns, so that other work of the machine
meets all of them. Processes are started once for all rows, and what that takes is shown by itself: each loads
scikit-learn and this package. All ways have to predict the same, to the last bit.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

FOLDS = 8
SIZES = ((1000, 40, 2), (4500, 40, 2), (4500, 12, 7))  # rows, columns, classes


def fit(rows: int, columns: int, classes: int, rounds: int, fold: int) -> tuple[bytes, float]:
    """What the trees without a fold predict for its rows, and the processor seconds of this process."""
    from model_search.data.task import Task, TaskKind
    from model_search.metadata.trial import TrialKind
    from model_search.search.planning.classic_models import classic_plan
    from model_search.training.classic.fitted import ClassicRows
    from model_search.training.classic.fitting import fitted_models

    began = time.process_time()
    rng = np.random.default_rng(0)
    features = rng.normal(size=(rows, columns)).astype(np.float32)
    scores = features[:, :5] @ rng.normal(size=(5, classes)) + np.sin(2 * features[:, :classes])
    targets = (scores + rng.normal(size=scores.shape)).argmax(axis=1)
    left_out = np.arange(rows) % FOLDS == fold
    task = Task(TaskKind.CLASSIFICATION, "y", classes)
    known = ClassicRows(task, features[~left_out], targets[~left_out], None, np.full(columns, -1, np.int32))
    plan = classic_plan("boosted_trees", 1, fold)
    plan = dataclasses.replace(plan, kind=TrialKind.BAGGING, steps=rounds)
    *_, last = fitted_models(plan, known, features[left_out])
    return last.outputs.tobytes(), time.process_time() - began


def seconds(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it gives, and wall and processor seconds of this process."""
    wall, own = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall, time.process_time() - own


def ready(_: int) -> float:
    """Loads what a fit takes; processor seconds of this process since its start."""
    fit(200, 12, 2, 2, 0)
    time.sleep(0.5)  # so that every process takes one
    return time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--times", type=int, default=9)
    options = parser.parse_args()
    ready(0)
    context, workers = multiprocessing.get_context("spawn"), options.workers
    with (
        concurrent.futures.ThreadPoolExecutor(workers) as threads,
        concurrent.futures.ProcessPoolExecutor(workers, context) as processes,
    ):
        loaded, wall, _ = seconds(lambda: list(processes.map(ready, range(workers))))
        print(f"to start {workers} processes: {wall:.1f} s, {sum(loaded):.1f} processor s", flush=True)
        print("rows, columns, classes: in turn; threads; processes (wall / processor seconds)")
        for size in SIZES:
            ways = {"in turn": map, "threads": threads.map, "processes": processes.map}
            taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
            predicted = set()
            for _ in range(options.times):
                for name, way in ways.items():
                    found, wall, own = seconds(lambda way=way, size=size: fits(way, size, options.rounds, workers))
                    predicted.add(tuple(each for each, _ in found))
                    own = sum(each for _, each in found) if name == "processes" else own
                    taken[name].append((wall, own))
            middle = [np.median(pairs, axis=0) for pairs in taken.values()]
            same = "" if len(predicted) == 1 else "  NOT THE SAME"
            print(f"{size}: {'; '.join(f'{wall:.2f} / {own:.2f}' for wall, own in middle)}{same}", flush=True)


def fits(way: Callable[..., Iterable[Any]], size: tuple[int, int, int], rounds: int, count: int) -> list[Any]:
    """The fits of so many folds, by a function like `map`."""
    return list(way(fit, *zip(*[(*size, rounds, fold) for fold in range(count)], strict=True)))


if __name__ == "__main__":
    main()
