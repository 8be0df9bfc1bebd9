"""What exported models answer: each class, and numbers in the user's units, learnt as they are or by logarithms."""

import numpy as np
import pytest
from exported_answers import HOSTILE_LABELS, answers_in_process
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.data.task import Task, TaskKind
from model_search.finish.predict import predict_labels

ALIKE = ("1.1", "1.10", "2.0b", "1e3", "1000", " a", "a", "A", "TRUE", "true", "01", "1", "+1", "-0", "0")


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        (HOSTILE_LABELS, list(HOSTILE_LABELS)),
        ((False, True), ["False", "True"]),
        ((True, "True", 1), ["True", "'True'", "1"]),
        ((0, 2**70), ["0", str(2**70)]),
        ((-1, 2, 2**40), [-1, 2, 2**40]),
        ((0.1, 2.5), [0.1, 2.5]),
        ((), [0, 1]),
        (("a", "a\0", "b"), ["'a'", "'a\\x00'", "'b'"]),
        ((-1, 2**63), ["-1", str(2**63)]),
        ((1, 2.5, "1"), ["1", "2.5", "'1'"]),
        (ALIKE, list(ALIKE)),
    ],
)
def test_every_class_can_be_the_answer(classes, labels):
    task = Task(TaskKind.CLASSIFICATION, "y", len(labels), classes)
    found = answers_in_process(task, np.eye(len(labels), dtype=np.float32))["label"].numpy().tolist()
    assert [label.decode() if isinstance(label, bytes) else label for label in found] == labels


def test_several_targets_are_in_the_users_units():
    task = Task(TaskKind.REGRESSION, "y", 2, target_mean=10.0, target_scale=2.0)
    logits = np.array([[0.0, 1.0], [-1.0, 3.0], [2.0, 2.0]], np.float32)
    assert answers_in_process(task, logits)["prediction"].numpy().tolist() == [[10.0, 12.0], [8.0, 16.0], [14.0, 14.0]]


@given(st.floats(-320, 320), st.floats(1e-3, 12), st.lists(st.floats(-19, 19, width=32), min_size=1, max_size=9))
@settings(deadline=None, max_examples=25)
def test_numbers_learnt_by_logarithms_are_served_as_they_are_predicted(mean, scale, logits):
    task = Task(TaskKind.REGRESSION, "y", 1, target_mean=mean, target_scale=scale, log_target=True)
    given_logits = np.array(logits, np.float32)[:, None]
    found = answers_in_process(task, given_logits)["prediction"].numpy()
    expected = predict_labels(given_logits, task)
    if found.dtype == np.float32:
        assert abs(mean) + 20 * scale < 87
        np.testing.assert_allclose(found, expected, rtol=3e-5)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert (found > 0).all() and np.isfinite(found).all()


@pytest.mark.parametrize("scale", [2.0, 30.0])
def test_the_exponential_of_the_farthest_logit_is_still_a_number(scale):
    task = Task(TaskKind.REGRESSION, "y", 1, target_scale=scale, log_target=True)
    found = answers_in_process(task, np.array([[-1e30], [1e30]], np.float32))["prediction"].numpy()
    assert 0 < found[0] < 1e-37 and 1e37 < found[1] < np.inf
