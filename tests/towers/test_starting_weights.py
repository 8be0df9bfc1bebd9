"""What a new tower takes over of trained ones."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.data.rows import InputSpec
from model_search.towers.builder import TowerSpec, build_tower
from model_search.towers.starting_weights import (
    BY_LAYER,
    Source,
    averaged,
    given_weights,
    layer_weight_names,
    start_from,
)
from model_search.towers.weight_names import tower_weight_names

PROJECT = "FULLY_CONNECTED_RESIDUAL_PROJECT_BATCHNORM"


def tower(*blocks, seed=1, width=3):
    return build_tower(TowerSpec(blocks, {"features": InputSpec((width,))}, 2, seed=seed))


def weights_of(model, blocks):
    return dict(zip(tower_weight_names(model, blocks), model.get_weights(), strict=True))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 9), st.floats(-5, 5)), min_size=1, max_size=5), st.floats(0, 2))
def test_the_mean_of_what_fits_with_the_scale_of_each(parts, scale):
    sources = [
        Source({"a": np.full(2, value, "float32"), "b": np.zeros(number)}, share, scale)
        for number, (share, value) in enumerate(parts, 1)
    ]
    found = averaged(sources, {"a": (2,), "b": (1,), "c": (1,), "d": ()})
    assert set(found) == {"a", "b"} and found["b"].shape == (1,)  # the others have another shape, or none
    mean = sum(share * value for share, value in parts) / sum(share for share, _ in parts)
    np.testing.assert_allclose(found["a"], scale * mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(averaged(sources, {"a": (2,)}, frozenset("a"))["a"], mean, rtol=1e-5, atol=1e-5)


def test_a_tower_takes_over_its_blocks_by_name_and_shape_and_keeps_what_is_fresh():
    parent, child = ("FULLY_CONNECTED", PROJECT), ("FULLY_CONNECTED", "LOWRANK_1", PROJECT)
    source = tower(*parent, seed=1)
    for variable in source.weights:
        variable.assign(variable + 0.5)
    given, new = weights_of(source, parent), tower(*child, seed=2)
    before = weights_of(new, child)
    assert start_from(new, child, [Source(given, scale=0.5)]) == len(given)
    after = weights_of(new, child)
    for name, array in after.items():
        if name.startswith("LOWRANK_1"):
            np.testing.assert_array_equal(array, before[name])
        else:  # averages of the data are not scaled
            np.testing.assert_allclose(array, given[name] * (1 if "moving" in name else 0.5))


def test_statistics_of_the_data_are_not_taken_over():
    inputs = keras.Input((2,), name="features")
    still = keras.layers.Dense(2, trainable=False, name="statistics")
    model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(still(inputs)), name="tower")
    before = still.get_weights()
    names = tower_weight_names(model, ())
    assert start_from(model, (), [Source({name: np.full((2, 2), 7.0) for name in names})]) == 1
    np.testing.assert_array_equal(still.get_weights()[0], before[0])


def test_a_keras_model_gives_its_layers_in_order_of_their_kind():
    stock = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(2)])
    names = layer_weight_names(stock)
    assert names == ("Dense#1/kernel", "Dense#1/bias", "Dense#2/kernel", "Dense#2/bias")
    blocks = ("FULLY_CONNECTED",)
    new = tower(*blocks)
    arrays = {f"{BY_LAYER}{name}": array for name, array in zip(names, stock.get_weights(), strict=True)}
    assert start_from(new, blocks, [Source(arrays)]) == 4
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    np.testing.assert_allclose(new(rows), stock(rows), rtol=1e-5)
    wider = tower(*blocks, width=4)
    assert start_from(wider, blocks, [Source(arrays)]) == 1  # the bias of the logits alone


def test_the_layers_of_a_model_within_a_model_count_too():
    tower_of = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(2)])
    inputs = keras.Input((3,))
    whole = keras.Model(inputs, keras.layers.Softmax()(tower_of(keras.layers.Rescaling(2.0)(inputs))))
    assert layer_weight_names(whole) == layer_weight_names(tower_of)
    assert len(layer_weight_names(whole)) == 4


def test_a_backbone_starts_at_the_weights_of_the_network_of_keras():
    stock = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3), alpha=1.0)
    blocks = ("MOBILENET_V2_BACKBONE", "GLOBAL_MAX_FLATTEN")
    new = build_tower(TowerSpec(blocks, {"image": InputSpec((32, 32, 3))}, 2, "CNN"))
    given = {
        f"{BY_LAYER}{name}": array + 0.5
        for name, array in zip(layer_weight_names(stock), stock.get_weights(), strict=True)
    }
    assert start_from(new, blocks, [Source(given)]) == len(stock.weights)
    after = [
        array for array, variable in zip(new.get_weights(), new.weights, strict=True) if "logits" not in variable.path
    ]
    for array, expected in zip(after, given.values(), strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("name", ["1", "model"])
def test_several_given_models_are_told_apart(name):
    arrays = {"1/a/b": np.zeros(1), "12/a/b": np.ones(1), "model/a/b": np.ones(2)}
    assert list(given_weights(arrays, name)) == ["a/b"]
    assert given_weights(arrays, name)["a/b"] is arrays[f"{name}/a/b"]
