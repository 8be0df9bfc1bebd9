"""Times with fractions of a second, and days as categories: a frame, a file and the SavedModel read the same."""

import io

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.data.tabular.categories.target_means import Target
from model_search.data.tabular.features import DATE_PARTS, CategoryFeature, DateFeature, FeatureSchema
from model_search.data.tabular.preprocess import Preprocessor
from model_search.data.tabular.schema import infer_schema
from model_search.finish.raw_text import parse_columns

ENDS = pd.period_range("2023-01-31", periods=60, freq="D").end_time  # each at 23:59:59.999999999
TARGET = Target(np.arange(60) % 2, 2)
FEATURE = DateFeature("c", DATE_PARTS, (0.0, 6.0, 15.0, 3.0, 12.0), (9e3, 3.0, 9.0, 2.0, 7.0), in_seconds=True)


def infer(cells, rules=7):
    schema, _ = infer_schema(pd.DataFrame({"c": cells}), TARGET, rules=rules)
    return schema.features[0]


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
def test_the_end_of_a_day_is_that_day(unit):
    typed = pd.Series(ENDS).astype(f"datetime64[{unit}]")
    feature = infer(typed)
    assert feature == infer(typed.astype(str)) == infer(typed.dt.floor("s"))
    assert "hour" not in feature.parts  # 23 in each row
    texts = Preprocessor(FeatureSchema((feature,))).typed_columns({"c": typed})["c"]
    assert texts.tolist() == [f"{day:%Y-%m-%d} 23:59:59" for day in ENDS]


def test_a_study_that_began_before_goes_on_rounding():
    before = infer(ENDS, rules=6)
    assert not before.in_seconds
    assert before.centers[0] == infer(ENDS).centers[0] + 1 / 86400
    schema = FeatureSchema((before,)).to_json()
    del schema["features"][0]["in_seconds"]  # what an earlier version stored
    texts = Preprocessor.from_json(schema).typed_columns({"c": ENDS})["c"]
    assert texts[0] == "2023-02-01 00:00:00"


@given(
    st.lists(st.datetimes(pd.Timestamp.min.ceil("s"), pd.Timestamp.max.floor("s")), min_size=1, max_size=9),
    st.sampled_from(["ns", "us", "ms", "s"]),
    st.sampled_from([None, "UTC", "+05:30"]),
)
@settings(max_examples=60, deadline=None)
def test_a_frame_a_file_and_the_saved_model_agree(moments, unit, zone):
    typed = pd.Series(moments).astype(f"datetime64[{unit}]")
    typed = typed if zone is None else typed.dt.tz_localize(zone)
    frame = pd.DataFrame({"c": typed})
    written = pd.read_csv(io.StringIO(frame.to_csv(index=False)), dtype=str)
    preprocessor = Preprocessor(FeatureSchema((FEATURE,)))
    np.testing.assert_array_equal(preprocessor.transform(frame), preprocessor.transform(written))
    (raw,) = parse_columns([tf.constant(written["c"].tolist())], [FEATURE])
    assert [text.decode() for text in raw.numpy()] == preprocessor.typed_columns(frame)["c"].tolist()


@pytest.mark.parametrize(("freq", "zone"), [("D", None), ("12h", None), ("D", "UTC")])
def test_days_that_are_categories_are_known_to_a_file_of_them(freq, zone):
    days = pd.date_range("2024-01-01", periods=3, freq=freq, tz=zone)
    frame = pd.DataFrame({"c": pd.Series(days[np.arange(60) % 3]).astype("category")})
    feature = infer(frame["c"])
    assert isinstance(feature, CategoryFeature)
    written = pd.read_csv(io.StringIO(frame.to_csv(index=False)), dtype=str)
    preprocessor = Preprocessor(FeatureSchema((feature,)))
    matrix = preprocessor.transform(frame)
    assert matrix[:3].argmax(axis=1).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(preprocessor.transform(written), matrix)
    (raw,) = parse_columns([tf.constant(written["c"].tolist())], [feature])
    assert [text.decode() for text in raw.numpy()] == preprocessor.typed_columns(frame)["c"].tolist()


def test_a_study_that_began_before_goes_on_with_the_times_of_its_days():
    days = pd.Series(pd.date_range("2024-01-01", periods=2)[np.arange(60) % 2]).astype("category")
    assert infer(days, rules=6).vocabulary == ("2024-01-01 00:00:00", "2024-01-02 00:00:00")
