"""Means of what other columns leave over: when they replace the means of the label, and which rows they count."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from model_search.data.array_data import Provider
from model_search.data.later_rows import inputs_of
from model_search.data.prepare_options import PrepareOptions
from model_search.data.rows import FEATURES
from model_search.data.tabular.categories import target_effects
from model_search.data.tabular.categories.target_effects import ReadRows, fitted_effects
from model_search.data.tabular.categories.target_means import Target, give_means_of_others
from model_search.data.tabular.features import NumberFeature
from model_search.data.tabular.preprocess import Preprocessor
from model_search.data.tabular.schema import infer_schema

ROWS, KNOWN, CODES = 2500, 2000, 400
RARE_CODES = 900  # of which hardly any have the five rows for a feature of their own
NOTE = "column 'code': where a value has a mean, this is of what all other columns leave over"


def table(seed=0, confounded=True, size=1.0, codes=CODES):
    """Rows with codes that go together with a further column, or do not.

    Returns:
        The rows, the label, and what each code adds.
    """
    rng = np.random.default_rng(seed)
    drawn, effects = rng.integers(0, codes, ROWS), size * rng.normal(size=codes)
    x = rng.normal(size=ROWS) + (3 * rng.normal(size=codes)[drawn] if confounded else 0)
    frame = pd.DataFrame({"code": [f"k{code:04}" for code in drawn], "x": x})
    labels = effects[drawn] + (2.0 * x if confounded else 0) + 0.3 * rng.normal(size=ROWS)
    return frame, labels, pd.Series(effects, [f"k{code:04}" for code in range(codes)])


def read(frame, labels, classes=0, weights=None):
    """The features with means, training and validation rows as `fitted_effects` takes them."""
    parts = []
    for part in (slice(None, KNOWN), slice(KNOWN, None)):
        own = None if weights is None else weights[part]
        parts.append((frame[part].reset_index(drop=True), Target(labels[part], classes, own, seed=3)))
    schema, _ = infer_schema(*parts[0])
    rows = [ReadRows(Preprocessor(schema).transform(part), part, target) for part, target in parts]
    give_means_of_others(rows[0].matrix, schema, rows[0].frame, rows[0].target)
    return schema, *rows


def prepared(frame, labels, **more):
    return Provider(frame, labels, **more).prepare(PrepareOptions(seed=3, batch_size=8))


def column_of(matrix, schema):
    """The column that tells the effects of the first feature."""
    return matrix[:, schema.starts[0] + schema.features[0].mean_start]


def told(data):
    return [note for note in data.description["notes"] if "leave over" in note]


def test_the_table_tells_what_a_value_adds():
    frame, labels, added = table()
    schema, training, validation = read(frame, labels)
    effects = fitted_effects(schema, training, validation)
    for found in (effects.schema.features[0], effects.of_all.features[0]):
        assert dataclasses.replace(found, means=()) == dataclasses.replace(schema.features[0], means=())
        assert np.corrcoef(found.means[:-1], added[list(found.mean_texts)])[0, 1] > 0.9
        assert found.means[-1] == 0.0  # all others
    means = schema.features[0]
    assert np.corrcoef(means.means[:-1], added[list(means.mean_texts)])[0, 1] < 0.5
    assert effects.note == NOTE
    untouched = np.arange(schema.width) != schema.starts[0] + means.mean_start
    np.testing.assert_array_equal(effects.training[:, untouched], training.matrix[:, untouched])
    np.testing.assert_array_equal(effects.validation[:, untouched], validation.matrix[:, untouched])


def test_two_columns_of_codes_share_what_they_tell():
    frame, labels, added = table(confounded=False)
    rng = np.random.default_rng(1)
    other = (frame["code"].str[1:].astype(int).to_numpy() + rng.integers(0, 5, ROWS)) % CODES
    further = rng.normal(size=CODES)
    frame = frame.assign(other=[f"o{code:04}" for code in other])
    schema, training, validation = read(frame, labels + 2 * further[other])
    effects = fitted_effects(schema, training, validation)
    by_name = {feature.column: feature for feature in effects.of_all.features}
    means = {feature.column: feature for feature in schema.features}
    for name, truth in (("code", added), ("other", pd.Series(further, [f"o{code:04}" for code in range(CODES)]))):
        found, mean = by_name[name], means[name]
        near, before = (np.corrcoef(own.means[:-1], truth[list(own.mean_texts)])[0, 1] for own in (found, mean))
        assert near > max(0.85, before)
    assert effects.note.startswith("columns 'code', 'other': ")


def test_a_row_has_no_part_in_the_effect_that_it_is_given():
    frame, labels, _ = table()
    schema, training, validation = read(frame, labels)
    before = column_of(fitted_effects(schema, training, validation).training, schema)
    changed = labels.copy()
    changed[7] += 1.0
    moved = np.abs(column_of(fitted_effects(*read(frame, changed)).training, schema) - before)
    folds = training.target.folds()
    same = (training.frame["code"] == training.frame["code"][7]).to_numpy() & (folds != folds[7])
    assert moved[7] < 0.1 * moved[same].min()


def test_validation_rows_are_read_with_the_effects_of_training_rows():
    frame, labels, _ = table()
    schema, training, validation = read(frame, labels)
    effects = fitted_effects(schema, training, validation)
    np.testing.assert_array_equal(effects.validation, Preprocessor(effects.schema).transform(validation.frame))
    changed = labels.copy()
    changed[KNOWN:] += np.random.default_rng(2).normal(size=ROWS - KNOWN) / 10
    other = fitted_effects(*read(frame, changed))
    np.testing.assert_array_equal(other.training, effects.training)
    assert other.schema == effects.schema
    assert other.of_all != effects.of_all


def test_rows_to_predict_have_the_effects_of_all_rows():
    frame, labels, added = table()
    data = prepared(frame, labels)
    assert told(data) == [NOTE]
    feature = data.preprocessor.schema.features[0]
    assert np.corrcoef(feature.means[:-1], added[list(feature.mean_texts)])[0, 1] > 0.9
    stored = json.loads(json.dumps(data.description))
    np.testing.assert_array_equal(inputs_of(frame, stored)[FEATURES], data.preprocessor.transform(frame))
    again = prepared(frame, labels)  # a study that goes on
    assert again.description == data.description
    np.testing.assert_array_equal(again.train.inputs[FEATURES], data.train.inputs[FEATURES])


def test_validation_rows_that_are_given_are_not_counted():
    frame, labels, _ = table()
    data = prepared(frame[:KNOWN], labels[:KNOWN], validation=(frame[KNOWN:], labels[KNOWN:]))
    assert told(data) == [NOTE]
    schema, training, validation = read(frame, labels)
    effects = fitted_effects(schema, training, validation)
    assert len(data.train) == KNOWN
    np.testing.assert_array_equal(
        data.valid.inputs[FEATURES], data.preprocessor.transform(frame[KNOWN:].reset_index(drop=True))
    )
    assert data.preprocessor.schema.features[0].mean_texts == effects.schema.features[0].mean_texts


def test_means_stay_where_effects_add_nothing():
    frame, labels, _ = table(confounded=False)
    schema, training, validation = read(frame, labels)
    assert fitted_effects(schema, training, validation) is None
    assert told(prepared(frame, labels)) == []


def test_there_are_no_effects_without_means():
    rng = np.random.default_rng(0)
    frame, labels = pd.DataFrame({"x": rng.normal(size=ROWS)}), rng.normal(size=ROWS)
    schema, training, validation = read(frame, labels)
    assert isinstance(schema.features[0], NumberFeature)
    assert fitted_effects(schema, training, validation) is None


def test_a_wide_matrix_has_no_effects(monkeypatch):
    frame, labels, _ = table()
    schema, training, validation = read(frame, labels)
    monkeypatch.setattr(target_effects, "MOST_COLUMNS", schema.width - 1)
    assert fitted_effects(schema, training, validation) is None


def test_few_validation_rows_do_not_decide():
    frame, labels, _ = table()
    schema, training, validation = read(frame, labels)
    for count, is_found in ((target_effects.FEWEST_ROWS, True), (target_effects.FEWEST_ROWS - 1, False)):
        target = dataclasses.replace(validation.target, values=validation.target.values[:count])
        few = ReadRows(validation.matrix[:count], validation.frame[:count], target)
        assert (fitted_effects(schema, training, few) is not None) is is_found


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_have_effects_on_their_shares(classes, monkeypatch):
    monkeypatch.setattr(target_effects, "LEAST_LESS", 0.0)  # the middle one of three has no linear model
    frame, labels, added = table(size=8.0, codes=CODES if classes == 2 else RARE_CODES)
    schema, training, validation = read(frame, pd.qcut(labels, classes, labels=False), classes)
    effects = fitted_effects(schema, training, validation)
    found = effects.of_all.features[0]
    assert found.outputs == (1 if classes == 2 else classes)
    last = found.mean_table[:-1, -1]
    assert np.corrcoef(last, added[list(found.mean_texts)])[0, 1] > 0.6
    assert np.isfinite(effects.training).all()


def test_rows_of_no_weight_have_no_part():
    frame, labels, _ = table()
    weights = np.ones(ROWS)
    weights[:50] = weights[KNOWN : KNOWN + 50] = 0
    changed = labels.copy()
    changed[weights == 0] += 100
    ones = fitted_effects(*read(frame, labels, weights=weights))
    others = fitted_effects(*read(frame, changed, weights=weights))
    # Labels are in units of the standard deviation of all rows.
    found, expected = (np.array(effects.of_all.features[0].means) for effects in (others, ones))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_weights_count_as_rows():
    frame, labels, _ = table()
    twice = np.r_[np.arange(ROWS), np.arange(KNOWN, ROWS)]
    schema, training, validation = read(frame, labels)
    again = ReadRows(
        np.concatenate([validation.matrix] * 2),
        pd.concat([validation.frame] * 2, ignore_index=True),
        Target(labels[twice][KNOWN:], 0, seed=3),
    )
    heavy = dataclasses.replace(validation.target, weights=np.full(ROWS - KNOWN, 2.0))
    weighted = ReadRows(validation.matrix, validation.frame, heavy)
    found = [fitted_effects(schema, training, rows).of_all.features[0].means for rows in (again, weighted)]
    np.testing.assert_allclose(found[0], found[1], atol=2e-6)
