"""Is the default search ever the wrong choice? Every contestant on tables of trained networks and on landscapes.

    python benchmarks/search_bench.py --tables DIR [--jobs 2] [--results results.json] [--quick]

Each study is searched through the planner, with the history of a real one; only the training is looked up or computed.
What is scored is regret: how far the model that a study would deliver after 50, 100 and 200 trials lies below the best
one of the space, by its value without noise. It is the best trial; where results are noisy, it is the trial that
`recommend` names, for every contestant. A cell is a space and a number of trials. For each cell the default is compared
with the best of the others, whichever that is, by paired differences over the seeds (each seed makes a landscape of its
own):

* is its mean regret larger, by a one-sided paired t test with Holm's correction over all cells at 5 %?
* is it within one standard error of the paired difference, or better?
* what is its rank among all contestants?

The same is asked of the default with settings that are chosen for each space by all *other* spaces ("left out"): of the
default and its `--variants`, the one with the least regret there, as a share of that of random search (or of the mean
of all others). It tells what the default does on a space that it was not made on.

Results are kept by space, contestant, seed and settings; `--again NAME` forgets those of a contestant whose code has
changed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import math
import multiprocessing
import os
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np
from landscapes import LANDSCAPES
from nas_study import KNOWN, MEASURED_THRICE, NasTable, Space, Study

from model_search.errors import SpaceExhaustedError
from model_search.spec.searches import LATEST_VERSION, with_version

VARIABLE = "MODEL_SEARCH_DATASETS"
DEFAULT = "default"
LEFT_OUT = "left out"
VARIANTS = ("default:most_process=0", "default:most_process=0.5", "default:doubt=0.03", "default:doubt=0.3")
CONTESTANTS = (DEFAULT, "random", "evolution20", "evolution50", "local", "beam", "gaussian_process")
AT = (50, 100, 200)
ONE_RUN = ":one_run"  # a table of which each trial shows one of the runs
QUICK_LANDSCAPES = ("nk1", "nk3", "noise_full", "failing_30", "free_length")


@dataclasses.dataclass(frozen=True)
class Job:
    """One study."""

    space: str
    contestant: str
    seed: int
    at: tuple[int, ...]

    def key(self, folder: str) -> str:
        """Its name among the results: space, contestant, seed, and a digest of what the search is asked for."""
        settings = hashlib.sha256(_asked(self.space, self.contestant, folder) + json.dumps(self.at).encode())
        return f"{self.space}/{self.contestant}/{self.seed}/{settings.hexdigest()[:12]}"


@functools.cache
def _asked(space: str, contestant: str, folder: str) -> bytes:
    """What a search is asked for, the same for every seed."""
    spec = with_version(load(space, 0, folder).spec(contestant), LATEST_VERSION)
    return spec.SerializeToString(deterministic=True)


def load(space: str, seed: int, folder: str) -> Space:
    """The space of that name; a landscape is another one for each seed."""
    if space in LANDSCAPES:
        return LANDSCAPES[space](seed)
    return _table(space, folder)


@functools.cache
def _table(space: str, folder: str) -> NasTable:
    name, _, way = space.partition(":")
    table = NasTable.read(pathlib.Path(folder) / f"{name}.csv", KNOWN[f"{name}.csv"])
    return dataclasses.replace(table, is_noisy=bool(way))


def study(job: Job, folder: str) -> dict[str, object]:
    """Carries out a study: the regret after each number of trials, failed ones, and seconds of the processor."""
    space, started = load(job.space, job.seed, folder), time.process_time()
    searched, rng = Study(space, job.contestant, job.seed), np.random.default_rng([job.seed, 1])
    regrets, failed = [], 0
    for number in range(1, max(job.at) + 1):
        try:
            searched.start()
        except SpaceExhaustedError:
            break
        plan = searched.plan()
        if math.isnan(space.value(plan)):
            searched.fail()
            failed += 1
        else:
            searched.finish(space.shown(plan, rng))
        if number in job.at:
            regrets.append(_regret(space, searched))
    regrets += [_regret(space, searched)] * (len(job.at) - len(regrets))
    return {"regret": regrets, "failed": failed, "seconds": time.process_time() - started}


def _regret(space: Space, searched: Study) -> float:
    plan = searched.recommended_plan() if space.is_noisy else searched.best_plan()
    return math.inf if plan is None else space.best - space.value(plan)


def carry_out(jobs: Sequence[Job], options: argparse.Namespace) -> list[dict[str, object]]:
    """The result of each job; what the results file knows is taken from there."""
    file = pathlib.Path(options.results) if options.results else None
    kept = json.loads(file.read_text()) if file is not None and file.exists() else {}
    kept = {key: found for key, found in kept.items() if key.split("/")[1] not in options.again}
    keys = [job.key(options.tables) for job in jobs]
    missing = [(key, job) for key, job in zip(keys, jobs, strict=True) if key not in kept]

    def keep(key: str, found: dict[str, object]) -> None:
        kept[key] = found
        if file is not None:
            temporary = file.with_suffix(".part")
            temporary.write_text(json.dumps(kept))
            temporary.replace(file)

    if options.jobs == 1:
        for key, job in missing:
            keep(key, study(job, options.tables))
    else:
        with concurrent.futures.ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
            futures = {pool.submit(study, job, options.tables): key for key, job in missing}
            for future in concurrent.futures.as_completed(futures):
                keep(futures[future], future.result())
    return [kept[key] for key in keys]


@dataclasses.dataclass(frozen=True)
class Cell:
    """How the default compares with the best of the others on one space after so many trials.

    Attributes:
        space: The space.
        trials: The number of trials.
        means: The mean regret of each contestant.
        rival: The best of the others.
        excess: The mean paired difference: the default's regret minus the rival's.
        error: Its standard error.
        p: The probability of such an excess if there were none (one-sided paired t test).
        rank: The rank of the default, 1 for the least mean regret; equal ones share the mean of their ranks.
    """

    space: str
    trials: int
    means: Mapping[str, float]
    rival: str
    excess: float
    error: float
    p: float
    rank: float

    @property
    def is_close(self) -> bool:
        """Whether the default is better, or worse by at most one standard error."""
        return self.excess <= self.error + 1e-12


def compare(space: str, trials: int, regrets: Mapping[str, np.ndarray], default: str) -> Cell:
    """The cell of these regrets, one for each seed, by contestant."""
    from scipy import stats

    means = {name: float(values.mean()) for name, values in regrets.items()}
    others = {name: mean for name, mean in means.items() if name != default}
    rival = min(others, key=others.__getitem__)
    differences = regrets[default] - regrets[rival]
    excess, count = float(differences.mean()), len(differences)
    error = float(differences.std(ddof=1) / math.sqrt(count)) if count > 1 else 0.0
    p = float(stats.t.sf(excess / error, count - 1)) if error > 0 else float(excess <= 0)
    rounded = [round(mean, 9) for mean in means.values()]
    rank = float(stats.rankdata(rounded)[list(means).index(default)])
    return Cell(space, trials, means, rival, excess, error, p, rank)


def significant(ps: Sequence[float], level: float = 0.05) -> list[bool]:
    """Which of several probabilities are significant by Holm's method (Scandinavian Journal of Statistics, 1979)."""
    found = [False] * len(ps)
    for step, place in enumerate(np.argsort(ps, kind="stable")):
        if ps[place] > level / (len(ps) - step):
            break
        found[place] = True
    return found


Regrets = Mapping[str, Mapping[str, np.ndarray]]  # by space and contestant: [seeds, numbers of trials]


def chosen_without(space: str, regrets: Regrets, variants: Sequence[str]) -> str:
    """The variant with the least relative regret on all other spaces; the first one where there are none."""

    def relative(other: str, name: str) -> float:
        means = {known: values.mean(axis=0) for known, values in regrets[other].items()}
        rivals = [means[known] for known in means if known not in variants]
        unit = means["random"] if "random" in means else np.mean(rivals, axis=0)
        return float(np.mean(means[name] / np.maximum(unit, 1e-9)))

    others = [other for other in regrets if other != space]
    return min(variants, key=lambda name: sum(relative(other, name) for other in others))


def print_table(cells: Mapping[str, Sequence[Cell]], names: Sequence[str]) -> None:
    """One line for each cell, with the marks of the last of those that are compared; then what they come to.

    Args:
        cells: The cells of each of those that are compared with the others.
        names: The others.
    """
    last = list(cells)[-1]
    worse = significant([cell.p for cell in cells[last]])
    width = max(len(cell.space) for cell in cells[last]) + 1
    columns = [*cells, *names]
    titles = "".join(f"{name[:11]:>12}" for name in columns)
    print(f"{'mean regret':<{width}}{'trials':>6}{titles}   excess (s.e.)")
    for place, (cell, is_worse) in enumerate(zip(cells[last], worse, strict=True)):
        means = [cells[name][place].means[name] for name in cells] + [cell.means[name] for name in names]
        line = f"{cell.space:<{width}}{cell.trials:>6}" + "".join(f"{mean:>12.4f}" for mean in means)
        mark = "  LOST" if is_worse else "" if cell.is_close else "  behind"
        print(f"{line}   {cell.excess:+.4f} ({cell.error:.4f}) over {cell.rival}, rank {cell.rank:g}{mark}")
    for name, compared in cells.items():
        lost = sum(significant([cell.p for cell in compared]))
        close = sum(cell.is_close for cell in compared) / len(compared)
        print(f"\n{name}: in {lost} of {len(compared)} cells worse than the best other (Holm, 5 %)")
        print(f"{name}: in {close:.0%} within one standard error, or better")
        ranks = ", ".join(f"{known} {rank:.2f}" for known, rank in _mean_ranks(compared, [name, *names]))
        print(f"mean rank: {ranks}")


def _mean_ranks(cells: Sequence[Cell], names: Sequence[str]) -> list[tuple[str, float]]:
    from scipy import stats

    ranks = np.mean([stats.rankdata([round(cell.means[name], 9) for name in names]) for cell in cells], axis=0)
    return sorted(zip(names, map(float, ranks), strict=True), key=lambda pair: pair[1])


def print_comparison(regrets: Regrets, at: Sequence[int], default: str, variants: Sequence[str]) -> None:
    """The table of these regrets, and which variant was chosen without each space."""
    chosen = {space: chosen_without(space, regrets, [default, *variants]) for space in regrets}
    names = [name for name in next(iter(regrets.values())) if name != default and name not in variants]

    def cell(space: str, place: int, name: str, shown_as: str) -> Cell:
        of = {shown_as: name} | {other: other for other in names}
        return compare(space, at[place], {key: regrets[space][of[key]][:, place] for key in of}, shown_as)

    places = [(space, place) for space in regrets for place in range(len(at))]
    cells = {default: [cell(space, place, default, default) for space, place in places]}
    if variants:
        cells[LEFT_OUT] = [cell(space, place, chosen[space], LEFT_OUT) for space, place in places]
    print_table(cells, names)
    for variant in (default, *variants) if variants else ():
        without = [space for space in regrets if chosen[space] == variant]
        print(f"chosen without these: {variant}: {', '.join(without) or 'none'}")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default="", help=f"folder of tables (default: beside the folder in {VARIABLE})")
    parser.add_argument("--spaces", help="comma-separated; default: the tables that are there and all landscapes")
    parser.add_argument("--contestants", default=",".join(CONTESTANTS))
    parser.add_argument("--variants", default=";".join(VARIANTS), help="the default with other settings; ';' between")
    parser.add_argument("--default", default=DEFAULT, help="whom the others are compared with")
    parser.add_argument("--seeds", type=int, default=20, help="seeds on landscapes")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them: others tell what chance did")
    parser.add_argument("--table-seeds", type=int, help="seeds on tables (default: 50, or as on landscapes if named)")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--at", default=",".join(map(str, AT)), help="numbers of trials")
    parser.add_argument("--results", help="a JSON file that keeps finished studies, so that a second call continues")
    parser.add_argument("--again", default="", help="comma-separated contestants whose kept results are forgotten")
    parser.add_argument("--quick", action="store_true", help="10 seeds, 5 landscapes and no table")
    options = parser.parse_args(arguments)
    options.again = options.again.split(",")
    datasets = os.environ.get(VARIABLE)
    if not options.tables and datasets:
        options.tables = str(pathlib.Path(datasets).resolve().parent / "nas_tables")
    return options


def spaces(options: argparse.Namespace) -> list[str]:
    """The spaces that are asked for."""
    if options.spaces:
        return list(options.spaces.split(","))
    if options.quick:
        return list(QUICK_LANDSCAPES)
    found = [pathlib.Path(name).stem for name in KNOWN if (pathlib.Path(options.tables or ".") / name).is_file()]
    noisy = [name + ONE_RUN for name in found if f"{name}.csv" in MEASURED_THRICE]
    return [*found, *noisy, *LANDSCAPES]


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.quick:
        options.seeds = options.table_seeds = 10
    variants = [name for name in options.variants.split(";") if name]
    names, at = [*options.contestants.split(","), *variants], tuple(int(count) for count in options.at.split(","))
    asked = spaces(options)
    unknown = [name for name in asked if name not in LANDSCAPES and f"{name.partition(':')[0]}.csv" not in KNOWN]
    if unknown:
        sys.exit(f"unknown spaces: {', '.join(unknown)}; there are {', '.join(LANDSCAPES)} and {', '.join(KNOWN)}")
    if options.default not in names or not set(names) - {options.default, *variants}:
        sys.exit(f"contestants are {', '.join(names)}; expected {options.default} and one that it is compared with")
    counts = {space: options.seeds if space in LANDSCAPES else options.table_seeds or 50 for space in asked}
    first = options.first_seed
    seeds = {space: range(first, first + count) for space, count in counts.items()}
    jobs = [Job(space, name, seed, at) for space in asked for seed in seeds[space] for name in names]
    started = time.monotonic()
    found = dict(zip(jobs, carry_out(jobs, options), strict=True))
    print(f"{len(jobs)} studies, {time.monotonic() - started:.0f} s")
    regrets = {
        space: {
            name: np.array([found[Job(space, name, seed, at)]["regret"] for seed in seeds[space]]) for name in names
        }
        for space in asked
    }
    print_comparison(regrets, at, options.default, variants)
    return 0


if __name__ == "__main__":
    sys.exit(main())
