"""A database is looked at before SQLite opens it, and its schema before anything in it runs."""

import os
import sqlite3
import struct

import pytest

from model_search.errors import StoreError, StudyError
from model_search.metadata.connection import UnreadableStudyError
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.study_folder import LinkedFileError

MAGIC = bytes.fromhex("d9d505f920a163d7")


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "study" / "study.db"
    path.parent.mkdir()
    SqliteStore(path).close()
    return path


def change(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("suffix", ["", "-journal", "-wal", "-shm"])
@pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
def test_links_and_pipes_are_refused(database, tmp_path, suffix, kind):
    place, outside = database.with_name(database.name + suffix), tmp_path / "own"
    outside.write_bytes(place.read_bytes() if place.exists() else b"own")
    before = outside.read_bytes()
    place.unlink(missing_ok=True)
    {"link": place.symlink_to, "hard link": place.hardlink_to, "pipe": lambda _: os.mkfifo(place)}[kind](outside)
    with pytest.raises(LinkedFileError, match=r"is a link|is a hard link|is no file"):
        SqliteStore(database)
    assert outside.read_bytes() == before


def super_journal(database, victim):
    """A rollback journal that SQLite plays back, and then deletes the file that it names."""
    content, name = database.read_bytes(), os.fsencode(victim)
    page = int.from_bytes(content[16:18], "big")
    head = MAGIC + struct.pack(">IIIII", 0, 0, len(content) // page, 512, page)
    trailer = struct.pack(">I", (1 << 30) // page + 1) + name + struct.pack(">II", len(name), sum(name)) + MAGIC
    database.with_name("study.db-journal").write_bytes(head.ljust(512, b"\0") + trailer)


def test_a_journal_that_names_another_file_is_refused(database, tmp_path):
    victim = tmp_path / "thesis.txt"
    victim.write_text("years of work")
    super_journal(database, victim)
    with pytest.raises(LinkedFileError, match="names a file that would be deleted"):
        SqliteStore(database)
    assert victim.exists()
    # Without the check SQLite deletes it: otherwise this test would show nothing.
    sqlite3.connect(database).execute("SELECT count(*) FROM trials").fetchall()
    assert not victim.exists()


def test_a_journal_of_a_killed_process_is_played_back(database):
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("PRAGMA cache_spill=1")
    writer.execute("PRAGMA cache_size=1")
    writer.execute("BEGIN IMMEDIATE")
    for number in range(300):
        writer.execute("INSERT INTO environments (sha256, document) VALUES (?, ?)", (str(number), f"[{number}]"))
    journal = database.with_name("study.db-journal")
    left = journal.read_bytes(), database.read_bytes()
    writer.execute("ROLLBACK")
    writer.close()
    journal.write_bytes(left[0])
    database.write_bytes(left[1])
    store = SqliteStore(database)
    assert store.history() == ([], 0)
    store.close()


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (["CREATE TRIGGER mine AFTER UPDATE ON trials BEGIN DELETE FROM artefacts; END"], "mine"),
        (["CREATE INDEX mine ON trials(upper(worker))"], "mine"),
        (["ALTER TABLE trials ADD COLUMN mine AS (zeroblob(1000))"], "trials"),
        (["DROP TABLE files", "CREATE VIEW files AS SELECT 1 AS name, 2 AS path, 3 AS sha256, 4 AS size"], "files"),
        (["DROP TABLE files"], "files"),
        (
            ["CREATE VIEW Trials2 AS SELECT 1", "CREATE TRIGGER mine INSTEAD OF INSERT ON Trials2 BEGIN SELECT 1; END"],
            "",
        ),
        (["CREATE TABLE notes (text)", "CREATE INDEX by_text ON notes(text)"], ""),
    ],
)
def test_what_would_run_with_a_studys_tables_is_refused(database, statements, named):
    change(database, *statements)
    if named:
        with pytest.raises(UnreadableStudyError, match=rf"other tables, indices or triggers than a study \(.*{named}"):
            SqliteStore(database)
    else:  # tables of the user's own, which are not read
        SqliteStore(database).close()


def test_a_text_beyond_any_is_refused_before_it_is_read(database):
    change(
        database,
        "PRAGMA ignore_check_constraints=ON",
        "INSERT INTO environments (id, sha256, document) VALUES (1, 'x', hex(zeroblob(40000000)))",
        "INSERT INTO study (id, record, settings, environment_id, created_at) VALUES (1, '{}', '{}', 1, 'now')",
    )
    store = SqliteStore(database)
    with pytest.raises(StoreError, match="larger than any that a study holds"):
        store.study()
    store.close()


def test_no_other_database_is_attached(database, tmp_path):
    store = SqliteStore(database)
    with pytest.raises(StoreError, match="too many attached databases"):
        store._db.execute(f"ATTACH '{tmp_path}/other.db' AS other")
    store.close()
    assert not (tmp_path / "other.db").exists()


def test_a_study_of_an_earlier_schema_is_checked_before_it_is_upgraded(database):
    change(database, "PRAGMA user_version=2")
    with pytest.raises(StudyError, match="other tables"):
        SqliteStore(database)
