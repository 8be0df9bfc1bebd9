"""Which towers are good on small tables? Bags of each on parts of several tables, and the choice leave-one-out.

    python benchmarks/small_tables.py --datasets DIR [--rows 800] [--folds 4] [--tables A,B,...] [--seeds 1]

Of each table, `--rows` of the rows to train and validate on are drawn; test files are not read. Each candidate is
trained in folds, and its predictions of the rows left out are scored: R2, or for classes the part of the log loss of
the class shares that it saves, after a temperature. Regret is how much less it saves than the best candidate. For each
table that candidate is chosen which has the least mean regret on the others, and its regret there is what is printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from tables import Table, add_datasets_flag, read_index

USUAL: Mapping[str, Any] = {
    "optimizer": "adam",
    "learning_rate": 0.01,
    "dropout_rate": -1.0,
    "schedule": "cosine",
    "warmup_share": 0.05,
    "beta2": 0.95,
    "kernel_decay": 0.01,
    "label_smoothing": 0.0,
}
REGULARISED = {**USUAL, "learning_rate": 0.003, "dropout_rate": 0.3, "kernel_decay": 0.1}
PLAIN = {"optimizer": "adam", "learning_rate": 0.003}
CANDIDATES: Mapping[str, tuple[tuple[str, ...], Mapping[str, Any]]] = {
    "plain 64": (("MLP_64",), PLAIN),
    "plain 64 64": (("MLP_64", "MLP_64"), PLAIN),
    "PLE 64 64 64": (("PLE_32", "MLP_64", "MLP_64", "MLP_64"), USUAL),
    "PLE 64": (("PLE_16", "MLP_64"), {**USUAL, "learning_rate": 0.005}),
    "PLE 64, regularised": (("PLE_16", "MLP_64"), REGULARISED),
    "PLE 64, smoothed": (("PLE_16", "MLP_64"), {**REGULARISED, "label_smoothing": 0.05}),
    "PLE 64 64, regularised": (("PLE_16", "MLP_64", "MLP_64"), REGULARISED),
    "scaled 64, regularised": (("FEATURE_SCALING", "MLP_64"), REGULARISED),
    "scaled 64 64, regularised": (("FEATURE_SCALING", "MLP_64", "MLP_64"), REGULARISED),
    "PLE gated 64, regularised": (("PLE_16", "GLU_64"), REGULARISED),
    "scaled residual 64, regularised": (("FEATURE_SCALING", "TABULAR_RESNET_64"), REGULARISED),
    "PLE TabM, regularised": (("PLE_16", "TABM_8_64_3"), REGULARISED),
}


def score(task: Any, labels: np.ndarray, logits: np.ndarray) -> float:
    """R2, or the share of the log loss of a constant that is saved after a fitted temperature."""
    from model_search.data.task import TaskKind
    from model_search.finish.calibration import fit_temperature, log_loss

    if task.kind is TaskKind.REGRESSION:
        return float(1 - np.square(labels - logits).sum() / np.square(labels - labels.mean(axis=0)).sum())
    shares = np.bincount(labels, minlength=logits.shape[1]) / len(labels)
    constant = -float((shares[shares > 0] * np.log(shares[shares > 0])).sum())
    return 1 - log_loss(logits / fit_temperature(logits, labels), labels) / constant


def scores_of(table: Table, options: argparse.Namespace) -> dict[str, float]:
    """The score of every candidate on one table."""
    from model_search import constants
    from model_search.data import array_data
    from model_search.data.prepare_options import PrepareOptions
    from model_search.metadata.trial import TrialKind, TrialPlan
    from model_search.search.planning.budget import Budget
    from model_search.spec.load import load_spec
    from model_search.trainers.opening.study_settings import training_settings
    from model_search.trainers.session import tensorflow_engine
    from model_search.training.metrics import resolve_metric

    known = pd.concat([pd.read_csv(table.train), pd.read_csv(table.valid)], ignore_index=True)
    known = known.sample(min(options.rows, len(known)), random_state=1).reset_index(drop=True)
    provider = array_data.Provider(known.drop(columns=table.label), known[table.label], task=table.task)
    data = provider.prepare(PrepareOptions(seed=1, batch_size=256))
    settings = training_settings(load_spec(constants.DEFAULT_TABULAR), resolve_metric(None, None, data.task), None)
    engine, _ = tensorflow_engine(data, settings)
    columns = sum(spec.shape[0] for spec in data.input_specs.values())
    steps = Budget(len(data.train), columns).usual_steps
    labels = np.concatenate([data.train.label, data.valid.label])
    found = {}
    for name, (architecture, hyperparameters) in CANDIDATES.items():
        each = []
        for seed in range(options.seeds):
            plan = TrialPlan(
                2, TrialKind.BAGGING, architecture, hyperparameters, steps, 256, 1000 * seed, name, parent=1
            )
            outcome = engine.run(dataclasses.replace(plan, folds=options.folds))
            each.append(score(data.task, labels, np.concatenate([outcome.train_logits, outcome.valid_logits])))
        found[name] = float(np.mean(each))
    return found


def lines_of(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What is printed: the regret of every candidate on every table, and of the choice leave-one-out."""
    tables, names = list(found), list(CANDIDATES)
    scores = np.array([[found[table][name] for name in names] for table in tables])
    regret = scores.max(axis=1, keepdims=True) - scores
    lines = [f"| candidate | {' | '.join(tables)} | mean |", "|---" * (len(tables) + 2) + "|"]
    for place in np.argsort(regret.mean(axis=0)):
        cells = [f"{value:.3f}" for value in (*regret[:, place], regret[:, place].mean())]
        lines.append(f"| {names[place]} | {' | '.join(cells)} |")
    left_out = []
    for place in range(len(tables)):
        chosen = int(np.delete(regret, place, axis=0).mean(axis=0).argmin())
        left_out.append((regret[place, chosen], names[chosen]))
    cells = [f"{value:.3f} ({name})" for value, name in left_out]
    lines.append(f"| chosen on the others | {' | '.join(cells)} | {np.mean([one for one, _ in left_out]):.3f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_datasets_flag(parser)
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--tables", default=None, help="names; all when absent")
    parser.add_argument("--results", default="small_tables.json", help="file of results, which are not computed again")
    options = parser.parse_args()
    index, file = read_index(options.datasets), pathlib.Path(options.results)
    results = json.loads(file.read_text()) if file.exists() else {}
    found = {}
    for name in options.tables.split(",") if options.tables else index:
        key = f"{name}/{options.rows}/{options.folds}/{options.seeds}"
        known = results.get(key, {})
        if known.keys() != CANDIDATES.keys():
            known = results[key] = scores_of(index[name], options)
            file.write_text(json.dumps(results, indent=1))
        found[name] = known
    print("\n".join(lines_of(found)))


if __name__ == "__main__":
    main()
