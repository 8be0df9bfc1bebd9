"""How many training steps do weights that are carried over save?

    python benchmarks/weights.py --datasets DIR --tables phoneme --seeds 3
    python benchmarks/weights.py --datasets DIR --tables cifar10 --seeds 1 --rows morphisms,"snapshot of the parent"

For each table (or `cifar10`, the folders of pictures) and seed a search trains `--models` towers from fresh weights,
each for `--steps` steps. Its best validation loss is the target. Then searches that carry weights over have the same
number of steps, with the same specification but for the fields that the row names. Printed are the steps after which
each has first completed a trial as good as the target, as a share of those of the search from fresh weights (of all,
and of those until its best trial), and its best loss after as many steps. Only steps count, so that it does not
matter what else the machine does. "from a study of other rows" starts from the towers that the same search has found
on the rows of the test file (or folder); their steps are not counted.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import statistics
import tempfile
from collections.abc import Callable, Iterator
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
CIFAR = "cifar10"
SPEC_OF_PICTURES = """
problem_type: CNN
search_type: ADAPTIVE_COORDINATE_DESCENT
minimum_depth: 2
maximum_depth: 7
increase_complexity_minimum_trials: [0, 0, 0, 0, 0, 0, 0]
beam_size: 3
blocks_to_use: "BATCHNORM_CONVOLUTION_32"
blocks_to_use: "BATCHNORM_CONVOLUTION_STRIDE_32_2"
blocks_to_use: "PREACTIVATION_RESNET_32"
learning_spec { optimizers: "adam" }
"""
Curve = list[tuple[int, float]]


@dataclasses.dataclass(frozen=True)
class Rows:
    """What is searched on.

    Attributes:
        name: Of the data.
        spec: The specification from fresh weights.
        provider: Makes the provider of the rows.
        others: The same of other rows, which no search trains on or is validated on.
    """

    name: str
    spec: str
    provider: Callable[[], Any]
    others: Callable[[], Any]


def of_table(table: Table) -> Rows:
    """The rows of a table."""
    from model_search.data.csv_data import Provider

    return Rows(
        table.name,
        SPEC,
        lambda: Provider(filename=str(table.train), validation_filename=str(table.valid), label=table.label),
        lambda: Provider(filename=str(table.test), label=table.label),
    )


def of_pictures(folder: pathlib.Path) -> Rows:
    """The pictures of CIFAR-10: a part of the training folder validates, the test folder has the other rows."""
    from model_search.data.image_data import Provider

    return Rows(
        CIFAR,
        SPEC_OF_PICTURES,
        lambda: Provider(str(folder / "train"), 32, 32),
        lambda: Provider(str(folder / "test"), 32, 32),
    )


def search(rows: Rows, row: str, seed: int, steps: int, budget: int) -> Curve:
    """The best validation loss by steps, trial by trial, until the budget of steps is used."""
    from model_search import single_trainer
    from model_search.spec.load import load_text

    trainer = single_trainer.SingleTrainer(rows.provider(), load_text(rows.spec + ROWS[row]))
    models = budget // steps
    curve: Curve = []
    with tempfile.TemporaryDirectory() as root:
        common = _common(root, seed, steps)
        source = _of_other_rows(rows, {**common, "number_models": models}) if row == OTHER_ROWS else None
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


def _of_other_rows(rows: Rows, options: dict[str, Any]) -> Study:
    """The same search on the rows of the test file, which the other searches neither train on nor are validated on."""
    from model_search import single_trainer
    from model_search.spec.load import load_text

    trainer = single_trainer.SingleTrainer(rows.others(), load_text(rows.spec))
    return trainer.try_models(**options, experiment_name="other rows")


def reached(curve: Curve, target: float) -> float:
    """The steps after which a loss was reached; infinite where it was not."""
    return next((float(used) for used, best in curve if best <= target), float("inf"))


def run(data: Rows, rows: list[str], options: argparse.Namespace) -> None:
    """Prints a line for each row, and the medians over the seeds."""
    budget = options.models * options.steps
    shares: dict[str, list[float]] = {row: [] for row in rows}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        fresh = search(data, FRESH, seed, options.steps, budget)
        target = fresh[-1][1]
        first = reached(fresh, target)
        print(f"{data.name} seed {seed}: loss {target:.4f} after {budget} steps, found after {first:.0f}", flush=True)
        for row in rows:
            curve = search(data, row, seed, options.steps, budget)
            share = reached(curve, target) / budget
            shares[row].append(share)
            best = min(best for used, best in curve if used <= budget)
            print(
                f"  {row}: {share:.3f} of the steps, {share * budget / first:.3f} of those until its best trial; "
                f"best {best:.4f}",
                flush=True,
            )
    for row in rows:
        print(f"{data.name}, {row}: median {statistics.median(shares[row]):.3f} of the steps ({options.seeds} seeds)")


def main() -> None:
    """Reads the flags and runs the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_datasets_flag(parser)
    parser.add_argument("--tables", default="phoneme", help=f"names, with commas; {CIFAR} for pictures")
    parser.add_argument("--rows", default=",".join(row for row in ROWS if row != FRESH), help="names, with commas")
    parser.add_argument("--models", type=int, default=12, help="towers of the search from fresh weights")
    parser.add_argument("--steps", type=int, default=500, help="of each of them")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first_seed", type=int, default=1)
    options = parser.parse_args()
    rows = [row for row in ROWS if row != FRESH and row in options.rows.split(",")]
    for data in _wanted(options):
        run(data, rows, options)


def _wanted(options: argparse.Namespace) -> Iterator[Rows]:
    wanted = options.tables.split(",")
    for table in read_index(options.datasets).values():
        if table.name in wanted:
            yield of_table(table)
    if CIFAR in wanted:
        yield of_pictures(pathlib.Path(options.datasets) / "images" / CIFAR)


if __name__ == "__main__":
    main()
