"""Names of weights: different, in the model's order, and the same wherever a block stands."""

import contextlib

import keras
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keras import layers

from model_search.blocks import Block, catalogue, register_block
from model_search.data.rows import InputSpec
from model_search.errors import TrialError
from model_search.towers.builder import TowerSpec, build_tower
from model_search.towers.naming import own_names
from model_search.towers.weight_names import block_names, fitted, is_numbered, tower_weight_names, transfer, with_names

PROJECT = "FULLY_CONNECTED_RESIDUAL_PROJECT_BATCHNORM"
BLOCKS = ("FULLY_CONNECTED", PROJECT, "LOWRANK_1", "BOTTLENECK_32", "IDENTITY", "T_NAMES nested", "T_NAMES_nested")


class Twice(layers.Layer):
    """A layer of layers, and of variables, without names."""

    def __init__(self):
        super().__init__()
        self.first, self.second = layers.Dense(4), layers.Dense(4)

    def build(self, shape):
        self.gain, self.shift = self.add_weight(shape=(4,)), self.add_weight(shape=(4,))
        self.first.build(shape)
        self.second.build((None, 4))

    def call(self, values):
        return self.second(self.first(values)) * self.gain + self.shift


class Nested(Block):
    """A user's block: nested models, recurrent layers in a wrapper, statistics, and a random layer; no names."""

    def build(self, input_tensors, is_training, lengths=None, hparams=None):
        x = keras.Sequential([layers.Dense(4), layers.Dense(4), layers.BatchNormalization()])(input_tensors[-1])
        ready = keras.Input((4,))
        x = keras.Model(ready, layers.Dense(4)(layers.Dense(4)(ready)))(x)
        steps = layers.Reshape((2, 2))(layers.Dropout(0.1)(x))
        steps = layers.Bidirectional(layers.LSTM(2, return_sequences=True))(steps)
        x = layers.RNN([layers.GRUCell(2), layers.GRUCell(4)])(steps)
        return [*input_tensors, Twice()(x)]


@pytest.fixture(autouse=True, scope="module")
def _nested_blocks():
    with contextlib.ExitStack() as stack:
        for name in BLOCKS[-2:]:  # two names that are the same once odd characters are replaced
            register_block(name)(type("OwnNested", (Nested,), {}))
            stack.callback(catalogue.unregister, name)
        yield


def names_of(*architecture, width=4):
    model = build_tower(TowerSpec(tuple(architecture), {"features": InputSpec((width,))}, 2))
    names = tower_weight_names(model, architecture)
    assert len(names) == len(model.weights) == len(set(names))
    return model, names


def shapes_of(*architecture, width=4):
    model, names = names_of(*architecture, width=width)
    return dict(zip(names, (tuple(variable.shape) for variable in model.weights), strict=True))


def arrays_of(*architecture, width=4):
    model, names = names_of(*architecture, width=width)
    return dict(zip(names, model.get_weights(), strict=True))


def test_names_tell_block_occurrence_and_part():
    assert names_of("FULLY_CONNECTED", PROJECT, "FULLY_CONNECTED")[1] == (
        "FULLY_CONNECTED#1/dense/kernel",
        "FULLY_CONNECTED#1/dense/bias",
        f"{PROJECT}#1/dense/kernel",
        f"{PROJECT}#1/dense/bias",
        f"{PROJECT}#1/batch_normalization/gamma",
        f"{PROJECT}#1/batch_normalization/beta",
        f"{PROJECT}#1/batch_normalization/moving_mean",
        f"{PROJECT}#1/batch_normalization/moving_variance",
        "FULLY_CONNECTED#2/dense/kernel",
        "FULLY_CONNECTED#2/dense/bias",
        "logits/kernel",
        "logits/bias",
    )


def test_names_are_in_the_order_of_the_weights():
    model, names = names_of("FULLY_CONNECTED", "LOWRANK_1")
    by_layer = {layer.name: layer for layer in model.layers}
    values = dict(zip(names, model.get_weights(), strict=True))
    np.testing.assert_array_equal(values["LOWRANK_1#1/left/kernel"], by_layer["1_LOWRANK_1_left"].get_weights()[0])
    np.testing.assert_array_equal(values["logits/kernel"], by_layer["logits"].get_weights()[0])


def test_a_position_with_the_prefix_of_another_one_is_distinguished():
    names = names_of(*["IDENTITY"] * 10, "FULLY_CONNECTED", "LOWRANK_1")[1]
    assert names[0] == "FULLY_CONNECTED#1/dense/kernel" and "LOWRANK_1#1/right/bias" in names


def test_parts_without_names_of_their_own_are_counted_within_their_layer():
    names = [name for name in names_of("FULLY_CONNECTED", "T_NAMES nested")[1] if name.startswith("T_NAMES_nested#1/")]
    inner = {name.split("/", 1)[1].split("_", 1)[1] for name in names}
    assert {"sequential/dense/kernel", "sequential/dense_1/kernel", "sequential/batch_normalization/gamma"} <= inner
    assert {"functional/dense/kernel", "functional/dense_1/kernel"} <= inner
    assert {"bidirectional/forward_lstm/lstm_cell/kernel", "bidirectional/backward_lstm/lstm_cell/bias"} <= inner
    assert {"rnn/stacked_rnn_cells/gru_cell/kernel", "rnn/stacked_rnn_cells/gru_cell_1/kernel"} <= inner
    assert {"twice/variable", "twice/variable_1", "twice/dense/kernel", "twice/dense_1/kernel"} <= inner


@settings(max_examples=30, deadline=None)
@given(
    architecture=st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=4),
    block=st.sampled_from(BLOCKS),
    place=st.integers(0, 4),
)
@example(["T_NAMES nested", "T_NAMES_nested"], "T_NAMES nested", 0)
@example(["FULLY_CONNECTED", "T_NAMES nested"], "T_NAMES_nested", 1)
@example(["FULLY_CONNECTED", "LOWRANK_1"], "T_NAMES nested", 0)
def test_an_inserted_block_leaves_the_names_of_the_others(architecture, block, place):
    place = min(place, len(architecture))
    parent = shapes_of(*architecture)
    child = shapes_of(*architecture[:place], block, *architecture[place:])
    plain = [name.replace(" ", "_") for name in architecture]
    same = plain[:place].count(block.replace(" ", "_"))
    inserted = block.replace(" ", "_")

    def expected(name):  # occurrences after an inserted block of the same name are one more
        owner, _, rest = name.partition("/")
        kind, _, number = owner.partition("#")
        return f"{kind}#{int(number) + 1}/{rest}" if kind == inserted and int(number) > same else name

    renamed = {expected(name): shape for name, shape in parent.items()}
    assert {name: shape for name, shape in child.items() if not name.startswith(f"{inserted}#{same + 1}/")} == renamed


def test_blocks_are_counted_by_their_name():
    assert block_names(("A", "B", "A", "a b", "a_b")) == ("A#1", "B#1", "A#2", "a_b#1", "a_b#2")


# Transfer


def test_a_child_with_a_block_more_takes_over_all_the_others():
    parent = arrays_of("FULLY_CONNECTED", PROJECT)
    for place in range(3):
        blocks = ["FULLY_CONNECTED", PROJECT]
        blocks.insert(place, "LOWRANK_1")
        found, missing = transfer(parent, shapes_of(*blocks))
        assert list(found) == list(parent)
        assert all(found[name] is parent[name] for name in parent)
        assert missing == tuple(f"LOWRANK_1#1/{part}" for part in ("left/kernel", "right/kernel", "right/bias"))


def test_what_has_another_shape_is_not_taken_over():
    found, missing = transfer(
        arrays_of("FULLY_CONNECTED", PROJECT), shapes_of("FULLY_CONNECTED", "FULLY_CONNECTED_PYRAMID", PROJECT)
    )
    assert list(found) == ["FULLY_CONNECTED#1/dense/kernel", "FULLY_CONNECTED#1/dense/bias", "logits/bias"]
    assert {f"{PROJECT}#1/dense/kernel", "logits/kernel", "FULLY_CONNECTED_PYRAMID#1/dense/bias"} <= set(missing)


def test_numbered_weights_are_taken_over_once_they_have_names():
    parent = arrays_of("FULLY_CONNECTED", PROJECT)
    numbered = {f"{index:04d}": array for index, array in enumerate(parent.values())}
    assert transfer(numbered, shapes_of("FULLY_CONNECTED", PROJECT))[0] == {}
    named = with_names(numbered, tuple(parent))
    assert transfer(named, shapes_of("FULLY_CONNECTED", "LOWRANK_1", PROJECT))[0].keys() == parent.keys()
    assert with_names(parent, ()) == parent
    with pytest.raises(TrialError, match="there are 10 numbered weights, and the tower has 2"):
        with_names(numbered, ("a", "b"))


# Loading

TARGET = {"A#1/kernel": (2, 3), "A#1/bias": (3,), "logits/kernel": (3, 1)}


def full(target=TARGET):
    return {name: np.full(shape, index, np.float32) for index, (name, shape) in enumerate(target.items())}


def test_named_weights_are_put_in_the_order_of_the_tower():
    stored = dict(reversed(full().items()))
    assert [array.flat[0] for array in fitted(stored, TARGET, "w")] == [0, 1, 2]


@pytest.mark.parametrize("digits", [4, 5])
def test_numbered_weights_are_taken_by_number(digits):
    many = {f"w/{index}": () for index in range(10_001 if digits == 5 else 12)}
    stored = {f"{index:04d}": np.float32(index) for index in reversed(range(len(many)))}
    assert is_numbered(stored) and not is_numbered(full()) and not is_numbered({})
    assert [int(array) for array in fitted(stored, many, "w")] == list(range(len(many)))


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (full() | {"A#1/bias": np.zeros(4)}, r"A#1/bias has the shape \(4,\), expected \(3,\)"),
        ({"A#1/bias": np.zeros(3)}, "without an array for A#1/kernel, logits/kernel"),
        (full() | {"B#1/bias": np.zeros(3)}, "the tower has no B#1/bias"),
        ({"0": np.zeros((2, 3)), "1": np.zeros(3)}, "there are 2 arrays, expected 3"),
        ({"0": np.zeros((2, 3)), "1": np.zeros(3), "2": np.zeros(3)}, r"logits/kernel has the shape \(3,\)"),
        ({}, "without an array for A#1/kernel, A#1/bias, logits/kernel"),
        (full({f"X/{i}": () for i in range(5)}) | full(), "the tower has no X/0, X/1, X/2 and 2 more"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(stored, message):
    with pytest.raises(TrialError, match=f"^the weights of trial 3 do not fit its plan: {message}") as failed:
        fitted(stored, TARGET, "the weights of trial 3 do not fit its plan")
    assert "\n" not in str(failed.value)


def test_names_are_those_of_the_tower_within_another_model():
    model, names = names_of("T_NAMES nested", PROJECT)
    with own_names():
        again = keras.Model(model.inputs, model.outputs, name="tower_0")
    assert tower_weight_names(again, ("T_NAMES nested", PROJECT)) == names
