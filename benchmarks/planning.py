"""What a trial costs besides its training, after 10,000 trials: planning, and the store's bookkeeping.

    python benchmarks/planning.py [--trials 10000] [--measured 200] [--spec specs/dnn_config.pbtxt]

Planning is measured for the plain beam, with the specification's own ensembles and distillation and with each other
kind of them; then for the default search, whose predictor proposes architecture and hyperparameters, after 1,000 trials
and after all, and in a space of 30 positions in three stages, 40 blocks at each, an identity among them. Plans are
measured in time of the processor, bookkeeping, which waits for the disk, in wall time. Losses are simulated (a random
number that falls with depth), so that the beam grows and moves as in a real search.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from model_search.blocks import catalogue
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import StudyRecord
from model_search.metadata.trial import Trial, TrialPlan, TrialResult, TrialState
from model_search.proto.distillation_spec_pb2 import DistillationSpec
from model_search.proto.ensembling_spec_pb2 import EnsemblingSpec
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec, Stage
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.spec.load import load_spec, to_text

GOAL_MS = 20.0
PREDICTOR_GOALS_MS = {1_000: 100.0, 10_000: 1_000.0}
PREDICTOR_MEASURED = 20
IDENTITY = "IDENTITY"
STOCK_SPEC = pathlib.Path(__file__).resolve().parent.parent / "specs" / "dnn_config.pbtxt"


class Planners(NamedTuple):
    """Who plans the trials behind the measured ones, and who plans those."""

    filling: Planner
    measured: Planner


def variants(spec: PhoenixSpec) -> Iterator[tuple[str, PhoenixSpec]]:
    """The specification as it is, then with other ensembles and students past a pool of 100 trials."""
    yield "as it is", spec
    for search in ("NONADAPTIVE", "ADAPTIVE", "RESIDUAL", "INTERMIXED_NONADAPTIVE"):
        for distils in (False, True):
            other = PhoenixSpec()
            other.CopyFrom(spec)
            other.ClearField("distillation_spec")
            kind = EnsemblingSpec.EnsembleSearchType.Value(f"{search}_ENSEMBLE_SEARCH")
            other.ensemble_spec.CopyFrom(EnsemblingSpec(ensemble_search_type=kind))
            if distils:
                other.distillation_spec.distillation_type = DistillationSpec.CROSS_ENTROPY
            yield f"{search.lower()}{', distillation' if distils else ''}", other


def result(plan: TrialPlan) -> TrialResult:
    loss = float(np.random.default_rng(plan.seed).random()) + 1 / max(len(plan.architecture), 1)
    curve = tuple((plan.steps * i // 5, loss + 1 / i) for i in range(1, 6))
    return TrialResult({"loss": loss, "accuracy": 1 - loss / 3}, 10_000, plan.steps, {"train": 1.0}, curve)


def planning_seconds(planners: Planners, trials: int, measured: int) -> list[float]:
    """Seconds of the processor for each of the last `measured` plans, with the history in memory."""
    history, seconds = History("loss", "minimize"), []
    for trial_id in range(1, trials + measured + 1):
        planner = planners.filling if trial_id <= trials else planners.measured
        started = time.process_time()
        plan = planner.plan(trial_id, history)
        seconds.append(time.process_time() - started)
        history.update([Trial(trial_id, TrialState.COMPLETED, 1, trial_id, "w", plan, result(plan))])
    return seconds[-measured:]


def spine_seconds(planners: Planners, store: SqliteStore, trials: int, measured: int) -> list[float]:
    """Seconds of the last `measured` whole trials without training: claim, history, plan, commit, complete, history."""
    history, revision, seconds = History("loss", "minimize"), 0, []
    for number in range(1, trials + measured + 1):
        planner = planners.filling if number <= trials else planners.measured
        started = time.perf_counter()
        claim = store.claim("w", trials + measured)
        if claim is None:
            raise RuntimeError("the store has no more trials")
        changed, revision = store.history(revision)
        history.update(changed)
        plan = planner.plan(claim.trial_id, history)
        store.commit_plan(claim, plan)
        store.complete(claim, result(plan))
        changed, revision = store.history(revision)
        history.update(changed)
        seconds.append(time.perf_counter() - started)
    return seconds[-measured:]


def searching_by(search_type: str, spec: PhoenixSpec) -> PhoenixSpec:
    """The same specification with another search."""
    other = PhoenixSpec()
    other.CopyFrom(spec)
    other.search = search_type
    return other


def long_towers() -> PhoenixSpec:
    """Towers of 30 positions in three stages, with 40 blocks at each, of which one changes nothing."""
    vectors = [info.name for info in map(catalogue.get, catalogue.names()) if info.writes_rank == 1]
    dense = [name for name in vectors if not (catalogue.get(name).has_own_place or name == IDENTITY)]
    spec = PhoenixSpec(search="PREDICTOR_GUIDED_BEAM", minimum_depth=30, maximum_depth=30, beam_size=5)
    spec.blocks_to_use.extend([*dense[:39], IDENTITY])
    spec.identity_blocks.append(IDENTITY)
    spec.stages.extend(Stage(first=first, last=first + 9) for first in range(0, 30, 10))
    return spec


def show(what: str, seconds: list[float], goal: float = GOAL_MS) -> bool:
    median = statistics.median(seconds) * 1e3
    p99 = float(np.percentile(seconds, 99)) * 1e3
    good = median < goal
    verdict = f"{'reaches' if good else 'MISSES'} the goal of {goal:g} ms"
    print(f"{what:<65} median {median:7.2f} ms   p99 {p99:7.2f} ms   {verdict}", flush=True)
    return good


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000, help="trials behind the measured ones")
    parser.add_argument("--measured", type=int, default=200, help="trials that are measured")
    parser.add_argument("--spec", default=str(STOCK_SPEC), help="specification of the search")
    options = parser.parse_args(arguments)
    given = load_spec(options.spec)
    spec = searching_by("ADAPTIVE_COORDINATE_DESCENT", given)

    def planner(spec: PhoenixSpec, sampler: str) -> Planner:
        return Planner(spec, PlannerSettings(0, 1000, 32, sampler), "loss", "minimize")

    def planners(sampler: str, spec: PhoenixSpec = spec) -> Planners:
        return Planners(planner(spec, "random"), planner(spec, sampler))

    print(f"{options.spec}: {options.measured} trials after {options.trials} others")
    counts = (options.trials, options.measured)
    reached = [
        show(f"planning, {sampler} sampler, {name}", planning_seconds(planners(sampler, variant), *counts))
        for name, variant in variants(spec)
        for sampler in ("random", "bayesian")
    ]
    guided = searching_by("PREDICTOR_GUIDED_BEAM", given)
    for most, goal in PREDICTOR_GOALS_MS.items():
        trials = min(most, options.trials)
        both = Planners(planner(spec, "random"), planner(guided, "auto"))
        seconds = planning_seconds(both, trials, PREDICTOR_MEASURED)
        reached.append(show(f"planning, default search, {trials:,} trials", seconds, goal))
    long, trials = long_towers(), min(1_000, options.trials)
    seconds = planning_seconds(
        Planners(planner(searching_by("REGULARIZED_EVOLUTION", long), "random"), planner(long, "auto")),
        trials,
        PREDICTOR_MEASURED,
    )
    reached.append(
        show(f"planning, default search, 30 positions, {trials:,} trials", seconds, PREDICTOR_GOALS_MS[1_000])
    )
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(pathlib.Path(folder) / "study.db")
        store.create_study(StudyRecord("planning", "", to_text(spec), "loss", "minimize", 0, "", {}, {}, {}))
        seconds = spine_seconds(planners("random"), store, *counts)
        reached.append(show("planning and bookkeeping, random sampler", seconds))
        store.close()
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
