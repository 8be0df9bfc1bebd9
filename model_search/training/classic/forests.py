"""Forests whose trees are averaged: random forests (Breiman 2001), extremely randomised trees (Geurts et al. 2006).

Trees of the latter have thresholds drawn at random: with leaves of one row, an ensemble of them is near to a smooth
nearest neighbour, which is what some tables need. Others need larger leaves, so that several sizes are tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from model_search.metadata.trial import TrialPlan
from model_search.search.planning.classic_models import leaf_sizes
from model_search.towers.classic_arrays import joined, sums_of_leaves, where_averaged
from model_search.training.classic.fitted import ClassicRows, Fitted, columns_of_a_split
from model_search.training.classic.tree_arrays import Tree, nodes_of

TREES_AT_ONCE = 5  # between two evaluations
_DEPTH = 32  # no more: each level is a step of the exported model
_FLOOR = 0.001  # the least probability of a class
_COLUMNS_FOR_NUMBERS = 0.5  # share of the columns that a split is chosen among; their square root for classes


def extra_trees(plan: TrialPlan, rows: ClassicRows, valid: np.ndarray) -> Iterator[Fitted]:
    """Extremely randomised trees; arguments as in `random_forest`."""
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    return _forests(ExtraTreesClassifier if rows.is_classification else ExtraTreesRegressor, plan, rows, valid)


def random_forest(plan: TrialPlan, rows: ClassicRows, valid: np.ndarray) -> Iterator[Fitted]:
    """A random forest of more and more trees, with leaves of each size in turn.

    Args:
        plan: What to train.
        rows: Rows to train on.
        valid: float32 [rows, columns], features of the validation rows.
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    return _forests(RandomForestClassifier if rows.is_classification else RandomForestRegressor, plan, rows, valid)


def _forests(kind: Any, plan: TrialPlan, rows: ClassicRows, valid: np.ndarray) -> Iterator[Fitted]:
    sizes = leaf_sizes(plan)
    each, before = plan.steps // len(sizes), math.inf
    for place, given in enumerate(sizes):
        model = kind(
            min_samples_leaf=_least_in_leaf(plan, given, len(rows.targets)),
            max_depth=_DEPTH,
            max_features=split_columns(plan, rows.features.shape[1], rows.is_classification),
            warm_start=True,
            random_state=plan.seed,
        )
        _begin(model, plan, rows, each)
        if 3 * model.min_samples_leaf > 2 * before:
            return  # much smaller ones would have too many nodes
        before = model.min_samples_leaf
        for trees, outputs, forest in _grown(model, rows, valid, each):
            yield Fitted(place * each + trees, outputs, forest)


def _begin(model: Any, plan: TrialPlan, rows: ClassicRows, trees: int) -> None:
    """Grows the first trees, with larger leaves where the whole forest would have too many nodes otherwise."""
    while True:
        first = min(TREES_AT_ONCE, trees)
        model.set_params(n_estimators=first, warm_start=False)
        model.fit(rows.features, rows.targets, sample_weight=rows.weights)
        model.set_params(warm_start=True)
        nodes = sum(found.tree_.node_count for found in model.estimators_) * trees / first
        most = int(plan.hyperparameters["most_nodes"])
        if "leaf_sizes" not in plan.hyperparameters or nodes <= most or 2 * model.min_samples_leaf > len(rows.targets):
            return
        larger = math.ceil(model.min_samples_leaf * nodes / most)
        model.set_params(min_samples_leaf=max(larger, model.min_samples_leaf + 1))


def _grown(
    model: Any, rows: ClassicRows, valid: np.ndarray, most: int
) -> Iterator[tuple[int, np.ndarray, dict[str, np.ndarray]]]:
    """Number of trees, outputs and arrays of a forest, whose first trees are there, with more and more trees."""
    forest: dict[str, np.ndarray] | None = None
    total, done = np.empty(0), 0
    while done < most:
        trees = min(TREES_AT_ONCE, most - done)
        if done:
            model.set_params(n_estimators=done + trees)
            model.fit(rows.features, rows.targets, sample_weight=rows.weights)
        more = _arrays(model, done, rows)
        added = sums_of_leaves(more, valid)
        total = added if forest is None else total + added
        forest = more if forest is None else joined(forest, more)
        done += trees
        yield done, where_averaged(total / done, forest["floor"]), forest


def split_columns(plan: TrialPlan, columns: int, is_classification: bool) -> int:
    """How many of the columns a split is chosen among."""
    usual = int(math.sqrt(columns) if is_classification else _COLUMNS_FOR_NUMBERS * columns)
    return columns_of_a_split(usual, columns, plan)


def _least_in_leaf(plan: TrialPlan, given: int, rows: int) -> int:
    """The size to begin with; plans of earlier versions have one size, by the rule that a row takes two nodes."""
    if "leaf_sizes" in plan.hyperparameters:
        return given
    return max(given, -(-2 * plan.steps * rows // int(plan.hyperparameters["most_nodes"])))


def _arrays(model: Any, first: int, rows: ClassicRows) -> dict[str, np.ndarray]:
    """The arrays of a fitted model's trees from `first` on."""
    trees = [found.tree_ for found in model.estimators_[first:]]
    arrays, orders = nodes_of(
        Tree(tree.children_left, tree.children_right, tree.feature, tree.threshold) for tree in trees
    )
    values = np.concatenate([tree.value[order, 0] for tree, order in zip(trees, orders, strict=True)])
    if rows.is_classification:
        values = values / values.sum(axis=1, keepdims=True)
        wide = np.zeros((len(values), rows.task.logits_dimension))
        wide[:, model.classes_] = values
        values = wide
    is_leaf = arrays["left"] == np.arange(len(values))
    # Most leaves of classes are pure, so that few are different.
    kinds, numbers = np.unique(values[is_leaf].astype(np.float32), axis=0, return_inverse=True)
    leaf = np.zeros(len(values), np.int32)
    leaf[is_leaf] = numbers.reshape(-1)
    floor = [_FLOOR] if rows.is_classification else []
    return arrays | {
        "leaf": leaf,
        "value": kinds,
        "floor": np.array(floor, np.float32),
        "indicator": np.full(rows.features.shape[1], -1, np.int32),
    }
