"""The student of a search with the blocks for tables: a tower that suits large tables, from fresh weights."""

import numpy as np
import pandas as pd
import pytest

from model_search import constants, single_trainer
from model_search.data import array_data
from model_search.finish import distillation, student

LARGE = ("PLE_48", "MLP_256", "MLP_256", "MLP_256")


@pytest.mark.parametrize(("share", "fewest"), [(0.01, 1), (3, 1), (3, 10_000)])
def test_it_is_a_tower_for_large_tables_if_there_is_room_and_time(tmp_path, monkeypatch, share, fewest):
    monkeypatch.setattr(distillation, "SHARE_OF_ENSEMBLE", share)
    monkeypatch.setattr(student, "_FEWEST_FRESH_STEPS", fewest)
    monkeypatch.setattr(student, "_FRESH_STEPS", 5)
    monkeypatch.setattr(student, "_FRESH_EPOCHS", 0)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(400, 3)), columns=["a", "b", "c"])
    provider = array_data.Provider(frame, np.where(frame["a"] * frame["b"] > 0, "yes", "no"))
    study = single_trainer.SingleTrainer(provider, constants.DEFAULT_TABULAR).try_models(
        number_models=6, train_steps=100, eval_steps=None, root_dir=tmp_path, batch_size=64, experiment_name="study",
        experiment_owner="", seed=1, progress=False, finish="both",
    )  # fmt: skip
    ensemble, made = study.final_models
    assert made.parameters <= ensemble.parameters / share
    trials = {trial.plan.architecture: trial.id for trial in study.trials}
    if fewest == 1:
        assert made.plan.architecture == LARGE if share < 1 else made.plan.architecture in trials
        assert (made.plan.steps, made.plan.parent) == (5, None)
        assert made.plan.hyperparameters["schedule"] == "cosine"
    else:
        assert made.plan.parent == trials[made.plan.architecture]
    assert len(study.predict(frame, "student")) == 400
