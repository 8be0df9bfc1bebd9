"""When a trial is evaluated, on which validation rows, and which checkpoint was the best one."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from model_search.data.rows import Rows
from model_search.ranking import Goal, Objective
from model_search.training.flat_tower import Snapshot

EVALUATIONS = 8  # a trial
_FEWEST_EVALUATIONS = 2
_EVALUATION_SHARE = 0.1  # of the cost of training, where evaluations are few: a row costs a third of a trained one
_SHARE = 0.05  # rows of an evaluation, as a share of the rows that the trial trains on
_FEWEST_ROWS = 500


@dataclasses.dataclass(frozen=True)
class EvaluationRows:
    """The validation rows that evaluations during training read: all of them, or a fixed random part.

    Attributes:
        rows: The rows to evaluate on.
        complete: Whether these are all validation rows.
    """

    rows: Rows
    complete: bool

    @classmethod
    def of(cls, valid: Rows, updates: int, batch_size: int, eval_steps: int | None) -> EvaluationRows:
        """Chooses as many rows as cost about a tenth of the training, and not more than `eval_steps` batches.

        The choice depends on nothing but these numbers: the same plan reads the same rows, and all trials of a study
        are evaluated alike.
        """
        limit = max(_FEWEST_ROWS, int(_SHARE * updates * batch_size))
        if eval_steps is not None:
            limit = min(limit, eval_steps * batch_size)
        if limit >= len(valid):
            return cls(valid, complete=True)
        chosen = np.sort(np.random.default_rng(len(valid)).permutation(len(valid))[:limit])
        return cls(valid.take(chosen), complete=False)


def evaluation_count(trained_rows: int, evaluated_rows: int) -> int:
    """How many evaluations cost about a tenth of a training: at least 2, at most 8.

    Args:
        trained_rows: Rows that the trial trains on.
        evaluated_rows: Rows of one evaluation.
    """
    fits = round(_EVALUATION_SHARE * 3 * trained_rows / max(1, evaluated_rows))
    return min(EVALUATIONS, max(_FEWEST_EVALUATIONS, fits))


def evaluation_updates(updates: int, first: int = 0, count: int = EVALUATIONS) -> tuple[int, ...]:
    """The update counts at which to evaluate: evenly spaced, the last one at the end.

    Args:
        updates: The update count at which training ends.
        first: Updates made before training began.
        count: The number of evaluations.
    """
    shares = range(1, count + 1)
    return tuple(sorted({first + math.ceil((updates - first) * share / count) for share in shares}))


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One evaluation.

    Attributes:
        update: Updates made before it.
        metric: The study's metric; NaN where it cannot be computed.
        loss: The loss.
        outputs: The model's outputs for the rows.
    """

    update: int
    metric: float
    loss: float
    outputs: np.ndarray


class BestCheckpoint:
    """Keeps the weights of the best evaluation; the loss decides between equals."""

    def __init__(self, goal: str):
        self._metric, self._loss = Objective("metric", Goal.of(goal)), Objective("loss", Goal.MINIMIZE)
        self.evaluation: Evaluation | None = None
        self.snapshot: Snapshot | None = None

    def offer(self, evaluation: Evaluation, snapshot: Snapshot) -> None:
        """Keeps the weights if the evaluation is better than the best one so far."""
        if self.evaluation is None or self._is_better(evaluation, self.evaluation):
            self.evaluation, self.snapshot = evaluation, snapshot

    def _is_better(self, evaluation: Evaluation, than: Evaluation) -> bool:
        if self._metric.better(evaluation.metric, than.metric):
            return True
        is_worse = self._metric.better(than.metric, evaluation.metric)
        return not is_worse and self._loss.better(evaluation.loss, than.loss)
