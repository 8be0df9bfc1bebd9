"""The history that a study hands out."""

import copy
import pickle
import shutil
import threading

import pytest

from model_search.errors import StudyError
from model_search.metadata import paths
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import StudyRecord
from model_search.metadata.trial import TrialKind, TrialPlan, TrialResult
from model_search.study import load_study

READERS, TRIALS = 4, 40


class Running:
    """A study whose trials complete on request."""

    def __init__(self, root, name="s"):
        folder = paths.study_dir(root, name)
        folder.mkdir(parents=True)
        self.store = SqliteStore(folder / paths.DATABASE)
        task = {"kind": "classification", "label": "y", "logits_dimension": 2, "classes": [0, 1]}
        self.store.create_study(StudyRecord(name, "me", "", "loss", "minimize", 1, "f", {"task": task}, {}, {}))
        self.study = load_study(root, name)

    def complete(self, loss):
        claim = self.store.claim("w", 10**6)
        plan = TrialPlan(claim.trial_id, TrialKind.SEARCH, ("IDENTITY",), {}, 10, 8, 1, f"key {claim.trial_id}")
        self.store.commit_plan(claim, plan)
        self.store.complete(claim, TrialResult({"loss": loss}, 1, 1, {}))


def ids(trials):
    return [trial.id for trial in trials]


def test_a_history_that_was_handed_out_does_not_change(tmp_path):
    running = Running(tmp_path)
    before = running.study.history
    with pytest.raises(StudyError, match="no completed trial"):
        _ = running.study.best
    running.complete(0.5)
    one = running.study.history
    running.complete(0.25)
    two = running.study.history
    assert (ids(before.completed), ids(one.completed), ids(two.completed)) == ([], [1], [2, 1])
    assert len(before) == 0 and ids(one.towers.completed) == [1]
    one.update(two.trials)
    assert ids(running.study.history.completed) == [2, 1] and running.study.best == 2


@pytest.mark.parametrize("name", ["s", "families/LSTM", "a study: " + "of a long name " * 20])
def test_a_pickled_study_is_opened_again_where_it_is(tmp_path, monkeypatch, name):
    running = Running(tmp_path, name)
    running.complete(0.5)
    monkeypatch.chdir(tmp_path.parent)
    study = load_study(tmp_path.name, name)
    _ = study.history
    pickled = pickle.dumps(study)
    running.complete(0.25)
    monkeypatch.chdir("/")  # the other process may work elsewhere
    again = pickle.loads(pickled)
    assert (again.folder, again.name, again.best) == (running.study.folder, running.study.name, 2)
    assert copy.deepcopy(again).best == 2
    shutil.rmtree(tmp_path)
    with pytest.raises(StudyError, match="no study"):
        pickle.loads(pickled)


def test_each_thread_has_a_history_of_its_own(tmp_path):
    running = Running(tmp_path)
    begin, done, taken, wrong = threading.Barrier(READERS + 1), threading.Event(), [], []

    def take():
        history = running.study.history
        trials, ranked = list(history.trials), history.completed
        assert len(trials) == len(history)
        assert [trial.objective("loss") for trial in ranked] == sorted(trial.objective("loss") for trial in ranked)
        taken.append((history, ids(ranked)))

    def read():
        try:
            take()
            begin.wait()
            while not done.is_set():
                take()
            take()
        except BaseException as error:
            wrong.append(error)
            begin.abort()
            raise

    threads = [threading.Thread(target=read) for _ in range(READERS)]
    for thread in threads:
        thread.start()
    try:
        begin.wait()
        for number in range(TRIALS):
            running.complete(float((number * 7) % 11))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert all(ids(history.completed) == ids(history.towers.completed) == seen for history, seen in taken)
    assert {len(seen) for _, seen in taken} >= {0, TRIALS}
