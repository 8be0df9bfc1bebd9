"""Greedy ensemble selection from stored validation logits. NumPy only.

Caruana et al. 2004, "Ensemble Selection from Libraries of Models": starting with nothing, the model that helps the mean
most is added, again and again, with replacement; how often a model was added is its weight. What is averaged are
probabilities, or predictions of numbers. Against fitting a small validation set, as in Caruana et al. 2006: only the
best candidates take part, and the weights are the mean over bags, each with a part of the candidates. Departing from
it, a bag also draws its rows anew, the weights are drawn towards a plain mean of the best candidates where there are
few rows, and the gain over the best single model is estimated by cross-fitting: chosen on one half of the rows, scored
on the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from model_search.data.labelled_rows import LabelledRows
from model_search.data.task import Task, TaskKind
from model_search.errors import UserError
from model_search.finish.calibration import log_probabilities
from model_search.finish.selection_objectives import Objective, make_objective
from model_search.training.metrics import ResolvedMetric

CLEAR = 2.0  # standard errors that a gain must exceed to be more than noise
_DRAWS = 100  # of rows, for a standard error
_MOST_DRAWN = 20_000  # rows


@dataclasses.dataclass(frozen=True)
class SelectionSettings:
    """Settings of the selection: how much is tried, and how it is regularised.

    Attributes:
        keep: Candidates that take part, the best by themselves.
        bags: Selections whose weights are averaged.
        share: Share of the candidates in each bag.
        steps: Most models added in a bag.
        patience: A bag ends after this many additions in a row without improvement.
        rows: Most rows drawn for a bag.
        splits: How often the rows are halved for the cross-fitted gain; each split gives two estimates.
        split_bags: Bags of each half.
        least: Members with less weight are dropped.
        even: The weights are drawn towards equal weights of this many best candidates ...
        near: ... as far as their scores are at most such a share worse than the best one ...
        prior_rows: ... as strongly as this many rows would: with few validation rows, a plain mean of the best is safer
            than what was fitted to them.
        is_late: Whether the time is up: then no further bag or split is started, after at least one.
        guided: Share of the log loss that members are chosen by besides a metric that sees decisions alone (accuracy);
            the gain is that of the metric. Where that is within noise, the log loss decides.
    """

    keep: int = 50
    bags: int = 20
    share: float = 0.75
    steps: int = 25
    patience: int = 5
    rows: int = 20_000
    splits: int = 5
    split_bags: int = 4
    least: float = 0.01
    even: int = 5
    near: float = 0.1
    prior_rows: int = 300
    is_late: Callable[[], bool] | None = None
    guided: float = 0.3

    def as_time_allows(self, count: int) -> Iterator[int]:
        """0 to `count` - 1, or fewer where the time is up."""
        for number in range(count):
            if number and self.is_late is not None and self.is_late():
                return
            yield number


# A metric that is not a mean over rows is costly to try: fewer candidates, bags and rows.
COSTLY = SelectionSettings(keep=20, bags=8, steps=15, patience=3, rows=5_000, splits=3, split_bags=2)


@dataclasses.dataclass(frozen=True)
class Selection:
    """The selected ensemble. Candidates are identified by their index.

    Attributes:
        weights: Candidate to weight, adding up to 1, the heaviest first.
        single: The best single candidate.
        gain: Cross-fitted gain over the best single candidate, in units of the objective; above 0 is better.
        gain_error: Standard deviation of that estimate between splits.
        loss_gain: The gain by the log loss, where members are chosen by a share of it; None elsewhere.
        noise: Standard error of a difference between the two on these rows, where there is such a share.
    """

    weights: dict[int, float]
    single: int
    gain: float
    gain_error: float
    loss_gain: float | None = None
    noise: float = 0.0

    @property
    def beats_single(self) -> bool:
        """Whether the ensemble is expected to be better on new rows than the best single candidate.

        Decisions on few rows differ by luck: a difference within noise is settled by the log loss.
        """
        is_better_by_loss = self.loss_gain is not None and self.loss_gain > 0 and self.gain > -self.noise
        return len(self.weights) > 1 and (self.gain > 0 or is_better_by_loss)


def select(
    candidates: Sequence[np.ndarray],
    rows: LabelledRows,
    metric: ResolvedMetric | None = None,
    settings: SelectionSettings | None = None,
    seed: int = 0,
    is_late: Callable[[], bool] | None = None,
) -> Selection:
    """Chooses members and weights.

    Args:
        candidates: Logits [rows, width] of each candidate.
        rows: The rows' labels and weights.
        metric: The metric to optimise; None for the log loss or the squared error.
        settings: None for those that fit the metric.
        seed: Seed of bags and splits.
        is_late: Whether the time is up; see `SelectionSettings`.

    Raises:
        UserError: if there is no candidate, or no row.
    """
    if not len(candidates) or not len(rows.labels):
        raise UserError(
            f"received {len(candidates)} candidates and {len(rows.labels)} rows; expected at least one each"
        )
    if settings is None:
        settings = COSTLY if make_objective(rows.task, metric)[1] else SelectionSettings()
    objective, _ = make_objective(rows.task, metric, settings.guided)
    settings = settings if is_late is None else dataclasses.replace(settings, is_late=is_late)
    rng = np.random.default_rng(seed)
    places = _best_places(candidates, rows, objective, settings.keep)
    for place in places:
        objective.add(candidates[place], rows.labels, rows.weights)
    objective.ready()
    everything = np.arange(objective.rows)
    shares = _shares(objective, everything, settings, settings.bags, rng)
    single = int(objective.singles(everything).argmin())
    gain, error, loss_gain = _cross_fitted(objective, settings, rng)
    is_guided = objective.is_guided
    noise = 0.0
    if is_guided:
        noise = _standard_error(objective, np.eye(objective.count)[single], shares, rng, settings.rows)
    order = np.argsort(-shares, kind="stable")
    chosen = [int(index) for index in order if shares[index] > 0]
    return Selection(
        weights={places[index]: float(shares[index]) for index in chosen},
        single=places[single],
        gain=gain,
        gain_error=error,
        loss_gain=loss_gain if is_guided else None,
        noise=noise,
    )


@dataclasses.dataclass(frozen=True)
class Gain:
    """How much better one model is than another, in the metric's own units, and the standard error of that."""

    gain: float
    error: float

    @property
    def is_clear(self) -> bool:
        """Whether it is more than noise."""
        return self.gain > CLEAR * self.error and self.gain > 0


def paired_gain(
    rows: LabelledRows, metric: ResolvedMetric | None, model: np.ndarray, than: np.ndarray, seed: int
) -> Gain:
    """Compares two models on the same rows; the error is that of a paired bootstrap (Efron 1979).

    Where the rows have chosen both, the better figure of two is partly luck.

    Args:
        rows: Labels and weights.
        metric: The metric; None for the log loss or the squared error.
        model: Logits [rows, width] of the one.
        than: Those of the other.
        seed: Seed of the draws.
    """
    objective, _ = make_objective(rows.task, metric)
    for logits in (model, than):
        objective.add(logits, rows.labels, rows.weights)
    objective.ready()
    one, other = np.eye(2)

    everything = np.arange(objective.rows)
    gain = objective.score(other, everything) - objective.score(one, everything)
    if not np.isfinite(gain):
        return Gain(0.0, 0.0)  # the metric says nothing of these rows
    return Gain(gain, _standard_error(objective, other, one, np.random.default_rng(seed), _MOST_DRAWN))


def _standard_error(
    objective: Objective, one: np.ndarray, other: np.ndarray, rng: np.random.Generator, most: int
) -> float:
    """The standard error of the difference between two weighted means of the candidates (paired bootstrap).

    At most so many rows are drawn at a time, and the error is scaled to that of all rows. Drawn rows that do not allow
    the metric (the area under a curve, without a class) tell nothing.
    """
    count, size = objective.rows, min(objective.rows, most)
    drawn = []
    for _ in range(_DRAWS):
        rows = rng.integers(count, size=size)
        difference = objective.score(one, rows) - objective.score(other, rows)
        if np.isfinite(difference):
            drawn.append(difference)
    return float(np.std(drawn)) * float(np.sqrt(size / count)) if drawn else 0.0


def ensemble_logits(task: Task, logits: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """The ensemble's logits: the log of the weighted mean of probabilities; for numbers the weighted mean.

    Args:
        task: What is predicted.
        logits: [rows, width] of each member.
        weights: Of each member, adding up to 1.

    Returns:
        float32 [rows, width].

    Raises:
        UserError: if there is no member.
    """
    total: np.ndarray | None = None
    for values, weight in zip(logits, weights, strict=True):
        if task.kind is TaskKind.REGRESSION:
            part = weight * np.asarray(values, np.float64)
            total = part if total is None else total + part
        else:
            part = np.log(weight) + log_probabilities(values)
            total = part if total is None else np.logaddexp(total, part)
    if total is None:
        raise UserError("an ensemble needs at least one member")
    return total.astype(np.float32)


def _best_places(candidates: Sequence[np.ndarray], rows: LabelledRows, objective: Objective, keep: int) -> list[int]:
    """The best candidates by themselves, best first; ties by index."""
    scores = [
        objective.single(logits, rows.labels, rows.weights) if len(candidates) > keep else 0.0 for logits in candidates
    ]
    return [int(place) for place in np.argsort(scores, kind="stable")[:keep]]


def _shares(
    objective: Objective, rows: np.ndarray, settings: SelectionSettings, bags: int, rng: np.random.Generator
) -> np.ndarray:
    """What greedy selection gives, drawn towards equal weights of the best candidates where there are few rows."""
    bagged = _bagged(objective, rows, settings, bags, rng)
    scores = objective.singles(rows)
    near = scores <= scores.min() + settings.near * abs(scores.min())
    best = np.argsort(scores, kind="stable")[: min(settings.even, int(near.sum()))]
    even = np.zeros(objective.count)
    even[best] = 1 / len(best)
    return (len(rows) * bagged + settings.prior_rows * even) / (len(rows) + settings.prior_rows)


def _bagged(
    objective: Objective, rows: np.ndarray, settings: SelectionSettings, bags: int, rng: np.random.Generator
) -> np.ndarray:
    """Mean weights over bags, each with its own candidates and rows.

    The best candidate is in every bag: if it is far ahead, a bag without it gives its weight to much worse ones.
    """
    first = int(objective.singles(rows).argmin())
    others = np.delete(np.arange(objective.count), first)
    size = round(len(others) * settings.share)
    total = np.zeros(objective.count)
    for _ in settings.as_time_allows(bags):
        among = np.sort(np.append(rng.choice(others, size, replace=False), first))
        drawn = rows[rng.integers(len(rows), size=min(len(rows), settings.rows))]
        counts = objective.greedy(among, drawn, settings.steps, settings.patience)
        total[among] += counts / counts.sum()
    total /= total.sum()
    total[total < min(settings.least, total.max())] = 0
    return total / total.sum()


def _cross_fitted(
    objective: Objective, settings: SelectionSettings, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Gain of the ensemble over the best single candidate: both chosen on one half of the rows, scored on the other.

    Halves that do not allow the metric (the area under a curve, without a class) tell nothing.

    Returns:
        The gain, its standard deviation between splits, and the gain by the log loss; 0 where no split tells any.
    """
    if objective.count < 2 or objective.rows < 4:
        return 0.0, 0.0, 0.0
    gains, by_loss = [], []
    singles = np.eye(objective.count)
    for _ in settings.as_time_allows(settings.splits):
        order = rng.permutation(objective.rows)
        half = len(order) // 2
        both, losses = [], []
        for fitted, kept in ((order[:half], order[half:]), (order[half:], order[:half])):
            shares = _shares(objective, fitted, settings, settings.split_bags, rng)
            single = int(objective.singles(fitted).argmin())
            both.append(objective.score(singles[single], kept) - objective.score(shares, kept))
            losses.append(objective.loss(singles[single], kept) - objective.loss(shares, kept))
        if np.isfinite(both).all():
            gains.append(sum(both) / 2)
            by_loss.append(sum(losses) / 2)
    if not gains:
        return 0.0, 0.0, 0.0
    return float(np.mean(gains)), float(np.std(gains)), float(np.mean(by_loss))
