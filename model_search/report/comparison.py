"""Families of blocks compared: figures with intervals, in words, as a table and as a page. No study is read."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from model_search.errors import UserError
from model_search.ranking import Goal
from model_search.report.html import write_page

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95
PAGE = "comparison.html"


@dataclasses.dataclass(frozen=True)
class Interval:
    """A figure and where it most likely lies; without limits where there are too few figures to say."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class TowerScores:
    """A tower of a family, trained again.

    Attributes:
        blocks: Its blocks, input to output.
        trial: The trial of the family's search that found it.
        scores: The metric of each training.
    """

    blocks: tuple[str, ...]
    trial: int
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean of its trainings."""
        return float(np.mean(self.scores))


@dataclasses.dataclass(frozen=True)
class FamilyScores:
    """A family of blocks.

    Attributes:
        name: Its name.
        blocks: The blocks that its search could use.
        trials: Trials of its search.
        towers: The best of them, trained again.
    """

    name: str
    blocks: tuple[str, ...]
    trials: int
    towers: tuple[TowerScores, ...]

    @property
    def means(self) -> np.ndarray:
        """The mean of each tower, float64 [towers]; towers, not single trainings, are what varies independently."""
        return np.array([tower.mean for tower in self.towers])

    @property
    def interval(self) -> Interval:
        """The mean over its towers with Student's 95 % interval."""
        means = self.means
        return _around(float(means.mean()), _variance_of_mean(means), len(means) - 1)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What a comparison of families found.

    Attributes:
        metric: Name of the metric.
        goal: "minimize" or "maximize".
        rows: On which rows, in words.
        families: The families.
    """

    metric: str
    goal: str
    rows: str
    families: tuple[FamilyScores, ...]

    @property
    def ranked(self) -> tuple[FamilyScores, ...]:
        """The families, the one with the best mean first."""
        sign = -1 if Goal.of(self.goal) is Goal.MAXIMIZE else 1
        return tuple(sorted(self.families, key=lambda family: sign * family.interval.value))

    def difference(self, first: FamilyScores, second: FamilyScores) -> Interval:
        """The difference of two families' means with Welch's 95 % interval."""
        parts = [(_variance_of_mean(family.means), len(family.means) - 1) for family in (first, second)]
        variance = sum(part for part, _ in parts)
        squares = sum(part**2 / degrees if degrees else math.nan for part, degrees in parts)
        degrees = variance**2 / squares if squares else min(degrees for _, degrees in parts)
        return _around(first.interval.value - second.interval.value, variance, degrees)

    def can_tell(self, first: FamilyScores, second: FamilyScores) -> bool:
        """Whether the interval of their difference leaves 0 out."""
        found = self.difference(first, second)
        return found.low > 0 or found.high < 0

    def sentences(self) -> list[str]:
        """What can be said: one sentence for each pair of families, the better one first."""
        found = []
        for better, other in itertools.combinations(self.ranked, 2):
            apart = self.difference(better, other)
            figures = f"{apart.value:+.4f}, 95 % interval {apart.low:+.4f} to {apart.high:+.4f}"
            if math.isnan(apart.low):
                found.append(f"{better.name} or {other.name}: cannot tell, one tower each says nothing of the spread.")
            elif self.can_tell(better, other):
                found.append(f"{better.name} is better than {other.name} ({figures}).")
            else:
                found.append(f"{better.name} or {other.name}: cannot tell ({figures}).")
        return found

    def frame(self) -> pd.DataFrame:
        """One row per family, the best first: family, the metric's name, low, high, towers, trainings, trials."""
        import pandas as pd

        rows = [
            {
                "family": family.name,
                self.metric: family.interval.value,
                "low": family.interval.low,
                "high": family.interval.high,
                "towers": len(family.towers),
                "trainings": sum(len(tower.scores) for tower in family.towers),
                "trials": family.trials,
            }
            for family in self.ranked
        ]
        return pd.DataFrame(rows)

    def report(self, path: str | os.PathLike[str]) -> pathlib.Path:
        """Writes a page with the figures, as one self-contained HTML file.

        Args:
            path: The file to make, or a folder for a "comparison.html".

        Raises:
            UserError: if it cannot be written there.
        """
        target = pathlib.Path(path)
        return write_page("comparison.html", self._shown(), target / PAGE if target.is_dir() else target)

    def _shown(self) -> dict[str, object]:
        """What the template reads; intervals are drawn on a scale from 0 to 600."""
        ends = [end for family in self.families for end in _drawn(family)]
        low, high = min(ends), max(ends)

        def place(value: float) -> float:
            return round(600 * (value - low) / (high - low), 1) if high > low else 300.0

        return {
            "metric": self.metric,
            "goal": self.goal,
            "rows": self.rows,
            "sentences": self.sentences(),
            "low": low,
            "high": high,
            "families": [
                {
                    "name": family.name,
                    "interval": family.interval,
                    "places": [place(end) for end in (min(_drawn(family)), family.interval.value, max(_drawn(family)))],
                    "marks": [place(score) for tower in family.towers for score in tower.scores],
                    "towers": family.towers,
                    "trials": family.trials,
                    "blocks": family.blocks,
                }
                for family in self.ranked
            ],
        }

    def __str__(self) -> str:
        table = self.frame().to_string(index=False, float_format="{:.4f}".format)
        return "\n".join([f"{self.metric} on {self.rows}, mean of the best towers:", table, *self.sentences()])


def _drawn(family: FamilyScores) -> list[float]:
    """What has to be on the scale: every training and the limits that are known."""
    found = [score for tower in family.towers for score in tower.scores]
    return found + [end for end in (family.interval.low, family.interval.high) if math.isfinite(end)]


def _variance_of_mean(values: np.ndarray) -> float:
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else math.nan


def _around(value: float, variance: float, degrees: float) -> Interval:
    from scipy import stats

    if not (degrees > 0 and variance >= 0):
        return Interval(value, math.nan, math.nan)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees)) * math.sqrt(variance)
    return Interval(value, value - half, value + half)


def checked_families(families: object) -> dict[str, tuple[str, ...]]:
    """Families as a dict of blocks.

    Raises:
        UserError: if there are fewer than two, or one has no blocks.
    """
    if not isinstance(families, dict) or len(families) < 2:
        raise UserError('families are expected as a dict of at least two lists of blocks, {"lstm": ["LSTM_64"], ...}')
    for name, blocks in families.items():
        if not isinstance(name, str) or isinstance(blocks, str) or not isinstance(blocks, Sequence) or not blocks:
            raise UserError(f"family {name!r} is {blocks!r}; expected a list of names of blocks")
    return {name: tuple(blocks) for name, blocks in families.items()}
