"""The student of a search with the blocks for tables: a tower that suits large tables, from fresh weights."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from model_search import constants, single_trainer
from model_search.data import array_data
from model_search.errors import TrialError
from model_search.finish.students import comparison, distillation, student

LARGE = ("PLE_48", "MLP_256", "MLP_256", "MLP_256")


@pytest.mark.parametrize(("share", "fewest"), [(0.01, 1), (3, 1), (3, 10_000)])
def test_it_is_a_tower_for_large_tables_if_there_is_room_and_time(tmp_path, monkeypatch, share, fewest):
    monkeypatch.setattr(distillation, "_LEAST_SECONDS", 1000.0)
    monkeypatch.setattr(distillation, "SHARE_OF_ENSEMBLE", share)
    monkeypatch.setattr(distillation, "parts_of", lambda *ensemble: [])
    monkeypatch.setattr(student, "_FEWEST_FRESH_STEPS", fewest)
    monkeypatch.setattr(student, "_FRESH_STEPS", 5)
    monkeypatch.setattr(student, "_FRESH_EPOCHS", 0)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(400, 3)).astype("float32"), columns=["a", "b", "c"])
    provider = array_data.Provider(frame, np.where(frame["a"] * frame["b"] > 0, "yes", "no"))
    study = single_trainer.SingleTrainer(provider, constants.DEFAULT_TABULAR).try_models(
        number_models=6, train_steps=100, eval_steps=None, root_dir=tmp_path, batch_size=64, experiment_name="study",
        experiment_owner="", seed=1, progress=False, finish="both",
    )  # fmt: skip
    ensemble, made = study.final_models
    assert made.parameters <= ensemble.parameters / share
    trials = {trial.id: trial.plan.architecture for trial in study.trials}
    if fewest == 1:
        assert made.plan.architecture == LARGE if share < 1 else made.plan.architecture in trials.values()
        assert (made.plan.steps, made.plan.parent) == (5, None)
        assert made.plan.hyperparameters["schedule"] == "cosine"
    else:
        assert trials[made.plan.parent] == made.plan.architecture
    assert len(study.predict(frame, "student")) == 400


@pytest.mark.parametrize(("folds", "trains"), [(None, True), (3, False)])
def test_it_is_a_part_of_the_ensemble_where_that_is_better(tmp_path, monkeypatch, folds, trains):
    def failing(*arguments, **named):
        raise TrialError("the loss became nan")

    monkeypatch.setattr(distillation, "_LEAST_SECONDS", 1000.0)
    monkeypatch.setattr(comparison, "_BETTER", 100.0)
    monkeypatch.setattr(comparison, "_NEARER", 100.0)
    if not trains:
        monkeypatch.setattr(distillation, "distil", failing)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(1200, 3)).astype("float32"), columns=["a", "b", "c"])
    noise = 0.7 * rng.normal(size=1200)
    provider = array_data.Provider(frame, np.where(frame["a"] * frame["b"] + noise > 0, "yes", "no"))
    study = single_trainer.SingleTrainer(provider, constants.DEFAULT_TABULAR).try_models(
        number_models=12, train_steps=4, eval_steps=None, root_dir=tmp_path, batch_size=64, experiment_name="study",
        experiment_owner="", seed=1, progress=False, finish="both", folds=folds,
    )  # fmt: skip
    ensemble, student = study.final_models
    assert {member.trial for member in student.members} <= {member.trial for member in ensemble.members}
    assert student.plan is None
    assert student.parameters <= ensemble.parameters / 3
    assert ("better than a network of that size" in student.notes[0]) == trains
    agree = study.predict(frame, "student") == study.predict(frame, "ensemble")
    assert agree.mean() > 0.8
    written = study.export(tmp_path / "exported", "student")
    answers = keras.models.load_model(written["keras"], safe_mode=True)(
        {name: tf.constant(frame[name], "float32") for name in frame}
    )
    expected = study.predict_proba(frame, "student").to_numpy()
    assert np.asarray(answers["probabilities"]) == pytest.approx(expected, abs=1e-5)
    trials = ", ".join(str(member.trial) for member in student.members)
    assert f"a part of trials {trials}" in study.report().read_text(encoding="utf-8")
