"""How good are the models? Searches ten tables and scores the best single model on rows kept aside.

    python benchmarks/datasets.py --datasets DIR --budget small --seeds 3

Beside each figure stand a constant (most frequent class, mean target) and a linear model on the same features. The
score is accuracy for classes and R2 for numbers, on the test file; the standard error is that of one test run.
Every search is a process of its own, `--jobs` of them at a time; they share the cores.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time

from tables import Table, add_datasets_flag, read_index

BUDGETS = {"small": (1000, 32), "large": (4000, 128)}
REACH = {
    ("phoneme", "small"): 0.865,
    ("phoneme", "large"): 0.885,
    ("adult", "large"): 0.855,
    ("california_housing", "large"): 0.78,
    ("abalone", "large"): 0.53,
}


@dataclasses.dataclass(frozen=True)
class Job:
    """One search."""

    table: Table
    budget: str
    seed: int
    models: int


def search(job: Job, jobs: int) -> dict[str, float]:
    """Runs one search in this process, in parallel with others, and scores it on the test file."""
    from model_search import constants, single_trainer
    from model_search.data import csv_data
    from model_search.training.runtime import available_cores, tensorflow

    tensorflow(1, max(1, available_cores() // jobs))

    steps, batch = BUDGETS[job.budget]
    provider = csv_data.Provider(
        filename=str(job.table.train), validation_filename=str(job.table.valid), label=job.table.label
    )
    with tempfile.TemporaryDirectory() as root:
        started = time.monotonic()
        study = single_trainer.SingleTrainer(provider, constants.DEFAULT_DNN).try_models(
            number_models=job.models,
            train_steps=steps,
            eval_steps=100,
            root_dir=root,
            batch_size=batch,
            experiment_name=job.table.name,
            experiment_owner="benchmark",
            seed=job.seed,
            metric="accuracy" if job.table.task == "classification" else "rmse",
            progress=False,
            finish="neither",
        )
        seconds = time.monotonic() - started
        test = study.evaluate(str(job.table.test))
        best = study.best_trial
        study.close()
    score = "accuracy" if job.table.task == "classification" else "r2"
    assert best.result is not None
    return {"test": test[score], "valid": best.result.metrics[score], "seconds": seconds, "trial": best.id}


def baselines(table: Table) -> dict[str, float]:
    """Test scores of a constant and of a linear model on the same features."""
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.linear_model import LogisticRegression, Ridge

    from model_search.data import csv_data
    from model_search.data.later_rows import labelled_rows
    from model_search.data.prepare_options import PrepareOptions

    provider = csv_data.Provider(filename=str(table.train), validation_filename=str(table.valid), label=table.label)
    data = provider.prepare(PrepareOptions(seed=0, batch_size=32, eval_steps=None))
    test = labelled_rows(str(table.test), data.description)
    test_x, test_y = test.inputs["features"], test.label.ravel()
    x, y = data.train.inputs["features"], data.train.label.ravel()
    if table.task == "classification":
        models = {"constant": DummyClassifier(), "linear": LogisticRegression(max_iter=2000)}
    else:
        models = {"constant": DummyRegressor(), "linear": Ridge()}
    return {"rows": len(test_y)} | {k: float(m.fit(x, y).score(test_x, test_y)) for k, m in models.items()}


def in_process(arguments: list[str]) -> dict[str, float]:
    """Runs this file again for one job; its last line is the result."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def standard_error(score: float, rows: float, task: str) -> float:
    """Of one test run: binomial for accuracy; for R2 the usual large-sample figure."""
    if task == "classification":
        return math.sqrt(score * (1 - score) / rows)
    return math.sqrt(4 * score * (1 - score) ** 2 / rows) if score > 0 else 0.0


def run_all(options: argparse.Namespace, tables: list[Table]) -> None:
    cache_file = pathlib.Path(options.results) if options.results else None
    cache = json.loads(cache_file.read_text()) if cache_file and cache_file.exists() else {}

    def one(job: Job | Table) -> None:
        if isinstance(job, Table):
            key, words = f"{job.name}/baselines", ["--baselines", job.name]
        else:
            key = f"{job.table.name}/{job.budget}/{job.seed}/{job.models}"
            words = ["--one", job.table.name, job.budget, str(job.seed), str(job.models)]
        if key not in cache:
            cache[key] = in_process([*words, "--datasets", options.datasets, "--jobs", str(options.jobs)])
            print(key, cache[key], file=sys.stderr, flush=True)
            if cache_file:
                cache_file.write_text(json.dumps(cache, indent=1))

    budgets = list(BUDGETS) if options.budget == "both" else [options.budget]
    jobs = [Job(t, b, s, options.models) for b in budgets for t in tables for s in range(1, options.seeds + 1)]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, [*tables, *jobs]))
    print_table(cache, tables, budgets, options)


def print_table(
    cache: dict[str, dict[str, float]], tables: list[Table], budgets: list[str], options: argparse.Namespace
) -> None:
    print(
        f"{'table':<20}{'budget':<8}{'score':<10}{'test':>8}{'+-':>7}{'valid':>8}{'constant':>10}{'linear':>8}"
        f"{'s/search':>10}  floor"
    )
    for budget in budgets:
        for table in tables:
            runs = [cache[f"{table.name}/{budget}/{s}/{options.models}"] for s in range(1, options.seeds + 1)]
            base = cache[f"{table.name}/baselines"]
            test = sum(r["test"] for r in runs) / len(runs)
            error = standard_error(test, base["rows"], table.task)
            floor = REACH.get((table.name, budget))
            verdict = "" if floor is None else f"{floor} {'reached' if test >= floor else 'MISSED'}"
            worst = max(base["constant"], base["linear"])
            if test < worst - error:
                verdict += " BELOW BASELINE"
            print(
                f"{table.name:<20}{budget:<8}{'accuracy' if table.task == 'classification' else 'R2':<10}{test:>8.4f}"
                f"{error:>7.4f}{sum(r['valid'] for r in runs) / len(runs):>8.4f}{base['constant']:>10.4f}"
                f"{base['linear']:>8.4f}{sum(r['seconds'] for r in runs) / len(runs):>10.1f}  {verdict}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_datasets_flag(parser)
    parser.add_argument("--budget", choices=[*BUDGETS, "both"], default="both")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", help="comma-separated names of tables")
    parser.add_argument("--results", help="a JSON file that keeps finished runs, so that a second call continues")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--baselines", help=argparse.SUPPRESS)
    options = parser.parse_args()
    index = read_index(options.datasets)
    if options.one:
        name, budget, seed, models = options.one
        print(json.dumps(search(Job(index[name], budget, int(seed), int(models)), options.jobs)))
    elif options.baselines:
        print(json.dumps(baselines(index[options.baselines])))
    else:
        wanted = options.only.split(",") if options.only else list(index)
        run_all(options, [index[name] for name in wanted])


if __name__ == "__main__":
    main()
