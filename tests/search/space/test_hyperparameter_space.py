import json
import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_factory import make_spec

from model_search.blocks import Block, BlockHyperparameter, catalogue, register_block
from model_search.cells import LAYOUT
from model_search.constants import OPTIMIZERS
from model_search.errors import SpecError
from model_search.problem import problem_types
from model_search.search.space.hyperparameter_space import DEFAULT_LEARNING_RATES, NO_DROPOUT, build_space
from model_search.search.space.hyperparameters import Choice, Real, Whole
from model_search.training import hyperparameters


def _space(train_steps=1000, learning=None, **fields):
    return build_space(make_spec(learning=learning or {}, **fields), train_steps)


def _parameter(name, **arguments):
    (parameter,) = [p for p in _space(**arguments).parameters if p.name == name]
    return parameter


def _ranged_spec(*ranges, **learning):
    spec = make_spec(learning=learning)
    for optimizer, low, high in ranges:
        spec.learning_spec.learning_rate_range.add(optimizer=optimizer, minimum=low, maximum=high)
    return spec


def _range_of(spec, optimizer):
    space = build_space(spec, 1000)
    (rate,) = [p for p in space.parameters if p.name == "learning_rate" and p.is_active({"optimizer": optimizer})]
    return rate


def test_a_plain_spec_searches_optimizer_and_learning_rate():
    space = _space()
    assert {p.name for p in space.parameters} == {"optimizer", "learning_rate"}
    assert set(space.draw(np.random.default_rng(0))) == {"optimizer", "learning_rate"}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_learning_rate_belongs_to_the_optimizer(optimizer):
    rate = _range_of(make_spec(), optimizer)
    assert (rate.minimum, rate.maximum, rate.log) == (*DEFAULT_LEARNING_RATES[optimizer], True)


def test_the_archived_learning_rates_can_be_written():
    spec = _ranged_spec(("", 1e-6, 0.01), optimizers=list(OPTIMIZERS))
    space = build_space(spec, 1000)
    assert space.parameters == (
        Choice(name="optimizer", values=OPTIMIZERS),
        Real(name="learning_rate", minimum=1e-6, maximum=0.01, log=True),
    )


@pytest.mark.parametrize("order", [1, -1])
def test_a_range_of_one_optimizer_wins_over_that_for_all(order):
    spec = _ranged_spec(*[("", 1e-5, 1e-1), ("sgd", 0.1, 1.0)][::order])
    assert (_range_of(spec, "sgd").minimum, _range_of(spec, "sgd").maximum) == (0.1, 1.0)
    assert (_range_of(spec, "adam").minimum, _range_of(spec, "adam").maximum) == (1e-5, 0.1)


def test_decay():
    learning = {"apply_exponential_decay": True}
    rate = _parameter("exponential_decay_rate", learning=learning)
    assert (rate.minimum, rate.maximum, rate.log) == (0.75, 0.95, False)
    # The last number of times, max_decay_times = 5, is excluded.
    assert _parameter("exponential_decay_steps", learning=learning).values == (1000, 500, 333, 250)


def test_decay_with_the_numbers_of_the_stock_cnn_spec():
    steps = _parameter("exponential_decay_steps", learning={"apply_exponential_decay": True, "max_decay_times": 10000})
    assert len(steps.values) == 63 and steps.values[-1] == 0
    assert steps.values == tuple(dict.fromkeys(1000 // i for i in range(1, 10000)))


@given(st.integers(1, 300), st.integers(1, 400), st.integers(1, 400))
def test_decay_intervals_are_as_archived(train_steps, first, count):
    learning = {
        "apply_exponential_decay": True,
        "min_decay_times": first,
        "max_decay_times": first + count,
    }
    expected = tuple(dict.fromkeys(train_steps // i for i in range(first, first + count)))
    assert _parameter("exponential_decay_steps", train_steps=train_steps, learning=learning).values == expected


def test_clipping_and_l2():
    assert _parameter("gradient_max_norm", learning={"apply_gradient_clipping": True}) == Whole(
        name="gradient_max_norm", minimum=2, maximum=5
    )
    assert _parameter("l2_regularization", learning={"apply_l2_regularization": True}) == Real(
        name="l2_regularization", minimum=0.0, maximum=0.05
    )


def test_dropout_is_off_or_one_of_ten_rates():
    dropout = _parameter("dropout_rate", apply_dropouts_between_blocks=True)
    assert dropout.values == (-1.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55)
    assert dropout.weights == pytest.approx((0.5, *[0.05] * 10))


@pytest.mark.parametrize(("share", "count"), [(0.0, 10), (1.0, 1), (1 / 11, 11)])
def test_the_share_without_dropout(share, count):
    dropout = _parameter("dropout_rate", apply_dropouts_between_blocks=True, learning={"no_dropout_share": share})
    assert len(dropout.values) == count
    assert (-1.0 in dropout.values) == (share > 0)
    assert sum(dropout.weights) == pytest.approx(1)
    assert dropout.holds(dropout.draw(np.random.default_rng(0)))


def test_what_is_searched_only_when_asked_for():
    learning = {
        "optimizers": ["momentum", "adam"],
        "apply_momentum": True,
        "apply_weight_decay": True,
        "batch_sizes": [16, 64, 16],
        "cooldown_share": 0.25,
    }
    space = _space(learning=learning)
    drawn = [space.draw(np.random.default_rng(seed)) for seed in range(50)]
    assert all(("momentum" in values) == (values["optimizer"] == "momentum") for values in drawn)
    assert {values["batch_size"] for values in drawn} == {16, 64}
    assert {values["cooldown_share"] for values in drawn} == {0.25}
    assert all(0.8 <= values.get("momentum", 0.9) <= 0.98 for values in drawn)
    decay = _parameter("weight_decay", learning=learning)
    assert (decay.minimum, decay.maximum, decay.log) == (1e-6, 1e-2, True)
    linear = _parameter("weight_decay", learning={"apply_weight_decay": True, "min_weight_decay": 0.0})
    assert not linear.log


def test_a_block_s_own_hyperparameters_are_there_with_the_block():
    space = _space(problem_type="RNN_LAST_ACTIVATIONS", blocks_to_use=["TUNABLE_SVDF", "LSTM_128"])
    own = {p.name: (p.minimum, p.maximum) for p in space.parameters if p.block}
    assert own == {
        "TUNABLE_SVDF_output_size": (50, 100),
        "TUNABLE_SVDF_memory_size": (4, 32),
        "TUNABLE_SVDF_rank": (1, 3),
        "TUNABLE_SVDF_projection_size": (0, 128),
    }
    assert not any(p.block for p in space.active(["LSTM_128"]).parameters)
    assert space.active(["TUNABLE_SVDF"]) is space


@pytest.mark.parametrize(
    ("learning", "words"),
    [
        ({"optimizers": ["adam", "adamm"]}, "optimizers names 'adamm'"),
        ({"apply_exponential_decay": True, "max_decay_times": 1}, "min_decay_times is 1 and max_decay_times is 1"),
        ({"apply_exponential_decay": True, "min_decay_times": 0}, "min_decay_times is 0"),
        ({"apply_gradient_clipping": True, "min_gradient_norm_when_clipping": 9}, "is 9 and max_gradient_norm"),
        ({"apply_l2_regularization": True, "min_l2_regularization": 1.0}, "min_l2_regularization is 1"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(learning, words):
    with pytest.raises(SpecError, match=words):
        _space(learning=learning)


@pytest.mark.parametrize(
    ("given_range", "words"),
    [(("", 0.0, 0.1), "from 0 to 0.1"), (("", 0.2, 0.1), "from 0.2 to 0.1"), (("lion", 0.1, 0.2), "is for 'lion'")],
)
def test_learning_rate_ranges_that_make_no_sense_are_refused(given_range, words):
    with pytest.raises(SpecError, match=words):
        build_space(_ranged_spec(given_range), 1000)


def test_no_dropout_share_outside_of_0_to_1_is_refused():
    with pytest.raises(SpecError, match="no_dropout_share is 2"):
        _space(apply_dropouts_between_blocks=True, learning={"no_dropout_share": 2.0})


FULL = {
    "learning": {
        "apply_exponential_decay": True,
        "apply_gradient_clipping": True,
        "apply_l2_regularization": True,
        "apply_momentum": True,
        "apply_weight_decay": True,
        "batch_sizes": [16, 32],
        "cooldown_share": 0.5,
        "schedules": ["constant", "cosine"],
        "warmup_shares": [0.05],
        "beta2s": [0.95],
        "kernel_decays": [0.01],
        "label_smoothings": [0.1],
        "class_balances": [0.5],
    },
    "apply_dropouts_between_blocks": True,
}


@given(st.integers(0, 2**32 - 1))
def test_a_draw_survives_json_and_keeps_its_key(seed):
    space = _space(**FULL)
    values = space.draw(np.random.default_rng(seed))
    back = json.loads(json.dumps(values, allow_nan=False))
    assert back == values
    assert space.key(["IDENTITY"], back) == space.key(["IDENTITY"], values)
    assert json.loads(space.key(["IDENTITY"], values))[0] == ["IDENTITY"]


def test_given_values_come_back_and_decide_what_is_in_effect():
    space = _space(**FULL)
    for seed in range(20):
        values = space.draw(np.random.default_rng(seed), {"optimizer": "sgd", "of_mine": "x", "batch_size": 7})
        assert (values["optimizer"], values["of_mine"], values["batch_size"]) == ("sgd", "x", 7)
        low, high = DEFAULT_LEARNING_RATES["sgd"]
        assert low <= values["learning_rate"] <= high and "momentum" not in values


def test_the_key_tells_architectures_bins_and_unknown_names_apart():
    space = _space()
    values = {"optimizer": "adam", "learning_rate": 1e-3}
    key = space.key(["IDENTITY"], values)
    assert space.key(["EMPTY_BLOCK", "IDENTITY"], values) == key
    assert space.key(["IDENTITY"], values | {"learning_rate": 1.01e-3}) == key
    different = [
        space.key(["IDENTITY", "IDENTITY"], values),
        space.key(["IDENTITY"], values | {"learning_rate": 5e-3}),
        space.key(["IDENTITY"], values | {"optimizer": "rmsprop"}),
        space.key(["IDENTITY"], values | {"of_mine": 1}),
        space.key(["IDENTITY"], values | {"of_mine": "1"}),
        space.key(["IDENTITY"], values | {"learning_rate": 5.0}),
        space.key(["IDENTITY"], values | {"learning_rate": 6.0}),
    ]
    assert len({key, *different}) == 8


def test_the_key_of_a_cnn_knows_no_order_between_convolutions_and_dense_blocks():
    space = _space(problem_type="CNN")
    assert space.key(["FULLY_CONNECTED", "RESNET_3X3"], {}) == space.key(["RESNET_3X3", "FULLY_CONNECTED"], {})


def test_enumeration_has_every_combination_of_bins_once():
    learning = {"optimizers": ["momentum", "adam"], "apply_momentum": True, "batch_sizes": [16, 32]}
    space = _space(learning=learning)
    points = list(space.enumerate(np.random.default_rng(0)))
    # adam: 10 learning rates; momentum: 10 learning rates x 10 momenta; each with two batch sizes.
    assert len(points) == (10 + 100) * 2
    assert len({space.key(["IDENTITY"], point) for point in points}) == len(points)
    fixed = list(space.enumerate(np.random.default_rng(0), {"optimizer": "adam", "batch_size": 16}))
    assert len(fixed) == 10 and all(point["batch_size"] == 16 for point in fixed)


def test_every_general_hyperparameter_is_known_to_the_catalogue_of_blocks():
    """No block's own hyperparameter can then have its name."""
    space = build_space(make_spec(**FULL), 1000, {"epochs": [8, 16]})
    names = {parameter.name for parameter in space.parameters if parameter.block is None}
    names |= set(LAYOUT)
    assert names == catalogue.GENERAL_HYPERPARAMETERS
    read = pathlib.Path(hyperparameters.__file__).read_text()
    assert all(f'"{name}"' in read for name in names - {"batch_size", "dropout_rate", "epochs", *LAYOUT})


class _Tuned(Block):
    def build(self, input_tensors, is_training, lengths=None, hparams=None):
        return input_tensors

    def requires_hparams(self):
        return [
            BlockHyperparameter("units", minimum=16, maximum=256, log=True),
            BlockHyperparameter("rate", minimum=0.1, maximum=0.2, whole=False),
        ]


@pytest.fixture
def tuned():
    register_block("TUNED")(_Tuned)
    yield
    catalogue.unregister("TUNED")


def test_the_scale_of_a_block_s_own_hyperparameter_is_kept(tuned):
    space = _space(blocks_to_use=["TUNED"])
    assert [parameter for parameter in space.parameters if parameter.block == "TUNED"] == [
        Whole(name="TUNED_units", block="TUNED", minimum=16, maximum=256, log=True),
        Real(name="TUNED_rate", block="TUNED", minimum=0.1, maximum=0.2),
    ]


def test_starting_points_have_values_of_the_space():
    known = [point for problem in problem_types() for point in problem.starting_points]
    for point in known:
        assert point.hyperparameters["dropout_rate"] == NO_DROPOUT or point.hyperparameters["dropout_rate"] > 0
