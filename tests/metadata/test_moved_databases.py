"""Studies that are moved, and begun anew in the same place, while their database is open."""

import dataclasses
import sqlite3
import threading

import pytest
from made_records import RECORD

from model_search.metadata import connection as connection_module
from model_search.metadata import place_locks
from model_search.metadata.connection import VanishedStudyError
from model_search.metadata.sqlite_store import SqliteStore


def test_a_study_that_was_moved_is_not_even_read(tmp_path):
    """SQLite would look for a journal at the old path, and undo with it what belongs to another database there."""
    (tmp_path / "old").mkdir()
    store = SqliteStore(tmp_path / "old" / "study.db")
    store.create_study(RECORD)
    assert store.history() == ([], 0)
    (tmp_path / "old").rename(tmp_path / "new")
    with pytest.raises(VanishedStudyError, match="no longer in"):
        store.history()
    with pytest.raises(VanishedStudyError, match="no longer in"):
        store.claim("w", 1)
    store.close()


def test_a_study_that_is_moved_while_one_waits_is_not_touched(tmp_path, monkeypatch):
    """Another study is begun in its place, and is being written to, before the next attempt at the lock."""
    (tmp_path / "old").mkdir()
    database = tmp_path / "old" / "study.db"
    store = SqliteStore(database)
    store.create_study(RECORD)
    other = sqlite3.connect(database, isolation_level=None)
    writing = []

    def move(seconds):
        if not writing:
            (tmp_path / "old").rename(tmp_path / "new")
            (tmp_path / "old").mkdir()
            connection = sqlite3.connect(database, isolation_level=None)
            connection.execute("PRAGMA cache_size=1")  # so that the journal, of an empty file, is on disk at once
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE another (x)")
            connection.executemany("INSERT INTO another VALUES (zeroblob(?))", [[4000]] * 100)
            writing.append(connection)
            other.execute("COMMIT")

    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(connection_module.time, "sleep", move)
    with pytest.raises(VanishedStudyError, match="no longer in"):
        store.claim("w", 1)
    monkeypatch.undo()
    writing[0].execute("COMMIT")
    writing[0].close()
    store.close()
    other.close()
    kept = SqliteStore(tmp_path / "new" / "study.db", create=False)
    assert kept.study() == RECORD
    kept.close()


def test_closing_a_moved_study_leaves_the_journal_of_the_one_in_its_place(tmp_path, monkeypatch):
    """The study is moved right after the look of `close`; the other one waits until it is closed."""
    pytest.importorskip("fcntl")
    (tmp_path / "old").mkdir()
    database = tmp_path / "old" / "study.db"
    store = SqliteStore(database)
    store.create_study(RECORD)
    waits, look, threads = threading.Event(), connection_module.identity_of, []
    monkeypatch.setattr(place_locks.time, "sleep", lambda seconds: waits.set())

    def begin():
        try:
            SqliteStore(database).close()
        finally:
            waits.set()

    def look_and_move(path):
        found = look(path)
        if not threads:
            threads.append(threading.Thread(target=begin))
            (tmp_path / "old").rename(tmp_path / "new")
            (tmp_path / "old").mkdir()
            threads[0].start()
            waits.wait()
            assert not database.exists()
        return found

    monkeypatch.setattr(connection_module, "identity_of", look_and_move)
    store.close()
    threads[0].join()
    assert database.exists()


def test_no_study_is_begun_where_a_moved_one_is_still_being_used(tmp_path, monkeypatch):
    pytest.importorskip("fcntl")
    (tmp_path / "old").mkdir()
    database = tmp_path / "old" / "study.db"
    store = SqliteStore(database)
    store.create_study(RECORD)
    waits = threading.Event()
    monkeypatch.setattr(place_locks.time, "sleep", lambda seconds: waits.set())

    def begin():
        try:
            begun = SqliteStore(database)
            begun.create_study(dataclasses.replace(RECORD, seed=2))
            begun.close()
        finally:
            waits.set()

    with store.locked():
        (tmp_path / "old").rename(tmp_path / "new")
        (tmp_path / "old").mkdir()
        thread = threading.Thread(target=begin)
        thread.start()
        waits.wait()
        assert not database.exists()
    thread.join()
    with pytest.raises(VanishedStudyError, match="no longer in"):
        store.history()
    store.close()
    for folder, seed in (("new", RECORD.seed), ("old", 2)):
        kept = SqliteStore(tmp_path / folder / "study.db", create=False)
        assert kept.study().seed == seed
        kept.close()
