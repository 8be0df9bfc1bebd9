"""Comparison of metrics, trials and final models: the only module that knows whether less or more is better.

An `Objective` compares values of one metric. A `Ranking` compares whole entries: trials and final models. The history,
the planner, evaluation schedules, the leaderboard and the study ask it, so that another way to compare (several
metrics, for instance) is one more subclass of `Ranking`.

Missing values are treated the same everywhere: None, NaN and infinities are worse than every finite number, and none of
them is better than another one.
"""

from __future__ import annotations

import abc
import bisect
import dataclasses
import enum
import math
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from model_search.errors import UserError


class Goal(enum.StrEnum):
    """Whether less or more of a metric is better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"

    @classmethod
    def of(cls, goal: str | None) -> Goal:
        """The goal of that name.

        Raises:
            UserError: if there is none.
        """
        try:
            return cls(str(goal))
        except ValueError:
            raise UserError(f"goal is {goal!r}; expected 'minimize' or 'maximize'") from None


@dataclasses.dataclass(frozen=True)
class Objective:
    """A metric and its goal.

    Attributes:
        metric: The metric's name.
        goal: Given as a `Goal` or as its text.
    """

    metric: str
    goal: Goal
    _sign: float = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "goal", Goal.of(self.goal))
        object.__setattr__(self, "_sign", 1.0 if self.less_is_better else -1.0)

    def __str__(self) -> str:
        return f"{self.goal} {self.metric}"

    @property
    def less_is_better(self) -> bool:
        """Whether the metric is minimised: for words and drawings, not for comparisons."""
        return self.goal is Goal.MINIMIZE

    def loss(self, value: float | None) -> float:
        """The value as a loss, so that less is better; infinite where it is missing."""
        return self._sign * value if value is not None and math.isfinite(value) else math.inf

    def losses(self, values: ArrayLike) -> np.ndarray:
        """As `loss`, of every element: float64, in the shape of the values."""
        given = np.asarray(values, dtype=np.float64)
        return np.where(np.isfinite(given), self._sign * given, np.inf)

    def from_loss(self, loss: float) -> float:
        """The value that has this loss."""
        return self._sign * loss

    def error(self, value: float) -> float | None:
        """How far a value is from the best possible one: 0 of what is minimised, 1 of what is maximised.

        None for a value beyond that: such a metric has other bounds, or none.
        """
        found = value if self.less_is_better else 1 - value
        return found if found >= 0 else None

    def better(self, value: float | None, than: float | None) -> bool:
        """Whether a value is strictly better than another one."""
        return self.loss(value) < self.loss(than)

    def best(self, values: Iterable[float | None]) -> float | None:
        """The best of the finite values; None where there is none."""
        loss = min(map(self.loss, values), default=math.inf)
        return self.from_loss(loss) if math.isfinite(loss) else None


class HasMetrics(Protocol):
    """An entry that can be ranked: a trial or a final model."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Validation metrics by name; empty where there are none."""


Entry = TypeVar("Entry", bound=HasMetrics)


class Ranking(abc.ABC):
    """Compares trials and final models. Immutable; two rankings that compare alike are equal.

    A subclass defines `objective`, `order` and `better`, and `metrics` where it reads more than the objective's.
    """

    @property
    @abc.abstractmethod
    def objective(self) -> Objective:
        """The metric that represents the ranking where one number is needed: for predictors, curves and plots."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that it reads."""
        return (self.objective.metric,)

    @abc.abstractmethod
    def order(self, entries: Iterable[Entry]) -> list[Entry]:
        """All entries, best first; only entries that `can_rank` accepts are given.

        Equal trials are in the order of their ids; final models, which have none, after them in the given order.
        """

    @abc.abstractmethod
    def better(self, one: HasMetrics, than: HasMetrics) -> bool:
        """Whether one entry is strictly better than another one."""

    def can_rank(self, entry: HasMetrics) -> bool:
        """Whether the entry has a finite value of every metric that the ranking reads."""
        return all(math.isfinite(entry.metrics.get(name, math.nan)) for name in self.metrics)

    def insert(self, ranked: list[Entry], entry: Entry) -> None:
        """Inserts an entry that `can_rank` accepts into a sorted list.

        It sorts the whole list again. A ranking in which entries are compared independently can do it faster.
        """
        ranked[:] = self.order([*ranked, entry])


@dataclasses.dataclass(frozen=True)
class MetricRanking(Ranking):
    """The better value of one metric comes first.

    Attributes:
        by: The metric and its goal.
    """

    by: Objective

    @property
    def objective(self) -> Objective:
        """See `Ranking`."""
        return self.by

    def __str__(self) -> str:
        return str(self.by)

    def order(self, entries: Iterable[Entry]) -> list[Entry]:
        """See `Ranking`."""
        return sorted(entries, key=self._key)

    def better(self, one: HasMetrics, than: HasMetrics) -> bool:
        """See `Ranking`."""
        return self.by.better(one.metrics.get(self.by.metric), than.metrics.get(self.by.metric))

    def insert(self, ranked: list[Entry], entry: Entry) -> None:
        """See `Ranking`."""
        bisect.insort(ranked, entry, key=self._key)

    def can_rank(self, entry: HasMetrics) -> bool:
        """See `Ranking`."""
        return math.isfinite(entry.metrics.get(self.by.metric, math.nan))

    def _key(self, entry: HasMetrics) -> tuple[float, float]:
        return self.by.loss(entry.metrics.get(self.by.metric)), tie_break(entry)


def tie_break(entry: HasMetrics) -> float:
    """The tie-breaker: a trial's id; infinite for entries without one."""
    return getattr(entry, "id", math.inf)


def as_ranking(metric: str | Ranking, goal: str | None = None) -> Ranking:
    """A ranking, or the one by a metric of that name.

    Args:
        metric: A metric's name, or a ranking.
        goal: "minimize" or "maximize" with a name; None with a ranking.

    Raises:
        UserError: if the goal is none, or does not go with a ranking.
    """
    if not isinstance(metric, Ranking):
        return MetricRanking(Objective(metric, Goal.of(goal)))
    if goal is not None:
        raise UserError(f"received a ranking and the goal {goal!r}; a ranking has its own goal: leave the other out")
    return metric
