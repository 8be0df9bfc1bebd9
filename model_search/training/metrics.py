"""Metrics by name, from logits and labels, in NumPy. Never imports TensorFlow.

Every metric reads the raw logits (before temperature) and honours row weights. A metric that cannot be computed (AUC of
rows of one class, R2 of constant targets) is NaN, and `all_metrics` leaves it out.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import re
from collections.abc import Callable, Mapping

import numpy as np

from model_search.data.task import Task, TaskKind
from model_search.errors import TrialError, UserError
from model_search.ranking import Goal, Objective

MINIMIZE, MAXIMIZE = Goal.MINIMIZE, Goal.MAXIMIZE
MetricFn = Callable[[np.ndarray, np.ndarray], float]


@dataclasses.dataclass(frozen=True)
class ResolvedMetric:
    """What trials are compared by: a known metric, or the user's own function where `fn` is set."""

    name: str
    goal: str
    fn: MetricFn | None = None

    @property
    def objective(self) -> Objective:
        """The metric and its goal, for comparisons."""
        return Objective(self.name, Goal.of(self.goal))


@dataclasses.dataclass
class _Scored:
    """Labels and logits of the same rows; what several metrics need is computed once.

    Attributes:
        task: What is predicted.
        labels: Classes: whole numbers [rows]. Numbers: scaled targets [rows, targets].
        logits: [rows, logits_dimension].
        weights: float64 [rows], adding up to 1.
    """

    task: Task
    labels: np.ndarray
    logits: np.ndarray
    weights: np.ndarray

    @functools.cached_property
    def log_probabilities(self) -> np.ndarray:
        shifted = self.logits - self.logits.max(axis=1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

    @functools.cached_property
    def chosen(self) -> np.ndarray:
        return self.logits.argmax(axis=1)

    @functools.cached_property
    def errors(self) -> np.ndarray:
        """Predicted minus true, in scaled units, float64 [rows, targets]."""
        return self.logits.astype(np.float64) - self.labels

    def mean(self, values: np.ndarray) -> float:
        return float(self.weights @ values)


def _cross_entropy(scored: _Scored) -> float:
    of_truth = np.take_along_axis(scored.log_probabilities, scored.labels[:, None], axis=1)[:, 0]
    return -scored.mean(of_truth)


def _accuracy(scored: _Scored) -> float:
    return scored.mean(scored.chosen == scored.labels)


def _by_score(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of positive and of negative rows at each different score, highest first."""
    _, place = np.unique(-scores, return_inverse=True)
    gained = np.bincount(place, weights * positive)
    return gained, np.bincount(place, weights) - gained


def _auc_of(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a positive row scores above a negative one; ties count half."""
    gained, lost = _by_score(scores, positive, weights)
    all_positive, all_negative = gained.sum(), lost.sum()
    if all_positive <= 0 or all_negative <= 0:
        return math.nan
    below = all_negative - np.cumsum(lost)
    return float(gained @ (below + lost / 2) / (all_positive * all_negative))


def _auc(scored: _Scored) -> float:
    """Two classes: of the second one. More: each class against the rest, averaged over the classes that occur."""
    if scored.logits.shape[1] == 2:
        return _auc_of(scored.logits[:, 1] - scored.logits[:, 0], scored.labels == 1, scored.weights)
    areas = [
        _auc_of(scored.log_probabilities[:, index], scored.labels == index, scored.weights)
        for index in range(scored.logits.shape[1])
    ]
    known = [area for area in areas if not math.isnan(area)]
    return sum(known) / len(known) if known else math.nan


def _auc_pr(scored: _Scored) -> float:
    """Average precision of the second of two classes: precision at each threshold, weighted by the gain in recall."""
    if scored.logits.shape[1] != 2:
        return math.nan
    scores = scored.logits[:, 1] - scored.logits[:, 0]
    gained, lost = _by_score(scores, scored.labels == 1, scored.weights)
    found = np.cumsum(gained)
    if not len(found) or found[-1] <= 0:
        return math.nan
    reported = found + np.cumsum(lost)
    precision = np.divide(found, reported, out=np.zeros_like(found), where=reported > 0)
    return float(gained @ precision / found[-1])


def _f1(scored: _Scored) -> float:
    """Two classes: of the second one. More: the mean over the classes that occur, truly or as predictions."""
    width = scored.logits.shape[1]
    truth = np.bincount(scored.labels, scored.weights, width)
    claimed = np.bincount(scored.chosen, scored.weights, width)
    right = np.bincount(scored.labels, scored.weights * (scored.chosen == scored.labels), width)
    total = truth + claimed
    scores = np.divide(2 * right, total, out=np.zeros(width), where=total > 0)
    if width == 2:
        return float(scores[1])
    return float(scores[total > 0].mean()) if (total > 0).any() else math.nan


def _scaled_mse(scored: _Scored) -> float:
    return scored.mean(np.square(scored.errors).mean(axis=1))


def _mse(scored: _Scored) -> float:
    return _scaled_mse(scored) * scored.task.target_scale**2


def _rmse(scored: _Scored) -> float:
    return math.sqrt(_mse(scored))


def _mae(scored: _Scored) -> float:
    return scored.mean(np.abs(scored.errors).mean(axis=1)) * scored.task.target_scale


def _r2(scored: _Scored) -> float:
    """1 - (squared error / variance), averaged over the targets; NaN where a target is constant."""
    labels = scored.labels.astype(np.float64)
    spread = scored.weights @ np.square(labels - scored.weights @ labels)
    if (spread <= 0).any():
        return math.nan
    return float(np.mean(1 - scored.weights @ np.square(scored.errors) / spread))


@dataclasses.dataclass(frozen=True)
class _Metric:
    goal: str
    compute: Mapping[TaskKind, Callable[[_Scored], float]]


_CLASSES, _NUMBERS = TaskKind.CLASSIFICATION, TaskKind.REGRESSION
_METRICS: Mapping[str, _Metric] = {
    "loss": _Metric(MINIMIZE, {_CLASSES: _cross_entropy, _NUMBERS: _scaled_mse}),
    "accuracy": _Metric(MAXIMIZE, {_CLASSES: _accuracy}),
    "auc": _Metric(MAXIMIZE, {_CLASSES: _auc}),
    "auc_pr": _Metric(MAXIMIZE, {_CLASSES: _auc_pr}),
    "log_loss": _Metric(MINIMIZE, {_CLASSES: _cross_entropy}),
    "f1": _Metric(MAXIMIZE, {_CLASSES: _f1}),
    "r2": _Metric(MAXIMIZE, {_NUMBERS: _r2}),
    "rmse": _Metric(MINIMIZE, {_NUMBERS: _rmse}),
    "mse": _Metric(MINIMIZE, {_NUMBERS: _mse}),
    "mae": _Metric(MINIMIZE, {_NUMBERS: _mae}),
}
_OTHER_NAMES: Mapping[str, str] = {
    "auc_roc": "auc",
    "roc_auc": "auc",
    "pr_auc": "auc_pr",
    "average_precision": "auc_pr",
    "logloss": "log_loss",
    "cross_entropy": "log_loss",
    "acc": "accuracy",
    "f1_score": "f1",
    "r_2": "r2",
    "r2_score": "r2",
}


def all_metrics(
    task: Task, labels: np.ndarray, logits: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, float]:
    """Every usual metric of the task that is finite.

    Args:
        task: What is predicted.
        labels: As in `Rows.labels`: class numbers [rows], or scaled targets [rows, targets].
        logits: [rows, logits_dimension], before temperature.
        weights: [rows], or None where all rows weigh the same.

    Returns:
        Classes: loss, log_loss, accuracy, auc, f1 and, for two classes, auc_pr. Numbers: loss (mean squared error of
        the scaled targets) and, in the user's units, mse, rmse, mae, r2.
    """
    scored = _scored(task, labels, logits, weights)
    values = {name: m.compute[task.kind](scored) for name, m in _METRICS.items() if task.kind in m.compute}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def compute_metric(
    name: str, task: Task, labels: np.ndarray, logits: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """One metric by its resolved name (see `all_metrics` for the arguments); NaN where it cannot be computed."""
    return float(_METRICS[name].compute[task.kind](_scored(task, labels, logits, weights)))


def predictions(task: Task, logits: np.ndarray) -> np.ndarray:
    """What a user's own metric sees: probabilities [rows, classes], or values in the user's units [rows].

    Several targets give [rows, targets].
    """
    if task.kind is TaskKind.CLASSIFICATION:
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)
    return in_user_units(task, logits)


def in_user_units(task: Task, scaled: np.ndarray) -> np.ndarray:
    """Scaled targets [rows, targets] in the user's units: [rows] for one target."""
    values = scaled.astype(np.float64) * task.target_scale + task.target_mean
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def call_metric_fn(fn: Callable[..., object], task: Task, labels: np.ndarray, logits: np.ndarray) -> object:
    """Calls a user's `fn(labels, predictions)`; labels are class numbers or values in the user's units.

    Raises:
        TrialError: if the function raises.
    """
    truth = labels if task.kind is TaskKind.CLASSIFICATION else in_user_units(task, labels)
    try:
        return fn(truth, predictions(task, logits))
    except Exception as error:
        raise TrialError(f"the metric {_name_of(fn)!r} failed: {type(error).__name__}: {error}") from error


def as_number(value: object, what: str) -> float:
    """A metric's result as a float.

    Raises:
        UserError: if it is not one number.
    """
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise UserError(f"{what} returned {type(value).__name__} ({value!r:.80}); expected one number") from None


def extra_metrics(fn: Callable[..., object], task: Task, labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """What a provider's `metric_fn(labels, predictions)` gives: finite numbers by name.

    A dict gives one metric for each of its names; a single number is named by the function.

    Raises:
        UserError: if it returns something else.
    """
    found = call_metric_fn(fn, task, labels, logits)
    named = found if isinstance(found, Mapping) else {_name_of(fn): found}
    values = {str(name): as_number(value, f"metric {name!r}") for name, value in named.items()}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def resolve_metric(metric: str | Callable[..., float] | None, goal: str | None, task_kind: TaskKind) -> ResolvedMetric:
    """Finds the metric that a user means, and whether more or less of it is better.

    Args:
        metric: A name in any spelling ("AUC", "log loss", "R2"), a function `fn(labels, predictions) -> number`, or
            None for the loss.
        goal: "minimize" or "maximize"; None takes the metric's usual one.
        task_kind: Classes or numbers.

    Raises:
        UserError: if the metric is unknown or does not fit the task, or a function comes without a goal.
    """
    if goal is not None:
        goal = Goal.of(goal)
    if callable(metric):
        if goal is None:
            raise UserError(f"metric {_name_of(metric)!r} is a function; say goal='minimize' or goal='maximize'")
        return ResolvedMetric(_name_of(metric), goal, metric)
    if metric is not None and not isinstance(metric, str):
        raise UserError(f"metric is {metric!r}; expected a name or a function of labels and predictions")
    name = _canonical(metric or "loss")
    fitting = [known for known, m in _METRICS.items() if task_kind in m.compute]
    if name not in _METRICS:
        near = difflib.get_close_matches(name, [*_METRICS, *_OTHER_NAMES], n=3)
        meant = ", ".join(dict.fromkeys(_OTHER_NAMES.get(one, one) for one in near) or fitting)
        raise UserError(f"metric {metric!r} is unknown; did you mean one of: {meant}?")
    if name not in fitting:
        raise UserError(f"metric {name!r} does not fit a {task_kind.value} task; expected one of {', '.join(fitting)}")
    return ResolvedMetric(name, goal or _METRICS[name].goal)


def _canonical(name: str) -> str:
    plain = re.sub(r"[\s\-_]+", "_", name.strip().lower().replace("²", "2"))
    return _OTHER_NAMES.get(plain, plain)


def _name_of(fn: Callable[..., object]) -> str:
    name = getattr(fn, "__name__", type(fn).__name__)
    return "custom" if name == "<lambda>" else name


def _scored(task: Task, labels: np.ndarray, logits: np.ndarray, weights: np.ndarray | None) -> _Scored:
    rows = len(labels)
    if rows == 0:
        raise UserError("there are no rows to compute a metric on")
    logits = np.asarray(logits)
    if task.kind is TaskKind.REGRESSION:
        labels = labels.reshape(len(labels), -1)
    shares = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
    total = shares.sum()
    if total <= 0:
        shares, total = np.ones(len(labels)), float(len(labels))
    return _Scored(task, labels, logits, shares / total)
