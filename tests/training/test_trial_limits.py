"""Towers that would take more than their share are not trained."""

import dataclasses

import pytest
from engine_cases import DENSE, class_table, plan, settings

from model_search.data.rows import InputSpec
from model_search.errors import InfeasibleTrialError
from model_search.metadata.trial import TrialKind
from model_search.towers.builder import TowerSpec, build_tower
from model_search.towers.cost import training_bytes, training_operations
from model_search.training.engine import Engine
from model_search.training.limits import trial_limits


def test_operations_are_those_of_the_weights_at_every_position():
    dense = build_tower(TowerSpec((DENSE,), {"features": InputSpec((4,), "float32")}, 2))
    assert training_operations(dense) == 6 * (4 * 64 + 64 * 2)
    assert training_bytes(dense, 10) >= 4 * (4 * dense.count_params() + 10 * (4 + 64 + 2))
    image = {"image": InputSpec((8, 8, 3), "float32")}
    convolution = build_tower(TowerSpec(("CONVOLUTION_3X3", "FLATTEN"), image, 2, "CNN"))
    kernel = next(weight.shape for weight in convolution.weights if len(weight.shape) == 4)
    head = convolution.layers[-1].kernel.shape
    assert training_operations(convolution) == 6 * (8 * 8 * 9 * kernel[2] * kernel[3] + head[0] * head[1])


def test_steps_count_for_a_recurrent_layer():
    def operations(steps, block):
        inputs = {"x": InputSpec((steps, 3), "float32")}
        return training_operations(build_tower(TowerSpec((block,), inputs, 2, "RNN_LAST_ACTIVATIONS")))

    assert operations(20, "LSTM_64") == pytest.approx(2 * operations(10, "LSTM_64"), rel=0.01)
    assert operations(10, "LSTM_128") > 3 * operations(10, "LSTM_64")


def test_a_recurrent_layer_may_read_a_mask_besides():
    inputs = {"x": InputSpec((10, 3), "float32", lengths="n"), "n": InputSpec((), "int32")}
    towers = [("BI_LSTM_64",), ("MEAN_SUBTRACTION", "BI_LSTM_64")]
    found = [training_operations(build_tower(TowerSpec(one, inputs, 2, "RNN_LAST_ACTIVATIONS"))) for one in towers]
    assert found[0] == found[1] > 0


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ({"most_parameters": 400}, "the tower has 450 parameters; the limit is 400"),
        ({"most_megabytes": 0.001}, "training the tower takes about 0 MB; the limit is 0 MB"),
    ],
)
def test_a_tower_beyond_a_limit_is_refused_before_it_is_trained(limit, words):
    table = class_table()
    engine = Engine(table, dataclasses.replace(settings(), **limit))
    with pytest.raises(InfeasibleTrialError, match=words):
        engine.run(plan(steps=8))
    engine.run(dataclasses.replace(plan(steps=8), kind=TrialKind.REPLAY))  # what was trained once is trained again
    Engine(table, dataclasses.replace(settings(), **dict.fromkeys(limit, 1000000.0))).run(plan(steps=8))


def test_time_is_estimated_from_what_earlier_trials_have_reached(monkeypatch):
    limits = trial_limits.TrialLimits(dataclasses.replace(settings(), most_seconds=10.0))
    monkeypatch.setattr(limits, "_rate", 1e6)  # operations a second
    tower = build_tower(TowerSpec((DENSE,), {"features": InputSpec((4,), "float32")}, 2))
    work = plan(batch_size=100)
    limits.check(work, tower, 10**9)  # nothing is known yet
    updates = int(1e6 / (training_operations(tower) * 100))  # at the rate of products: one second
    limits.learn(work, tower, updates, seconds=2.0)  # half of the rate
    limits.check(work, tower, 4 * updates)
    with pytest.raises(InfeasibleTrialError, match=r"at least 1[12] s; the limit is 10 s"):
        limits.check(work, tower, 6 * updates)
    limits.learn(work, tower, updates, seconds=100.0)  # a slow one changes nothing
    limits.check(work, tower, 4 * updates)


def test_a_tower_that_turns_out_to_be_slow_is_given_up():
    limits = trial_limits.TrialLimits(dataclasses.replace(settings(), slow_seconds=10.0))
    limits.check_pace(plan(), 1, 100, 5.0)  # of the first nothing is known
    limits.learn(plan(), None, 100, seconds=8.0)
    limits.check_pace(plan(), 1, 100, 0.9)  # too early to tell
    limits.check_pace(plan(), 10, 100, 1.5)  # 15 s, less than twice as long as the first
    with pytest.raises(InfeasibleTrialError, match="would take 17 s; towers of this search may take 16 s"):
        limits.check_pace(plan(), 10, 100, 1.7)
    limits.check_pace(dataclasses.replace(plan(), kind=TrialKind.REPLAY), 10, 100, 1.7)
    trial_limits.TrialLimits(settings()).check_pace(plan(), 10, 100, 1e9)
