"""How good are searches on pictures, sound and sequences, and what do they cost?

    python benchmarks/modalities.py --datasets DIR                       # every row, three seeds
    python benchmarks/modalities.py --datasets DIR --short               # one seed, two speakers
    python benchmarks/modalities.py --datasets DIR --only vowels,digits  # some rows
    python benchmarks/modalities.py --datasets DIR --only cifar5 --contestants ours,kerastuner,autokeras

cifar5    CIFAR-10 from folders (5,000 pictures, of which a fifth validates; 1,000 for the test), five minutes.
cifar30   The same in thirty minutes.
digits    Spoken digits by take: takes 0 to 4 of each speaker are the test; five minutes.
speakers  Spoken digits of a speaker that is not in training, the mean over the speakers; ten minutes each.
vowels    Japanese Vowels (270 sequences, 370 for the test), five minutes.
specs     A search of 12 trials of every stock specification for pictures, sound and sequences: how many fail.

The score is the accuracy of `study.best` on the test rows, which no search sees. Every search is a process of its
own, one at a time; `wall` and `CPU` are the seconds of the whole process. `--results` keeps finished runs.

`kerastuner` and `autokeras` have the same pictures and the same time as cifar5 and cifar30 (see picture_peers.py), in
environments with pinned versions, which are made where they are missing (`--environments`). Their results are kept by
version and machine.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import picture_peers
from peers import add_environments_flag, interpreter, on_this_machine
from tables import VARIABLE, add_datasets_flag

LARGEST_TAKE_OF_THE_TEST = 4
LONGEST_DIGIT = 0.7  # seconds; 3 % of the training recordings are longer, one of them 2.3 s
PICTURES, SEQUENCES = (900, 64), (1000, 32)  # steps a trial, rows a step
SPECS = {
    "CNN": ("cnn_config", "image_config"),
    "RNN_LAST_ACTIVATIONS": ("rnn_last_config", "sequence_config", "sound_config"),
    "RNN_ALL_ACTIVATIONS": ("rnn_all_config",),
}
TRIALS_OF_A_SPEC, STEPS_OF_A_SPEC, MOST_FAILED = 12, 60, 1


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table: what is searched, how long, and what it is to reach."""

    name: str
    minutes: float
    goal: float
    run: Callable[[pathlib.Path, pathlib.Path, str, dict[str, Any]], float]
    variants: tuple[str, ...] = ("",)
    peers: tuple[str, ...] = ()


OURS = "ours"


def _pictures(datasets: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """The CIFAR-10 folders to search on, and to judge by."""
    folder = datasets / "images" / "cifar10"
    return folder / "train", folder / "test"


def cifar(datasets: pathlib.Path, scratch: pathlib.Path, variant: str, options: dict[str, Any]) -> float:
    """Test accuracy of a search on the CIFAR-10 folders, ours or a peer's."""
    train, test = _pictures(datasets)
    if options["contestant"] != OURS:
        search = picture_peers.SEARCHES[options["contestant"]]
        return search(train, test, 60 * options["minutes"], options["seed"])
    from model_search import constants
    from model_search.data import image_data

    provider = image_data.Provider(str(train), 32, 32)
    return _searched(provider, constants.DEFAULT_IMAGE, str(test), options, *PICTURES)


def _recordings(datasets: pathlib.Path) -> list[tuple[str, str, str, int]]:
    """Path, digit, speaker and take of every recording."""
    found = []
    for path in sorted((datasets / "audio" / "free_spoken_digits").glob("*.wav")):
        digit, speaker, take = path.stem.split("_")
        found.append((str(path), digit, speaker, int(take)))
    return found


def _written(path: pathlib.Path, recordings: list[tuple[str, str, str, int]]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "digit", "speaker"])
        writer.writerows(recording[:3] for recording in recordings)
    return str(path)


def digits(datasets: pathlib.Path, scratch: pathlib.Path, variant: str, options: dict[str, Any]) -> float:
    """Test accuracy of a search on spoken digits; the early takes are kept aside, or a speaker if one is named."""
    from model_search import constants
    from model_search.data import audio_data

    def aside(recording: tuple[str, str, str, int]) -> bool:
        return recording[2] == variant if variant else recording[3] <= LARGEST_TAKE_OF_THE_TEST

    recordings = _recordings(datasets)
    kept = [recording for recording in recordings if not aside(recording)]
    test = _written(scratch / "test.csv", [recording for recording in recordings if aside(recording)])
    # Validated on another speaker, too: what is looked for holds for people that were never heard. In the end the
    # winners are trained in folds, each without one speaker; where there is no time for that, on all of them.
    provider = audio_data.Provider(
        filename=_written(scratch / "train.csv", kept),
        label="digit",
        groups="speaker" if variant else None,
        max_seconds=LONGEST_DIGIT,
    )
    given = options | {"refit": bool(variant)}
    return _searched(provider, constants.DEFAULT_SOUND, test, given, *SEQUENCES)


def vowels(datasets: pathlib.Path, scratch: pathlib.Path, variant: str, options: dict[str, Any]) -> float:
    """Test accuracy of a search on Japanese Vowels."""
    from model_search import constants

    train, test = _vowels(datasets)
    return _searched(train, constants.DEFAULT_SEQUENCE, test, options, *SEQUENCES)


def _vowels(datasets: pathlib.Path) -> tuple[Any, tuple[Any, Any, Any]]:
    import numpy as np

    from model_search.data import sequence_data

    file = np.load(datasets / "sequences" / "japanese_vowels.npz")
    train, test = ([file[f"{part}_{name}"] for name in ("x", "y", "lengths")] for part in ("train", "test"))
    return sequence_data.Provider(*train), (test[0], test[1], test[2])


def _searched(provider: Any, spec: Any, test: Any, options: dict[str, Any], steps: int, batch_size: int) -> float:
    """Searches for a time and returns the accuracy on the test rows of what is handed back."""
    from model_search import single_trainer

    with tempfile.TemporaryDirectory() as root:
        study = single_trainer.SingleTrainer(provider, spec).try_models(
            number_models=1_000_000,
            train_steps=steps,
            eval_steps=None,
            root_dir=root,
            batch_size=batch_size,
            experiment_name="modality",
            experiment_owner="benchmark",
            seed=options["seed"],
            time_limit=60 * options["minutes"],
            refit=options.get("refit", False),
            metric="accuracy",
            progress=False,
        )
        score = study.evaluate(test)["accuracy"]
        study.close()
    return float(score)


def specification(datasets: pathlib.Path, scratch: pathlib.Path, variant: str, options: dict[str, Any]) -> float:
    """Trials of a stock specification that fail, of twelve that succeed."""
    import numpy as np

    import model_search
    from model_search import single_trainer
    from model_search.data import audio_data, image_data, sequence_data

    problem = next(problem for problem, names in SPECS.items() if variant in names)
    if problem == "CNN":
        provider: Any = image_data.Provider(str(_pictures(datasets)[0]), 32, 32)
    elif variant == "sound_config":
        some = [recording for recording in _recordings(datasets) if recording[3] < 10]
        provider = audio_data.Provider(filename=_written(scratch / "train.csv", some))
    elif problem == "RNN_ALL_ACTIVATIONS":
        file = np.load(datasets / "sequences" / "japanese_vowels.npz")
        each = np.repeat(file["train_y"][:, None], file["train_x"].shape[1], axis=1)
        provider = sequence_data.Provider(file["train_x"], each, file["train_lengths"])
    else:
        provider = _vowels(datasets)[0]
    spec = pathlib.Path(model_search.__file__).parents[1] / "specs" / f"{variant}.pbtxt"
    with tempfile.TemporaryDirectory() as root:
        study = single_trainer.SingleTrainer(provider, str(spec)).try_models(
            number_models=TRIALS_OF_A_SPEC,
            train_steps=STEPS_OF_A_SPEC,
            eval_steps=None,
            root_dir=root,
            batch_size=32,
            experiment_name=variant,
            experiment_owner="benchmark",
            seed=options["seed"],
            progress=False,
            finish="neither",
        )
        failed = [trial for trial in study.trials if trial.result is None]
        for trial in failed:
            print(f"{variant}, trial {trial.id}: {trial.reason}", file=sys.stderr)
        study.close()
    return float(len(failed))


SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
ROWS = {
    row.name: row
    for row in (
        Row("cifar5", 5, 0.70, cifar, peers=tuple(picture_peers.PEERS)),
        Row("cifar30", 30, 0.75, cifar, peers=tuple(picture_peers.PEERS)),
        Row("digits", 5, 0.99, digits),
        Row("speakers", 10, 0.88, digits, SPEAKERS),
        Row("vowels", 5, 0.985, vowels),
        Row("specs", 0, MOST_FAILED, specification, tuple(name for names in SPECS.values() for name in names)),
    )
}


def in_process(python: str, datasets: str, row: Row, variant: str, options: dict[str, Any]) -> dict[str, float]:
    """One search in a process of its own: score, wall time and CPU seconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [python, __file__, "--datasets", datasets, "--one", row.name, variant, json.dumps(options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{row.name} {variant} of {options['contestant']} failed with exit status {done.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "score": json.loads(done.stdout.splitlines()[-1]),
        "wall": time.monotonic() - started,
        "processor": processor,
    }


def run_all(options: argparse.Namespace) -> None:
    """Runs what is not in the results yet, and prints the table row by row."""
    file = pathlib.Path(options.results) if options.results else None
    results = json.loads(file.read_text()) if file and file.exists() else {}
    contestants = options.contestants.split(",")
    print(f"{'work':<20}{'runs':>5}{'mean':>8}{'worst':>8}{'wall s':>8}{'CPU s':>8}  goal")
    for name in options.only.split(",") if options.only else ROWS:
        row = ROWS[name]
        variants = row.variants[:2] if options.short and name == "speakers" else row.variants
        seeds = range(1, 2 if options.short or name == "specs" else options.seeds + 1)
        for contestant in (one for one in contestants if one == OURS or one in row.peers):
            python, found = sys.executable, []
            for variant in variants:
                for seed in seeds:
                    minutes = row.minutes * options.scale
                    key = key_of(f"{name}/{variant}/{minutes}/{seed}", contestant)
                    if key not in results:
                        if contestant != OURS:
                            python = interpreter(contestant, picture_peers.PEERS[contestant], options.environments)
                        given = {"seed": seed, "minutes": minutes, "contestant": contestant}
                        results[key] = in_process(python, options.datasets, row, variant, given)
                        print(key, {k: round(v, 4) for k, v in results[key].items()}, file=sys.stderr, flush=True)
                        if file:
                            file.write_text(json.dumps(results, indent=1))
                    found.append(results[key])
            print_row(row, contestant, found)


def key_of(work: str, contestant: str) -> str:
    """The name of a run among the results; a peer's has its version and the machine."""
    if contestant == OURS:
        return work
    return on_this_machine(f"{work}/{contestant}", picture_peers.PEERS[contestant][0])


def print_row(row: Row, contestant: str, found: list[dict[str, float]]) -> None:
    scores = [run["score"] for run in found]
    mean, fewer = sum(scores) / len(scores), row.run is specification
    worst = max(scores) if fewer else min(scores)
    reached = worst <= row.goal if fewer else mean >= row.goal
    wall, processor = (sum(run[key] for run in found) / len(found) for key in ("wall", "processor"))
    goal = f"{'failed at most' if fewer else 'at least'} {row.goal:g}: {'reached' if reached else 'MISSED'}"
    name, goal = (row.name, goal) if contestant == OURS else (f"{row.name} {contestant}", "")
    print(f"{name:<20}{len(found):>5}{mean:>8.4f}{worst:>8.4f}{wall:>8.0f}{processor:>8.0f}  {goal}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_datasets_flag(parser)
    parser.add_argument("--only", help=f"comma-separated, of {', '.join(ROWS)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="one seed, two speakers")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="a factor of all time limits, for a trial of the benchmark"
    )
    add_environments_flag(parser, "modality_environments")
    known = (OURS, *picture_peers.PEERS)
    parser.add_argument(
        "--contestants", default=OURS, help=f"comma-separated, of {', '.join(known)}; peers take part in cifar rows"
    )
    parser.add_argument("--results", help="a JSON file that keeps finished runs, so that a second call continues")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.datasets:
        sys.exit(f"no datasets: name their folder with --datasets or the variable {VARIABLE}")
    unknown = [name for name in options.contestants.split(",") if name not in known]
    if unknown:
        sys.exit(f"received the contestant {unknown[0]!r}; expected some of {', '.join(known)}")
    if options.one:
        name, variant, given = options.one
        with tempfile.TemporaryDirectory() as scratch:
            score = ROWS[name].run(pathlib.Path(options.datasets), pathlib.Path(scratch), variant, json.loads(given))
        print(json.dumps(score))
    else:
        run_all(options)


if __name__ == "__main__":
    main()
