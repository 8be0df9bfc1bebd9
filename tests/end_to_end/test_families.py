"""Families of blocks compared, in a small size."""

import numpy as np
import pytest

from model_search import constants, load_study
from model_search.data import array_data
from model_search.errors import StudyError, UserError
from model_search.families import compare_families

FAMILIES = {
    "wide": ["FIXED_OUTPUT_FULLY_CONNECTED_64", "FULLY_CONNECTED"],
    "plain": ["FULLY_CONNECTED", "FULLY_CONNECTED_PYRAMID"],
}


def compared(root, families=FAMILIES, **others):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    arguments = {"number_models": 2, "train_steps": 20, "eval_steps": None, "batch_size": 16, "seed": 1} | others
    return compare_families(
        array_data.Provider(x, x[:, 0] > 0), constants.DEFAULT_DNN, families, best=2, seeds=2, root_dir=root,
        experiment_name="both", experiment_owner="tests", metric="accuracy", progress=False, **arguments,
    )  # fmt: skip


def test_the_best_towers_of_each_family_are_trained_again(tmp_path):
    found = compared(tmp_path)
    assert [family.name for family in found.families] == list(FAMILIES)
    for family in found.families:
        study = load_study(tmp_path, f"both/{family.name}")
        best = study.history.best(2)
        assert [tower.trial for tower in family.towers] == [trial.id for trial in best]
        assert {block for tower in family.towers for block in tower.blocks} <= set(FAMILIES[family.name])
        for seed in (2, 3):
            again = load_study(tmp_path, f"both/{family.name}-again-{seed}")
            assert again.record.seed == seed
            for place, (tower, trial) in enumerate(zip(family.towers, best, strict=True), 1):
                trained = again.trial(place)
                assert trained.plan.architecture == tower.blocks == trial.plan.architecture
                rate, original = (one.plan.hyperparameters["learning_rate"] for one in (trained, trial))
                assert rate == pytest.approx(original, rel=1e-6)
                assert trained.plan.hyperparameters["optimizer"] == trial.plan.hyperparameters["optimizer"]
                assert tower.scores[seed - 2] == trained.result.metrics["accuracy"]
        page = study.report(tmp_path / f"{family.name}.html").read_text()
        assert all(sentence in page for sentence in found.sentences())
    assert compared(tmp_path) == found  # read, not trained again


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"families": {"one": ["FULLY_CONNECTED"]}}, UserError, "at least two lists"),
        ({"seed": None}, UserError, "needs a seed"),
        ({"number_models": 1}, StudyError, "has 1 completed trials; expected at least 2"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        compared(tmp_path, **arguments)
