"""The linear model: logistic regression, or ridge regression, with the best of a few strengths of the L2 penalty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from model_search.metadata.trial import TrialPlan
from model_search.training.classic.fitted import NEVER_SEEN, ClassicRows, Fitted


def linear_models(plan: TrialPlan, rows: ClassicRows, valid: np.ndarray) -> Iterator[Fitted]:
    """From the strongest penalty to the weakest; each one begins where the one before it has ended.

    Args:
        plan: What to train.
        rows: Rows to train on.
        valid: float32 [rows, columns], features of the validation rows.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    given = plan.hyperparameters
    weakest, factor = float(given["weakest_penalty"]), float(given["factor"])
    features = rows.features.astype(np.float64)
    model: Any = LogisticRegression(max_iter=200, warm_start=True) if rows.is_classification else Ridge()
    for step in range(1, plan.steps + 1):
        penalty = weakest * factor ** (plan.steps - step)
        model.set_params(**({"C": 1 / penalty} if rows.is_classification else {"alpha": penalty}))
        model.fit(features, rows.targets, sample_weight=rows.weights)
        kernel = np.atleast_2d(model.coef_).T
        arrays = {"kernel": kernel.astype(np.float32), "bias": np.atleast_1d(model.intercept_).astype(np.float32)}
        if rows.is_classification and len(model.classes_) < rows.task.logits_dimension:
            arrays = _of_all_classes(arrays, model.classes_, rows.task.logits_dimension)
        yield Fitted(step, valid.astype(np.float64) @ arrays["kernel"] + arrays["bias"], arrays)


def _of_all_classes(arrays: dict[str, np.ndarray], seen: np.ndarray, width: int) -> dict[str, np.ndarray]:
    """The arrays with an output for each class, where some classes have no training rows."""
    kernel = np.zeros((len(arrays["kernel"]), width), np.float32)
    bias = np.full(width, NEVER_SEEN, np.float32)
    bias[seen] = 0
    places = seen[-arrays["kernel"].shape[1] :]
    kernel[:, places], bias[places] = arrays["kernel"], arrays["bias"]
    return {"kernel": kernel, "bias": bias}
