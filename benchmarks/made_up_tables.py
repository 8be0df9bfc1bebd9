"""What a search hands back on made-up tables of kinds that real ones seldom show in full, beside scikit-learn.

    python benchmarks/made_up_tables.py
    python benchmarks/made_up_tables.py --tables steps,many_codes --seconds 60 --seeds 3

Each table has one thing that is hard to learn: steps, a fast wave, many categories, a linear effect of heavy-tailed
columns, seasons, more columns than rows. All labels are numbers; printed are R2 and the mean absolute error on test
rows, of some tables with an option (`time`, `log_target`), too. The models of scikit-learn have the defaults, with
one-hot categories (ridge regression, lasso) or out-of-fold means of the label (boosted trees, forest).
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import LassoCV, RidgeCV
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

import model_search

Rows = tuple[pd.DataFrame, np.ndarray]
TEXTS = make_column_selector(dtype_exclude=["number", "datetime"])
NUMBERS = make_column_selector(dtype_include="number")


@dataclasses.dataclass(frozen=True)
class Table:
    """How a table is made.

    Attributes:
        make: Makes so many rows.
        train: Rows to fit.
        test: Rows to judge.
        options: Of `model_search.fit`, as well as none.
    """

    make: Callable[[np.random.Generator, int], Rows]
    train: int
    test: int = 3000
    options: tuple[dict[str, Any], ...] = ()


def steps(rng: np.random.Generator, rows: int) -> Rows:
    """A value for each sixtieth of the first column, and one for each thirtieth of the second; three are noise."""
    x, first, second = rng.uniform(size=(rows, 5)), rng.normal(size=60), rng.normal(size=30)
    y = 2 * first[(x[:, 0] * 60).astype(int)] + second[(x[:, 1] * 30).astype(int)]
    return frame_of(x), y + 0.2 * rng.normal(size=rows)


def fast_wave(rng: np.random.Generator, rows: int) -> Rows:
    """A sine with 19 periods in the first column; three are noise."""
    x = rng.uniform(-1, 1, (rows, 4))
    return frame_of(x), np.sin(60 * x[:, 0]) + 0.1 * rng.normal(size=rows)


def many_categories(rng: np.random.Generator, rows: int) -> Rows:
    """Two columns of 300 categories each; those of the first are of very different frequency."""
    return _coded(rng, {"code": np.minimum(rng.zipf(1.3, rows), 300) % 300, "other": rng.integers(0, 300, rows)})


def many_codes(rng: np.random.Generator, rows: int) -> Rows:
    """A column of as many codes as a quarter of the training rows."""
    return _coded(rng, {"code": rng.integers(0, 5000, rows)})


def groups(rng: np.random.Generator, rows: int) -> Rows:
    """200 groups, each with an offset and a slope of its own."""
    group, x = rng.integers(0, 200, rows), rng.normal(size=(rows, 4))
    y = 3 * rng.normal(size=200)[group] + rng.normal(size=200)[group] * x[:, 0] + x[:, 1]
    return frame_of(x).assign(group=[f"g{number}" for number in group]), y + 0.5 * rng.normal(size=rows)


def heavy_columns(rng: np.random.Generator, rows: int) -> Rows:
    """A linear effect of log-normal columns."""
    x = np.exp(1.5 * rng.normal(size=(rows, 6)))
    return frame_of(x), x @ np.array([3, 1, -2, 0.5, 0, 0]) + rng.normal(size=rows)


def wide(rng: np.random.Generator, rows: int) -> Rows:
    """500 columns, eight of which have a linear effect."""
    x = rng.normal(size=(rows, 500))
    return frame_of(x), x[:, :8] @ np.array([3, -3, 2, 2, -2, 1, 1, 1]) + rng.normal(size=rows)


def linear(rng: np.random.Generator, rows: int) -> Rows:
    """200 columns with a linear effect each."""
    x = rng.normal(size=(rows, 200))
    return frame_of(x), x @ rng.normal(size=200) + 3 * rng.normal(size=rows)


def smooth(rng: np.random.Generator, rows: int) -> Rows:
    """A smooth function of five columns."""
    x = rng.uniform(-1, 1, (rows, 5))
    waves, phases, sizes = 1.26 * rng.normal(size=(5, 300)), rng.uniform(0, 2 * np.pi, 300), rng.normal(size=300)
    return frame_of(x), 0.25 * np.cos(x @ waves + phases) @ sizes + 0.05 * rng.normal(size=rows)


def heavy_labels(rng: np.random.Generator, rows: int) -> Rows:
    """Labels over several orders of magnitude."""
    x = rng.normal(size=(rows, 8))
    logarithms = x[:, 0] + 0.7 * x[:, 1] * x[:, 2] + np.sin(2 * x[:, 3])
    return frame_of(x), np.exp(2.2 * logarithms + 0.2 * rng.normal(size=rows))


def season(rng: np.random.Generator, rows: int) -> Rows:
    """Days in order, with a trend, a season and a week; the last ones are judged."""
    day = pd.date_range("2019-01-01", periods=rows)
    week = 1.5 * np.array([0, 1, 2, 3, 8, 12, -6])[day.dayofweek]
    y = 100 + 0.08 * np.arange(rows) + 10 * np.sin(2 * np.pi * np.arange(rows) / 365.25) + week
    return pd.DataFrame({"day": day, "noise": rng.normal(size=rows)}), y + 2 * rng.normal(size=rows)


TABLES = {
    "steps": Table(steps, 2500),
    "fast_wave": Table(fast_wave, 2000),
    "many_categories": Table(many_categories, 3000),
    "many_codes": Table(many_codes, 20_000),
    "groups": Table(groups, 4000),
    "heavy_columns": Table(heavy_columns, 2000),
    "linear": Table(linear, 300),
    "wide": Table(wide, 60),
    "smooth": Table(smooth, 300),
    "heavy_labels": Table(heavy_labels, 3000, options=({"log_target": True},)),
    "season": Table(season, 1095, 365, options=({"time": "day"},)),
}


def frame_of(x: np.ndarray) -> pd.DataFrame:
    """Columns with names."""
    return pd.DataFrame(x, columns=[f"x{column}" for column in range(x.shape[1])])


def _coded(rng: np.random.Generator, codes: dict[str, np.ndarray]) -> Rows:
    """Columns of codes, each with an effect, and three numbers, of which one has."""
    rows = len(next(iter(codes.values())))
    x = rng.normal(size=(rows, 3))
    frame, y = frame_of(x), x[:, 0] + 0.5 * rng.normal(size=rows)
    for name, numbers in codes.items():
        frame[name] = [f"{name}{number:05d}" for number in numbers]
        y = y + 2 * rng.normal(size=int(numbers.max()) + 1)[numbers]
    return frame, y


def others(frame: pd.DataFrame) -> dict[str, Any]:
    """The models of scikit-learn for a table."""
    one_hot = make_column_transformer(
        (StandardScaler(), NUMBERS), (OneHotEncoder(handle_unknown="ignore", sparse_output=False), TEXTS)
    )
    means = make_column_transformer(("passthrough", NUMBERS), (TargetEncoder(random_state=0), TEXTS))
    found = {"ridge": make_pipeline(one_hot, RidgeCV(np.logspace(-3, 4, 15)))}
    if len(frame) < 1000:
        found["lasso"] = make_pipeline(one_hot, LassoCV())
        smooth_and_noise = ConstantKernel() * RBF() + WhiteKernel()
        process = GaussianProcessRegressor(smooth_and_noise, normalize_y=True, random_state=0)
        found["Gaussian process"] = make_pipeline(one_hot, process)
    found["boosted trees"] = make_pipeline(means, HistGradientBoostingRegressor(random_state=0))
    found["forest"] = make_pipeline(means, RandomForestRegressor(200, random_state=0, n_jobs=2))
    return found


def run(name: str, seed: int, seconds: float) -> None:
    """Prints a line for each model of a table."""
    table = TABLES[name]
    frame, y = table.make(np.random.default_rng(seed), table.train + table.test)
    fitted, judged = frame[: table.train], frame[table.train :].reset_index(drop=True)
    labels, truth = y[: table.train], y[table.train :]
    dates = fitted.select_dtypes("datetime").columns
    predicted: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        for options in ({}, *table.options):
            study = model_search.fit(
                fitted,
                labels,
                time_limit=seconds,
                root_dir=folder,
                seed=seed,
                progress=False,
                **options,
            )
            predicted[", ".join(["model_search", *options])] = np.asarray(study.predict(judged)).reshape(-1)
    plain = [part.drop(columns=dates).assign(**_numbers_of(part[dates])) for part in (fitted, judged)]
    for other, model in others(plain[0]).items():
        predicted[other] = model.fit(plain[0], labels).predict(plain[1])
    for model_name, values in predicted.items():
        error = mean_absolute_error(truth, values)
        print(f"{name}, seed {seed}, {model_name}: R2 {r2_score(truth, values):.3f}, error {error:.4g}", flush=True)


def _numbers_of(dates: pd.DataFrame) -> dict[str, pd.Series]:
    """Dates as the models of scikit-learn are given them: days, the day of the year, and the weekday as a category."""
    found: dict[str, pd.Series] = {}
    for name, values in dates.items():
        parts, days = values.dt, (values - pd.Timestamp("2000-01-01")) / pd.Timedelta(days=1)
        found |= {f"{name} days": days, f"{name} of the year": parts.dayofyear}
        found[f"{name} of the week"] = parts.day_name()
    return found


def main() -> None:
    """Reads the flags and runs the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default=",".join(TABLES), help="names, with commas")
    parser.add_argument("--seconds", type=float, default=60, help="of each search")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)  # of scikit-learn's means, whose seed is renamed
    for name in options.tables.split(","):
        if name not in TABLES:
            raise SystemExit(f"--tables has {name!r}; expected some of {', '.join(TABLES)}")
        for seed in range(1, options.seeds + 1):
            run(name, seed, options.seconds)


if __name__ == "__main__":
    main()
