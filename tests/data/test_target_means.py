"""Categories as the mean of the label: what is fitted, what training rows are given, and where there is none."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.data.array_data import Provider
from model_search.data.later_rows import PieceReader, inputs_of
from model_search.data.prepare_options import RULES_AS_IN_FILES, PrepareOptions
from model_search.data.rows import FEATURES
from model_search.data.tabular.categories import target_means
from model_search.data.tabular.categories.target_means import Target, give_means_of_others, with_means
from model_search.data.tabular.features import CategoryFeature, FeatureSchema
from model_search.data.tabular.preprocess import Preprocessor
from model_search.data.tabular.schema import infer_schema, most_categories
from model_search.data.tabular.text_columns import counts_of
from model_search.errors import DamagedRecordError

ROWS, CODES = 2000, 400  # of which few have the five rows for a feature of their own
RARE_CODES = 700  # of which hardly any have them


def coded(rng, rows=ROWS, codes=CODES, noise=0.3):
    """A column of codes, and numbers that depend on them."""
    drawn, effects = rng.integers(0, codes, rows), rng.normal(size=codes)
    column = pd.Series([f"k{code:04}" for code in drawn], name="code", dtype=object)
    return column, effects[drawn] + noise * rng.normal(size=rows)


def fitted(column, target):
    """The one feature of a column, and the matrix that its training rows are given."""
    schema, notes = infer_schema(column.to_frame(), target)
    matrix = Preprocessor(schema).transform(column.to_frame())
    give_means_of_others(matrix, schema, column.to_frame(), target)
    (feature,) = schema.features
    return feature, matrix[:, feature.one_hot : feature.one_hot + feature.outputs], notes


def prepared(column, labels, valid_fraction=0.2, rules=8, **more):
    frame = pd.DataFrame({"code": column, "x": np.random.default_rng(1).normal(size=len(column))})
    options = PrepareOptions(seed=3, batch_size=8, valid_fraction=valid_fraction, reading_rules=rules)
    return Provider(frame, labels, **more).prepare(options), frame


def test_codes_with_few_rows_each_are_read_as_the_mean_of_the_label():
    column, numbers = coded(np.random.default_rng(0))
    feature, means, notes = fitted(column, Target(numbers, 0))
    assert (feature.outputs, feature.places, feature.width) == (1, True, feature.one_hot + 2)
    assert np.corrcoef(means[:, 0], numbers)[0, 1] > 0.8
    counts = column.value_counts()
    assert feature.mean_texts == tuple(sorted(counts.index))
    said = f"its {len(counts)} categories are also read as the mean of the label, which {len(feature.mean_texts)} of"
    assert any(said in note for note in notes)


def test_the_place_of_a_category_is_in_the_order_of_texts():
    column, numbers = coded(np.random.default_rng(0))
    feature, _, _ = fitted(column, Target(numbers, 0))
    later = pd.DataFrame({"code": [*feature.mean_texts, "never seen", None]})
    places = Preprocessor(FeatureSchema((feature,))).transform(later)[:, -1]
    assert (np.diff(places[:-2]) > 0).all()
    assert places[-1] == places[-2] < places[0]
    np.testing.assert_allclose((np.mean(places[:-1]), np.std(places[:-1])), (0, 1), atol=1e-5)
    before = CategoryFeature("code", feature.vocabulary, False, feature.mean_texts, feature.means)
    assert before.width == feature.width - 1  # as stored without places


def test_texts_of_single_rows_have_no_mean_where_most_rows_have_one_of_their_own():
    rng = np.random.default_rng(0)
    shared, alone = np.repeat(np.arange(100), 4), np.arange(100, 700)
    column = pd.Series([f"k{code:04d}" for code in rng.permutation(np.concatenate([shared, alone]))], name="code")
    effects = rng.normal(size=700)
    numbers = effects[column.str[1:].astype(int)] + 0.1 * rng.normal(size=len(column))
    feature, _, _ = fitted(column, Target(numbers, 0))
    assert feature.mean_texts == tuple(f"k{code:04d}" for code in range(100))


def test_the_work_for_a_column_does_not_grow_with_the_square_of_its_categories(monkeypatch):
    calls = []

    class Counts(dict):
        def values(self):
            calls.append(len(self))
            return super().values()

    monkeypatch.setattr("model_search.data.tabular.schema.counts_of", lambda series: Counts(counts_of(series)))
    column, numbers = coded(np.random.default_rng(0))
    assert fitted(column, Target(numbers, 0))[0].means
    assert 0 < len(calls) < 10  # each goes through all categories


def test_training_rows_have_the_means_of_other_folds():
    """By the formula of empirical Bayes, written down anew; a row's own label is in no mean that it is given."""
    column, numbers = coded(np.random.default_rng(0), noise=1.0)
    target = Target(numbers, 0, seed=5)
    feature, means, _ = fitted(column, target)
    scaled, folds = (numbers - numbers.mean()) / numbers.std(), target.folds()
    own = column.isin(feature.mean_texts).to_numpy()
    by_code = pd.Series(scaled[own]).groupby(column[own].to_numpy())
    count, mean = by_code.count(), by_code.mean()
    within = (by_code.var(ddof=0) * count).sum() / (own.sum() - len(count))
    between = ((count * mean**2).sum() - len(count) * within) / own.sum()
    expected = np.zeros(ROWS)
    for row in np.flatnonzero(own):
        others = scaled[(column == column[row]).to_numpy() & (folds != folds[row])]
        expected[row] = others.sum() / (len(others) + within / between)
    scale = np.std(expected) / np.std(means)
    np.testing.assert_allclose(means[:, 0] * scale, expected, atol=1e-5)
    assert 1 - 1e-5 <= np.std(expected) / scale / np.std(means) <= 1 + 1e-5
    all_rows = np.array(feature.means[:-1]) * scale
    np.testing.assert_allclose(all_rows, by_code.sum() / (count + within / between), atol=1e-5)
    assert feature.means[-1] == 0.0  # everything else has the mean of all rows
    changed = numbers.copy()
    changed[7] += 1e-3
    moved = fitted(column, Target(changed, 0, seed=5))[1]
    others = np.abs(moved - means)[:, 0]
    assert others[7] < others[(column == column[7]).to_numpy() & (folds != folds[7])].min()


def test_later_rows_have_the_means_of_all_rows_with_a_label():
    """In the units of the training rows, whose own means no validation row has a part in."""
    column, numbers = coded(np.random.default_rng(0))
    data, frame = prepared(column, numbers, time=np.arange(ROWS))
    known = len(data.train)
    of_training, _ = infer_schema(frame[:known], Target(numbers[:known], 0, seed=3))
    feature, _ = data.preprocessor.schema.features
    place, texts = feature.one_hot, list(feature.mean_texts)
    np.testing.assert_array_equal(data.valid.inputs[FEATURES], Preprocessor(of_training).transform(frame[known:]))
    alone, means, _ = fitted(column[:known], Target(numbers[:known], 0, seed=3))
    np.testing.assert_array_equal(data.train.inputs[FEATURES][:, place], means[:, 0])
    assert (alone.vocabulary, alone.mean_texts) == (feature.vocabulary, feature.mean_texts)
    assert alone.means == of_training.features[0].means
    labels = pd.DataFrame({"code": column, "y": (numbers - numbers[:known].mean()) / numbers[:known].std()})
    by_code, earlier = labels.groupby("code")["y"], labels[:known].groupby("code")["y"]
    rows, before = by_code.count()[texts].to_numpy(), earlier.count()[texts].to_numpy()
    ratio = earlier.sum()[texts].to_numpy() / np.array(alone.means[:-1])  # (rows + strength) * scale
    scale, strength = np.linalg.lstsq(np.stack([before, np.ones(len(before))], axis=1), ratio, rcond=None)[0]
    np.testing.assert_allclose(feature.means[:-1], by_code.sum()[texts] / (rows * scale + strength), rtol=1e-3)
    assert feature.means[-1] == 0.0
    everything = data.preprocessor.transform(frame)[:, place]
    stored = json.loads(json.dumps(data.description))
    np.testing.assert_array_equal(inputs_of(frame, stored)[FEATURES][:, place], everything)
    reader = PieceReader(stored)
    pieces = [reader.read(frame.iloc[start : start + 300])[FEATURES][:, place] for start in range(0, ROWS, 300)]
    np.testing.assert_array_equal(np.concatenate(pieces), everything)
    again, _ = prepared(column, numbers, time=np.arange(ROWS))  # a study that goes on
    assert again.description == data.description
    np.testing.assert_array_equal(again.train.inputs[FEATURES], data.train.inputs[FEATURES])


def test_validation_rows_that_are_given_have_no_part_in_means():
    column, numbers = coded(np.random.default_rng(0))
    frame = pd.DataFrame({"code": column, "x": np.arange(ROWS) % 7})
    options = PrepareOptions(seed=3, batch_size=8)
    data = Provider(frame[:1600], numbers[:1600], validation=(frame[1600:], numbers[1600:])).prepare(options)
    alone, _, _ = fitted(column[:1600], Target(numbers[:1600], 0, seed=3))
    assert data.preprocessor.schema.features[0] == alone


@pytest.mark.parametrize("classes", [0, 2, 4])
def test_means_count_further_rows_with_their_weights(classes):
    column, numbers = coded(np.random.default_rng(0), codes=RARE_CODES if classes > 2 else CODES)
    labels = pd.qcut(numbers, classes, labels=False) if classes else numbers
    first, later = column[:1500], column[1500:]
    schema, _ = infer_schema(first.to_frame(), Target(labels[:1500], classes))

    def counted(further, target):
        matrix = Preprocessor(schema).transform(first.to_frame())
        more = (further.to_frame(), target)
        (feature,) = give_means_of_others(
            matrix, schema, first.to_frame(), Target(labels[:1500], classes), more
        ).features
        return matrix, feature.means

    twice = pd.concat([later, later])
    matrix, means = counted(twice, Target(np.tile(labels[1500:], 2), classes))
    weighted = counted(later, Target(labels[1500:], classes, np.full(len(later), 2.0)))
    np.testing.assert_array_equal(weighted[0], matrix)
    np.testing.assert_allclose(weighted[1], means, atol=2e-6)
    without = counted(later, Target(labels[1500:], classes, np.zeros(len(later))))
    np.testing.assert_array_equal(without[0], matrix)
    assert without[1] == schema.features[0].means != means


def test_texts_with_a_mean_are_known():
    column, numbers = coded(np.random.default_rng(0))
    data, _ = prepared(column, numbers)
    feature, _ = data.preprocessor.schema.features
    rare = next(text for text in feature.mean_texts if text not in feature.vocabulary)
    said = []
    data.preprocessor.transform({"code": [rare, "new", ""], "x": [0.0, 0.0, 0.0]}, said.append)
    assert said == [
        "column 'code': 1 row holds categories that were not there, or rare, in training ('new'), "
        "read as one category for all others"
    ]


def test_a_study_goes_on_without():
    column, numbers = coded(np.random.default_rng(0))
    data, _ = prepared(column, numbers, rules=RULES_AS_IN_FILES)
    assert not any(getattr(feature, "means", ()) for feature in data.preprocessor.schema.features)
    assert len(data.preprocessor.schema.features[0].vocabulary) == 100


@pytest.mark.parametrize(
    ("rows", "columns", "most"),
    [(2000, 2, 300), (5000, 4, 200), (13_333, 1, 300), (100_000, 1, 100), (10_000, 50, 100), (0, 1, 300)],
)
def test_small_tables_have_a_feature_for_more_categories(rows, columns, most):
    assert most_categories(rows, columns) == most


def test_all_of_200_categories_of_a_small_table_have_a_feature():
    column, numbers = coded(np.random.default_rng(0), codes=200)
    counts = column.value_counts()
    feature, _, _ = fitted(column, Target(numbers, 0))
    assert feature.vocabulary == tuple(sorted(counts[counts >= 5].index))
    assert len(feature.vocabulary) > 180


def test_codes_that_say_nothing_have_no_mean():
    column, _ = coded(np.random.default_rng(0))
    noise = np.random.default_rng(1).normal(size=ROWS)
    feature, _, notes = fitted(column, Target(noise, 0))
    assert not feature.means
    assert not any("mean of the label" in note for note in notes)


def test_postcodes_are_kept_where_their_means_predict():
    """5 rows a code: no 100 codes hold a tenth of the rows, and such a column was left out."""
    column, numbers = coded(np.random.default_rng(0), rows=10_000, codes=2500)
    feature, means, notes = fitted(column, Target(numbers, 0))
    assert (feature.vocabulary, feature.width, means.shape[1]) == ((), 2, 1)
    assert notes == [
        f"column 'code': its {column.nunique()} categories are read as the mean of the label, which "
        f"{len(feature.mean_texts)} of them have for themselves"
    ]
    both = pd.DataFrame({"code": column, "x": numbers})
    noise = np.random.default_rng(1).normal(size=len(numbers))
    schema, _ = infer_schema(both, Target(noise, 0))
    assert "too many different values to be categories" in schema.dropped["code"]


def test_free_text_and_identifiers_stay_left_out():
    column, numbers = coded(np.random.default_rng(0), rows=10_000, codes=5000)  # none of them as often as a word
    frame = pd.DataFrame(
        {"x": numbers, "text": "in the " + column, "id": [f"id {number}" for number in range(len(column))]}
    )
    schema, _ = infer_schema(frame, Target(numbers, 0))
    assert [feature.column for feature in schema.features] == ["x"]


def test_columns_whose_categories_all_have_a_feature_are_as_before():
    column, numbers = coded(np.random.default_rng(0), codes=40)
    feature, _, notes = fitted(column, Target(numbers, 0))
    assert feature == CategoryFeature("code", tuple(sorted(column.unique())))
    assert not notes


@pytest.mark.parametrize(("classes", "outputs"), [(2, 1), (4, 4), (10, 10), (11, 0)])
def test_means_of_classes(classes, outputs):
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, RARE_CODES, ROWS)
    likely = rng.integers(0, classes, RARE_CODES)[drawn]
    labels = np.where(rng.random(ROWS) < 0.7, likely, rng.integers(0, classes, ROWS))
    column = pd.Series([f"k{code:04}" for code in drawn], name="code", dtype=object)
    feature, means, notes = fitted(column, Target(labels, classes))
    assert feature.outputs == outputs
    for output in range(outputs):
        assert np.corrcoef(means[:, output], labels == (1 if classes == 2 else output))[0, 1] > 0.2
    if outputs > 1:
        assert any("also read as the share of each class of the label" in note for note in notes)


@pytest.mark.parametrize(("classes", "outputs"), [(2, 1), (3, 0)])
def test_shares_of_many_classes_are_for_columns_in_which_most_rows_are_of_rare_categories(classes, outputs):
    rng = np.random.default_rng(0)
    drawn = np.where(rng.random(ROWS) < 0.6, rng.integers(0, 20, ROWS), rng.integers(20, CODES, ROWS))
    column = pd.Series([f"k{code:04}" for code in drawn], name="code", dtype=object)
    feature, _, _ = fitted(column, Target(drawn % classes, classes))
    assert feature.outputs == outputs


def test_rows_of_a_group_are_in_one_fold():
    column, numbers = coded(np.random.default_rng(0))
    groups = np.random.default_rng(2).integers(0, 50, ROWS)
    folds = Target(numbers, 0, groups=groups).folds()
    assert all(len(np.unique(folds[groups == group])) == 1 for group in range(50))
    assert len(np.unique(folds)) == target_means.FOLDS
    assert not np.array_equal(folds, Target(numbers, 0, groups=groups, seed=1).folds())
    of_codes = np.unique(column, return_inverse=True)[1]
    feature, _, _ = fitted(column, Target(numbers, 0, groups=of_codes))
    assert not feature.means  # what is known of a code says nothing of others


def test_groups_and_weights_of_a_table_count():
    column, numbers = coded(np.random.default_rng(0))
    plain, _ = prepared(column, numbers)
    assert plain.preprocessor.schema.features[0].means
    codes = np.unique(column, return_inverse=True)[1]
    grouped, _ = prepared(column, numbers, groups=codes)
    assert not grouped.preprocessor.schema.features[0].means
    weights = np.random.default_rng(4).random(ROWS)
    weighted, _ = prepared(column, numbers, weights=weights)
    assert weighted.preprocessor.schema.features[0].means != plain.preprocessor.schema.features[0].means


def test_rows_of_weight_0_have_no_effect():
    column, numbers = coded(np.random.default_rng(0))
    weights = (np.random.default_rng(1).random(ROWS) < 0.7).astype(float)
    other = np.where(weights > 0, numbers, -numbers + 5)
    one, two = (fitted(column, Target(values, 0, weights)) for values in (numbers, other))
    means = np.array(one[0].means), np.array(two[0].means)
    assert np.corrcoef(*means)[0, 1] == pytest.approx(1.0, abs=1e-9)


def test_the_most_frequent_have_a_mean(monkeypatch):
    monkeypatch.setattr("model_search.data.tabular.schema.MOST_TEXTS", 120)
    column, numbers = coded(np.random.default_rng(0))
    feature, _, notes = fitted(column, Target(numbers, 0))
    counts = column.value_counts()
    assert len(feature.mean_texts) == 120
    assert counts[list(feature.mean_texts)].min() >= counts.drop(list(feature.mean_texts)).max()
    assert any("which 120 of them have for themselves (at most 120)" in note for note in notes)


def test_texts_that_an_export_cannot_hold_have_the_mean_of_all_others():
    column, numbers = coded(np.random.default_rng(0))
    column[column == column[0]] = "a\0"
    column[column == column[1]] = "a\ud800"
    feature, _, _ = fitted(column, Target(numbers, 0))
    assert feature.means
    assert not {"a\0", "a\ud800"} & set(feature.mean_texts)


def test_json_round_trip_and_damage():
    feature = CategoryFeature("c", ("u",), mean_texts=("u", "v"), means=(0.5, -1.0, 0.0))
    stored = json.loads(json.dumps(FeatureSchema((feature,)).to_json()))
    assert FeatureSchema.from_json(stored).features == (feature,)
    before = {"kind": "category", "column": "c", "vocabulary": ["u"], "numeric": False}
    assert FeatureSchema.from_json({"features": [before]}).features == (CategoryFeature("c", ("u",)),)
    for means in ([0.5, 1.0], [], [0.5, 1.0, float("nan")]):
        stored["features"][0]["means"] = means
        with pytest.raises(DamagedRecordError, match=r"column 'c' has \d means of 2 values"):
            FeatureSchema.from_json(stored)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.floats(-1e6, 1e6), st.floats(0, 5)), min_size=10, max_size=60),
    st.sampled_from([0, 2, 3]),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_means_are_finite_and_within_bounds(rows, classes, weighted):
    codes, values, weights = map(np.array, zip(*rows, strict=True))
    values = np.abs(values.astype(int)) % classes if classes else values
    weights = weights + (weights.sum() == 0)
    column = pd.Series([f"k{code}" for code in codes], name="c", dtype=object)
    target = Target(values, classes, weights if weighted else None)
    bare = CategoryFeature("c", (), mean_texts=("k0", "k1", "k2"))
    feature = with_means(bare, column, target)
    if feature is None:
        return
    matrix = np.zeros((len(rows), feature.width), np.float32)
    give_means_of_others(matrix, FeatureSchema((feature,)), column.to_frame(), target)
    for found in (matrix, np.array(feature.means)):
        assert np.isfinite(found).all()
        assert (np.abs(found) <= 3).all()
