"""Finalists that are trained again in folds, as trials of the study, and what is made of them."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from model_search import single_trainer
from model_search.data import array_data
from model_search.errors import UserError
from model_search.metadata.trial import TrialKind
from model_search.spec.load import load_text

SPEC = """
blocks_to_use: ['FIXED_OUTPUT_FULLY_CONNECTED_128', 'LOWRANK_1'] minimum_depth: 1 maximum_depth: 2
search: 'NONADAPTIVE_RANDOM_SEARCH'
"""


def rows(count, seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(size=count), "b": rng.normal(size=count)})
    return frame, np.where(frame["a"] + 0.5 * rng.normal(size=count) > 0, "yes", "no")


@pytest.fixture(scope="module")
def provider():
    return array_data.Provider(*rows(300, 0))


def search(root, provider, number_models=2, **options):
    arguments = {
        "train_steps": 20, "eval_steps": 5, "batch_size": 32, "experiment_name": "study", "experiment_owner": "",
        "seed": 1, "progress": False, "finish": "ensemble", "folds": 3,
    } | options  # fmt: skip
    trainer = single_trainer.SingleTrainer(data=provider, spec=load_text(SPEC))
    return trainer.try_models(number_models=number_models, root_dir=root, **arguments)


@pytest.fixture(scope="module")
def study(tmp_path_factory, provider):
    return search(tmp_path_factory.mktemp("runs"), provider)


def bags(study):
    return [trial for trial in study.trials if trial.plan.kind is TrialKind.BAGGING]


def test_the_finalists_are_trained_in_folds_and_the_ensemble_is_made_of_them(study):
    assert [trial.plan.folds for trial in study.trials] == [0, 0, 3, 3]
    for bag in bags(study):
        single = study.trial(bag.plan.parent)
        assert bag.plan.architecture == single.plan.architecture
        assert bag.result.parameters == 3 * single.result.parameters
    (ensemble,) = study.final_models
    assert {member.trial for member in ensemble.members} <= {3, 4}
    assert any("on 300 rows, each predicted by towers trained without it" in note for note in ensemble.notes)
    best = study.best
    assert best == ("ensemble" if ensemble.accepted else study.history.leader.id)
    assert study.history.leader.id in (3, 4)
    assert study.leaderboard().iloc[0]["kind"] == ("final ensemble" if ensemble.accepted else "bagging")
    assert "bagging" in study.report().read_text(encoding="utf-8")


def test_a_bag_answers_with_the_mean_of_its_towers_however_it_is_served(study, tmp_path):
    frame, label = rows(100, 1)
    assert study.evaluate(frame.assign(label=label), 3)["accuracy"] > 0.7
    expected = study.predict_proba(frame, 3).to_numpy()
    written = study.export(tmp_path / "bag", 3)
    model = keras.models.load_model(written["keras"], safe_mode=True)
    found = model({name: tf.constant(frame[name], "float32") for name in frame})
    assert np.asarray(found["probabilities"]) == pytest.approx(expected, abs=1e-5)
    assert study.calibration("ensemble") is not None


def test_the_second_class_is_predicted_from_a_threshold_on(study):
    frame, _ = rows(100, 1)
    shares = study.predict_proba(frame)["yes"].to_numpy()
    limit = study.threshold(metric="f1")
    assert 0 < limit < 1
    assert (study.predict(frame, threshold=limit) == np.where(shares >= limit, "yes", "no")).all()
    assert study.threshold(3, "accuracy") > 0
    with pytest.raises(UserError, match=r"no effect on loss, the study's metric; call study.threshold\(metric='f1'\)"):
        study.predict(frame, threshold="best")


def test_a_bag_is_run_again_and_counts_for_nothing_when_the_study_goes_on(study, provider):
    again = study.replay(3, provider)
    assert again.same, (again.metrics, again.stored)
    folder = study.folder.parent
    assert len(search(folder, provider).trials) == 4  # all that was asked for is there
    more = search(folder, provider, 3, folds=None)
    assert [trial.plan.folds for trial in more.trials] == [0, 0, 3, 3, 0]
    more = search(folder, provider, 3)
    assert [trial.plan.parent for trial in bags(more)][:2] == [trial.plan.parent for trial in bags(study)][:2]
    assert {trial.plan.parent for trial in bags(more)} == {1, 2, 5}


def test_validation_rows_that_are_given_are_used_as_they_are(tmp_path, capsys):
    provider = array_data.Provider(*rows(200, 0), validation=rows(50, 1))
    assert not bags(search(tmp_path, provider, 1))
    assert "folds=3 has no effect: validation rows were given" in capsys.readouterr().err


def test_a_student_of_bags_is_as_sure_as_its_teacher_which_has_seen_the_validation_rows(tmp_path, provider):
    ensemble, student = search(tmp_path, provider, finish="both").final_models
    assert student.calibration.temperature == ensemble.calibration.temperature
    assert student.calibration.fitted
    assert student.calibration.log_loss_before > 0
