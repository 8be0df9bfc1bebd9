"""Kernel models: ridge regression and logistic regression on the similarity of a row to some of the training rows.

They fit smooth functions of few rows, where trees are steps and networks need many updates. The kernel is the inverse
multiquadric (Hardy 1971), `1 / sqrt(1 + scale * squared distance)`: it is smooth, and it has no width that is wrong for
most rows, as a Gaussian may have. Of many training rows a random part are centers (Nyström's method, Williams and
Seeger 2001).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from model_search.metadata.trial import TrialPlan
from model_search.search.planning.classic_models import widths
from model_search.towers.classic_arrays import similarities, squared_distances
from model_search.training.classic.fitted import ClassicRows, Fitted
from model_search.training.classic.linear import Penalised, penalties_of

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
    known = widths(plan)
    penalties = penalties_of(plan, plan.steps // len(known))
    rng = np.random.default_rng(plan.seed)
    order = rng.permutation(len(rows.features))
    centers = rows.features[np.sort(order[: int(plan.hyperparameters["centers"])])]
    far_from_centers = [squared_distances(some, centers) for some in (centers, rows.features, valid)]
    usual = _usual_distance(rows.features[order[:_MOST_DISTANCES]])
    for place, width in enumerate(known):
        scale = np.array([1 / (float(width) * usual)], np.float32)
        between, seen, judged = (similarities(distances, scale) for distances in far_from_centers)
        to_features = _whitening(between)
        model = Penalised(rows, seen @ to_features)
        for number, penalty in enumerate(penalties, 1):
            if rows.is_classification and penalty < _LEAST_OF_CLASSES and number > 1:
                break
            found = model.fitted(penalty)
            kernel = (to_features @ found["kernel"]).astype(np.float32)
            # As exact as the exported model: too large weights show in the loss.
            outputs = judged.astype(np.float32) @ kernel + found["bias"]
            arrays = {"centers": centers, "scale": scale, "kernel": kernel, "bias": found["bias"]}
            yield Fitted(place * len(penalties) + number, outputs, arrays)


def _usual_distance(features: np.ndarray) -> float:
    """The median of the squared distances between rows that are not equal; 1 if all are."""
    distances = squared_distances(features, features)
    positive = distances[distances > 1e-9]
    return float(np.median(positive)) if len(positive) else 1.0


def _whitening(between: np.ndarray) -> np.ndarray:
    """From similarities to the centers to features whose inner products are similarities: [centers, features].

    Args:
        between: The similarities between the centers.
    """
    values, vectors = np.linalg.eigh(between)
    kept = values > _LEAST_EIGENVALUE * values.max()
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]))
