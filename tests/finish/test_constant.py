import dataclasses

import numpy as np
import pytest

import model_search
from model_search.data.prepared_data import TableData
from model_search.data.rows import Rows
from model_search.data.task import Task, TaskKind
from model_search.finish.constant import constant_logits, worse_than_baseline, worse_than_constant
from model_search.metadata.trial import Trial, TrialKind, TrialPlan, TrialResult, TrialState
from model_search.ranking import Goal, Objective
from model_search.search.history.history import History
from model_search.search.planning.classic_models import classic_plan
from model_search.search.planning.fold_plans import bag_plan
from model_search.trainers import finish_study


def classes(weights=None):
    labels = np.array([0, 0, 0, 1], np.int32)
    task = Task(TaskKind.CLASSIFICATION, "y", 3, ("a", "b", "c"))
    rows = Rows.of(np.zeros((4, 2), np.float32), labels, weights)
    return TableData(task, rows, rows.take(slice(2)), "", {})


def test_classes_have_their_share_of_the_training_rows():
    found = constant_logits(classes())
    assert found.shape == (2, 3)
    np.testing.assert_allclose(np.exp(found[0]), [0.75, 0.25, 1e-6], rtol=1e-5)
    weighted = constant_logits(classes(np.array([1, 1, 1, 3], np.float32)))
    np.testing.assert_allclose(np.exp(weighted[1]), [0.5, 0.5, 1e-6], rtol=1e-5)


def test_numbers_have_their_mean():
    labels = np.array([[1.0], [3.0]], np.float32)
    rows = Rows.of(np.zeros((2, 2), np.float32), labels)
    data = TableData(Task(TaskKind.REGRESSION, "y", 1), rows, rows, "", {})
    np.testing.assert_allclose(constant_logits(data), [[2.0], [2.0]])


def test_quantiles_are_those_of_the_training_rows():
    labels = np.arange(10, dtype=np.float32)[::-1, None]
    weights = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1], np.float32)
    task = Task(TaskKind.REGRESSION, "y", 2, quantiles=(0.1, 0.9))
    for given, expected in ((None, [0.0, 8.0]), (weights, [0.0, 4.0])):
        rows = Rows.of(np.zeros((10, 2), np.float32), labels, given)
        np.testing.assert_allclose(constant_logits(TableData(task, rows, rows, "", {})), [expected] * 10)


@pytest.mark.parametrize(("best", "is_said"), [(0.5, True), (0.8, False), (0.7, False), (None, True)])
def test_only_what_is_worse_is_said(best, is_said):
    objective = Objective("accuracy", Goal.of("maximize"))
    said = worse_than_constant(classes(), lambda logits: {"accuracy": 0.7}, objective, best)
    assert (said is not None) == is_said
    if is_said:
        assert "accuracy of 0.7" in said


def test_nothing_is_said_where_it_cannot_be_computed():
    objective = Objective("mine", Goal.of("maximize"))
    assert worse_than_constant(classes(), lambda logits: {}, objective, 0.5) is None
    steps = dataclasses.replace(classes().train, labels={"label": np.zeros((4, 3), np.int32)})
    assert constant_logits(dataclasses.replace(classes(), train=steps)) is None


def test_a_search_whose_best_trial_is_worse_says_so(tmp_path, capfd, monkeypatch):
    def spread(labels, predictions):
        return float(np.std(predictions))

    x, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60.0)
    options = {"experiment_name": "noise", "finish": "neither", "seed": 1, "root_dir": tmp_path, "progress": False}
    how = {"train_steps": 5, "batch_size": 8, "metric": spread, "goal": "minimize"}
    study = model_search.fit(x, y, number_models=1, **how, **options)
    said = "o trial is better than saying the same of every row: that has a spread of 0"
    assert f"n{said}" in capfd.readouterr().err
    assert f"N{said}" in study.report().read_text(encoding="utf-8")
    monkeypatch.setattr(finish_study, "worse_than_constant", lambda *given: None)  # a better trial was found
    study = model_search.fit(x, y, number_models=2, **how, **options)
    assert said not in study.report().read_text(encoding="utf-8")


def test_a_baseline_that_is_better_than_what_is_handed_back_is_named():
    def ended(number, loss, plan):
        result = TrialResult({"loss": loss}, 1, 1, {})
        return Trial(number, TrialState.COMPLETED, 1, number, "w", plan, result)

    tower = TrialPlan(1, TrialKind.SEARCH, ("IDENTITY",), {}, 1, 1, 1, "a")
    trees, linear = classic_plan("boosted_trees", 2, 1), classic_plan("linear", 3, 1)
    history = History("loss", "minimize")
    trials = [ended(1, 0.5, tower), ended(2, 0.4, trees), ended(3, 0.6, linear)]
    history.update(trials)
    said = worse_than_baseline(trials[0], history)
    assert said == (
        "what is handed back has a loss of 0.5 on the validation rows; gradient-boosted trees alone have 0.4 (trial 2)"
    )
    assert worse_than_baseline(trials[1], history) is None
    history.update([ended(4, 0.7, bag_plan(4, trials[1], 5))])
    assert worse_than_baseline(trials[0], history) is None  # in folds they are not better
    networks = History("loss", "minimize")
    networks.update(trials[:1])
    assert worse_than_baseline(trials[0], networks) is None
