"""Writes the sample data beside this file from the sets that scikit-learn brings along.

    python data/make_data.py

* `breast_cancer.csv`: 569 tumours, 30 measurements, label `diagnosis` ("malignant", "benign").
* `wine.csv`: 178 wines of three growers, 13 measurements, label `cultivar`.
* `diabetes.csv`: 442 patients, 10 measurements in their own units, label `progression` (a number).
"""

from __future__ import annotations

import pathlib

import pandas as pd
from sklearn import datasets

HERE = pathlib.Path(__file__).parent


def _write(name: str, frame: pd.DataFrame) -> None:
    frame.columns = [column.replace(" ", "_").replace("/", "_") for column in frame.columns]
    frame.to_csv(HERE / f"{name}.csv", index=False, lineterminator="\n")


def main() -> None:
    """Writes all files."""
    cancer = datasets.load_breast_cancer(as_frame=True)
    frame = cancer.data.copy()
    frame["diagnosis"] = [str(cancer.target_names[index]) for index in cancer.target]
    _write("breast_cancer", frame)

    wine = datasets.load_wine(as_frame=True)
    frame = wine.data.copy()
    frame["cultivar"] = [f"cultivar_{index + 1}" for index in wine.target]
    _write("wine", frame)

    diabetes = datasets.load_diabetes(as_frame=True, scaled=False)
    frame = diabetes.data.copy()
    frame["progression"] = diabetes.target.astype(int)
    _write("diabetes", frame)


if __name__ == "__main__":
    main()
