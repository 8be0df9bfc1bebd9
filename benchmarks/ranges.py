"""Are the ranges of hyperparameters better than the archived ones? Random towers and hyperparameters from both.

    python benchmarks/ranges.py --datasets DIR --tables phoneme,wine_quality --models 30 --seeds 2

Both sides train the same number of models on the same towers' space, with random hyperparameters and no search of the
architecture, so that nothing but the ranges differs. `wasted` is the share of models that are no better on validation
rows than a linear model on the same features.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

from datasets import baselines
from tables import Table, add_datasets_flag, read_index

ARCHIVED = """
  learning_rate_range { minimum: 1e-6 maximum: 0.01 }
  optimizers: "momentum" optimizers: "sgd" optimizers: "adagrad" optimizers: "adam" optimizers: "rmsprop"
  no_dropout_share: 0.0909
  cooldown_share: 0
"""
SPEC = """
minimum_depth: 2
maximum_depth: 2
search_type: NONADAPTIVE_RANDOM_SEARCH
problem_type: DNN
blocks_to_use: "FIXED_OUTPUT_FULLY_CONNECTED_128"
blocks_to_use: "FIXED_OUTPUT_FULLY_CONNECTED_256"
blocks_to_use: "FULLY_CONNECTED_RESIDUAL_PROJECT_BATCHNORM"
blocks_to_use: "FULLY_CONNECTED_PYRAMID"
apply_dropouts_between_blocks: true
learning_spec {
  apply_exponential_decay: true
  apply_gradient_clipping: true
  %s
}
"""


def scores(table: Table, side: str, seed: int, models: int) -> list[float]:
    """Validation scores (accuracy or R2) of random models, in the order of their trials."""
    from model_search import single_trainer
    from model_search.data import csv_data

    provider = csv_data.Provider(filename=str(table.train), validation_filename=str(table.valid), label=table.label)
    classes = table.task == "classification"
    with tempfile.TemporaryDirectory() as root:
        spec = pathlib.Path(root) / "spec.pbtxt"
        spec.write_text(SPEC % (ARCHIVED if side == "archived" else ""))
        study = single_trainer.SingleTrainer(provider, str(spec)).try_models(
            number_models=models,
            train_steps=1000,
            eval_steps=100,
            root_dir=root,
            batch_size=32,
            experiment_name=side,
            experiment_owner="benchmark",
            seed=seed,
            metric="accuracy" if classes else "r2",
            progress=False,
            finish="neither",
        )
        name = "accuracy" if classes else "r2"
        found = [trial.result.metrics[name] for trial in study.trials if trial.result is not None]
        study.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_datasets_flag(parser)
    parser.add_argument("--tables", default="phoneme,wine_quality,california_housing")
    parser.add_argument("--models", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    index = read_index(options.datasets)
    if options.one:
        name, side, seed = options.one
        print(json.dumps(scores(index[name], side, int(seed), options.models)))
        return
    names = options.tables.split(",")
    jobs = [(name, side, seed) for name in names for side in ("archived", "ours") for seed in range(options.seeds)]

    def run(job: tuple[str, str, int]) -> list[float]:
        words = [sys.executable, __file__, "--datasets", options.datasets, "--models", str(options.models)]
        done = subprocess.run([*words, "--one", *map(str, job)], capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = dict(zip(jobs, pool.map(run, jobs), strict=True))
    print(f"{'table':<20}{'ranges':<10}{'wasted':>8}{'median':>9}{'best of 10':>12}{'best of all':>12}")
    for name in names:
        linear = baselines(index[name])["linear"]
        for side in ("archived", "ours"):
            runs = [results[name, side, seed] for seed in range(options.seeds)]
            values = [value for run_values in runs for value in run_values]
            wasted = sum(value <= linear for value in values) / len(values)
            first = statistics.mean(max(run_values[:10]) for run_values in runs)
            best = statistics.mean(map(max, runs))
            print(f"{name:<20}{side:<10}{wasted:>8.0%}{statistics.median(values):>9.4f}{first:>12.4f}{best:>12.4f}")


if __name__ == "__main__":
    main()
