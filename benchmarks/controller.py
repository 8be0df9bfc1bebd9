"""What does the memory of a REINFORCE controller bring?

    python benchmarks/controller.py --seeds 10

On made-up landscapes (`landscapes.py`) a search draws `--trials` towers with each `memory_weight`. Printed are means
over the seeds, with their standard errors, of

tried       Spearman's correlation of the controller's probabilities with the values, of the towers that were tried;
untried     the same of as many random towers that were not tried;
regret      how far the best tower is from the best there is, in standard deviations of all towers.

Only plans are made: nothing is trained.
"""

from __future__ import annotations

import argparse
import math
import statistics

import numpy as np
from landscapes import LANDSCAPES, Landscape, digits
from nas_study import block

from model_search.report.one_shot import spearman
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.algorithms.reinforce import Reinforce
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.testing.pretended_studies import run_study

WEIGHTS = (0.0, 0.01, 0.03, 0.1, 0.3)
FIGURES = ("tried", "untried", "regret")


def searched(space: Landscape, seed: int, weight: float, trials: int) -> dict[str, float]:
    """The figures of a search; a correlation that is not defined is NaN."""
    if space.table is None:
        raise ValueError("expected a landscape with a table")
    spec = space.spec("reinforce")
    spec.reinforce.memory_weight = weight
    settings = PlannerSettings(seed=seed, train_steps=10, batch_size=10, sampler="random")
    history = run_study(Planner(spec, settings, "loss", "minimize"), trials, lambda plan: -space.value(plan))
    algorithm = make_algorithm(spec)
    if not isinstance(algorithm, Reinforce):
        raise TypeError(f"the controller is a {type(algorithm).__name__}")
    values = {digits(trial.plan): -history.loss(trial) for trial in history.completed}
    rng, others = np.random.default_rng(seed), {}
    while len(others) < trials:
        network = tuple(int(rng.integers(size)) for size in space.table.shape)
        if network not in values:
            others[network] = float(space.table[network])
    return {
        "tried": _correlation(algorithm, history, values),
        "untried": _correlation(algorithm, history, others),
        "regret": float((space.best - max(values.values())) / space.table.std()),
    }


def _correlation(algorithm: Reinforce, history: History, values: dict[tuple[int, ...], float]) -> float:
    towers = [tuple(block(str(digit)) for digit in network) for network in values]
    pairs = zip(algorithm.log_probabilities(history, towers), values.values(), strict=True)
    found = spearman([(float(one), other) for one, other in pairs])
    return math.nan if found is None else found.value


def main() -> None:
    """Reads the flags and prints a line for each landscape and weight."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--landscapes", default="additive,nk1,nk3", help="names with tables, with commas")
    options = parser.parse_args()
    for name in options.landscapes.split(","):
        for weight in WEIGHTS:
            found = [
                searched(LANDSCAPES[name](seed), seed, weight, options.trials) for seed in range(1, options.seeds + 1)
            ]
            texts = []
            for what in FIGURES:
                values = [figures[what] for figures in found]
                error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
                texts.append(f"{what} {statistics.mean(values):.3f} +- {error:.3f}")
            print(f"{name}, memory_weight {weight:g}: {', '.join(texts)} ({options.seeds} seeds)", flush=True)


if __name__ == "__main__":
    main()
