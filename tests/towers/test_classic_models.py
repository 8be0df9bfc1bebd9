"""Classic models as arrays: exactly what scikit-learn predicts, by NumPy, in Keras, and in plain Keras from a file."""

import dataclasses
import math
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from model_search.data.task import Task, TaskKind
from model_search.errors import StudyError
from model_search.search.planning.classic_models import classic_plan, leaf_sizes, with_length_of
from model_search.towers import classic_models, compiled_trees
from model_search.towers.classic_arrays import as_logits, checked, with_missing
from model_search.towers.classic_models import bag_of_classic_models, classic_model
from model_search.training.classic.boosting import share_of_columns
from model_search.training.classic.fitted import ClassicRows, columns_of_a_split
from model_search.training.classic.fitting import fitted_models
from model_search.training.classic.tree_arrays import Tree, rounded_down

WIDTH = 4
KINDS = {  # for numbers, for classes
    "extra_trees": (ExtraTreesRegressor, ExtraTreesClassifier),
    "random_forest": (RandomForestRegressor, RandomForestClassifier),
}


def table(classes, rows=300, seed=0):
    """Columns of numbers, the first one with missing values that the last column marks; and targets."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, WIDTH)).astype(np.float32)
    missing = rng.random(rows) < 0.2
    features[:, 0] = np.where(missing, 0, features[:, 0])
    features[:, -1] = missing
    signal = np.sin(2 * features[:, 0]) + features[:, 1] * features[:, 2] + missing
    if classes:
        targets = np.digitize(signal, np.quantile(signal, np.arange(1, classes) / classes)).astype(np.int32)
        task = Task(TaskKind.CLASSIFICATION, "y", classes)
    else:
        targets, task = signal.astype(np.float32), Task(TaskKind.REGRESSION, "y", 1)
    return ClassicRows(task, features, targets, rng.random(rows), np.array([WIDTH - 1, -1, -1, -1], np.int32))


def last(name, rows, steps=None, without=(), **changes):
    plan = classic_plan(name, 3, seed=7)
    given = {known: value for known, value in plan.hyperparameters.items() if known not in without}
    if "leaf_sizes" in given:
        given["leaf_sizes"] = "1"
    plan = dataclasses.replace(plan, hyperparameters=given | changes)
    if steps is not None:
        plan = dataclasses.replace(plan, steps=steps)
    return plan, list(fitted_models(plan, rows, rows.features))[-1]


def of_scikit_learn(name, plan, rows):
    """The same model by scikit-learn alone, as logits."""
    given, is_class = plan.hyperparameters, rows.is_classification
    if name == "linear":
        weakest = given["weakest_penalty"]
        model = LogisticRegression(C=1 / weakest, max_iter=2000, tol=1e-8) if is_class else Ridge(alpha=weakest)
        features = rows.features.astype(np.float64)
    elif name in KINDS:
        kind = KINDS[name][is_class]
        model = kind(
            n_estimators=plan.steps, min_samples_leaf=leaf_sizes(plan)[0], max_depth=32, random_state=plan.seed,
            max_features=1.0 if "least_columns" in given else "sqrt" if is_class else 0.5,
        )  # fmt: skip
        model.fit(rows.features, rows.targets, sample_weight=rows.weights)
        if is_class:
            return np.log(np.maximum(model.predict_proba(rows.features), 0.001))
        return model.predict(rows.features)[:, None]
    else:
        kind = HistGradientBoostingClassifier if is_class else HistGradientBoostingRegressor
        model = kind(
            max_iter=plan.steps, learning_rate=given["learning_rate"], max_leaf_nodes=given["leaves"],
            max_depth=given["depth"], l2_regularization=given["l2_penalty"], early_stopping=False,
            max_features=1.0 if "least_columns" in given else given["columns"],
            min_samples_leaf=given.get("least_in_leaf", 20), random_state=plan.seed,
        )  # fmt: skip
        features = with_missing(rows.features, rows.indicator)
    with threadpool_limits(limits=1):
        model.fit(features, rows.targets, sample_weight=rows.weights)
    found = model.decision_function(features) if is_class else model.predict(features)
    return as_logits(found.reshape(len(features), -1), rows.task.logits_dimension)


@pytest.mark.parametrize("name", ["boosted_trees", "deep_boosted_trees", *KINDS])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_trees_predict_what_scikit_learn_predicts(name, classes):
    rows = table(classes)
    plan, fitted = last(name, rows, steps=12 if name in KINDS else 45)
    expected = of_scikit_learn(name, plan, rows)
    assert np.abs(expected).max() > 0.5
    width = rows.task.logits_dimension
    assert as_logits(fitted.outputs, width) == pytest.approx(expected, abs=1e-5)
    model = classic_model(fitted.arrays, width, "trial 3")
    assert np.asarray(model(rows.features)) == pytest.approx(expected, abs=1e-5)
    assert set(fitted.arrays) == set(checked(fitted.arrays, "trial 3"))


@pytest.mark.parametrize("name", ["boosted_trees", "deep_boosted_trees", *KINDS])
@pytest.mark.parametrize("classes", [0, 3])
def test_a_plan_of_an_earlier_version_draws_a_share_of_the_columns_however_few(name, classes):
    rows = table(classes)
    plan, fitted = last(name, rows, steps=10, without=("least_columns", "leaf_sizes"), least_in_leaf=5)
    found = as_logits(fitted.outputs, rows.task.logits_dimension)
    assert found == pytest.approx(of_scikit_learn(name, plan, rows), abs=1e-5)
    later, _ = last(name, rows, steps=10, without=("leaf_sizes",), least_in_leaf=5)
    assert np.abs(of_scikit_learn(name, later, rows) - found).max() > 0.01


@given(st.floats(0.1, 1.0), st.integers(1, 300))
@settings(deadline=None)
def test_splits_are_among_six_columns_at_least_and_among_all_where_there_are_fewer(share, columns):
    earlier = dataclasses.replace(classic_plan("boosted_trees", 3, seed=7), hyperparameters={"columns": share})
    plan = dataclasses.replace(earlier, hyperparameters={"columns": share, "least_columns": 6})
    assert share_of_columns(earlier, columns) == share
    drawn = math.ceil(share_of_columns(plan, columns) * columns)  # as scikit-learn reads it
    assert drawn == max(math.ceil(share * columns), min(6, columns))
    assert columns_of_a_split(2, columns, plan) == max(2, min(6, columns))
    assert columns_of_a_split(2, columns, earlier) == 2 and columns_of_a_split(0, columns, earlier) == 1


def test_new_plans_have_a_least_number_of_columns():
    for name in ("boosted_trees", "deep_boosted_trees", *KINDS):
        assert classic_plan(name, 3, seed=7).hyperparameters["least_columns"] == 6


def test_there_is_a_forest_for_each_quantile():
    rows, quantiles = table(0), (0.1, 0.5, 0.8)
    rows = dataclasses.replace(rows, task=Task(TaskKind.REGRESSION, "y", 3, quantiles=quantiles))
    plan, fitted = last("boosted_trees", rows, steps=25)
    features, given = with_missing(rows.features, rows.indicator), plan.hyperparameters
    for place, quantile in enumerate(quantiles):
        model = HistGradientBoostingRegressor(
            loss="quantile", quantile=quantile, max_iter=25, learning_rate=given["learning_rate"],
            max_leaf_nodes=given["leaves"], max_depth=given["depth"], l2_regularization=given["l2_penalty"],
            early_stopping=False, max_features=1.0, random_state=plan.seed,
        )  # fmt: skip
        model.fit(features, rows.targets, sample_weight=rows.weights)
        assert fitted.outputs[:, place] == pytest.approx(model.predict(features), abs=1e-5)
    model = classic_model(checked(fitted.arrays, "trial 3"), 3, "trial 3")
    assert np.asarray(model(rows.features)) == pytest.approx(fitted.outputs, abs=1e-5)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_a_linear_model_predicts_what_scikit_learn_predicts(classes):
    rows = table(classes)
    plan, fitted = last("linear", rows)
    assert fitted.step == plan.steps - 1  # the last step has numbers without the clip, and here are none
    expected, width = of_scikit_learn("linear", plan, rows), rows.task.logits_dimension
    # The solver ends where the gradient is small, wherever it began; softmax ignores a shift.
    shift = (lambda found: found - found.mean(axis=1, keepdims=True)) if classes else (lambda found: found)
    found = np.asarray(classic_model(fitted.arrays, width, "it")(rows.features))
    assert shift(found) == pytest.approx(shift(expected), abs=2e-2 if classes else 1e-5)
    assert as_logits(fitted.outputs, width) == pytest.approx(found, abs=1e-5)


@pytest.mark.parametrize("name", ["boosted_trees", "extra_trees", "linear"])
@pytest.mark.parametrize("kept", [[0, 2], [0, 1, 3]])
def test_a_class_without_training_rows_is_never_predicted(name, kept):
    whole = table(4)
    seen = np.isin(whole.targets, kept)
    rows = ClassicRows(whole.task, whole.features[seen], whole.targets[seen], None, whole.indicator)
    _, fitted = last(name, rows, steps=3)
    logits = np.asarray(classic_model(checked(fitted.arrays, "it"), 4, "it")(rows.features))
    assert as_logits(fitted.outputs, 4) == pytest.approx(logits, abs=1e-5)
    assert set(logits.argmax(axis=1)) <= set(kept)
    assert (logits.argmax(axis=1) == rows.targets).mean() > 0.45


@pytest.mark.parametrize(
    ("name", "divides"),
    [("boosted_trees", True), ("random_forest", True), ("deep_boosted_trees", False), ("extra_trees", False)],
)
def test_deep_trees_and_extremely_randomised_ones_leave_out_means_of_the_label(name, divides):
    rows = dataclasses.replace(table(0), means=np.array([False, True, True, False]))
    for known in (rows, dataclasses.replace(rows, means=None)):
        _, fitted = last(name, known, steps=5)
        model = classic_model(fitted.arrays, 1, "it")
        changed = rows.features.copy()
        changed[:, 1:3] = rows.features[::-1, 1:3]
        is_same = np.array_equal(np.asarray(model(changed)), np.asarray(model(rows.features)))
        assert is_same == (known is rows and not divides)


def test_thresholds_are_rounded_so_that_rows_go_the_same_way():
    thresholds = np.array([0.1, -0.1, 1 / 3, 1e300, -1e300, np.inf, 0.5])
    found = rounded_down(thresholds)
    assert (found <= thresholds).all()
    assert (np.nextafter(found[:3], np.float32(np.inf)) > thresholds[:3]).all()
    assert found[-1] == 0.5


def test_a_file_loads_in_plain_keras(tmp_path):
    rows = table(3)
    _, fitted = last("boosted_trees", rows, steps=20)
    model = classic_model(fitted.arrays, 3, "it")
    model.save(tmp_path / "trees.keras")
    np.save(tmp_path / "rows.npy", rows.features)
    code = (
        "import keras, numpy, sys; model = keras.models.load_model(sys.argv[1] + '/trees.keras', safe_mode=True); "
        "assert 'model_search' not in sys.modules; "
        "numpy.save(sys.argv[1] + '/logits.npy', model(numpy.load(sys.argv[1] + '/rows.npy')))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True)
    assert np.array_equal(np.load(tmp_path / "logits.npy"), np.asarray(model(rows.features)))


def broken(name, place, value):
    def change(arrays):
        found = {key: array.copy() for key, array in arrays.items()}
        found[name][place] = value
        return found

    return change


def test_nodes_are_ordered_level_by_level():
    #      0
    #   1     4
    #  2 3   5 6        numbered as scikit-learn does; 6 has the children 7 and 8
    left = np.array([1, 2, -1, -1, 5, -1, 7, -1, -1])
    right = np.array([4, 3, -1, -1, 6, -1, 8, -1, -1])
    order, numbers = Tree(left, right, np.zeros(9, int), np.zeros(9)).by_level()
    assert order.tolist() == [0, 1, 4, 2, 3, 5, 6, 7, 8]
    assert numbers.tolist() == [1, 3, 5, 3, 4, 5, 7, 7, 8]


def test_a_forest_of_many_rows_has_larger_leaves():
    rows = table(0)
    plan = classic_plan("extra_trees", 3, seed=7)
    plan = dataclasses.replace(plan, steps=10)
    for most, expected in ((6000, range(3000, 6000)), (600, range(300))):
        plan = dataclasses.replace(plan, hyperparameters={"least_in_leaf": 1, "most_nodes": most})
        fitted = list(fitted_models(plan, rows, rows.features))[-1]
        assert len(fitted.arrays["feature"]) in expected


def test_leaves_of_several_sizes_are_tried_and_a_step_tells_which():
    rows = table(0)
    plan = classic_plan("random_forest", 3, seed=7)
    assert (plan.steps, leaf_sizes(plan)) == (180, (10, 3, 1))
    every = list(fitted_models(plan, rows, rows.features))
    assert [each.step for each in every] == list(range(5, 181, 5))
    for step, size, trees in ((60, 10, 60), (85, 3, 25), (180, 1, 60)):
        again = with_length_of(plan, step)
        assert (again.steps, leaf_sizes(again)) == (trees, (size,))
        found = list(fitted_models(again, rows, rows.features))[-1]
        (known,) = (each for each in every if each.step == step)
        for name, array in known.arrays.items():
            np.testing.assert_array_equal(found.arrays[name], array)


def test_leaves_are_larger_where_a_forest_would_have_too_many_nodes():
    rows = table(0)
    plan = classic_plan("extra_trees", 3, seed=7)
    for most, sizes in ((100_000, 3), (15_000, 2), (3_000, 1)):
        few = dataclasses.replace(plan, hyperparameters={**plan.hyperparameters, "most_nodes": most})
        every = list(fitted_models(few, rows, rows.features))
        assert len(every) == 12 * sizes
        assert max(len(each.arrays["feature"]) for each in every) <= 1.1 * most
    tiny = dataclasses.replace(plan, hyperparameters={**plan.hyperparameters, "most_nodes": 1})
    assert list(fitted_models(tiny, rows, rows.features))[-1].step == 60


@pytest.mark.parametrize(
    "change",
    [
        broken("leaf", 0, 10**6),
        broken("leaf", 0, -1),
        broken("floor", 0, 0),
        broken("left", -1, 10**6),
        lambda arrays: {**arrays, "leaf": arrays["leaf"][1:]},
        lambda arrays: {**arrays, "value": arrays["value"][:, 0]},
        lambda arrays: {**arrays, "floor": np.ones(2, np.float32)},
        lambda arrays: {**arrays, "baseline": np.ones(2, np.float32)},
    ],
)
def test_arrays_of_averaged_trees_are_checked(change):
    _, fitted = last("extra_trees", table(2), steps=1)
    with pytest.raises(StudyError, match="arrays of trial 3"):
        classic_model(change(fitted.arrays), 2, "trial 3")


@pytest.mark.parametrize(
    "change",
    [
        broken("left", -1, 10**6),
        broken("left", 0, -1),
        broken("feature", 0, WIDTH),
        broken("root", 0, 10**6),
        broken("indicator", 0, WIDTH),
        lambda arrays: {**arrays, "left": np.arange(len(arrays["left"])) * 0},  # every node leads to the first one
        lambda arrays: {**arrays, "left": np.append(np.arange(1, len(arrays["left"])), 0)},  # no tree has that depth
        lambda arrays: {**arrays, "value": arrays["value"][1:]},
        lambda arrays: {**arrays, "baseline": arrays["baseline"][:0]},
        lambda arrays: {**arrays, "value": np.array(["x"] * len(arrays["value"]))},
        lambda arrays: {name: array for name, array in arrays.items() if name != "value"},
        lambda arrays: {"kernel": np.ones((3, 2)), "bias": np.ones(3)},
    ],
)
def test_arrays_that_are_no_model_are_refused(change):
    _, fitted = last("boosted_trees", table(2), steps=1)
    with pytest.raises(StudyError, match="arrays of trial 3"):
        classic_model(change(fitted.arrays), 2, "trial 3")


@pytest.mark.parametrize("name", ["boosted_trees", "extra_trees", "linear"])
def test_the_models_of_a_bag_are_walked_together_and_stay_themselves(name, monkeypatch):
    parts = [last(name, table(3, seed=seed), steps=2)[1].arrays for seed in range(3)]
    rows = table(3, seed=5).features
    alone = [np.asarray(classic_model(arrays, 3, "it")(rows)) for arrays in parts]
    for most in (10_000, 1):  # all together, each by itself
        monkeypatch.setattr(classic_models, "_MOST_TREES", most)
        model = bag_of_classic_models(parts, 3, "it", lambda logits: keras.ops.stack(logits, axis=1))
        found = np.asarray(model(rows))
        for place, expected in enumerate(alone):
            assert found[:, place] == pytest.approx(expected, abs=1e-6)
        if name != "linear":
            tables = [layer for layer in model.layers if layer.name.startswith("nodes")]
            assert len(tables) == (1 if most > 1 else 3)


@pytest.mark.parametrize("name", ["boosted_trees", "extra_trees", "linear"])
def test_compiled_models_are_the_same_for_any_number_of_rows(name, monkeypatch):
    parts = [last(name, table(3, seed=seed), steps=3)[1].arrays for seed in range(2)]
    rows = np.concatenate([table(3, seed=seed).features for seed in range(3)])
    assert name != "boosted_trees" or np.isnan(with_missing(rows, parts[0]["indicator"])).any()

    def combine(logits):
        return keras.ops.stack(logits, axis=1)

    stock, compiled = (bag_of_classic_models(parts, 3, "it", combine, compiled=fast) for fast in (False, True))
    monkeypatch.setattr(compiled_trees, "FEWEST_ROWS", 50)
    monkeypatch.setattr(compiled_trees, "BLOCK_ROWS", 64)
    for count in (1, 49, 50, 64, 65, len(rows)):
        assert np.asarray(compiled(rows[:count])) == pytest.approx(np.asarray(stock(rows[:count])), abs=1e-6)
    walks = [layer for layer in compiled.layers if isinstance(layer, compiled_trees.CompiledWalk)]
    assert len(walks) == (name != "linear")
    assert all(walk._compiled is not walk._walk for walk in walks)


def test_without_a_compiler_trees_are_walked_all_the_same(monkeypatch):
    def missing(features, nodes):
        raise tf.errors.UnimplementedError(None, None, "no XLA")

    arrays, rows = last("boosted_trees", table(2), steps=3)[1].arrays, table(2).features
    monkeypatch.setattr(compiled_trees, "FEWEST_ROWS", 1)
    model = classic_model(arrays, 2, "it", compiled=True)
    expected = np.asarray(model(rows))
    (walk,) = [layer for layer in model.layers if isinstance(layer, compiled_trees.CompiledWalk)]
    walk._compiled = missing
    assert np.asarray(model(rows)) == pytest.approx(expected, abs=1e-6)
    assert walk._compiled is walk._walk
