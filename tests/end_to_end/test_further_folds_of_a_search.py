"""A search whose better trials are evaluated on further folds, trained for real."""

import numpy as np
import pandas as pd
import pytest

from model_search import single_trainer
from model_search.data import array_data
from model_search.errors import StudyError
from model_search.metadata.trial import TrialKind
from model_search.spec.load import load_text

SPEC = """
blocks_to_use: ['FIXED_OUTPUT_FULLY_CONNECTED_128', 'LOWRANK_1'] minimum_depth: 1 maximum_depth: 2
search: 'NONADAPTIVE_RANDOM_SEARCH'
"""


@pytest.fixture(scope="module")
def provider():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=200), "b": rng.normal(size=200)})
    return array_data.Provider(frame, np.where(frame["a"] + 0.5 * rng.normal(size=200) > 0, "yes", "no"))


@pytest.fixture(scope="module")
def study(tmp_path_factory, provider):
    trainer = single_trainer.SingleTrainer(data=provider, spec=load_text(SPEC))
    return trainer.try_models(
        7, 20, 5, tmp_path_factory.mktemp("runs"), 32, "study", "", seed=1, progress=False, finish="ensemble",
        folds=None, further_folds=2, metric="accuracy", members="networks",
    )  # fmt: skip


def test_the_better_trials_are_ranked_by_their_figures_on_all_folds(study):
    on_folds = [trial for trial in study.trials if trial.plan.kind is TrialKind.FOLDS]
    assert on_folds and len(study.trials) == 7
    board = study.leaderboard()
    assert not set(board["trial"].dropna()) & {trial.id for trial in on_folds}
    assert board[board["kind"] == "search"]["accuracy"].is_monotonic_decreasing
    assert "folds" in study.report().read_text(encoding="utf-8")
    for trial in on_folds:
        assert [artefact.name for artefact in trial.artefacts] == ["valid_logits.npz"]


def test_a_trial_on_further_folds_is_no_model_and_runs_again(study, provider):
    number = next(trial.id for trial in study.trials if trial.plan.left_out)
    with pytest.raises(StudyError, match="on further folds, and is no model; name that one"):
        study.predict(pd.DataFrame({"a": [0.0], "b": [0.0]}), number)
    again = study.replay(number, provider)
    assert again.same, (again.metrics, again.stored)
