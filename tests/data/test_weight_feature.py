"""Weights that the specification names: a column, an input, or a feature of an `input_fn`."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from model_search.data import Provider, array_data, csv_data, sequence_data, text_data
from model_search.data.later_rows import labelled_rows
from model_search.data.prepare_options import PrepareOptions
from model_search.data.text.text_files import TextColumns
from model_search.errors import DataError
from model_search.spec.load import load_text
from model_search.trainers.opening.data_preparation import prepared
from model_search.trainers.opening.study_settings import prepare_options

OPTIONS = PrepareOptions(seed=1, batch_size=8, weights="heavy", embedding="EMBEDDING")
NUMBERS = dataclasses.replace(OPTIONS, embedding=None)
ROWS = np.arange(1.0, 21.0)
Y = np.arange(20) % 2


class Own(Provider):
    """Yields a dict of features, and perhaps weights."""

    def __init__(self, features, labels, *weights):
        self.rows = (features, labels, *weights)

    def get_input_fn(self, hparams, mode, batch_size):
        return lambda: self.rows

    def number_of_classes(self):
        return 2


def weighed(data):
    """The weights of all rows in order of the feature that counts them."""
    return {float(number): float(weight) for rows in (data.train, data.valid) for number, weight in _pairs(rows)}


def _pairs(rows):
    return zip(rows.inputs["count"][:, 0, 0], rows.weight, strict=True)


def test_a_column_of_a_frame_and_of_a_file(tmp_path):
    frame = pd.DataFrame({"x": ROWS, "heavy": ROWS + 0.5})
    frame.assign(label=Y).to_csv(tmp_path / "a.csv", index=False)
    by_frame = prepared(array_data.Provider(frame, Y), NUMBERS)
    by_file = prepared(csv_data.Provider(filename=str(tmp_path / "a.csv"), label="label"), NUMBERS)
    given = prepared(array_data.Provider(frame[["x"]], Y, weights=ROWS + 0.5), dataclasses.replace(NUMBERS, weights=""))
    for data in (by_frame, by_file):
        assert data.train.weight.tolist() == given.train.weight.tolist()
        assert data.train.inputs["features"].tolist() == given.train.inputs["features"].tolist()
        assert data.task.weight == "heavy"
        assert data.description["weight_feature"] == "heavy"
    with pytest.raises(DataError, match="weight is 'x', and the specification's weight_feature_name 'heavy'"):
        csv_data.Provider(filename=str(tmp_path / "a.csv"), label="label", weight="x").prepare(NUMBERS)
    with pytest.raises(DataError, match="has no weight column 'heavier'"):
        provider = csv_data.Provider(filename=str(tmp_path / "a.csv"), label="label")
        provider.prepare(dataclasses.replace(NUMBERS, weights="heavier"))


def test_an_input_by_name():
    x = {"count": ROWS[:, None, None] * np.ones((1, 2, 3)), "heavy": ROWS + 0.5}
    data = prepared(array_data.Provider(x, Y), NUMBERS)
    assert weighed(data) == {row: row + 0.5 for row in ROWS}
    assert set(data.input_specs) == {"count", "count_lengths"}


def test_a_column_beside_texts(tmp_path):
    texts = [f"number {row % 3}" for row in range(20)]
    frame = pd.DataFrame({"text": texts, "label": Y, "heavy": 2.0})
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert set(prepared(text_data.Provider(filename=tmp_path / "a.csv"), OPTIONS).train.weight) == {2.0}
    columns = TextColumns(weight="heavy")
    named = text_data.Provider(filename=tmp_path / "a.csv", columns=columns)
    assert set(named.prepare(dataclasses.replace(OPTIONS, weights="")).train.weight) == {2.0}


def test_a_feature_of_an_input_fn():
    features = {"x": ROWS, "heavy": ROWS + 0.5}
    data = prepared(Own(features, Y), NUMBERS)
    assert data.valid.weight.tolist() == (ROWS + 0.5).tolist()
    assert data.description["columns"] == ["x"]
    about = data.description
    assert labelled_rows((features, Y), about).weight.tolist() == (ROWS + 0.5).tolist()
    assert labelled_rows(({"x": ROWS}, Y), about).weight is None
    with pytest.raises(DataError, match="the input_fn yields weights, and the feature 'heavy' holds some, too"):
        prepared(Own(features, Y, ROWS), NUMBERS)


def test_a_feature_without_a_name_is_no_weight():
    """Weights that a specification does not name have that name, too."""
    options, frame = dataclasses.replace(NUMBERS, weights=""), pd.DataFrame({"x": ROWS, "": ROWS + 0.5})
    for provider in (array_data.Provider(frame, Y), array_data.Provider(frame, Y, validation=(frame, Y))):
        data = prepared(provider, options)
        assert data.train.weight is None and data.valid.weight is None
        assert list(data.description["columns"]) == ["x", ""]
    features = {"x": ROWS, "": ROWS + 0.5}
    streamed = prepared(Own(features, Y), options)
    assert streamed.valid.weight is None
    assert set(streamed.description["columns"]) == {"x", ""}
    assert labelled_rows((features, Y), streamed.description).weight is None


def test_a_feature_with_a_weight_for_each_step():
    features = {"s": np.ones((20, 3, 2)), "lengths": np.full(20, 2), "heavy": np.arange(60.0).reshape(20, 3)}
    data = prepared(Own(features, np.tile([0, 1, 1], (20, 1))), dataclasses.replace(NUMBERS, label_per_step=True))
    expected = features["heavy"].copy()
    expected[:, 2] = 0
    assert data.valid.weight.tolist() == expected.tolist()


def test_data_without_such_weights_are_refused():
    for provider in (Own({"x": ROWS}, Y), sequence_data.Provider(np.ones((20, 3, 1)), Y)):
        with pytest.raises(DataError, match="weight_feature_name is 'heavy', and the data have no feature or column"):
            prepared(provider, NUMBERS)


def test_a_study_that_began_without_goes_on_without():
    spec = load_text('weight_feature_name: "heavy" blocks_to_use: "FULLY_CONNECTED"')
    earlier = dataclasses.make_dataclass("Earlier", ["data"])
    assert prepare_options(spec, 1, 8, None, None).weights == "heavy"
    assert prepare_options(spec, 1, 8, None, earlier({"inputs": {}})).weights == ""
    assert prepare_options(spec, 1, 8, None, earlier({"inputs": {}, "weight_feature": "heavy"})).weights == "heavy"
