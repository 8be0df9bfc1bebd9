"""The tables that benchmarks run on: a folder of `<name>/{train,valid,test}.csv` with an `index.csv`."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import pathlib
import sys

VARIABLE = "MODEL_SEARCH_DATASETS"


@dataclasses.dataclass(frozen=True)
class Table:
    """One table: its folder, label column and task."""

    name: str
    folder: pathlib.Path
    label: str
    task: str

    @property
    def train(self) -> pathlib.Path:
        return self.folder / "train.csv"

    @property
    def valid(self) -> pathlib.Path:
        return self.folder / "valid.csv"

    @property
    def test(self) -> pathlib.Path:
        return self.folder / "test.csv"


def add_datasets_flag(parser: argparse.ArgumentParser) -> None:
    """Adds --datasets, with the environment variable as its default."""
    parser.add_argument("--datasets", default=os.environ.get(VARIABLE), help=f"folder of datasets (or {VARIABLE})")


def read_index(datasets: str | None) -> dict[str, Table]:
    """Tables by name, in the order of the index; exits with a message if there are none."""
    if not datasets:
        sys.exit(f"no datasets: name their folder with --datasets or the variable {VARIABLE}")
    root = pathlib.Path(datasets)
    root = root / "tabular" if (root / "tabular").is_dir() else root
    if not (root / "index.csv").is_file():
        sys.exit(f"no index.csv in {root}; expected columns name, label, task and a folder per table")
    with (root / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["name"]: Table(row["name"], root / row["name"], row["label"], row["task"]) for row in rows}
