import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_search.errors import TrialError
from model_search.training.hyperparameters import Hyperparameters, StepCount, learning_rates


def test_names_of_the_plan_are_read_and_others_left_alone():
    found = Hyperparameters.of(
        {
            "learning_rate": 0.1,
            "optimizer": "rmsprop",
            "exponential_decay_rate": 0.8,
            "exponential_decay_steps": 250,
            "gradient_max_norm": 3,
            "l2_regularization": 0.01,
            "weight_decay": 0.02,
            "cooldown_share": 0.2,
            "kernel_decay": 0.03,
            "schedule": "cosine",
            "warmup_share": 0.05,
            "beta2": 0.95,
            "label_smoothing": 0.1,
            "class_balance": 0.5,
            "dropout_rate": -1.0,
            "new_block_type": "IDENTITY",
        }
    )
    expected = (0.1, "rmsprop", 0.9, 0.8, 250, 3.0, 0.01, 0.02, 0.2, 0.03, "cosine", 0.05, 0.95, 0.1, 0.5)
    assert found == Hyperparameters(*expected)
    assert Hyperparameters.of({}) == Hyperparameters()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"optimizer": "lion"}, "optimizer is 'lion'; expected one of momentum, sgd"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"gradient_max_norm": -1}, "max_norm is -1"),
        ({"l2_regularization": float("inf")}, "l2 is inf"),
        ({"cooldown_share": 1.5}, "cooldown_share is 1.5"),
        ({"kernel_decay": -1}, "kernel_decay is -1"),
        ({"schedule": "linear"}, "schedule is 'linear'; expected one of constant, cosine"),
        ({"warmup_share": 2}, "warmup_share is 2"),
        ({"beta2": 1}, "beta2 is 1"),
        ({"class_balance": 1.5}, "class_balance is 1.5"),
        ({"label_smoothing": 1}, "label_smoothing is 1"),
        ({"one_cycle_share": -0.1}, "one_cycle_share is -0.1"),
    ],
)
def test_a_value_without_sense_fails_the_trial(values, words):
    with pytest.raises(TrialError, match=words):
        Hyperparameters.of(values)


def test_decay_is_a_stair_case_and_zero_steps_switch_it_off():
    rates = learning_rates(Hyperparameters(1.0, decay_rate=0.5, decay_steps=2), StepCount(6))
    assert rates.tolist() == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert learning_rates(Hyperparameters(1.0, decay_rate=0.5, decay_steps=0), StepCount(3)).tolist() == [1, 1, 1]


def test_warm_up_rises_from_zero_and_overrides_decay():
    rates = learning_rates(Hyperparameters(1.0, decay_rate=0.5, decay_steps=2), StepCount(6), warmup_steps=4)
    assert rates.tolist() == [0, 0.25, 0.5, 0.75, 0.25, 0.25]


def test_a_cosine_falls_to_zero_from_the_beginning_or_from_the_middle_on():
    whole = learning_rates(Hyperparameters(2.0, schedule="cosine"), StepCount(4))
    np.testing.assert_allclose(whole, [2, 1 + np.sqrt(0.5), 1, 1 - np.sqrt(0.5)])
    half = learning_rates(Hyperparameters(2.0, schedule="flat_cosine"), StepCount(8))
    np.testing.assert_allclose(half, [2, 2, 2, 2, *whole])


def test_the_first_share_of_the_steps_warms_up():
    rates = learning_rates(Hyperparameters(1.0, warmup_share=0.5), StepCount(8))
    assert rates.tolist() == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]


def test_the_cool_down_falls_to_zero_over_the_last_share():
    rates = learning_rates(Hyperparameters(2.0, cooldown_share=0.5), StepCount(8))
    assert rates.tolist() == [2, 2, 2, 2, 2, 1.5, 1, 0.5]


def test_one_cycle_rises_and_falls_from_where_training_begins():
    cycle = Hyperparameters(1.0, one_cycle_share=0.5, cooldown_share=0.5, decay_rate=0.1, decay_steps=1)
    rates = learning_rates(cycle, StepCount(10), first=2)
    np.testing.assert_allclose(rates, [0, 0, 0.04, 0.28, 0.52, 0.76, 1.0, 0.853553, 0.5, 0.146447], atol=1e-6)
    assert learning_rates(cycle, StepCount(2), first=2).tolist() == [0, 0]


def test_the_cool_down_of_a_longer_training_is_its_own():
    rates = learning_rates(Hyperparameters(2.0, cooldown_share=0.5), StepCount(8), first=4)
    assert rates.tolist() == [2, 2, 2, 2, 2, 2, 2, 1]


@given(
    st.builds(
        Hyperparameters,
        learning_rate=st.floats(1e-6, 1.0),
        decay_rate=st.floats(0.5, 1.0),
        decay_steps=st.integers(0, 50),
        cooldown_share=st.floats(0, 1),
        one_cycle_share=st.floats(0, 1),
    ),
    st.integers(0, 100),
    st.integers(0, 30),
    st.integers(0, 100),
)
def test_rates_are_finite_and_never_above_the_base_rate(hyperparameters, updates, warmup, first):
    rates = learning_rates(hyperparameters, StepCount(updates), warmup, min(first, updates))
    assert rates.shape == (updates,)
    assert np.isfinite(rates).all()
    assert (rates >= 0).all()
    assert (rates <= hyperparameters.learning_rate).all()


@pytest.mark.parametrize(
    ("steps", "size", "depth", "updates", "stride"),
    [
        (1000, 1, None, 1000, 1),
        (1000, 1, 20, 50, 20),
        (1000, 2, 20, 100, 10),
        (1000, 20, 20, 1000, 1),
        (1000, 40, 20, 1000, 1),
        (10, 1, 20, 1, 10),
        (1000, 3, 20, 167, 6),
        (0, 3, 20, 0, 1),
    ],
)
def test_scaled_training_gives_updates_in_proportion_to_depth(steps, size, depth, updates, stride):
    assert StepCount.of(steps, size, depth) == StepCount(updates, stride)


def test_schedules_follow_the_step_counter_and_not_the_updates():
    rates = learning_rates(Hyperparameters(1.0, decay_rate=0.5, decay_steps=10), StepCount(4, stride=5))
    assert rates.tolist() == [1, 1, 0.5, 0.5]
