"""Checks of a study's database, which may come from a stranger, before SQLite opens or runs anything in it."""

from __future__ import annotations

import functools
import os
import pathlib
import sqlite3
from collections.abc import Sequence

from model_search.metadata import study_folder

_BESIDE = ("-journal", "-wal", "-shm")  # files that SQLite reads and writes with a database
_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")  # how a journal ends that names another file
_MOST_VALUE_BYTES = 64 << 20

Row = tuple[str, str, str, str | None]


def check_files(database: pathlib.Path) -> None:
    """Checks a database and what lies beside it, before SQLite does more than look at them.

    A rollback journal may name a "super-journal" anywhere, which SQLite reads and deletes when it opens the database;
    those of a study, which are about one database only, never do.

    Raises:
        LinkedFileError: if one of the files is a link, no file, or leads to another file.
    """
    study_folder.check_own_file(database)
    for suffix in _BESIDE:
        study_folder.check_own_file(database.with_name(database.name + suffix))
    journal = database.with_name(f"{database.name}-journal")
    try:
        # Of these files only the journal may be opened here: closing another one would end SQLite's locks on it.
        with journal.open("rb") as file:
            file.seek(-min(len(_SUPER_JOURNAL), os.fstat(file.fileno()).st_size), os.SEEK_END)
            names_another = file.read() == _SUPER_JOURNAL
    except OSError:
        return  # there is none, or it ends just now
    if names_another:
        raise study_folder.LinkedFileError(
            f"{journal} names a file that would be deleted when the study is opened, which no study of ours does; "
            "delete the journal, or take the study from a source that you trust"
        )


def restrict(connection: sqlite3.Connection) -> None:
    """Keeps what is stored in a database from reaching out of it, and from taking more memory than a study does."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_VALUE_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.execute("PRAGMA cell_size_check=ON")


def foreign_parts(found: Sequence[Row], statements: tuple[str, ...]) -> list[str]:
    """What a database has, or lacks, on the tables of a study compared with what these statements make.

    Views, triggers, indices and computed columns are code, which SQLite runs when a table is read or written. Tables of
    the user's own beside those of the study are never read.

    Args:
        found: type, name, tbl_name and sql of `sqlite_master`.
        statements: What has made the tables.

    Returns:
        Their names; empty where there is no difference.
    """
    expected = _made_by(statements)
    ours = {table.lower() for _, _, table, _ in expected}
    on_ours = {row for row in found if {str(row[1]).lower(), str(row[2]).lower()} & ours}
    return sorted({str(row[1]) for row in on_ours ^ expected})


@functools.lru_cache(maxsize=8)
def _made_by(statements: tuple[str, ...]) -> frozenset[Row]:
    connection = sqlite3.connect(":memory:")
    try:
        for statement in statements:
            connection.execute(statement)
        return frozenset(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall())
    finally:
        connection.close()
