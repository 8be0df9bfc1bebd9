"""The SQLite store: the contract, round trips, and what is said where the file is not as it should be."""

import dataclasses
import json
import math
import os
import sqlite3
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_records import RECORD, make_plan, make_result, run_one
from store_contract import StoreContract

from model_search.errors import StoreError, StudyError, UserError
from model_search.metadata import connection as connection_module
from model_search.metadata import limits
from model_search.metadata.connection import UnreadableStudyError, journal_mode
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import Heartbeat, StudyRecord
from model_search.metadata.trial import (
    COMBININGS,
    DISTILLATION_LOSSES,
    Artefact,
    DistillationPlan,
    EnsemblePlan,
    TrialKind,
    TrialPlan,
    TrialResult,
    TrialState,
)


@pytest.fixture
def database(tmp_path):
    return tmp_path / "study.db"


@pytest.fixture
def open_store(database):
    opened = []

    def open_one(**options):
        opened.append(SqliteStore(database, **options))
        opened[-1]._db.execute("PRAGMA synchronous=OFF")  # nobody pulls the plug here, and disks are slow
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def open_store(self, open_store):
        return open_store


@pytest.fixture
def finished(open_store, database):
    """A closed study with two completed trials and one that runs."""
    store = open_store()
    store.create_study(RECORD)
    run_one(store, 9)
    run_one(store, 9)
    store.commit_plan(store.claim("w", 9), make_plan(3))
    store.close()
    return database


def tamper(database, sql, *values):
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA ignore_check_constraints=ON")
        connection.execute(sql, values)
    connection.close()


# Round trips.

TEXTS = st.text(st.characters(), max_size=20)  # half surrogate pairs and NUL among them
FINITE = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-(2**80), 2**80)
SIZES = st.integers(-limits.MOST_HYPERPARAMETER, limits.MOST_HYPERPARAMETER)
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | FINITE | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
DOCUMENTS = st.dictionaries(TEXTS, JSON, max_size=4)
RECORDS = st.builds(
    StudyRecord,
    name=TEXTS,
    owner=TEXTS,
    spec_text=TEXTS,
    metric=TEXTS,
    goal=TEXTS,
    seed=WHOLE,
    data_fingerprint=TEXTS,
    data=DOCUMENTS,
    settings=DOCUMENTS,
    environment=DOCUMENTS,
)
TOWERS = {
    "trial_id": st.just(5),
    "architecture": st.lists(TEXTS, min_size=1, max_size=3).map(tuple),
    "hyperparameters": st.dictionaries(TEXTS, TEXTS | SIZES | FINITE | st.booleans(), max_size=4),
    "steps": st.integers(0, limits.MOST_STEPS),
    "batch_size": st.integers(1, limits.MOST_BATCH),
    "seed": st.integers(0, 2**64 - 1),
    "key": TEXTS,
}
PLANS = st.builds(
    TrialPlan,
    kind=st.sampled_from([kind for kind in TrialKind if kind is not TrialKind.FOLDS]),
    **TOWERS,
    members=st.sets(st.integers(1, 4), min_size=1, max_size=3).map(lambda ids: tuple(sorted(ids))),
    ensemble=st.builds(
        EnsemblePlan, combining=st.sampled_from(COMBININGS), residual=st.booleans(), freeze=st.booleans()
    ),
    teacher=st.sets(st.integers(1, 4), min_size=1, max_size=3).map(lambda ids: tuple(sorted(ids))),
    distillation=st.builds(
        DistillationPlan,
        loss=st.sampled_from(DISTILLATION_LOSSES),
        temperature=st.floats(min_value=0.01, allow_nan=False, allow_infinity=False),
        balance=FINITE,
    ),
)
PLANS |= st.builds(
    TrialPlan,
    kind=st.just(TrialKind.FOLDS),
    **TOWERS,
    parent=st.integers(1, 4),
    folds=st.just(8),
    left_out=st.tuples(st.integers(0, 1), st.sets(st.integers(0, 7), min_size=1, max_size=3)).map(
        lambda drawn: tuple(sorted(8 * drawn[0] + fold for fold in drawn[1]))
    ),
)
STORABLE = st.text(st.characters(codec="utf-8"), max_size=20)
ARTEFACTS = st.builds(
    Artefact, name=STORABLE, path=st.just("trials/000001/x"), sha256=STORABLE, size=st.integers(0, 2**62)
)
RESULTS = st.builds(
    TrialResult,
    metrics=st.dictionaries(TEXTS, FINITE, max_size=4),
    parameters=st.integers(0, 2**70),
    own_parameters=st.none() | st.integers(0, 2**70),
    best_step=st.integers(0, 2**40),
    timings=st.dictionaries(TEXTS, FINITE, max_size=3),
    curve=st.lists(st.tuples(st.integers(0, 2**62), st.floats(allow_nan=False)), max_size=4).map(tuple),
    environment=DOCUMENTS,
    artefacts=st.lists(ARTEFACTS, max_size=3, unique_by=lambda artefact: artefact.name).map(tuple),
)
MANY = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@MANY
@given(record=RECORDS)
def test_whatever_is_in_a_record_comes_back(tmp_path_factory, record):
    path = tmp_path_factory.mktemp("record") / "study.db"
    first, second = SqliteStore(path), SqliteStore(path)
    assert first.create_study(record) == record
    assert second.study() == record
    first.close()
    second.close()


@MANY
@given(plan=PLANS, result=RESULTS)
def test_whatever_is_in_a_trial_comes_back(tmp_path_factory, plan, result):
    path = tmp_path_factory.mktemp("trial") / "study.db"
    store = SqliteStore(path)
    claim = [store.claim("w", plan.trial_id) for _ in range(plan.trial_id)][-1]
    store.commit_plan(claim, plan)
    store.complete(claim, result)
    store.close()
    again = SqliteStore(path)
    trial = again.trial(plan.trial_id)
    again.close()
    assert (trial.plan, trial.result) == (plan, result)
    assert {name: math.copysign(1, value) for name, value in trial.result.metrics.items()} == {
        name: math.copysign(1, value) for name, value in result.metrics.items()
    }


def test_nan_in_a_curve_comes_back(open_store):
    store = open_store()
    claim = store.claim("w", 1)
    store.commit_plan(claim, make_plan(1))
    store.complete(claim, make_result(curve=((1, math.nan), (2, math.inf), (3, 5e-324))))
    (_, first), *rest = store.trial(1).result.curve
    assert math.isnan(first)
    assert rest == [(2, math.inf), (3, 5e-324)]


@pytest.mark.parametrize("worker", ["", "a b", "\0", "\udcff", "ä" * 500])
def test_odd_names_of_workers_hold_their_claims(open_store, worker):
    store = open_store()
    claim = store.claim(worker, 1)
    store.heartbeat(claim)
    store.commit_plan(claim, make_plan(1))


# What people see with other tools.


def test_people_read_the_trials_as_columns(finished):
    connection = sqlite3.connect(finished)
    row = connection.execute(
        "SELECT state, kind, architecture, hyperparameters, parent, metrics, parameters, seconds FROM trials"
    ).fetchone()
    connection.close()
    assert row[:2] == ("completed", "search")
    assert json.loads(row[2]) == ["FULLY_CONNECTED", "IDENTITY"]
    assert json.loads(row[3])["optimizer"] == "adam"
    assert row[4] is None
    assert json.loads(row[5]) == {"accuracy": 0.75, "loss": 0.5}
    assert row[6:] == (1234, 0.5)


def test_equal_environments_are_kept_once(finished):
    connection = sqlite3.connect(finished)
    documents = [json.loads(text) for (text,) in connection.execute("SELECT document FROM environments ORDER BY id")]
    connection.close()
    assert documents == [RECORD.environment, make_result().environment]


def test_every_attempt_is_on_record(open_store, database):
    store = open_store()
    store.release(store.claim("a", 1))
    store.claim("b", 1)
    store.reclaim(store.heartbeats())
    claim = store.claim("c", 1)
    store.commit_plan(claim, make_plan(1))
    store.complete(claim, make_result())
    connection = sqlite3.connect(database)
    attempts = connection.execute("SELECT attempt, worker, pid, ending FROM attempts ORDER BY attempt").fetchall()
    connection.close()
    me = os.getpid()
    assert attempts == [(1, "a", me, "released"), (2, "b", me, "vanished"), (3, "c", me, "completed")]


# Threads.


def test_a_second_instance_beats_from_another_thread(open_store, database):
    store = open_store()
    claim = store.claim("w", 1)

    def beat():
        second = SqliteStore(database)
        second.heartbeat(claim)
        second.close()

    thread = threading.Thread(target=beat)
    thread.start()
    thread.join()
    assert store.heartbeats()[0].counter == 2


def test_an_instance_refuses_another_thread(open_store):
    store, said = open_store(), []

    def use():
        with pytest.raises(StoreError) as caught:
            store.history()
        said.append(str(caught.value))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert "belongs to the thread" in said[0]


def test_a_closed_store_raises(open_store):
    store = open_store()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.claim("w", 1)


def test_an_instance_refuses_to_work_after_a_fork(open_store, monkeypatch):
    store = open_store()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(StoreError, match="after a fork"):
        store.claim("w", 1)


# Files that are not as they should be.


def test_max_attempts_is_at_least_one(database):
    with pytest.raises(UserError, match="max_attempts is 0"):
        SqliteStore(database, max_attempts=0)
    assert not database.exists()


def test_one_attempt_may_be_all_there_is(open_store):
    store = open_store(max_attempts=1)
    store.claim("w", 1)
    store.reclaim(store.heartbeats())
    assert store.trial(1).state is TrialState.LOST
    assert "vanished once" in store.trial(1).reason


def test_no_database(database):
    database.write_bytes(b"this is a text, and quite a long one, but certainly no database" * 30)
    with pytest.raises(UnreadableStudyError, match="not a study's database"):
        SqliteStore(database)


def test_somebody_elses_database(database):
    tamper(database, "CREATE TABLE songs (title TEXT)")
    with pytest.raises(UnreadableStudyError, match="SQLite database, but not a study's"):
        SqliteStore(database)


def test_no_folder(tmp_path):
    with pytest.raises(UnreadableStudyError, match="folder does not exist"):
        SqliteStore(tmp_path / "nowhere" / "study.db")
    with pytest.raises(StudyError, match="is no file"):
        SqliteStore(tmp_path)


def test_a_damaged_file(finished):
    content = bytearray(finished.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    finished.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        SqliteStore(finished).history()


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_without_the_right_to_write(finished):
    finished.chmod(0o400)
    store = SqliteStore(finished)
    assert len(store.history()[0]) == 3
    with pytest.raises(StoreError, match="may not be written"):
        store.claim("w", 9)
    store.close()


def test_a_read_only_store_raises(open_store):
    store = open_store()
    store.create_study(RECORD)
    store._db.execute("PRAGMA query_only=ON")
    assert store.study() == RECORD
    with pytest.raises(StoreError, match="may not be written"):
        store.claim("w", 9)


def test_a_full_disk_leaves_everything_as_it_was(open_store):
    store = open_store()
    store.create_study(RECORD)
    pages = store._db.value("PRAGMA page_count")
    store._db.execute(f"PRAGMA max_page_count={pages + 1}")
    claim = store.claim("w", 9)
    store.commit_plan(claim, make_plan(1))
    before = store.history()
    with pytest.raises(StoreError, match="the disk is full"):
        store.complete(claim, make_result(environment={"x": "y" * 20_000}))
    assert store.history() == before
    store._db.execute(f"PRAGMA max_page_count={pages + 100}")
    store.complete(claim, make_result(environment={"x": "y" * 20_000}))
    assert store.trial(1).state is TrialState.COMPLETED


def test_a_lock_that_is_held_too_long(finished, monkeypatch):
    monkeypatch.setattr(connection_module.Connection.__init__, "__defaults__", (0.05,))
    store = SqliteStore(finished)
    other = sqlite3.connect(finished, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="locked by another process"):
        store.claim("w", 9)
    with pytest.raises(StoreError, match="locked by another process"):
        store.history()
    other.execute("ROLLBACK")
    other.close()
    assert store.claim("w", 9).trial_id == 4
    store.close()


# Rows that were edited.


@pytest.mark.parametrize(
    ("sql", "value", "says"),
    [
        ("UPDATE trials SET plan = ? WHERE id = 1", "[]", "plan of trial 1"),
        ("UPDATE trials SET plan = ? WHERE id = 1", "{}", "plan of trial 1"),
        ("UPDATE trials SET plan = ? WHERE id = 1", "null", "plan of trial 1"),
        ("UPDATE trials SET plan = json_set(plan, '$.kind', ?) WHERE id = 1", "magic", "plan of trial 1.*magic"),
        ("UPDATE trials SET plan = json_set(plan, '$.steps', ?) WHERE id = 1", "many", "plan of trial 1"),
        ("UPDATE trials SET plan = json_set(plan, '$.seed', ?) WHERE id = 1", 0.5, "plan of trial 1.*whole"),
        ("UPDATE trials SET plan = json_set(plan, '$.trial_id', ?) WHERE id = 1", 2, "that of trial 2"),
        ("UPDATE trials SET plan = json_set(plan, '$.hyperparameters', ?) WHERE id = 1", 2, "plan of trial 1"),
        (
            "UPDATE trials SET plan = json_set(plan, '$.hyperparameters.x', json(?)) WHERE id = 1",
            "[]",
            "hyperparameter",
        ),
        ("UPDATE trials SET plan = json_set(plan, '$.architecture', json(?)) WHERE id = 1", "[1]", "architecture"),
        ("UPDATE trials SET plan = json_set(plan, '$.extra', ?) WHERE id = 1", 2, "plan of trial 1.*extra"),
        (
            "UPDATE trials SET plan = json_set(plan, '$.warm_start', json(?)) WHERE id = 2",
            '{"kind": "morphism", "trials": [1]}',
            "plan of trial 2 was made by a later version.*'morphism'.*continue, resume, copy",
        ),
        ("UPDATE trials SET plan = json_set(plan, '$.warm_start', ?) WHERE id = 2", 0.5, "plan of trial 2.*one trial"),
        ("UPDATE trials SET result = ? WHERE id = 2", "[]", "result of trial 2"),
        ("UPDATE trials SET result = ? WHERE id = 2", "{}", "result of trial 2"),
        ("UPDATE trials SET result = json_set(result, '$.metrics.loss', ?) WHERE id = 2", "low", "result of trial 2"),
        ("UPDATE trials SET result = json_set(result, '$.parameters', ?) WHERE id = 2", 0.5, "result of trial 2"),
        ("UPDATE trials SET state = ? WHERE id = 2", "sleeping", "state of trial 2.*sleeping"),
        ("UPDATE artefacts SET path = ? WHERE trial_id = 2", "../../secret", "not a path inside"),
        ("UPDATE artefacts SET path = ? WHERE trial_id = 2", "/etc/passwd", "not a path inside"),
        ("UPDATE environments SET document = ? WHERE id = 2", "[]", "environment 2"),
        ("UPDATE curve SET value = ? WHERE trial_id = 2", "high", "result of trial 2"),
    ],
)
def test_an_edited_trial_is_refused_by_name(finished, sql, value, says):
    tamper(finished, sql, value)
    store = SqliteStore(finished)
    with pytest.raises(StoreError, match=says):
        store.history()
    assert store.study() == RECORD
    assert store.trial(3).state is TrialState.RUNNING
    store.close()


def test_bytes_that_are_no_json_are_refused_by_name(finished):
    content = finished.read_bytes()
    assert content.count(b'{"architecture"') == 3
    finished.write_bytes(content.replace(b'{"architecture"', b'[[architecture"'))
    store = SqliteStore(finished)
    with pytest.raises(StoreError, match="plan of trial"):
        store.history()
    store.close()


@pytest.mark.parametrize(
    ("column", "text"), [("record", "[]"), ("record", "{}"), ("settings", "3"), ("record", '{"seed": "x"}')]
)
def test_an_edited_study_is_refused(finished, column, text):
    tamper(finished, f"UPDATE study SET {column} = ?", text)
    store = SqliteStore(finished)
    with pytest.raises(StoreError, match="study's own row is damaged"):
        store.study()
    store.close()


def test_the_schema_itself_refuses_a_state_without_its_plan(finished):
    with sqlite3.connect(finished) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("UPDATE trials SET plan = NULL, plan_key = NULL WHERE id = 1")
    connection.close()


def test_the_schema_itself_refuses_a_repeated_plan(finished):
    with sqlite3.connect(finished) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("UPDATE trials SET plan_key = 'key-2' WHERE id = 1")
    connection.close()


# Journals.


def test_the_write_ahead_log_only_where_it_is_sound():
    assert [journal_mode(version) for version in [(3, 40, 1), (3, 51, 2), (3, 51, 3), (4, 0, 0)]] == [
        "delete",
        "delete",
        "wal",
        "wal",
    ]


def test_a_study_made_with_a_write_ahead_log_goes_back_to_a_rollback_journal(finished, monkeypatch):
    connection = sqlite3.connect(finished)
    assert connection.execute("PRAGMA journal_mode=wal").fetchone() == ("wal",)
    connection.close()
    monkeypatch.setattr(connection_module, "journal_mode", lambda: "delete")
    store = SqliteStore(finished)
    assert store._db.value("PRAGMA journal_mode") == "truncate"
    assert len(store.history()[0]) == 3
    store.close()


def test_a_plan_with_an_unknown_parent_is_refused(open_store):
    store = open_store()
    claims = [store.claim("w", 9) for _ in range(2)]
    tamper(store._db.path, "DELETE FROM attempts WHERE trial_id = 1")
    tamper(store._db.path, "DELETE FROM trials WHERE id = 1")
    with pytest.raises(StoreError, match="parent of trial 2 is trial 1"):
        store.commit_plan(claims[1], make_plan(2, parent=1))


def test_settings_are_the_only_part_of_a_record_that_changes(open_store):
    store = open_store()
    store.create_study(RECORD)
    store.change_settings({"a": [1, 2]})
    assert store.create_study(RECORD) == dataclasses.replace(RECORD, settings=RECORD.settings | {"a": [1, 2]})


def test_every_change_of_a_trial_is_one_transaction(open_store):
    """A kill between two would leave a claim without a heartbeat, or a result without its files."""
    store = open_store()
    store.create_study(RECORD)
    begun = []
    store._db.database.conn.set_trace_callback(lambda sql: begun.append(sql) if sql.startswith("BEGIN") else None)

    def changed_at_once(change):
        begun.clear()
        found = change()
        assert begun == ["BEGIN IMMEDIATE"]
        return found

    claim = changed_at_once(lambda: store.claim("w", 5))
    changed_at_once(lambda: store.heartbeat(claim))
    changed_at_once(lambda: store.commit_plan(claim, make_plan(1)))
    changed_at_once(lambda: store.release(claim))
    again = changed_at_once(lambda: store.claim("w", 5))
    changed_at_once(lambda: store.commit_plan(again, again.plan))
    changed_at_once(lambda: store.complete(again, make_result()))
    other = changed_at_once(lambda: store.claim("w", 5))
    changed_at_once(lambda: store.fail(other, "no luck"))
    lost = changed_at_once(lambda: store.claim("w", 5))
    assert changed_at_once(lambda: store.reclaim([Heartbeat(lost.trial_id, 1, 1)])) == [lost.trial_id]


def test_every_commit_is_on_disk_when_the_call_returns(database):
    store = SqliteStore(database)
    assert store._db.value("PRAGMA synchronous") == 2
    assert store._db.value("PRAGMA foreign_keys") == 1
    store.close()


def test_a_path_that_sqlite_does_not_open_is_refused_in_words(tmp_path):
    folder = tmp_path
    while len(str(folder)) < 510:
        folder /= "x" * 100
    folder.mkdir(parents=True)
    with pytest.raises(StoreError, match=r"SQLite opens paths of up to 500; choose a shorter root_dir"):
        SqliteStore(folder / "study.db")
