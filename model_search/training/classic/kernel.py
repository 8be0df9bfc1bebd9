"""Kernel models: ridge regression and logistic regression on the similarity of a row to some of the training rows.

They fit smooth functions of few rows, where trees are steps and networks need many updates. The kernel is the inverse
multiquadric (Hardy 1971), `1 / sqrt(1 + scale * squared distance)`: it is smooth, and it has no width that is wrong for
most rows, as a Gaussian may have. Of many training rows a random part are centers (Nyström's method, Williams and
Seeger 2001).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from model_search.metadata.trial import TrialPlan
from model_search.search.planning.classic_models import widths
from model_search.towers.classic_arrays import ClassicArrays, similarities
from model_search.training.classic.fitted import ClassicRows, Fitted
from model_search.training.classic.linear import of_all_classes

_MOST_DISTANCES = 500  # rows that the usual distance is taken from
_LEAST_EIGENVALUE = 1e-6  # of the largest one: what is below is noise of the arithmetic
_LEAST_OF_CLASSES = 0.01  # penalty of logistic regression: with less of it the solver takes long and gains nothing


def kernel_models(plan: TrialPlan, rows: ClassicRows, valid: np.ndarray) -> Iterator[Fitted]:
    """For each width of the kernel the models from the strongest penalty to the weakest.

    Args:
        plan: What to train.
        rows: Rows to train on.
        valid: float32 [rows, columns], features of the validation rows.
    """
    given, known = plan.hyperparameters, widths(plan)
    count = plan.steps // len(known)
    penalties = [float(given["weakest_penalty"]) * float(given["factor"]) ** (count - n) for n in range(1, count + 1)]
    rng = np.random.default_rng(plan.seed)
    order = rng.permutation(len(rows.features))
    centers = rows.features[np.sort(order[: int(given["centers"])])]
    usual = _usual_distance(rows.features[order[:_MOST_DISTANCES]])
    for place, width in enumerate(known):
        scale = np.array([1 / (float(width) * usual)], np.float32)
        arrays = {"centers": centers, "scale": scale}
        # As exact as the exported model: too large weights show in the loss.
        seen = similarities(valid, arrays).astype(np.float32)
        for number, fitted in enumerate(_fitted(rows, arrays, penalties), 1):
            outputs = seen @ fitted["kernel"] + fitted["bias"]
            yield Fitted(place * count + number, outputs, {**arrays, **fitted})


def _usual_distance(features: np.ndarray) -> float:
    """The median of the squared distances between rows that are not equal; 1 if all are."""
    exact = features.astype(np.float64)
    squares = (exact**2).sum(axis=1)
    distances = squares[:, None] + squares[None] - 2 * exact @ exact.T
    positive = distances[distances > 1e-9]
    return float(np.median(positive)) if len(positive) else 1.0


def _fitted(rows: ClassicRows, arrays: ClassicArrays, penalties: Sequence[float]) -> Iterator[dict[str, np.ndarray]]:
    """`kernel` and `bias` for each penalty."""
    values, vectors = np.linalg.eigh(similarities(arrays["centers"], arrays))
    kept = values > _LEAST_EIGENVALUE * values.max()
    to_features = vectors[:, kept] / np.sqrt(values[kept])  # whose inner products are the similarities
    features = similarities(rows.features, arrays) @ to_features
    found = _logistic(rows, features, penalties) if rows.is_classification else _ridge(rows, features, penalties)
    for kernel, bias in found:
        yield {"kernel": (to_features @ kernel).astype(np.float32), "bias": bias.astype(np.float32)}


def _ridge(
    rows: ClassicRows, features: np.ndarray, penalties: Sequence[float]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ridge regression, all penalties from one decomposition."""
    weights = np.ones(len(features)) if rows.weights is None else rows.weights
    mean, target = (np.average(values, axis=0, weights=weights) for values in (features, rows.targets))
    roots = np.sqrt(weights)[:, None]
    centered = roots * (features - mean)
    values, vectors = np.linalg.eigh(centered.T @ centered)
    sums = vectors.T @ (centered.T @ (roots[:, 0] * (rows.targets - target)))
    for penalty in penalties:
        kernel = vectors @ (sums / (np.maximum(values, 0) + penalty))
        yield kernel[:, None], np.atleast_1d(target - mean @ kernel)


def _logistic(
    rows: ClassicRows, features: np.ndarray, penalties: Sequence[float]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Logistic regression; each one begins where the one before it has ended."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=100, warm_start=True)
    for penalty in penalties:
        if penalty < _LEAST_OF_CLASSES and penalty != penalties[0]:
            return
        model.set_params(C=1 / penalty)
        model.fit(features, rows.targets, sample_weight=rows.weights)
        kernel, bias = model.coef_.T, model.intercept_
        if len(model.classes_) < rows.task.logits_dimension:
            kernel, bias = of_all_classes(kernel, bias, model.classes_, rows.task.logits_dimension)
        yield kernel, bias
