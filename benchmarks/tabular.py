"""Which contestant predicts best after the same time? Ten tables: train and valid files to fit, test files to judge.

    python benchmarks/tabular.py --datasets DIR --seconds 120 [--sets phoneme] [--seeds 3] [--contestants ours,hgb]

`ours` is `model_search.fit` with nothing given but the time, `first` its first network by itself, whatever time that
takes; `hgb` and `mlp` are scikit-learn's gradient boosting and multi-layer perceptron with early stopping; `lightgbm`,
`flaml` and `autogluon` are those packages, in environments with pinned versions, which are made where they are missing
(`--environments`). The score is accuracy for classes and R2 for numbers. Each run is a process of its own, one at a
time; results are kept in `--results` by contestant, version and machine, so that none runs twice. A goal counts as met
within one standard error of the difference.

A second table is about `ours`: the score of networks only (the best ensemble of networks, or the best network, of the
same trials), the test error (log loss of classes, else root of the squared error) of the best single trial, of networks
only and of what is handed back, how much less that is than the ensembles of docs/benchmarks.md had, and, where there is
a student, its share of the ensemble's parameters and of the ensemble's gain over the best single trial.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from peers import add_environments_flag, installed, interpreter, on_this_machine
from tables import Table, add_datasets_flag, read_index

PACKAGES = {"ours": "model-search", "first": "model-search", "hgb": "scikit-learn", "mlp": "scikit-learn"}
PEERS = {  # what pip installs into an environment of their own
    "lightgbm": ("lightgbm==4.7.0", "scikit-learn==1.9.1", "pandas"),
    "flaml": ("flaml[automl]==2.8.0", "pandas"),
    "autogluon": ("autogluon.tabular[lightgbm,catboost,xgboost,fastai]==1.6.3",),
}
EARLIER_LOSSES = {  # of the ensembles in docs/benchmarks.md, "default search, one seed"
    "adult": 0.3034,
    "phoneme": 0.2626,
    "german_credit": 0.6127,
    "wine_quality": 0.9588,
    "bank_marketing": 0.1953,
    "telco_churn": 0.4062,
    "electricity": 0.4375,
}
GOALS = {  # of `ours`: the best single network or ensemble of networks, and what is handed back
    "adult": (0.868, 0.874),
    "phoneme": (0.925, 0.927),
    "german_credit": (0.745, 0.750),
    "wine_quality": (0.662, 0.668),
    "bank_marketing": (0.911, 0.912),
    "telco_churn": (0.810, 0.810),
    "electricity": (0.807, 0.820),
    "california_housing": (0.845, 0.857),
    "bike_sharing": (0.959, 0.962),
    "abalone": (0.528, 0.532),
}


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of one contestant."""

    table: str
    contestant: str
    seconds: float
    seed: int

    @property
    def key(self) -> str:
        """Its name among the results: what it depends on."""
        peer = PEERS.get(self.contestant)
        version = peer[0] if peer else installed(PACKAGES[self.contestant])
        return on_this_machine(f"{self.table}/{self.contestant}/{self.seconds:g}/{self.seed}", version)


def frames(table: Table) -> tuple[pd.DataFrame, pd.Series, pd.DataFrame, pd.Series]:
    """Features and labels to fit, and to judge."""
    known = pd.concat([pd.read_csv(table.train), pd.read_csv(table.valid)], ignore_index=True)
    test = pd.read_csv(table.test)
    return known.drop(columns=table.label), known[table.label], test.drop(columns=table.label), test[table.label]


def ours(table: Table, seconds: float, seed: int) -> dict[str, Any]:
    """`model_search.fit`; what it hands back, and its best single trial."""
    import model_search

    x, y, test_x, test_y = frames(table)
    with tempfile.TemporaryDirectory() as root:
        study = model_search.fit(
            x,
            y,
            number_models=10_000,
            time_limit=seconds,
            root_dir=root,
            seed=seed,
            metric="accuracy" if table.task == "classification" else "rmse",
            task=table.task,
            progress=False,
        )
        single = score(table, test_y, study.predict(test_x, study.best_trial.id))
        found = {"score": score(table, test_y, study.predict(test_x)), "single": single, "trials": len(study.trials)}
        found["handed_back"] = str(study.best)
        error = "log_loss" if table.task == "classification" else "rmse"
        of = {"single": study.best_trial.id, "handed_back": study.best}
        of |= {model.kind.value: model.kind.value for model in study.final_models}
        errors = {name: study.evaluate((test_x, test_y), choice)[error] for name, choice in of.items()}
        sizes = {model.kind.value: model.parameters for model in study.final_models}
        if "student" in sizes:
            found["student_parameters"] = sizes["student"] / sizes["ensemble"]
        networks = best_of_networks(study)
        found["networks"] = score(table, test_y, study.predict(test_x, networks))
        errors["networks"] = study.evaluate((test_x, test_y), networks)[error]
        found["errors"] = errors
        study.close()
    return found


def best_of_networks(study: Any) -> Any:
    """What the study would hand back if there were networks alone: its ensemble of them, or the best of them."""
    final = {model.kind.value: model for model in study.finish(what="ensemble", members="networks", progress=False)}
    if "ensemble" in final and final["ensemble"].accepted:
        return "ensemble"
    ranked = study.history.best(len(study.trials))
    return next(trial.id for trial in ranked if trial.plan is not None and trial.plan.classic is None)


def first(table: Table, seconds: float, seed: int) -> dict[str, Any]:
    """The first network of such a search alone, whatever time it takes."""
    import model_search

    del seconds
    x, y, test_x, test_y = frames(table)
    with tempfile.TemporaryDirectory() as root:
        study = model_search.fit(
            x,
            y,
            number_models=1,
            root_dir=root,
            seed=seed,
            metric="accuracy" if table.task == "classification" else "rmse",
            task=table.task,
            members="networks",
            finish="neither",
            progress=False,
        )
        found = {"score": score(table, test_y, study.predict(test_x))}
        study.close()
    return found


MOST_BINS = 255  # of HistGradientBoosting; a column of more categories, such as an id, is left out


def encoded(x: pd.DataFrame, test_x: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same with texts as categories; values that are not in `x` are missing."""
    texts = [name for name in x if not pd.api.types.is_numeric_dtype(x[name])]
    kinds = {name: pd.CategoricalDtype(sorted(x[name].dropna().unique())) for name in texts}
    return x.astype(kinds), test_x.assign(**{name: pd.Categorical(test_x[name], dtype=kinds[name]) for name in texts})


def hgb(table: Table, seconds: float, seed: int) -> dict[str, Any]:
    """scikit-learn's HistGradientBoosting with early stopping."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    del seconds  # it needs far less
    x, y, test_x, test_y = frames(table)
    x, test_x = encoded(x, test_x)
    x = x.drop(columns=[name for name in x if x[name].dtype == "category" and len(x[name].cat.categories) > MOST_BINS])
    test_x = test_x[x.columns]
    kind = HistGradientBoostingClassifier if table.task == "classification" else HistGradientBoostingRegressor
    model = kind(max_iter=1000, early_stopping=True, random_state=seed, categorical_features="from_dtype").fit(x, y)
    return {"score": score(table, test_y, model.predict(test_x))}


def mlp(table: Table, seconds: float, seed: int) -> dict[str, Any]:
    """scikit-learn's multi-layer perceptron on standardised numbers and one-hot categories, with early stopping."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    del seconds
    x, y, test_x, test_y = frames(table)
    kind = MLPClassifier if table.task == "classification" else MLPRegressor
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), make_column_selector(dtype_exclude="number")),
    )
    network = kind(hidden_layer_sizes=(128, 128), early_stopping=True, max_iter=500, random_state=seed)
    scale = y.std() if table.task == "regression" else 1
    model = make_pipeline(columns, network).fit(x, y if scale == 1 else (y - y.mean()) / scale)
    predicted = model.predict(test_x)
    return {"score": score(table, test_y, predicted if scale == 1 else predicted * scale + y.mean())}


def lightgbm(table: Table, seconds: float, seed: int) -> dict[str, Any]:
    """LightGBM with a fifth of the rows for early stopping."""
    import lightgbm as package
    from sklearn.model_selection import train_test_split

    del seconds
    x, y, test_x, test_y = frames(table)
    x, test_x = encoded(x, test_x)
    kept = y if table.task == "classification" else None
    x, valid_x, y, valid_y = train_test_split(x, y, test_size=0.2, random_state=seed, stratify=kept)
    kind = package.LGBMClassifier if table.task == "classification" else package.LGBMRegressor
    model = kind(n_estimators=5000, learning_rate=0.05, random_state=seed, verbosity=-1)
    model.fit(x, y, eval_set=[(valid_x, valid_y)], callbacks=[package.early_stopping(100, verbose=False)])
    return {"score": score(table, test_y, model.predict(test_x))}


def flaml(table: Table, seconds: float, seed: int) -> dict[str, Any]:
    """FLAML with the whole time."""
    from flaml import AutoML

    x, y, test_x, test_y = frames(table)
    metric = "accuracy" if table.task == "classification" else "r2"
    model = AutoML()
    model.fit(x, y, task=table.task, metric=metric, time_budget=seconds, seed=seed, verbose=0, early_stop=False)
    return {"score": score(table, test_y, model.predict(test_x))}


def autogluon(table: Table, seconds: float, seed: int) -> dict[str, Any]:
    """AutoGluon with its preset of medium quality and the whole time."""
    from autogluon.tabular import TabularPredictor

    del seed  # it has its own
    x, y, test_x, test_y = frames(table)
    # Whole numbers as labels would be classes to it.
    metric, kind = ("accuracy", None) if table.task == "classification" else ("r2", "regression")
    with tempfile.TemporaryDirectory() as folder:
        model = TabularPredictor(table.label, problem_type=kind, eval_metric=metric, path=folder, verbosity=0)
        model.fit(x.assign(**{table.label: y}), time_limit=seconds, presets="medium_quality")
        return {"score": score(table, test_y, model.predict(test_x))}


CONTESTANTS: Mapping[str, Callable[[Table, float, int], dict[str, Any]]] = {
    "ours": ours,
    "first": first,
    "hgb": hgb,
    "mlp": mlp,
    "lightgbm": lightgbm,
    "flaml": flaml,
    "autogluon": autogluon,
}


def score(table: Table, labels: pd.Series, predicted: Any) -> float:
    """Accuracy for classes, R2 for numbers."""
    truth, found = labels.to_numpy(), np.asarray(predicted)
    if table.task == "classification":
        return float((truth == found).mean())
    return float(1 - np.square(truth - found).sum() / np.square(truth - truth.mean()).sum())


def standard_error(value: float, rows: int, task: str) -> float:
    """Of the difference of two scores on the same rows, if they agree on four rows of five."""
    if task == "classification":
        return math.sqrt(0.2 / rows)
    return math.sqrt(4 * max(value, 0.0) * (1 - value) ** 2 / rows)


def ranks(scores: Mapping[str, float]) -> dict[str, float]:
    """Rank of each contestant on one table, 1 for the best; equal ones share theirs."""
    return {
        name: 1 + sum(other > value for other in scores.values()) + (list(scores.values()).count(value) - 1) / 2
        for name, value in scores.items()
    }


def _cpu_seconds() -> float:
    """Processor time of this process and those that it waited for."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def run(job: Job, datasets: str, environments: pathlib.Path) -> dict[str, Any]:
    """Runs one job in a fresh process; its last line is the result."""
    words = ["--one", job.table, job.contestant, f"{job.seconds:g}", str(job.seed), "--datasets", datasets]
    peer = PEERS.get(job.contestant)
    python = interpreter(job.contestant, peer, environments) if peer else sys.executable
    began = time.monotonic()
    done = subprocess.run([python, __file__, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{job.key} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1]) | {"wall": round(time.monotonic() - began, 1)}


def table_of(found: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]], tables: Sequence[Table]) -> list[str]:
    """The lines of the result: means over seeds, goals, ranks."""
    names = list(dict.fromkeys(contestant for _, contestant in found))
    lines = ["| set | " + " | ".join(names) + " | ours, single | goal, networks | goal, handed back |"]
    lines.append("|---" * (len(names) + 4) + "|")
    all_ranks: dict[str, list[float]] = {name: [] for name in names}
    for table in tables:
        means = {
            name: statistics.fmean(one["score"] for one in found[table.name, name])
            for name in names
            if (table.name, name) in found
        }
        for name, rank in ranks(means).items():
            all_ranks[name].append(rank)
        cells = [f"{means[name]:.4f}" if name in means else "" for name in names]
        single, goals = "", GOALS.get(table.name, ())
        said = [f"{goal:.3f}" for goal in goals] or ["", ""]
        if "ours" in means:
            mean = statistics.fmean(one["single"] for one in found[table.name, "ours"])
            single = f"{mean:.4f}"
            error = standard_error(means["ours"], len(pd.read_csv(table.test)), table.task)
            said = [f"{goal:.3f} {'met' if means['ours'] >= goal - error else 'missed'}" for goal in goals] or said
        lines.append(f"| {table.name} | {' | '.join(cells)} | {single} | {' | '.join(said)} |")
    mean_ranks = [f"{statistics.fmean(all_ranks[name]):.2f}" for name in names]
    lines.append(f"| mean rank | {' | '.join(mean_ranks)} | | | |")
    return lines


def losses_of(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """The lines of the second table, from the runs of `ours` by table; runs of earlier versions lack its figures."""
    columns = (
        "networks only",
        "error, single",
        "networks",
        "handed back",
        "less than before",
        "student: size",
        "gain",
    )
    lines = [f"| set | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    cuts, kept = [], []
    for name, given in runs.items():
        known = [run for run in given if "errors" in run]
        if not known:
            continue
        mean = {
            key: statistics.fmean(run["errors"][key] for run in known) for key in ("single", "networks", "handed_back")
        }
        cells = [
            f"{statistics.fmean(run['networks'] for run in known):.4f}",
            *(f"{value:.4g}" for value in mean.values()),
        ]
        cut = 1 - mean["handed_back"] / EARLIER_LOSSES[name] if name in EARLIER_LOSSES else None
        cuts += [] if cut is None else [cut]
        students = [run for run in known if "student_parameters" in run]
        gains = [gain for run in students if (gain := student_gain(run["errors"])) is not None]
        kept += gains
        sizes = [run["student_parameters"] for run in students]
        cells += ["" if cut is None else f"{cut:.1%}", f"{max(sizes):.2f}" if sizes else ""]
        cells += [f"{statistics.fmean(gains):.0%}" if gains else ""]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if cuts:
        lines.append(f"\nmean of {len(cuts)} sets: {statistics.fmean(cuts):.1%} less log loss (to reach: 4 % on seven)")
    if kept:
        lines.append(f"students keep {statistics.fmean(kept):.0%} of the gain on the mean (to reach: 50 %)")
    return lines


def student_gain(errors: Mapping[str, float]) -> float | None:
    """The student's gain over the best single trial as a share of the ensemble's; None where the ensemble has none."""
    gain = errors["single"] - errors["ensemble"]
    return (errors["single"] - errors["student"]) / gain if gain > 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_datasets_flag(parser)
    parser.add_argument("--sets", default=",".join(GOALS), help="names of tables")
    parser.add_argument("--seconds", type=float, default=120, help="for each contestant")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--contestants", default=",".join(CONTESTANTS), help="names")
    add_environments_flag(parser, "tabular_environments")
    parser.add_argument(
        "--results", default="tabular_results.json", help="file of results, which are not computed again"
    )
    parser.add_argument("--one", nargs=4, metavar=("TABLE", "CONTESTANT", "SECONDS", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    index = read_index(options.datasets)
    if options.one:
        name, contestant, seconds, seed = options.one
        result = CONTESTANTS[contestant](index[name], float(seconds), int(seed))
        print(json.dumps(result | {"cpu": round(_cpu_seconds(), 1)}))
        return
    contestants = options.contestants.split(",")
    file = pathlib.Path(options.results)
    results = json.loads(file.read_text()) if file.exists() else {}
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    tables = [index[name] for name in options.sets.split(",")]
    for table in tables:
        for contestant in contestants:
            for seed in range(1, options.seeds + 1):
                job = Job(table.name, contestant, options.seconds, seed)
                if job.key not in results:
                    results[job.key] = run(job, options.datasets, options.environments)
                    file.write_text(json.dumps(results, indent=1))
                    print(job.key, results[job.key], file=sys.stderr, flush=True)
                found.setdefault((table.name, contestant), []).append(results[job.key])
    print("\n".join(table_of(found, tables)))
    runs = {table.name: found[table.name, "ours"] for table in tables if (table.name, "ours") in found}
    if runs:
        print("\n" + "\n".join(losses_of(runs)))


if __name__ == "__main__":
    main()
