"""The loss of a batch, inside a graph."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from model_search.data.prepared_data import PreparedData, TableData
from model_search.data.task import Task, TaskKind, logits_of_tasks
from model_search.errors import ModelSearchError, TrialError, UserError
from model_search.training.hyperparameters import Hyperparameters
from model_search.training.outcome import TrainingSettings
from model_search.training.runtime import tensorflow

LossFn = Callable[[Any, Any, Any], Any]
_LEAST_PROBABILITY = 1e-7


def batch_loss(task: Task, loss_fn: Callable[..., Any] | None, smoothing: float = 0.0) -> LossFn:
    """The loss as a function of labels, logits and weights (a tensor [batch], or None) that gives a scalar tensor.

    Without a function of the provider's own it is softmax cross-entropy for classes, the squared error of the scaled
    targets for numbers, and the pinball loss (Koenker and Bassett 1978) for quantiles, averaged over rows; weights are
    expected to average 1 over the data. For ordered classes the cross-entropy of each threshold between two of them is
    added (Frank and Hall 2001, with one tower that gives the probabilities of classes instead of a model for each
    threshold): a class far from the true one costs more than its neighbour, and probabilities stay honest.

    Args:
        task: Classes or numbers.
        loss_fn: The provider's own loss.
        smoothing: Share of a label that is spread over all classes; not of numbers, or by the provider's loss.
    """
    if loss_fn is not None:
        return _Own(loss_fn)
    if task.quantiles:
        return _pinball(task.quantiles)
    if task.kind is not TaskKind.CLASSIFICATION:
        return _squared_error
    of_classes = _smoothed(smoothing) if smoothing > 0 else _cross_entropy
    return _with_thresholds(of_classes) if task.ordered else of_classes


def balanced(loss: LossFn, labels: np.ndarray, power: float) -> LossFn:
    """The loss with rows that weigh more the fewer rows their class has; weights still average 1 over the data.

    Args:
        loss: A loss that takes weights.
        labels: The classes of the training rows, int [rows, ...].
        power: From 0 (all rows weigh the same) to 1 (all classes do).
    """
    tf, counts = tensorflow(), np.bincount(labels.ravel()).astype(np.float64)
    raised = np.where(counts > 0, np.maximum(counts, 1) ** -power, 0.0)
    by_class = (raised * counts.sum() / (raised * counts).sum()).astype(np.float32)

    def weighted(labels: Any, logits: Any, weights: Any) -> Any:
        own = tf.gather(tf.constant(by_class), labels)
        return loss(labels, logits, own if weights is None else own * weights)

    return weighted


@dataclasses.dataclass(frozen=True)
class TaskLoss:
    """The loss of one of several tasks.

    Attributes:
        name: Name of its labels and weights.
        columns: Which of the logits are its.
        kind: Classes or numbers.
        loss: Its loss.
        weight: What the loss is multiplied by.
    """

    name: str
    columns: slice
    kind: TaskKind
    loss: LossFn
    weight: float = 1.0


@dataclasses.dataclass(frozen=True)
class TaskLosses:
    """The losses of several tasks: added, or one after the other, each update that of the next task.

    Attributes:
        tasks: The tasks.
        merged: Whether they are added.
    """

    tasks: tuple[TaskLoss, ...]
    merged: bool = True

    def __call__(self, labels: Mapping[str, Any], logits: Any, weights: Mapping[str, Any], update: Any) -> Any:
        """The loss of a batch, inside a graph.

        Args:
            labels: By task.
            logits: [batch, ..., logits of all tasks].
            weights: By task; a task without weights is left out.
            update: The number of the update.
        """
        tf = tensorflow()
        found = [
            one.weight * one.loss(labels[one.name], logits[..., one.columns], weights.get(one.name))
            for one in self.tasks
        ]
        if self.merged:
            return tf.add_n(found)
        return tf.gather(tf.stack(found), update % len(found))


@dataclasses.dataclass(frozen=True)
class LossSettings:
    """How the losses of tasks are made.

    Attributes:
        weights: What the loss of each of several tasks is multiplied by; 1 where it is left out.
        merged: Whether the losses of several tasks are added.
        smoothing: Share of a label that is spread over all classes.
    """

    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    merged: bool = True
    smoothing: float = 0.0


def task_losses(
    tasks: Mapping[str, Task], settings: LossSettings, loss_fn: Callable[..., Any] | None
) -> LossFn | TaskLosses:
    """The loss of one task as a function of its labels, or those of several.

    Args:
        tasks: By name, the primary one first.
        settings: How they are made.
        loss_fn: The provider's own loss.

    Raises:
        UserError: for a loss of the provider's own with several tasks.
    """
    if len(tasks) == 1:
        return batch_loss(next(iter(tasks.values())), loss_fn, settings.smoothing)
    if loss_fn is not None:
        raise UserError(f"loss_fn {_name(loss_fn)} is for one task, and the data have {len(tasks)}; leave it out")
    columns = logits_of_tasks(tasks)
    return TaskLosses(
        tuple(
            TaskLoss(
                name,
                columns[name],
                task.kind,
                batch_loss(task, None, settings.smoothing),
                settings.weights.get(name, 1.0),
            )
            for name, task in tasks.items()
        ),
        settings.merged,
    )


def averaging_one(weights: np.ndarray) -> np.ndarray:
    """Weights on the scale that losses expect, float32; weights of zero only stay as they are.

    Weights of steps, [rows, steps], average 1 over the steps that count; a padded one weighs nothing.
    """
    counted = weights if weights.ndim == 1 else weights[weights > 0]
    mean = float(np.mean(counted, dtype=np.float64)) if counted.size else 0.0
    return (weights / (mean if mean > 0 else 1.0)).astype(np.float32)


def _cross_entropy(labels: Any, logits: Any, weights: Any) -> Any:
    tf = tensorflow()
    return average_over_rows(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits), weights)


def _smoothed(share: float) -> LossFn:
    """Cross-entropy with labels of which a share is spread over all classes."""

    def loss(labels: Any, logits: Any, weights: Any) -> Any:
        tf = tensorflow()
        sharp = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        spread = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
        return average_over_rows((1 - share) * sharp + share * spread, weights)

    return loss


def _with_thresholds(of_classes: LossFn) -> LossFn:
    """The loss of classes plus the cross-entropies of "above this class", of all classes but the last."""

    def loss(labels: Any, logits: Any, weights: Any) -> Any:
        tf = tensorflow()
        probabilities = tf.nn.softmax(logits)
        up_to = tf.cumsum(probabilities, axis=-1)[..., :-1]
        above = tf.cumsum(probabilities, axis=-1, reverse=True)[..., 1:]
        is_above = labels[..., None] > tf.range(logits.shape[-1] - 1, dtype=labels.dtype)
        of_truth = tf.maximum(tf.where(is_above, above, up_to), _LEAST_PROBABILITY)
        thresholds = -tf.reduce_sum(tf.math.log(of_truth), axis=-1)
        return of_classes(labels, logits, weights) + average_over_rows(thresholds, weights)

    return loss


def _squared_error(labels: Any, logits: Any, weights: Any) -> Any:
    tf = tensorflow()
    errors = tf.square(logits - labels)
    return average_over_rows(errors if weights is None else tf.reduce_mean(errors, axis=-1), weights)


def _pinball(quantiles: tuple[float, ...]) -> LossFn:
    """The pinball loss of the scaled targets [batch, 1], averaged over the quantiles."""

    def loss(labels: Any, logits: Any, weights: Any) -> Any:
        tf = tensorflow()
        shares, errors = tf.constant(quantiles, tf.float32), logits - labels
        losses = tf.reduce_mean(tf.maximum(-shares * errors, (1 - shares) * errors), axis=-1)
        return average_over_rows(losses, weights)

    return loss


def average_over_rows(losses: Any, weights: Any) -> Any:
    """Mean over everything, inside a graph; a row's weight counts for all of its losses.

    Args:
        losses: [batch, ...].
        weights: [batch], averaging 1 over the data; [batch, steps], of which those above 0 count; or None.
    """
    tf = tensorflow()
    if weights is None:
        return tf.reduce_mean(losses)
    if weights.shape.rank > 1:
        counted = tf.reduce_sum(tf.cast(weights > 0, losses.dtype))
        return tf.reduce_sum(losses * weights) / tf.maximum(counted, 1.0)
    spread = tf.reshape(weights, [-1] + [1] * (losses.shape.rank - 1))
    return tf.reduce_mean(losses * spread)


class _Own:
    """A provider's `loss_fn(labels, logits, weights)`, checked."""

    def __init__(self, loss_fn: Callable[..., Any]):
        self._loss_fn = loss_fn
        self._takes_weights = _accepts(loss_fn, 3)
        if not self._takes_weights and not _accepts(loss_fn, 2):
            raise UserError(f"loss_fn {_name(loss_fn)} cannot be called with (labels, logits, weights)")

    def __call__(self, labels: Any, logits: Any, weights: Any) -> Any:
        tf = tensorflow()
        name = _name(self._loss_fn)
        if weights is not None and weights.shape.rank == 2:  # padded steps are left out, as in evaluation
            valid = weights > 0
            labels, logits, weights = (tf.boolean_mask(tensor, valid) for tensor in (labels, logits, weights))
        elif weights is not None and not self._takes_weights:
            raise UserError(f"loss_fn {name} takes no weights, yet the data have a weight column; add a third argument")
        arguments = (labels, logits, 1.0 if weights is None else weights) if self._takes_weights else (labels, logits)
        try:
            loss = tf.cast(tf.convert_to_tensor(self._loss_fn(*arguments)), tf.float32)
        except ModelSearchError:
            raise
        except Exception as error:
            raise UserError(
                f"loss_fn {name} failed on labels of shape {labels.shape} and logits of shape {logits.shape}: "
                f"{type(error).__name__}: {error}"
            ) from error
        if loss.shape.rank is None or loss.shape.rank > 1:
            raise UserError(f"loss_fn {name} returned a tensor of shape {loss.shape}; expected one number")
        return tf.reduce_mean(loss)


def _accepts(function: Callable[..., Any], arguments: int) -> bool:
    try:
        inspect.signature(function).bind(*range(arguments))
    except TypeError:
        return False
    except ValueError:  # a function without a signature
        return True
    return True


def _name(function: Callable[..., Any]) -> str:
    return repr(getattr(function, "__name__", type(function).__name__))


def loss_of(data: PreparedData, settings: TrainingSettings, given: Hyperparameters) -> LossFn | TaskLosses:
    """What a trial minimises: the loss of the provider or the usual one of each task, with class weights if asked.

    Raises:
        TrialError: if classes are to be balanced where there are none of one table and one task.
    """
    losses = LossSettings(settings.loss_weights, settings.merged_losses, given.label_smoothing)
    found = task_losses(data.tasks, losses, data.loss_fn)
    if given.class_balance == 0:
        return found
    is_usual = data.task.kind is TaskKind.CLASSIFICATION and data.loss_fn is None
    if isinstance(found, TaskLosses):
        raise TrialError("class_balance is above 0, but there are several tasks; expected classes of one task")
    if not isinstance(data, TableData) or not is_usual:
        raise TrialError(
            "class_balance is above 0, but the data are a stream, numbers are predicted, or the provider has its "
            "own loss; expected classes of a table, and the usual loss"
        )
    return balanced(found, data.train.label, given.class_balance)
