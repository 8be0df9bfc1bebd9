"""Inputs by name: what each is read as, what later rows may be, and the sentences that mistakes become."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from model_search.data import array_data
from model_search.data.later_rows import inputs_of, labelled_rows
from model_search.data.named.named_inputs import Kind, read_inputs
from model_search.data.prepare_options import PrepareOptions
from model_search.errors import DataError

OPTIONS = PrepareOptions(seed=1, batch_size=8)
TEXT = PrepareOptions(seed=1, batch_size=8, embedding="EMBEDDING")
Y = np.arange(20) % 2
MAP, TABLE = np.arange(20 * 12, dtype=np.uint8).reshape(20, 2, 2, 3), np.arange(40.0).reshape(20, 2)


def as_described(data):
    return {**data.description, "inputs": {name: spec.to_json() for name, spec in data.input_specs.items()}}


def test_what_inputs_are_read_as():
    ragged = [np.ones((1 + row % 3, 2)) for row in range(20)]
    frame = pd.DataFrame({"a": range(20), "b": [True, False] * 10})
    x = {
        "map": MAP,
        "grey": MAP[..., 0],
        "table": TABLE,
        "one": range(20),
        "seq": np.zeros((20, 4, 2)),
        "text": ["a b"] * 20,
    }
    data = array_data.Provider(x | {"ragged": ragged, "frame": frame}, Y).prepare(TEXT)
    shapes = {name: (spec.shape, spec.dtype, spec.lengths) for name, spec in data.input_specs.items()}
    assert shapes == {
        "map": ((2, 2, 3), "uint8", None), "grey": ((2, 2, 1), "uint8", None), "table": ((2,), "float32", None),
        "one": ((1,), "float32", None), "seq": ((4, 2), "float32", "seq_lengths"), "seq_lengths": ((), "int32", None),
        "text": ((2,), "int32", "text_lengths"), "text_lengths": ((), "int32", None),
        "ragged": ((3, 2), "float32", "ragged_lengths"), "ragged_lengths": ((), "int32", None),
        "frame": ((2,), "float32", None),
    }  # fmt: skip
    table = data.train.inputs["table"]
    assert np.allclose(data.input_specs["table"].mean, table.mean(axis=0))
    assert np.allclose(data.input_specs["table"].deviation, table.std(axis=0))
    assert (len(data.train), len(data.valid)) == (16, 4)


def test_rows_stay_together():
    x = {"seq": np.arange(20.0)[:, None, None] * np.ones((1, 3, 2)), "table": TABLE}
    data = array_data.Provider(x, Y, weights=np.arange(1.0, 21.0)).prepare(OPTIONS)
    for rows in (data.train, data.valid):
        number = rows.inputs["seq"][:, 0, 0]
        assert np.array_equal(rows.inputs["table"][:, 0], 2 * number)
        assert np.array_equal(rows.label, number % 2)
        assert np.array_equal(rows.weight, number + 1)


def test_a_dict_of_columns_is_still_one_table():
    data = array_data.Provider({"a": TABLE[:, 0], "b": ["x", "y"] * 10}, Y).prepare(OPTIONS)
    assert list(data.input_specs) == ["features"]


def test_validation_rows_have_the_same_forms():
    x = {"seq": [np.ones((2, 1))] * 20, "table": pd.DataFrame({"a": TABLE[:, 0], "b": TABLE[:, 1]})}
    other = {"seq": [np.ones((5, 1))] * 3, "table": x["table"].iloc[:3, ::-1]}
    data = array_data.Provider(x, Y, validation=(other, Y[:3])).prepare(OPTIONS)
    assert data.input_specs["seq"].shape == (5, 1)
    assert data.valid.inputs["table"].tolist() == TABLE[:3].tolist()
    with pytest.raises(DataError, match="input 'seq' is a vector; expected a sequence, as in training"):
        array_data.Provider(x, Y, validation=(other | {"seq": np.ones(3)}, Y[:3]))


def test_numbers_whose_sums_are_no_float32_are_clipped_with_a_note():
    table, sequence = TABLE.copy(), np.zeros((20, 3, 2))
    table[4], sequence[5, 1, 1] = -1e38, 1e37
    x = {"table": table, "seq": sequence, "map": MAP}
    data = array_data.Provider(x, Y).prepare(OPTIONS)
    said = [f"input {name!r}: 1 rows hold numbers beyond 1e+30, read as 1e+30" for name in ("table", "seq")]
    assert [note for note in data.description["notes"] if "1e+30" in note] == said
    notes = []
    found = inputs_of(x, as_described(data), notes.append)
    assert notes == said
    assert found["table"][4].tolist() == [np.float32(-1e30)] * 2 and found["seq"][5, 1, 1] == np.float32(1e30)


def test_columns_of_small_numbers_vary_and_those_of_earlier_studies_are_constant():
    x = {"vectors": TABLE * 1e-9, "maps": np.random.default_rng(0).normal(size=(20, 4, 4, 1)) * 1e-9}
    provider = array_data.Provider(x, Y)
    now, before = (provider.prepare(dataclasses.replace(OPTIONS, reading_rules=rules)).input_specs for rules in (5, 4))
    for name in x:
        assert max(now[name].deviation) < 1e-7
        assert set(before[name].deviation) == {1.0}


def test_no_rows_have_inputs_without_rows():
    x = {"table": TABLE, "one": range(20), "map": MAP, "float map": MAP / 255, "frame": pd.DataFrame({"a": range(20)})}
    described = as_described(array_data.Provider(x, Y).prepare(OPTIONS))
    found = inputs_of({name: value[:0] for name, value in x.items()}, described)
    assert {name: values.shape for name, values in found.items()} == {
        name: (0, *stored["shape"]) for name, stored in described["inputs"].items()
    }


@pytest.mark.parametrize("shape", [(), (2,)], ids=["one channel", "two channels"])
def test_ragged_sequences_are_predicted_one_at_a_time(shape):
    ragged = [np.full((2 + row % 3, *shape), row, np.float32) for row in range(20)]
    about = as_described(array_data.Provider({"seq": ragged, "table": TABLE}, Y).prepare(OPTIONS))
    whole = inputs_of({"seq": ragged, "table": TABLE}, about)
    for rows in ([0], [1, 4, 7], [3, 4]):
        some = inputs_of({"seq": [ragged[row] for row in rows], "table": TABLE[rows]}, about)
        for name, values in whole.items():
            np.testing.assert_array_equal(some[name], values[rows])
    listed = inputs_of({"seq": tuple(ragged[4].tolist() for _ in range(2)), "table": TABLE[:2]}, about)
    assert listed["seq_lengths"].tolist() == [3, 3]
    with pytest.raises(DataError, match=r"sequence 1 is .* of shape \(\)"):
        inputs_of({"seq": [1.0, 2.0], "table": TABLE[:2]}, about)


def test_later_rows():
    x = {"map": MAP, "table": TABLE}
    data = array_data.Provider(x, Y).prepare(OPTIONS)
    about = as_described(data)
    found = inputs_of(x | {"spare": 1}, about)
    assert all(np.array_equal(found[name], x[name]) for name in x)
    assert labelled_rows((x, np.where(Y == 1, Y, None)), about).label.tolist() == [1] * 10
    for source, said in (
        ({"map": MAP}, "the inputs 'table' are missing; the model reads map, table"),
        (TABLE, "received ndarray; expected a dict of inputs by name: map, table"),
        ({"map": MAP[:, :1], "table": TABLE}, r"input 'map' has the shape \(1, 2, 3\) a row; expected \(2, 2, 3\)"),
        ({"map": MAP, "table": TABLE[:3]}, "different numbers of rows: {'map': 20, 'table': 3}"),
    ):
        with pytest.raises(DataError, match=said):
            inputs_of(source, about)
    with pytest.raises(DataError, match=r"expected a pair \(inputs by name, labels\)"):
        labelled_rows(x, about)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_pictures_have_the_scale_of_those_in_training(channels):
    pictures, ones = MAP[..., :channels], MAP[..., :channels] / np.float32(255)
    of_bytes, of_floats = ({"map": one, "table": TABLE} for one in (pictures, ones))
    whole = of_bytes | {"map": pictures.astype(float)}
    about = as_described(array_data.Provider(of_bytes, Y, validation=(whole, Y)).prepare(OPTIONS))
    found = inputs_of(whole, about)["map"]
    assert found.dtype == np.uint8 and np.array_equal(found, pictures)
    resized = np.clip(pictures + np.float32(0.3), 0, 255)  # as after resizing: no whole numbers
    assert np.array_equal(inputs_of(of_bytes | {"map": resized}, about)["map"], pictures)
    said = "input 'map' holds pictures of numbers from 0 to .*: multiply pictures from 0 to 1 by 255"
    for read in (
        lambda: inputs_of(of_floats, about),
        lambda: labelled_rows((of_floats, Y), about),
        lambda: array_data.Provider(of_bytes, Y, validation=(of_floats, Y)).prepare(OPTIONS),
    ):
        with pytest.raises(DataError, match=said):
            read()
    # Floats from 0 to 255 to train on, bytes to validate on: one scale.
    mixed = array_data.Provider(whole, Y, validation=(of_bytes, Y)).prepare(OPTIONS)
    assert mixed.valid.inputs["map"].dtype == np.float32
    about = as_described(array_data.Provider(whole, Y).prepare(OPTIONS))
    for given in (inputs_of(of_bytes, about)["map"], labelled_rows((of_bytes, Y), about).inputs["map"]):
        assert given.dtype == np.float32 and np.array_equal(given, pictures)
    shifted = of_bytes | {"map": pictures - 128.0}  # from -128 to 127
    with pytest.raises(DataError, match="of type uint8"):
        inputs_of(of_bytes, as_described(array_data.Provider(shifted, Y).prepare(OPTIONS)))
    beyond = whole | {"map": np.where(pictures > 200, pictures + 20.0, pictures - 3.0)}  # as after cubic resizing
    assert array_data.Provider(beyond, Y, validation=(of_bytes, Y)).prepare(OPTIONS).valid.inputs["map"].max() > 128
    bright = of_floats | {"map": ones * 1.02}  # from 0 to a little more than 1
    with pytest.raises(DataError, match="of type uint8"):
        inputs_of(of_bytes, as_described(array_data.Provider(bright, Y).prepare(OPTIONS)))
    with pytest.raises(DataError, match="of type uint8"):
        array_data.Provider(of_floats, Y, validation=(of_bytes, Y)).prepare(OPTIONS)
    about = as_described(array_data.Provider(of_floats, Y).prepare(OPTIONS))
    assert np.array_equal(inputs_of(of_floats, about)["map"], ones)
    with pytest.raises(DataError, match=r"'map' holds pictures of type uint8; expected float32, as .* give x / 255.0"):
        inputs_of(of_bytes, about)


def test_the_fingerprint_follows_every_input():
    prints = {
        array_data.Provider({"map": MAP, "table": table}, labels).prepare(OPTIONS).fingerprint
        for table, labels in ((TABLE, Y), (TABLE + 1, Y), (TABLE, 1 - Y))
    }
    assert len(prints) == 3


MISTAKES = [
    ({"map": MAP, "table": TABLE[:3]}, "different numbers of rows: {'map': 20, 'table': 3}; expected one number"),
    ({1: MAP, "1": TABLE}, "there are two inputs named '1'"),
    ({"": MAP, "table": TABLE}, "or one without a name"),
    ({"seq": np.zeros((20, 3, 2)), "map": np.zeros((20, 1, 1, 1, 1))}, "is float64 of shape"),
    ({"map": MAP, "table": pd.DataFrame({"a": ["x"] * 20})}, "column 'a' of input 'table' is .*; expected numbers"),
    (
        {"map": MAP, "table": pd.DataFrame(TABLE, columns=["a", "a"])},
        "input 'table': there are several columns named 'a'",
    ),
    (
        {"map": MAP, "table": pd.DataFrame(TABLE, columns=[1, "1"])},
        "there are several columns named '1'; give each its",
    ),
    ({"map": MAP, "table": np.where(TABLE > 35, np.nan, TABLE)}, "missing or infinite numbers in 2 rows"),
    ({"seq": np.zeros((20, 3, 2)), "seq_lengths": [0] * 20}, "the length in row 1 is 0; expected 1 to 3 steps"),
    ({"map": MAP, "text": ["a b a b"] * 20}, "'text' is text, which is read by towers that begin with an embedding"),
    ({"map": MAP, "seq": [[[1, 2], [3]], *[[[1, 2]]] * 19]}, "sequence 1 has steps of different widths"),
    ({"seq": [[[1, 2], [3]]] * 20}, "sequence 1 has steps of different widths"),
    ({"map": MAP, "text": ["a b"] * 19 + [np.ones(2)]}, r"text 20 is of type ndarray \(array"),
    ({"map": MAP, "text": [None, np.ones(2)] * 10}, "sequence 1 is object of shape"),
    ({"map": MAP, "odd": [object()] * 20}, "input 'odd' is object of shape"),
    ({"map": MAP, "none": np.zeros((20, 0))}, "input 'none' is float64 of shape"),
]


@pytest.mark.parametrize(("x", "said"), MISTAKES, ids=[said[:30] for _, said in MISTAKES])
def test_mistakes_are_one_sentence(x, said):
    with pytest.raises(DataError, match=said):
        array_data.Provider(x, Y).prepare(OPTIONS)


def test_texts_of_pandas_may_be_missing():
    found = read_inputs({"map": MAP, "text": pd.Series([pd.NA, "a b"] * 10, dtype="string")})
    assert found["text"].form.kind is Kind.TEXT and found["text"].values.counts.tolist() == [0, 2] * 10


def test_lengths_have_a_name_that_may_be_taken():
    x = {"a": [np.ones((1, 2)), *[np.ones((3, 2))] * 19], "a_lengths": np.ones((20, 2, 2, 1))}
    with pytest.raises(DataError, match="lengths belong to one padded array"):
        array_data.Provider(x, Y)


def test_a_label_for_each_step_is_refused():
    with pytest.raises(DataError, match="have one label each"):
        array_data.Provider({"map": MAP}, Y).prepare(PrepareOptions(seed=1, batch_size=8, label_per_step=True))


def test_an_empty_dict_is_refused():
    with pytest.raises(DataError, match="the features have no columns"):
        array_data.Provider({}, Y).prepare(OPTIONS)


def test_labels_whose_index_is_in_another_order_are_refused():
    frame = pd.DataFrame(TABLE, columns=["a", "b"], index=range(100, 120))
    y = pd.Series(Y, index=frame.index, name="y")
    shuffled, x = y.sample(frac=1, random_state=2), {"map": MAP, "frame": frame}
    data = array_data.Provider(x, y, weights=pd.Series(1.0, index=frame.index)).prepare(OPTIONS)
    assert data.description["notes"] == []
    for make in (
        lambda: array_data.Provider(x, shuffled),
        lambda: array_data.Provider(x, {"u": Y, "v": shuffled}),
        lambda: array_data.Provider(x, Y, validation=(x, shuffled)),
        lambda: labelled_rows((x, shuffled), as_described(data)),
        lambda: labelled_rows(({"map": MAP, "frame": frame}, Y, shuffled + 1), as_described(data)),
    ):
        with pytest.raises(DataError, match=r"(labels|weights) has the entries .* in another order"):
            make()
    other, notes = y.reset_index(drop=True), []
    expected = "the index of the labels is not that of the features (in row 1 it has 0, that of the features 100); rows"
    assert array_data.Provider(x, other).prepare(OPTIONS).description["notes"][0].startswith(expected)
    labelled_rows((x, other), as_described(data), notes.append)
    assert notes[0].startswith(expected)


@pytest.mark.parametrize("none", [lambda value: value[:0], lambda value: [], lambda value: np.array([])])
def test_no_rows_of_any_kind_are_predicted(none):
    ragged = [np.ones((1 + row % 4, 2)) for row in range(20)]
    of_bytes = np.zeros((20, 4, 4, 3), np.uint8)
    rows = {"a": np.ones((20, 2)), "s": ragged, "p": np.zeros((20, 3, 1)), "b": of_bytes, "t": ["word word"] * 20}
    about = as_described(array_data.Provider(rows, Y).prepare(TEXT))
    whole = inputs_of(rows, about)
    found = inputs_of({name: none(value) for name, value in rows.items()}, about)
    assert {name: value.dtype for name, value in found.items()} == {name: one.dtype for name, one in whole.items()}
    assert {name: value.shape for name, value in found.items()} == {
        name: (0, *one.shape[1:]) for name, one in whole.items()
    }


def test_a_frame_for_what_was_an_array_is_read_by_place():
    table = np.arange(60).reshape(20, 3) + 0.5
    rows = {"a": table, "s": np.ones((20, 3, 1))}
    about = as_described(array_data.Provider(rows, Y).prepare(OPTIONS))
    for names in (["x", "y", "z"], ["x", "x", "y"], [7, 8, 9]):
        found = inputs_of({**rows, "a": pd.DataFrame(table, columns=names)}, about)
        np.testing.assert_array_equal(found["a"], table.astype(np.float32))
    mistakes = [
        ({"a": pd.DataFrame(table[:, :2])}, r"input 'a' has the shape \(2,\) a row; expected \(3,\), as in training"),
        ({"a": pd.DataFrame(index=range(20))}, "input 'a' is a frame without columns; expected columns of numbers"),
        ({"s": pd.DataFrame(table)}, "input 's' is a frame, which is a vector; expected a sequence, as in training"),
    ]
    for other, said in mistakes:
        with pytest.raises(DataError, match=said):
            inputs_of({**rows, **other}, about)
