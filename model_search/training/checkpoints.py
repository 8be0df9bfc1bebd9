"""When to look at validation, on which rows, and which look was the best one."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from model_search.data.task import Rows
from model_search.ranking import Goal, Objective
from model_search.training.flat_tower import Snapshot

LOOKS = 8  # a trial
_SHARE = 0.05  # rows of a look, as a share of the rows that the trial trains on
_FEWEST_ROWS = 500


@dataclasses.dataclass(frozen=True)
class LookRows:
    """The rows that looks read: all of them, or a fixed random part.

    Attributes:
        rows: What is read.
        complete: Whether these are all validation rows.
        numbers: Their numbers among the validation rows, where they are not all.
    """

    rows: Rows
    complete: bool
    numbers: np.ndarray | None = None

    @classmethod
    def of(cls, valid: Rows, updates: int, batch_size: int, eval_steps: int | None) -> LookRows:
        """Chooses as many rows as cost about a tenth of the training, and not more than `eval_steps` batches.

        The choice depends on nothing but these numbers: the same plan reads the same rows, and all trials of a study
        are judged alike.
        """
        limit = max(_FEWEST_ROWS, int(_SHARE * updates * batch_size))
        if eval_steps is not None:
            limit = min(limit, eval_steps * batch_size)
        if limit >= len(valid):
            return cls(valid, complete=True)
        chosen = np.sort(np.random.default_rng(len(valid)).permutation(len(valid))[:limit])
        weights = None if valid.weights is None else valid.weights[chosen]
        return cls(Rows(valid.features[chosen], valid.labels[chosen], weights), complete=False, numbers=chosen)

    def of_column(self, column: np.ndarray | None) -> np.ndarray | None:
        """The same rows of a column [validation rows, width]."""
        return column if column is None or self.numbers is None else column[self.numbers]


def look_updates(updates: int, first: int = 0) -> tuple[int, ...]:
    """After how many updates to look: evenly spread, the last one at the end.

    Args:
        updates: After how many updates training ends.
        first: How many were made before it began.
    """
    return tuple(sorted({first + math.ceil((updates - first) * look / LOOKS) for look in range(1, LOOKS + 1)}))


@dataclasses.dataclass(frozen=True)
class Look:
    """One look: after how many updates, the study's metric (NaN where it cannot be computed), the loss, and outputs."""

    update: int
    metric: float
    loss: float
    outputs: np.ndarray


class Best:
    """Keeps the weights of the best look; the loss decides between equals."""

    def __init__(self, goal: str):
        self._metric, self._loss = Objective("metric", Goal.of(goal)), Objective("loss", Goal.MINIMIZE)
        self.look: Look | None = None
        self.snapshot: Snapshot | None = None

    def offer(self, look: Look, snapshot: Snapshot) -> None:
        """Keeps the look's weights if it is better than the best one so far."""
        if self.look is None or self._is_better(look, self.look):
            self.look, self.snapshot = look, snapshot

    def _is_better(self, look: Look, than: Look) -> bool:
        if self._metric.better(look.metric, than.metric):
            return True
        is_worse = self._metric.better(than.metric, look.metric)
        return not is_worse and self._loss.better(look.loss, than.loss)
