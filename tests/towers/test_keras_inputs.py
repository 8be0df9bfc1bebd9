"""Names of inputs in Keras and back."""

import pytest

from model_search.towers.keras_inputs import input_name, row_name

NAMES = [
    "",
    "/",
    "_",
    "a/b",
    "a_b",
    "a_2f_b",
    "logits",
    "tower_3",
    "x_flatten",
    "where",
    "where_1",
    "0_BLOCK",
    "input.x",
]
NAMES += ["input.logits", "Größe (cm)", "__", "a__b", "features", "lengths", "grid_1"]


def test_names_come_back_and_stay_different():
    found = [input_name(name) for name in NAMES]
    assert [row_name(name) for name in found] == NAMES
    assert len(set(found)) == len(NAMES) and not any("/" in name for name in found)


@pytest.mark.parametrize("name", ["features", "lengths", "signal", "grid_1", "tokens", "Height"])
def test_plain_names_stay(name):
    assert input_name(name) == name


@pytest.mark.parametrize("name", ["logits", "frozen_logits", "mixture", "tower_0", "cast", "expand_dims_2", "gru"])
def test_names_of_layers_are_never_those_of_inputs(name):
    assert input_name(name) != name
