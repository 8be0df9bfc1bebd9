"""How many trained models until a search has what random search has after 60? On real tables, with the stock space.

    python benchmarks/search_on_data.py --datasets DIR [--tables phoneme,adult,wine_quality] [--seeds 5] [--jobs 1]

Random search draws a depth, the blocks and the hyperparameters of each of its 60 models. The best of many noisy scores
is partly luck. So what a search has after some models is the mean validation score (accuracy, or RMSE for numbers) of
the three models that are the best until then, each trained again with another seed. What random search reaches is the
mean of that over seeds. The others search the same space, without ensembles, and it is counted how many models each
needs to reach it. One that does not within `--models` counts as twice as many. A contestant is a `search_type`,
`default`, or `unprimed` (the default without its starting points), and a sampler of hyperparameters behind a slash.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np
from tables import Table, add_datasets_flag, read_index

from model_search import constants
from model_search.metadata.trial import TrialPlan
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.ranking import Goal, Objective
from model_search.search.space.grammar import Grammar
from model_search.spec.load import load_spec
from model_search.spec.tower_suggestions import tower_suggestion

CONTESTANTS = "default/predictor,unprimed/predictor,default/random,default/bayesian,ADAPTIVE_COORDINATE_DESCENT/random"
RANDOM = "any_depth/random"
TOP = 3  # models that are trained again
AGAIN = 1000  # is added to the seed then


@dataclasses.dataclass(frozen=True)
class Job:
    """One search."""

    table: str
    contestant: str
    seed: int

    def key(self, options: argparse.Namespace) -> str:
        """Its name among the results."""
        return f"{self.table}/{self.contestant}/{self.seed}/{options.models}/{options.steps}/best {TOP} again"


def stock_space() -> PhoenixSpec:
    """The stock specification for tables, without ensembles and students."""
    spec = load_spec(constants.DEFAULT_DNN)
    spec.ClearField("ensemble_spec")
    spec.ClearField("distillation_spec")
    return spec


def spec_of(contestant: str, seed: int, models: int) -> PhoenixSpec:
    """The stock space with the contestant's search."""
    spec = stock_space()
    search = contestant.split("/")[0]
    if search == "any_depth":
        grammar, rng = Grammar.of(spec), np.random.default_rng([seed, 60])
        drawn: dict[tuple[str, ...], None] = {}
        while len(drawn) < models:
            drawn[grammar.random_of_any_depth(rng)] = None
        for architecture in drawn:
            spec.user_suggestions.add(architecture=architecture)
    elif search in ("default", "unprimed"):
        spec.search_type = PhoenixSpec.UNKNOWN_SEARCH_TYPE
        spec.starting_points = search == "default"
    else:
        spec.search_type = PhoenixSpec.SearchType.Value(search)
    return spec


def metric_of(table: Table) -> str:
    """The metric of a table."""
    return "accuracy" if table.task == "classification" else "rmse"


def objective_of(metric: str) -> Objective:
    """The same with its goal."""
    return Objective(metric, Goal.MAXIMIZE if metric == "accuracy" else Goal.MINIMIZE)


def train(
    table: Table, spec: PhoenixSpec, sampler: str, seed: int, models: int, options: argparse.Namespace
) -> list[tuple[TrialPlan, float]]:
    """Trains models in this process, in parallel with others: what each tried, and its validation score, in order."""
    from model_search import single_trainer
    from model_search.data import csv_data
    from model_search.training.runtime import available_cores, tensorflow

    tensorflow(1, max(1, available_cores() // options.jobs))
    metric = metric_of(table)
    provider = csv_data.Provider(filename=str(table.train), validation_filename=str(table.valid), label=table.label)
    with tempfile.TemporaryDirectory() as root:
        study = single_trainer.SingleTrainer(provider, spec).try_models(
            number_models=models,
            train_steps=options.steps,
            eval_steps=100,
            root_dir=root,
            batch_size=32,
            experiment_name=table.name,
            experiment_owner="benchmark",
            seed=seed,
            metric=metric,
            sampler=sampler,
            progress=False,
            finish="neither",
            members="networks",
        )
        done = [
            (trial.plan, trial.result.metrics[metric])
            for trial in study.trials
            if trial.result is not None and trial.plan is not None
        ]
        study.close()
    return done


def search(table: Table, contestant: str, seed: int, options: argparse.Namespace) -> dict[str, object]:
    """Scores of all trials in order, and what was tried."""
    spec, sampler = spec_of(contestant, seed, options.models), contestant.split("/")[1]
    done = train(table, spec, sampler, seed, options.models, options)
    scores, objective = [score for _, score in done], objective_of(metric_of(table))
    places = sorted(set().union(*map(set, leaders(scores, objective))))
    again = train(table, replay([done[place][0] for place in places]), sampler, seed + AGAIN, len(places), options)
    by_place = {places[plan.trial_id - 1]: score for plan, score in again}
    return {
        "metric": metric_of(table),
        "scores": scores,
        "again": reached(scores, by_place, objective),
        "tried": [[plan.architecture, dict(plan.hyperparameters)] for plan, _ in done],
    }


def leaders(scores: Sequence[float], objective: Objective) -> list[list[int]]:
    """The places of the best three after each number of models."""
    sign = -1 if objective.goal is Goal.MAXIMIZE else 1
    return [
        sorted(range(count), key=lambda place: (sign * scores[place], place))[:TOP]
        for count in range(1, len(scores) + 1)
    ]


def reached(scores: Sequence[float], again: Mapping[int, float], objective: Objective) -> list[float]:
    """The mean of the best three after each number of models, trained again; one that fails then is as bad as any.

    Args:
        scores: Of all models, in order.
        again: Of those that were among the best three, by their places.
        objective: The metric and its goal.
    """
    worst = min(scores) if objective.goal is Goal.MAXIMIZE else max(scores)
    return [statistics.fmean(again.get(place, worst) for place in places) for places in leaders(scores, objective)]


def replay(plans: Sequence[TrialPlan]) -> PhoenixSpec:
    """The stock space, to train these towers with their hyperparameters."""
    spec = stock_space()
    spec.replay.towers.extend(tower_suggestion(plan.architecture, plan.hyperparameters) for plan in plans)
    return spec


def models_until(scores: list[float], level: float, objective: Objective, most: int) -> int:
    """The number of the first model at least as good as the level; twice `most` where there is none."""
    for number, score in enumerate(scores, start=1):
        if not objective.better(level, score):
            return number
    return 2 * most


def run_all(options: argparse.Namespace, jobs: list[Job]) -> dict[str, dict[str, object]]:
    """Results by key, each search in a process of its own; those in the results file are taken from there."""
    file = pathlib.Path(options.results) if options.results else None
    results = json.loads(file.read_text()) if file is not None and file.exists() else {}

    def one(job: Job) -> None:
        key = job.key(options)
        if key in results:
            return
        words = ["--one", job.table, job.contestant, str(job.seed), "--datasets", options.datasets]
        words += ["--models", str(options.models), "--steps", str(options.steps), "--jobs", str(options.jobs)]
        done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{key} failed:\n{done.stderr[-2000:]}")
        results[key] = json.loads(done.stdout.splitlines()[-1])
        print(key, file=sys.stderr, flush=True)
        if file is not None:
            file.write_text(json.dumps(results))

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, jobs))
    return results


def print_table(results: dict[str, dict[str, object]], options: argparse.Namespace, contestants: list[str]) -> None:
    print(f"{'table':<16}{'search':<38}{'models, each seed':<28}{'median':>8}{'after all':>16}")
    for table in options.tables.split(","):
        found = {
            name: [results[Job(table, name, seed).key(options)] for seed in range(1, options.seeds + 1)]
            for name in [RANDOM, *contestants]
        }
        objective = objective_of(str(found[RANDOM][0]["metric"]))
        level = statistics.fmean(run["again"][-1] for run in found[RANDOM])  # type: ignore[index,misc]
        print(f"{table:<16}random search reaches {level:.4f} after {options.models}")
        for name, runs in found.items():
            needed = [models_until(run["again"], level, objective, options.models) for run in runs]  # type: ignore[arg-type]
            last = statistics.fmean(run["again"][-1] for run in runs)  # type: ignore[index,misc]
            print(f"{'':<16}{name:<38}{' '.join(map(str, needed)):<28}{statistics.median(needed):>8g}{last:>16.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_datasets_flag(parser)
    parser.add_argument("--tables", default="phoneme,adult,wine_quality")
    parser.add_argument("--contestants", default=CONTESTANTS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--models", type=int, default=60)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--results", help="a JSON file that keeps finished searches, so that a second call continues")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    index = read_index(options.datasets)
    if options.one:
        name, contestant, seed = options.one
        print(json.dumps(search(index[name], contestant, int(seed), options)))
        return
    contestants = options.contestants.split(",")
    tables = options.tables.split(",")
    jobs = [Job(t, c, s) for s in range(1, options.seeds + 1) for t in tables for c in [RANDOM, *contestants]]
    print_table(run_all(options, jobs), options, contestants)


if __name__ == "__main__":
    main()
