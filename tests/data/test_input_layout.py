"""How what a user hands over becomes inputs by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_search.data.inputs import InputLayout
from model_search.data.prepare_options import PrepareOptions
from model_search.data.rows import FEATURES, InputSpec, Rows, concatenate, main_inputs
from model_search.errors import DataError, UnsupportedError

ROWS = 5
RNG = np.random.default_rng(0)
LENGTHS = np.array([1, 2, 4, 3, 4])


def floats(*shape):
    return RNG.normal(size=(ROWS, *shape))


def options(**fields):
    return PrepareOptions(seed=1, batch_size=4, **fields)


def test_numbers_and_vectors_stand_side_by_side_in_the_order_of_their_names():
    features = {"b": floats(2), "a": floats(), "flag": np.array([True, False] * 2 + [True])}
    layout = InputLayout.infer(features, None, options())
    assert layout.specs == {FEATURES: InputSpec((4,), columns=("a", "b", "flag"))}
    found = layout.read(features)[FEATURES]
    expected = np.concatenate([features["a"][:, None], features["b"], features["flag"][:, None]], axis=1)
    np.testing.assert_array_equal(found, expected.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_whose_sums_are_no_float32_are_clipped(dtype):
    features = {"a": floats(2).astype(dtype), "map": floats(2, 3).astype(dtype), "n": np.arange(ROWS)}
    features["a"][1, 0], features["map"][2, 1, 1] = -2e38, 3e37
    given = features["map"].copy()
    layout = InputLayout.infer(features, None, options())
    found = layout.read(features)
    assert found[FEATURES][1, 0] == np.float32(-1e30) and found["map"][2, 1, 1] == np.float32(1e30)
    assert np.array_equal(features["map"], given)  # the user's own stays
    assert layout.rounded([features]) == [
        f"feature {name!r}: 1 rows hold numbers beyond 1e+30, read as 1e+30" for name in ("a", "map")
    ]


def test_no_rows_are_read_as_such():
    features = {"b": floats(2), "a": floats(), "map": floats(2, 3)}
    layout = InputLayout.infer(features, None, options(flat_inputs=True))
    none = {name: values[:0] for name, values in features.items()}
    assert layout.read(none)[FEATURES].shape == (0, 9)
    assert layout.rounded([none]) == []


def test_what_has_two_axes_is_an_input_of_its_own():
    picture = RNG.integers(0, 256, (ROWS, 3, 3, 1), dtype=np.uint8)
    layout = InputLayout.infer({"picture": picture, "map": floats(2, 3), "age": floats()}, None, options())
    assert layout.specs == {
        "picture": InputSpec((3, 3, 1), "uint8"),
        "map": InputSpec((2, 3)),
        FEATURES: InputSpec((1,), columns=("age",)),
    }


@pytest.mark.parametrize("flat", [False, True])
def test_a_single_tensor_keeps_its_shape(flat):
    layout = InputLayout.infer(floats(3, 4), None, options(flat_inputs=flat))
    assert layout == InputLayout((), {FEATURES: InputSpec((3, 4))})
    assert layout.read(floats(3, 4))[FEATURES].dtype == np.float32
    one = InputLayout.infer(floats(), None, options())
    assert one.read(floats())[FEATURES].shape == (ROWS, 1)


def test_version_1_0_put_everything_side_by_side():
    features = {"map": floats(2, 3), "age": floats()}
    layout = InputLayout.infer(features, None, options(flat_inputs=True))
    assert layout.specs == {FEATURES: InputSpec((7,), columns=("age", "map"))}
    stored = {"schema": None, "columns": ["age", "map"], "feature_shape": [7]}
    assert InputLayout.from_description(stored) == layout
    found = layout.read(features)[FEATURES]
    np.testing.assert_array_equal(found[:, 1:], features["map"].reshape(ROWS, 6).astype(np.float32))
    alone = {"schema": None, "columns": ["image"], "feature_shape": [2, 3]}
    image = floats(2, 3)
    for handed_over in ({"image": image}, image):
        assert InputLayout.from_description(alone).read(handed_over)[FEATURES].shape == (ROWS, 2, 3)


def test_lengths_belong_to_sequences_and_token_ids():
    features = {"signal": floats(4, 2), "tokens": np.ones((ROWS, 4), int), "age": floats(), "lengths": LENGTHS}
    layout = InputLayout.infer(features, None, options())
    assert layout.lengths == {"signal": "lengths", "tokens": "lengths"}
    assert layout.specs["tokens"] == InputSpec((4,), "int32", "lengths")
    assert layout.specs["lengths"] == InputSpec((), "int32")
    assert list(main_inputs(layout.specs)) == ["features", "signal", "tokens"]


def test_lengths_of_one_feature_alone():
    features = {"a": floats(4, 2), "b": floats(3, 2), "b_lengths": np.minimum(LENGTHS, 3)}
    layout = InputLayout.infer(features, None, options())
    assert layout.lengths == {"b": "b_lengths"}


def test_a_picture_is_no_sequence_because_something_else_has_lengths():
    features = {"signal": floats(4, 2), "picture": floats(9, 9, 3), "lengths": LENGTHS}
    assert InputLayout.infer(features, None, options()).lengths == {"signal": "lengths"}


def test_without_sequences_lengths_are_a_number_like_any_other():
    layout = InputLayout.infer({"a": floats(), "lengths": LENGTHS}, None, options())
    assert layout.specs == {FEATURES: InputSpec((2,), columns=("a", "lengths"))}


def test_the_name_of_lengths_is_the_specifications():
    features = {"signal": floats(4, 2), "steps": LENGTHS}
    assert InputLayout.infer(features, None, options(lengths="steps")).lengths == {"signal": "steps"}


def test_shorter_sequences_get_more_padding():
    features = {"signal": floats(4, 2), "lengths": LENGTHS}
    layout = InputLayout.infer(features, None, options()).widened({**features, "signal": floats(6, 2)})
    assert layout.specs["signal"].shape == (6, 2)
    found = layout.read(features)["signal"]
    assert found.shape == (ROWS, 6, 2) and not found[:, 4:].any()


def test_steps_that_are_padding_in_all_rows_are_cut_off():
    features = {"signal": floats(4, 2), "lengths": LENGTHS}
    layout = InputLayout.infer(features, None, options())
    wider = {"signal": np.concatenate([features["signal"], np.full((ROWS, 3, 2), 7.0)], axis=1), "lengths": LENGTHS}
    np.testing.assert_array_equal(layout.read(wider)["signal"], layout.read(features)["signal"])


def test_lengths_may_be_floats_and_need_not_be_named():
    features = {"signal": floats(4, 2), "age": floats(), "lengths": LENGTHS.astype(np.float32)}
    layout = InputLayout.infer(features, ("signal",), options())
    assert layout.lengths == {"signal": "lengths"} and layout.names == ("signal", "lengths")
    assert layout.read(features)["lengths"].tolist() == LENGTHS.tolist()


def test_whole_numbers_are_no_token_ids_where_blocks_read_vectors():
    features = {"counts": np.ones((ROWS, 3), int), "lengths": LENGTHS - 1}
    layout = InputLayout.infer(features, None, options(token_ids=False))
    assert layout.specs == {FEATURES: InputSpec((4,), columns=("counts", "lengths"))}


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"lengths": LENGTHS - 1}, DataError, "holds 0 in row 1; expected 1 to 4 steps"),
        ({"lengths": LENGTHS + 1}, DataError, "holds 5 in row 3"),
        ({"lengths": LENGTHS + 0.5}, DataError, "a fraction"),
        ({"signal": np.full((ROWS, 4, 2), np.nan)}, DataError, "NaN or infinite"),
        ({"signal": np.ones((ROWS, 4, 3))}, DataError, "at most 4 steps of shape"),
        ({"signal": np.ones((ROWS, 5, 2)), "lengths": LENGTHS + 1}, DataError, "at most 4 steps"),
        ({"signal": np.full((ROWS, 4, 2), "a")}, UnsupportedError, "expected numbers"),
        ({"picture": np.full((ROWS, 3, 3), 256)}, DataError, "expected 0 to 255"),
        ({"picture": np.zeros((ROWS, 2, 3), np.uint8)}, DataError, r"shape \(2, 3\) a row; expected \(3, 3\)"),
        ({"age": np.ones(ROWS + 1)}, DataError, "different numbers of rows"),
        ({"age": [[1.0], [2.0, 3.0]]}, DataError, "rows of one shape"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(change, error, sentence):
    features = {
        "signal": floats(4, 2),
        "lengths": LENGTHS,
        "picture": np.zeros((ROWS, 3, 3), np.uint8),
        "age": floats(),
        "height": floats(),
    }
    layout = InputLayout.infer(features, None, options())
    assert set(layout.read(features)) == {"features", "signal", "lengths", "picture"}
    with pytest.raises(error, match=sentence):
        layout.read({**features, **change})


def test_what_is_missing_is_named():
    layout = InputLayout.infer({"a": floats(), "b": floats()}, None, options())
    with pytest.raises(DataError, match="'b' are missing; the model reads a, b"):
        layout.read({"a": floats()})
    with pytest.raises(DataError, match="reads a dict of arrays"):
        layout.read(floats(2))
    with pytest.raises(DataError, match=r"received 'rows.csv'"):
        layout.read("rows.csv")


def test_a_layout_is_remembered():
    features = {"signal": floats(4, 2), "lengths": LENGTHS, "age": floats()}
    layout = InputLayout.infer(features, None, options())
    stored = {"schema": None, "columns": list(layout.names), "inputs": layout.to_json()}
    assert InputLayout.from_description(stored) == layout


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.booleans())
def test_rows_are_taken_and_put_together_without_loss(sizes, weighted):
    count = sum(sizes)
    inputs = {"a": np.arange(count), "b": np.arange(count * 2, dtype=np.uint8).reshape(count, 2)}
    rows = Rows.of(inputs, np.arange(count) % 2, np.ones(count, np.float32) if weighted else None)
    ends = np.cumsum(sizes)
    parts = [rows.take(slice(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    again = concatenate(parts)
    assert len(again) == count and (again.weight is not None) == weighted
    for name in inputs:
        np.testing.assert_array_equal(again.inputs[name], inputs[name])
        assert again.inputs[name].dtype == inputs[name].dtype
    np.testing.assert_array_equal(rows.take(np.arange(count)[::-1]).label, rows.label[::-1])
    assert [len(block) for block in rows.blocks(4)] == [min(4, count - start) for start in range(0, count, 4)]


def test_rows_of_different_numbers_are_refused():
    with pytest.raises(DataError, match="'a': 3, 'label': 2"):
        Rows.of({"a": np.zeros(3)}, np.zeros(2))
