"""Processes that are gone, and workers whose heartbeat stands still."""

import dataclasses
import os
import subprocess
import sys

import pytest

from model_search.errors import UserError
from model_search.metadata import processes
from model_search.metadata.heartbeat_watcher import HeartbeatWatcher
from model_search.metadata.processes import ProcessIdentity
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.trial import TrialState


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture(params=["proc", "ps"])
def way(request, monkeypatch, tmp_path):
    """How the system is asked: by /proc, or by `ps` where there is none."""
    if request.param == "ps":
        monkeypatch.setattr(processes, "_PROC", tmp_path)
    elif not (processes._PROC / "self" / "stat").exists():
        pytest.skip("this system has no /proc")
    return request.param


def test_this_process_lives(way):
    me = ProcessIdentity.of()
    assert me.pid == os.getpid()
    assert me.started
    assert not me.is_gone()


def test_a_killed_process_is_gone_even_as_a_zombie(way, sleeper):
    identity = ProcessIdentity.of(sleeper.pid)
    assert not identity.is_gone()
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert identity.is_gone()
    sleeper.wait()
    assert identity.is_gone()


def test_another_process_with_the_same_number_is_not_the_same(way):
    earlier = dataclasses.replace(ProcessIdentity.of(), started="before")
    assert earlier.is_gone()


def test_what_cannot_be_known_is_not_gone(way, sleeper):
    identity = ProcessIdentity.of(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert not dataclasses.replace(identity, host="another host").is_gone()
    assert not dataclasses.replace(identity, namespace="another container").is_gone()


def test_nothing_outlives_a_restart_of_the_machine():
    me = dataclasses.replace(ProcessIdentity.of(), boot="an earlier one")
    assert me.is_gone() == bool(processes._boot())


@pytest.mark.parametrize(("then", "now"), [("", "this one"), ("an earlier one", ""), ("", "")])
def test_where_starts_of_the_machine_cannot_be_told_apart_nothing_is_gone(monkeypatch, then, now):
    me = dataclasses.replace(ProcessIdentity.of(), boot=then)
    monkeypatch.setattr(processes, "_boot", lambda: now)
    assert not me.is_gone()


def test_a_start_that_was_not_known_proves_nothing(way):
    assert not dataclasses.replace(ProcessIdentity.of(), started="").is_gone()


def test_a_process_that_proc_hides_lives(monkeypatch, sleeper):
    identity = ProcessIdentity.of(sleeper.pid)
    hidden = str(processes._PROC / str(sleeper.pid) / "stat")
    read = processes._read
    monkeypatch.setattr(processes, "_read", lambda path: "" if str(path) == hidden else read(path))
    assert not identity.is_gone()


def test_a_trial_is_put_back_once_its_process_is_gone(tmp_path, sleeper):
    store = SqliteStore(tmp_path / "study.db")
    theirs = SqliteStore(tmp_path / "study.db", worker_pid=sleeper.pid)
    theirs.claim("theirs", 5)
    store.claim("mine", 5)
    assert store.reclaim_dead() == []
    sleeper.kill()
    sleeper.wait()
    assert store.reclaim_dead() == [1]
    assert store.reclaim_dead() == []
    assert store.trial(1).state is TrialState.INTERRUPTED
    assert str(sleeper.pid) in store.trial(1).reason
    assert store.trial(2).state is TrialState.CLAIMED
    assert store.claim("mine", 5).trial_id == 1
    assert store.trial(1).reason is None
    store.close()
    theirs.close()


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def watched(tmp_path):
    store = SqliteStore(tmp_path / "study.db")
    yield store
    store.close()


def test_a_heartbeat_that_stands_still_for_the_grace_time_is_noticed(watched):
    clock = Clock()
    watcher = HeartbeatWatcher(60, clock)
    still, beating = watched.claim("a", 5), watched.claim("b", 5)
    assert watcher.observe(watched) == []
    for _ in range(5):
        clock.now += 10
        watched.heartbeat(beating)
        assert watcher.observe(watched) == []
    clock.now += 10
    assert watcher.observe(watched) == [still.trial_id]
    assert watched.trial(still.trial_id).state is TrialState.INTERRUPTED
    clock.now += 49
    assert watcher.observe(watched) == []
    clock.now += 1
    assert watcher.observe(watched) == [beating.trial_id]


def test_the_grace_time_starts_at_the_watchers_first_check(watched):
    clock = Clock()
    watched.claim("a", 5)
    clock.now += 1e6
    watcher = HeartbeatWatcher(60, clock)
    assert watcher.observe(watched) == []


def test_the_next_attempt_has_a_grace_time_of_its_own(watched):
    clock = Clock()
    watcher = HeartbeatWatcher(60, clock)
    watched.claim("a", 5)
    watcher.observe(watched)
    clock.now += 30
    watched.reclaim(watched.heartbeats())
    watched.claim("b", 5)
    clock.now += 30
    assert watcher.observe(watched) == []
    clock.now += 60
    assert watcher.observe(watched) == [1]


def test_of_two_watchers_one_puts_the_trial_back(watched, tmp_path):
    clock, other = Clock(), SqliteStore(tmp_path / "study.db")
    watchers = [HeartbeatWatcher(60, clock), HeartbeatWatcher(60, clock)]
    watched.claim("a", 5)
    for watcher in watchers:
        watcher.observe(watched)
    clock.now += 60
    assert [watchers[0].observe(watched), watchers[1].observe(other)] == [[1], []]
    other.close()


@pytest.mark.parametrize("grace", [0, -1, float("nan")])
def test_a_grace_time_is_positive(grace):
    with pytest.raises(UserError, match="grace_seconds"):
        HeartbeatWatcher(grace)
