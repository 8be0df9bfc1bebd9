"""Towers with faster kernels: the same numbers as the stock tower's, and nothing of them is stored."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from engine_cases import classes_task, plan, settings
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from model_search.data.prepared_data import TableData
from model_search.data.rows import InputSpec, Rows
from model_search.towers.builder import TowerSpec, build_tower
from model_search.training.engine import Engine
from model_search.training.kernels.block_lstm import BlockLSTM
from model_search.training.kernels.fast_layers import FusedBatchNormalization, with_fast_kernels

INPUTS = {"image": InputSpec((8, 8, 3), "float32")}
TOWERS = [
    ("BATCHNORM_CONVOLUTION_32", "MAX_POOLING_2X2", "BATCHNORM_CONVOLUTION_32", "FLATTEN"),
    ("PREACTIVATION_RESNET_32", "DENSENET_12_4", "FLATTEN"),
    ("SEPARABLE_CONVOLUTION_64", "SQUEEZE_INVERTED_RESIDUAL_32", "FLATTEN"),
]


def tower(blocks, **more):
    model = build_tower(TowerSpec(blocks, INPUTS, 3, "CNN", **more))
    rng = np.random.default_rng(0)
    model.set_weights([value + 0.1 * np.abs(rng.normal(size=value.shape)) for value in model.get_weights()])
    return model


def fused_layers(model):
    return [layer for layer in model._flatten_layers() if isinstance(layer, FusedBatchNormalization)]


def step(model, rows, training, judged=...):
    """Outputs, gradients and the state afterwards, of a pure call with the model's values."""
    trainable = [tf.convert_to_tensor(variable) for variable in model.trainable_variables]
    others = [tf.convert_to_tensor(variable) for variable in model.non_trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(trainable)
        outputs, state = model.stateless_call(trainable, others, rows, training=training)
        loss = tf.reduce_mean(tf.square(outputs - 1.0)[judged])
    return [outputs, *tape.gradient(loss, trainable), *(value for value in state if value.dtype == tf.float32)]


@pytest.mark.parametrize("blocks", TOWERS, ids=lambda blocks: blocks[0])
def test_outputs_gradients_and_moving_averages_are_those_of_the_stock_tower(blocks):
    stock = tower(blocks)
    fast = with_fast_kernels(stock)
    assert fused_layers(fast) and not fused_layers(stock)
    assert [tuple(w.shape) for w in fast.weights] == [tuple(w.shape) for w in stock.weights]
    trained = [variable.path.rpartition("/")[2] for variable in stock.trainable_variables]
    assert [variable.path.rpartition("/")[2] for variable in fast.trainable_variables] == trained
    fast.set_weights(stock.get_weights())
    rows = tf.constant(np.random.default_rng(1).normal(2, 3, size=(16, 8, 8, 3)), "float32")
    for training in (True, False):
        for expected, found in zip(step(stock, rows, training), step(fast, rows, training), strict=True):
            scale = max(1e-3, float(np.abs(expected).max()))
            np.testing.assert_allclose(found / scale, expected / scale, atol=2e-4)


@examples(max_examples=10)
@given(st.integers(1, 3), st.booleans(), st.booleans(), st.floats(0.5, 0.99), st.floats(1e-4, 1e-2))
def test_every_setting_of_the_stock_layer_is_kept(rows, center, scale, momentum, epsilon):
    inputs = keras.Input((4, 4, 2))
    layer = keras.layers.BatchNormalization(center=center, scale=scale, momentum=momentum, epsilon=epsilon)
    stock = keras.Model(inputs, layer(inputs))
    fast = with_fast_kernels(stock)
    given_rows = tf.constant(np.random.default_rng(rows).normal(size=(rows, 4, 4, 2)), "float32")
    for training in (True, False):
        outputs = [model.stateless_call(
            [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables],
            given_rows, training=training,
        ) for model in (stock, fast)]  # fmt: skip
        for expected, found in zip(*map(tf.nest.flatten, outputs), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_tower_without_slow_layers_is_left_as_it_is():
    stock = tower(("CONVOLUTION_3X3", "FLATTEN"))
    assert with_fast_kernels(stock) is stock


def test_a_layer_that_reads_a_mask_is_left_as_it_is():
    inputs = {"x": InputSpec((6, 3), "float32", lengths="lengths"), "lengths": InputSpec((), "int32")}
    stock = build_tower(TowerSpec(("BATCHNORM_CONV1D_128_5",), inputs, 2, "RNN_LAST_ACTIVATIONS"))
    assert with_fast_kernels(stock) is stock


SEQUENCES = {"x": InputSpec((5, 3), "float32", lengths="lengths"), "lengths": InputSpec((), "int32")}


def block_lstms(model):
    return [layer for layer in model._flatten_layers() if isinstance(layer, BlockLSTM)]


@pytest.mark.parametrize("problem", ["RNN_LAST_ACTIVATIONS", "RNN_ALL_ACTIVATIONS"])
@pytest.mark.parametrize(("block", "layers"), [("LSTM_32", 1), ("BI_LSTM_64", 2)])
def test_narrow_lstms_give_the_same_numbers_in_one_operation(problem, block, layers):
    stock = build_tower(TowerSpec((block, "LSTM_32"), SEQUENCES, 3, problem))
    fast = with_fast_kernels(stock)
    assert len(block_lstms(fast)) == layers + 1 and not block_lstms(stock)
    fast.set_weights(stock.get_weights())
    rng = np.random.default_rng(1)
    rows = {
        "x": tf.constant(rng.normal(size=(4, 5, 3)), "float32"),
        "lengths": tf.constant([1, 3, 4, 5], tf.int32),
    }
    valid = np.arange(5) < rows["lengths"].numpy()[:, None] if problem == "RNN_ALL_ACTIVATIONS" else ...
    for (expected, *slopes), (found, *found_slopes) in zip(
        *([step(model, rows, training, valid) for training in (True, False)] for model in (stock, fast)), strict=True
    ):
        np.testing.assert_allclose(found[valid], expected[valid], atol=1e-6)
        for one, other in zip(found_slopes, slopes, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def lstm(mask=None, **settings):
    sequences, lengths = keras.Input((4, 3)), keras.Input((4,), dtype="bool")
    layer = keras.layers.LSTM(8, return_sequences=True, **settings)
    return keras.Model([sequences, lengths], layer(sequences, mask=lengths if mask else None))


@pytest.mark.parametrize(
    "model",
    [
        lstm(mask=True),
        lstm(mask=True, go_backwards=True),  # the mask may have gaps
        lstm(activation="relu"),
        lstm(recurrent_activation="hard_sigmoid"),
        lstm(use_bias=False),
        lstm(dropout=0.5),
    ],
)
def test_an_lstm_of_another_kind_is_left_as_it_is(model):
    assert with_fast_kernels(model) is model


def test_what_a_trial_stores_fits_the_stock_tower(monkeypatch):
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(64, 8, 8, 3)).astype("float32"), rng.integers(0, 3, 64).astype("int32")
    rows = Rows({"image": images}, {"label": labels}, {})
    data = TableData(classes_task(3), rows.take(slice(0, 48)), rows.take(slice(48, None)), "0", {})
    for_maps = dataclasses.replace(settings(), problem_type="CNN")
    engine = Engine(data, for_maps)
    made = plan(architecture=TOWERS[0], steps=12, batch_size=16, optimizer="sgd")
    fast = engine.run(made)
    model = engine.build(made)
    assert not fused_layers(model)
    np.testing.assert_allclose(
        engine.logits(made, fast.weights, data.valid.inputs), fast.valid_logits, rtol=1e-3, atol=1e-4
    )
    monkeypatch.setattr("model_search.training.kernels.fast_layers.with_fast_kernels", lambda model: model)
    stock = Engine(data, for_maps).run(made)
    for name, expected in stock.weights.items():
        np.testing.assert_allclose(fast.weights[name], expected, rtol=5e-3, atol=5e-4, err_msg=name)
