"""Many processes at the store at once, and kills in the midst of its writes."""

import random
import sqlite3
import time

from programs import DATABASE, make_plan

from model_search.metadata.migrations import MIGRATIONS
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.trial import TrialState


def rows(folder, sql):
    connection = sqlite3.connect(folder / DATABASE)
    found = connection.execute(sql).fetchall()
    connection.close()
    return found


def check_whole(folder):
    assert rows(folder, "PRAGMA integrity_check") == [("ok",)]
    assert rows(folder, "PRAGMA foreign_key_check") == []


def test_claims_at_once(start, race, count, figure, tmp_path):
    processes, each = 8, count(50, 12)
    SqliteStore(tmp_path / DATABASE).close()
    said = race([start("claims", number=each) for _ in range(processes)])
    ids = sorted(trial_id for found in said for trial_id in found)
    assert ids == list(range(1, processes * each + 1))
    assert rows(tmp_path, "SELECT count(*), min(id), max(id), count(DISTINCT revision) FROM trials") == [
        (len(ids), 1, len(ids), len(ids))
    ]
    check_whole(tmp_path)
    figure(f"{processes} processes claim {each} trials each", f"{len(ids)} rows, ids 1 to {ids[-1]}, 0 lock errors")


def test_creations_at_once(start, race, count, figure, tmp_path):
    times = count(5, 1)
    for turn in range(times):
        folder = tmp_path / str(turn)
        folder.mkdir()
        said = race([start("create", folder=folder, seed=seed) for seed in range(16)], folder)
        assert len(set(said)) == 1
        assert rows(folder, "SELECT count(*) FROM study") == [(1,)]
        assert rows(folder, "SELECT version FROM migrations") == [(step.version,) for step in MIGRATIONS]
    figure(f"16 processes create one study, {times} times", "0 exceptions, one study and one schema each time")


def test_kills_between_claim_and_first_beat(start, count, figure, tmp_path):
    times = count(10, 3)
    store = SqliteStore(tmp_path / DATABASE)
    reclaimed = 0
    for turn in range(times):
        program = start("hold", planned=bool(turn % 2))
        trial_id = program.wait_for(lambda thing: isinstance(thing, int))
        assert store.reclaim_dead() == []
        program.kill()
        reclaimed += store.reclaim_dead() == [trial_id]
        claim = store.claim("next", 10**6)
        assert (claim.trial_id, claim.attempt) == (trial_id, 2)
        assert claim.plan == (make_plan(trial_id) if turn % 2 else None)
        store.fail(claim, "enough")
    store.close()
    assert reclaimed == times
    figure(f"SIGKILL between claim and first beat, {times} times", f"{reclaimed} of {times} reclaimed")


def test_reclaimers_at_once(start, race, count, figure, tmp_path):
    trials = count(50, 15)
    program = start("claims", number=trials)
    (tmp_path / "go").touch()
    assert program.join() == 0
    (tmp_path / "go").unlink()
    store = SqliteStore(tmp_path / DATABASE)
    beats = [(beat.trial_id, beat.attempt, beat.counter) for beat in store.heartbeats()]
    said = race([start("reclaims", beats=beats, pause=0.01) for _ in range(2)])
    assert [a + b for a, b in zip(*said, strict=True)] == [1] * trials
    assert {(trial.state, trial.attempt) for trial in store.history()[0]} == {(TrialState.INTERRUPTED, 1)}
    store.close()
    assert rows(tmp_path, "SELECT sum(vanished) FROM trials") == [(trials,)]
    figure(f"two reclaimers on one stale trial, {trials} times", f"{sum(map(sum, said))} transitions")


def test_kills_during_commits(start, count, figure, tmp_path):
    times, most = count(20, 4), count(200, 40)
    rng, acknowledged, between = random.Random(1), set(), 0
    for _ in range(times):
        program = start("commits")
        program.wait_until_said(rng.randrange(1, most))
        time.sleep(rng.random() * 0.02)
        program.kill()
        before = len(acknowledged)
        acknowledged |= set(program.said())
        assert len(acknowledged) - before == len(program.said())
        check_whole(tmp_path)
        store = SqliteStore(tmp_path / DATABASE)
        store.reclaim_dead()
        stored = {trial.id for trial in store.history()[0] if trial.state is TrialState.COMPLETED}
        store.close()
        assert acknowledged <= stored
        assert len(stored) <= len(acknowledged) + 1
        between += len(stored) - len(acknowledged)
        acknowledged = stored
    figure(
        f"SIGKILL during commits, {times} times",
        f"integrity ok each time; {len(acknowledged)} results, 0 acknowledged and lost, {between} stored but not yet "
        "acknowledged",
    )
