"""Locks on the folder that studies lie in: no database is made where an earlier one is being used by its path."""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
from collections.abc import Iterator

_LONGEST_SECONDS = 10.0
_PAUSE_SECONDS = 0.001


@contextlib.contextmanager
def place_lock(database: pathlib.Path, alone: bool = False) -> Iterator[None]:
    """Keeps databases from being made at a path while one that was there is used, and the other way round.

    SQLite looks for a journal by the path that a database was opened at. If a study is moved, and another one is begun
    in its place between our look at the path and SQLite's, then SQLite takes the journal of the new study for that of
    the moved one, and empties it. So whoever uses a database holds this lock together with others, from the look at the
    path to the end of the transaction, and whoever makes one holds it alone.

    It lies on the folder above the study's, which stays where the study's is moved, and leaves no file there. Where a
    folder cannot be locked (some network file systems, Windows), or another program keeps it locked, the rest is done
    without: what remains is the moment between two system calls.

    Args:
        database: Where it is, or will be.
        alone: Whether one will be made.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            folder = os.open(database.parent.parent, os.O_RDONLY)
            held.callback(_close, folder)
            kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
            deadline = time.monotonic() + _LONGEST_SECONDS
            while not _locked(folder, kind | fcntl.LOCK_NB) and time.monotonic() < deadline:
                time.sleep(_PAUSE_SECONDS)
        yield


def _locked(folder: int, kind: int) -> bool:
    import fcntl

    try:
        fcntl.flock(folder, kind)
    except BlockingIOError:
        return False
    return True


def _close(folder: int) -> None:
    """Ends the lock, which closing alone does not: a fork has the folder open, too."""
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.flock(folder, fcntl.LOCK_UN)
    os.close(folder)
