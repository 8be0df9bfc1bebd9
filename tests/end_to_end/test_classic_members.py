"""Boosted trees and a linear model beside the networks of a search on a table with missing values and categories."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from model_search import single_trainer
from model_search.data import array_data
from model_search.errors import UserError
from model_search.spec.load import load_text

SPEC = """
blocks_to_use: ['FIXED_OUTPUT_FULLY_CONNECTED_128', 'IDENTITY'] minimum_depth: 1 maximum_depth: 2
search: 'NONADAPTIVE_RANDOM_SEARCH'
"""


def rows(count, seed):
    """A table whose label jumps where a number passes a threshold: easy for trees, hard for a small network."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(size=count), "b": rng.normal(size=count), "c": rng.choice(["x", "y"], count)})
    label = np.where((np.sin(6 * frame["a"]) > 0) ^ (frame["c"] == "x"), "yes", "no")
    frame.loc[rng.random(count) < 0.2, "b"] = np.nan
    return frame, label


@pytest.fixture(scope="module")
def provider():
    return array_data.Provider(*rows(900, 0))


def search(root, provider, number_models=8, **options):
    arguments = {
        "train_steps": 20, "eval_steps": 5, "batch_size": 32, "experiment_name": "study", "experiment_owner": "",
        "seed": 1, "progress": False, "finish": "ensemble",
    } | options  # fmt: skip
    trainer = single_trainer.SingleTrainer(data=provider, spec=load_text(SPEC))
    return trainer.try_models(number_models=number_models, root_dir=root, **arguments)


@pytest.fixture(scope="module")
def study(tmp_path_factory, provider):
    return search(tmp_path_factory.mktemp("runs"), provider)


def classic(study):
    return {trial.plan.classic: trial.id for trial in study.trials if trial.plan.classic}


def test_they_are_trials_like_others_and_the_ensemble_has_them(study):
    assert classic(study) == {"boosted_trees": 3, "linear": 4}
    assert study.best_trial.id == 3
    assert 3 in [member.trial for member in study.final_models[0].members]
    board = study.leaderboard()
    row = board[board["trial"] == 3].iloc[0]
    assert (row["kind"], row["blocks"]) == ("classic", "gradient-boosted trees")
    assert row["parameters"] > 30
    assert "gradient-boosted trees" in study.report().read_text(encoding="utf-8")
    assert len(study.trial(3).result.curve) > 1
    names = {artefact.name for artefact in study.trial(3).artefacts}
    assert names == {"weights.npz", "valid_logits.npz"}


def test_predictions_of_the_trees_are_right_and_of_every_way_to_serve_them_the_same(study, tmp_path):
    frame, label = rows(400, 1)
    assert study.evaluate(frame.assign(label=label), 3)["accuracy"] > 0.9
    for name in (4, "ensemble"):  # the ensemble has trial 3
        expected = study.predict_proba(frame, name).to_numpy()
        written = study.export(tmp_path / f"{name}", name)
        model = keras.models.load_model(written["keras"], safe_mode=True)
        typed = {"a": tf.constant(frame["a"], "float32"), "b": tf.constant(frame["b"], "float32")}
        found = model(typed | {"c": tf.constant(frame["c"].tolist())})
        assert np.asarray(found["probabilities"]) == pytest.approx(expected, abs=1e-5)
        served = tf.saved_model.load(str(written["saved_model"])).signatures["serving_default"]
        texts = {column: ["" if value != value else str(value) for value in frame[column]] for column in frame}
        found = served(**{column: tf.constant(values) for column, values in texts.items()})
        assert found["probabilities"].numpy() == pytest.approx(expected, abs=1e-5)
    assert json.loads((tmp_path / "ensemble" / "export.json").read_text())["metadata"]["members"]


def test_a_stored_plan_gives_the_same_again(study, provider):
    for number in classic(study).values():
        again = study.replay(number, provider)
        assert again.same, (again.metrics, again.stored)


def test_networks_alone(study, provider, tmp_path):
    assert not classic(search(tmp_path, provider, finish="neither", members="networks"))
    # A study that began so stays so.
    assert not classic(search(tmp_path, provider, 9, finish="neither"))
    (ensemble,) = study.finish(members="networks", progress=False)
    assert not {member.trial for member in ensemble.members} & set(classic(study).values())
    (ensemble,) = study.finish(progress=False)
    assert 3 in [member.trial for member in ensemble.members]
    with pytest.raises(UserError, match="members is 'trees'; expected one of auto, networks"):
        study.finish(members="trees")


def test_numbers_are_predicted_too(tmp_path):
    frame, _ = rows(500, 2)
    target = 100 + 10 * np.floor(frame["a"] * 2)
    study = search(tmp_path, array_data.Provider(frame, target.rename("label"), task="regression"), finish="neither")
    assert set(classic(study)) == {"boosted_trees", "linear"}
    more, _ = rows(200, 3)
    found = study.evaluate(more.assign(label=100 + 10 * np.floor(more["a"] * 2)), 3)
    assert found["r2"] > 0.9


def test_a_kernel_model_learns_what_is_smooth_and_is_served_with_the_same_predictions(tmp_path):
    def smooth(count, seed):
        frame = rows(count, seed)[0][["a", "b"]].fillna(0)
        return frame.assign(label=np.sin(3 * frame["a"]) + np.cos(2 * frame["b"]))

    provider = array_data.Provider(smooth(200, 4).iloc[:, :2], smooth(200, 4)["label"], task="regression")
    study = search(tmp_path, provider, 20, train_steps=5, finish="neither")
    number = classic(study)["kernel"]
    test = smooth(300, 5)
    assert study.best_trial.id == number and study.evaluate(test, number)["r2"] > 0.95
    assert study.replay(number, provider).same
    model = keras.models.load_model(study.export(tmp_path / "it", number)["keras"], safe_mode=True)
    found = model({name: tf.constant(test[name], "float32") for name in ("a", "b")})
    assert np.asarray(found["prediction"]).reshape(-1) == pytest.approx(study.predict(test, number), abs=1e-3)
