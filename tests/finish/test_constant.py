import dataclasses

import numpy as np
import pytest

import model_search
from model_search.data.prepared_data import TableData
from model_search.data.rows import Rows
from model_search.data.task import Task, TaskKind
from model_search.finish.constant import constant_logits, worse_than_constant
from model_search.ranking import Goal, Objective


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


def test_a_search_whose_best_trial_is_worse_says_so(tmp_path, capfd):
    def spread(labels, predictions):
        return float(np.std(predictions))

    x, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60.0)
    options = {"experiment_name": "noise", "finish": "neither", "seed": 1, "root_dir": tmp_path, "progress": False}
    model_search.fit(x, y, number_models=1, train_steps=5, batch_size=8, metric=spread, goal="minimize", **options)
    assert "no trial is better than saying the same of every row: that has a spread of 0" in capfd.readouterr().err
