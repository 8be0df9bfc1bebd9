"""What a column is found to be, rule by rule."""

import numpy as np
import pandas as pd
import pytest

from model_search.data import array_data
from model_search.data.prepare_options import RULES_AS_IN_FILES, PrepareOptions
from model_search.data.tabular.categories.target_means import Target
from model_search.data.tabular.columns import SEASON_PARTS, WEEKDAY_PARTS
from model_search.data.tabular.features import DATE_PARTS, CategoryFeature, DateFeature, FeatureSchema, NumberFeature
from model_search.data.tabular.preprocess import Preprocessor
from model_search.data.tabular.schema import infer_schema, robust_scale
from model_search.errors import DataError

ROWS = 400
RNG = np.random.default_rng(7)
CLASSES = RNG.integers(0, 2, ROWS)
TARGET = Target(CLASSES, 2)


def infer(values, kinds=None, target=TARGET):
    """The feature of a column (None where it is dropped), the reason, the notes."""
    frame = pd.DataFrame({"c": pd.Series(values), "other": RNG.normal(size=len(values))})
    schema, notes = infer_schema(frame, target, kinds)
    feature = next((f for f in schema.features if f.column == "c"), None)
    return feature, schema.dropped.get("c", ""), notes


def texts(values):
    return np.array([str(value) for value in values], dtype=object)


def test_numbers_are_standardised_robustly():
    values = RNG.normal(5, 2, ROWS)
    values[0] = 1e9
    feature, _, _ = infer(texts(values))
    assert isinstance(feature, NumberFeature)
    assert abs(feature.center - 5) < 0.5
    assert abs(feature.scale - 2) < 0.5
    assert not (feature.indicator or feature.as_text or feature.whole)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0] * 90 + [10.0] * 10, (0.0, 3.0)),
        ([4.0] * 10, (4.0, 1.0)),
        ([1.0, 2.0, 3.0], (2.0, 1 / 1.349)),
        ([0.1 + 0.2, 0.3, 0.3, 0.3], (0.3, 1.0)),
    ],
)
def test_scale_falls_back(values, expected):
    assert robust_scale(np.array(values)) == pytest.approx(expected)


def test_whole_numbers_of_few_values_stay_numbers():
    feature, _, _ = infer(texts(RNG.integers(0, 3, ROWS)))
    assert isinstance(feature, NumberFeature)
    assert feature.whole


@pytest.mark.parametrize("marker", ["", " ", "NA", "n/a", "NaN", "null", "None", "?", "-", "<NA>"])
def test_missing_markers_in_numbers(marker):
    values = texts(np.round(RNG.normal(size=ROWS), 3))
    values[::50] = marker
    feature, _, notes = infer(values)
    assert isinstance(feature, NumberFeature)
    assert not notes
    row = Preprocessor(FeatureSchema((feature,))).transform({"c": [marker, None, "0"]})
    assert row[0, 0] == row[1, 0] == 0


def test_blanks_and_thousands_separators():
    values = np.array([f"{v:,}" for v in RNG.integers(100, 99999, ROWS)], dtype=object)
    values[5] = " "
    feature, _, _ = infer(values)
    assert feature.as_text
    assert not infer(texts(RNG.normal(size=ROWS)))[0].as_text
    matrix = Preprocessor(FeatureSchema((feature,))).transform({"c": ["12,345", "12345", "12345.0"]})
    assert matrix[0] == matrix[1] == matrix[2]


def test_a_few_words_among_numbers_are_missing_with_a_note():
    values = texts(np.round(RNG.normal(size=ROWS), 3))
    values[:8] = "unknown"
    feature, _, notes = infer(values)
    assert isinstance(feature, NumberFeature)
    assert any("'unknown'" in note and "read as missing" in note for note in notes)


def test_indicator_only_where_missing_is_informative():
    values = texts(np.round(RNG.normal(size=ROWS), 3))
    telling = values.copy()
    telling[np.flatnonzero(CLASSES)[:60]] = ""
    assert infer(telling)[0].indicator
    silent = values.copy()
    silent[np.flatnonzero(CLASSES)[:30]] = ""
    silent[np.flatnonzero(CLASSES == 0)[:30]] = ""
    assert not infer(silent)[0].indicator
    amounts = RNG.normal(size=ROWS)
    high = values.copy()
    high[np.argsort(amounts)[-40:]] = ""
    assert infer(high, target=Target(amounts, 0))[0].indicator
    constant = np.array(["1"] * ROWS, dtype=object)
    constant[np.flatnonzero(CLASSES)[:60]] = ""
    feature, _, _ = infer(constant)
    matrix = Preprocessor(FeatureSchema((feature,))).transform({"c": ["", "1"]})
    assert matrix.tolist() == [[0, 1], [0, 0]]


def test_categories_seen_often_enough():
    values = np.array(["red", "green", "blue"], dtype=object)[RNG.integers(0, 3, ROWS)]
    values[0] = "mauve"
    feature, _, _ = infer([f" {value} " for value in values])
    assert feature == CategoryFeature("c", ("blue", "green", "red"))


def test_missing_is_a_category_where_it_is_frequent():
    values = np.array(["", "NA", "u", "v"], dtype=object)[RNG.integers(0, 4, ROWS)]
    feature, _, _ = infer(values)
    assert feature.vocabulary == ("", "u", "v")
    matrix = Preprocessor(FeatureSchema((feature,))).transform({"c": ["?", None, float("nan"), "u", "new"]})
    assert matrix.argmax(1).tolist() == [0, 0, 0, 1, 3]


def test_categories_are_capped():
    common = np.array([f"k{i % 150:03}" for i in range(3000)], dtype=object)
    common[:2000] = np.array([f"k{i % 50:03}" for i in range(2000)], dtype=object)
    halves = Target(np.arange(3000) % 2, 2)
    schema, notes = infer_schema(pd.DataFrame({"c": common}), halves, rules=RULES_AS_IN_FILES)
    (feature,) = schema.features
    assert len(feature.vocabulary) == 100
    assert {f"k{i:03}" for i in range(50)} <= set(feature.vocabulary)
    assert any("50 of its 150 categories" in note for note in notes)
    feature, _, notes = infer(common, target=halves)
    assert len(feature.vocabulary) == 150
    assert not notes


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([f"id-{i:05}" for i in range(ROWS)], "identifier"),
        (list(map(str, range(1, ROWS + 1))), "numbers the rows"),
        (list(map(str, RNG.permutation(ROWS * 2)[:ROWS] + 10_000)), "numbers the rows"),
        (np.arange(ROWS), "numbers the rows"),
        (["7"] * ROWS, "same value in every row"),
        (["x"] * ROWS, "same value in every row"),
        (["x"] * (ROWS - 1) + ["y"], "same value in nearly every row"),
        ([""] * ROWS, "no values"),
        ([np.nan] * ROWS, "no values"),
        ([f"some words of text number {i // 2}" for i in range(ROWS)], "free text"),
        ([f"k{i // 2}" for i in range(ROWS)], "too many different values"),
        (["2020-01-05"] * ROWS, "same date"),
    ],
)
def test_columns_of_no_use_are_dropped_with_the_reason(values, reason):
    feature, dropped, notes = infer(values)
    assert feature is None
    assert reason in dropped
    assert any("column 'c' was left out" in note and reason in note for note in notes)


def test_distinct_measurements_are_no_identifiers():
    assert isinstance(infer(texts(RNG.permutation(10**7)[:ROWS]))[0], NumberFeature)
    assert isinstance(infer(texts(RNG.normal(size=ROWS)))[0], NumberFeature)


def test_a_counter_is_kept_where_there_is_nothing_else():
    schema, notes = infer_schema(pd.DataFrame({"time": np.arange(ROWS)}), TARGET)
    assert schema.columns == ("time",)
    assert schema.dropped == {}
    assert any("identifier" in note for note in notes)


def test_no_use_at_all():
    with pytest.raises(DataError, match="'a': it has the same value"):
        infer_schema(pd.DataFrame({"a": ["1"] * ROWS}), TARGET)


def test_the_user_decides():
    zips = texts(RNG.integers(10, 14, ROWS))
    assert infer(zips, {"c": "text"})[0] == CategoryFeature("c", ("10", "11", "12", "13"))
    assert isinstance(infer(texts(range(ROWS)), {"c": "number"})[0], NumberFeature)
    mixed = texts(RNG.integers(0, 5, ROWS))
    mixed[::3] = "word"
    assert isinstance(infer(mixed)[0], CategoryFeature)
    assert isinstance(infer(mixed, {"c": "number"})[0], NumberFeature)


DATES = pd.Timestamp("2021-03-01") + pd.to_timedelta(RNG.integers(0, 900, ROWS), unit="D")


@pytest.mark.parametrize(
    ("form", "order"),
    [("%Y-%m-%d", "ymd"), ("%Y/%m/%d", "ymd"), ("%d/%m/%Y", "dmy"), ("%m/%d/%Y", "mdy"), ("%d.%m.%Y", "dmy")],
)
def test_dates_in_every_order(form, order):
    feature, _, _ = infer(DATES.strftime(form).to_numpy(dtype=object))
    assert isinstance(feature, DateFeature)
    assert feature.parts == ("days", "month", "day", "weekday", *SEASON_PARTS, *WEEKDAY_PARTS)
    assert feature.order == order
    both = Preprocessor(FeatureSchema((feature,))).transform({"c": [DATES[0].strftime(form), "2022-02-03"]})
    typed = Preprocessor(FeatureSchema((feature,))).transform(
        pd.DataFrame({"c": [DATES[0], pd.Timestamp("2022-02-03")]})
    )
    np.testing.assert_array_equal(both, typed)


@pytest.mark.parametrize(
    ("step", "days", "parts"),
    [
        (1, 365, (*SEASON_PARTS, *WEEKDAY_PARTS)),
        (1, 183, WEEKDAY_PARTS),
        (1, 184, (*SEASON_PARTS, *WEEKDAY_PARTS)),
        (7, 699, SEASON_PARTS),
        (1, 2, ("monday", "tuesday", "wednesday")),
    ],
)
def test_parts_of_the_year_and_of_the_week(step, days, parts):
    """From rules 8 on; 2024-01-01 is a Monday."""
    stamps = pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(400) * step % (days + 1), unit="D"))
    stamps = stamps[stamps <= stamps[0] + pd.Timedelta(days=days)].rename("c")
    schema, _ = infer_schema(stamps.to_frame(), Target(np.zeros(len(stamps)), 0))
    (feature,) = schema.features
    assert tuple(part for part in feature.parts if part not in DATE_PARTS) == parts
    before, _ = infer_schema(stamps.to_frame(), Target(np.zeros(len(stamps)), 0), rules=RULES_AS_IN_FILES)
    assert before.features[0].parts == tuple(part for part in feature.parts if part in DATE_PARTS)


def test_times_give_hours_and_bad_dates_are_missing():
    stamps = DATES + pd.to_timedelta(RNG.integers(0, 24, ROWS), unit="h")
    feature, _, _ = infer(stamps.strftime("%Y-%m-%dT%H:%M:%SZ").to_numpy(dtype=object))
    assert feature.parts[4] == "hour"
    matrix = Preprocessor(FeatureSchema((feature,))).transform({"c": ["2021-02-30", "soon", ""]})
    assert not matrix.any()


ZONED = [(DATES + pd.to_timedelta(RNG.integers(0, 86400, ROWS), unit="s")).strftime(f"%Y-%m-%d %H:%M:%S{zone}")
         for zone in ("+01", "-05", " UTC", ".25+01")]  # fmt: skip


@pytest.mark.parametrize("cells", ZONED, ids=lambda cells: cells[0][19:])
def test_the_zones_that_databases_write(cells):
    feature, _, _ = infer(cells.to_numpy(dtype=object))
    assert isinstance(feature, DateFeature)
    assert feature.parts[4] == "hour"
    matrix = Preprocessor(FeatureSchema((feature,))).transform({"c": [cells[0], cells[0][:19], cells[0][:10] + "-05"]})
    np.testing.assert_array_equal(matrix[0], matrix[1])
    assert not matrix[2].any()  # the hour of a zone follows a time only
    frame = pd.DataFrame({"c": cells, "other": np.arange(ROWS) % 7})
    by_time = array_data.Provider(frame, CLASSES, time="c").prepare(PrepareOptions(seed=0, batch_size=4))
    assert by_time.description["split"]["by"] == "time"


@pytest.mark.parametrize("cells", ZONED, ids=lambda cells: cells[0][19:])
def test_a_study_of_before_goes_on_without_zones_that_it_did_not_read(cells):
    frame = pd.DataFrame({"c": cells, "n": np.arange(ROWS) % 7})
    options = PrepareOptions(seed=0, batch_size=4, reading_rules=2)
    assert set(array_data.Provider(frame, CLASSES).prepare(options).description["schema"]["dropped"]) == {"c"}
    mixed = infer_schema(frame.assign(c=[*cells[:10], *cells[10:].str[:19]]), TARGET, rules=2)
    assert [f.column for f in mixed[0].features] == ["c", "n"]
    assert any("10 rows hold no date" in note for note in mixed[1])


def test_ambiguous_dates_are_noted():
    feature, _, notes = infer([f"{i % 12 + 1:02}/{i % 7 + 1:02}/{2000 + i % 5}" for i in range(ROWS)])
    assert feature.order == "mdy"
    assert any("read in two ways" in note and "month first" in note for note in notes)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (pd.Series(CLASSES.astype(bool)), CategoryFeature("c", ("False", "True"), numeric=True)),
        (pd.Series(CLASSES).astype("category"), CategoryFeature("c", ("0", "1"), numeric=True)),
        (pd.Series(CLASSES + 0.0).astype("category"), CategoryFeature("c", ("0", "1"), numeric=True)),
        (pd.Series(texts(CLASSES)).astype("category"), CategoryFeature("c", ("0", "1"))),
        (pd.Series(np.where(CLASSES, "u", "v")).astype("string"), CategoryFeature("c", ("u", "v"))),
    ],
)
def test_typed_columns(series, expected):
    assert infer(series)[0] == expected


@pytest.mark.parametrize("dtype", ["int8", "float32", "Int64", "Float64", "uint16"])
def test_typed_numbers(dtype):
    feature, _, _ = infer(pd.Series(RNG.integers(0, 90, ROWS)).astype(dtype))
    assert isinstance(feature, NumberFeature)
    assert feature.whole


def test_typed_dates_with_zones_and_gaps():
    stamps = pd.Series(DATES).dt.tz_localize("Europe/Zurich")
    stamps[3] = pd.NaT
    feature, _, _ = infer(stamps)
    assert isinstance(feature, DateFeature)
    assert np.isfinite(Preprocessor(FeatureSchema((feature,))).transform(pd.DataFrame({"c": stamps}))).all()


@pytest.mark.parametrize("dtype", ["timestamp[us]", "timestamp[ns]", "timestamp[s]", "zoned", "date32", "date64"])
def test_typed_dates_of_arrow(dtype):
    arrow = pytest.importorskip("pyarrow")
    types = {"zoned": arrow.timestamp("us", tz="Europe/Zurich"), "date32": arrow.date32(), "date64": arrow.date64()}
    wanted = pd.ArrowDtype(types[dtype] if dtype in types else arrow.timestamp(dtype[10:-1]))
    numpy = pd.Series(DATES + pd.to_timedelta(0 if "date" in dtype else 7, unit="h"))
    numpy = numpy.dt.tz_localize("Europe/Zurich") if dtype == "zoned" else numpy
    numpy[3] = pd.NaT
    stamps = numpy.astype(wanted)
    feature, _, _ = infer(stamps)
    assert feature == infer(numpy)[0]
    assert isinstance(feature, DateFeature)
    matrices = [Preprocessor(FeatureSchema((feature,))).transform(pd.DataFrame({"c": one})) for one in (stamps, numpy)]
    np.testing.assert_array_equal(*matrices)
    assert np.isfinite(matrices[0]).all()


def test_unsupported_types_are_named():
    assert "durations" in infer(pd.Series(pd.to_timedelta(range(ROWS), unit="h")))[1]
    assert "complex" in infer(pd.Series(RNG.normal(size=ROWS) + 1j))[1]


def test_durations_of_arrow_are_left_out_as_those_of_numpy_are():
    arrow = pytest.importorskip("pyarrow")
    hours = pd.to_timedelta(np.arange(ROWS) % 7, unit="h")
    numpy, of_arrow = (pd.Series(hours, dtype=one) for one in (None, pd.ArrowDtype(arrow.duration("s"))))
    frame = pd.DataFrame({"c": of_arrow, "n": np.arange(ROWS) % 7})
    schema, notes = infer_schema(frame, TARGET)
    assert schema.dropped == infer_schema(frame.assign(c=numpy), TARGET)[0].dropped
    assert "durations are not supported; give them as a number of seconds or days" in schema.dropped["c"]
    assert any("'c' was left out: durations" in note for note in notes)
    # A study of before goes on with the categories that it has made of them.
    before = infer_schema(frame, TARGET, rules=3)[0]
    assert [type(one) for one in before.features] == [CategoryFeature, NumberFeature] and not before.dropped


def test_nullable_columns_of_every_type_are_prepared():
    frame = pd.DataFrame(
        {
            "flag": pd.array([True, None] * 40, dtype="boolean"),
            "text": pd.array(["u", None, "v", "u"] * 20, dtype="string"),
            "mixed": pd.Series([1, "one", None, pd.NA] * 20, dtype=object),
        }
    )
    data = array_data.Provider(frame, np.arange(80) % 2).prepare(PrepareOptions(seed=0, batch_size=4))
    assert [feature.vocabulary for feature in data.preprocessor.schema.features] == [
        ("", "True"),
        ("", "u", "v"),
        ("", "1", "one"),
    ]
