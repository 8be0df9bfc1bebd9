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

from model_search.data.task import TargetKind, Task, TaskKind
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
        return predicted_classes(self.task, self.logits)

    @functools.cached_property
    def errors(self) -> np.ndarray:
        """Predicted minus true, in scaled units, float64 [rows, targets]."""
        return self.logits.astype(np.float64) - self.labels

    @functools.cached_property
    def numbers(self) -> np.ndarray:
        """Where logarithms are learnt, the true numbers in the user's units, float64 [rows, targets]."""
        return self.task.to_units(self.labels)

    @functools.cached_property
    def errors_of_numbers(self) -> np.ndarray:
        """Where logarithms are learnt, predicted minus true numbers in the user's units, float64 [rows, targets]."""
        return self.task.to_units(_within_range(self.task, self.logits)) - self.numbers

    def mean(self, values: np.ndarray) -> float:
        return float(self.weights @ values)


def _cross_entropy(scored: _Scored) -> float:
    of_truth = np.take_along_axis(scored.log_probabilities, scored.labels[:, None], axis=1)[:, 0]
    return -scored.mean(of_truth)


def _accuracy(scored: _Scored) -> float:
    right = scored.chosen == scored.labels
    return 1.0 if right.all() else scored.mean(right)  # weights may add up to a little less or more than 1


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
    return min(1.0, float(gained @ (below + lost / 2) / (all_positive * all_negative)))


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
    return min(1.0, float(gained @ precision / found[-1]))


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
    if scored.task.log_target:
        return scored.mean(np.square(scored.errors_of_numbers).mean(axis=1))
    return _scaled_mse(scored) * scored.task.target_scale**2


def _rmse(scored: _Scored) -> float:
    return math.sqrt(_mse(scored))


def _mae(scored: _Scored) -> float:
    if scored.task.log_target:
        return scored.mean(np.abs(scored.errors_of_numbers).mean(axis=1))
    return scored.mean(np.abs(scored.errors).mean(axis=1)) * scored.task.target_scale


def _r2(scored: _Scored) -> float:
    """1 - (squared error / variance), averaged over the targets; NaN where a target is constant."""
    is_log = scored.task.log_target
    labels = scored.numbers if is_log else scored.labels.astype(np.float64)
    spread = scored.weights @ np.square(labels - scored.weights @ labels)
    if (spread <= 0).any():
        return math.nan
    errors = scored.errors_of_numbers if is_log else scored.errors
    return float(np.mean(1 - scored.weights @ np.square(errors) / spread))


def _rank_error(scored: _Scored) -> float:
    """How many classes the predicted one is away from the true one."""
    return scored.mean(np.abs(scored.chosen - scored.labels))


def _quadratic_kappa(scored: _Scored) -> float:
    """Cohen's kappa with squared distances of classes: 1 for no error, 0 for what chance would reach (Cohen 1968)."""
    classes = np.arange(scored.logits.shape[1])
    truth = np.bincount(scored.labels, scored.weights, len(classes))
    claimed = np.bincount(scored.chosen, scored.weights, len(classes))
    by_chance = float(truth @ np.square(classes[:, None] - classes) @ claimed)
    if by_chance <= 0:
        return math.nan
    return 1 - scored.mean(np.square(scored.chosen - scored.labels)) / by_chance


def _scaled_pinball(scored: _Scored) -> float:
    quantiles = np.array(scored.task.quantiles)
    return scored.mean(np.maximum(-quantiles * scored.errors, (1 - quantiles) * scored.errors).mean(axis=1))


def _pinball(scored: _Scored) -> float:
    """Mean over rows and quantiles of q (y - p) or, where the prediction p is too large, (1 - q) (p - y)."""
    return _scaled_pinball(scored) * scored.task.target_scale


def _coverage_error(scored: _Scored) -> float:
    """Mean distance of each quantile from the share of rows that are not above its prediction."""
    shares = scored.weights @ (scored.errors >= 0)
    return float(np.abs(shares - np.array(scored.task.quantiles)).mean())


def _mae_of_median(scored: _Scored) -> float:
    """NaN where the median is not among the quantiles."""
    if _MEDIAN not in scored.task.quantiles:
        return math.nan
    place = scored.task.quantiles.index(_MEDIAN)
    return scored.mean(np.abs(scored.errors[:, place])) * scored.task.target_scale


@dataclasses.dataclass(frozen=True)
class _Metric:
    goal: str
    compute: Mapping[TargetKind, Callable[[_Scored], float]]

    @classmethod
    def of_classes(cls, goal: str, function: Callable[[_Scored], float]) -> _Metric:
        """A metric of classes, in an order or not."""
        return cls(goal, dict.fromkeys((TargetKind.CLASSES, TargetKind.ORDERED_CLASSES), function))


_MEDIAN = 0.5
_NUMBERS, _QUANTILES = TargetKind.NUMBERS, TargetKind.QUANTILES
_METRICS: Mapping[str, _Metric] = {
    "loss": _Metric(
        MINIMIZE,
        {
            **_Metric.of_classes(MINIMIZE, _cross_entropy).compute,
            _NUMBERS: _scaled_mse,
            _QUANTILES: _scaled_pinball,
        },
    ),
    "accuracy": _Metric.of_classes(MAXIMIZE, _accuracy),
    "auc": _Metric.of_classes(MAXIMIZE, _auc),
    "auc_pr": _Metric.of_classes(MAXIMIZE, _auc_pr),
    "log_loss": _Metric.of_classes(MINIMIZE, _cross_entropy),
    "f1": _Metric.of_classes(MAXIMIZE, _f1),
    "rank_error": _Metric(MINIMIZE, {TargetKind.ORDERED_CLASSES: _rank_error}),
    "quadratic_kappa": _Metric(MAXIMIZE, {TargetKind.ORDERED_CLASSES: _quadratic_kappa}),
    "r2": _Metric(MAXIMIZE, {_NUMBERS: _r2}),
    "rmse": _Metric(MINIMIZE, {_NUMBERS: _rmse}),
    "mse": _Metric(MINIMIZE, {_NUMBERS: _mse}),
    "mae": _Metric(MINIMIZE, {_NUMBERS: _mae, _QUANTILES: _mae_of_median}),
    "pinball": _Metric(MINIMIZE, {_QUANTILES: _pinball}),
    "coverage_error": _Metric(MINIMIZE, {_QUANTILES: _coverage_error}),
}
_FITS: Mapping[TargetKind, str] = {
    TargetKind.CLASSES: "a classification task",
    TargetKind.ORDERED_CLASSES: "an ordinal task",
    _NUMBERS: "a regression task",
    _QUANTILES: "these quantiles",
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
    "qwk": "quadratic_kappa",
    "quadratic_weighted_kappa": "quadratic_kappa",
    "cohen_kappa": "quadratic_kappa",
    "pinball_loss": "pinball",
    "mean_pinball_loss": "pinball",
    "quantile_loss": "pinball",
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
        Classes: loss, log_loss, accuracy, auc, f1, for two classes auc_pr, and for ordered ones rank_error and
        quadratic_kappa. Numbers: loss (mean squared error of the scaled targets, or of their scaled logarithms)
        and, in the user's units, mse, rmse, mae, r2. Quantiles: loss (mean pinball loss of the scaled targets),
        coverage_error and, in the user's units, pinball and mae (of the median).
    """
    scored = _scored(task, labels, logits, weights)
    values = {name: m.compute[task.target](scored) for name, m in _METRICS.items() if task.target in m.compute}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def compute_metric(
    name: str, task: Task, labels: np.ndarray, logits: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """One metric by its resolved name (see `all_metrics` for the arguments); NaN where it cannot be computed."""
    return float(_METRICS[name].compute[task.target](_scored(task, labels, logits, weights)))


def predictions(task: Task, logits: np.ndarray) -> np.ndarray:
    """What a user's own metric sees: probabilities [rows, classes], or values in the user's units [rows].

    Several targets give [rows, targets], quantiles [rows, quantiles].
    """
    if task.kind is TaskKind.CLASSIFICATION:
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)
    return in_user_units(task, _within_range(task, in_order(task, logits)))


def predicted_classes(task: Task, logits: np.ndarray) -> np.ndarray:
    """The number of the class that is predicted, int [...], from logits [..., classes] divided by the temperature.

    The most probable class; of ordered ones the median, which is the fewest classes away from the true one on average.
    """
    if not task.ordered:
        return logits.argmax(axis=-1)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float64)
    up_to = powers.cumsum(axis=-1)
    return (up_to[..., :-1] < up_to[..., -1:] / 2).sum(axis=-1)


def in_order(task: Task, logits: np.ndarray) -> np.ndarray:
    """Logits, those of quantiles rising: sorting never makes the pinball loss worse (Chernozhukov et al. 2010)."""
    return np.sort(logits, axis=-1) if task.quantiles else logits


def _within_range(task: Task, logits: np.ndarray) -> np.ndarray:
    """Logits of logarithms cut off as models' answers are: the exponential of a far one may outweigh all rows."""
    return np.clip(logits, *task.target_range) if task.log_target and task.target_range is not None else logits


def in_user_units(task: Task, scaled: np.ndarray) -> np.ndarray:
    """Scaled targets [rows, targets] in the user's units: [rows] for one target."""
    values = task.to_units(scaled)
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


def resolve_metric(metric: str | Callable[..., float] | None, goal: str | None, task: Task) -> ResolvedMetric:
    """Finds the metric that a user means, and whether more or less of it is better.

    Args:
        metric: A name in any spelling ("AUC", "log loss", "R2"), a function `fn(labels, predictions) -> number`, or
            None for the loss.
        goal: "minimize" or "maximize"; None takes the metric's usual one.
        task: What is predicted.

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
    fitting = [known for known, m in _METRICS.items() if task.target in m.compute]
    if task.quantiles and _MEDIAN not in task.quantiles:
        fitting.remove("mae")
    if name not in _METRICS:
        near = difflib.get_close_matches(name, [*_METRICS, *_OTHER_NAMES], n=3)
        meant = ", ".join(dict.fromkeys(_OTHER_NAMES.get(one, one) for one in near) or fitting)
        raise UserError(f"metric {metric!r} is unknown; did you mean one of: {meant}?")
    if name not in fitting:
        raise UserError(f"metric {name!r} does not fit {_FITS[task.target]}; expected one of {', '.join(fitting)}")
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
    logits = in_order(task, np.asarray(logits))
    if task.kind is TaskKind.REGRESSION:
        labels = labels.reshape(len(labels), -1)
    shares = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
    total = shares.sum()
    if total <= 0:  # studies that began before such splits were refused, see `several_tasks.counted`, go on
        shares, total = np.ones(len(labels)), float(len(labels))
    return _Scored(task, labels, logits, shares / total)
