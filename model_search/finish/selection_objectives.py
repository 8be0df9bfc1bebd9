"""Objectives of ensemble selection, each in the form that makes trying a member cheap. NumPy only.

Log loss needs the true class's probability alone; of squared errors the products between candidates suffice, whatever
the number of rows; any other metric is computed from all probabilities, with the log loss (or squared error) breaking
ties. Where a metric sees decisions alone (accuracy, say), a share of the log loss takes part in the choice of members:
on few rows many members seem equally good, and what the metric says of them is luck. Lower is better everywhere.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import math
import warnings

import numpy as np

from model_search.data.task import Task, TaskKind
from model_search.errors import TrialError
from model_search.finish.calibration import log_probabilities
from model_search.training import metrics
from model_search.training.metrics import ResolvedMetric

_SMALLEST = np.float32(1e-12)  # of a probability, so that one confident error does not decide everything
_TIE = 1e-9
OF_DECISIONS = ("accuracy", "f1", "rank_error", "quadratic_kappa")


def make_objective(task: Task, metric: ResolvedMetric | None, guided: float = 0.0) -> tuple[Objective, bool]:
    """The objective for a metric (the loss of the task where None), and whether it is costly to try.

    Args:
        task: What is predicted.
        metric: The metric.
        guided: Share of the log loss that takes part where the metric sees decisions alone.
    """
    base: Objective = _LogLoss() if task.kind is TaskKind.CLASSIFICATION else _SquaredError()
    if task.quantiles:
        base = _Pinball(task)
    # Of logarithms, errors in the user's units have another order.
    same = ("loss",) if task.log_target else ("loss", "log_loss", "rmse", "mse", "r2", "pinball")
    if metric is None or (metric.fn is None and metric.name in same and _usual_goal(metric, task)):
        return base, False
    is_of_decisions = metric.fn is None and metric.name in OF_DECISIONS and _usual_goal(metric, task)
    return _AnyMetric(task, metric, base, max(_TIE, guided if is_of_decisions else 0.0)), True


def _usual_goal(metric: ResolvedMetric, task: Task) -> bool:
    return metric.goal == metrics.resolve_metric(metric.name, None, task).goal


class Objective(abc.ABC):
    """Scores candidates on the same rows: `add` them all, call `ready`, then ask for scores."""

    count = 0
    rows = 0
    is_guided = False  # whether a share of the log loss takes part

    @abc.abstractmethod
    def single(self, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> float:
        """The score of logits [rows, width] by themselves; nothing is stored."""

    @abc.abstractmethod
    def add(self, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> None:
        """Adds a candidate: logits [rows, width]."""

    @abc.abstractmethod
    def ready(self) -> None:
        """Called once all candidates are added."""

    @abc.abstractmethod
    def score(self, shares: np.ndarray, rows: np.ndarray) -> float:
        """The score of a weighted mean of the candidates (shares [count], adding up to 1) on some rows."""

    def loss(self, shares: np.ndarray, rows: np.ndarray) -> float:
        """The score by the log loss (squared error) where a metric has a share of it; else as `score`."""
        return self.score(shares, rows)

    def singles(self, rows: np.ndarray) -> np.ndarray:
        """The score of every candidate by itself on some rows, [count]."""
        return np.array([self.score(one, rows) for one in np.eye(self.count)])

    @abc.abstractmethod
    def greedy(self, among: np.ndarray, rows: np.ndarray, steps: int, patience: int) -> np.ndarray:
        """How often each of the candidates `among` is taken, on rows that may repeat; at least one once."""


@dataclasses.dataclass
class _Path:
    """The additions so far, and the best prefix of them."""

    patience: int
    taken: list[int] = dataclasses.field(default_factory=list)
    best: float = math.inf
    length: int = 0

    def add(self, candidate: int, score: float) -> bool:
        """Returns False when it is time to stop."""
        self.taken.append(candidate)
        if score < self.best or not self.length:
            self.best, self.length = score, len(self.taken)
        return len(self.taken) - self.length < self.patience

    def counts(self, among: int) -> np.ndarray:
        return np.bincount(self.taken[: self.length], minlength=among).astype(np.float64)


class _LogLoss(Objective):
    def __init__(self) -> None:
        self._given: list[np.ndarray] = []
        self._weights = np.empty(0, np.float32)

    def single(self, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> float:
        return float(-(np.log(_probability_of_truth(logits, labels)) @ _as_shares(len(labels), weights)))

    def add(self, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> None:
        self._given.append(_probability_of_truth(logits, labels))
        self._weights = _as_shares(len(labels), weights)

    def ready(self) -> None:
        self._probabilities = np.stack(self._given)
        self._given = []
        self._logs = np.log(self._probabilities)
        self.count, self.rows = self._probabilities.shape

    def singles(self, rows: np.ndarray) -> np.ndarray:
        return -(self._logs[:, rows] @ _normal(self._weights[rows]))

    def score(self, shares: np.ndarray, rows: np.ndarray) -> float:
        members = np.flatnonzero(shares)
        mixed = shares[members].astype(np.float32) @ self._probabilities[np.ix_(members, rows)]
        return float(-(np.log(mixed) @ _normal(self._weights[rows])))

    def greedy(self, among: np.ndarray, rows: np.ndarray, steps: int, patience: int) -> np.ndarray:
        # Each different row once, with the weight of all its copies: a third less to compute.
        different, copies = np.unique(rows, return_counts=True)
        weights = _normal(self._weights[different] * copies)
        probabilities = self._probabilities[np.ix_(among, different)]
        total = np.zeros(len(different), np.float32)
        tried = np.empty_like(probabilities)
        path = _Path(patience)
        for number in range(1, steps + 1):
            np.add(probabilities, total, out=tried)
            np.log(tried, out=tried)
            scores = math.log(number) - tried @ weights
            chosen = int(scores.argmin())
            total += probabilities[chosen]
            if not path.add(chosen, float(scores[chosen])):
                break
        return path.counts(len(among))


class _SquaredError(Objective):
    def __init__(self) -> None:
        self._given: list[np.ndarray] = []
        self._weights = np.empty(0, np.float32)

    def single(self, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> float:
        return float(np.square(logits - labels).mean(axis=1) @ _as_shares(len(labels), weights))

    def add(self, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> None:
        self._given.append((logits - labels).astype(np.float32))
        self._weights = _as_shares(len(labels), weights)

    def ready(self) -> None:
        self._errors = np.stack(self._given)
        self._given = []
        self.count, self.rows = self._errors.shape[:2]

    def score(self, shares: np.ndarray, rows: np.ndarray) -> float:
        members = np.flatnonzero(shares)
        mixed = np.tensordot(shares[members], self._errors[np.ix_(members, rows)], axes=1)
        return float(np.square(mixed).mean(axis=1) @ _normal(self._weights[rows]))

    def greedy(self, among: np.ndarray, rows: np.ndarray, steps: int, patience: int) -> np.ndarray:
        different, copies = np.unique(rows, return_counts=True)
        root = np.sqrt(_normal(self._weights[different] * copies))
        errors = self._errors[np.ix_(among, different)] * root[:, None]
        flat = errors.reshape(len(among), -1).astype(np.float64)
        products = flat @ flat.T / errors.shape[2]
        own = np.diag(products).copy()
        with_sum, of_sum = np.zeros(len(among)), 0.0
        path = _Path(patience)
        for number in range(1, steps + 1):
            scores = (of_sum + 2 * with_sum + own) / number**2
            chosen = int(scores.argmin())
            of_sum += 2 * with_sum[chosen] + own[chosen]
            with_sum += products[chosen]
            if not path.add(chosen, float(scores[chosen])):
                break
        return path.counts(len(among))


class _Pinball(Objective):
    """The pinball loss of quantiles in their order."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._outputs: list[np.ndarray] = []
        self._labels = np.empty((0, 1), np.float32)
        self._weights = np.empty(0, np.float32)

    def single(self, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> float:
        return float(self._of_rows(logits, labels) @ _as_shares(len(labels), weights))

    def add(self, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> None:
        self._outputs.append(logits.astype(np.float32))
        self._labels, self._weights = labels, _as_shares(len(labels), weights)

    def ready(self) -> None:
        self.count, self.rows = len(self._outputs), len(self._labels)

    def score(self, shares: np.ndarray, rows: np.ndarray) -> float:
        mixed = sum(np.float32(share) * self._outputs[place][rows] for place, share in enumerate(shares) if share > 0)
        return float(self._of_rows(np.asarray(mixed), self._labels[rows]) @ _normal(self._weights[rows]))

    def greedy(self, among: np.ndarray, rows: np.ndarray, steps: int, patience: int) -> np.ndarray:
        different, copies = np.unique(rows, return_counts=True)
        weights, labels = _normal(self._weights[different] * copies), self._labels[different]
        outputs = [self._outputs[place][different] for place in among]
        total = np.zeros_like(outputs[0])
        path = _Path(patience)
        for number in range(1, steps + 1):
            scores = [float(self._of_rows((total + one) / number, labels) @ weights) for one in outputs]
            chosen = int(np.argmin(scores))
            total += outputs[chosen]
            if not path.add(chosen, scores[chosen]):
                break
        return path.counts(len(among))

    def _of_rows(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        quantiles = np.array(self._task.quantiles, np.float32)
        errors = metrics.in_order(self._task, logits) - labels
        return np.maximum(-quantiles * errors, (1 - quantiles) * errors).mean(axis=1)


class _AnyMetric(Objective):
    """Any metric by name, or the user's own function; to choose by, `share` of `base` is added."""

    def __init__(self, task: Task, metric: ResolvedMetric, base: Objective, share: float = _TIE):
        self._task, self._metric, self._base, self._share = task, metric, base, share
        self._outputs: list[np.ndarray] = []
        self._labels = np.empty(0)
        self._weights: np.ndarray | None = None
        self.is_guided = share > _TIE

    def single(self, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> float:
        return self._value(logits, labels, weights) + self._share * self._base.single(logits, labels, weights)

    def add(self, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> None:
        self._base.add(logits, labels, weights)
        classes = self._task.kind is TaskKind.CLASSIFICATION
        self._outputs.append((np.exp(log_probabilities(logits)) if classes else logits).astype(np.float32))
        self._labels, self._weights = labels, weights

    def ready(self) -> None:
        self._base.ready()
        self.count, self.rows = self._base.count, self._base.rows

    def score(self, shares: np.ndarray, rows: np.ndarray) -> float:
        mixed = sum(share * self._outputs[place][rows] for place, share in enumerate(shares) if share > 0)
        return self._of_mean(np.asarray(mixed), rows)

    def loss(self, shares: np.ndarray, rows: np.ndarray) -> float:
        return self._base.score(shares, rows)

    def greedy(self, among: np.ndarray, rows: np.ndarray, steps: int, patience: int) -> np.ndarray:
        outputs = [self._outputs[place][rows] for place in among]
        total = np.zeros_like(outputs[0])
        counts = np.zeros(len(among))
        path = _Path(patience)
        for number in range(1, steps + 1):
            found = []
            for place, output in enumerate(outputs):
                counts[place] += 1
                tie = self._base.score(_spread(counts / number, among, self.count), rows)
                found.append(self._of_mean((total + output) / number, rows) + self._share * tie)
                counts[place] -= 1
            chosen = int(np.argmin(found))
            total, counts[chosen] = total + outputs[chosen], counts[chosen] + 1
            if not path.add(chosen, found[chosen]):
                break
        return path.counts(len(among))

    def _of_mean(self, mixed: np.ndarray, rows: np.ndarray) -> float:
        classes = self._task.kind is TaskKind.CLASSIFICATION
        logits = np.log(np.maximum(mixed, _SMALLEST)) if classes else mixed
        weights = None if self._weights is None else self._weights[rows]
        # A user's function that takes all rows need not take some of them, without a class, or may warn of them.
        with contextlib.suppress(TrialError), warnings.catch_warnings():
            if self._metric.fn is not None:
                warnings.simplefilter("ignore")
            return self._value(logits, self._labels[rows], weights)
        return math.inf

    def _value(self, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> float:
        """The metric, lower is better; infinite where these rows do not allow it.

        Raises:
            TrialError: if a user's function raises.
        """
        if self._metric.fn is None:
            value = metrics.compute_metric(self._metric.name, self._task, labels, logits, weights)
        else:
            found = metrics.call_metric_fn(self._metric.fn, self._task, labels, logits)
            value = metrics.as_number(found, f"metric {self._metric.name!r}")
        return self._metric.objective.loss(value)


def _probability_of_truth(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """float32 [rows]."""
    values = logits.astype(np.float32, copy=False)
    largest = values.max(axis=1)
    sums = np.exp(values - largest[:, None]).sum(axis=1)
    of_truth = np.exp(values[np.arange(len(labels)), labels] - largest)
    return np.maximum(of_truth / sums, _SMALLEST)


def _as_shares(rows: int, weights: np.ndarray | None) -> np.ndarray:
    shares = np.ones(rows, np.float32) if weights is None else np.asarray(weights, np.float32)
    return _normal(shares)


def _normal(weights: np.ndarray) -> np.ndarray:
    total = weights.sum(dtype=np.float64)
    if not total > 0:
        return np.full(len(weights), 1 / len(weights), np.float32)
    return (weights / total).astype(np.float32)


def _spread(shares: np.ndarray, among: np.ndarray, count: int) -> np.ndarray:
    everyone = np.zeros(count)
    everyone[among] = shares
    return everyone
