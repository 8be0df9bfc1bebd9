"""Does it help to compare candidates on further folds before the best of them are bagged? Offline, on parts of tables.

    python benchmarks/further_folds.py --datasets DIR [--sets adult,phoneme] [--rows 1000] [--models 24] [--seeds 1]

Of each table's training file, `--rows` rows are searched on, and up to 6,000 others judge; valid and test files are not
read. All candidates of a search are bagged in eight folds. From their figures on the validation rows and on each fold,
it is then known which of them would be bagged by one rule or another, and what the mean of these bags gives: error
rate, or for numbers the share of the variance that is not explained, and log loss. Each rule chooses 300 times among
four fifths of the candidates, with folds drawn anew. Ratios to the first rule are means over tables.

`ladder` is that of `further_folds=2` (two rungs, all within noise); it is also shown with 55 % of the candidates, as if
a ladder took the time of the others. `all folds` knows every candidate's figure on all rows.
What was computed is kept in `--results`.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from tables import Table, add_datasets_flag, read_index

FOLDS, DRAWS, JUDGES = 8, 300, 6000
TABLES = ("electricity", "telco_churn", "california_housing", "wine_quality", "adult", "phoneme")
Found = Mapping[str, np.ndarray]
Rung = tuple[float, Sequence[int]]  # the share of the candidates that goes on to it, and its folds


def collect(table: Table, rows: int, models: int, seed: int) -> dict[str, np.ndarray]:
    """Searches, bags every candidate, and predicts the rows that judge.

    Returns:
        Of each candidate: `validation` [candidates, 2], error and log loss on the validation rows; `folds` [candidates,
        folds, 2], the same on each fold; `judged` [candidates, rows, width], what its bag predicts; `seconds`
        [candidates, 2], of the trial and of its bag. `labels` [rows]: those of the rows that judge.
    """
    import model_search
    from model_search.trainers.bags import bagging

    known = pd.read_csv(table.train)
    order = np.random.default_rng(seed).permutation(len(known))
    fit, judges = known.iloc[order[:rows]], known.iloc[order[rows : rows + JUDGES]]
    is_classes = table.task == "classification"
    with tempfile.TemporaryDirectory() as root, mock.patch.object(bagging, "FINALISTS", 10 * models):
        study = model_search.fit(
            fit.drop(columns=table.label),
            fit[table.label],
            number_models=models,
            folds=FOLDS,
            root_dir=root,
            seed=seed,
            metric="accuracy" if is_classes else "rmse",
            task=table.task,
            finish="ensemble",
            progress=False,
        )
        found = _figures(study, is_classes)
        predict = study.predict_proba if is_classes else study.predict
        bags = [predict(judges.drop(columns=table.label), number) for number in found.pop("bags")]
        labels = judges[table.label].to_numpy()
        if is_classes:
            labels = np.array([list(bags[0].columns).index(label) for label in labels])
        judged = np.stack([np.asarray(bag, np.float32).reshape(len(judges), -1) for bag in bags])
        study.close()
    return {**found, "labels": labels, "judged": judged}


def _figures(study: Any, is_classes: bool) -> dict[str, Any]:
    """The bags, and what candidates have on the validation rows and on each fold."""
    from model_search.finish.validation_rows import kept_training
    from model_search.metadata.paths import DATABASE, TRAIN_LOGITS, VALID_LOGITS
    from model_search.metadata.shared_artefacts import open_artefacts
    from model_search.metadata.sqlite_store import SqliteStore
    from model_search.trainers.finish_study import study_parts
    from model_search.training.folds.bags import fold_numbers
    from model_search.training.stored_towers import stored_arrays

    store = SqliteStore(study.folder / DATABASE, create=False)
    parts = study_parts(study.folder, store, open_artefacts(study.folder, store.study(), None))

    def logits(trial: Any, file: str, name: str) -> np.ndarray:
        return (stored_arrays(parts.artefacts, trial.artefacts, file) or {})[name]

    train = kept_training(store, parts.artefacts, parts.task)
    valid = parts.kept().rows
    if train is None:
        raise RuntimeError("no model was bagged")
    labels = np.concatenate([train.labels, valid.labels])
    folds = fold_numbers(len(labels), FOLDS, len(labels), labels if is_classes else None)
    bags = sorted((trial for trial in parts.history.completed if trial.plan.folds), key=lambda trial: trial.id)
    singles = [parts.history.get(bag.plan.parent) for bag in bags]
    found: dict[str, Any] = {"bags": [bag.id for bag in bags]}
    alone = [_losses(logits(one, VALID_LOGITS, "valid_logits"), valid.labels, is_classes) for one in singles]
    found["validation"] = np.array([one.mean(axis=0) for one in alone])
    on_folds = []
    for bag in bags:
        files = ((TRAIN_LOGITS, "train_logits"), (VALID_LOGITS, "valid_logits"))
        losses = _losses(np.concatenate([logits(bag, *which) for which in files]), labels, is_classes)
        on_folds.append([losses[folds == fold].mean(axis=0) for fold in range(FOLDS)])
    found["folds"] = np.array(on_folds)
    pairs = zip(singles, bags, strict=True)
    found["seconds"] = np.array([[one.result.timings["trial"] for one in pair] for pair in pairs])
    store.close()
    return found


def _losses(logits: np.ndarray, labels: np.ndarray, is_classes: bool) -> np.ndarray:
    """Error and log loss of each row, float64 [rows, 2]; of numbers, twice the squared error."""
    if not is_classes:
        return np.repeat(np.square(logits.reshape(-1, 1) - labels.reshape(-1, 1)).astype(float), 2, axis=1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    log_loss = -logs[np.arange(len(labels)), labels]
    return np.stack([logits.argmax(axis=1) != labels, log_loss], axis=1).astype(float)


def judge(found: Found, chosen: Sequence[int]) -> np.ndarray:
    """Error and log loss of the mean of some bags, on the rows that judge."""
    mean, labels = found["judged"][list(chosen)].mean(axis=0), found["labels"]
    if mean.shape[1] == 1:
        return np.repeat(np.square(mean[:, 0] - labels).mean() / labels.var(), 2)
    log_loss = -np.log(np.clip(mean[np.arange(len(labels)), labels], 1e-9, 1))
    return np.array([(mean.argmax(axis=1) != labels).mean(), log_loss.mean()])


def ranked(found: Found, pool: Sequence[int], which: int, rungs: Sequence[Rung]) -> list[int]:
    """Candidates, best first, by their mean over the validation rows and the folds of the rungs that they reach.

    Args:
        found: From `collect`.
        pool: The candidates.
        which: 0 for the error, 1 for the log loss.
        rungs: From the first to the last.
    """
    parts = {one: [found["validation"][one, which]] for one in pool}
    there = list(pool)
    for share, folds in rungs:
        there = sorted(there, key=lambda one: np.mean(parts[one]))[: max(1, int(share * len(there)))]
        values = {one: found["folds"][one, list(folds), which].mean() for one in there}
        harder = np.mean([values[one] - parts[one][0] for one in there])
        for one in there:
            parts[one].append(values[one] - harder)
    return sorted(pool, key=lambda one: np.mean(parts[one]))


def results_of(found: Found, bags: int) -> dict[str, np.ndarray]:
    """Error and log loss by rule."""
    rng, count = np.random.default_rng(0), len(found["validation"])
    on_all = found["folds"].mean(axis=1)
    totals: dict[str, list[np.ndarray]] = {}
    for _ in range(DRAWS):
        pool = rng.permutation(count)[: round(0.8 * count)].tolist()
        fewer = pool[: round(0.55 * len(pool))]
        drawn = rng.permutation(FOLDS)
        ladder = [(1 / 3, drawn[:2]), (1 / 3, drawn[2:4])]
        rules: dict[str, Callable[[], list[int]]] = {
            "validation rows": lambda pool=pool: ranked(found, pool, 0, []),
            "ladder": lambda pool=pool, ladder=ladder: ranked(found, pool, 0, ladder),
            "ladder, 55 %": lambda fewer=fewer, ladder=ladder: ranked(found, fewer, 0, ladder),
            "all folds": lambda pool=pool: sorted(pool, key=on_all[:, 0].__getitem__),
            "validation rows, by log loss": lambda pool=pool: ranked(found, pool, 1, []),
            "ladder, by log loss": lambda pool=pool, ladder=ladder: ranked(found, pool, 1, ladder),
            "all folds, by log loss": lambda pool=pool: sorted(pool, key=on_all[:, 1].__getitem__),
        }
        for name, rule in rules.items():
            totals.setdefault(name, []).append(judge(found, rule()[:bags]))
    return {name: np.mean(values, axis=0) for name, values in totals.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_datasets_flag(parser)
    parser.add_argument("--sets", default=",".join(TABLES), help="tables, with commas")
    parser.add_argument("--rows", type=int, default=1000, help="rows to search on")
    parser.add_argument("--models", type=int, default=24, help="trials of a search")
    parser.add_argument("--seeds", type=int, default=1, help="searches of each table")
    parser.add_argument("--results", type=pathlib.Path, default="further_folds_results", help="folder of results")
    options = parser.parse_args()
    tables = read_index(options.datasets)
    options.results.mkdir(exist_ok=True)
    everything: list[tuple[str, Found]] = []
    for seed in range(1, options.seeds + 1):
        for name in options.sets.split(","):
            path = options.results / f"{name}-{options.rows}-{options.models}-{seed}.npz"
            if not path.exists():
                np.savez(path, **collect(tables[name], options.rows, options.models, seed))
            with np.load(path, allow_pickle=False) as file:
                everything.append((name, dict(file)))
    for bags in (1, 3):
        print(f"\nthe mean of {bags} bags: error / log loss; the mean ratio of each to the first row")
        print(f"{'chosen by':30s}", *(f"{name[:14]:>15s}" for name, _ in everything))
        found = [results_of(each, bags) for _, each in everything]
        for rule in found[0]:
            values = [f"{each[rule][0]:.4f} / {each[rule][1]:.4f}" for each in found]
            ratios = np.mean([each[rule] / each["validation rows"] for each in found], axis=0)
            print(f"{rule:30s}", *values, " {:.4f} {:.4f}".format(*ratios))
    seconds = [each["seconds"].sum(axis=0) for _, each in everything]
    print("\nseconds of all bags against those of their trials:", *(f"{bag / one:.1f}" for one, bag in seconds))


if __name__ == "__main__":
    main()
