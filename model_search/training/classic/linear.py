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
    return _models(Penalised, plan, rows, valid)


def sparse_linear_models(plan: TrialPlan, rows: ClassicRows, valid: np.ndarray) -> Iterator[Fitted]:
    """With an L1 penalty.

    Args:
        plan: What to train.
        rows: Rows to train on.
        valid: float32 [rows, columns], features of the validation rows.
    """
    return _models(_Sparse, plan, rows, valid)


def penalties_of(plan: TrialPlan, count: int) -> list[float]:
    """As many strengths of the penalty, from the strongest one to the weakest."""
    weakest, factor = float(plan.hyperparameters["weakest_penalty"]), float(plan.hyperparameters["factor"])
    return [weakest * factor**power for power in reversed(range(count))]


def _models(kind: type[Penalised], plan: TrialPlan, rows: ClassicRows, valid: np.ndarray) -> Iterator[Fitted]:
    """From the strongest penalty to the weakest, each in turn with each form of the numbers.

    Each one begins where the one of this form before it has ended, if the solver can.
    """
    known = forms(plan)
    tried = [form for form in known if form == known[0] or _is_worthwhile(rows)]
    columns = {form: rows.numbers if form == "unclipped" else None for form in tried}
    models = {form: kind(rows, without_clip(rows.features, columns[form])) for form in tried}
    judged = {form: without_clip(valid, columns[form]) for form in tried}
    for number, penalty in enumerate(penalties_of(plan, plan.steps // len(known))):
        for place, form in enumerate(tried, 1):
            arrays, unclipped = models[form].fitted(penalty), columns[form]
            outputs = judged[form] @ arrays["kernel"] + arrays["bias"]
            found = arrays if unclipped is None else {**arrays, "unclipped": unclipped}
            yield Fitted(number * len(known) + place, outputs, found)


def _is_worthwhile(rows: ClassicRows) -> bool:
    """Whether there are numbers, and not too many rows and columns to try a second form of them."""
    has_numbers = rows.numbers is not None and bool(rows.numbers.any())
    return has_numbers and rows.features.size * rows.task.logits_dimension <= _MOST_NUMBERS


class Penalised:
    """Ridge regression, or logistic regression: one model for each strength of the penalty.

    Args:
        rows: Gives the targets and weights.
        features: float64 [rows, columns].
    """

    def __init__(self, rows: ClassicRows, features: np.ndarray):
        self._rows = rows
        self._features = features
        self._model = self._made()

    def _made(self) -> Any:
        from sklearn.linear_model import LogisticRegression, Ridge

        return LogisticRegression(max_iter=200, warm_start=True) if self._rows.is_classification else Ridge()

    def _strength(self, penalty: float) -> dict[str, float]:
        """The penalty as the model takes it."""
        return {"C": 1 / penalty} if self._rows.is_classification else {"alpha": penalty}

    def fitted(self, penalty: float) -> dict[str, np.ndarray]:
        """`kernel` [columns, outputs] and `bias` [outputs]; where it can, it begins where the one before has ended."""
        rows, model = self._rows, self._model
        model.set_params(**self._strength(penalty))
        model.fit(self._features, rows.targets, sample_weight=rows.weights)
        kernel = np.atleast_2d(model.coef_).T
        arrays = {"kernel": kernel.astype(np.float32), "bias": np.atleast_1d(model.intercept_).astype(np.float32)}
        if rows.is_classification and len(model.classes_) < rows.task.logits_dimension:
            arrays = _of_all_classes(arrays, model.classes_, rows.task.logits_dimension)
        return arrays


class _Sparse(Penalised):
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


def _of_all_classes(arrays: dict[str, np.ndarray], seen: np.ndarray, width: int) -> dict[str, np.ndarray]:
    """The arrays with an output for each class, where some classes have no training rows."""
    kernel = np.zeros((len(arrays["kernel"]), width), np.float32)
    bias = np.full(width, NEVER_SEEN, np.float32)
    bias[seen] = 0
    places = seen[-arrays["kernel"].shape[1] :]
    kernel[:, places], bias[places] = arrays["kernel"], arrays["bias"]
    return {"kernel": kernel, "bias": bias}
