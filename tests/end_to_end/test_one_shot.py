"""A search with shared weights on small pictures: the supernet in two trials, then towers from scratch."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from model_search import cells, single_trainer
from model_search.data import image_data
from model_search.errors import StudyError
from model_search.metadata.trial import TrialKind
from model_search.spec.load import load_text

SPEC = """problem_type: CNN search: "SPOS" starting_points: false
cell { nodes: 1 channels: 3 reductions: 0
       operations: ["CELL_IDENTITY", "CELL_CONVOLUTION_1X1", "CELL_MAX_POOLING_3X3"] }
learning_spec { optimizers: "adam" }
search_settings { hparam { key: "supernet_parts" value { int64_value: 2 } }
                  hparam { key: "candidates" value { int64_value: 8 } }
                  hparam { key: "random_share" value { float_value: 0.5 } } }"""


def provider():
    digits = load_digits()
    return image_data.Provider(x=digits.images[:160].astype("uint8"), y=digits.target[:160])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return single_trainer.SingleTrainer(provider(), load_text(SPEC)).try_models(
        number_models=5,
        train_steps=10,
        eval_steps=None,
        root_dir=tmp_path_factory.mktemp("runs"),
        batch_size=32,
        experiment_name="shared",
        experiment_owner="tests",
        metric="accuracy",
        seed=1,
        progress=False,
        finish="ensemble",
    )


def test_what_the_supernet_finds_is_trained_and_ranked_like_any_trial(study):
    kinds = [trial.plan.kind for trial in study.trials]
    assert kinds[:2] == [TrialKind.SUPERNET] * 2 and TrialKind.SUPERNET not in kinds[2:]
    assert len(study.trial(2).result.candidates) == 8
    board = study.leaderboard()
    assert set(board["trial"].dropna()) == {3, 4, 5}
    assert study.best_trial.id >= 3 and cells.has_cells(study.best_trial.plan.architecture)
    assert len(study.predict(np.zeros((2, 8, 8), "uint8"))) == 2


def test_its_checkpoint_is_a_file_with_a_checksum(study):
    names = {artefact.name: artefact for artefact in study.trial(1).artefacts}
    assert {len(artefact.sha256) for artefact in names.values()} == {64}
    assert len(names) == 2  # weights, and the optimizer's state


def test_the_report_tells_of_it(study):
    text = study.report().read_text()
    assert "A SPOS supernet was trained and compared 8 architectures" in text


def test_a_supernet_trial_is_no_model(study):
    with pytest.raises(StudyError, match="trial 1 is a SPOS supernet, which is no model"):
        study.predict(np.zeros((2, 8, 8), "uint8"), trial=1)


def test_a_supernet_trial_is_replayed(study):
    replayed = study.replay(2, provider())
    assert replayed.metrics["supernet_loss"] == pytest.approx(replayed.stored["supernet_loss"], rel=0.01)
    assert not replayed.restored
