"""Kills in the midst of an export and of a migration, and a wall clock that jumps."""

import pathlib
import random
import shutil
import sqlite3
import time

from programs import DATABASE

from model_search.metadata.migrations import MIGRATIONS
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.trial import TrialState

GOLDEN = pathlib.Path(__file__).parents[1] / "metadata" / "golden"


def test_kills_while_a_folder_is_replaced(start, count, figure, tmp_path):
    times, files, rng, last, whole = count(60, 10), 20, random.Random(1), 0, 0
    for _ in range(times):
        program = start("programs_studies.replaces", files=files)
        program.wait_until_said(1)
        time.sleep(rng.random() * 0.05)
        program.kill()
        found = {path.name: path.read_text() for path in (tmp_path / "model").iterdir()}
        assert sorted(found, key=int) == [str(number) for number in range(files)]
        assert len(set(found.values())) == 1
        assert int(found["0"]) in (program.said()[-1], program.said()[-1] + 1)
        whole += 1
        last = len([path for path in tmp_path.iterdir() if path.name.startswith(".model.")])
    figure(
        f"SIGKILL while an export replaces an earlier one, {times} times",
        f"{whole} times the last announced one or the next is there, whole; {last} hidden leftovers",
    )


def test_kills_at_every_step_of_a_migration(start, count, figure, tmp_path):
    kills, upgraded = 0, 0
    for version in (1, 2):
        content = (GOLDEN / f"study_v{version}.db").read_bytes()
        before = trials_in(content, tmp_path)
        whole = tmp_path / f"whole-{version}"
        whole.mkdir()
        (whole / DATABASE).write_bytes(content)
        program = start("programs_studies.migrates", folder=whole, statement=10**6, after=False)
        assert program.join() == 0
        statements = program.said()[-1]["statements"]
        for statement in range(1, statements + 1, count(1, 4)):
            for after in (False, True):
                folder = tmp_path / f"{version}-{statement}-{after}"
                folder.mkdir()
                (folder / DATABASE).write_bytes(content)
                assert start("programs_studies.migrates", folder=folder, statement=statement, after=after).join() == -9
                kills += 1
                connection = sqlite3.connect(folder / DATABASE)
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                found = connection.execute("PRAGMA user_version").fetchone()[0]
                assert found in (version, MIGRATIONS[-1].version)
                upgraded += found != version
                connection.close()
                store = SqliteStore(folder / DATABASE, create=False)
                assert store.history()[0] == before
                assert store.claim("w", 10**6) is not None
                store.close()
                shutil.rmtree(folder)
    figure(
        f"SIGKILL before and after each statement of a migration, {kills} times",
        f"the old schema or the newest one, whole ({upgraded} times the newest); every study opens and goes on",
    )


def trials_in(content, folder):
    copy = folder / "copy"
    copy.mkdir(exist_ok=True)
    (copy / DATABASE).write_bytes(content)
    store = SqliteStore(copy / DATABASE)
    found = store.history()[0]
    store.close()
    return found


def test_a_wall_clock_that_jumps(start, count, figure, tmp_path):
    processes, target, limit = 3, count(60, 15), 3.0
    options = {"seconds": 0.05, "beat": 0.05, "grace": 5.0}
    jumping = [
        start("programs_studies.search_with_jumping_clock", target=target, seed=seed, name=f"w{seed}", **options)
        for seed in range(processes)
    ]
    assert [program.join() for program in jumping] == [0] * processes
    assert [program.said()[-2] for program in jumping] == [{"stopped": "finished"}] * processes
    store = SqliteStore(tmp_path / DATABASE)
    endings = store._db.rows("SELECT ending, count(*) FROM attempts GROUP BY ending")
    assert [trial.state for trial in store.history()[0]] == [TrialState.COMPLETED] * target
    store.close()
    assert endings == [("completed", target)]
    limited = start(
        "programs_studies.search_with_jumping_clock", target=10**6, seed=9, name="limited", time_limit=limit, **options
    )
    assert limited.join() == 0
    stopped, took = limited.said()[-2:]
    assert stopped == {"stopped": "time limit"}
    assert took["seconds"] >= limit  # how late it may be is no matter of a test
    figure(
        f"the wall clock jumps by hours at every reading, {processes} processes",
        f"{target} trials, 0 given up by mistake; a time limit of {limit:.0f} s ends after {took['seconds']:.1f} s",
    )
