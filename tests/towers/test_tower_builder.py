import gc
import random
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from model_search.blocks import Block, BlockHyperparameter, catalogue, register_block
from model_search.data.rows import InputSpec
from model_search.errors import TrialError, UnsupportedError, UserError
from model_search.towers.builder import TowerSpec, build_tower

BUILDABLE = [
    name
    for name in catalogue.names()
    if catalogue.get(name).module is not None and catalogue.get(name).reads_rank is None
]


def features(shape):
    return {"features": InputSpec(shape)}


def spec(*architecture, shape=(3,), logits=2, **others):
    return TowerSpec(architecture, features(shape), logits, **others)


def rows(width=3, count=400):
    return np.random.default_rng(0).normal(size=(count, width)).astype("float32")


@pytest.fixture
def user_block():
    """Registers a block that builds as the given function does, called without `self`."""
    names = []

    def register(function, **others):
        name = f"T_TOWER_{len(names)}"
        cls = type("UserBlock", (Block,), {"build": lambda self, *args, **kwargs: function(*args, **kwargs), **others})
        register_block(name)(cls)
        names.append(name)
        return name

    yield register
    for name in names:
        catalogue.unregister(name)


@settings(max_examples=15, deadline=None)
@given(
    architecture=st.lists(st.sampled_from(BUILDABLE), min_size=1, max_size=4),
    shape=st.one_of(st.tuples(st.integers(1, 9)), st.tuples(st.integers(1, 3), st.integers(1, 3))),
    logits=st.integers(1, 4),
    dropout=st.one_of(st.none(), st.floats(-1, 0.9)),
)
def test_any_architecture_gives_logits(architecture, shape, logits, dropout):
    model = build_tower(TowerSpec(tuple(architecture), features(shape), logits, dropout_rate=dropout))
    assert model.input_shape == (None, *shape)
    assert model.input_dtype == model.output.dtype == "float32"
    assert model.output_shape == (None, logits)
    found = model(np.ones((2, *shape), "float32"), training=False)
    assert np.isfinite(found).all()


def test_names_tell_position_and_block():
    model = build_tower(spec("IDENTITY", "LOWRANK_1", "FULLY_CONNECTED_RESIDUAL_PROJECT_BATCHNORM", dropout_rate=0.5))
    assert [layer.name for layer in model.layers if layer.weights or "dropout" in layer.name] == [
        "0_IDENTITY_dropout",
        "1_LOWRANK_1_left",
        "1_LOWRANK_1_right",
        "1_LOWRANK_1_dropout",
        "2_FULLY_CONNECTED_RESIDUAL_PROJECT_BATCHNORM_dense",
        "2_FULLY_CONNECTED_RESIDUAL_PROJECT_BATCHNORM_batch_normalization",
        "2_FULLY_CONNECTED_RESIDUAL_PROJECT_BATCHNORM_dropout",
        "logits",
    ]


def kernels(model):
    return {layer.name: np.asarray(layer.kernel) for layer in model.layers if isinstance(layer, layers.Dense)}


def test_weights_depend_on_seed_and_place_only():
    short = kernels(build_tower(spec("FULLY_CONNECTED", seed=3)))
    long = kernels(build_tower(spec("FULLY_CONNECTED", "FULLY_CONNECTED", dropout_rate=0.3, seed=3)))
    other = kernels(build_tower(spec("FULLY_CONNECTED", seed=4)))
    first, second = "0_FULLY_CONNECTED_dense", "1_FULLY_CONNECTED_dense"
    assert np.array_equal(short[first], long[first])
    assert not np.array_equal(long[first], long[second])
    assert not np.array_equal(short[first], other[first])
    assert not np.array_equal(short["logits"], other["logits"])


def test_weights_are_the_same_in_another_process():
    architecture = ("FULLY_CONNECTED", "BOTTLENECK_32_SKIP")
    program = f"""
from model_search.data.rows import InputSpec
from model_search.towers.builder import TowerSpec, build_tower
model = build_tower(TowerSpec({architecture}, {{'features': InputSpec((3,))}}, 2, seed=11, dropout_rate=0.1))
print(sum(float(abs(weight).sum()) for weight in model.get_weights()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    here = build_tower(spec(*architecture, seed=11, dropout_rate=0.1))
    assert float(done.stdout.splitlines()[-1]) == sum(float(abs(weight).sum()) for weight in here.get_weights())


def next_name():
    """The name that Keras makes up for the next dense layer, as a number."""
    return int(layers.Dense(1).name.rpartition("_")[2])


def test_nothing_is_left_behind():
    layers.Dense(1)
    before, state = next_name(), random.getstate()
    build_tower(spec("FULLY_CONNECTED_RESIDUAL_CONCAT_BATCHNORM", dropout_rate=0.5))
    assert random.getstate() == state
    assert next_name() == before + 1


def test_nothing_is_left_behind_by_a_failure(user_block):
    def fail(*args, **kwargs):
        layers.Dense(1)
        raise RuntimeError("no")

    name = user_block(fail)
    layers.Dense(1)
    before, state = next_name(), random.getstate()
    with pytest.raises(TrialError):
        build_tower(spec(name))
    assert random.getstate() == state
    assert next_name() == before + 1


def test_towers_are_garbage_when_let_go():
    def count():
        gc.collect()
        return sum(isinstance(item, keras.Layer | keras.Variable) for item in gc.get_objects())

    build_tower(spec("FULLY_CONNECTED_RESIDUAL_PROJECT_BATCHNORM", dropout_rate=0.5))
    before = count()
    for seed in range(3):
        build_tower(spec("FULLY_CONNECTED_RESIDUAL_PROJECT_BATCHNORM", dropout_rate=0.5, seed=seed))
    assert count() == before


def variable_names(model):
    return [variable.path for variable in model.variables]


def test_names_of_variables_repeat():
    """TensorFlow keeps memory for every name that a variable ever had."""
    one, two = (build_tower(spec("FULLY_CONNECTED", dropout_rate=0.5, seed=seed)) for seed in (1, 2))
    assert variable_names(one) == variable_names(two)
    assert any("seed_generator" in name for name in variable_names(one))


@pytest.mark.parametrize("rate", [None, 0.0, -1.0])
def test_no_dropout(rate):
    model = build_tower(spec("FULLY_CONNECTED", "IDENTITY", dropout_rate=rate))
    assert not any(isinstance(layer, layers.Dropout) for layer in model.layers)


def test_dropout_follows_every_block():
    model = build_tower(spec("FULLY_CONNECTED", "IDENTITY", dropout_rate=0.25))
    dropouts = [layer for layer in model.layers if isinstance(layer, layers.Dropout)]
    assert [layer.name for layer in dropouts] == ["0_FULLY_CONNECTED_dropout", "1_IDENTITY_dropout"]
    assert [layer.rate for layer in dropouts] == [0.25, 0.25]
    assert len({layer.seed for layer in dropouts}) == 2
    features = rows()
    assert np.array_equal(model(features, training=False), model(features, training=False))
    assert not np.array_equal(model(features, training=True), model(features, training=False))


def test_the_seed_decides_dropout():
    found = [
        np.asarray(build_tower(spec("IDENTITY", dropout_rate=0.5, seed=seed))(rows(), training=True))
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_the_last_block_can_be_the_logits():
    model = build_tower(spec("FULLY_CONNECTED", shape=(2,), disable_last_dense_layer=True, dropout_rate=0.5))
    assert [layer.name for layer in model.layers] == ["features", "0_FULLY_CONNECTED_dense"]
    assert model.output_shape == (None, 2)


def test_the_last_valid_step_of_a_sequence_can_be_the_logits():
    inputs = {"features": InputSpec((5, 3), lengths="lengths"), "lengths": InputSpec((), "int32")}
    of_steps, of_rows = (
        build_tower(TowerSpec(("GRU_64",), inputs, 64, name, disable_last_dense_layer=True))
        for name in ("RNN_ALL_ACTIVATIONS", "RNN_LAST_ACTIVATIONS")
    )
    given = {"features": np.random.default_rng(0).normal(size=(2, 5, 3)), "lengths": np.array([2, 5], "int32")}
    steps = np.asarray(of_steps(given))
    np.testing.assert_allclose(of_rows(given), np.stack([steps[0, 1], steps[1, 4]]), rtol=1e-5)


def test_the_last_block_must_fit_the_logits():
    with pytest.raises(TrialError, match=r"FULLY_CONNECTED the logits; its shape is \(None, 3\), expected \(None, 2\)"):
        build_tower(spec("FULLY_CONNECTED", disable_last_dense_layer=True))


@pytest.mark.parametrize(
    ("architecture", "others", "words"),
    [
        (("NO_SUCH_BLOCK",), {}, "no block 'NO_SUCH_BLOCK'"),
        (("IDENTITY",), {"problem_type": "OTHER"}, "no problem type 'OTHER'"),
    ],
)
def test_what_this_version_cannot_build(architecture, others, words):
    with pytest.raises(UserError, match=words):
        build_tower(spec(*architecture, **others))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"architecture": ()}, "names no block"),
        ({"logits_dimension": 0}, "logits_dimension is 0"),
        ({"inputs": features(())}, r"shape \(\)"),
        ({"inputs": {}}, "no inputs"),
        ({"inputs": features((3, 0))}, r"shape \(3, 0\)"),
        ({"dropout_rate": 1.0}, "dropout_rate is 1.0"),
        ({"dropout_rate": float("nan")}, "dropout_rate is nan"),
    ],
)
def test_specs_that_make_no_sense(values, words):
    good = {"architecture": ("IDENTITY",), "inputs": features((3,)), "logits_dimension": 2}
    with pytest.raises(UserError, match=words):
        TowerSpec(**{**good, **values})


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda tensors, *_, **__: None, "returned None; expected a list"),
        (lambda tensors, *_, **__: [], r"returned \[\]; expected a list"),
        (lambda tensors, *_, **__: tensors[-1], "returned a value of type KerasTensor; expected a list"),
        (lambda tensors, *_, **__: [*tensors, 3], "ends with a value of type int; expected a Keras tensor"),
        (lambda tensors, *_, **__: [*tensors, keras.ops.sum(tensors[-1])], r"of shape \(\); expected \[batch"),
        (lambda tensors, *_, **__: 1 / 0, "could not be built: ZeroDivisionError: division by zero"),
        (lambda tensors, *_, **__: [layers.Conv2D(1, 3)(tensors[-1])], r"\(None, 3\) could not be built: ValueError"),
    ],
)
def test_a_block_that_goes_wrong_fails_the_trial(user_block, build, words):
    name = user_block(build)
    with pytest.raises(TrialError, match=f"The block {name} on an input of shape .*{words}"):
        build_tower(spec("IDENTITY", name))


def test_our_own_errors_pass(user_block):
    def refuse(*args, **kwargs):
        raise UnsupportedError("not today")

    with pytest.raises(UnsupportedError, match="not today"):
        build_tower(spec(user_block(refuse)))


def test_a_block_cannot_change_the_towers_list(user_block):
    def clear(tensors, *args, **kwargs):
        output = layers.Dense(4)(tensors[-1])
        tensors.clear()
        return [output]

    def look_back(tensors, *args, **kwargs):
        return [*tensors, layers.Concatenate()(tensors)]

    model = build_tower(spec(user_block(clear), user_block(look_back)))
    assert model.layers[-1].kernel.shape == (3 + 4, 2)


def test_the_same_list_may_be_returned(user_block):
    model = build_tower(spec("FULLY_CONNECTED", user_block(lambda tensors, *_, **__: tensors), "FULLY_CONNECTED"))
    assert len(kernels(model)) == 3


def test_layers_of_a_users_block_are_named_after_it(user_block):
    def build(tensors, *args, **kwargs):
        return [*tensors, layers.Dense(3, name="dense")(layers.Dense(4, name="dense")(tensors[-1]))]

    name = user_block(build)
    model = build_tower(spec(name, name))
    assert list(kernels(model)) == [
        f"0_{name}_0_dense",
        f"0_{name}_1_dense",
        f"1_{name}_0_dense",
        f"1_{name}_1_dense",
        "logits",
    ]


def test_names_with_odd_characters():
    cls = type("Odd", (Block,), {"build": lambda self, tensors, *_, **__: [*tensors, layers.Dense(2)(tensors[-1])]})
    register_block("T my/block:ü")(cls)
    try:
        model = build_tower(spec("T my/block:ü"))
    finally:
        catalogue.unregister("T my/block:ü")
    assert "0_T_my_block___0_dense" in kernels(model)


def test_a_block_gets_its_own_hyperparameters(user_block):
    seen = []

    def build(tensors, is_training, lengths=None, hparams=None):
        seen.append((is_training, lengths, dict(hparams)))
        return tensors

    name = user_block(build, requires_hparams=lambda self: [BlockHyperparameter("units", 1, 9)])
    build_tower(spec(name, block_hparams={f"{name}_units": 4, f"{name}_else": 5, "learning_rate": 0.1}))
    assert seen == [(None, None, {"units": 4})]
