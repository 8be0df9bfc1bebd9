"""The schema: made once, upgraded in one transaction, never downgraded."""

import pathlib
import shutil
import sqlite3

import pytest
from made_records import RECORD, make_plan, make_result, run_one

from model_search.errors import StoreError
from model_search.metadata import migrations as migrations_module
from model_search.metadata.connection import Connection, UnreadableStudyError
from model_search.metadata.migrations import MIGRATIONS, Migration, upgrade
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.trial import TrialState

GOLDEN = pathlib.Path(__file__).parent / "golden"
NEXT = MIGRATIONS[-1].version + 1
COLOUR = Migration(NEXT, "a colour for every trial", ("ALTER TABLE trials ADD COLUMN colour TEXT DEFAULT 'grey'",))


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "study.db"
    store = SqliteStore(path)
    store.create_study(RECORD)
    run_one(store, 1)
    store.close()
    return path


def read(path, sql):
    connection = sqlite3.connect(path)
    rows = connection.execute(sql).fetchall()
    connection.close()
    return rows


def test_versions_count_from_one():
    assert [step.version for step in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_every_step_is_on_record(database):
    assert read(database, "SELECT version, title FROM migrations") == [
        (step.version, step.title) for step in MIGRATIONS
    ]
    assert read(database, "PRAGMA user_version") == [(MIGRATIONS[-1].version,)]


def test_opening_again_writes_nothing(database):
    before = database.read_bytes()
    SqliteStore(database).close()
    assert database.read_bytes() == before


def test_an_older_schema_is_upgraded_and_keeps_its_trials(database):
    connection = Connection(database)
    upgrade(connection, (*MIGRATIONS, COLOUR))
    connection.close()
    assert read(database, "SELECT id, state, colour FROM trials") == [(1, "completed", "grey")]
    assert read(database, "SELECT title FROM migrations")[-1] == (COLOUR.title,)
    assert read(database, "PRAGMA user_version") == [(NEXT,)]


def test_a_step_that_breaks_leaves_the_old_schema_whole(database):
    broken = Migration(NEXT + 1, "broken", ("CREATE TABLE half (x)", "CREATE NONSENSE"))
    connection = Connection(database)
    with pytest.raises(StoreError):
        upgrade(connection, (*MIGRATIONS, COLOUR, broken))
    connection.close()
    assert read(database, "PRAGMA user_version") == [(NEXT - 1,)]
    assert read(database, "SELECT count(*) FROM sqlite_master WHERE name = 'half'") == [(0,)]
    store = SqliteStore(database)
    assert len(store.history()[0]) == 1
    store.close()


def test_a_newer_schema_is_refused_with_the_way_out(database):
    connection = Connection(database)
    upgrade(connection, (*MIGRATIONS, COLOUR))
    connection.close()
    with pytest.raises(UnreadableStudyError, match=f"newer model_search .schema {NEXT}.*pip install --upgrade"):
        SqliteStore(database)


def test_the_write_ahead_log_is_chosen_when_a_study_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(migrations_module, "journal_mode", lambda: "wal")
    connection = Connection(tmp_path / "study.db")
    upgrade(connection)
    assert connection.value("PRAGMA journal_mode") == "wal"
    connection.close()


def schema(path):
    """Tables and indexes as they are declared, whatever the white space."""
    rows = read(path, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
    return {name: " ".join(sql.split()) for name, sql in rows}


@pytest.mark.parametrize("version", [step.version for step in MIGRATIONS])
def test_a_study_of_every_earlier_version_is_read_and_goes_on(tmp_path, database, version):
    path = tmp_path / "golden.db"
    shutil.copy(GOLDEN / f"study_v{version}.db", path)
    store = SqliteStore(path)
    assert store.study() == RECORD
    trials = store.history()[0]
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETED,
        TrialState.FAILED,
        TrialState.INTERRUPTED,
        TrialState.CLAIMED,
    ]
    assert [trial.plan for trial in trials] == [make_plan(1), make_plan(2, parent=1), make_plan(3), None]
    assert trials[0].result == make_result(0.25)
    assert trials[1].reason == "the loss is NaN at step 3"
    claim = store.claim("w", 9)
    assert (claim.trial_id, claim.attempt, claim.plan) == (3, 2, make_plan(3))
    store.close()
    assert schema(path) == schema(database)
