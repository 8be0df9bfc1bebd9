"""How the labels of an `input_fn` are read; what could mean several things is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_search.data.stream_labels import LabelEncoding, valid_labels
from model_search.data.task import TaskKind
from model_search.errors import DataError

Y = np.array([0, 2, 1, 1])


def infer(labels, width=3, kind=None):
    return LabelEncoding.infer(width, [labels], [labels], kind)


@pytest.mark.parametrize("labels", [Y, Y[:, None], Y.astype(float), np.eye(3)[Y], np.eye(3, dtype=int)[Y]])
def test_one_label_however_it_is_written(labels):
    encoding = infer(labels)
    assert encoding.task.kind is TaskKind.CLASSIFICATION
    for written in (labels, Y, np.eye(3)[Y]):
        assert encoding.encode(written).tolist() == Y.tolist()


@pytest.mark.parametrize(
    ("labels", "width"),
    [
        (np.array([[0, 1, 1], [1, 0, 0]]), 3),  # steps of classes, or several classes at once
        (np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]), 3),
        (np.array([[0, 1, 2], [2, 1, 0]]), 3),
        (np.array([[0, 1], [1, 0]]), 3),  # as many columns as steps, not as classes
        (np.zeros((2, 3, 3), int), 3),
        (np.array([[3, 5, 1], [2, 2, 2]]), 3),
    ],
)
def test_what_could_mean_several_things_is_refused(labels, width):
    with pytest.raises(DataError, match=r"labels of shape \[rows, .*RNN_ALL_ACTIVATIONS.*regression"):
        infer(labels, width)


def test_a_batch_that_is_not_one_hot_is_found_later():
    encoding = infer(np.eye(3)[Y])
    with pytest.raises(DataError, match="exactly one 1 in each row"):
        encoding.encode(np.array([[1, 1, 0], [0, 0, 1]]))


def test_floats_are_numbers_to_predict_and_whole_ones_where_the_provider_says_so():
    assert infer(np.random.default_rng(0).normal(size=(4, 3))).task.kind is TaskKind.REGRESSION
    said = infer(np.array([[3, 5, 1], [2, 2, 2]]), 3, TaskKind.REGRESSION)
    assert said.task.kind is TaskKind.REGRESSION and said.encode(np.ones((4, 3))).shape == (4, 3)


def test_texts_are_not_taken_for_numbers():
    encoding = infer(np.array(["u", "v", "w", "u"]))
    assert encoding.encode(np.array([b"w", b"u"], dtype=object)).tolist() == [2, 0]
    with pytest.raises(DataError, match="expected texts: u, v, w"):
        encoding.encode(np.array([0, 1]))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.booleans(), st.booleans())
def test_a_label_for_each_step_leaves_padding_out(lengths, one_hot, weighted):
    valid = np.arange(4) < np.array(lengths)[:, None]
    classes = (np.arange(valid.size).reshape(valid.shape)) % 3
    labels = np.eye(3)[classes] if one_hot else classes
    labels = np.where(valid[..., None], labels, -7.0) if one_hot else np.where(valid, labels, -7)
    encoding = LabelEncoding.infer(3, [np.eye(3)[Y]], [], None)
    weights = np.full(len(lengths), 2.0, np.float32) if weighted else None
    found, kept = encoding.encode_steps(labels, valid, weights)
    assert found[valid].tolist() == classes[valid].tolist() and not found[~valid].any()
    assert (kept > 0).tolist() == valid.tolist()
    assert set(kept[valid].tolist()) == {2.0 if weighted else 1.0}


def test_steps_without_a_label_are_refused():
    valid = np.arange(4) < np.array([[2], [4]])
    with pytest.raises(DataError, match="labels for 3 steps, and rows of up to 4 steps"):
        valid_labels(np.zeros((2, 3), int), valid)
    assert valid_labels(np.zeros((2, 9), int), valid).shape == (6,)
