"""What classic models are trained on, and what they are after some of their steps."""

from __future__ import annotations

import dataclasses

import numpy as np

from model_search.data.task import Task, TaskKind
from model_search.metadata.trial import TrialPlan
from model_search.towers.classic_arrays import ClassicArrays

NEVER_SEEN = -12.0  # logit of a class without training rows


@dataclasses.dataclass(frozen=True)
class ClassicRows:
    """Rows to train on.

    Attributes:
        task: What is predicted.
        features: float32 [rows, columns].
        targets: Classes int [rows], or scaled numbers float [rows].
        weights: float [rows], or None.
        indicator: See `classic_arrays`.
        numbers: bool [columns], which columns are standardised numbers with a smooth clip; None for none.
        means: bool [columns], which columns are means of the label; None where there are none.
        categories: The first column and the one after the last of those that tell a row's category, 1 for one of them.
    """

    task: Task
    features: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None
    indicator: np.ndarray
    numbers: np.ndarray | None = None
    means: np.ndarray | None = None
    categories: tuple[tuple[int, int], ...] = ()

    @property
    def is_classification(self) -> bool:
        """Whether classes are predicted."""
        return self.task.kind is TaskKind.CLASSIFICATION

    def without_means(self) -> ClassicRows:
        """The same with 0 in place of all means of the label, by which no tree divides them then."""
        return self if self.means is None else dataclasses.replace(self, features=self.features * ~self.means)


def columns_of_a_split(usual: int, columns: int, plan: TrialPlan) -> int:
    """How many columns a split of a tree is chosen among.

    Args:
        usual: By the share of the columns.
        columns: How many there are; a category has as many as it has values.
        plan: May have a least number, `least_columns`; those of earlier versions have none.
    """
    return max(1, usual, min(columns, int(plan.hyperparameters.get("least_columns", 1))))


def trees_a_round(task: Task) -> int:
    """How many trees a round of boosting has: one for each output; two classes have one output."""
    is_binary = task.kind is TaskKind.CLASSIFICATION and task.logits_dimension == 2
    return 1 if is_binary else task.logits_dimension


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A model at one of its steps.

    Attributes:
        step: The step.
        outputs: Its outputs for the validation rows, float64 [rows, outputs], before they are made logits.
        arrays: The model.
    """

    step: int
    outputs: np.ndarray
    arrays: ClassicArrays
