"""How many models until the good ones? Search algorithms on tables of networks that others have trained.

    python benchmarks/nas_tables.py --tables DIR [--seeds 100] [--jobs 2] [--plot best_so_far.png]

A table is a CSV file with the columns `architecture` (one digit a position) and `accuracy_run1`, `accuracy_run2`,
`accuracy_run3`. The algorithms are those of `model_search.search`, asked through the planner of a study, with its
history and its rule that nothing is tried twice; only the training is looked up. Three questions:

* one run: each trial shows one of the three runs, drawn by the seed. How good, by the mean of all three, is the model
  at the top after 100 and after 300 trials? *best* is the trial with the best run; *recommended* is the
  trial that `recommend` names from what the study knows. The default is scored by what it recommends.
* mean of three: each trial shows the mean. When has one within 0.1 of the best in the table been tried?
* four workers at a time: how many of 400 trials repeat a network that was tried, under whatever name?

`--table FILE:POSITIONS` takes other tables of this format.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import multiprocessing
import os
import pathlib
import sys
import time

import numpy as np
from nas_report import print_parallel, print_reached, print_scores, save_plot
from nas_study import KNOWN, MEASURED_THRICE, NasTable, Rules, Study, contestants

VARIABLE = "MODEL_SEARCH_DATASETS"
ONE_RUN, MEAN, PARALLEL = "one_run", "mean", "parallel"
MODES = (ONE_RUN, MEAN, PARALLEL)
CHECKPOINTS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 80, 100, 125, 150, 175, 200, 225, 250, 275, 300)


@dataclasses.dataclass(frozen=True)
class Job:
    """One study: a table, a question, a contestant and a seed."""

    table: str
    mode: str
    contestant: str
    seed: int

    @property
    def key(self) -> str:
        """Its name among the results."""
        return f"{pathlib.Path(self.table.split(':')[0]).stem}/{self.mode}/{self.contestant}/{self.seed}"


def one_run(table: NasTable, contestant: str, seed: int, trials: int) -> dict[str, list[float]]:
    """Mean accuracy of the top model at each checkpoint, by its best run and by recommendation."""
    study, draws = Study(table, contestant, seed), np.random.default_rng([seed, 1])
    scores: dict[str, list[float]] = {"trials": [], "best": [], "recommended": []}
    for number in range(1, trials + 1):
        runs = table.runs(study.start())
        study.finish(float(runs[draws.integers(3)]))
        if number in CHECKPOINTS or number == trials:
            scores["trials"].append(number)
            scores["best"].append(table.mean(study.best()))
            scores["recommended"].append(table.mean(study.recommended()))
    return scores


def until_good(table: NasTable, contestant: str, seed: int, most: int) -> dict[str, float]:
    """The first trial within 0.1 of the best; `most` where there is none up to then."""
    study = Study(table, contestant, seed)
    for number in range(1, most + 1):
        accuracy = table.mean(study.start())
        study.finish(accuracy)
        if accuracy >= table.best - 0.1:
            return {"trials": number}
    return {"trials": most}


def four_workers(table: NasTable, contestant: str, seed: int, trials: int) -> dict[str, float]:
    """The share of repetitions where four trials run at any time, each for a random time."""
    study, draws = Study(table, contestant, seed), np.random.default_rng([seed, 2])
    tried: set[str] = set()
    running: list[tuple[float, int, float]] = []
    now, repeated = 0.0, 0
    for trial_id in range(1, trials + 1):
        if len(running) == 4:
            running.sort()
            now, finished, accuracy = running.pop(0)
            study.finish(accuracy, finished)
        architecture = study.start()
        same = table.equivalent(architecture)
        repeated += same in tried
        tried.add(same)
        accuracy = float(table.runs(architecture)[draws.integers(3)])
        running.append((now + float(draws.lognormal(sigma=0.5)), trial_id, accuracy))
    return {"repeated": repeated / trials}


def run(job: Job, options: argparse.Namespace) -> dict[str, object]:
    """Carries out a job; in a process of its own where there are several."""
    table = read(job.table, options)
    started = time.process_time()
    if job.mode == ONE_RUN:
        result: dict[str, object] = dict(one_run(table, job.contestant, job.seed, options.trials))
    elif job.mode == MEAN:
        result = dict(until_good(table, job.contestant, job.seed, options.most))
    else:
        result = dict(four_workers(table, job.contestant, job.seed, options.parallel_trials))
    return result | {"seconds": time.process_time() - started}


_TABLES: dict[str, NasTable] = {}


def read(table: str, options: argparse.Namespace) -> NasTable:
    """The table of that name, read once in each process."""
    if table not in _TABLES:
        name, _, positions = table.partition(":")
        path = pathlib.Path(options.tables or ".") / name
        rules = KNOWN.get(path.name) if not positions else Rules(int(positions))
        if rules is None:
            sys.exit(f"{name}: how many positions? Give it as --table {name}:POSITIONS")
        if not path.is_file():
            sys.exit(f"there is no {path}; name the folder of the tables with --tables")
        _TABLES[table] = NasTable.read(path, rules)
        if not _TABLES[table].is_complete:
            sys.exit(
                f"{name} does not list every network of its positions; search_bench.py takes those as failed trials"
            )
    return _TABLES[table]


def carry_out(jobs: list[Job], options: argparse.Namespace) -> dict[str, dict[str, object]]:
    """The results by key; those in the results file are taken from there."""
    file = pathlib.Path(options.results) if options.results else None
    results = json.loads(file.read_text()) if file is not None and file.exists() else {}
    missing = [job for job in jobs if job.key not in results]
    if options.jobs == 1:
        for job in missing:
            results[job.key] = run(job, options)
            _keep(results, file)
        return results
    with concurrent.futures.ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(run, job, options): job for job in missing}
        for future in concurrent.futures.as_completed(futures):
            results[futures[future].key] = future.result()
            _keep(results, file)
    return results


def _keep(results: dict[str, dict[str, object]], file: pathlib.Path | None) -> None:
    if file is not None:
        temporary = file.with_suffix(".part")
        temporary.write_text(json.dumps(results))
        temporary.replace(file)


def find_tables(options: argparse.Namespace) -> list[str]:
    """The tables to search: those that are named, else those that are known and in the folder."""
    datasets = os.environ.get(VARIABLE)
    if options.tables is None and datasets:
        options.tables = str(pathlib.Path(datasets).resolve().parent / "nas_tables")
    if options.table:
        return list(options.table)
    folder = pathlib.Path(options.tables) if options.tables else None
    if folder is None or not folder.is_dir():
        sys.exit(f"no tables: name their folder with --tables, or set {VARIABLE} to a folder beside `nas_tables`")
    return [name for name in MEASURED_THRICE if (folder / name).is_file()]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", help=f"folder of tables (default: `nas_tables` beside the folder in {VARIABLE})")
    parser.add_argument("--table", action="append", help="FILE:POSITIONS, another table; may be given several times")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--contestants", help="comma-separated; default: the contestants of the issue")
    parser.add_argument("--default", default="default", help="whom the others are compared with")
    parser.add_argument("--trials", type=int, default=300, help="trials of a study with one run a trial")
    parser.add_argument("--most", type=int, default=3000, help="trials of a study with the mean of three, at most")
    parser.add_argument("--parallel-trials", type=int, default=400)
    parser.add_argument("--results", help="a JSON file that keeps finished studies, so that a second call continues")
    parser.add_argument("--plot", help="writes best-so-far against trials as an image (needs matplotlib)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    tables, modes = find_tables(options), options.modes.split(",")
    names = options.contestants.split(",") if options.contestants else contestants()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    jobs = [Job(t, mode, name, seed) for mode in modes for t in tables for name in names for seed in seeds]
    started = time.monotonic()
    results = carry_out(jobs, options)
    print(f"{len(jobs)} studies, {options.seeds} seeds, {time.monotonic() - started:.0f} s")

    def of(table: str, mode: str, name: str) -> list[dict[str, object]]:
        return [results[Job(table, mode, name, seed).key] for seed in seeds]

    for table in tables:
        name = pathlib.Path(table.split(":")[0]).stem
        if ONE_RUN in modes:
            scores = {c: of(table, ONE_RUN, c) for c in names}
            at = sorted({min(100, options.trials), options.trials})
            print_scores(name, scores, at, options.default)
            if options.plot:
                path = pathlib.Path(options.plot)
                save_plot(path.with_name(f"{path.stem}_{name}{path.suffix}"), name, scores)
        if MEAN in modes:
            print_reached(name, {c: of(table, MEAN, c) for c in names}, options.default, options.most)
        if PARALLEL in modes:
            print_parallel(name, {c: of(table, PARALLEL, c) for c in names}, options.parallel_trials)


if __name__ == "__main__":
    main()
