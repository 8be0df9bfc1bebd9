"""Families of blocks compared: figures with intervals, in words, as a table and as a page; kept beside its studies."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.checked_json import damaged, need, read_record
from model_search.errors import ModelSearchError, UserError
from model_search.metadata import paths, study_folder
from model_search.ranking import Goal
from model_search.report.html import write_page

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95
PAGE = "comparison.html"
MOST_BYTES = 10_000_000  # of a comparison that is kept
LARGEST = 1e150  # score of such a comparison, whose square is a number, too
# Metrics from 0 to 1, by all names that they have.
SHARES = frozenset(
    {"accuracy", "acc", "auc", "auc_roc", "roc_auc", "auc_pr", "pr_auc", "average_precision", "f1", "balanced_accuracy"}
)


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
        return tuple(sorted(self.families, key=lambda family: sign * float(family.means.mean())))

    @property
    def is_share(self) -> bool:
        """Whether the metric lies between 0 and 1, and no interval may leave that range."""
        scores = [score for family in self.families for tower in family.towers for score in tower.scores]
        return self.metric in SHARES and all(0 <= score <= 1 for score in scores)

    def interval(self, family: FamilyScores) -> Interval:
        """The mean over a family's towers with Student's 95 % interval; of a share, on the scale of its logit."""
        means = family.means
        value, variance = float(means.mean()), _variance_of_mean(means)
        if not (self.is_share and 0 < value < 1 and variance > 0):
            found = _around(value, variance, len(means) - 1)
            # Means that hardly differ may have a mean of 0 or 1, by rounding.
            return _within(found, 0.0, 1.0) if self.is_share else found
        slope, centre = 1 / (value * (1 - value)), math.log(value / (1 - value))
        found = _around(centre, variance * slope * slope, len(means) - 1)
        return Interval(value, min(value, _expit(found.low)), max(value, _expit(found.high)))

    def difference(self, first: FamilyScores, second: FamilyScores) -> Interval:
        """The difference of two families' means with a 95 % interval.

        It is Welch's; of a share, the one that follows from the limits of both means (Newcombe 1998, Zou & Donner
        2008), which never leaves -1 to 1.
        """
        if self.is_share:
            one, other = self.interval(first), self.interval(second)
            value = one.value - other.value
            low = value - math.hypot(one.value - one.low, other.high - other.value)
            high = value + math.hypot(one.high - one.value, other.value - other.low)
            return _within(Interval(value, low, high), -1.0, 1.0)
        parts = [(_variance_of_mean(family.means), len(family.means) - 1) for family in (first, second)]
        variance = sum(part for part, _ in parts)
        squares = sum(part**2 / degrees if degrees else math.nan for part, degrees in parts)
        degrees = variance**2 / squares if squares else min(degrees for _, degrees in parts)
        return _around(float(first.means.mean() - second.means.mean()), variance, degrees)

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
                self.metric: self.interval(family).value,
                "low": self.interval(family).low,
                "high": self.interval(family).high,
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
        return write_page("comparison.html", self.shown(), target / PAGE if target.is_dir() else target)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dict; `from_json` reads it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> Comparison:
        """Reads what `to_json` wrote.

        Raises:
            DamagedRecordError: for anything else.
        """
        what = "a comparison of families"
        plain = read_record(_Plain, {**need(values, Mapping, what), "families": []}, what)
        families = tuple(_family(one) for one in need(values.get("families"), list, what))
        Goal.of(plain.goal)
        if not families:
            raise damaged(what, "it has no families")
        return cls(plain.metric, plain.goal, plain.rows, families)

    def shown(self) -> dict[str, object]:
        """What the template reads; intervals are drawn on a scale from 0 to 600."""
        limits = {family.name: self._drawn(family) for family in self.families}
        ends = [end for drawn in limits.values() for end in drawn]
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
                    "interval": self.interval(family),
                    "places": [
                        place(end)
                        for end in (min(limits[family.name]), self.interval(family).value, max(limits[family.name]))
                    ],
                    "marks": [place(score) for tower in family.towers for score in tower.scores],
                    "towers": family.towers,
                    "trials": family.trials,
                    "blocks": family.blocks,
                }
                for family in self.ranked
            ],
        }

    def _drawn(self, family: FamilyScores) -> list[float]:
        """What has to be on the scale: every training and the limits that are known."""
        found, limits = [score for tower in family.towers for score in tower.scores], self.interval(family)
        return found + [end for end in (limits.low, limits.high) if math.isfinite(end)]

    def __str__(self) -> str:
        table = self.frame().to_string(index=False, float_format="{:.4f}".format)
        return "\n".join([f"{self.metric} on {self.rows}, mean of the best towers:", table, *self.sentences()])


@dataclasses.dataclass(frozen=True)
class _Plain:
    """What a stored comparison has besides its families."""

    metric: str
    goal: str
    rows: str
    families: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _PlainFamily:
    name: str
    blocks: tuple[str, ...]
    trials: int
    towers: tuple[str, ...]


def _family(values: Any) -> FamilyScores:
    what = "a family of a comparison"
    plain = read_record(_PlainFamily, {**need(values, Mapping, what), "towers": []}, what)
    towers = tuple(read_record(TowerScores, one, what) for one in need(values.get("towers"), list, what))
    scores = [score for tower in towers for score in tower.scores]
    if not towers or not all(tower.scores for tower in towers) or not all(abs(score) < LARGEST for score in scores):
        raise damaged(what, "a tower has no scores that can be compared")
    return FamilyScores(plain.name, plain.blocks, plain.trials, towers)


def keep_comparison(found: Comparison, studies: Iterable[study_folder.OpenFolder]) -> None:
    """Writes a comparison into the folders of its studies, whose reports show it.

    Raises:
        UserError: if it cannot be written.
        VanishedStudyError: if a study is no longer in its folder.
    """
    for study in studies:
        try:
            with study.held() as folder:
                study_folder.write_text(folder, paths.COMPARISON, json.dumps(found.to_json()))
        except OSError as error:
            study.check()
            raise UserError(f"the comparison cannot be written to {study.path}: {error.strerror}") from error


def kept_comparison(folder: pathlib.Path) -> Comparison | None:
    """The comparison that a study was part of; None where there is none, or what is there is no comparison."""
    with contextlib.suppress(OSError, ValueError, RecursionError, ModelSearchError):
        if study_folder.inside(folder, paths.COMPARISON).stat().st_size <= MOST_BYTES:
            return Comparison.from_json(json.loads(study_folder.read_file(folder, paths.COMPARISON)))
    return None


def _expit(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > 0 else math.exp(value) / (1 + math.exp(value))


def _variance_of_mean(values: np.ndarray) -> float:
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else math.nan


def _within(found: Interval, least: float, most: float) -> Interval:
    """The interval cut to a range; limits that are not known stay NaN."""
    return Interval(found.value, max(found.low, least), min(found.high, most))


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
