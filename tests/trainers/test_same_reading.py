"""The same rows read in another way: no study goes on with them, and none of its trials is run again on them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from model_search import constants, single_trainer
from model_search.data import array_data, csv_data, text_data
from model_search.data.prepare_options import PrepareOptions
from model_search.errors import StudyError
from model_search.spec.load import load_spec, load_text
from model_search.trainers.opening.same_reading import other_readings
from model_search.trainers.opening.study_setup import open_session
from model_search.trainers.options import SearchOptions

SPEC = 'blocks_to_use: "FIXED_OUTPUT_FULLY_CONNECTED_64" minimum_depth: 1 maximum_depth: 1'


def opened(folder, provider, spec=constants.DEFAULT_DNN, **changes):
    given = {
        "number_models": 1, "train_steps": 10, "eval_steps": None, "root_dir": folder, "batch_size": 16,
        "experiment_name": "x", "experiment_owner": "me", "seed": 1, "progress": False, "finish": "neither",
    }  # fmt: skip
    session = open_session(provider, load_spec(spec), SearchOptions.of(given | changes))
    session.store.close()
    return session


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    rng, file = np.random.default_rng(0), tmp_path_factory.mktemp("table") / "table.csv"
    codes, numbers = rng.integers(0, 6, 120), rng.normal(size=120).round(3)
    frame = pd.DataFrame({"code": codes, "u": numbers, "y": np.where(np.isin(codes, [0, 3]), "p", "q")})
    frame.to_csv(file, index=False)
    return str(file)


def of_csv(file, **changes):
    return csv_data.Provider(filename=file, label="y", **changes)


def of_texts(**changes):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice([f"w{number}" for number in range(20)], 12)) for _ in range(60)]
    return text_data.Provider(texts, ["a", "b"] * 30, **changes)


def of_tasks(**changes):
    x = np.random.default_rng(0).normal(size=(60, 3))
    return array_data.Provider(x, {"a": np.where(x[:, 0] > 0, "p", "q"), "b": x[:, 1] * 3 + 0.1}, **changes)


def test_columns_of_other_kinds_are_refused(tmp_path, file):
    opened(tmp_path, of_csv(file))
    with pytest.raises(StudyError, match=r"continued: column 'code' is a number, not a category of 6 values; give .*"):
        opened(tmp_path, of_csv(file, record_defaults=["", 0.0, ""]))
    opened(tmp_path, of_csv(file, record_defaults=[0.0, 0.0, ""]), number_models=2)  # as they were inferred


def test_texts_cut_elsewhere_or_with_another_vocabulary_are_refused(tmp_path):
    opened(tmp_path, of_texts(max_tokens=6, vocabulary=5), constants.DEFAULT_TEXT)
    words = r"read up to 6 words, with a vocabulary of 5, not up to {}; give the same max_tokens and vocabulary\. Begin"
    for changes, said in (
        ({"max_tokens": 9, "vocabulary": 8}, "9 words, with a vocabulary of 8"),
        ({"max_tokens": 9, "vocabulary": 5}, "9 words, with a vocabulary of 5( others)?"),
        ({"max_tokens": 6, "vocabulary": 7}, "6 words, with a vocabulary of 7"),
    ):
        with pytest.raises(StudyError, match=words.format(said)):
            opened(tmp_path, of_texts(**changes), constants.DEFAULT_TEXT)
    opened(tmp_path, of_texts(max_tokens=6, vocabulary=5), constants.DEFAULT_TEXT, number_models=3)


def test_further_tasks_of_another_kind_are_refused(tmp_path):
    opened(tmp_path, of_tasks())
    with pytest.raises(StudyError, match=r"'b' is predicted as a number, not as the quantiles 0\.1, 0\.5, 0\.9 \(give"):
        opened(tmp_path, of_tasks(task={"b": "quantile"}))
    opened(tmp_path, of_tasks(task={"b": "regression"}))  # as it was inferred


def test_numbers_go_on_as_they_are_learnt(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 3))

    def provider(log_target):
        return array_data.Provider(x, np.exp(3 * x[:, 0]), log_target=log_target)

    for first, other, said in (
        (
            True,
            None,
            r"'label' is predicted as a number, by its logarithm, not as a number \(give the same log_target\)",
        ),
        (
            False,
            True,
            r"'label' is predicted as a number, not as a number, by its logarithm \(give the same log_target\)",
        ),
    ):
        opened(tmp_path / str(first), provider(first))
        with pytest.raises(StudyError, match=said):
            opened(tmp_path / str(first), provider(other))
        opened(tmp_path / str(first), provider(first), number_models=2)


def test_a_finished_study_is_not_worked_on_with_another_reading(tmp_path, file):
    search = single_trainer.SingleTrainer(of_csv(file), load_text(SPEC))
    study = search.try_models(
        number_models=1, train_steps=4, eval_steps=None, root_dir=tmp_path, batch_size=16, experiment_name="x",
        experiment_owner="me", seed=1, progress=False, finish="neither",
    )  # fmt: skip
    other = of_csv(file, record_defaults=["", 0.0, ""])
    for call in (
        lambda data: study.finish(data, progress=False),
        lambda data: study.replay(1, data),
        lambda data: study.train_longer(1, 4, data, progress=False),
    ):
        with pytest.raises(StudyError, match=r"study 'x' are read otherwise now: column 'code' is a number, not a cat"):
            call(other)
    assert study.replay(1, of_csv(file)).same


def test_a_file_goes_on_as_a_frame_of_its_texts(tmp_path, file):
    opened(tmp_path, of_csv(file))
    frame = pd.read_csv(file, dtype=str)
    opened(tmp_path, array_data.Provider(frame[["code", "u"]], frame["y"].rename("y")))


def test_what_depends_on_the_version_alone_is_no_difference(file):
    """Sentences for people, scales, and what earlier versions did not store."""
    data = of_csv(file).prepare(PrepareOptions(seed=1, batch_size=16))
    description = {**data.description, "inputs": {name: one.to_json() for name, one in data.input_specs.items()}}
    assert other_readings(description, data) == []
    features = [{**one, "center": one["center"] + 1e-9, "whole": False} for one in description["schema"]["features"]]
    earlier = {
        "task": {name: value for name, value in description["task"].items() if name != "inferred"},
        "schema": {"features": features},
        "columns": description["columns"],
        "feature_shape": [2],
    }
    assert other_readings(earlier, data) == []
    assert other_readings(
        {**earlier, "inputs": {"features": {"shape": [3], "dtype": "float32", "lengths": None}}}, data
    )


def test_texts_among_inputs_by_name_are_compared():
    x = {"numbers": np.random.default_rng(0).normal(size=(40, 2)), "words": ["so it is", "so is it not"] * 20}
    options = dataclasses.replace(PrepareOptions(seed=1, batch_size=16), embedding="EMBEDDING")
    data = array_data.Provider(x, ["a", "b"] * 20).prepare(options)
    assert other_readings(data.description, data) == []
    form = {**data.description["named"]["words"], "text": {"steps": 3, "vocabulary": ["so", "it"]}}
    stored = {**data.description, "named": {**data.description["named"], "words": form}}
    (said,) = other_readings(stored, data)
    assert said.startswith("the texts of input 'words' are read up to 3 words, with a vocabulary of 2, not up to")
    now = data.description["named"]["words"]
    before = {**now, "text": {name: now["text"][name] for name in ("steps", "vocabulary")}}  # as earlier versions did
    assert other_readings({**data.description, "named": {**data.description["named"], "words": before}}, data) == []


def test_a_number_with_the_mean_of_the_label_is_another_one():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 300, 1200)
    provider = array_data.Provider(pd.DataFrame({"code": codes}), rng.normal(size=300)[codes])
    data = provider.prepare(PrepareOptions(seed=1, batch_size=16))
    assert other_readings(data.description, data) == []
    (feature,) = data.description["schema"]["features"]
    without = {**feature, "mean_values": [], "means": []}
    said, _ = other_readings({**data.description, "schema": {"features": [without]}}, data)
    assert said == "column 'code' is a number, not a number, with the mean of the label"


def test_a_category_with_the_mean_of_the_label_is_another_one():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 300, 1200)
    frame = pd.DataFrame({"code": [f"k{code}" for code in codes], "x": rng.normal(size=1200)})
    provider = array_data.Provider(frame, rng.normal(size=300)[codes] + 0.1 * rng.normal(size=1200))
    data = provider.prepare(PrepareOptions(seed=1, batch_size=16))
    assert other_readings(data.description, data) == []
    first, second = data.description["schema"]["features"]
    assert first["means"]
    without = {**first, "mean_texts": [], "means": []}
    said, _ = other_readings({**data.description, "schema": {"features": [without, second]}}, data)
    what = f"a category of {len(first['vocabulary'])} values"
    assert said == f"column 'code' is {what}, not {what}, with the mean of the label and its place"
