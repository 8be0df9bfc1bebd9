"""What do ensembles and students gain, and what do they cost?

    python benchmarks/ensembles.py --datasets DIR --part quality --seeds 3 --results ensembles.json
    python benchmarks/ensembles.py --part selection
    python benchmarks/ensembles.py --datasets DIR --part trials

quality    Searches ten tables and scores, on the test file, the best single model, the selected ensemble (whether or
           not the study kept it) and the student; all with their fitted temperature. Log loss for classes, RMSE for
           numbers; a reduction is relative to the best single model, which in a stock search is mostly a tower that was
           distilled in the search; with --plain all models learn from the labels alone. Every search is
           a process of its own.
selection  Seconds to select from 1,000 candidates with 10,000 rows of 10 classes.
trials     Seconds of ensemble trials against a search trial of the same tower on one table.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tables import Table, add_datasets_flag, read_index

BUDGETS = {"small": (1000, 32), "large": (4000, 128)}
MODELS = ("single", "ensemble", "student")
CANDIDATES, ROWS, CLASSES = 1000, 10_000, 10
MEMBERS = (1, 5, 20)
REPEATS = 7


def search(table: Table, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One search in this process, in parallel with others; test scores and parameters of its three models."""
    from model_search import constants, single_trainer
    from model_search.data import csv_data
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
    from model_search.spec.load import load_spec
    from model_search.training.runtime import available_cores, tensorflow

    tensorflow(1, max(1, available_cores() // options.jobs))
    steps, batch = BUDGETS[options.budget]
    provider = csv_data.Provider(filename=str(table.train), validation_filename=str(table.valid), label=table.label)
    with tempfile.TemporaryDirectory() as root:
        started = time.monotonic()
        spec = load_spec(constants.DEFAULT_DNN)
        spec.search_type = PhoenixSpec.SearchType.Value(options.search)
        if options.plain:
            spec.ClearField("ensemble_spec")
            spec.ClearField("distillation_spec")
        study = single_trainer.SingleTrainer(provider, spec).try_models(
            number_models=options.models,
            train_steps=steps,
            eval_steps=100,
            root_dir=root,
            batch_size=batch,
            experiment_name=table.name,
            experiment_owner="benchmark",
            seed=seed,
            progress=False,
        )
        found: dict[str, Any] = {"seconds": time.monotonic() - started, "best": study.best}
        # The best trial may be an ensemble of the search; the baseline is a single model.
        alone = [trial for trial in study.history.completed if trial.plan is not None and not trial.plan.members]
        score = "log_loss" if table.task == "classification" else "rmse"
        for model in study.final_models:
            found[model.kind.value] = {"parameters": model.parameters, "seconds": model.seconds}
        for name, choice in (("single", alone[0].id), ("ensemble", "ensemble"), ("student", "student")):
            if name in found or name == "single":
                entry = found.setdefault(name, {})
                entry["test"] = study.evaluate(str(table.test), choice)[score]
        found["members"] = len(study.members())
        found["accepted"] = study.final_models[0].accepted
        study.close()
    return found


def key_of(table: Table, seed: int, options: argparse.Namespace) -> str:
    """A run's name among the results."""
    kind = f"{options.search}{' plain' if options.plain else ''}"
    return f"{table.name}/{options.budget}/{options.models}/{seed}/{kind}"


def quality(options: argparse.Namespace) -> None:
    """Runs what is not in the results yet, then prints the table."""
    index = read_index(options.datasets)
    tables = [index[name] for name in (options.only.split(",") if options.only else index)]
    cache_file = pathlib.Path(options.results) if options.results else None
    cache = json.loads(cache_file.read_text()) if cache_file and cache_file.exists() else {}

    def one(job: tuple[Table, int]) -> None:
        table, seed = job
        key = key_of(table, seed, options)
        if key in cache:
            return
        words = [sys.executable, __file__, "--datasets", options.datasets, "--budget", options.budget]
        words += ["--models", str(options.models), "--jobs", str(options.jobs), "--one", table.name, str(seed)]
        words += ["--search", options.search, *(["--plain"] if options.plain else [])]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{key} failed:\n{done.stderr[-2000:]}")
        cache[key] = json.loads(done.stdout.splitlines()[-1])
        print(key, cache[key], file=sys.stderr, flush=True)
        if cache_file:
            cache_file.write_text(json.dumps(cache, indent=1))

    jobs = [(table, seed) for seed in range(1, options.seeds + 1) for table in tables]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, jobs))
    print_quality(cache, tables, options)


def print_quality(cache: Mapping[str, Any], tables: Sequence[Table], options: argparse.Namespace) -> None:
    """A row per table, means over seeds; then the figures over all tables."""
    print(f"{'table':<20}{'score':<10}{'single':>9}{'ensemble':>10}{'student':>9}{'ens. %':>8}{'stud. %':>8}", end="")
    print(f"{'kept':>7}{'members':>9}{'params':>10}{'stud. params':>14}{'accepted':>10}")
    rows = []
    for table in tables:
        keys = [key_of(table, seed, options) for seed in range(1, options.seeds + 1)]
        runs = [run for run in (cache[key] for key in keys) if "student" in run]
        if not runs:
            print(f"{table.name:<20}no student in any run")
            continue
        test = {name: float(np.mean([run[name]["test"] for run in runs])) for name in MODELS}
        # Of each run its own reduction, then the mean, so that no seed weighs more than another.
        cut = {name: float(np.mean([1 - run[name]["test"] / run["single"]["test"] for run in runs])) for name in MODELS}
        share = max(run["student"]["parameters"] / run["ensemble"]["parameters"] for run in runs)
        rows.append((table, test, cut, share))
        kept = f"{100 * cut['student'] / cut['ensemble']:.0f} %" if cut["ensemble"] > 0 else "-"
        print(
            f"{table.name:<20}{'log loss' if table.task == 'classification' else 'RMSE':<10}{test['single']:>9.4g}"
            f"{test['ensemble']:>10.4g}{test['student']:>9.4g}{100 * cut['ensemble']:>8.2f}{100 * cut['student']:>8.2f}"
            f"{kept:>7}{np.mean([run['members'] for run in runs]):>9.1f}"
            f"{np.mean([run['ensemble']['parameters'] for run in runs]):>10.0f}"
            f"{np.mean([run['student']['parameters'] for run in runs]):>14.0f}"
            f"{sum(run['accepted'] for run in runs):>7}/{len(runs)}"
        )
    if not rows:
        return
    classes = [cut for table, _, cut, _ in rows if table.task == "classification"]
    everywhere = {name: float(np.mean([cut[name] for _, _, cut, _ in rows])) for name in MODELS}
    reached = sum(cut["ensemble"] >= 0 for _, _, cut, _ in rows)
    print(f"\nensemble at or below the best single model: {reached} of {len(rows)} tables (to reach: 8 of 10)")
    if classes:
        print(
            f"mean reduction of log loss: {100 * np.mean([cut['ensemble'] for cut in classes]):.2f} % (to reach: 4 %)"
        )
    if everywhere["ensemble"] > 0:
        print(
            f"student keeps {100 * everywhere['student'] / everywhere['ensemble']:.0f} % of the gain (to reach: 50 %)"
        )
    worst, _, cut, _ = min(rows, key=lambda row: row[2]["student"] - row[2]["ensemble"])
    against = f"{100 * cut['student']:.2f} % against {100 * cut['ensemble']:.2f} %"
    print(f"student's worst table: {worst.name}, {against}")
    print(f"student's largest share of the ensemble's parameters: {max(row[3] for row in rows):.3f} (at most: 0.333)")


def selection() -> None:
    """Times the selection alone, on random logits."""
    from model_search.data.task import Task, TaskKind
    from model_search.finish.ensemble_selection import LabelledRows, select

    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=ROWS)
    truth = 2 * np.eye(CLASSES, dtype=np.float32)[labels]
    logits = [truth + rng.normal(size=truth.shape).astype(np.float32) for _ in range(CANDIDATES)]
    rows = LabelledRows(Task(TaskKind.CLASSIFICATION, "label", CLASSES), labels)
    for _ in range(2):
        started, worked = time.perf_counter(), time.process_time()
        found = select(logits, rows)
        wall, cpu = time.perf_counter() - started, time.process_time() - worked
        size = f"{CANDIDATES} candidates x {ROWS} rows x {CLASSES} classes"
        print(f"selection from {size}: {wall:.2f} s ({cpu:.2f} s of CPU), {len(found.weights)} members (at most: 5 s)")


def trials(options: argparse.Namespace) -> None:
    """Times ensemble trials, as the engine runs them, against a search trial of the same tower."""
    from model_search.data import csv_data
    from model_search.data.prepare_options import PrepareOptions
    from model_search.metadata.trial import EnsemblePlan, TrialKind, TrialPlan
    from model_search.training.engine import Engine
    from model_search.training.outcome import FrozenTowers, Given, TrainingSettings

    index = read_index(options.datasets)
    table = index[options.only or "phoneme"]
    provider = csv_data.Provider(filename=str(table.train), validation_filename=str(table.valid), label=table.label)
    steps, batch = BUDGETS[options.budget]
    data = provider.prepare(PrepareOptions(seed=1, batch_size=batch, eval_steps=100))
    engine = Engine(data, TrainingSettings("DNN", "loss", "minimize", keep_train_logits=True))
    width, rng = data.task.logits_dimension, np.random.default_rng(0)

    def plan(number: int, blocks: Sequence[str], ensemble: EnsemblePlan | None = None, members: int = 0) -> TrialPlan:
        return TrialPlan(
            trial_id=number,
            kind=TrialKind.SEARCH if ensemble is None else TrialKind.ENSEMBLE,
            architecture=tuple(blocks),
            hyperparameters={"learning_rate": 0.001, "optimizer": "adam"},
            steps=steps,
            batch_size=batch,
            seed=number,
            key=str(number),
            members=tuple(range(1, members + 1)),
            ensemble=ensemble,
        )

    def seconds(what: TrialPlan) -> float:
        count, frozen = len(what.members), None
        if count:
            valid, train = (rng.normal(size=(count, len(r), width)) for r in (data.valid, data.train))
            frozen = FrozenTowers(valid.astype(np.float32), train.astype(np.float32))
        started = time.perf_counter()
        engine.run(what, Given(frozen=frozen))
        return time.perf_counter() - started

    for blocks in (["FIXED_OUTPUT_FULLY_CONNECTED_64"], ["FIXED_OUTPUT_FULLY_CONNECTED_256"] * 3):
        kinds = {"search trial": plan(100, blocks), "average of 5": plan(101, (), EnsemblePlan("average"), 5)}
        for combining in ("average", "weighted"):
            for count in MEMBERS:
                name = f"adaptive, {combining}, {count} frozen"
                kinds[name] = plan(102, blocks, EnsemblePlan(combining), count)
        taken: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(REPEATS):  # interleaved, so that a busy machine slows all of them
            for name, what in kinds.items():
                taken[name].append(seconds(what))
        base = min(taken["search trial"][1:])
        print(f"\n{table.name}, {' > '.join(blocks)}, {steps} steps of {batch} (the fastest of {REPEATS - 1}, warm)")
        for name, values in taken.items():
            fastest = min(values[1:])  # the minimum is least affected by a busy machine
            print(f"  {name:<32}{fastest:>8.3f} s{fastest / base:>8.3f} times a search trial")
    print("\nto reach: an average at most 0.05 times, an adaptive trial at most 1.3 times a search trial")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_datasets_flag(parser)
    parser.add_argument("--part", choices=["quality", "selection", "trials", "all"], default="all")
    parser.add_argument("--budget", choices=list(BUDGETS), default="small")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--plain", action="store_true", help="search without ensembles and distillation: towers only")
    parser.add_argument("--search", default="PREDICTOR_GUIDED_BEAM", help="search_type of the specification")
    parser.add_argument("--only", help="comma-separated names of tables")
    parser.add_argument("--results", help="a JSON file that keeps finished runs, so that a second call continues")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(search(read_index(options.datasets)[options.one[0]], options, int(options.one[1]))))
        return
    if options.part in ("selection", "all"):
        selection()
    if options.part in ("trials", "all"):
        trials(options)
    if options.part in ("quality", "all"):
        quality(options)


if __name__ == "__main__":
    main()
