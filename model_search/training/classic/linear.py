"""Linear models with the best of a few strengths of their penalty, for classes (logistic regression) and numbers.

The linear model has an L2 penalty (ridge regression), the sparse one an L1 penalty (Tibshirani 1996), which leaves most
columns out: of hundreds of columns and few rows it finds the few that count.

Networks read numbers with a smooth clip. A linear model may need them as they are, and where a few are far away it is
better with the clip. So it tries both.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from model_search.metadata.trial import TrialPlan
from model_search.search.planning.classic_models import forms
from model_search.towers.classic_arrays import without_clip
from model_search.training.classic.fitted import NEVER_SEEN, ClassicRows, Fitted

_MOST_NUMBERS = 20_000_000  # of features and outputs, with which the second form is tried, too: some seconds


def linear_models(plan: TrialPlan, rows: ClassicRows, valid: np.ndarray) -> Iterator[Fitted]:
    """With an L2 penalty; arguments as in `sparse_linear_models`."""
    return _models(_Model, plan, rows, valid)


def sparse_linear_models(plan: TrialPlan, rows: ClassicRows, valid: np.ndarray) -> Iterator[Fitted]:
    """With an L1 penalty.

    Args:
        plan: What to train.
        rows: Rows to train on.
        valid: float32 [rows, columns], features of the validation rows.
    """
    return _models(_SparseModel, plan, rows, valid)


def _models(kind: type[_Model], plan: TrialPlan, rows: ClassicRows, valid: np.ndarray) -> Iterator[Fitted]:
    """From the strongest penalty to the weakest, each in turn with each form of the numbers.

    Each one begins where the one of this form before it has ended, if the solver can.
    """
    given, known = plan.hyperparameters, forms(plan)
    weakest, factor = float(given["weakest_penalty"]), float(given["factor"])
    tried = [form for form in known if form == known[0] or _is_worthwhile(rows)]
    models = {form: kind(rows, valid, form) for form in tried}
    penalties = plan.steps // len(known)
    for number in range(1, penalties + 1):
        penalty = weakest * factor ** (penalties - number)
        for place, form in enumerate(tried, 1):
            yield models[form].fitted((number - 1) * len(known) + place, penalty)


def _is_worthwhile(rows: ClassicRows) -> bool:
    """Whether there are numbers, and not too many rows and columns to try a second form of them."""
    has_numbers = rows.numbers is not None and bool(rows.numbers.any())
    return has_numbers and rows.features.size * rows.task.logits_dimension <= _MOST_NUMBERS


class _Model:
    """The linear model of one form of the numbers."""

    def __init__(self, rows: ClassicRows, valid: np.ndarray, form: str):
        self._rows = rows
        self._columns = rows.numbers if form == "unclipped" else None
        self._features = without_clip(rows.features, self._columns)
        self._valid = without_clip(valid, self._columns)
        self._model = self._made()

    def _made(self) -> Any:
        from sklearn.linear_model import LogisticRegression, Ridge

        return LogisticRegression(max_iter=200, warm_start=True) if self._rows.is_classification else Ridge()

    def _strength(self, penalty: float) -> dict[str, float]:
        """The penalty as the model takes it."""
        return {"C": 1 / penalty} if self._rows.is_classification else {"alpha": penalty}

    def fitted(self, step: int, penalty: float) -> Fitted:
        rows, model = self._rows, self._model
        model.set_params(**self._strength(penalty))
        model.fit(self._features, rows.targets, sample_weight=rows.weights)
        kernel = np.atleast_2d(model.coef_).T
        bias = np.atleast_1d(model.intercept_)
        if rows.is_classification and len(model.classes_) < rows.task.logits_dimension:
            kernel, bias = of_all_classes(kernel, bias, model.classes_, rows.task.logits_dimension)
        arrays = {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
        outputs = self._valid @ arrays["kernel"] + arrays["bias"]
        return Fitted(step, outputs, arrays if self._columns is None else {**arrays, "unclipped": self._columns})


class _SparseModel(_Model):
    """The same with an L1 penalty, given as a share of the least one with which all weights are 0."""

    def _made(self) -> Any:
        from sklearn.linear_model import Lasso, LogisticRegression

        if not self._rows.is_classification:
            return Lasso(warm_start=True, max_iter=2000)
        if len(np.unique(self._rows.targets)) == 2:
            return LogisticRegression(max_iter=200, solver="liblinear", random_state=0, **_l1())
        return LogisticRegression(max_iter=60, warm_start=True, solver="saga", random_state=0, **_l1())

    def _strength(self, penalty: float) -> dict[str, float]:
        alpha = penalty * self._least
        return {"C": 1 / (alpha * len(self._features))} if self._rows.is_classification else {"alpha": alpha}

    @functools.cached_property
    def _least(self) -> float:
        """The greatest slope of the mean loss by a weight where all are 0; 1 where there is none."""
        targets, weights = self._rows.targets, self._rows.weights
        weights = np.ones(len(targets)) if weights is None else weights / weights.mean()
        columns = targets[:, None]
        if self._rows.is_classification:
            columns = columns == np.unique(targets)
        errors = columns - np.average(columns, axis=0, weights=weights)
        slopes = np.abs((weights[:, None] * errors).T @ self._features) / len(targets)
        return float(slopes.max(initial=0.0)) or 1.0


def _l1() -> dict[str, Any]:
    """How logistic regression is told to have an L1 penalty: scikit-learn 1.8 has renamed it."""
    import sklearn

    major, minor = map(int, sklearn.__version__.split(".")[:2])
    return {"l1_ratio": 1.0} if (major, minor) >= (1, 8) else {"penalty": "l1"}


def of_all_classes(kernel: np.ndarray, bias: np.ndarray, seen: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights [columns, width] and biases [width] of all classes, where some classes have no training rows.

    Args:
        kernel: Weights [columns, classes with rows], or [columns, 1] where two have rows: of the second.
        bias: As many biases.
        seen: int, the classes that have training rows.
        width: How many classes there are.
    """
    weights, biases = np.zeros((len(kernel), width)), np.full(width, NEVER_SEEN)
    biases[seen] = 0
    places = seen[-kernel.shape[1] :]
    weights[:, places], biases[places] = kernel, bias
    return weights, biases
