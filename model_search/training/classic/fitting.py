"""Trains classic models with scikit-learn, some steps at a time, and gives them as arrays (`towers/classic_arrays`)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from model_search.metadata.trial import KERNEL, LINEAR_MODELS, TrialPlan
from model_search.search.planning.classic_models import FORESTS, LEFT_OUT, forms, leaf_sizes
from model_search.training.classic.boosting import boosted_trees
from model_search.training.classic.fitted import ClassicRows, Fitted
from model_search.training.classic.forests import TREES_AT_ONCE, extra_trees, random_forest
from model_search.training.classic.kernel import kernel_models
from model_search.training.classic.linear import linear_models, sparse_linear_models

_PATIENCE = 3  # evaluations without improvement that end a training

_FITS: Mapping[str, Callable[[TrialPlan, ClassicRows, np.ndarray], Iterator[Fitted]]] = {
    "boosted_trees": boosted_trees,
    "deep_boosted_trees": boosted_trees,
    "extra_trees": extra_trees,
    "random_forest": random_forest,
    "linear": linear_models,
    "sparse_linear": sparse_linear_models,
    "kernel": kernel_models,
}


def patience(plan: TrialPlan) -> int:
    """How many evaluations without improvement end the training of a plan."""
    if plan.classic == KERNEL:
        return plan.steps  # each width of the kernel begins anew
    if plan.classic in FORESTS:
        return -(-plan.steps // len(leaf_sizes(plan)) // TREES_AT_ONCE)  # all trees with leaves of a smaller size
    return _PATIENCE * (len(forms(plan)) if plan.classic in LINEAR_MODELS else 1)


def grows(plan: TrialPlan, before: Fitted, fitted: Fitted) -> bool:
    """Whether it is the same forest with more trees, which is no worse, whatever its loss on some rows."""
    if plan.classic not in FORESTS:
        return False
    each = plan.steps // len(leaf_sizes(plan))
    return (before.step - 1) // each == (fitted.step - 1) // each


def fitted_models(plan: TrialPlan, rows: ClassicRows, valid: np.ndarray) -> Iterator[Fitted]:
    """The model of a plan after some of its steps, again and again until its last step.

    Args:
        plan: What to train.
        rows: Rows to train on.
        valid: float32 [rows, columns], features of the validation rows.
    """
    from threadpoolctl import threadpool_limits

    if plan.hyperparameters.get("target_means") == LEFT_OUT:
        rows = rows.without_means()
    steps = _FITS[str(plan.classic)](plan, rows, valid)
    while True:
        # One thread: the same numbers on every machine, and no core that another worker has.
        with threadpool_limits(limits=1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a solver ends at its limit of iterations
            found = next(steps, None)
        if found is None:
            return
        yield found
