"""What random search would have been expected to reach in this study, from its random trials."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from model_search.errors import UserError
from model_search.metadata.trial import TrialPlan
from model_search.search.history.history import History

_LEAST = 2  # random trials of which the expected best is estimated


@dataclasses.dataclass(frozen=True)
class Baseline:
    """The expected best of `budget` random trials, on the scale of the study's metric.

    Attributes:
        trials: Random trials that it is estimated from.
        budget: Random trials that it speaks of.
        expected: The mean of the best of `budget` draws from those trials, with replacement. It cannot be better than
            the best of them, and so says too little where the budget is larger than their number.
        at_most: The same for a normal distribution about their median, as wide as the better half of them: metrics
            level off towards their best, so that this says too much rather than too little, and one trial that went
            astray does not count. `expected` where that is better.
        steps: How long those trials were trained; None where they were trained in full.
    """

    trials: int
    budget: int
    expected: float
    at_most: float
    steps: int | None = None

    @property
    def is_certain(self) -> bool:
        """Whether there are as many random trials as the budget, so that `expected` needs no guess."""
        return self.trials >= self.budget


def sampled_steps(history: History) -> int | None:
    """How long the random trials that say most were trained; None where that is in full.

    Those that were trained in full say most. Where there are fewer than two, those of the most frequent shorter
    training do, unless there are fewer than two of them, too.
    """
    plans = [trial.plan for trial in history.completed if trial.plan is not None and trial.plan.random]
    if sum(plan.is_in_full for plan in plans) >= _LEAST:
        return None
    steps, count = next(iter(Counter(plan.steps for plan in plans if not plan.is_in_full).most_common(1)), (0, 0))
    return steps if count >= _LEAST else None


def random_baseline(history: History, budget: int, steps: int | None = None) -> Baseline | None:
    """The expected best of `budget` random trials; None where the study has fewer than two.

    Reference for the estimate: Dodge et al., "Show Your Work: Improved Reporting of Experimental Results", EMNLP 2019.

    Args:
        history: The study's trials; those whose plan is marked as random are the sample.
        budget: Number of random trials, at least 1.
        steps: The sample is those that were trained for so many steps; those trained in full where None.

    Raises:
        UserError: if the budget is below 1.
    """
    if budget < 1:
        raise UserError(f"the budget is {budget} trials; expected at least 1")
    sample = [
        trial.objective(history.metric)
        for trial in history.completed
        if trial.plan is not None and trial.plan.random and trained_for(trial.plan, steps)
    ]
    if len(sample) < _LEAST:
        return None
    objective = history.ranking.objective
    losses = objective.losses(sample)
    expected = _mean_of_last(np.sort(losses)[::-1], budget)
    normal = float(np.median(losses) - _better_half(losses) * _normal_best(budget))
    limits = objective.from_loss(expected), objective.from_loss(min(expected, normal))
    return Baseline(len(sample), budget, *limits, steps)


def trained_for(plan: TrialPlan, steps: int | None) -> bool:
    """Whether a tower was trained for so many steps from its beginning; in full where None."""
    return plan.is_in_full if steps is None else plan.is_searched and plan.steps == steps and not plan.first_step


def expected_best(values: Sequence[float], draws: int) -> float:
    """The mean of the greatest of `draws` draws from these values, with replacement."""
    return _mean_of_last(np.sort(np.asarray(values, dtype=float)), draws)


def _mean_of_last(ordered: np.ndarray, draws: int) -> float:
    """The mean, over `draws` draws with replacement from values in this order, of the drawn one that comes last."""
    reached = (np.arange(len(ordered) + 1) / len(ordered)) ** draws
    return float(ordered @ np.diff(reached))


def _better_half(losses: np.ndarray) -> float:
    """The standard deviation by the losses below the median alone."""
    gains = np.median(losses) - losses
    better = gains[gains > 0]
    if not len(better):
        return 0.0
    return float(np.sqrt((better**2).mean() * len(losses) / (len(losses) - 1)))


def _normal_best(draws: int) -> float:
    """The mean of the greatest of `draws` standard normal numbers: the integral of its quantiles."""
    from scipy.special import ndtri

    # The greatest one has the distribution function F^draws; its quantiles at the middles of equal shares.
    shares = (np.arange(2000) + 0.5) / 2000
    return float(np.mean(ndtri(shares ** (1 / draws))))
