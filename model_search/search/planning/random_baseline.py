"""What random search would have been expected to reach in this study, from its random trials."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from model_search.errors import UserError
from model_search.search.history.history import History


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
    """

    trials: int
    budget: int
    expected: float
    at_most: float

    @property
    def is_certain(self) -> bool:
        """Whether there are as many random trials as the budget, so that `expected` needs no guess."""
        return self.trials >= self.budget


def random_baseline(history: History, budget: int) -> Baseline | None:
    """The expected best of `budget` random trials; None where the study has fewer than two.

    Reference for the estimate: Dodge et al., "Show Your Work: Improved Reporting of Experimental Results", EMNLP 2019.

    Args:
        history: The study's trials; those whose plan is marked as random are the sample.
        budget: Number of random trials, at least 1.

    Raises:
        UserError: if the budget is below 1.
    """
    if budget < 1:
        raise UserError(f"the budget is {budget} trials; expected at least 1")
    sample = [
        trial.objective(history.metric) for trial in history.completed if trial.plan is not None and trial.plan.random
    ]
    if len(sample) < 2:
        return None
    objective = history.ranking.objective
    losses = objective.losses(sample)
    expected = _mean_of_last(np.sort(losses)[::-1], budget)
    normal = float(np.median(losses) - _better_half(losses) * _normal_best(budget))
    return Baseline(len(sample), budget, objective.from_loss(expected), objective.from_loss(min(expected, normal)))


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
