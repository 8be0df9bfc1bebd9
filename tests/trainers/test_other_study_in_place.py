"""Another study is begun in the place of one that is open: nothing is answered from it, or written into it."""

import hashlib
import shutil

import numpy as np
import pytest

from model_search import load_study, single_trainer
from model_search.data import array_data
from model_search.metadata.connection import VanishedStudyError
from model_search.spec.load import load_text
from model_search.trainers import finish_study
from model_search.trainers.options import SearchOptions

SPEC = """
blocks_to_use: "FIXED_OUTPUT_FULLY_CONNECTED_64" minimum_depth: 1 maximum_depth: 2
learning_spec { optimizers: "adam" }
"""


@pytest.fixture(scope="module")
def provider():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3)).astype("float32")
    return array_data.Provider(x, (x[:, 0] > 0).astype("int64"))


@pytest.fixture
def search(provider, tmp_path):
    def run():
        options = {
            "number_models": 2, "train_steps": 8, "eval_steps": None, "root_dir": tmp_path, "batch_size": 16,
            "experiment_name": "e", "experiment_owner": "me", "seed": 1, "progress": False, "finish": "ensemble",
        }  # fmt: skip
        return single_trainer.SingleTrainer(provider, load_text(SPEC)).run(SearchOptions.of(options))

    return run


def begin_another(root):
    """Moves the study, and puts one of the same trials in its place; returns the hashes of its files."""
    (root / "e").rename(root / "moved")
    shutil.copytree(root / "moved", root / "e")
    return hashes(root)


def hashes(root):
    files = [path for path in (root / "e").rglob("*") if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_study_that_is_open_leaves_the_other_one_alone(search, provider, tmp_path):
    search().close()
    study = load_study(tmp_path, "e")
    before = begin_another(tmp_path)
    for act in (
        lambda: study.finish(progress=False),
        lambda: study.finish(provider, "both", progress=False),
        lambda: study.replay(1, provider),
        lambda: study.train_longer(1, 4, provider, progress=False),
        lambda: study.final_fit(provider, 1, progress=False),
    ):
        with pytest.raises(VanishedStudyError):
            act()
    study.close()
    assert hashes(tmp_path) == before


def test_a_search_does_not_hand_back_the_other_one(search, tmp_path, monkeypatch):
    finish = finish_study.finish_session

    def finish_and_move(*given):
        finish(*given)
        begin_another(tmp_path)

    monkeypatch.setattr(finish_study, "finish_session", finish_and_move)
    with pytest.raises(VanishedStudyError):
        search()
