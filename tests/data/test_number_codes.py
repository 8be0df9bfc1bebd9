"""Whole numbers that are codes: when they are told from sizes, and how they are read."""

import json

import numpy as np
import pandas as pd
import pytest

from model_search.data.array_data import Provider
from model_search.data.prepare_options import RULES_AS_IN_FILES, PrepareOptions
from model_search.data.rows import FEATURES
from model_search.data.tabular.categories import number_codes
from model_search.data.tabular.categories.target_means import Target, give_means_of_others
from model_search.data.tabular.features import FeatureSchema, NumberFeature
from model_search.data.tabular.preprocess import Preprocessor
from model_search.data.tabular.schema import infer_schema
from model_search.errors import DamagedRecordError

ROWS, CODES = 3000, 400


def coded(seed=0, codes=CODES, noise=0.3):
    """Codes of shops, and numbers that depend on the shop."""
    rng = np.random.default_rng(seed)
    drawn, effects = rng.integers(0, codes, ROWS), rng.normal(size=codes)
    return pd.Series(1000 + 7 * drawn, name="shop"), effects[drawn] + noise * rng.normal(size=ROWS)


def feature_of(column, target, rules=8, kind=None):
    kinds = {} if kind is None else {str(column.name): kind}
    schema, notes = infer_schema(column.to_frame(), target, kinds, rules)
    (feature,) = schema.features
    return feature, notes


@pytest.mark.parametrize("written", [int, float, str])
def test_codes_are_read_as_numbers_and_as_the_mean_of_the_label(written):
    column, numbers = coded()
    given = column.map(written).astype(object if written is str else written)
    feature, notes = feature_of(given, Target(numbers, 0))
    assert (type(feature), feature.outputs, feature.width, feature.dtype) == (NumberFeature, 1, 2, "float64")
    assert feature.mean_values == tuple(sorted(map(float, set(column))))
    said = f"its {CODES} whole numbers are also read as the mean of the label, which {CODES} of them have"
    assert any(said in note for note in notes)
    means = column.map(pd.Series(numbers).groupby(column).mean()).to_numpy()
    matrix = Preprocessor(FeatureSchema((feature,))).transform(given.to_frame())
    assert np.corrcoef(matrix[:, 1], means)[0, 1] > 0.99


def _size(rng, codes):
    return codes, np.sqrt(codes)


def _steps(rng, codes):
    return codes, (codes // 50) % 3


def _noise(rng, codes):
    return codes, np.zeros(len(codes))


def _few(rng, codes):
    return codes % 200, rng.normal(size=200)[codes % 200]


def _own(rng, codes):
    own = rng.permutation(len(codes)) * 3
    return own, np.sin(own)


def _fractions(rng, codes):
    return codes + 0.5, rng.normal(size=CODES)[codes]


@pytest.mark.parametrize("make", [_size, _steps, _noise, _few, _own, _fractions])
def test_other_numbers_are_no_codes(make):
    rng = np.random.default_rng(1)
    values, effects = make(rng, rng.integers(0, CODES, ROWS))
    feature, _ = feature_of(pd.Series(values, name="x"), Target(effects + 0.3 * rng.normal(size=ROWS), 0))
    assert not feature.outputs


@pytest.mark.parametrize("changed", [{"rules": RULES_AS_IN_FILES}, {"kind": "number"}])
def test_studies_go_on_without_and_numbers_that_the_user_declares_are_no_codes(changed):
    column, numbers = coded()
    assert not feature_of(column, Target(numbers, 0), **changed)[0].outputs


@pytest.mark.parametrize(("classes", "outputs"), [(2, 1), (3, 3)])
def test_classes(classes, outputs):
    column, numbers = coded()
    labels = np.digitize(numbers, np.quantile(numbers, np.arange(1, classes) / classes))
    assert feature_of(column, Target(labels, classes))[0].outputs == outputs


def test_missing_and_unknown_numbers_have_the_mean_of_all_rows():
    column, numbers = coded()
    column = column.astype(float)
    column[::9] = np.nan
    numbers[::9] += 1.0
    feature, _ = feature_of(column, Target(numbers, 0))
    assert (feature.indicator, feature.width) == (True, 3)
    rows = Preprocessor(FeatureSchema((feature,))).transform(pd.DataFrame({"shop": [np.nan, 1001.0, 1000.5, 1e300]}))
    np.testing.assert_array_equal(rows[:, 1], 0.0)
    np.testing.assert_array_equal(rows[:, 2], [1.0, 0.0, 0.0, 0.0])


def test_numbers_of_single_rows_have_no_mean_where_most_rows_have_one_of_their_own():
    rng = np.random.default_rng(0)
    drawn = rng.permutation(np.concatenate([np.repeat(np.arange(400), 4), np.arange(400, 2400)]))
    numbers = rng.normal(size=2400)[drawn] + 0.1 * rng.normal(size=len(drawn))
    feature, _ = feature_of(pd.Series(2 * drawn, name="x"), Target(numbers, 0))
    assert feature.mean_values == tuple(2.0 * np.arange(400))


def test_the_most_frequent_have_a_mean(monkeypatch):
    monkeypatch.setattr(number_codes, "MOST_TEXTS", 300)
    column, numbers = coded()
    feature, _ = feature_of(column, Target(numbers, 0))
    counts = column.value_counts()
    assert len(feature.mean_values) == 300
    assert counts[list(feature.mean_values)].min() >= counts.drop(list(feature.mean_values)).max()


def test_training_rows_have_the_means_of_other_folds_and_later_rows_those_of_all():
    column, numbers = coded()
    target = Target(numbers, 0, seed=5)
    schema = FeatureSchema((feature_of(column, target)[0],))
    matrix = Preprocessor(schema).transform(column.to_frame())
    before = matrix.copy()
    give_means_of_others(matrix, schema, column.to_frame(), target)
    np.testing.assert_array_equal(matrix[:, 0], before[:, 0])
    own = (numbers - numbers.mean()) / numbers.std()
    assert np.corrcoef(matrix[:, 1], own)[0, 1] < np.corrcoef(before[:, 1], own)[0, 1] - 0.01
    frame = pd.DataFrame({"shop": column})
    data = Provider(frame, numbers).prepare(PrepareOptions(seed=5, batch_size=8))
    valid = data.valid.inputs[FEATURES]
    assert data.description["schema"]["features"][0]["means"]
    assert data.preprocessor.transform(frame).shape[1] == valid.shape[1] == 2


def test_codes_of_a_group_that_is_not_divided_have_no_means():
    column, numbers = coded()
    assert not feature_of(column, Target(numbers, 0, groups=column.to_numpy()))[0].outputs


def test_json_round_trip_and_damage():
    feature = NumberFeature("x", 0.0, 1.0, whole=True, mean_values=(1.0, 5.0), means=(0.5, -1.0, 0.0))
    stored = json.loads(json.dumps(FeatureSchema((feature,)).to_json()))
    assert stored == FeatureSchema((feature,)).to_json()
    assert FeatureSchema.from_json(stored).features == (feature,)
    stored["features"][0]["mean_values"] = [5.0, 1.0]
    with pytest.raises(DamagedRecordError, match="that have means do not rise"):
        FeatureSchema.from_json(stored)
    stored["features"][0]["mean_values"] = [1.0]
    with pytest.raises(DamagedRecordError, match="column 'x' has 3 means of 1 values"):
        FeatureSchema.from_json(stored)
