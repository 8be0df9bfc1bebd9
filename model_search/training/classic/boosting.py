"""Boosted trees: histogram-based gradient boosting (Ke et al. 2017, "LightGBM"), as scikit-learn has it.

The rounds go on until the validation loss has not become better for a while, and the best number is kept.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from model_search.metadata.trial import TrialKind, TrialPlan
from model_search.search.planning.classic_models import IN_ORDER
from model_search.towers.classic_arrays import in_order, joined, sums_of_trees, with_missing
from model_search.training.classic.category_orders import category_orders
from model_search.training.classic.fitted import NEVER_SEEN, ClassicRows, Fitted, columns_of_a_split, trees_a_round
from model_search.training.classic.tree_arrays import Tree, nodes_of

_ROUNDS = 20  # between two evaluations where a plan does not say
_FEWEST_ROUNDS, _LEAST_AT_ONCE = 40, 10
_NUMBERS_AT_ONCE = 400_000_000  # of features and outputs, in the rounds that are fitted at once: some seconds
_LEAST_IN_LEAF = 20


def boosted_trees(plan: TrialPlan, rows: ClassicRows, valid: np.ndarray) -> Iterator[Fitted]:
    """Boosted trees after more and more rounds.

    Args:
        plan: What to train.
        rows: Rows to train on.
        valid: float32 [rows, columns], features of the validation rows.
    """
    orders = None
    if plan.hyperparameters.get("categories") == IN_ORDER:
        orders, indicator = category_orders(rows)
        valid = in_order(valid, orders)
        rows = dataclasses.replace(rows, features=in_order(rows.features, orders), indicator=indicator)
    models = _models(plan, rows)
    features, valid = with_missing(rows.features, rows.indicator), with_missing(valid, rows.indicator)
    forest: dict[str, np.ndarray] | None = None
    outputs = np.empty(0)
    fitted = done = 0
    between = plan.steps if plan.kind is TrialKind.BAGGING else int(plan.hyperparameters.get("rounds", _ROUNDS))
    while done < plan.steps:
        if done == fitted:
            fitted += min(_rounds_at_once(fitted, rows), plan.steps - fitted)
            for model in models:
                model.set_params(max_iter=fitted)
                model.fit(features, rows.targets, sample_weight=rows.weights)
        until = min(done + between, fitted)
        more = _side_by_side([_forest(model, done, until, rows.indicator) for model in models])
        if orders is not None:
            more["orders"] = orders
        added = sums_of_trees(more, valid)
        outputs = more["baseline"] + added if forest is None else outputs + added
        forest = more if forest is None else joined(forest, more)
        done = until
        if rows.is_classification and len(models[0].classes_) < rows.task.logits_dimension:
            yield Fitted(done, *_of_all_classes(outputs, forest, models[0].classes_, rows.task.logits_dimension))
        else:
            yield Fitted(done, outputs, forest)


def _rounds_at_once(fitted: int, rows: ClassicRows) -> int:
    """Rounds to fit after so many: scikit-learn begins each time by predicting with all trees that there are.

    Fewer where a round takes long, so that a trial can end in time.
    """
    numbers = rows.features.size * trees_a_round(rows.task)
    return min(max(_FEWEST_ROUNDS, fitted), max(_LEAST_AT_ONCE, _NUMBERS_AT_ONCE // max(1, numbers)))


def _models(plan: TrialPlan, rows: ClassicRows) -> list[Any]:
    """Scikit-learn's models, not fitted yet: one, or one for each quantile."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    given = plan.hyperparameters
    kind = HistGradientBoostingClassifier if rows.is_classification else HistGradientBoostingRegressor
    each = [{"loss": "quantile", "quantile": quantile} for quantile in rows.task.quantiles] or [{}]
    least = int(given.get("least_in_leaf", _LEAST_IN_LEAF))
    return [
        kind(
            learning_rate=float(given["learning_rate"]),
            max_leaf_nodes=int(given["leaves"]),
            max_depth=int(given["depth"]),
            l2_regularization=float(given["l2_penalty"]),
            min_samples_leaf=max(1, min(least, len(rows.targets) // 10)),
            max_features=share_of_columns(plan, rows.features.shape[1]),
            early_stopping=False,
            warm_start=True,
            random_state=plan.seed,
            **own,
        )
        for own in each
    ]


def share_of_columns(plan: TrialPlan, columns: int) -> float:
    """The share of the columns that a split is chosen among; scikit-learn rounds their number up."""
    share = float(plan.hyperparameters.get("columns", 1.0))
    usual = math.ceil(share * columns)
    drawn = columns_of_a_split(usual, columns, plan)
    return share if drawn <= usual else (drawn - 0.5) / columns


def _side_by_side(forests: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """One forest of several that have an output each: their trees take turns."""
    together, roots, count = forests[0], [forests[0]["root"]], len(forests[0]["feature"])
    for forest in forests[1:]:
        together = joined(together, forest)
        roots.append(forest["root"] + np.int32(count))
        count += len(forest["feature"])
    root = np.stack(roots, axis=1).reshape(-1)
    return {**together, "root": root, "baseline": np.concatenate([forest["baseline"] for forest in forests])}


def _forest(model: Any, first: int, until: int, indicator: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a fitted model's rounds from `first` until before `until`."""
    nodes = [tree.nodes for predictors in model._predictors[first:until] for tree in predictors]
    arrays, orders = nodes_of(
        Tree(
            left=np.where(one["is_leaf"], -1, one["left"].astype(np.int64)),
            right=one["right"].astype(np.int64),
            feature=one["feature_idx"],
            threshold=one["num_threshold"],
        )
        for one in nodes
    )
    in_order = [one[order] for one, order in zip(nodes, orders, strict=True)]
    is_leaf = np.concatenate([one["is_leaf"].astype(bool) for one in in_order])
    missing_left = np.concatenate([one["missing_go_to_left"].astype(bool) for one in in_order])
    value = np.concatenate([one["value"] for one in in_order])
    return arrays | {
        "missing_left": missing_left & ~is_leaf,
        "value": np.where(is_leaf, value, 0).astype(np.float32),
        "baseline": np.asarray(model._baseline_prediction, np.float32).reshape(-1),
        "indicator": indicator,
    }


def _of_all_classes(
    outputs: np.ndarray, arrays: dict[str, np.ndarray], seen: np.ndarray, width: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Outputs and forest with an output for each class, where some classes have no training rows."""
    wide = np.full((len(outputs), width), NEVER_SEEN)
    wide[:, seen] = 0
    places = seen[-outputs.shape[1] :]  # of two classes, the second one alone has an output
    wide[:, places] = outputs
    count, rounds = len(arrays["feature"]), len(arrays["root"]) // outputs.shape[1]
    leaf = {"feature": 0, "threshold": 0, "left": count, "missing_left": False, "value": 0}
    changed = {name: np.append(arrays[name], np.array(one, arrays[name].dtype)) for name, one in leaf.items()}
    root = np.full((rounds, width), count, np.int32)  # the other classes have trees of one leaf, which adds nothing
    root[:, places] = arrays["root"].reshape(rounds, -1)
    baseline = np.full(width, NEVER_SEEN, np.float32)
    baseline[seen] = 0
    baseline[places] = arrays["baseline"]
    return wide, {**arrays, **changed, "root": root.reshape(-1), "baseline": baseline}
