"""The transform: what `features.py` says it is, finite for everything, the same for text and typed columns."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.data import array_data
from model_search.data.later_rows import PieceReader, inputs_of
from model_search.data.prepare_options import PrepareOptions
from model_search.data.tabular import columns
from model_search.data.tabular.categories.target_means import Target
from model_search.data.tabular.features import CategoryFeature, DateFeature, FeatureSchema, NumberFeature
from model_search.data.tabular.packed_text import PackedText
from model_search.data.tabular.preprocess import Preprocessor
from model_search.data.tabular.schema import infer_schema
from model_search.errors import DataError

SCHEMA = FeatureSchema(
    (
        NumberFeature("n", 2.0, 4.0, indicator=True),
        CategoryFeature("c", ("", "u", "v")),
        DateFeature("d", ("days", "month", "hour"), (100.0, 6.0, 12.0), (50.0, 3.0, 6.0), indicator=True, order="dmy"),
    ),
    {"id": "it is an identifier"},
)


def test_the_transform_is_what_the_records_say():
    matrix = Preprocessor(SCHEMA).transform({"n": [6.0, None], "c": ["v", "w"], "d": ["1970-04-11 06:00", None]})
    z = np.array([1.0, (100.25 - 100) / 50, (4 - 6) / 3, (6 - 12) / 6])
    clipped = z / np.sqrt(1 + (z / 3) ** 2)
    expected = [
        [clipped[0], 0, 0, 0, 1, 0, clipped[1], clipped[2], clipped[3], 0],
        [0, 1, 0, 0, 0, 1, 0, 0, 0, 1],
    ]
    np.testing.assert_allclose(matrix, expected, atol=1e-6)
    assert matrix.dtype == np.float32
    assert matrix.shape == (2, SCHEMA.width)


def test_json_round_trip():
    stored = json.loads(json.dumps(Preprocessor(SCHEMA).to_json(), allow_nan=False))
    assert Preprocessor.from_json(stored).schema == SCHEMA
    with pytest.raises(ValueError, match="the schema of the features is damaged"):
        Preprocessor.from_json({"features": [{"kind": "sound"}], "dropped": {}})


def test_missing_columns_are_named_and_others_ignored():
    with pytest.raises(DataError, match="lack columns 'n', 'd'; the model reads: n, c, d"):
        Preprocessor(SCHEMA).transform({"c": ["u"], "x": [1]})
    assert len(Preprocessor(SCHEMA).transform({"n": [1], "c": ["u"], "d": [""], "x": [object()]})) == 1


def test_no_rows():
    assert Preprocessor(SCHEMA).transform({"n": [], "c": [], "d": []}).shape == (0, SCHEMA.width)


def test_typed_columns():
    typed = Preprocessor(SCHEMA).typed_columns(
        {"n": ["1,000", "?"], "c": [" u ", "NA"], "d": ["11/04/1970 6:00 pm", "x"]}
    )
    np.testing.assert_array_equal(typed["n"], np.array([1000, np.nan], np.float32))
    assert typed["n"].dtype == np.float32
    assert typed["c"].tolist() == ["u", ""]
    assert typed["d"].tolist() == ["1970-04-11 18:00:00", ""]


def test_numbers_in_categories_are_written_without_a_fraction():
    schema = FeatureSchema((CategoryFeature("c", ("1", "2.5"), numeric=True),))
    for values in ([1.0, 2.5, 3.0], [1, "2.5", None], pd.Series([1, 2.5, None]).astype("category")):
        assert Preprocessor(schema).transform({"c": values}).argmax(1).tolist() == [0, 1, 2]


cells = st.one_of(
    st.text(max_size=12),
    st.floats(),
    st.integers(),
    st.none(),
    st.booleans(),
    st.datetimes(),
    st.dates(),
    st.sampled_from(
        ["1,234", "-", "31/12/1999", "2020-02-30", "1e999", "inf", "١٢", "1_000", "0x10", "1970-01-01T25:00"]
    ),
)


@given(st.lists(cells, min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_every_cell_gives_finite_features_and_the_typed_path_agrees(values):
    preprocessor = Preprocessor(SCHEMA)
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name in "ncd"})
    matrix = preprocessor.transform(frame)
    assert np.isfinite(matrix).all()
    assert (np.abs(matrix) <= 3).all()
    assert (matrix[:, 2:6].sum(axis=1) == 1).all()
    typed = preprocessor.transform(preprocessor.typed_columns(frame))
    np.testing.assert_allclose(typed, matrix, atol=1e-5)


@given(st.dates(), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
@settings(max_examples=150, deadline=None)
def test_date_parts_and_texts(day, hour, minute, second):
    text = f"{day.isoformat()} {hour:02}:{minute:02}:{second:02}"
    days = columns.parse_dates([text], "ymd")
    parts = columns.date_parts(days, ("month", "day", "weekday", "hour"))
    assert [part[0] for part in parts] == [day.month, day.day, day.weekday(), hour]
    season = 2 * np.pi * (day.timetuple().tm_yday - 1) / 365.25
    circle = [part[0] for part in columns.date_parts(days, columns.SEASON_PARTS)]
    np.testing.assert_allclose(circle, [np.sin(season), np.cos(season)], atol=1e-12)
    week = [part[0] for part in columns.date_parts(days, columns.WEEKDAY_PARTS)]
    assert week == [float(number == day.weekday()) for number in range(7)]
    assert columns.iso_texts(days).tolist() == [text]
    last = f"{day.day}/{day.month}/{day.year:04} {hour}:{minute:02}:{second:02}"
    assert columns.parse_dates([last], "dmy") == days


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12:30 AM", 0.5 / 24),
        ("12:30 pm", 12.5 / 24),
        ("11:00 PM", 23 / 24),
        ("6:00:00.5", 0.25),
        ("06:00+02:00", 0.25),
    ],
)
def test_times(text, expected):
    assert columns.parse_dates([f"1970-01-01 {text}"], "ymd")[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("texts", "expected", "said"),
    [
        (["02/03/2020"], ["2020-02-03"], "1 row holds {} ('02/03/2020'), read as month first"),
        (["02/03/2020", "25/03/2020"], ["2020-03-02", "2020-03-25"], "2 rows hold {} ('02/03/2020', '25/03/2020'), r"),
        (["02.03.2020", "2020-05-06"], ["2020-03-02", "2020-05-06"], "1 row holds {} ('02.03.2020'), read as day f"),
        (["2020-05-06"], ["2020-05-06"], ""),
    ],
)
@pytest.mark.parametrize("learnt", ["texts", "typed"])
def test_later_dates_with_the_year_last(texts, expected, said, learnt):
    days = pd.Series(pd.date_range("2019-01-01", periods=60, freq="9D"))
    frame = pd.DataFrame({"d": days.dt.strftime("%Y-%m-%d") if learnt == "texts" else days})
    schema, _ = infer_schema(frame, Target(np.arange(60) % 2, 2))
    preprocessor, notes = Preprocessor(schema), []
    later = pd.DataFrame({"d": texts})
    found = preprocessor.transform(later, notes.append)
    np.testing.assert_array_equal(found, preprocessor.transform({"d": expected}))
    np.testing.assert_allclose(preprocessor.transform(preprocessor.typed_columns(later)), found, atol=1e-5)
    packed = pd.DataFrame({"d": PackedText.of(later["d"])})
    np.testing.assert_array_equal(preprocessor.transform(packed), found)
    assert [note[:10] for note in notes] == (["column 'd'"] if said else [])
    assert all(said.format("dates with the year last, of which training had none") in note for note in notes)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_text(value):
    parsed = columns.parse_numbers([repr(value), "not a number"])
    assert parsed[0] == np.clip(value, -columns.LARGEST, columns.LARGEST)
    assert np.isnan(parsed[1])


@pytest.mark.parametrize("text", ["1_000", "1,00", "1,2345", "1.2.3", "0x1F", "1e", "--1", "1 000", "inf", "nan", "١٢"])
def test_what_is_no_number(text):
    assert np.isnan(columns.parse_numbers([text])).all()


@pytest.mark.parametrize(
    ("vocabulary", "numeric", "cells", "expected"),
    [
        (("1.0", "2.5"), False, [1.0, 2.5, "1.0", "1"], [0, 1, 0, 2]),  # learnt from a file, then typed
        (("1", "2.5"), True, ["1.0", "1", "2.5", "1.5"], [0, 0, 1, 2]),  # learnt typed, then from a file
        (("1.1", "1.10"), False, ["1.10", "1.1", 1.1, "1.100"], [1, 0, 0, 2]),
        (("01234", "1234"), False, ["1234", "01234", 1234, "001234"], [1, 0, 1, 2]),
        (("1", "True"), False, [True, 1, 1.0, "True"], [1, 0, 0, 1]),
        (("1", "True"), False, [1, True, "1", "true"], [0, 1, 0, 2]),
        (("u", "b'v'"), False, [b"u", b"v", b"\xff"], [0, 2, 2]),
        (("FALSE", "TRUE"), False, [True, False, "True", "TRUE", "false", "yes"], [1, 0, 1, 1, 0, 2]),
        (("", "True"), True, ["TRUE", "true", "", "false"], [1, 1, 0, 2]),
        (("FALSE", "TRUE", "maybe"), False, [True, False, "true", "MAYBE"], [1, 0, 1, 3]),
        (("FALSE", "TRUE", "true"), False, [True, "TRUE", "true", "True"], [3, 1, 2, 3]),
        (("love", "true"), False, ["true", "True"], [1, 2]),
        (("2020-01-01",), False, [pd.Timestamp("2020-01-01"), "2020-01-01"], [0, 0]),
    ],
)
def test_categories_are_found_however_they_are_given(vocabulary, numeric, cells, expected):
    schema = FeatureSchema((CategoryFeature("c", vocabulary, numeric=numeric),))
    preprocessor = Preprocessor(schema)
    frame = pd.DataFrame({"c": pd.Series(cells, dtype=object)})
    assert preprocessor.transform(frame).argmax(1).tolist() == expected
    assert preprocessor.transform(preprocessor.typed_columns(frame)).argmax(1).tolist() == expected


def test_the_pieces_of_a_file_have_one_order_of_dates():
    days = pd.date_range("2024-01-01", periods=60)
    train = pd.DataFrame({"day": days.strftime("%Y-%m-%d"), "x": np.arange(60.0)})
    data = array_data.Provider(train, np.arange(60.0)).prepare(PrepareOptions(seed=1, batch_size=8))

    def read(*pieces):
        reader = PieceReader(data.description)
        return [reader.read(pd.DataFrame({"day": texts, "x": [1.0] * len(texts)}))["features"] for texts in pieces]

    def once(text):
        return inputs_of(pd.DataFrame({"day": [text], "x": [1.0]}), data.description)["features"]

    for first, either, expected in (
        ("31/01/2024", "02/01/2024", "2024-01-02"),
        ("01.31.2024", "02.01.2024", "2024-02-01"),
    ):
        _, none, later = read([first], ["2024-01-05", None], [either])
        np.testing.assert_array_equal(later, once(expected))
        np.testing.assert_array_equal(none[:1], once("2024-01-05"))
    with pytest.raises(DataError, match=r"'day' .* month first, later ones have the day first: write the year first"):
        read(["02/01/2024"], ["03/01/2024"], ["31/01/2024"])
    read(["02.01.2024"], ["31.01.2024"], ["02.01.2024"])
