"""One connection to a study's database: transactions, locks, and readable errors."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from model_search.errors import DiskFullError, StoreError, StudyError, UnstorableError
from model_search.metadata.database_checks import check_files, restrict
from model_search.metadata.filesystem import FileIdentity, identity_of
from model_search.metadata.place_locks import place_lock
from model_search.metadata.study_folder import VanishedStudyError

LOCK_SECONDS = 60.0
_WAL_IS_SOUND = (3, 51, 3)  # before, several writers could damage a database with a write-ahead log
# SQLite itself waits ever longer between two attempts at a lock, up to 0.1 s; among dozens of writers of a few
# milliseconds each, a lock that is tried so rarely is always held by another. Our waits are short, and random.
_SQLITE_SECONDS = 0.002
_PAUSE_SECONDS, _LONGEST_PAUSE, _GROWTH = 0.001, 0.25, 1.5
_TURNS: dict[tuple[int, str], threading.Lock] = {}  # by process, since a fork would inherit a lock that is held
_IF_GONE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)
_PATH_BYTES = 500  # 512, less what is added to the names of journals


class UnreadableStudyError(StudyError, StoreError):
    """The file is no study, or one that this version cannot read."""


def journal_mode(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> str:
    """The journal that a version of SQLite can be trusted with: "wal" or "delete" (a rollback journal)."""
    return "wal" if version >= _WAL_IS_SOUND else "delete"


class Connection:
    """A connection for one thread of one process.

    All writes happen in `transaction`, which takes the write lock before it reads (`BEGIN IMMEDIATE`): a
    transaction that reads first and asks for the lock later is refused at once by SQLite, whatever the timeout.

    Args:
        path: The database's file.
        lock_seconds: How long to wait for other processes.
        create: Whether it is made where it is missing.
        file: The identity that the file must have, as `file` of another connection; any where None.

    Attributes:
        path: The database's file; absolute, since the working folder may change.
        file: Its identity (device and number), by which another file at the same path is noticed.

    Raises:
        VanishedStudyError: if the file is not the one that is expected.
        StoreError: if the file cannot be opened.
    """

    def __init__(
        self,
        path: pathlib.Path,
        lock_seconds: float = LOCK_SECONDS,
        *,
        create: bool = True,
        file: FileIdentity | None = None,
    ):
        from sqlite_utils import Database

        self.path = path = path.absolute()
        self.file = file
        self._check_in_place()
        if not create and not path.is_file():
            raise UnreadableStudyError(f"{path} cannot be opened: {_why_not_opened(path)}")
        self._pid = os.getpid()
        self._lock_seconds = lock_seconds
        self._moments = random.Random()  # noqa: S311 - affects no result, and so needs no seed
        check_files(path)
        with self._plain_words():
            with place_lock(path, alone=not path.exists()):
                self._check_in_place()
                connection = sqlite3.connect(path, timeout=_SQLITE_SECONDS, isolation_level=None)
                self.file = identity_of(path) if file is None else file
            try:
                if identity_of(path) != self.file or self.file is None:
                    raise VanishedStudyError.of(path.parent)
                restrict(connection)
                self.database = Database(connection, execute_plugins=False)
                self._prepare()
            except BaseException:
                connection.close()
                raise

    def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> sqlite3.Cursor:
        """Runs one statement of an open transaction (or one that needs none)."""
        return self._patiently(lambda: self.database.execute(sql, parameters))

    def rows(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        found: list[tuple[Any, ...]] = self._patiently(lambda: self.database.execute(sql, parameters).fetchall())
        return found

    def row(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        found: tuple[Any, ...] | None = self._patiently(lambda: self.database.execute(sql, parameters).fetchone())
        return found

    def value(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Any:
        """The first column of the first row; None where there is no row."""
        found = self.row(sql, parameters)
        return None if found is None else found[0]

    def whole(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> int:
        """The first column of the first row, a whole number.

        Raises:
            UnreadableStudyError: if it is something else: the database was edited, or damaged.
        """
        found = self.value(sql, parameters)
        if type(found) is not int:
            raise UnreadableStudyError(
                f"{self.path} is damaged: a whole number of it is {found!r:.80}; restore a copy of the database"
            )
        return found

    @contextlib.contextmanager
    def transaction(self, write: bool = True) -> Iterator[None]:
        """An atomic transaction; the only way to write.

        Args:
            write: Take the write lock at the start; otherwise what is read inside belongs to one moment, that of the
                transaction around it if there is one.

        Raises:
            VanishedStudyError: if another file, or none, is at the path by now. What was written to the old one would
                be lost.
            StoreError: with a readable message, for any error of SQLite.
        """
        if os.getpid() != self._pid:
            raise StoreError(f"{self.path} was opened by another process; open it again after a fork")
        if not write and self.database.conn.in_transaction:
            yield
            return
        with self._in_turn() if write else contextlib.nullcontext(), contextlib.ExitStack() as place:
            self._patiently(lambda: self.database.execute("BEGIN IMMEDIATE" if write else "BEGIN"), place)
            try:
                if write:
                    self._check_in_place()
                with self._plain_words():
                    yield
                self.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def use_journal(self, mode: str) -> None:
        """Changes the journal, which stays with the file; "wal" or "delete".

        A rollback journal is emptied at the end of a transaction, not deleted: SQLite deletes it by its path. If the
        study's folder is renamed during a transaction, that would leave the journal in the renamed folder, where it
        undoes the transaction later, and would delete the journal of whatever has taken the old path.
        """
        self.execute(f"PRAGMA journal_mode={'truncate' if mode == 'delete' else mode}")

    def close(self) -> None:
        """Closes the connection and deletes an empty journal; closing twice does no harm.

        SQLite deletes it by its path, which must not have become that of another study's journal meanwhile.
        """
        with place_lock(self.path):
            with contextlib.suppress(sqlite3.Error):
                if identity_of(self.path) == self.file and not self.database.conn.in_transaction:
                    mode = self.database.execute("PRAGMA journal_mode").fetchone()[0]
                    if mode == "truncate":
                        self.database.execute("PRAGMA journal_mode=delete").fetchone()
            with self._plain_words():
                self.database.close()

    def _prepare(self) -> None:
        self.execute("PRAGMA foreign_keys=ON")
        self.execute("PRAGMA synchronous=FULL")
        mode = self.value("PRAGMA journal_mode")
        if mode != "wal" or journal_mode() != "wal":
            self.use_journal("delete")

    def _patiently(self, action: Callable[[], Any], place: contextlib.ExitStack | None = None) -> Any:
        """Retries something that needs a lock for as long as others hold it.

        A file that was moved is not even read: SQLite looks for a journal at the old path, and would undo with it
        whatever another database there is about to write.

        Args:
            action: What to try.
            place: Takes over the lock on the place, where a transaction begins.
        """
        deadline, pause = time.monotonic() + self._lock_seconds, _PAUSE_SECONDS
        with self._plain_words():
            while True:
                try:
                    return self._in_place(action, place)
                except sqlite3.OperationalError as error:
                    if not _is_busy(error) or time.monotonic() >= deadline:
                        raise
                    time.sleep(pause * self._moments.uniform(0.5, 1.5))
                    pause = min(pause * _GROWTH, _LONGEST_PAUSE)

    def _in_place(self, action: Callable[[], Any], place: contextlib.ExitStack | None) -> Any:
        if self.database.conn.in_transaction:
            return action()
        with contextlib.ExitStack() as held:
            held.enter_context(place_lock(self.path))
            self._check_in_place()
            done = action()
            if place is not None:
                place.enter_context(held.pop_all())
        return done

    def _check_in_place(self) -> None:
        if self.file is not None and identity_of(self.path) != self.file:
            raise VanishedStudyError.of(self.path.parent)

    @contextlib.contextmanager
    def _in_turn(self) -> Iterator[None]:
        """One writer of this process at a time: its threads wait for each other without polling the file."""
        turn = _TURNS.setdefault((self._pid, str(self.path)), threading.Lock())
        if not turn.acquire(timeout=self._lock_seconds):
            raise _locked(self.path, self._lock_seconds)
        try:
            yield
        finally:
            turn.release()

    def _roll_back(self) -> None:
        # Where the disk is full or broken SQLite has already rolled back; what is reported is the first error.
        with contextlib.suppress(sqlite3.Error):
            if self.database.conn.in_transaction:
                self.database.conn.execute("ROLLBACK")

    @contextlib.contextmanager
    def _plain_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self._check_in_place()
            raise in_plain_words(error, self.path, self._lock_seconds, hasattr(self, "database")) from error
        except (OverflowError, UnicodeError) as error:
            raise UnstorableError(f"{self.path}: a value that the database cannot hold: {error}") from error


def in_plain_words(
    error: sqlite3.Error, path: pathlib.Path, lock_seconds: float = LOCK_SECONDS, was_open: bool = False
) -> StoreError:
    """The error that an error of SQLite means for the study, with what to do; `was_open`: the file had been opened."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if isinstance(error, sqlite3.ProgrammingError):
        return StoreError(
            f"{path}: {error}; a store belongs to the thread that opened it, until it is closed: open a second one"
        )
    if _is_busy(error):
        return _locked(path, lock_seconds)
    if _is_gone(error, path, was_open):
        return VanishedStudyError.of(path.parent)
    if code == sqlite3.SQLITE_NOTADB:
        return UnreadableStudyError(f"{path} is not a study's database; name the folder of a study, or remove the file")
    if code == sqlite3.SQLITE_CORRUPT:
        return UnreadableStudyError(
            f"{path} is damaged ({error}); restore a copy, or save what can be read with: sqlite3 {path} .recover"
        )
    if code == sqlite3.SQLITE_TOOBIG or "too big" in str(error):
        return UnstorableError(f"{path}: a text is larger than any that a study holds ({error}); restore a copy")
    if code == sqlite3.SQLITE_FULL:
        return DiskFullError(f"{path}: the disk is full; nothing of this step was written, make room and run again")
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_WRITE:
        return DiskFullError(
            f"{path} cannot grow ({error}): the disk is full, over its quota, or failing; nothing of this step was "
            "written, make room and run again"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return StoreError(f"{path} may not be written to ({error}); give this user the right, or copy the study")
    if code == sqlite3.SQLITE_CANTOPEN:
        return UnreadableStudyError(f"{path} cannot be opened: {_why_not_opened(path)}")
    if code == sqlite3.SQLITE_IOERR:
        return StoreError(f"{path}: the disk failed ({error}); nothing of this step was written")
    return StoreError(f"{path}: the database refuses this: {error}")


def _locked(path: pathlib.Path, seconds: float) -> StoreError:
    return StoreError(
        f"{path} has been locked by another process for {seconds:.0f} seconds; end the program that holds it "
        "(an open editor of the database, a copy in progress) and run again"
    )


def _why_not_opened(path: pathlib.Path) -> str:
    size = len(os.fsencode(path.absolute()))
    if size > _PATH_BYTES:
        return (
            f"its path takes {size} bytes, and SQLite opens paths of up to {_PATH_BYTES}; choose a shorter root_dir or "
            "experiment_name"
        )
    if not path.parent.is_dir():
        return "its folder does not exist"
    return "it is no file, or may not be read" if path.exists() else "there is no such file"


def _is_gone(error: sqlite3.Error, path: pathlib.Path, was_open: bool) -> bool:
    """Whether an open file is no longer there, or another one has its place; SQLite says it in many ways."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    if code in (sqlite3.SQLITE_READONLY_DBMOVED, sqlite3.SQLITE_IOERR_DELETE_NOENT):
        return True
    return was_open and code & 0xFF in _IF_GONE and not path.exists()


def _is_busy(error: sqlite3.Error) -> bool:
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
