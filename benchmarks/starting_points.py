"""Chooses the starting points of a search, on other tables than those of `search_on_data.py`.

    python benchmarks/starting_points.py --datasets DIR [--tables A,B,...] [--number 4] [--jobs 2]

On each table a search of `--models` towers, without starting points, finds candidates: its `--candidates` best towers
of different blocks. Each candidate is then trained on every table, by itself. A candidate's regret on a table is how
far it is below the best one there, where 1 is the median candidate. Chosen are, one after the other, those that lower
most the mean over tables of the least regret so far. What is printed goes into
`model_search/search/space/starting_points.py`.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from search_on_data import Job, metric_of, objective_of, run_all, stock_space, train
from tables import Table, add_datasets_flag, read_index

TABLES = "german_credit,bank_marketing,telco_churn,electricity,california_housing,bike_sharing,abalone"
SEARCH = "unprimed/predictor"
SEED = 7  # of the training of all candidates
KEPT = ("optimizer", "learning_rate", "dropout_rate")
Candidate = tuple[tuple[str, ...], Mapping[str, Any]]


def candidates(found: Mapping[str, Any], number: int) -> list[Candidate]:
    """The best towers of a search that have different blocks."""
    objective = objective_of(found["metric"])
    best: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for place in np.argsort(-objective.losses(found["scores"]), kind="stable")[::-1]:
        architecture, hyperparameters = found["tried"][int(place)]
        best.setdefault(tuple(architecture), {name: hyperparameters[name] for name in KEPT})
    return list(best.items())[:number]


def scores_of(table: Table, towers: Sequence[Candidate], options: argparse.Namespace) -> list[float]:
    """Validation scores of the towers, larger is better; their other hyperparameters are drawn."""
    spec = stock_space()
    for architecture, hyperparameters in towers:
        suggestion = spec.user_suggestions.add(architecture=architecture)
        for name, value in hyperparameters.items():
            given = suggestion.hparams.hparam[name]
            if isinstance(value, str):
                given.bytes_value = value.encode()
            else:
                given.float_value = value
    objective, trained = objective_of(metric_of(table)), train(table, spec, "random", SEED, len(towers), options)
    turned = {plan.trial_id: -objective.loss(score) for plan, score in trained}
    return [turned.get(number, -math.inf) for number in range(1, len(towers) + 1)]


def choose(scores: np.ndarray, number: int) -> list[tuple[int, float]]:
    """Greedily: the candidate that lowers the mean regret most, and what the regret is then.

    Args:
        scores: Larger is better. [tables, candidates]
        number: How many to choose.
    """
    best, middle = scores.max(axis=1, keepdims=True), np.median(scores, axis=1, keepdims=True)
    regret = np.minimum((best - scores) / np.maximum(best - middle, 1e-12), 3.0)
    least = np.full(len(scores), 3.0)
    chosen: list[tuple[int, float]] = []
    for _ in range(number):
        together = np.minimum(least[:, None], regret).mean(axis=0)
        together[[place for place, _ in chosen]] = np.inf
        place = int(np.argmin(together))
        least = np.minimum(least, regret[:, place])
        chosen.append((place, float(least.mean())))
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_datasets_flag(parser)
    parser.add_argument("--tables", default=TABLES)
    parser.add_argument("--candidates", type=int, default=4, help="of each table")
    parser.add_argument("--number", type=int, default=4, help="how many are chosen")
    parser.add_argument("--models", type=int, default=60)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--results", help="a JSON file that keeps finished searches, so that a second call continues")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    index = read_index(options.datasets)
    if options.one:
        print(json.dumps(scores_of(index[options.one], json.load(sys.stdin), options)))
        return
    tables = options.tables.split(",")
    jobs = [Job(table, SEARCH, 1) for table in tables]
    found = run_all(options, jobs)
    towers = [tower for job in jobs for tower in candidates(found[job.key(options)], options.candidates)]

    def trained(table: str) -> list[float]:
        words = ["--one", table, "--datasets", options.datasets]
        words += ["--steps", str(options.steps), "--jobs", str(options.jobs)]
        done = subprocess.run(
            [sys.executable, __file__, *words], input=json.dumps(towers), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{table} failed:\n{done.stderr[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1])

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        scores = np.array(list(pool.map(trained, tables)))
    for place, regret in choose(scores, options.number):
        architecture, hyperparameters = towers[place]
        print(f"mean regret with it {regret:.2f}: {' '.join(architecture)} {json.dumps(hyperparameters)}")


if __name__ == "__main__":
    main()
