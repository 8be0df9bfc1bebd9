"""The exported front end gives what the NumPy transform gives, for typed columns and for raw cells."""

import datetime
import functools
import string

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.data.tabular import columns
from model_search.data.tabular.features import CategoryFeature, DateFeature, FeatureSchema, NumberFeature
from model_search.data.tabular.preprocess import Preprocessor
from model_search.finish.preprocessing_layers import preprocessing_model
from model_search.finish.raw_text import parse_columns

TOLERANCE = 1e-5
PARTS = ("days", "month", "day", "weekday", "hour")
NEW_PARTS = (*PARTS, *columns.SEASON_PARTS, *columns.WEEKDAY_PARTS)

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
words = st.one_of(
    texts.filter(lambda text: not text.strip().endswith("\0")),
    st.sampled_from(["", "a", "A", " a", "é", "日本", "[UNK]", "[other]", "a\nb", "a\0b", '"', "NaN", "1"]),
    st.sampled_from(["a b", "A, b! b", "É a", "a\u2003b\tunk", "\u0130 1", "it's a_1-日本", "NaN\vÉ\fa"]),
)
told_words = st.sampled_from(
    ["a", "b", "1", "é", "É", "日本", "unk", "nan", "ab", "a1日本", "a\0b", "\u0130", "a\u2003b"]
)
codes = st.integers(-3, 3) | st.just(2**24 + 1)
numbers = st.one_of(
    st.none(), st.floats(), st.integers(-(10**6), 10**6), st.sampled_from([1e30, -1e38, 1.7e9, 0.1]), codes
)
dates = st.one_of(st.none(), st.datetimes(), st.dates())
centers = st.floats(-1e9, 1e9)
scales = st.floats(1e-6, 1e9)


@st.composite
def means_of(draw, values):
    count = draw(st.integers(1, 3)) * (values + 1)
    return tuple(draw(st.lists(st.floats(-3, 3, width=32), min_size=count, max_size=count)))


@st.composite
def categories(draw, name):
    different = st.lists(words.map(str.strip), min_size=1, max_size=5, unique=True).map(tuple)
    told = draw(st.just(()) | st.lists(told_words, min_size=1, unique=True).map(tuple))
    vocabulary = draw(st.just(()) | different)
    if draw(st.booleans()):
        return CategoryFeature(name, vocabulary if told else draw(different), words=told)
    own = draw(different)
    means, places = draw(means_of(len(own))), draw(st.booleans())
    return CategoryFeature(name, vocabulary, mean_texts=own, means=means, places=places, words=told)


@st.composite
def features(draw, name):
    kind = draw(st.sampled_from(["number", "category", "date"]))
    indicator = draw(st.booleans())
    if kind == "number":
        own = tuple(sorted(map(float, draw(st.sets(codes)))))
        means = draw(means_of(len(own))) if own else ()
        return NumberFeature(
            name, draw(centers), draw(scales), indicator=indicator, whole=bool(own), mean_values=own, means=means
        )
    if kind == "category":
        return draw(categories(name))
    parts = tuple(draw(st.lists(st.sampled_from(NEW_PARTS), min_size=1, unique=True)))
    count = len(parts)
    fitted = [tuple(draw(st.lists(s, min_size=count, max_size=count))) for s in (centers, scales)]
    return DateFeature(name, parts, *fitted, indicator=indicator, order=draw(st.sampled_from(["ymd", "dmy", "mdy"])))


@st.composite
def tables(draw):
    schema = FeatureSchema(tuple(draw(features(f"c{i}")) for i in range(draw(st.integers(1, 5)))))
    rows = draw(st.integers(1, 4))
    cells = {NumberFeature: numbers, CategoryFeature: words, DateFeature: dates}
    frame = {f.column: draw(st.lists(cells[type(f)], min_size=rows, max_size=rows)) for f in schema.features}
    return schema, pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in frame.items()})


def assert_typed_columns_agree(schema, frame):
    preprocessor = Preprocessor(schema)
    typed = preprocessor.typed_columns(frame)
    expected = preprocessor.transform(typed)
    given_columns = [np.asarray(typed[name]) for name in schema.columns]
    matrix = np.asarray(preprocessing_model(schema)([as_tensor(values) for values in given_columns]))
    np.testing.assert_allclose(matrix, expected, atol=TOLERANCE)
    assert matrix.dtype == np.float32


def as_tensor(values):
    import tensorflow as tf

    return tf.constant(values)


@given(tables())
@settings(max_examples=40, deadline=None)
def test_typed_columns_give_the_same_numbers_as_the_transform(table):
    assert_typed_columns_agree(*table)


def test_every_day_of_four_centuries_around_leap_years():
    days = [datetime.date(1, 1, 1), datetime.date(9999, 12, 31), datetime.date(1900, 2, 28), datetime.date(2000, 2, 29)]
    days += [datetime.date(1896, 1, 1) + datetime.timedelta(days=11 * n) for n in range(5000)]
    centers, scales = (10957.0, 6.5, 15.5, 3.0, 12.0, *[0.0] * 9), (4000.0, 3.5, 9.0, 2.0, 7.0, *[1.0] * 9)
    feature = DateFeature("d", NEW_PARTS, centers, scales, indicator=True)
    assert_typed_columns_agree(FeatureSchema((feature,)), pd.DataFrame({"d": pd.Series(days, dtype=object)}))


@pytest.mark.parametrize(
    ("text", "is_date"),
    [
        ("2024-02-29", True),
        ("2023-02-29", False),
        ("1900-02-29", False),
        ("2024-04-31", False),
        ("2024-13-01", False),
        ("2024-00-10", False),
        ("0000-01-01", False),
        ("2024-01-31T23:59", True),
        ("2024-01-31 23:59:59", True),
        ("2024-01-31 24:00:00", False),
        ("2024-01-31 10:60", False),
        ("2024-01-31 1", False),
        ("2024-01-31 10x30", False),
        ("2024-01-31 10:30x20", False),
        ("2024-01-31_10:30", False),
        ("2024x01x31", False),
        ("2024-01-3", False),
        ("31-01-2024", False),
        ("日", False),
    ],
)
def test_what_counts_as_a_typed_date(text, is_date):
    feature = DateFeature("d", ("month",), (0.0,), (1.0,), indicator=True)
    matrix = np.asarray(preprocessing_model(FeatureSchema((feature,)))([as_tensor([text])]))
    assert matrix[0, 1] == (not is_date)
    assert (matrix[0, 0] != 0) == is_date


def test_a_small_scale_far_from_zero_does_not_drown_in_rounding():
    schema = FeatureSchema((NumberFeature("year", 2015.5, 1.3), NumberFeature("far", 2.0**23, 0.5)))
    frame = pd.DataFrame({"year": [2014.0, 2016.0], "far": [2.0**23 + 1, 2.0**23 - 1]})
    assert_typed_columns_agree(schema, frame)


def test_many_columns_make_no_larger_a_graph():
    def operations(columns):
        kinds = (NumberFeature("n", 0.0, 1.0, indicator=True), CategoryFeature("c", ("a", "b")))
        schema = FeatureSchema(kinds * columns)
        model = preprocessing_model(schema)
        return len(model.operations) - len(model.inputs)

    assert operations(60) == operations(2)


def test_means_of_many_categories_are_looked_up():
    """More texts than anybody would give columns of their own; the unknown and the missing have the mean of all."""
    own = tuple(f"Z{number:05}" for number in range(3000))
    rng = np.random.default_rng(0)
    means = tuple(np.append(rng.normal(size=3000).clip(-3, 3), 0.0).tolist())
    schema = FeatureSchema(
        (
            NumberFeature("n", 0.0, 1.0),
            CategoryFeature("zip", (), mean_texts=own, means=means),
            CategoryFeature("few", ("a", "b")),
            CategoryFeature("both", ("a",), mean_texts=("", "a", "b"), means=(0.5, 0.1, 1.5, -1.0, -2.5, 2.0, 0, 0)),
        )
    )
    frame = pd.DataFrame(
        {
            "n": [1.0] * 4,
            "zip": ["Z00000", "Z02999", "Z9", ""],
            "few": ["a", "c", "", "b"],
            "both": ["", "a", "b", "c"],
        }
    )
    assert_typed_columns_agree(schema, frame)
    matrix = Preprocessor(schema).transform(frame)
    np.testing.assert_array_equal(matrix[:, 1], np.array([means[0], means[2999], 0, 0], np.float32))
    np.testing.assert_allclose(
        matrix[:, 5:], [[0, 1, 0.5, 0.1], [1, 0, 1.5, -1], [0, 1, -2.5, 2], [0, 1, 0, 0]], atol=1e-7
    )


def test_words_are_split_as_keras_splits_them():
    words = ("ac", "good", "itsnotgood", "und", "日本", "é", "ä1")
    schema = FeatureSchema((CategoryFeature("t", ("good",), words=words), CategoryFeature("u", (), words=("good",))))
    texts = [
        "A/C: GOOD!",
        "It's_not-good",
        "good\tund\nund",
        "Good",
        "日本 É é",
        "Ä1 ä1",
        string.punctuation,
        "",
        "go od",
    ]
    frame = pd.DataFrame({"t": texts, "u": texts[::-1]})
    assert_typed_columns_agree(schema, frame)
    has = Preprocessor(schema).transform(frame)[:, 2:-1].astype(bool)
    found = [[word for word, there in zip(words, row, strict=True) if there] for row in has]
    assert found == [["ac", "good"], ["itsnotgood"], ["good", "und"], ["good"], ["日本", "é"], ["ä1"], [], [], []]


def test_a_category_that_ends_with_nul_is_everything_else():
    schema = FeatureSchema((CategoryFeature("c", ("", "\0", "a", "a\0")), CategoryFeature("d", ("b\0",))))
    cells = [as_tensor(["", "\0", "a", "a\0"]), as_tensor(["b", "b\0", "", "a"])]
    matrix = np.asarray(preprocessing_model(schema)(cells))
    assert matrix[:, :5].argmax(axis=1).tolist() == [0, 4, 2, 4]
    assert matrix[:, 5:].tolist() == [[0.0, 1.0]] * 4


CELLS = (
    *(
        "",
        "NA",
        "n/a",
        "-",
        "?",
        "None",
        ".",
        "1,234.5",
        "1,23",
        "+.5",
        "5.",
        "1e5",
        "1e999",
        "1_000",
        "0x10",
        "١٢",
        "3.0",
    ),
    *("\u2003a\xa0", "2020-1-2", "2020-02/01", "13.12.1999 7:08:09.25", "2/30/2020", "20/12/31", "1-1-2020 25:00"),
    *("1/2/2020 6:05 pm", "1/2/2020 12:00AM", "1/2/2020 12:30 pm", "1/2/2020 13:00 PM", "2020-01-01  9:30"),
    *("2020-01-01T10:00:00Z", "2020-01-01 10:00+02:00", "2020-01-01 10:00:00.25+02", "2020-01-01 10:00 -0330"),
    *("2020-01-01 10:00:00 UTC", "2020-01-01-05", "2020-01-01 +05", "1.2.2020 10:00 PM UTC", "2020-01-01 10:00+02Z"),
)
raw_cells = st.one_of(
    st.from_regex(columns.PLAIN_NUMBER, fullmatch=True),
    st.from_regex(columns.GROUPED_NUMBER, fullmatch=True),
    st.from_regex(columns._YEAR_FIRST, fullmatch=True),
    st.from_regex(columns._YEAR_LAST, fullmatch=True),
    texts,
    st.builds(
        "{}{}{}".format, st.sampled_from(["", " ", "\t", "\u2003", "\xa0"]), texts, st.sampled_from(["", " ", "\n"])
    ),
    st.floats().map(str),
    st.integers().map(str),
    st.integers().map("{:,}".format),
    st.datetimes().map(str),
    st.dates().map(lambda day: f"{day.day}/{day.month}/{day.year:04}"),
    st.dates().map(lambda day: f"{day.year:04}.{day.month:02}.{day.day}"),
    st.sampled_from(CELLS),
)


@functools.cache
def schema_and_layers(order):
    vocabulary = ("", "NA", "a", "é", "1", "3.0", "\u2003", "1,234.5")
    schema = FeatureSchema(
        (
            NumberFeature("n", 3.0, 2.0, indicator=True),
            CategoryFeature("c", vocabulary),
            CategoryFeature("m", vocabulary[:3], mean_texts=vocabulary[2:], means=tuple(map(float, range(7)))),
            DateFeature("d", PARTS, (18000.0, 6.0, 15.0, 3.0, 12.0), (3000.0, 3.0, 9.0, 2.0, 7.0), True, order),
        )
    )
    return schema, preprocessing_model(schema)


@given(st.lists(raw_cells, min_size=1, max_size=12), st.sampled_from(["ymd", "dmy", "mdy"]))
@settings(max_examples=60, deadline=None)
def test_raw_cells_give_the_same_numbers_as_the_transform(cells, order):
    assert_raw_cells_agree(cells, order)


@pytest.mark.parametrize("order", ["ymd", "dmy", "mdy"])
def test_every_known_writing_gives_the_same_numbers(order):
    assert_raw_cells_agree(list(CELLS), order)


@pytest.mark.parametrize(
    "cells",
    [
        ["02/03/2020"],
        ["2.3.2020", "4/5/2020"],
        ["4/5/2020", "2.3.2020"],
        ["2/3/2020", "25/3/2020"],
        ["2.3.2020", "3.25.2020"],
    ],
)
def test_dates_with_the_year_last_are_read_by_those_beside_them(cells):
    assert_raw_cells_agree(cells, "ymd")


def assert_raw_cells_agree(cells, order):
    schema, layers = schema_and_layers(order)
    expected = Preprocessor(schema).transform({name: pd.Series(cells, dtype=object) for name in schema.columns})
    typed = parse_columns([as_tensor(cells)] * len(schema.features), schema.features)
    np.testing.assert_allclose(np.asarray(layers(typed)), expected, atol=TOLERANCE)


@pytest.mark.parametrize("vocabulary", [("FALSE", "TRUE"), ("", "True"), ("false", "maybe", "true"), ("True", "true")])
def test_booleans_are_read_in_any_spelling(vocabulary):
    cells = ["TRUE", " true", "True", "FALSE", "fAlse", "fal\u017fe", "", "maybe", "true\n", "x true", "true\nx"]
    schema = FeatureSchema((CategoryFeature("c", vocabulary), CategoryFeature("d", ("true",), numeric=True)))
    expected = Preprocessor(schema).transform({name: pd.Series(cells, dtype=object) for name in schema.columns})
    typed = parse_columns([as_tensor(cells)] * 2, schema.features)
    np.testing.assert_allclose(np.asarray(preprocessing_model(schema)(typed)), expected, atol=TOLERANCE)
    assert_typed_columns_agree(schema, pd.DataFrame({"c": [True, False], "d": [False, True]}))


def test_a_whole_number_written_with_a_fraction_is_its_category():
    feature = CategoryFeature("c", ("1", "2.5"), numeric=True)
    [column] = parse_columns([as_tensor(["1.0", "2.5", "x.0"])], [feature])
    assert column.numpy().tolist() == [b"1", b"2.5", b"x.0"]
