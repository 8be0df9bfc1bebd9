"""What a model reaches that says the same of every row, and what simple models reach: less than that is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from model_search.data.prepared_data import PreparedData, TableData
from model_search.data.task import Task, TaskKind
from model_search.metadata.final_models import FinalModel
from model_search.metadata.trial import Trial
from model_search.ranking import Objective
from model_search.search.history.history import History

_SMALLEST_SHARE = 1e-6  # of a class that no training row has


def constant_logits(data: PreparedData) -> np.ndarray | None:
    """The logits, for each validation row, of the class shares, the mean or the quantiles of the training rows.

    Returns:
        float32 [validation rows, logits dimension]; None for a stream, and where there is a label for each step.
    """
    if not isinstance(data, TableData) or data.train.label.ndim > 1 + (data.task.kind is TaskKind.REGRESSION):
        return None
    constant = constant_of(data.task, data.train.label, data.train.weight)
    return np.tile(constant, (len(data.valid), 1))


def constant_of(task: Task, labels: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """The logits of the class shares, the mean or the quantiles of some rows, float32 [logits dimension].

    Args:
        task: What is predicted.
        labels: As in `Rows.labels`, one for each row.
        weights: Of the rows; None where all weigh the same.
    """
    if task.kind is TaskKind.CLASSIFICATION:
        shares = np.bincount(labels, weights, minlength=task.logits_dimension)
        constant = np.log(np.maximum(shares / shares.sum(), _SMALLEST_SHARE))
    elif task.quantiles:
        constant = _quantiles(labels[:, 0], task.quantiles, weights)
    else:
        constant = np.average(labels, axis=0, weights=weights)
    return constant.astype(np.float32)


def _quantiles(targets: np.ndarray, quantiles: tuple[float, ...], weights: np.ndarray | None) -> np.ndarray:
    """For each quantile the least target up to which that share of the weights is found."""
    order = np.argsort(targets, kind="stable")
    found = np.cumsum(np.ones(len(order)) if weights is None else weights[order].astype(np.float64))
    places = np.searchsorted(found, np.array(quantiles) * found[-1])
    return targets[order][np.minimum(places, len(order) - 1)]


def worse_than_constant(
    data: PreparedData,
    metrics: Callable[[np.ndarray], Mapping[str, float]],
    objective: Objective,
    best: float | None,
) -> str | None:
    """A sentence for people, if saying the same of every validation row is better than the best trial.

    Args:
        data: Training and validation rows.
        metrics: Metrics of logits for the validation rows.
        objective: The study's metric.
        best: Its best value among the trials.
    """
    logits = constant_logits(data)
    value = None if logits is None else metrics(logits).get(objective.metric)
    if value is None or not objective.better(value, best):
        return None
    shown = "nothing" if best is None else f"{best:.6g}"
    return (
        f"no trial is better than saying the same of every row: that has a {objective.metric} of {value:.6g} on the "
        f"validation rows, the best trial {shown}; the features may say nothing about the labels, or take more rows"
    )


def worse_than_baseline(best: Trial | FinalModel, history: History) -> str | None:
    """A sentence for people, if trees or the linear model by themselves are better than what is handed back.

    Args:
        best: What is handed back.
        history: All trials. Where baselines were trained in folds, these figures count.
    """
    if isinstance(best, Trial) and best.plan is not None and best.plan.classic is not None:
        return None
    found = [trial for trial in history.completed if trial.plan is not None and trial.plan.classic is not None]
    bags = [trial for trial in found if trial.plan is not None and trial.plan.folds]
    baseline = next(iter(bags or found), None)
    metric, reached = history.metric, best.metrics if isinstance(best, FinalModel) else {}
    if isinstance(best, Trial) and best.result is not None:
        reached = best.result.metrics
    if baseline is None or baseline.plan is None:
        return None
    value, own = history.value(baseline), reached.get(metric)
    if not history.ranking.objective.better(value, own):
        return None
    shown = "unknown" if own is None else f"{own:.6g}"
    return (
        f"what is handed back has a {metric} of {shown} on the validation rows; {baseline.plan.described} alone have "
        f"{value:.6g} (trial {baseline.id})"
    )
