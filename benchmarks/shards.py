"""What do shards of a controller's parameters save, and what do they cost?

    python benchmarks/shards.py [--trials 1000,10000] [--shards 0,1,4,20] [--folder DIR]

For a space and a number of trials, with 0 and more shards: seconds of the processor that a fresh worker of `REINFORCE`
takes for its first proposal, where another one has kept what it has learnt (0: it learns from all trials itself); the
seconds in which a version is written, waiting for the disk; and the size of its files. Medians of five. Losses are
random numbers, and nothing is trained.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import tempfile
import time
from typing import Any

import numpy as np

from model_search import constants
from model_search.metadata.artefacts import LocalArtefacts
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import StudyRecord
from model_search.metadata.study_arrays import StudyArrays
from model_search.search.algorithms.algorithm import SearchAlgorithm
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.history.history import History
from model_search.spec.load import load_spec, load_text
from model_search.testing.pretended_studies import completed, make_plan

SPACES = {
    "dense blocks": "",
    "macro towers of 12 layers": 'problem_type: CNN search: "REINFORCE" cell { layers: 12 }',
}
TIMES = 5
OFF_A_VERSION = 7  # batches that are later than the last version


class Timed(StudyArrays):
    """Takes the time of what is written."""

    seconds = 0.0

    def save(self, name: str, arrays: Any) -> None:
        """Stores arrays."""
        started = time.perf_counter()
        super().save(name, arrays)
        self.seconds += time.perf_counter() - started


def search(text: str, shards: int) -> SearchAlgorithm:
    """The controller of a space."""
    spec = load_text(text) if text else load_spec(constants.DEFAULT_DNN)
    spec.search = "REINFORCE"
    spec.search_settings.hparam["shards"].int64_value = shards
    return make_algorithm(spec)


def random_history(grammar: Any, trials: int) -> History:
    """Random towers with random losses."""
    history, rng = History("loss", "minimize"), np.random.default_rng(0)
    for number in range(1, trials + 1):
        plan = make_plan(number, grammar.random_of_any_depth(rng, grammar.maximum_depth))
        history.update([completed(number, float(rng.random()), plan)])
    return history


def measured(text: str, history: History, shards: int, folder: pathlib.Path) -> str:
    """The figures of a number of shards, in words."""
    store = SqliteStore(folder / "study.db")
    store.create_study(StudyRecord("s", "me", "", "loss", "minimize", 1, "f", {}, {}, {}))
    arrays = Timed(store, LocalArtefacts(folder), print)
    first = search(text, shards)
    first.keep_in(arrays)
    first.propose(history, np.random.default_rng(0))
    size = sum(file.size for file in store.files().values())
    seconds = []
    for _ in range(TIMES):
        fresh = search(text, shards)
        fresh.keep_in(arrays)
        started = time.process_time()
        fresh.propose(history, np.random.default_rng(0))
        seconds.append(time.process_time() - started)
    store.close()
    cost = f", a version written in {arrays.seconds:.3f} s, {size / 1e6:.2f} MB" if shards else ""
    return f"{shards} shards: first proposal {statistics.median(seconds):.2f} s{cost}"


def main() -> None:
    """Reads the flags and prints a line for each space, number of trials, and number of shards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", default="1000,10000")
    parser.add_argument("--shards", default="0,1,4,20")
    parser.add_argument("--folder", help="on the disk that studies are on; a temporary one when absent")
    options = parser.parse_args()
    for name, text in SPACES.items():
        for trials in map(int, options.trials.split(",")):
            # The last window has a version, and a few batches that are later.
            history = random_history(search(text, 0).grammar, trials + 450 - trials % 50 + 5 * OFF_A_VERSION)
            for shards in map(int, options.shards.split(",")):
                with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                    figures = measured(text, history, shards, pathlib.Path(folder))
                    print(f"{name}, {len(history):,} trials, {figures}", flush=True)


if __name__ == "__main__":
    main()
