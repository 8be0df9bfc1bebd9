"""The scale of row weights: only how they compare counts."""

import dataclasses

import numpy as np
import pytest
from engine_cases import DENSE, class_rows, class_table, plan, settings
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from model_search.data.rows import Rows
from model_search.training.engine import Engine
from model_search.training.losses import averaging_one
from model_search.training.runtime import tensorflow

FINITE = st.floats(2.0**-10, 2.0**10, width=32)


@given(arrays_of.arrays(np.float32, st.integers(1, 40), elements=FINITE))
def test_weights_average_one_and_keep_their_proportions(weights):
    scaled = averaging_one(weights)
    assert scaled.dtype == np.float32
    assert scaled.mean(dtype=np.float64) == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose(scaled / scaled[0], weights / weights[0], rtol=1e-5)


def test_weights_of_steps_average_one_over_the_steps_that_count():
    weights = np.array([[2.0, 2.0, 0.0], [8.0, 0.0, 0.0]], np.float32)
    np.testing.assert_allclose(averaging_one(weights), [[0.5, 0.5, 0.0], [2.0, 0.0, 0.0]])


def test_weights_of_zero_only_stay_as_they_are():
    np.testing.assert_array_equal(averaging_one(np.zeros(3, np.float32)), np.zeros(3))
    np.testing.assert_array_equal(averaging_one(np.zeros((2, 2), np.float32)), np.zeros((2, 2)))


def heavier(rows, factor):
    """The same rows, all of them `factor` times as heavy."""
    return Rows.of(rows.inputs["features"], rows.label, rows.weight * np.float32(factor))


@pytest.mark.parametrize("factor", [1024.0, 1 / 64])
def test_a_common_factor_of_all_weights_changes_no_update(factor):
    """With plain gradient descent every update grows with the loss; a factor that is a power of two rounds nothing."""
    table = class_table(weighted=True)
    other = dataclasses.replace(table, train=heavier(table.train, factor), valid=heavier(table.valid, factor))
    steep = plan(DENSE, optimizer="sgd", learning_rate=0.05)
    one, same = (Engine(data, settings()).run(steep) for data in (table, other))
    assert one.metrics == same.metrics
    np.testing.assert_array_equal(one.valid_logits, same.valid_logits)


def test_a_provider_s_loss_is_evaluated_with_weights_that_average_one():
    tf = tensorflow()
    received = []

    def loss_fn(labels, logits, weights):
        if tf.executing_eagerly():
            received.append(np.asarray(weights))
        return tf.reduce_mean(weights * tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))

    table = class_table(loss_fn=loss_fn)
    table = dataclasses.replace(table, valid=heavier(class_rows(100, seed=2, weighted=True), 100.0))
    outcome = Engine(table, settings()).run(plan(DENSE, steps=8))
    assert received[-1].mean() == pytest.approx(1.0, rel=1e-5)
    assert outcome.metrics["loss"] == pytest.approx(outcome.metrics["log_loss"], rel=1e-4)
