"""Several inputs: blocks of an input's own, searched blocks that only some read, and layers that two share."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from model_search.data.named.own_towers import OwnTower, with_own_towers
from model_search.data.rows import InputSpec
from model_search.errors import DataError, TrialError
from model_search.towers.builder import TowerSpec, build_tower
from model_search.towers.weight_names import tower_weight_names
from model_search.training.kernels.fast_layers import with_fast_kernels

SEQUENCES = {
    "one": InputSpec((5, 2), lengths="one_lengths", mean=(1.0, 2.0), deviation=(2.0, 1.0), own_tower=True),
    "one_lengths": InputSpec((), "int32"),
    "two": InputSpec((5, 2), lengths="two_lengths", mean=(9.0, 9.0), deviation=(1.0, 1.0), own_tower=True),
    "two_lengths": InputSpec((), "int32"),
    "table": InputSpec((3,), own_tower=True),
}
ARCHITECTURE = ("LSTM_32", "RECURRENT_DENSE_64", "MASKED_MEAN_POOLING", "FIXED_OUTPUT_FULLY_CONNECTED_64")


def tower(inputs, architecture=ARCHITECTURE, problem_type="RNN_LAST_ACTIVATIONS"):
    return build_tower(TowerSpec(architecture, inputs, 2, problem_type))


def weights(model):
    return {layer.name for layer in model.layers if layer.weights}


def rows(count=4):
    rng = np.random.default_rng(0)
    one = rng.normal(size=(count, 5, 2)).astype("float32")
    lengths = np.array([5, 2, 3, 1][:count], "int32")
    table = rng.normal(size=(count, 3)).astype("float32")
    return {"one": one, "one_lengths": lengths, "two": one[::-1], "two_lengths": lengths[::-1], "table": table}


def test_a_block_is_built_only_on_the_inputs_that_name_it():
    towers = {"one": OwnTower(read_by=("LSTM_32",)), "two": OwnTower(read_by=("RECURRENT_DENSE_64",))}
    names = weights(tower(with_own_towers(SEQUENCES, towers)))
    assert any(name.startswith("0_LSTM_32_one") for name in names)
    assert any(name.startswith("1_RECURRENT_DENSE_64_two") for name in names)
    assert not any(name.startswith(("0_LSTM_32_two", "1_RECURRENT_DENSE_64_one")) for name in names)


def test_an_input_has_blocks_of_its_own_in_front_of_the_others():
    towers = {"table": OwnTower(("FULLY_CONNECTED", "FIXED_OUTPUT_FULLY_CONNECTED_64"))}
    model = tower(with_own_towers(SEQUENCES, towers))
    own = sorted(name for name in weights(model) if name.startswith("input_table_"))
    assert [name.split("_")[2] for name in own] == ["0", "1"]
    side_by_side = model.get_layer("inputs_side_by_side")
    assert [tensor.shape[-1] for tensor in side_by_side.input] == [64, 64, 64]
    names = tower_weight_names(model, ARCHITECTURE)
    assert len(set(names)) == len(names)


def test_a_block_for_vectors_that_an_input_names_reads_that_input_alone():
    towers = {"table": OwnTower(read_by=("FIXED_OUTPUT_FULLY_CONNECTED_64",))}
    assert any("CONNECTED_64_table" in name for name in weights(tower(with_own_towers(SEQUENCES, towers))))


@pytest.mark.parametrize("problem_type", ["RNN_LAST_ACTIVATIONS", "DNN"])
def test_equal_rows_of_two_inputs_that_share_layers_give_equal_vectors(problem_type):
    inputs = with_own_towers(SEQUENCES, {"two": OwnTower(same_as="one"), "one": OwnTower(("GRU_64",))})
    architecture = ("FIXED_OUTPUT_FULLY_CONNECTED_64",) if problem_type == "DNN" else ARCHITECTURE
    model = tower(inputs, architecture, problem_type)
    assert not any("_two" in name for name in weights(model))
    joined = keras.Model(model.inputs, model.get_layer("inputs_side_by_side").input[:2])
    given = rows() | {"two": rows()["one"], "two_lengths": rows()["one_lengths"]}
    one, two = joined(given)
    np.testing.assert_array_equal(one, two)
    other, _ = joined(rows())
    np.testing.assert_array_equal(other, one)
    assert not np.array_equal(joined(rows())[1], one)


def test_the_fast_form_of_shared_layers_answers_alike_and_gradients_reach_them(tmp_path):
    maps = {name: InputSpec((5, 5, 2), own_tower=True) for name in ("one", "two")}
    inputs = with_own_towers(maps, {"two": OwnTower(same_as="one")})
    model = tower(inputs, ("BATCHNORM_CONVOLUTION_16", "PLATE_REDUCTION_FLATTEN"), "CNN")
    fast = with_fast_kernels(model)
    assert fast is not model
    fast.set_weights(model.get_weights())
    one, two = np.random.default_rng(0).normal(size=(2, 4, 5, 5, 2)).astype("float32")
    rows = {"one": one, "two": two}
    np.testing.assert_allclose(fast(rows), model(rows), atol=1e-5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(fast(rows, training=True) ** 2)
    assert all(gradient is not None for gradient in tape.gradient(loss, fast.trainable_variables))
    model.save(tmp_path / "tower.keras")
    loaded = keras.models.load_model(tmp_path / "tower.keras", safe_mode=True)
    np.testing.assert_allclose(loaded(rows), model(rows), atol=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match="'three', and the data have no such input"):
        with_own_towers(SEQUENCES, {"three": OwnTower()})
    with pytest.raises(DataError, match="their inputs have no names"):
        with_own_towers({"features": InputSpec((3,))}, {"features": OwnTower()})
    with pytest.raises(DataError, match="'two' and 'table' have the shapes"):
        with_own_towers(SEQUENCES, {"two": OwnTower(same_as="table")})
    text = InputSpec((5,), "int32", "two_lengths", vocabulary=9, own_tower=True)
    with pytest.raises(DataError, match="text with a vocabulary of its own"):
        with_own_towers(SEQUENCES | {"one": text, "two": text}, {"two": OwnTower(same_as="one")})
    damaged = SEQUENCES | {"two": InputSpec((5, 2), lengths="two_lengths", own_tower=True, same_tower="gone")}
    with pytest.raises(TrialError, match="layers of 'gone'"):
        tower(damaged)


def test_a_spec_is_stored_and_read_again():
    spec = with_own_towers(SEQUENCES, {"two": OwnTower(same_as="one"), "one": OwnTower(("GRU_64",), ("LSTM_32",))})
    assert {name: InputSpec.from_json(one.to_json()) for name, one in spec.items()} == spec
