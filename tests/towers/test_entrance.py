"""How the inputs of a tower are joined into what its first block reads."""

import keras
import numpy as np
import pytest

from model_search.data.rows import InputSpec
from model_search.errors import UserError
from model_search.towers.inputs import entrance, structured

LENGTHS = InputSpec((), "int32")


def read(specs, rows, rank=2):
    entered = entrance(specs, rank)
    outputs = [entered.tensor] if entered.lengths is None else [entered.tensor, entered.lengths]
    return keras.Model(structured(entered.inputs), outputs)(rows)


def test_the_lengths_of_a_row_are_those_of_its_longest_sequence():
    specs = {
        "a": InputSpec((3, 2), lengths="a_lengths"),
        "a_lengths": LENGTHS,
        "b": InputSpec((3, 1), lengths="b_lengths"),
        "b_lengths": LENGTHS,
    }
    rows = {"a": np.ones((2, 3, 2), "float32"), "b": np.ones((2, 3, 1), "float32")}
    tensor, lengths = read(specs, rows | {"a_lengths": np.array([1, 3]), "b_lengths": np.array([2, 1])})
    assert np.array(lengths).tolist() == [2, 3]
    assert np.array(tensor)[0].tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 0]]


def test_a_padded_sequence_of_numbers_is_joined_step_by_step():
    specs = {"a": InputSpec((3, 2)), "b": InputSpec((3,), lengths="lengths"), "lengths": LENGTHS}
    rows = {"a": np.zeros((1, 3, 2), "float32"), "b": np.array([[5, 6, 7]], "float32"), "lengths": np.array([2])}
    assert np.array(read(specs, rows)[0])[0].tolist() == [[0, 0, 5], [0, 0, 6], [0, 0, 0]]


@pytest.mark.parametrize("scale", [2.0**-110, 1e-12, 1e-7, 1e-3, 1.0, 1e6, 1e20, 1e25])
def test_channels_of_any_scale_are_standardised_and_a_stored_model_does_the_same(tmp_path, scale):
    rows = np.random.default_rng(0).normal(3.0, 2.0, size=(40, 5, 2))
    rows[..., 0] *= scale
    values = rows.astype(np.float32)
    spec = InputSpec((5, 2), mean=tuple(rows.mean((0, 1))), deviation=tuple(rows.std((0, 1))))
    entered = entrance({"a": spec}, 2)
    model = keras.Model(structured(entered.inputs), entered.tensor)
    found = np.array(model(values))
    np.testing.assert_allclose(found, (values - rows.mean((0, 1))) / rows.std((0, 1)), atol=1e-5)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.array(keras.models.load_model(tmp_path / "model.keras")(values)), found)
    assert any(isinstance(layer, keras.layers.Rescaling) for layer in model.layers) == (not 1e-6 < scale < 1e18)


def test_token_ids_beside_a_sequence_are_refused():
    specs = {"a": InputSpec((3, 2)), "tokens": InputSpec((3,), "int32", lengths="lengths"), "lengths": LENGTHS}
    with pytest.raises(UserError, match=r"'tokens' is a padded sequence of whole numbers .* the only input"):
        entrance(specs, 2)
    assert entrance(specs, 1).tensor.shape == (None, 9)  # towers of vectors flatten every input
