import dataclasses
import math

import numpy as np
import pytest
import sklearn.metrics
from engine_cases import classes_task, numbers_task
from hypothesis import given
from hypothesis import strategies as st

from model_search.data.labelled_rows import LabelledRows
from model_search.data.task import Task, TaskKind
from model_search.errors import TrialError, UserError
from model_search.training import metrics

CLASSES, NUMBERS = classes_task(3), numbers_task()
ORDERED = dataclasses.replace(CLASSES, ordered=True)
QUANTILES = Task(TaskKind.REGRESSION, "label", 2, target_mean=10.0, target_scale=4.0, quantiles=(0.2, 0.9))


@st.composite
def scored_classes(draw, least=2, most=4):
    """Labels, logits with ties, weights with zeros."""
    classes = draw(st.integers(least, most))
    rows = draw(st.integers(2, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = rng.integers(classes, size=rows).astype(np.int32)
    logits = rng.integers(-3, 4, size=(rows, classes)).astype(np.float32)
    weights = draw(st.sampled_from([None, "some"])) and rng.integers(0, 4, size=rows).astype(np.float32)
    if weights is not None:
        weights[0] = 1.0
    return classes, labels, logits, weights


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def roc(labels, scores, weights):
    return sklearn.metrics.roc_auc_score(labels, scores, sample_weight=weights)


@given(scored_classes())
def test_class_metrics_are_those_of_scikit_learn(case):
    classes, labels, logits, weights = case
    found = metrics.all_metrics(classes_task(classes), labels, logits, weights)
    chosen = logits.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(
        sklearn.metrics.accuracy_score(labels, chosen, sample_weight=weights), abs=1e-9
    )
    expected = sklearn.metrics.log_loss(
        labels, softmax(logits.astype(np.float64)), sample_weight=weights, labels=range(classes)
    )
    # Logits are 32-bit numbers: the loss of a confident answer is a small difference of larger ones.
    assert found["log_loss"] == found["loss"] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    if classes > 2:
        present = np.unique(np.concatenate([labels, chosen])) if weights is None else None
        if present is not None:
            f1 = sklearn.metrics.f1_score(labels, chosen, average="macro", labels=present)
            assert found["f1"] == pytest.approx(f1)
        assert "auc_pr" not in found


@given(scored_classes(most=2))
def test_binary_areas_are_those_of_scikit_learn(case):
    _, labels, logits, weights = case
    found = metrics.all_metrics(classes_task(2), labels, logits, weights)
    scores = logits[:, 1] - logits[:, 0]
    weight_of = np.bincount(labels, weights, 2)
    if (weight_of > 0).all():
        assert found["auc"] == pytest.approx(roc(labels, scores, weights))
        expected = sklearn.metrics.average_precision_score(labels, scores, sample_weight=weights)
        assert found["auc_pr"] == pytest.approx(expected)
        f1 = sklearn.metrics.f1_score(labels, logits.argmax(axis=1), sample_weight=weights)
        assert found["f1"] == pytest.approx(f1)
    else:
        assert "auc" not in found


def test_auc_of_several_classes_is_each_against_the_rest():
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(3, size=200), rng.normal(size=(200, 3))
    expected = sklearn.metrics.roc_auc_score(labels, softmax(logits), multi_class="ovr", average="macro")
    assert metrics.compute_metric("auc", classes_task(3), labels, logits) == pytest.approx(expected)


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.booleans())
def test_number_metrics_are_in_the_users_units(seed, targets, weighted):
    rng = np.random.default_rng(seed)
    task = numbers_task(targets, mean=-7.0, scale=3.0)
    labels, logits = rng.normal(size=(2, 12, targets)).astype(np.float32)
    weights = rng.uniform(0.1, 3, 12) if weighted else None
    found = metrics.all_metrics(task, labels, logits, weights)
    truth, guess = labels * 3.0 - 7.0, logits * 3.0 - 7.0
    mse = sklearn.metrics.mean_squared_error(truth, guess, sample_weight=weights)
    assert found["loss"] == pytest.approx(mse / 9, rel=1e-4)
    assert found["mse"] == pytest.approx(mse, rel=1e-4)
    assert found["rmse"] == pytest.approx(math.sqrt(mse), rel=1e-4)
    mae = sklearn.metrics.mean_absolute_error(truth, guess, sample_weight=weights)
    assert found["mae"] == pytest.approx(mae, rel=1e-4)
    assert found["r2"] == pytest.approx(sklearn.metrics.r2_score(truth, guess, sample_weight=weights), rel=1e-3)


def test_what_cannot_be_computed_is_left_out():
    found = metrics.all_metrics(classes_task(2), np.array([1, 1]), np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert "auc" not in found
    assert found["accuracy"] == 0.5
    found = metrics.all_metrics(numbers_task(), np.zeros((3, 1), np.float32), np.ones((3, 1), np.float32))
    assert "r2" not in found
    assert found["mae"] == pytest.approx(4.0)
    with pytest.raises(UserError, match="no rows"):
        metrics.all_metrics(classes_task(2), np.empty(0, np.int32), np.empty((0, 2)))


def test_extreme_logits_do_not_overflow():
    found = metrics.all_metrics(classes_task(2), np.array([0, 1]), np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32))
    assert found["loss"] == 0
    assert np.isfinite(metrics.predictions(classes_task(2), np.array([[1e4, -1e4]], np.float32))).all()


@pytest.mark.parametrize("rows", [3, 7, 30, 49])
def test_a_model_without_errors_has_exactly_one(rows):
    labels = np.arange(rows) % 2
    logits = np.stack([-labels, labels], axis=1).astype(np.float32)
    task = Task(TaskKind.CLASSIFICATION, "y", 2, ("a", "b"))
    for weights in (None, np.linspace(0.1, 3.0, rows).astype(np.float32)):
        found = metrics.all_metrics(task, labels, logits, weights)
        assert found["accuracy"] == 1.0
        assert found["auc"] <= 1.0 and found["auc_pr"] <= 1.0


def test_weights_of_zero_only_count_as_none():
    labels, logits = np.array([0, 1]), np.array([[1.0, 0.0], [1.0, 0.0]])
    assert metrics.all_metrics(classes_task(2), labels, logits, np.zeros(2))["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("given_name", "name", "goal", "kind"),
    [
        ("AUC", "auc", "maximize", CLASSES),
        ("auc_roc", "auc", "maximize", CLASSES),
        ("AUC-PR", "auc_pr", "maximize", CLASSES),
        ("log loss", "log_loss", "minimize", CLASSES),
        ("Accuracy", "accuracy", "maximize", CLASSES),
        ("F1", "f1", "maximize", CLASSES),
        (" R2 ", "r2", "maximize", NUMBERS),
        ("R²", "r2", "maximize", NUMBERS),
        ("RMSE", "rmse", "minimize", NUMBERS),
        ("mse", "mse", "minimize", NUMBERS),
        ("MAE", "mae", "minimize", NUMBERS),
        (None, "loss", "minimize", NUMBERS),
        ("loss", "loss", "minimize", CLASSES),
        ("Accuracy", "accuracy", "maximize", ORDERED),
        ("QWK", "quadratic_kappa", "maximize", ORDERED),
        ("rank error", "rank_error", "minimize", ORDERED),
        ("pinball loss", "pinball", "minimize", QUANTILES),
        (None, "loss", "minimize", QUANTILES),
    ],
)
def test_names_are_understood_in_many_spellings(given_name, name, goal, kind):
    found = metrics.resolve_metric(given_name, None, kind)
    assert (found.name, found.goal, found.fn) == (name, goal, None)
    assert metrics.resolve_metric(given_name, "maximize", kind).goal == "maximize"


@pytest.mark.parametrize(
    ("metric", "goal", "kind", "words"),
    [
        ("acuracy", None, CLASSES, "did you mean one of: accuracy"),
        ("xyz", None, NUMBERS, "did you mean one of: loss, r2, rmse, mse, mae"),
        ("accuracy", None, NUMBERS, "does not fit a regression task; expected one of loss, r2"),
        ("rmse", None, CLASSES, "does not fit a classification task"),
        ("rank_error", None, CLASSES, "does not fit a classification task"),
        ("mae", None, QUANTILES, "does not fit these quantiles; expected one of loss, pinball, coverage_error"),
        ("loss", "up", CLASSES, "goal is 'up'"),
        (3, None, CLASSES, "metric is 3"),
        (max, None, CLASSES, "say goal="),
    ],
)
def test_a_metric_that_cannot_be_is_refused_in_words(metric, goal, kind, words):
    with pytest.raises(UserError, match=words):
        metrics.resolve_metric(metric, goal, kind)


def test_a_function_is_named_after_itself():
    def my_score(labels, predictions):
        return 1.0

    assert metrics.resolve_metric(my_score, "maximize", CLASSES) == metrics.ResolvedMetric(
        "my_score", "maximize", my_score
    )
    assert metrics.resolve_metric(lambda a, b: 0.0, "minimize", CLASSES).name == "custom"


def test_a_function_sees_the_users_units():
    seen = {}

    def keep(labels, predictions):
        seen["labels"], seen["predictions"] = labels, predictions
        return {"bias": np.float32(2.5), "undefined": math.nan}

    labels, logits = np.array([[0.0], [1.0]], np.float32), np.array([[1.0], [0.5]], np.float32)
    assert metrics.extra_metrics(keep, numbers_task(), labels, logits) == {"bias": 2.5}
    assert seen["labels"].tolist() == [10.0, 14.0]
    assert seen["predictions"].tolist() == [14.0, 12.0]
    metrics.extra_metrics(keep, classes_task(), np.array([1]), np.array([[0.0, 0.0]]))
    assert seen["predictions"].tolist() == [[0.5, 0.5]]


def test_a_function_that_fails_fails_the_trial_and_one_that_gives_no_number_is_a_mistake():
    def broken(labels, predictions):
        raise KeyError("nothing here")

    with pytest.raises(TrialError, match="metric 'broken' failed: KeyError"):
        metrics.extra_metrics(broken, classes_task(), np.array([1]), np.array([[0.0, 0.0]]))
    with pytest.raises(UserError, match="returned str"):
        metrics.extra_metrics(lambda a, b: "good", classes_task(), np.array([1]), np.array([[0.0, 0.0]]))


def test_one_label_for_each_step_of_a_sequence():
    labels = np.array([[0, 1], [1, 1]])
    logits = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])
    every = LabelledRows.of(classes_task(), labels)
    assert metrics.compute_metric("accuracy", every.task, every.labels, every.logits(logits)) == 0.75
    assert (len(every), every.evaluated) == (4, 2)
    weights = np.array([[0.0, 0.0], [1.0, 3.0]])
    valid = LabelledRows.of(classes_task(), labels, weights)
    found = metrics.compute_metric("accuracy", valid.task, valid.labels, valid.logits(logits), valid.weights)
    assert found == 0.75
    np.testing.assert_array_equal(valid.by_row(valid.logits(logits))[1], logits[1])
    assert not valid.by_row(valid.logits(logits))[0].any()


def test_metrics_of_ordered_classes_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(4, size=50).astype(np.int32), rng.normal(size=(50, 4)).astype(np.float32)
    weights = rng.uniform(0.5, 2, 50).astype(np.float32)
    found = metrics.all_metrics(dataclasses.replace(classes_task(4), ordered=True), labels, logits, weights)
    shares = softmax(logits)
    chosen = np.array([np.flatnonzero(np.cumsum(row) >= 0.5)[0] for row in shares])
    assert (chosen != logits.argmax(axis=1)).any()
    kappa = sklearn.metrics.cohen_kappa_score(labels, chosen, weights="quadratic", sample_weight=weights)
    assert found["quadratic_kappa"] == pytest.approx(kappa, abs=1e-6)
    assert found["rank_error"] == pytest.approx(
        sklearn.metrics.mean_absolute_error(labels, chosen, sample_weight=weights)
    )
    assert "rank_error" not in metrics.all_metrics(classes_task(4), labels, logits, weights)


def test_metrics_of_quantiles_are_those_of_scikit_learn_with_quantiles_in_their_order():
    rng = np.random.default_rng(0)
    labels, logits = rng.normal(size=(60, 1)).astype(np.float32), rng.normal(size=(60, 2)).astype(np.float32)
    weights = rng.uniform(0.5, 2, 60).astype(np.float32)
    found = metrics.all_metrics(QUANTILES, labels, logits, weights)
    assert found == pytest.approx(metrics.all_metrics(QUANTILES, labels, np.sort(logits, axis=1), weights))
    truth, values = labels[:, 0] * 4.0 + 10, np.sort(logits, axis=1) * 4.0 + 10
    losses = [
        sklearn.metrics.mean_pinball_loss(truth, values[:, place], sample_weight=weights, alpha=quantile)
        for place, quantile in enumerate(QUANTILES.quantiles)
    ]
    assert found["pinball"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert found["loss"] == pytest.approx(np.mean(losses) / 4, rel=1e-5)
    shares = [np.average(truth <= values[:, place], weights=weights) for place in range(2)]
    assert found["coverage_error"] == pytest.approx(np.abs(np.array(shares) - [0.2, 0.9]).mean(), rel=1e-5)
    assert (np.diff(metrics.predictions(QUANTILES, logits), axis=1) >= 0).all()


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_metrics_of_logarithms_are_those_of_scikit_learn_in_the_users_units(seed, is_weighted):
    rng = np.random.default_rng(seed)
    task = Task(TaskKind.REGRESSION, "y", 1, target_mean=2.0, target_scale=1.5, log_target=True)
    labels, logits = rng.normal(size=(2, 20, 1)).astype(np.float32)
    weights = rng.uniform(0.1, 2, 20).astype(np.float32) if is_weighted else None
    found = metrics.all_metrics(task, labels, logits, weights)
    truth, said = (np.exp(values[:, 0].astype(np.float64) * 1.5 + 2) for values in (labels, logits))
    weighted = {"sample_weight": weights}
    assert found["mse"] == pytest.approx(sklearn.metrics.mean_squared_error(truth, said, **weighted))
    assert found["rmse"] == pytest.approx(math.sqrt(found["mse"]))
    assert found["mae"] == pytest.approx(sklearn.metrics.mean_absolute_error(truth, said, **weighted))
    assert found["r2"] == pytest.approx(sklearn.metrics.r2_score(truth, said, **weighted))
    of_logs = sklearn.metrics.mean_squared_error(np.log(truth), np.log(said), **weighted) / 1.5**2
    assert found["loss"] == pytest.approx(of_logs, rel=1e-5)
    np.testing.assert_allclose(metrics.predictions(task, logits), said)


def test_the_exponential_of_a_far_answer_is_cut_off_as_the_models_answers_are():
    task = Task(TaskKind.REGRESSION, "y", 1, target_scale=2.0, target_range=(-1.0, 1.0), log_target=True)
    labels, logits = np.array([[-1.0], [1.0]], np.float32), np.array([[-1.0], [9.0]], np.float32)
    found = metrics.all_metrics(task, labels, logits)
    assert found["mae"] == found["rmse"] == 0
    assert found["loss"] == 32
    np.testing.assert_allclose(metrics.predictions(task, logits), np.exp([-2.0, 2.0]))
