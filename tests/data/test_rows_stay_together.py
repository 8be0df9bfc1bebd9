"""Features, label and weight of a row stay together, whatever rows are left out; the fingerprint covers all of them."""

import numpy as np
import pandas as pd
import pytest

from model_search.data.array_data import Provider
from model_search.data.later_rows import labelled_rows
from model_search.data.prepare_options import PrepareOptions

ROWS = 80
X = np.random.default_rng(0).permutation(ROWS).astype(np.float64)


def labels(of):
    """Twice the feature; the first rows, and some in between, have none."""
    found = 2 * np.asarray(of, dtype=np.float64)
    found[:5] = np.nan
    found[20:30] = np.nan
    return found


def prepare(x, y, weights=None, **options):
    frame = pd.DataFrame({options.pop("name", "x"): x})
    return Provider(frame, y, weights=weights, **options).prepare(PrepareOptions(seed=2, batch_size=8))


def check_together(rows, description):
    """The three are increasing functions of one another."""
    order = rows.inputs["features"][:, 0].argsort()
    assert (np.diff(rows.inputs["features"][order, 0]) > 0).all()
    assert (np.diff(rows.label[order, 0]) > 0).all()
    assert (np.diff(rows.weight[order]) > 0).all()
    task = description["task"]
    numbers = rows.label[order, 0] * task["target_scale"] + task["target_mean"]
    np.testing.assert_allclose(rows.weight[order], 1 + numbers / 2, rtol=1e-4)


def test_where_labels_are_missing():
    data = prepare(X, labels(X), 1 + X)
    assert len(data.train) + len(data.valid) == ROWS - 15
    for rows in (data.train, data.valid):
        check_together(rows, data.description)


def test_where_labels_of_given_validation_rows_are_missing():
    other = X[:40] + 0.5
    data = prepare(X, labels(X), 1 + X, validation=(pd.DataFrame({"x": other}), labels(other), 1 + other))
    assert (len(data.train), len(data.valid)) == (ROWS - 15, 25)
    for rows in (data.train, data.valid):
        check_together(rows, data.description)


def test_in_rows_that_come_later():
    data = prepare(X, labels(X), 1 + X)
    later = labelled_rows((pd.DataFrame({"x": X}), labels(X), 1 + X), data.description)
    assert len(later) == ROWS - 15
    check_together(later, data.description)


@pytest.mark.parametrize("what", ["a cell", "a label", "a weight", "a name", "the order"])
def test_the_fingerprint_tells(what):
    x, y, weights, name = X.copy(), 2 * X, 1 + X, "x"
    before = prepare(x, y, weights, name=name).fingerprint
    assert prepare(x.copy(), y.copy(), weights.copy(), name=name).fingerprint == before
    match what:
        case "a cell":
            x[7] += 0.25
        case "a label":
            y[7] += 0.25
        case "a weight":
            weights[7] += 0.25
        case "a name":
            name = "z"
        case "the order":
            x, y, weights = x[::-1].copy(), y[::-1].copy(), weights[::-1].copy()
    assert prepare(x, y, weights, name=name).fingerprint != before
