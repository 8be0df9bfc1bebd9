import keras
import numpy as np
import pytest

from model_search.data.rows import InputSpec
from model_search.errors import TrialError, UnsupportedError, UserError
from model_search.towers.builder import TowerSpec, build_tower
from model_search.towers.heads import add_head, probabilities_of


@pytest.fixture(scope="module")
def tower():
    return build_tower(TowerSpec(("FULLY_CONNECTED",), {"features": InputSpec((4,))}, 3))


@pytest.fixture(scope="module")
def features():
    return np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def softmax(values):
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def with_probabilities(model, temperature=1.0):
    return keras.Model(model.input, probabilities_of(model.output, temperature))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_probabilities(tower, features, temperature):
    expected = softmax(np.asarray(tower(features)) / temperature)
    np.testing.assert_allclose(with_probabilities(tower, temperature)(features), expected, rtol=1e-5)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_temperature_must_be_positive(tower, temperature):
    with pytest.raises(UserError, match="expected a number above 0"):
        with_probabilities(tower, temperature)


def test_a_head_flattens():
    inputs = keras.Input((2, 3))
    head = keras.Model(inputs, add_head(inputs, 5))
    assert head.output_shape == (None, 5)
    assert head.get_layer("logits").kernel.shape == (6, 5)


def test_a_mask_ends_at_the_head():
    inputs = keras.Input((4, 3))
    masked = keras.layers.GRU(5, return_sequences=True)(inputs, mask=inputs[..., 0] > 0)
    logits = keras.Model(inputs, add_head(masked, 2, "dense_per_step"))
    assert getattr(logits.output, "_keras_mask", None) is None and logits.output_shape == (None, 4, 2)
    model = with_probabilities(logits)
    rows = np.random.default_rng(0).normal(size=(6, 4, 3)).astype("float32")
    np.testing.assert_allclose(np.asarray(model(rows)).sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("head", ["dense_per_step", "dense_last_step"])
def test_a_tower_without_steps_fails_its_trial(head):
    with pytest.raises(TrialError, match=r"expected \[batch, steps, channels\]"):
        add_head(keras.Input((2, 3, 4)), 2, head)


def test_no_head_for_other_problems():
    with pytest.raises(UnsupportedError, match="'OTHER'"):
        add_head(keras.Input((3,)), 2, "OTHER")
