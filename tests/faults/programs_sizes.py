"""What the tests of sizes run, each in a process of its own: python programs_sizes.py ROLE JSON

The last line of the output is JSON: what was found.
"""

import json
import pathlib
import resource
import sys
import threading

import numpy as np

CITIES = [f"city {number}" for number in range(50)]


def peak_bytes():
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def write_rows(path, rows, seed=0):
    """A CSV file: two numbers, a count, a category, a date, and a label."""
    rng = np.random.default_rng(seed)
    with pathlib.Path(path).open("w") as file:
        file.write("a,b,count,city,when,label\n")
        for start in range(0, rows, 50_000):
            number = min(50_000, rows - start)
            first, second = rng.normal(size=number), 1000 * rng.normal(size=number)
            counts, cities, days = (
                rng.integers(0, 1000, number),
                rng.integers(0, 50, number),
                rng.integers(0, 336, number),
            )
            labels = first + rng.normal(size=number) > 0
            file.writelines(
                f"{a:.6f},{b:.3f},{c},{CITIES[d]},2021-{e // 28 + 1:02d}-{e % 28 + 1:02d},{'yes' if y else 'no'}\n"
                for a, b, c, d, e, y in zip(first, second, counts, cities, days, labels, strict=True)
            )


def write_wide(path, rows, columns, seed=0):
    """A CSV file of text: so many columns of categories, and a label."""
    rng = np.random.default_rng(seed)
    words = np.array([f"word {number}" for number in range(20)])
    with pathlib.Path(path).open("w") as file:
        file.write(",".join([*(f"c{number}" for number in range(columns)), "label"]) + "\n")
        for _ in range(rows):
            found = rng.integers(0, 20, columns)
            file.write(",".join([*words[found], "yes" if found[0] < 10 else "no"]) + "\n")


def reads(path):
    """Prepares a CSV file for training."""
    import pandas as pd  # noqa: F401, as part of what was there before

    from model_search.data.csv_data import Provider
    from model_search.data.prepare_options import PrepareOptions

    before = peak_bytes()
    data = Provider(filename=path, label="label").prepare(PrepareOptions(seed=1, batch_size=32))
    return {
        "rows": len(data.train) + len(data.valid),
        "width": data.train.inputs["features"].shape[1],
        "features": sum(part.inputs["features"].nbytes for part in (data.train, data.valid)),
        "peak": peak_bytes() - before,
        "fingerprint": data.fingerprint,
    }


def predicts(paths, root):
    """Predicts files one after the other with one study, and evaluates the last; says the most memory after each."""
    from model_search.study import load_study

    study = load_study(root, "small")
    found = []
    for path in paths:
        out = path + ".out"
        rows = study.write_predictions(path, out)
        with pathlib.Path(out).open() as file:
            lines = sum(1 for _ in file)
        found.append({"rows": rows, "lines": lines, "peak": peak_bytes()})
    study.evaluate(paths[-1])
    return [*found, {"rows": rows, "lines": lines, "peak": peak_bytes()}]


def makes(root, path):
    """A study of one trial, on a CSV file."""
    from model_search import SingleTrainer, constants
    from model_search.data.csv_data import Provider

    trainer = SingleTrainer(Provider(filename=path, label="label"), constants.DEFAULT_DNN)
    trainer.try_models(1, 10, 1, root, 32, "small", "me", progress=False, finish="neither")
    return {}


def trains(root, trials, workers, disk_limit):
    """Searches with tiny trials; says after some of them what this process and the study take."""
    import psutil

    from model_search import SingleTrainer, constants
    from model_search.data.array_data import Provider

    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 4)).astype(np.float32)
    folder, seen, processes = pathlib.Path(root) / "long", [], {}

    def look(trial):
        del trial
        number = len(seen) + 1
        here = psutil.Process()
        for process in [here, *here.children(recursive=True)]:
            try:
                taken = (process.memory_info().rss, process.num_fds(), process.num_threads())
            except psutil.Error:  # it has just ended
                continue
            if not taken[0]:  # it is ending
                continue
            processes.setdefault(str(process.pid), []).append((number, *taken))
        seen.append((number, _size(folder, "study.db*"), _size(folder, "**/*.npz"), _size(folder, "**/*.log")))

    trainer = SingleTrainer(Provider(features, (features[:, 0] > 0).astype(int)), constants.DEFAULT_DNN)
    study = trainer.try_models(
        trials, 8, 1, root, 16, "long", "me",
        progress=False, finish="neither", callbacks=look, workers=workers, disk_limit=disk_limit, seed=1,
    )  # fmt: skip
    return {
        "processes": processes,
        "study": seen,
        "largest": max(sum(file.size for file in trial.artefacts) for trial in study.trials),
        "own": str(psutil.Process().pid),
        "threads": [thread.name for thread in threading.enumerate()],
    }


def _size(folder, pattern):
    total = 0
    for path in folder.glob(pattern):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # pruned meanwhile
            continue
    return total


if __name__ == "__main__":
    role, words = sys.argv[1:]
    print(json.dumps(globals()[role](**json.loads(words))))
