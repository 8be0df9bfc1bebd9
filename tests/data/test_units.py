"""Columns of text whose numbers have a unit: "$1,200", "36 months", "12.5%"."""

import re

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.data import array_data, csv_data
from model_search.data.prepare_options import PrepareOptions
from model_search.data.tabular.categories.target_means import Target
from model_search.data.tabular.columns import NO_UNIT, Unit, common_unit, parse_numbers
from model_search.data.tabular.features import FeatureSchema, NumberFeature
from model_search.data.tabular.preprocess import Preprocessor
from model_search.data.tabular.schema import infer_schema
from model_search.errors import DataError
from model_search.finish.raw_text import canonical_texts, parse_columns

ROWS = 300
NUMBERS = np.random.default_rng(3).normal(2000, 900, ROWS).round(2)
TARGET = Target(np.arange(ROWS) % 2, 2)
WRITTEN = {
    "$": [f"${number:,.2f}".replace("$-", "-$") for number in NUMBERS],
    "a sign after it": [f"$ {number}" for number in NUMBERS],
    "US$": [f"US${number}" for number in NUMBERS],
    "code": [f"EUR {number}" for number in NUMBERS],
    "€ after": [f"{number:,.2f}\u00a0€" for number in NUMBERS],
    "%": [f"{number}%" for number in NUMBERS],
    "kg": [f"{number} kg" for number in NUMBERS],
    "km/h": [f"{number}km/h" for number in NUMBERS],
    "m²": [f"{number} m²" for number in NUMBERS],
    "°C": [f"{number}°C" for number in NUMBERS],
    "plural": [f"{number} year{'' if row % 2 else 's'}" for row, number in enumerate(NUMBERS)],
    "some without": [f"{number}{' kg' if row % 3 else ''}" for row, number in enumerate(NUMBERS)],
    "some missing": ["n/a" if row % 40 == 0 else f"{number} kg" for row, number in enumerate(NUMBERS)],
}


def infer(texts, kinds=None, rules=6):
    frame = pd.DataFrame({"c": texts, "other": NUMBERS[::-1]})
    schema, notes = infer_schema(frame, TARGET, kinds, rules)
    return next((one for one in schema.features if one.column == "c"), None), notes


@pytest.mark.parametrize("how", WRITTEN)
def test_they_are_read_as_the_same_numbers_without(how):
    feature, notes = infer(WRITTEN[how])
    assert isinstance(feature, NumberFeature) and feature.unit and feature.as_text
    assert any("'c': its texts are read as numbers, without" in note for note in notes)
    is_missing = np.array([text == "n/a" for text in WRITTEN[how]])
    plain, _ = infer(np.where(is_missing, np.nan, NUMBERS))
    assert (feature.center, feature.scale) == pytest.approx((plain.center, plain.scale))
    preprocessor = Preprocessor(FeatureSchema.from_json(FeatureSchema((feature,)).to_json()))
    expected = np.where(is_missing, np.nan, NUMBERS)
    np.testing.assert_array_equal(preprocessor.typed_columns({"c": WRITTEN[how]})["c"], expected.astype(feature.dtype))
    np.testing.assert_array_equal(
        preprocessor.transform({"c": WRITTEN[how]})[:, 0], preprocessor.transform({"c": expected})[:, 0]
    )
    (typed,) = parse_columns([tf.constant(WRITTEN[how])], [feature])
    np.testing.assert_array_equal(typed.numpy(), expected)


@pytest.mark.parametrize(
    "texts",
    [
        [f"{row % 7}{'abcdefg'[row % 7]}" for row in range(ROWS)],  # each number another letter: codes
        [f"A{row}" for row in range(ROWS)],
        [f"2021-03-{row % 28 + 1:02d}" for row in range(ROWS)],
        [f"{row % 24:02d}:30" for row in range(ROWS)],
        [f"{row % 9} of {row % 5}" for row in range(ROWS)],
    ],
)
def test_codes_and_dates_have_no_unit(texts):
    feature, _ = infer(texts)
    assert not isinstance(feature, NumberFeature)


def test_a_study_that_began_before_goes_on_with_its_reading():
    assert infer(WRITTEN["kg"], rules=5)[0] is None
    assert infer(WRITTEN["kg"], kinds={"c": "number"}, rules=6)[0].unit == Unit("", "kg")
    data = array_data.Provider(pd.DataFrame({"c": WRITTEN["kg"], "d": NUMBERS}), TARGET.values)
    names = {
        rules: [one["column"] for one in prepared.description["schema"]["features"]]
        for rules in (5, 6)
        for prepared in [data.prepare(PrepareOptions(1, 32, reading_rules=rules))]
    }
    assert names == {5: ["d"], 6: ["c", "d"]}


def test_in_a_file_with_decimal_commas_they_stay_texts(tmp_path):
    """There "1.234 €" is 1234."""
    path = tmp_path / "t.csv"
    path.write_text("a;price;y\n" + "".join(f"{i},5;1.{i} €;{'uv'[i % 2]}\n" for i in range(100, 200)), "utf-8")
    schema = csv_data.Provider(filename=path, label="y").prepare(PrepareOptions(1, 8)).description["schema"]
    assert [feature["column"] for feature in schema["features"]] == ["a"] and "price" in schema["dropped"]


def test_what_has_another_unit_later_is_missing_with_a_note():
    feature, _ = infer(WRITTEN["kg"])
    said = []
    Preprocessor(FeatureSchema((feature,))).transform({"c": ["5 kg", "5", "5 lb"]}, said.append)
    assert said == ["column 'c': 1 row holds no number ('5 lb'), read as missing"]


def test_labels_with_a_unit_are_classes_and_that_is_said():
    frame = pd.DataFrame({"x": NUMBERS})
    with pytest.raises(DataError, match=r"look like numbers with '\$': to predict numbers, give them without"):
        array_data.Provider(frame, WRITTEN["$"]).prepare(PrepareOptions(1, 32))
    with pytest.raises(DataError, match=r"regression needs numbers.*look like numbers with '\$'"):
        array_data.Provider(frame, WRITTEN["$"], task="regression").prepare(PrepareOptions(1, 32))
    labels = [f"{row % 30} kg" for row in range(ROWS)]
    said = array_data.Provider(frame, labels).prepare(PrepareOptions(1, 32)).task.inferred
    assert "one of 30 classes" in said and "look like numbers with 'kg'" in said
    few = array_data.Provider(frame, [f"{row % 3} kg" for row in range(ROWS)]).prepare(PrepareOptions(1, 32))
    assert "look like" not in few.task.inferred


@pytest.mark.parametrize(
    "durations",
    [
        pd.to_timedelta(np.arange(ROWS) * 37 - 90, unit="s"),
        pd.Series(pd.to_timedelta(np.arange(ROWS) * 37, unit="s").to_pytimedelta(), dtype=object),
    ],
)
def test_labels_that_are_durations_are_classes_and_that_is_said(durations):
    frame = pd.DataFrame({"x": NUMBERS})
    for task, words in ((None, "every class has too few rows"), ("regression", "are no numbers")):
        with pytest.raises(
            DataError, match=rf"{words}.*look like durations: .* \(of pandas: \.dt\.total_seconds\(\)\)"
        ):
            array_data.Provider(frame, durations, task=task).prepare(PrepareOptions(1, 32))
    said = array_data.Provider(frame, durations[np.arange(ROWS) % 30]).prepare(PrepareOptions(1, 32)).task.inferred
    assert "one of 30 classes" in said and "look like durations" in said


@pytest.mark.parametrize(
    ("template", "is_said"),
    [("{} €", True), ("EUR {}", True), ("${}", True), ("{} kg", False)],
)
def test_points_before_three_digits_of_money_are_said(template, is_said):
    amounts = [f"{row % 9 + 1}.{row + 100}" if row % 7 else f"{row + 100}" for row in range(ROWS)]
    feature, notes = infer([template.format(amount) for amount in amounts], rules=7)
    assert feature.unit and 1 < feature.center < 10
    said = [note for note in notes if "two ways" in note]
    assert len(said) == is_said and all(repr(template.format("2.101")) in note for note in said)
    for one in ("1.5", "2,000.123", "0.125"):
        _, notes = infer([template.format(amount) for amount in [*amounts[1:], one]], rules=7)
        assert not [note for note in notes if "two ways" in note]


UNITS = [NO_UNIT, Unit("$"), Unit("US$"), Unit("", "%"), Unit("", "months"), Unit("", "km/h"), Unit("€", "m²")]
CELLS = st.one_of(
    st.text(max_size=8),
    st.text(alphabet="0123456789.,+-$€% \u00a0mkonths", max_size=10),
    st.builds(
        "{}{} {}".format, st.sampled_from(["", "$", "-$", "€"]), st.integers(), st.sampled_from(["", "%", "month"])
    ),
)


@settings(deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=8), st.sampled_from(UNITS))
def test_the_expression_means_the_same_to_tensorflow(cells, unit):
    cells = [cell for cell in cells if cell.isprintable()] or ["1"]
    feature = NumberFeature("c", 0.0, 1.0, before=unit.before, after=unit.after)
    texts = [text.decode() for text in canonical_texts(tf.constant(cells)).numpy()]
    (found,) = parse_columns([tf.constant(cells)], [feature])
    np.testing.assert_array_equal(found.numpy(), parse_numbers(unit.taken_from(texts)))
    assert all(re.fullmatch(unit.pattern, text) for text in texts)


@settings(deadline=None)
@given(st.lists(st.text(max_size=8), max_size=20))
def test_any_texts_may_be_asked_for_their_unit(texts):
    common_unit(texts).taken_from(texts)
