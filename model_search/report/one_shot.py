"""How well shared weights rank architectures, and what a search with them has brought against random architectures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from model_search.cells import canonical
from model_search.metadata.trial import Trial
from model_search.ranking import Objective
from model_search.report.leaderboard import seconds_of
from model_search.report.numbers import duration, figure
from model_search.search.algorithms.one_shot import compared
from model_search.search.history.history import History
from model_search.search.space.architecture import body_of

LEAST_PAIRS = 4
_RESAMPLES = 2000
_LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of some pairs, with a 95 % interval by resampling them."""

    value: float
    low: float
    high: float
    pairs: int


@dataclasses.dataclass(frozen=True)
class SharedWeightsFacts:
    """A search with shared weights.

    Attributes:
        method: How its paths were chosen.
        candidates: How many architectures were compared.
        seconds: Of the supernet: its training, and the comparison.
        correlation: Of shared and standalone values; None where too few architectures were trained from scratch.
        found: Standalone values of the trials that shared weights have chosen, best of the candidates first.
        random: Those of random architectures.
        seconds_alone: The mean of a training from scratch; None where there was none.
        objective: By which values are compared.
    """

    method: str
    candidates: int
    seconds: float
    correlation: Correlation | None
    found: tuple[float, ...]
    random: tuple[float, ...]
    seconds_alone: float | None
    objective: Objective

    @property
    def at_equal_cost(self) -> float | None:
        """How many random architectures the supernet, its comparisons and one training from scratch would train."""
        return None if not self.seconds_alone else 1 + self.seconds / self.seconds_alone

    @property
    def random_at_equal_cost(self) -> float | None:
        """The expected best value of so many random architectures; None where too few were trained to tell."""
        if self.at_equal_cost is None or len(self.random) < LEAST_PAIRS:
            return None
        return expected_best(self.random, self.at_equal_cost, self.objective)


def shared_weights(history: History) -> SharedWeightsFacts | None:
    """What is known of the supernet of a study; None where it has none that has compared architectures."""
    last = compared(history)
    if last is None or last.plan is None or last.plan.supernet is None or last.result is None:
        return None
    space = last.plan.supernet
    shared = {canonical(space.architecture_of(c.choices)): c.value for c in last.result.candidates}
    trained = [trial for trial in history.completed if _is_from_scratch(trial)]
    values = {trial.id: (_shared_of(trial, shared), history.value(trial)) for trial in trained}
    pairs = [(one, other) for one, other in values.values() if one is not None]
    loss = history.ranking.objective.loss
    chosen = [pair for trial in trained for pair in [values[trial.id]] if not _is_random(trial) and pair[0] is not None]
    seconds = [seconds_of(trial.result) for trial in trained if trial.result is not None]
    return SharedWeightsFacts(
        method=space.method,
        candidates=len(last.result.candidates),
        seconds=sum(seconds_of(trial.result) for trial in history.supernets.values() if trial.result is not None),
        correlation=spearman(pairs),
        found=tuple(value for _, value in sorted(chosen, key=lambda pair: loss(pair[0]))),
        random=tuple(values[trial.id][1] for trial in trained if _is_random(trial)),
        seconds_alone=float(np.mean(seconds)) if seconds else None,
        objective=history.ranking.objective,
    )


def expected_best(values: Sequence[float], draws: float, objective: Objective) -> float:
    """The mean of the best of so many values that are drawn from these, with replacement.

    It cannot be better than the best of them: for many draws it is an estimate from below.
    """
    ordered = np.sort([objective.loss(value) for value in values])[::-1]  # the worst first
    shares = np.arange(len(ordered) + 1) / len(ordered)
    return objective.from_loss(float(np.dot(np.diff(shares**draws), ordered)))


def spearman(pairs: Sequence[tuple[float, float]]) -> Correlation | None:
    """Spearman's correlation with its interval; None for fewer than four pairs, or where one side is constant."""
    from scipy.stats import rankdata

    if len(pairs) < LEAST_PAIRS:
        return None
    table = np.array(pairs, dtype=np.float64)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(table), (_RESAMPLES, len(table)))
    rows = np.concatenate([np.arange(len(table))[None], drawn])
    ranks = [rankdata(table[rows, column], axis=1) for column in (0, 1)]
    one, other = (found - found.mean(axis=1, keepdims=True) for found in ranks)
    spread = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    if not spread[0]:
        return None
    values = (one * other).sum(axis=1)[spread > 0] / spread[spread > 0]
    low, high = np.quantile(values[1:], [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Correlation(float(values[0]), float(low), float(high), len(pairs))


def in_sentences(facts: SharedWeightsFacts, metric: str) -> list[str]:
    """The same for people."""
    each = facts.seconds / max(facts.candidates, 1)
    lines = [
        f"A {facts.method} supernet was trained and compared {facts.candidates} architectures in "
        f"{duration(facts.seconds)}: {each:.2g} s for each."
    ]
    if facts.seconds_alone:
        lines[0] += (
            f" A training from scratch took {duration(facts.seconds_alone)}, {facts.seconds_alone / each:.3g} times as "
            f"long; the whole supernet took as long as {facts.seconds / facts.seconds_alone:.3g} of them."
        )
    found = facts.correlation
    if found is None:
        lines.append("Too few of them were trained from scratch to tell how well shared weights rank architectures.")
    else:
        lines.append(
            f"Shared weights rank {found.pairs} architectures that were trained from scratch, too, with a Spearman "
            f"correlation of {found.value:.2f} (95 % interval {found.low:.2f} to {found.high:.2f}) of the validation "
            f"{metric}; 1 is the same order, 0 is none."
        )
    if facts.random and facts.found:
        lines.append(_against_random(facts, metric))
    return lines


def _against_random(facts: SharedWeightsFacts, metric: str) -> str:
    random = np.array(facts.random)
    spread = f" with a standard deviation of {figure(float(random.std(ddof=1)))}" if len(random) > 1 else ""
    line = (
        f"The best candidate reached a validation {metric} of {figure(facts.found[0])} when trained from scratch; "
        f"{len(random)} random architectures reached {figure(float(random.mean()))} in the mean{spread}, from "
        f"{figure(float(random.min()))} to {figure(float(random.max()))}."
    )
    if facts.at_equal_cost is None:
        return line
    line += f" At equal cost random search would have trained {facts.at_equal_cost:.3g} architectures"
    best = facts.random_at_equal_cost
    if best is None:
        return f"{line}."
    by = len(facts.random)
    return f"{line}, the best of which would have reached {figure(best)}, as far as {by} random ones tell."


def _is_from_scratch(trial: Trial) -> bool:
    plan = trial.plan
    return plan is not None and plan.trains_one_tower_in_full and plan.start is None


def _is_random(trial: Trial) -> bool:
    return trial.plan is not None and trial.plan.random


def _shared_of(trial: Trial, shared: dict[tuple[str, ...], float]) -> float | None:
    return None if trial.plan is None else shared.get(canonical(body_of(trial.plan.architecture)))
