"""How many trials fail where one block of a search space can never be built, for every search algorithm.

    python benchmarks/failures.py [--trials 60] [--seeds 20] [--blocks 8] [--depths 2-5] [--searches NAME,NAME]

Training is simulated: a trial whose architecture has the block fails, every other one completes with a loss that
depends on its blocks. Prints the median and the most failures over the seeds; the goal is at most 4 and at most 8 of
60 trials with one block of eight. A study ends early where ten trials in a row fail, as in a real search.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np

from model_search.errors import SpaceExhaustedError, StopStudyError
from model_search.metadata.trial import Trial, TrialPlan, TrialResult, TrialState
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.spec.searches import SEARCHES
from model_search.trainers.worker import MAX_FAILURES_IN_A_ROW

BLOCKS = (
    "FULLY_CONNECTED", "FULLY_CONNECTED_PYRAMID", "LOWRANK_1", "LOWRANK_2", "BOTTLENECK_32", "BOTTLENECK_64",
    "IDENTITY", "FIXED_OUTPUT_FULLY_CONNECTED_128",
)  # fmt: skip
MEDIAN_GOAL, MOST_GOAL = 4, 8


def pretend(plan: TrialPlan, bad: str, values: dict[str, float]) -> Trial:
    """The trial as it has ended."""
    if bad in plan.architecture:
        return Trial(plan.trial_id, TrialState.FAILED, 1, plan.trial_id, "w", plan)
    loss = sum(values[block] for block in plan.architecture) / len(plan.architecture)
    loss += 0.05 * float(np.random.default_rng(plan.seed).standard_normal())
    result = TrialResult({"loss": loss}, 1, plan.steps, {})
    return Trial(plan.trial_id, TrialState.COMPLETED, 1, plan.trial_id, "w", plan, result)


def failures(spec: PhoenixSpec, seed: int, trials: int) -> int:
    """How many trials of a study fail.

    Raises:
        StopStudyError: if ten trials in a row do.
    """
    rng = np.random.default_rng(seed)
    bad = str(rng.choice(list(spec.blocks_to_use)))
    # By its neighbours, the bad block would seem a good one.
    values = {block: float(value) for block, value in zip(spec.blocks_to_use, rng.random(len(BLOCKS)), strict=False)}
    planner = Planner(spec, PlannerSettings(seed, 1000, 32, number_models=trials), "loss", "minimize")
    history, in_a_row, failed = History("loss", "minimize"), 0, 0
    for trial_id in range(1, trials + 1):
        try:
            plan = planner.plan(trial_id, history)
        except SpaceExhaustedError:
            break
        trial = pretend(plan, bad, values)
        history.update([trial])
        has_failed = trial.state == TrialState.FAILED
        in_a_row = in_a_row + 1 if has_failed else 0
        failed += has_failed
        if in_a_row >= MAX_FAILURES_IN_A_ROW:
            raise StopStudyError(f"seed {seed}: {in_a_row} trials in a row have failed")
    return failed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--depths", default="1-4", help="minimum_depth-maximum_depth")
    parser.add_argument("--searches", default="", help="comma-separated; all when absent")
    options = parser.parse_args(arguments)
    low, high = map(int, options.depths.split("-"))
    reached = True
    for name in options.searches.split(",") if options.searches else SEARCHES:
        spec = PhoenixSpec(search=name, minimum_depth=low, maximum_depth=high, beam_size=3)
        spec.blocks_to_use.extend(BLOCKS[: options.blocks])
        started = time.perf_counter()
        counts = [failures(spec, seed, options.trials) for seed in range(options.seeds)]
        seconds = (time.perf_counter() - started) / options.seeds
        median, most = statistics.median(counts), max(counts)
        good = median <= MEDIAN_GOAL and most <= MOST_GOAL
        reached &= good
        verdict = "reaches" if good else "MISSES"
        print(
            f"{name:<42} median {median:4.1f}  most {most:3d}  {seconds:5.1f} s a study   {verdict} the goal",
            flush=True,
        )
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
