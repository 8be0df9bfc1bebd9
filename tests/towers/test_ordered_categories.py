"""Boosted trees that read each category as one column, its place in an order."""

import dataclasses

import keras
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from model_search.data.task import Task, TaskKind
from model_search.errors import StudyError
from model_search.search.planning.classic_models import Boosting, classic_plan
from model_search.towers import classic_models
from model_search.towers.classic_arrays import as_logits, checked, in_order, with_missing
from model_search.towers.classic_models import bag_of_classic_models, classic_model
from model_search.training.classic.category_orders import category_orders, columns_in_order
from model_search.training.classic.fitted import ClassicRows
from model_search.training.classic.fitting import fitted_models

KINDS = 8  # categories, the last one of which has no rows
PLAN = classic_plan("boosted_trees", 3, seed=7, boosting=Boosting(in_order=True))


def table(classes, rows=600, seed=0):
    """A number, eight categories, a number with missing values and its mark, and two categories; and targets."""
    rng = np.random.default_rng(seed)
    kinds, missing = rng.integers(0, KINDS - 1, rows), rng.random(rows) < 0.2
    number, second = rng.normal(size=(2, rows))
    effects = np.random.default_rng(5).permutation(KINDS) - 3.5
    signal = effects[kinds] + number * second + 2 * missing + 0.1 * rng.normal(size=rows)
    pair = np.eye(2)[rng.integers(0, 2, rows)]
    marked = [np.where(missing, 0, second), missing]
    features = np.column_stack([number, np.eye(KINDS)[kinds], *marked, pair]).astype(np.float32)
    indicator = np.full(features.shape[1], -1, np.int32)
    indicator[1 + KINDS] = 2 + KINDS
    if classes:
        targets = np.digitize(signal, np.quantile(signal, np.arange(1, classes) / classes)).astype(np.int32)
        task = Task(TaskKind.CLASSIFICATION, "y", classes)
    else:
        targets, task = signal.astype(np.float32), Task(TaskKind.REGRESSION, "y", 1)
    categories = ((1, 1 + KINDS), (3 + KINDS, 5 + KINDS))
    return ClassicRows(task, features, targets, rng.random(rows) + 0.5, indicator, categories=categories)


def fitted(rows, steps=45):
    return list(fitted_models(dataclasses.replace(PLAN, steps=steps), rows, rows.features))[-1]


def in_own_order(rows):
    """The same rows with the place of their category, by the mean target of the categories."""
    targets = rows.targets if not rows.is_classification else rows.targets == rows.targets.max()
    targets = targets - np.average(targets, weights=rows.weights)
    kinds = rows.features[:, 1 : 1 + KINDS].argmax(axis=1)
    sums = np.bincount(kinds, rows.weights * targets, KINDS)
    means = sums / (np.bincount(kinds, rows.weights, KINDS) + 10)
    place = np.argsort(np.argsort(means))[kinds]
    kept = np.column_stack([rows.features[:, 0], place, rows.features[:, 1 + KINDS :]]).astype(np.float32)
    return with_missing(kept, np.array([-1, -1, 3, -1, -1, -1]))


@pytest.mark.parametrize("classes", [0, 2])
def test_they_predict_what_scikit_learn_predicts_from_places(classes):
    rows = table(classes)
    given = PLAN.hyperparameters
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    model = kind(
        max_iter=45, learning_rate=given["learning_rate"], max_leaf_nodes=given["leaves"], max_depth=given["depth"],
        l2_regularization=given["l2_penalty"], early_stopping=False, random_state=PLAN.seed,
    )  # fmt: skip
    features = in_own_order(rows)
    with threadpool_limits(limits=1):
        model.fit(features, rows.targets, sample_weight=rows.weights)
    expected = (model.decision_function(features) if classes else model.predict(features)).reshape(-1, 1)
    found = fitted(rows)
    assert found.outputs == pytest.approx(expected, abs=1e-5)
    width = rows.task.logits_dimension
    for compiled in (False, True):
        served = classic_model(found.arrays, width, "it", compiled=compiled)
        assert np.asarray(served(rows.features)) == pytest.approx(as_logits(expected, width), abs=1e-5)


@pytest.mark.parametrize("weights", [True, False])
def test_the_order_is_that_of_the_mean_target(weights):
    rows = dataclasses.replace(table(0), **({} if weights else {"weights": None}))
    orders, indicator = category_orders(rows)
    assert columns_in_order(rows.features.shape[1], rows.categories) == 6
    assert orders.shape == (KINDS + 5, 6)
    assert indicator.tolist() == [-1, -1, 3, -1, -1, -1]
    effects = (np.random.default_rng(5).permutation(KINDS) - 3.5)[: KINDS - 1]
    places = orders[1 : 1 + KINDS, 1]
    assert sorted(places) == list(range(KINDS))
    assert np.argsort(places[: KINDS - 1]).tolist() == np.argsort(effects).tolist()
    assert (places[: KINDS - 1] < places[KINDS - 1]).sum() == pytest.approx(KINDS / 2, abs=1)  # without rows: the mean
    others = np.delete(orders, slice(1, 1 + KINDS), axis=0)
    assert np.array_equal(np.delete(others, 1, axis=1), np.eye(5))


def test_categories_of_more_classes_stand_in_the_order_of_their_shares():
    rows = table(4, rows=3000)
    effects = (np.random.default_rng(5).permutation(KINDS) - 3.5)[: KINDS - 1]
    order = np.argsort(category_orders(rows)[0][1:KINDS, 1]).tolist()
    assert order in (np.argsort(effects).tolist(), np.argsort(-effects).tolist())
    found = fitted(rows)
    logits = np.asarray(classic_model(found.arrays, 4, "it")(rows.features))
    assert as_logits(found.outputs, 4) == pytest.approx(logits, abs=1e-5)
    assert (logits.argmax(axis=1) == rows.targets).mean() > 0.9


def test_the_models_of_a_bag_have_orders_of_their_own(monkeypatch):
    parts = [fitted(table(3, rows=60, seed=seed), steps=4).arrays for seed in range(3)]
    assert not np.array_equal(parts[0]["orders"], parts[1]["orders"])
    rows = table(3, seed=5).features
    alone = [np.asarray(classic_model(arrays, 3, "it")(rows)) for arrays in parts]
    for most in (10_000, 1):  # all together, each by itself
        monkeypatch.setattr(classic_models, "_MOST_TREES", most)
        for compiled in (False, True):
            model = bag_of_classic_models(
                parts, 3, "it", lambda logits: keras.ops.stack(logits, axis=1), compiled=compiled
            )
            found = np.asarray(model(rows))
            for place, expected in enumerate(alone):
                assert found[:, place] == pytest.approx(expected, abs=1e-6)


def test_a_file_of_them_loads_in_plain_keras(tmp_path):
    rows = table(3)
    model = classic_model(fitted(rows, steps=4).arrays, 3, "it")
    model.save(tmp_path / "trees.keras")
    again = keras.models.load_model(tmp_path / "trees.keras", safe_mode=True)
    assert np.array_equal(np.asarray(again(rows.features)), np.asarray(model(rows.features)))


@pytest.mark.parametrize(
    "change",
    [
        lambda orders: orders[:, 1:],
        lambda orders: orders[:, 0],
        lambda orders: np.where(orders == 2, np.nan, orders),
    ],
)
def test_orders_that_do_not_fit_are_refused(change):
    arrays = fitted(table(2), steps=1).arrays
    assert checked(arrays, "trial 3") is arrays
    assert in_order(table(2).features, arrays["orders"]).shape == (600, 6)
    with pytest.raises(StudyError, match="arrays of trial 3"):
        checked({**arrays, "orders": change(arrays["orders"])}, "trial 3")
