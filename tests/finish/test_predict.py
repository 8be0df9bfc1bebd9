"""Logits to answers."""

import numpy as np
import pytest

from model_search.data.task import Task, TaskKind
from model_search.errors import UserError
from model_search.finish import predict

LOGITS = np.array([[0.0, 2.0], [1.0, -1.0]], np.float32)


def classes_task(*classes):
    return Task(TaskKind.CLASSIFICATION, "y", 2, classes)


@pytest.mark.parametrize(
    ("classes", "kind"),
    [
        ((False, True), bool),
        ((3, 7), int),
        ((0.5, 1.5), float),
        (("a", "b"), str),
        ((0, 2**70), int),
        ((-1, 2**63), int),
    ],
)
def test_labels_are_the_users_own(classes, kind):
    labels = predict.predict_labels(LOGITS, classes_task(*classes)).tolist()
    assert labels == [classes[1], classes[0]]
    assert {type(label) for label in labels} == {kind}


def test_classes_of_several_types_keep_theirs():
    assert [type(v) for v in predict.predict_labels(LOGITS, classes_task(True, "True")).tolist()] == [str, bool]


def test_classes_without_names_are_numbers():
    assert predict.predict_labels(LOGITS, classes_task()).tolist() == [1, 0]
    assert predict.predict_probabilities(LOGITS, classes_task()).columns.tolist() == [0, 1]


def test_probabilities():
    frame = predict.predict_probabilities(LOGITS, classes_task("no", "yes"), temperature=2.0)
    assert frame.columns.tolist() == ["no", "yes"]
    np.testing.assert_allclose(frame["yes"], 1 / (1 + np.exp([-1.0, 1.0])))
    huge = predict.predict_probabilities(np.array([[1e38, -1e38]], np.float32), classes_task("no", "yes"))
    assert huge.to_numpy().tolist() == [[1.0, 0.0]]
    with pytest.raises(UserError, match="temperature is 0"):
        predict.predict_probabilities(LOGITS, classes_task("no", "yes"), temperature=0)


def test_numbers_are_in_the_users_units():
    one = Task(TaskKind.REGRESSION, "y", 1, target_mean=10.0, target_scale=2.0)
    assert predict.predict_labels(LOGITS[:, :1], one).tolist() == [10.0, 12.0]
    two = Task(TaskKind.REGRESSION, "y", 2, target_mean=10.0, target_scale=2.0)
    assert predict.predict_labels(LOGITS, two).tolist() == [[10.0, 14.0], [12.0, 8.0]]


def test_batches_give_what_one_pass_gives(monkeypatch):
    import keras

    inputs = keras.Input((3,), name="features")
    tower = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Dropout(0.5)(inputs)))
    rows = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    whole = predict.tower_logits(tower, {"features": rows})
    kernel, bias = tower.get_weights()
    np.testing.assert_allclose(whole, rows @ kernel + bias, atol=1e-5)
    monkeypatch.setattr(predict, "_BATCH_NUMBERS", 12)
    np.testing.assert_allclose(predict.tower_logits(tower, {"features": rows}), whole, atol=1e-6)
    assert predict.tower_logits(tower, {"features": rows[:0]}).shape == (0, 2)
    with pytest.raises(UserError, match=r"shape \(2,\) for 'features'; the model reads \(3,\)"):
        predict.tower_logits(tower, {"features": rows[:, :2]})
