"""Validation metrics of a model from its logits."""

from __future__ import annotations

import math

import numpy as np

from model_search.data.labelled_rows import LabelledRows
from model_search.data.prepared_data import PreparedData
from model_search.data.rows import Rows
from model_search.errors import TrialError
from model_search.training import metrics
from model_search.training.losses import averaging_one, batch_loss
from model_search.training.outcome import TrainingSettings
from model_search.training.runtime import tensorflow


class ValidationMetrics:
    """Knows the study's metric, and the provider's own loss and metrics."""

    def __init__(self, data: PreparedData, settings: TrainingSettings):
        self._data = data
        self._settings = settings
        self._valid = LabelledRows.of_rows(data.task, data.valid)

    def during_training(self, rows: Rows, logits: np.ndarray) -> tuple[float, float]:
        """The study's metric (NaN where these rows do not allow it) and the loss, on some of the validation rows."""
        # With frozen towers' logits as one more input, the rows are others, but their labels are not.
        is_all = rows.label is self._data.valid.label
        known = self._valid if is_all else LabelledRows.of_rows(self._data.task, rows)
        flat = known.logits(logits)
        loss = self._loss(known, flat)
        name = self._settings.metric
        return (loss if name == "loss" and self._settings.metric_fn is None else self._metric(known, flat)), loss

    def all(self, logits: np.ndarray) -> dict[str, float]:
        """All finite metrics on all validation rows, the study's metric among them.

        Args:
            logits: [validation rows, ...], as the model gives them.

        Raises:
            TrialError: if the study's metric cannot be computed.
        """
        valid, task = self._valid, self._data.task
        flat = valid.logits(logits)
        found = metrics.all_metrics(task, valid.labels, flat, valid.weights)
        if self._data.loss_fn is not None:
            found["loss"] = self._loss(valid, flat)
        if self._data.metric_fn is not None:
            found |= metrics.extra_metrics(self._data.metric_fn, task, valid.labels, flat)
        found |= self._of_other_tasks(logits)
        name = self._settings.metric
        if self._settings.metric_fn is not None:
            found[name] = self._metric(valid, flat)
        if not math.isfinite(found.get(name, math.nan)):
            raise TrialError(f"the metric {name!r} cannot be computed on the validation rows (it is not finite)")
        return found

    def _of_other_tasks(self, logits: np.ndarray) -> dict[str, float]:
        """The metrics of the tasks besides the primary one, as "accuracy/task"; none from its logits alone."""
        tasks = self._data.tasks
        if len(tasks) == 1 or logits.shape[-1] == self._data.task.logits_dimension:
            return {}
        known = LabelledRows.of_tasks(tasks, self._data.valid, logits)
        known.pop(self._data.valid.task)
        return {
            f"{metric}/{name}": value
            for name, (rows, own) in known.items()
            if rows.count
            for metric, value in metrics.all_metrics(rows.task, rows.labels, own, rows.weights).items()
        }

    def _metric(self, rows: LabelledRows, logits: np.ndarray) -> float:
        task, fn, name = self._data.task, self._settings.metric_fn, self._settings.metric
        if fn is None:
            return metrics.compute_metric(name, task, rows.labels, logits, rows.weights)
        return metrics.as_number(metrics.call_metric_fn(fn, task, rows.labels, logits), f"metric {name!r}")

    def _loss(self, rows: LabelledRows, logits: np.ndarray) -> float:
        if self._data.loss_fn is None:
            return metrics.compute_metric("loss", self._data.task, rows.labels, logits, rows.weights)
        tf = tensorflow()
        given = rows.weights
        if rows.valid is not None and given is not None and (given == given[:1]).all():
            given = None  # they only told padded steps from valid ones
        weights = None if given is None else tf.constant(averaging_one(given))
        loss = batch_loss(self._data.task, self._data.loss_fn)
        return float(loss(tf.constant(rows.labels), tf.constant(logits), weights))
