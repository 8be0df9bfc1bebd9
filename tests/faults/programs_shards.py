"""A worker that is killed while it keeps a controller's parameters; see programs.py."""

import os
import signal

import programs

from model_search.metadata.artefacts import LocalArtefacts
from model_search.metadata.sqlite_store import SqliteStore

_PLACES = {"before the file": (LocalArtefacts, "write"), "before its record": (SqliteStore, "save_file")}


def killed(folder, say, place, after, **options):
    """As `search`, but it gets SIGKILL before a shard's file, or the record of it, is written.

    Args:
        folder: The study's.
        say: See `search`.
        place: Where: one of `_PLACES`.
        after: How many shards are kept before.
        options: Of `search`.
    """
    owner, method = _PLACES[place]
    stock, kept = getattr(owner, method), 0

    def counted(self, *given):
        nonlocal kept
        if str(given[0] if method == "save_file" else given[1]).find("controller-") >= 0:
            if kept == after:
                os.kill(os.getpid(), signal.SIGKILL)
            kept += 1
        return stock(self, *given)

    setattr(owner, method, counted)
    programs.search(folder, say, **options)
