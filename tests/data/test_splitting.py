"""Splits: disjoint, complete, stratified, seeded."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_search.data.array_data import Provider
from model_search.data.prepare_options import PrepareOptions
from model_search.data.tabular.split import split_rows

fractions = st.floats(0.05, 0.6)
seeds = st.integers(0, 2**32 - 1)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=200), fractions, seeds)
def test_stratified(classes, fraction, seed):
    classes = np.array(classes)
    train, valid, whole = split_rows(len(classes), fraction, seed, classes)
    assert sorted([*train, *valid]) == list(range(len(classes)))
    for value in np.unique(classes):
        count, kept = (classes == value).sum(), (classes[valid] == value).sum()
        assert (classes[train] == value).any()
        assert (kept == 0) == (value in whole)
        assert abs(kept - count * fraction) <= 0.5 + 1e-9 or count - kept == 1
    again = split_rows(len(classes), fraction, seed, classes)
    np.testing.assert_array_equal(train, again[0])


@given(st.integers(3, 300), fractions, seeds)
def test_plain(rows, fraction, seed):
    train, valid, _ = split_rows(rows, fraction, seed)
    assert sorted([*train, *valid]) == list(range(rows))
    assert abs(len(valid) - rows * fraction) <= 0.5 + 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_fitted_on_the_validation_rows_of_a_split(seed):
    """Medians, vocabularies and the scale of targets are those of the training rows."""
    rng = np.random.default_rng(seed)
    numbers, targets = rng.normal(size=200), rng.normal(size=200)
    options = PrepareOptions(seed=seed, batch_size=8)
    data = Provider(numbers[:, None], targets).prepare(options)
    train, valid, _ = split_rows(200, options.valid_fraction, seed)
    assert (len(data.train), len(data.valid)) == (len(train), len(valid))
    (feature,) = data.preprocessor.schema.features
    assert feature.center == pytest.approx(np.median(numbers[train]))
    assert feature.center != pytest.approx(np.median(numbers))
    assert data.task.target_mean == pytest.approx(targets[train].mean())
    texts = np.full(200, "common", dtype=object)
    texts[valid[:20]] = "of validation"
    texts[train[:20]] = "of training"
    frame = pd.DataFrame({"number": numbers, "text": texts})
    features = Provider(frame, targets).prepare(options).preprocessor.schema.features
    assert features[1].vocabulary == ("common", "of training")


def test_rows_are_shuffled_and_the_seed_matters():
    first, zero = split_rows(1000, 0.2, 1)[1], split_rows(1000, 0.2, 0)[1]
    assert not np.array_equal(first, zero)
    assert 300 < first.mean() < 700


def test_predictions_may_reach_the_labels_of_validation():
    """The models are refitted on these rows, too; a study that began before goes on with the range of training."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 2)), rng.normal(size=40)
    x_valid, y_valid = rng.normal(size=(12, 2)), np.linspace(-9, 11, 12)
    provider = Provider(x, y, validation=(x_valid, y_valid))
    for rules, expected in ((8, (-9, 11)), (7, (y.min(), y.max()))):
        task = provider.prepare(PrepareOptions(seed=0, batch_size=8, reading_rules=rules)).task
        assert np.array(task.target_range) * task.target_scale + task.target_mean == pytest.approx(expected)
