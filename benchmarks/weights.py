"""How many training steps do weights that are carried over save?

    python benchmarks/weights.py --datasets DIR --tables phoneme --seeds 3

For each table and seed a search trains `--models` towers from fresh weights, each for `--steps` steps. Its best
validation loss is the target. Then searches that carry weights over have the same number of steps, with the same
specification but for the fields that the row names. Printed are the steps after which each has first completed a trial
as good as the target, as a share of those of the search from fresh weights (of all, and of those until its best trial),
and its best loss after as many steps. Only steps count, so that it does not matter what else the machine does.
"from a study of other rows" starts from the towers that the same search has found on the rows of the test file; their
steps are not counted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from typing import TYPE_CHECKING, Any

from tables import Table, add_datasets_flag, read_index

if TYPE_CHECKING:
    from model_search.study import Study

FRESH, OTHER_ROWS = "fresh weights", "from a study of other rows"
ROWS = {
    FRESH: "",
    "mean of all": "transfer_learning_spec { transfer_learning_type: UNIFORM_AVERAGE_TRANSFER_LEARNING }",
    "weighted by loss": "transfer_learning_spec { transfer_learning_type: LOSS_WEIGHTED_AVERAGE_TRANSFER_LEARNING }",
    "snapshot of the parent": "transfer_learning_spec { transfer_learning_type: SNAPSHOT_TRANSFER_LEARNING }",
    "morphisms": "morphisms { }",
    OTHER_ROWS: "",
}
SPEC = """
search_type: ADAPTIVE_COORDINATE_DESCENT
minimum_depth: 1
maximum_depth: 6
increase_complexity_minimum_trials: [0, 0, 0, 0, 0, 0]
beam_size: 3
blocks_to_use: "FIXED_OUTPUT_FULLY_CONNECTED_128"
blocks_to_use: "BOTTLENECK_64_SKIP"
blocks_to_use: "GLU_128"
blocks_to_use: "TABULAR_RESNET_128"
learning_spec { optimizers: "adam" }
"""
Curve = list[tuple[int, float]]


def search(table: Table, row: str, seed: int, steps: int, budget: int) -> Curve:
    """The best validation loss by steps, trial by trial, until the budget of steps is used."""
    from model_search import single_trainer
    from model_search.data import csv_data
    from model_search.spec.load import load_text

    provider = csv_data.Provider(filename=str(table.train), validation_filename=str(table.valid), label=table.label)
    trainer = single_trainer.SingleTrainer(provider, load_text(SPEC + ROWS[row]))
    models = budget // steps
    curve: Curve = []
    with tempfile.TemporaryDirectory() as root:
        common = _common(root, seed, steps)
        source = _of_other_rows(table, {**common, "number_models": models}) if row == OTHER_ROWS else None
        while not curve or curve[-1][0] < budget:
            options = {**common, "number_models": models, "experiment_name": "weights", "warm_start_from": source}
            study = trainer.try_models(**options)
            curve, used, best = [], 0, float("inf")
            for trial in sorted(study.history.completed, key=lambda one: one.id):
                used += trial.plan.steps - trial.plan.first_step
                best = min(best, trial.objective("loss"))
                curve.append((used, best))
            models += max(1, (budget - used) // steps)
    return curve


def _common(root: str, seed: int, steps: int) -> dict[str, Any]:
    """The options of `try_models` that all searches share."""
    return {
        "train_steps": steps,
        "eval_steps": None,
        "root_dir": root,
        "batch_size": 64,
        "experiment_owner": "benchmark",
        "seed": seed,
        "sampler": "random",
        "progress": False,
        "finish": "neither",
        "members": "networks",
    }


def _of_other_rows(table: Table, options: dict[str, Any]) -> Study:
    """The same search on the rows of the test file, which the other searches neither train on nor are validated on."""
    from model_search import single_trainer
    from model_search.data import csv_data
    from model_search.spec.load import load_text

    provider = csv_data.Provider(filename=str(table.test), label=table.label)
    return single_trainer.SingleTrainer(provider, load_text(SPEC)).try_models(**options, experiment_name="other rows")


def reached(curve: Curve, target: float) -> float:
    """The steps after which a loss was reached; infinite where it was not."""
    return next((float(used) for used, best in curve if best <= target), float("inf"))


def run(table: Table, rows: list[str], options: argparse.Namespace) -> None:
    """Prints a line for each row, and the medians over the seeds."""
    budget = options.models * options.steps
    shares: dict[str, list[float]] = {row: [] for row in rows}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        fresh = search(table, FRESH, seed, options.steps, budget)
        target = fresh[-1][1]
        first = reached(fresh, target)
        print(f"{table.name} seed {seed}: loss {target:.4f} after {budget} steps, found after {first:.0f}", flush=True)
        for row in rows:
            curve = search(table, row, seed, options.steps, budget)
            share = reached(curve, target) / budget
            shares[row].append(share)
            best = min(best for used, best in curve if used <= budget)
            print(
                f"  {row}: {share:.3f} of the steps, {share * budget / first:.3f} of those until its best trial; "
                f"best {best:.4f}",
                flush=True,
            )
    for row in rows:
        print(f"{table.name}, {row}: median {statistics.median(shares[row]):.3f} of the steps ({options.seeds} seeds)")


def main() -> None:
    """Reads the flags and runs the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_datasets_flag(parser)
    parser.add_argument("--tables", default="phoneme", help="names, with commas")
    parser.add_argument("--rows", default=",".join(row for row in ROWS if row != FRESH), help="names, with commas")
    parser.add_argument("--models", type=int, default=12, help="towers of the search from fresh weights")
    parser.add_argument("--steps", type=int, default=500, help="of each of them")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first_seed", type=int, default=1)
    options = parser.parse_args()
    rows = [row for row in ROWS if row != FRESH and row in options.rows.split(",")]
    wanted = options.tables.split(",")
    for table in read_index(options.datasets).values():
        if table.name in wanted:
            run(table, rows, options)


if __name__ == "__main__":
    main()
