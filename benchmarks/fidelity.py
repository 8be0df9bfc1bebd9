"""How many steps does a search with an evaluation schedule take to be as good as one that trains every tower in full?

    python benchmarks/fidelity.py --datasets DIR --tables phoneme,adult --models 20 --seeds 3

For each table and seed a search trains `--models` towers in full. Then searches with a schedule get the same number of
steps, as far as they use them. Printed are: the steps that the full search took to its best validation accuracy, those
that the others took to reach it, and what all have reached at the end. Rounds the same for all: one search type, one
space, batches of 32. A last column has the seconds of each search; they depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Sequence

from tables import Table, add_datasets_flag, read_index

SCHEDULES = {
    "FULL": "",
    "ASHA": "evaluation_schedule { kind: ASHA }",
    "ASHA, rows": "evaluation_schedule { kind: ASHA fidelity: ROWS }",
    "HYPERBAND": "evaluation_schedule { kind: HYPERBAND }",
    "MEDIAN": "evaluation_schedule { stopping: MEDIAN }",
    "LEARNING_CURVE": "evaluation_schedule { stopping: LEARNING_CURVE }",
}
Curve = list[tuple[int, float]]


def search(table: Table, schedule: str, seed: int, budget: argparse.Namespace) -> tuple[Curve, float]:
    """The best validation accuracy by steps, trial by trial, and the seconds of the search.

    Trials are added until the steps of `budget.models` trainings in full are used.
    """
    from model_search import constants, single_trainer
    from model_search.data import csv_data
    from model_search.spec.load import load_spec, load_text, to_text

    provider = csv_data.Provider(filename=str(table.train), validation_filename=str(table.valid), label=table.label)
    plain = load_spec(constants.DEFAULT_DNN)
    plain.ClearField("ensemble_spec")
    plain.ClearField("distillation_spec")
    plain.starting_points = False  # they leave nothing to be found sooner
    trainer = single_trainer.SingleTrainer(provider, load_text(f"{to_text(plain)}\n{SCHEDULES[schedule]}"))
    curve: Curve = []
    models = budget.models
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        while not curve or (schedule != "FULL" and curve[-1][0] < 0.97 * budget.models * budget.steps):
            study = trainer.try_models(
                number_models=models,
                train_steps=budget.steps,
                eval_steps=100,
                root_dir=root,
                batch_size=32,
                experiment_name="fidelity",
                experiment_owner="benchmark",
                seed=seed,
                metric="accuracy",
                progress=False,
                finish="neither",
            )
            curve = best_so_far(study.trials)
            study.close()
            left = budget.models * budget.steps - (curve[-1][0] if curve else 0)
            models += max(1, math.ceil(left / budget.steps))
    return curve, time.monotonic() - started


def best_so_far(trials: Sequence) -> Curve:
    """(steps taken by all trials so far, best accuracy so far)."""
    steps, best, curve = 0, -math.inf, []
    for trial in trials:
        if trial.result is None:
            continue
        end = trial.plan.steps if trial.result.stopped_at is None else trial.result.stopped_at
        steps += end - trial.plan.first_step
        best = max(best, trial.result.metrics["accuracy"])
        curve.append((steps, best))
    return curve


def steps_to(curve: Curve, accuracy: float, most: int) -> int | None:
    """Steps until the accuracy was reached, up to a limit."""
    return next((steps for steps, best in curve if best >= accuracy and steps <= most), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_datasets_flag(parser)
    parser.add_argument("--tables", default="phoneme,adult", help="names, with commas")
    parser.add_argument("--schedules", default=",".join(["ASHA"]), help=f"with commas, of {'; '.join(SCHEDULES)}")
    parser.add_argument("--models", type=int, default=20, help="trainings in full")
    parser.add_argument("--steps", type=int, default=1000, help="of a training in full")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    known = read_index(options.datasets)
    most = options.models * options.steps
    print(
        f"{'table':<12}{'schedule':<16}{'seed':>5}{'trials':>8}{'steps to target':>17}"
        f"{'target':>9}{'at end':>9}{'s':>7}"
    )
    for name in options.tables.split(","):
        ratios: dict[str, list[float]] = {}
        for seed in range(1, options.seeds + 1):
            target, reached = math.nan, most
            for schedule in ["FULL", *options.schedules.split(",")]:
                curve, seconds = search(known[name], schedule, seed, options)
                if schedule == "FULL":
                    target = curve[-1][1]
                steps = steps_to(curve, target, most)
                reached = steps if schedule == "FULL" and steps else reached
                at_end = max(best for step, best in curve if step <= most)
                ratios.setdefault(schedule, []).append((steps or most) / reached)
                print(
                    f"{name:<12}{schedule:<16}{seed:>5}{len(curve):>8}{steps or 'not reached':>17}{target:>9.4f}"
                    f"{at_end:>9.4f}{seconds:>7.0f}",
                    flush=True,
                )
        for schedule, found in ratios.items():
            print(f"{name:<12}{schedule:<16} mean share of the full search's steps {statistics.mean(found):.2f}")


if __name__ == "__main__":
    main()
