"""Linear models, dense and sparse, with both forms of the numbers: as of scikit-learn, in Keras, in files and bags."""

import dataclasses

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso, LogisticRegression, Ridge

from model_search.data.tabular.features import CategoryFeature, DateFeature, FeatureSchema, NumberFeature
from model_search.data.tabular.preprocess import standardise
from model_search.data.task import Task, TaskKind
from model_search.errors import StudyError
from model_search.metadata.trial import TrialKind
from model_search.search.planning.classic_models import classic_plan, with_length_of
from model_search.towers.classic_arrays import FURTHEST, LINEAR, as_logits, checked, parameters_of, without_clip
from model_search.towers.classic_models import bag_of_classic_models, classic_model
from model_search.training.classic.evaluator import means, numbers
from model_search.training.classic.fitted import ClassicRows
from model_search.training.classic.fitting import fitted_models, patience

NUMBERS = np.array([True, True, True, False])


def table(classes, rows=240, seed=0):
    """Three columns of numbers, the second one with a long tail, and one of zeros and ones; also without the clip."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=(rows, 4))
    raw[:, 1] = np.sinh(1.5 * raw[:, 1])
    raw[:, 3] = raw[:, 3] > 0
    features = raw.copy()
    features[:, :3] = standardise(raw[:, :3], 0.0, 1.0)
    signal = raw @ [1.0, 0.5, -1.0, 2.0] + 0.1 * rng.normal(size=rows)
    if classes:
        targets = np.digitize(signal, np.quantile(signal, np.arange(1, classes) / classes)).astype(np.int32)
        task = Task(TaskKind.CLASSIFICATION, "y", classes)
    else:
        targets, task = signal.astype(np.float32), Task(TaskKind.REGRESSION, "y", 1)
    unmarked = np.full(4, -1, np.int32)
    return ClassicRows(task, features.astype(np.float32), targets, rng.random(rows), unmarked, NUMBERS), raw


def every_step(plan, rows):
    return {fitted.step: fitted for fitted in fitted_models(plan, rows, rows.features)}


def logits(arrays, rows, width):
    return np.asarray(classic_model(checked(arrays, "it"), width, "it")(rows.features))


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_each_penalty_is_tried_with_both_forms_of_the_numbers(classes):
    rows, raw = table(classes)
    plan = classic_plan("linear", 3, seed=7)
    found, width = every_step(plan, rows), rows.task.logits_dimension
    assert list(found) == list(range(1, 13))
    assert (plan.steps, patience(plan)) == (12, 6)
    shift = (lambda one: one - one.mean(axis=1, keepdims=True)) if classes else (lambda one: one)
    for step, features in ((11, rows.features.astype(np.float64)), (12, np.clip(raw, -FURTHEST, FURTHEST))):
        weakest = plan.hyperparameters["weakest_penalty"]
        model = LogisticRegression(C=1 / weakest, max_iter=2000, tol=1e-8) if classes else Ridge(alpha=weakest)
        model.fit(features, rows.targets, sample_weight=rows.weights)
        expected = model.decision_function(features) if classes else model.predict(features)
        expected = shift(as_logits(expected.reshape(len(features), -1), width))
        arrays = found[step].arrays
        assert ("unclipped" in arrays) == (step == 12)
        own = logits(arrays, rows, width)
        assert np.abs(shift(own) - expected).max() < (0.02 * np.abs(expected).max() if classes else 1e-3)
        assert as_logits(found[step].outputs, width) == pytest.approx(own, abs=1e-4)
        assert parameters_of(arrays) == 5 * found[step].outputs.shape[1]


@settings(deadline=None)
@given(st.floats(-FURTHEST, FURTHEST))
def test_the_clip_is_undone(number):
    feature = standardise(np.array([[number, number]]), 0.0, 1.0).astype(np.float32)
    found = without_clip(feature, np.array([True, False]))
    assert found[0, 0] == pytest.approx(number, rel=1e-3, abs=1e-6)
    assert found[0, 1] == feature[0, 1]


def test_what_is_very_far_stays_finite():
    features = np.array([[3.0, -3.0, 2.9999998, 1.0]], np.float32)
    found = without_clip(features, NUMBERS)
    assert np.abs(found[0, :3]) == pytest.approx([FURTHEST] * 3, rel=1e-3)
    arrays = {"kernel": np.eye(4, dtype=np.float32), "bias": np.zeros(4, np.float32), "unclipped": NUMBERS}
    own = np.asarray(classic_model(arrays, 4, "it")(features))
    assert own == pytest.approx(found, rel=1e-5)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("step", [1, 6, 9, 12])
def test_a_bag_has_the_form_and_the_penalty_that_were_best(classes, step):
    rows, _ = table(classes)
    plan = classic_plan("linear", 3, seed=7)
    chosen = with_length_of(plan, step)
    again = every_step(dataclasses.replace(chosen, kind=TrialKind.BAGGING), rows)[chosen.steps]
    first = every_step(plan, rows)[step]
    assert set(again.arrays) == set(first.arrays)
    assert again.outputs == pytest.approx(first.outputs, rel=1e-3, abs=1e-3)
    assert with_length_of(chosen, chosen.steps) == chosen


def wide(classes, rows=80, columns=120):
    """Numbers of which two decide, and far too few rows for all of them."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(rows, columns)).astype(np.float32)
    signal = 2 * features[:, 3] - 3 * features[:, 7] + 0.1 * rng.normal(size=rows)
    unmarked = np.full(columns, -1, np.int32)
    if not classes:
        task = Task(TaskKind.REGRESSION, "y", 1)
        return ClassicRows(task, features, signal.astype(np.float32), rng.random(rows) + 0.5, unmarked)
    task = Task(TaskKind.CLASSIFICATION, "y", classes)
    targets = np.digitize(signal, np.quantile(signal, np.arange(1, classes) / classes)).astype(np.int32)
    return ClassicRows(task, features, targets, None, unmarked)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_the_sparse_model_finds_the_columns_that_count(classes):
    rows = wide(classes)
    plan = classic_plan("sparse_linear", 3, seed=7)
    found = every_step(plan, rows)
    assert list(found) == list(range(1, 24, 2))  # without knowledge of the numbers there is one form of them
    used = [np.flatnonzero((one.arrays["kernel"] != 0).any(axis=1)).tolist() for one in found.values()]
    assert any(set(columns) == {3, 7} for columns in used)
    assert len(used[0]) <= 2 < len(used[-1]) < 120
    alone = dataclasses.replace(plan, hyperparameters={**plan.hyperparameters, "weakest_penalty": 1.01}, steps=2)
    assert not every_step(alone, rows)[1].arrays["kernel"].any()


def test_the_sparse_model_is_the_lasso_and_a_bag_has_its_penalty():
    rows = wide(0)
    plan = classic_plan("sparse_linear", 3, seed=7)
    centred = rows.targets - np.average(rows.targets, weights=rows.weights)
    least = np.abs((rows.weights / rows.weights.mean() * centred) @ rows.features).max() / 80
    model = Lasso(alpha=0.003 * 1.6**6 * least, max_iter=5000)
    model.fit(rows.features, rows.targets, sample_weight=rows.weights)
    first = every_step(plan, rows)[11]
    assert first.outputs[:, 0] == pytest.approx(model.predict(rows.features), abs=1e-3)
    chosen = with_length_of(plan, 11)
    assert (chosen.steps, chosen.hyperparameters["numbers"], patience(plan)) == (6, "clipped", 6)
    assert every_step(chosen, rows)[6].outputs == pytest.approx(first.outputs, abs=1e-4)


def test_plans_of_earlier_versions_mean_the_same():
    rows, _ = table(0)
    old = dataclasses.replace(
        classic_plan("linear", 3, seed=7), steps=6, hyperparameters={"weakest_penalty": 0.1, "factor": 10.0}
    )
    found = every_step(old, rows)
    assert list(found) == list(range(1, 7))
    assert all(set(one.arrays) == set(LINEAR) for one in found.values())
    model = Ridge(alpha=100.0).fit(rows.features.astype(np.float64), rows.targets, rows.weights)
    assert found[3].outputs[:, 0] == pytest.approx(model.predict(rows.features), abs=1e-5)
    chosen = with_length_of(old, 3)
    assert (chosen.steps, dict(chosen.hyperparameters)) == (3, {"weakest_penalty": 100.0, "factor": 10.0})
    assert patience(old) == 3


@pytest.mark.parametrize("known", [None, np.zeros(4, bool)])
def test_without_numbers_there_is_one_form(known):
    rows = dataclasses.replace(table(2)[0], numbers=known)
    assert list(every_step(classic_plan("linear", 3, seed=7), rows)) == [1, 3, 5, 7, 9, 11]


def test_numbers_are_neither_categories_nor_means_nor_indicators():
    features = (
        NumberFeature("a", 0.0, 1.0, indicator=True),
        CategoryFeature("b", ("x", "y")),
        DateFeature("c", ("days", "month"), (0.0, 0.0), (1.0, 1.0), indicator=True),
        NumberFeature("d", 0.0, 1.0, indicator=True, mean_values=(1.0,), means=(0.1, 0.2, 0.3, 0.4)),
    )
    of_codes = [True, False, False, False]
    assert numbers(FeatureSchema(features)).tolist() == [True, False, *[False] * 3, True, True, False, *of_codes]


def test_means_of_the_label_are_told_from_numbers_categories_and_places():
    features = (
        NumberFeature("a", 0.0, 1.0, indicator=True, mean_values=(1.0,), means=(0.1, 0.2)),
        CategoryFeature("b", ("x",), mean_texts=("x", "y"), means=(0.1, 0.2, 0.3), places=True),
        DateFeature("c", ("days",), (0.0,), (1.0,)),
    )
    assert means(FeatureSchema(features)).tolist() == [False, True, False, False, False, True, False, False]
    assert means(FeatureSchema(features[2:])) is None


def test_files_and_bags_of_both_forms(tmp_path):
    rows, _ = table(3)
    found = every_step(classic_plan("linear", 3, seed=7), rows)
    parts = [found[11].arrays, found[12].arrays]
    model = bag_of_classic_models(parts, 3, "it", lambda outputs: keras.ops.stack(outputs, axis=1))
    for place, arrays in enumerate(parts):
        assert np.asarray(model(rows.features))[:, place] == pytest.approx(logits(arrays, rows, 3), abs=1e-5)
    model.save(tmp_path / "bag.keras")
    again = keras.models.load_model(tmp_path / "bag.keras", safe_mode=True)
    assert np.array_equal(np.asarray(again(rows.features)), np.asarray(model(rows.features)))


@pytest.mark.parametrize("unclipped", [NUMBERS[:3], NUMBERS.astype(np.int32), np.ones((4, 1), bool)])
def test_arrays_that_do_not_fit_are_refused(unclipped):
    arrays = {"kernel": np.ones((4, 1), np.float32), "bias": np.ones(1, np.float32), "unclipped": unclipped}
    with pytest.raises(StudyError, match="arrays of trial 3 do not fit together"):
        classic_model(arrays, 1, "trial 3")
