"""How well a time limit is kept: wall time of whole commands, from the start of the process to the exported model.

    python benchmarks/time_limit.py
    python benchmarks/time_limit.py --rows 1000,50000 --limits 10,20,120 --workers 1

A limit is kept where the command ends within 10 % or 5 seconds of it (within 10 seconds where it is below 10) and has
written a model.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd

import model_search

NUMBERS, CATEGORIES = 20, 4


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", default="1000,50000", help="sizes of the tables")
    options.add_argument("--limits", default="5,10,20,120", help="seconds")
    options.add_argument("--workers", type=int, default=1)
    given = options.parse_args()
    print("| rows | limit | wall time | models | best model | exported | kept |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for rows in map(int, given.rows.split(",")):
            table = pathlib.Path(folder) / f"{rows}.csv"
            make_table(rows).to_csv(table, index=False)
            for limit in map(float, given.limits.split(",")):
                print(measure(table, rows, limit, given.workers), flush=True)


def make_table(rows: int) -> pd.DataFrame:
    """Numbers, some of them missing, categories, and two classes that depend on some of them."""
    rng = np.random.default_rng(rows)
    numbers = rng.normal(size=(rows, NUMBERS))
    categories = rng.integers(0, 12, size=(rows, CATEGORIES))
    score = numbers[:, 0] * numbers[:, 1] + np.abs(numbers[:, 2]) - (categories[:, 0] % 3) + rng.normal(size=rows) / 2
    frame = pd.DataFrame(np.where(rng.random(numbers.shape) < 0.02, np.nan, numbers).round(4))
    frame.columns = [f"number_{column}" for column in range(NUMBERS)]
    for column in range(CATEGORIES):
        frame[f"category_{column}"] = [f"value {value}" for value in categories[:, column]]
    return frame.assign(label=np.where(score > 0, "yes", "no"))


def measure(table: pathlib.Path, rows: int, limit: float, workers: int) -> str:
    """One row of the table: a command in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        words = [f"--filename={table}", "--label=label", f"--model_dir={folder}", "--experiment_name=study"]
        words += [f"--time_limit={limit}", f"--workers={workers}", "--phoenix_tf_random_seed=1"]
        words += ["--experiment_max_num_trials=100000"]
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "model_search", *words], capture_output=True, text=True, check=False
        )
        wall = time.perf_counter() - started
        if done.returncode:
            return (
                f"| {rows:,} | {limit:g} s | {wall:.1f} s | failed: {done.stderr.strip().splitlines()[-1]} | | | no |"
            )
        study = model_search.load_study(folder, "study")
        exported = (study.folder / "final" / "model.keras").is_file()
        models, best = len(study.history.completed), study.best
    kept = exported and (abs(wall - limit) <= max(5.0, 0.1 * limit) if limit >= 10 else wall <= 10)
    best = best if isinstance(best, str) else "trial"
    answers = ["yes" if answer else "no" for answer in (exported, kept)]
    return f"| {rows:,} | {limit:g} s | {wall:.1f} s | {models} | {best} | {answers[0]} | {answers[1]} |"


if __name__ == "__main__":
    main()
