"""A stored plan gives the same result again; deleted files come back; equal seeds give equal bits."""

import json
import pathlib
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from model_search import single_trainer
from model_search.data import csv_data
from model_search.errors import ModelSearchError, StudyError, UserError
from model_search.metadata.artefacts import LocalArtefacts, PrunedArtefactError
from model_search.metadata.sqlite_store import SqliteStore
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.study import load_study

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def provider(cancer_csv):
    return csv_data.Provider(filename=str(cancer_csv), label="diagnosis")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, search, provider):
    """Six models: the fifth is an ensemble, the sixth its best member's student."""
    return search(tmp_path_factory.mktemp("replay"), provider, number_models=6, train_steps=40, seed=3)


@pytest.fixture
def study(finished, tmp_path):
    """A copy, to be damaged."""
    shutil.copytree(finished.folder, tmp_path / "study")
    return load_study(tmp_path, "study")


def prune(study, numbers):
    store, files = SqliteStore(study.folder / "study.db"), LocalArtefacts(study.folder)
    for artefact in store.prune(numbers):
        files.delete(artefact)
    store.close()


def whole(study):
    return [trial.id for trial in study.trials if trial.result and not any(a.pruned for a in trial.result.artefacts)]


def test_a_replay_gives_the_stored_result(finished, provider):
    kinds = set()
    for trial in finished.trials[3:]:
        found = finished.replay(trial.id, provider)
        assert found.same, (trial.id, found)
        assert dict(found.metrics) == dict(trial.result.metrics)
        assert (found.restored, found.notes) == ((), ())
        kinds.add(trial.plan.kind.value)
    assert kinds == {"search", "ensemble", "distillation"}


def test_deleted_files_are_reported_and_made_again(study, provider, cancer_csv):
    ensemble = next(trial for trial in study.trials if trial.plan.members)
    before = study.predict(str(cancer_csv), trial=ensemble.id)
    prune(study, [trial.id for trial in study.trials])
    assert whole(study) == []
    with pytest.raises(PrunedArtefactError, match=r"was deleted to save room .*study\.replay\(\d, data\)"):
        study.model(ensemble.id)
    assert len(study.leaderboard()) == 6
    found = study.replay(ensemble.id, provider)
    assert found.same
    assert found.restored == (*ensemble.plan.members, ensemble.id)
    assert whole(study) == list(found.restored)
    np.testing.assert_array_equal(study.predict(str(cancer_csv), trial=ensemble.id), before)


def test_a_trial_that_was_ended_early_is_ended_there_again(tmp_path, provider):
    blocks = ["FIXED_OUTPUT_FULLY_CONNECTED_64"]
    spec = PhoenixSpec(search="AUTO_KERAS", blocks_to_use=blocks, minimum_depth=1, maximum_depth=2)
    study = single_trainer.SingleTrainer(provider, spec).try_models(
        1, 600, None, tmp_path, 32, "x", "", seed=3, progress=False, finish="neither", members="networks"
    )
    trial = study.trial(1)
    assert trial.result.stopped_at < trial.plan.steps
    found = study.replay(1, provider)
    assert found.same
    assert found.notes == ()


def test_a_damaged_file_is_made_again(study, provider):
    first = study.trial(1)
    weights = study.folder / first.result.artefacts[0].path
    content = weights.read_bytes()
    weights.write_bytes(content[:-1])
    assert study.replay(1, provider).restored == (1,)
    assert weights.read_bytes() == content
    assert study.trial(1).result == first.result


def test_what_was_trained_before_other_settings_is_replayed_with_its_own(study, search, provider):
    search(study.folder.parent, provider, number_models=7, train_steps=20, eval_steps=1, batch_size=16, seed=None)
    assert study.replay(4, provider).same
    assert study.replay(7, provider).same


def test_what_cannot_be_replayed_is_said(study, provider, tmp_path, cancer_csv):
    with pytest.raises(StudyError, match="has no trial 99"):
        study.replay(99, provider)
    with pytest.raises(UserError, match="data is a str; expected the provider"):
        study.replay(1, str(cancer_csv))
    lines = cancer_csv.read_text().splitlines()
    (tmp_path / "other.csv").write_text("\n".join(lines[:200]))
    with pytest.raises(StudyError, match=r"training data .* differ"):
        study.replay(1, csv_data.Provider(filename=str(tmp_path / "other.csv"), label="diagnosis"))
    store = SqliteStore(study.folder / "study.db")
    claim = store.claim("w", 99)
    store.fail(claim, "no luck")
    store.close()
    with pytest.raises(StudyError, match=f"trial {claim.trial_id} is failed; only a completed trial"):
        study.replay(claim.trial_id, provider)


def test_a_function_takes_the_place_of_no_built_in_metric(study, provider):
    for call in (study.replay, lambda *args, **metric: study.train_longer(1, 4, provider, **metric)):
        with pytest.raises(StudyError, match=r"metric of study 'study' is the built-in 'loss'; leave it out: study"):
            call(1, provider, metric=lambda labels, predictions: 0.0)


def test_a_metric_that_is_a_function_has_to_be_given_again(tmp_path, search, provider):
    def hits(labels, predictions):
        return float(np.mean(labels == predictions.argmax(axis=-1)))

    study = search(tmp_path, provider, number_models=1, train_steps=20, metric=hits, goal="maximize")
    with pytest.raises(StudyError, match=r"the metric 'hits' is a function.*metric=\.\.\."):
        study.replay(1, provider)
    assert study.replay(1, provider, metric=hits).same


@pytest.mark.parametrize("block", ["NO_SUCH_BLOCK", "__import__('os').system('touch executed')"])
def test_a_row_with_an_unknown_block_is_refused_in_words(study, provider, block):
    connection = sqlite3.connect(study.folder / "study.db")
    connection.execute("UPDATE trials SET plan = json_set(plan, '$.architecture[0]', ?) WHERE id = 1", (block,))
    connection.commit()
    connection.close()
    for act in (lambda: study.model(1), lambda: study.replay(1, provider)):
        with pytest.raises(ModelSearchError, match=r"block"):
            act()
    assert study.leaderboard() is not None
    assert not pathlib.Path("executed").exists()


TWICE = """
import json, sys, tempfile
from model_search import constants, single_trainer
from model_search.data import csv_data

found = []
for root in (tempfile.mkdtemp(), tempfile.mkdtemp()):
    provider = csv_data.Provider(filename=sys.argv[1], label="diagnosis")
    study = single_trainer.SingleTrainer(data=provider, spec=constants.DEFAULT_DNN).try_models(
        number_models=6, train_steps=30, eval_steps=5, root_dir=root, batch_size=32, experiment_name="x",
        experiment_owner="", seed=7, progress=False, finish="neither", deterministic=True)
    kept = [trial.result.environment for trial in study.trials]
    threads = {(env["intra_threads"], env["inter_threads"], env["deterministic"]) for env in kept}
    same = study.replay(6, provider).same
    trials = [(trial.plan.to_json(), dict(trial.result.metrics)) for trial in study.trials]
    found.append([trials, same, sorted(threads)])
print(json.dumps(found))
"""


def test_a_deterministic_search_gives_the_same_bits_again(cancer_csv):
    done = subprocess.run(
        [sys.executable, "-c", TWICE, str(cancer_csv)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert first == second
    trials, same, threads = first
    assert len(trials) == 6
    assert same
    assert len(threads) == 1
    assert threads[0][2] is True
