"""Races and kills, with real processes."""

import json
import pathlib
import signal
import sqlite3
import subprocess
import sys

import pytest
from store_contract import make_plan

from model_search.metadata.migrations import MIGRATIONS
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.trial import TrialState

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
PROCESSES = 8


@pytest.fixture
def start(tmp_path):
    started = []

    def start_one(role, number=0):
        process = subprocess.Popen(
            [sys.executable, str(HERE / "race_worker.py"), role, str(tmp_path / "study.db"), str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def race(processes, tmp_path):
    """Lets all go at once; returns what each printed last."""
    for process in processes:
        assert json.loads(process.stdout.readline()) == "ready"
    (tmp_path / "go").touch()
    said = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        said.append(json.loads(out.splitlines()[-1]))
    return said


def check_whole(path):
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


def test_eight_processes_claim_two_hundred_trials(start, tmp_path):
    SqliteStore(tmp_path / "study.db").close()
    said = race([start("claims", 25) for _ in range(PROCESSES)], tmp_path)
    assert [len(ids) for ids in said] == [25] * PROCESSES
    assert sorted(trial_id for ids in said for trial_id in ids) == list(range(1, 25 * PROCESSES + 1))
    store = SqliteStore(tmp_path / "study.db")
    trials, revision = store.history()
    store.close()
    assert [trial.state for trial in trials] == [TrialState.CLAIMED] * 25 * PROCESSES
    assert revision == len(trials)
    check_whole(tmp_path / "study.db")


def test_eight_processes_create_one_study(start, tmp_path):
    said = race([start("create", seed) for seed in range(PROCESSES)], tmp_path)
    assert len(set(said)) == 1
    store = SqliteStore(tmp_path / "study.db")
    assert store.study().seed == said[0]
    store.close()
    connection = sqlite3.connect(tmp_path / "study.db")
    assert connection.execute("SELECT count(*) FROM migrations").fetchone() == (len(MIGRATIONS),)
    connection.close()


@pytest.mark.parametrize("planned", [0, 1])
def test_a_kill_after_the_claim_leaves_a_trial_that_is_taken_up_again(start, tmp_path, planned):
    process = start("hold", planned)
    assert json.loads(process.stdout.readline()) == 1
    store = SqliteStore(tmp_path / "study.db")
    assert store.reclaim_dead() == []
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert store.reclaim_dead() == [1]
    claim = store.claim("next", 1)
    assert (claim.trial_id, claim.attempt, claim.plan) == (1, 2, make_plan(1) if planned else None)
    store.close()


def test_of_four_processes_that_reclaim_a_dead_trial_one_does(start, tmp_path):
    holder = start("hold", 1)
    assert json.loads(holder.stdout.readline()) == 1
    holder.kill()
    holder.wait()
    said = race([start("reclaim") for _ in range(4)], tmp_path)
    assert sorted(said) == [[], [], [], [1]]
    connection = sqlite3.connect(tmp_path / "study.db")
    assert connection.execute("SELECT state, vanished FROM trials").fetchall() == [("interrupted", 1)]
    connection.close()


def test_kills_in_the_midst_of_commits_lose_nothing_that_was_reported(start, tmp_path):
    reported = set()
    for number in range(3):
        workers = [start("endless", number) for _ in range(2)]
        for worker in workers:
            for _ in range(3 + 3 * number):
                reported.add(json.loads(worker.stdout.readline()))
        for worker in workers:
            worker.kill()
            out, err = worker.communicate()
            assert err == ""
            reported |= {json.loads(line) for line in out.split("\n")[:-1]}
        check_whole(tmp_path / "study.db")
        store = SqliteStore(tmp_path / "study.db")
        store.reclaim_dead()
        trials = store.history()[0]
        store.close()
        assert [trial.id for trial in trials] == list(range(1, len(trials) + 1))
        assert {trial.state for trial in trials} <= {TrialState.COMPLETED, TrialState.INTERRUPTED}
        completed = {trial.id: trial for trial in trials if trial.state is TrialState.COMPLETED}
        assert reported <= completed.keys()
        assert len(completed) >= len(trials) - 2
        assert all(len(trial.result.curve) == 2 and trial.result.artefacts for trial in completed.values())
