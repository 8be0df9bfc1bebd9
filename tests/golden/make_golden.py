"""Makes the golden studies, exports and answers that `test_golden.py` compares with.

They are what version 1.0.0 (commit 71f90c6) made and answered. Run it with that version, never with a later one, for
then the test would compare the package with itself:

    git worktree add /tmp/base 71f90c6
    PYTHONPATH=/tmp/base python tests/golden/make_golden.py [CASE ...]

All seeds are fixed. The rows come from the sets that scikit-learn brings along, and are kept beside the studies. The
names of the machine and of its processes are taken out of the databases afterwards.
"""

import contextlib
import csv
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import sys
import tempfile

import golden_cases
import numpy as np
import pandas as pd
from golden_cases import BY_NAME, HERE, NAME, answers, board, choices, story
from sklearn import datasets

import model_search

VERSION = "1.0.0"
MISSING = ("", "NA", "?")


def make_classification(folder):
    """Half of the wines, with colours in words, cells that are missing, a number for each row, and weights."""
    wine, rng = datasets.load_wine(), np.random.default_rng(1)
    column = dict(zip(wine.feature_names, wine.data.T, strict=True))
    order = rng.permutation(len(wine.target))[:150]
    header = ["number", "alcohol", "malic acid", "proline", "colour", "hue", "weight", "cultivar"]
    words = np.array(["pale", "ruby", "deep, dark"])[np.digitize(column["color_intensity"], [3.5, 6])]
    lines = []
    for count, i in enumerate(order):
        line = [
            f"w{count:03d}",
            f"{column['alcohol'][i]:.2f}",
            f"{column['malic_acid'][i]:.2f}" if rng.random() > 0.15 else MISSING[count % 3],
            f"{column['proline'][i]:,.0f}",
            str(words[i]) if rng.random() > 0.1 else "",
            f" {column['hue'][i]:.2f}",
            f"{rng.integers(1, 4) / 2:g}",
            ("Barolo", "Grignolino", "Barbera")[wine.target[i]],
        ]
        lines.append(line)
    lines[-1][4], lines[-2][1], lines[-3][2] = "golden", "much", "n/a"  # what training has never seen
    write_csv(folder / "train.csv", header, lines[:120])
    write_csv(folder / "rows.csv", header, lines[120:])


def make_regression(folder):
    """Some of the diabetes patients, with a date, a category and booleans."""
    found, rng = datasets.load_diabetes(scaled=False), np.random.default_rng(2)
    order = rng.permutation(len(found.target))[:150]
    rows = pd.DataFrame(found.data, columns=found.feature_names).iloc[order].reset_index(drop=True)
    days = (found.target[order] * 2 + rng.integers(0, 60, 150)).round()
    frame = pd.DataFrame(
        {
            "age": rows["age"],
            "bmi": rows["bmi"].where(rng.random(150) > 0.1),
            "bp": rows["bp"],
            "s5": rows["s5"],
            "sex": np.where(rows["sex"] == 1, "female", "male"),
            "smoker": rng.random(150) > 0.7,
            "measured": (pd.Timestamp("2019-01-01") + pd.to_timedelta(days, unit="D")).strftime("%Y-%m-%d"),
            "progression": found.target[order],
        }
    )
    frame[:120].to_csv(folder / "train.csv", index=False)
    frame[120:].to_csv(folder / "rows.csv", index=False)


def shuffled_iris(seed):
    found, rng = datasets.load_iris(), np.random.default_rng(seed)
    order = rng.permutation(len(found.target))
    return found.data[order].astype(np.float32), found.target[order], rng


def make_weighted(folder):
    x, y, rng = shuffled_iris(3)
    weights = (rng.integers(1, 5, len(y)) / 2).astype(np.float32)
    np.savez_compressed(
        folder / "train.npz",
        **{"x": x[:80], "y": y[:80], "weights": weights[:80]},
        **{"valid_x": x[80:120], "valid_y": y[80:120], "valid_weights": weights[80:120]},
    )
    np.savez_compressed(folder / "rows.npz", x=x[120:], y=y[120:], weights=weights[120:])


def make_tuned(folder):
    x, y, _ = shuffled_iris(4)
    np.savez_compressed(folder / "train.npz", x=x[:120], y=y[:120])
    np.savez_compressed(folder / "rows.npz", x=x[120:], y=y[120:])


def make_schedule(folder):
    x, y, rng = shuffled_iris(7)
    x = (x + rng.normal(size=x.shape)).astype(np.float32)  # harder, so that trials differ
    np.savez_compressed(folder / "train.npz", x=x[:120], y=y[:120])
    np.savez_compressed(folder / "rows.npz", x=x[120:], y=y[120:])


def make_stream(folder):
    wine, rng = datasets.load_wine(), np.random.default_rng(5)
    order = rng.permutation(len(wine.target))[:150]
    x = ((wine.data - wine.data.mean(axis=0)) / wine.data.std(axis=0)).astype(np.float32)[order]
    y = np.array(["Barolo", "Grignolino", "Barbera"])[wine.target[order]]
    weights = (rng.integers(1, 4, 150) / 2).astype(np.float32)
    parts = {"x_grid": x[:, :6].reshape(-1, 2, 3), "x_acids": x[:, 6:10]}  # joined as "acids", "grid"
    train = {name: values[:120] for name, values in parts.items()}
    np.savez_compressed(folder / "train.npz", y=y[:120], weights=weights[:120], **train)
    np.savez_compressed(folder / "rows.npz", **{name: values[120:] for name, values in parts.items()})


def make_map(folder):
    digits, rng = datasets.load_digits(), np.random.default_rng(6)
    order = rng.permutation(len(digits.target))[:220]
    x, y = (digits.images[order, :, :, None] / 16).astype(np.float32), digits.target[order].astype(np.int32)
    np.savez_compressed(folder / "train.npz", x=x[:200], y=y[:200])
    np.savez_compressed(folder / "rows.npz", x=x[200:])


def make_stopped(folder):
    x, y, _ = shuffled_iris(8)
    np.savez_compressed(folder / "train.npz", x=x[:120], y=(y[:120] == 1).astype(np.int32))
    np.savez_compressed(folder / "rows.npz", x=x[120:])


def write_csv(path, header, lines):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *lines])


class Interrupting(golden_cases.ArrayBatches):
    """Presses Ctrl-C in the middle of the first trial after it was armed."""

    armed = False

    def get_input_fn(self, hparams, mode, batch_size):
        whole = super().get_input_fn(hparams, mode, batch_size)

        def batches():
            for number, batch in enumerate(whole()):
                if self.armed and mode == "train" and number == 3:
                    self.armed = False
                    os.kill(os.getpid(), signal.SIGINT)
                yield batch

        return batches


def search_until_stopped(case):
    provider = Interrupting(case.folder / "train.npz", 2)

    def arm(trial):
        provider.armed = trial.id == 3

    with contextlib.suppress(KeyboardInterrupt):
        case.search(case.folder, provider, callbacks=arm)
        raise AssertionError("it was not stopped")


def make(case):
    """Makes one case anew: data, study, exports, answers."""
    folder = case.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    globals()[f"make_{case.name}"](folder)
    if case.name == "stopped":
        search_until_stopped(case)
    else:
        case.search(folder).close()
    without_machine(folder / NAME / "study.db")
    study = model_search.load_study(folder, NAME)
    expected, arrays = described(case, study), {}
    for choice in choices(study):
        for name, values in answers(case, study, folder, choice).items():
            arrays[f"{name}/{choice}"] = values
    if case.exported:
        study.export(folder / "exported")
        for choice in {model.kind.value for model in study.final_models} - {study.best}:
            study.export(folder / f"{choice}.keras", trial=choice)
    study.close()
    expected |= continued(case)
    write_json(folder / "expected.json", expected)
    np.savez_compressed(folder / "expected.npz", **arrays)


def described(case, study):
    """All that is compared, but for predictions."""
    labelled = None if case.labelled is None else case.labelled(case.folder)
    promotion = [trial.id for trial in study.trials if trial.plan and trial.plan.is_promotion and trial.result]
    return {
        "made_by": model_search.__version__,
        "metric": study.metric,
        "best": study.best,
        "best_trial": study.best_trial.id,
        "recommended_trial": study.recommended_trial.id,
        "leaderboard": board(study),
        "trials": [story(trial) for trial in study.trials],
        "replayed": [*case.replayed, *promotion[:1]],
        "classes": [] if study.task.kind.value == "regression" else [str(label) for label in study.task.classes],
        "evaluate": {} if labelled is None else {str(c): study.evaluate(labelled, trial=c) for c in choices(study)},
        "temperatures": {str(c): temperature(study, c) for c in choices(study)},
        "final": [final(model) for model in study.final_models],
    }


def temperature(study, choice):
    found = study.calibration(choice)
    return None if found is None else found.temperature


def final(model):
    members = [[member.trial, member.weight] for member in model.members]
    described = {"kind": model.kind.value, "metrics": dict(model.metrics), "parameters": model.parameters}
    return described | {"accepted": model.accepted, "gain": model.gain, "members": members}


def continued(case):
    """What the next trials are, found out on a copy."""
    with tempfile.TemporaryDirectory() as place:
        copy = pathlib.Path(place) / case.name
        shutil.copytree(case.folder, copy)
        before = {trial.id: trial.revision for trial in model_search.load_study(copy, NAME).trials}
        study = case.search(copy, number_models=case.more, finish="neither")
        new = [story(trial) for trial in study.trials if before.get(trial.id) != trial.revision]
        study.close()
    return {"continued": new}


def without_machine(database):
    """Takes the names of the machine and of its processes out of a study."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute(
            "UPDATE attempts SET host = 'golden', boot = '', namespace = '', pid = 1, started = '' "
            "WHERE ended_at IS NOT NULL"
        )
        connection.commit()
        connection.execute("VACUUM")
    pathlib.Path(f"{database}-wal").unlink(missing_ok=True)
    pathlib.Path(f"{database}-shm").unlink(missing_ok=True)


def write_json(path, document):
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def main(names):
    if model_search.__version__ != VERSION:
        raise SystemExit(f"this is version {model_search.__version__}; golden data are made by {VERSION} (71f90c6)")
    print(f"{HERE}: made by {model_search.__file__}")
    for name in names or BY_NAME:
        make(BY_NAME[name])
        size = sum(path.stat().st_size for path in BY_NAME[name].folder.rglob("*") if path.is_file())
        print(f"{name}: {size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
