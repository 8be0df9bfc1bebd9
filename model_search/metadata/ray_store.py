"""The store and the files of a study, accessed from other machines of a Ray cluster.

Two actors run on the machine that holds the study's folder: one owns the SQLite file, one writes and reads files.
Everywhere else `RayStore` and `RayArtefacts` pass each call on. They are an extra: `pip install model_search[ray]`.
"""

from __future__ import annotations

import functools
import io
import itertools
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from model_search.errors import ModelSearchError, StoreError
from model_search.metadata import paths, study_folder
from model_search.metadata.artefacts import ArtefactStore, Content, LocalArtefacts
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import Claim, Store
from model_search.metadata.trial import Artefact, Trial

_ASKED = frozenset(Store.__abstractmethods__ - {"close"})
_NEWS = 5000  # trials whose changes an actor keeps in memory; older revisions are read from the file


class StoreKeeper:
    """The actor that owns a study's SQLite file; it must run on the machine whose disk that is."""

    def __init__(self, database: str, options: dict[str, Any] | None = None):
        self._store = SqliteStore(database, **(options or {}))
        self._news = News(self._store)
        self._claims: dict[str, Claim] = {}

    def news(self, since: int) -> tuple[bool, Any]:
        """The result of `history`, each trial pickled; read and pickled once for all trainers."""
        return _answer(lambda: self._news.since(since))

    def ask(self, method: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[bool, Any]:
        """Calls a method of the store; (False, exception) where it raises one that a store is allowed to raise."""
        if method not in _ASKED:
            return False, StoreError(f"a store has no method {method!r}")
        done, answer = _answer(lambda: getattr(self._store, method)(*arguments, **named))
        if isinstance(answer, Claim):
            self._claims[answer.worker] = answer
        return done, answer

    def claims(self, workers: Iterable[str]) -> list[Claim]:
        """The last claim that each of these workers was given by this actor, whether it still holds the trial or not.

        Workers of other programs may have the same names; their claims are not among them.
        """
        return [self._claims[worker] for worker in workers if worker in self._claims]


class News:
    """The latest changes of a study's trials, in the order of their revisions, pickled."""

    def __init__(self, store: Store):
        self._store = store
        self._known: OrderedDict[int, tuple[int, bytes]] = OrderedDict()
        self._first = self._last = -1  # revisions: all changes after the first one and up to the last one are known

    def since(self, revision: int) -> tuple[list[bytes], int]:
        """Trials that changed after a revision, and the current revision."""
        if self._first < 0:
            self._first = self._last = revision
        trials, self._last = self._store.history(self._last)
        for trial in sorted(trials, key=lambda changed: changed.revision):
            self._known.pop(trial.id, None)
            self._known[trial.id] = (trial.revision, pickle.dumps(trial))
        while len(self._known) > _NEWS:
            self._first, _ = self._known.popitem(last=False)[1]
        if revision < self._first:
            trials, last = self._store.history(revision)
            return [pickle.dumps(trial) for trial in trials], last
        later = itertools.takewhile(lambda change: change[0] > revision, reversed(self._known.values()))
        return [pickled for _, pickled in later], self._last


class FileKeeper:
    """The actor that keeps files in the study's folder."""

    def __init__(self, folder: str):
        self._study = study_folder.OpenFolder(folder)
        self._artefacts = LocalArtefacts(folder)

    def write(self, trial_id: int | None, name: str, content: bytes) -> tuple[bool, Any]:
        """Stores a file."""
        return _answer(lambda: self._artefacts.write(trial_id, name, content))

    def read(self, artefact: Artefact) -> tuple[bool, Any]:
        """Reads a file."""
        return _answer(lambda: self._artefacts.read(artefact))

    def delete(self, artefact: Artefact) -> tuple[bool, Any]:
        """Deletes a file."""
        return _answer(lambda: self._artefacts.delete(artefact))

    def log(self, trial_id: int, worker: str, text: str) -> None:
        """Adds to a worker's log of a trial."""
        with self._study.open_log(paths.trial_log(trial_id, worker)) as file:
            file.write(text.encode("utf-8", "backslashreplace"))


def _answer(act: Callable[[], Any]) -> tuple[bool, Any]:
    try:
        return True, act()
    except (ModelSearchError, KeyError, ValueError, TypeError) as error:
        return False, error


def _result_of(reference: Any) -> Any:
    """The result of a call to an actor."""
    import ray

    try:
        done, answer = ray.get(reference)
    except ray.exceptions.RayActorError as error:
        raise StoreError(
            "the actor that keeps the study has ended, and with it the program that started the search; run it again, "
            "and it continues"
        ) from error
    if done:
        return answer
    raise answer


def _forwarded(method: str) -> Callable[..., Any]:
    promised = getattr(Store, method)

    @functools.wraps(promised)
    def ask(self: Any, *arguments: Any, **named: Any) -> Any:
        return _result_of(self._keeper.ask.remote(method, arguments, named))

    ask.__isabstractmethod__ = False  # type: ignore[attr-defined]
    return ask


class _RayStore(Store):
    """Passes every call on to a `StoreKeeper`. Safe in any thread and process of the cluster."""

    def __init__(self, keeper: Any):
        self._keeper = keeper

    def history(self, since: int = 0) -> tuple[list[Trial], int]:
        """Unpickles the actor's trials."""
        news, revision = _result_of(self._keeper.news.remote(since))
        return sorted(map(pickle.loads, news), key=lambda trial: trial.id), revision

    def close(self) -> None:
        """Does nothing to the actor, which others use."""


_FORWARDED = {method: _forwarded(method) for method in _ASKED - {"history"}}
RayStore: Callable[[Any], Store] = type("RayStore", (_RayStore,), {"__doc__": _RayStore.__doc__} | _FORWARDED)


class RayArtefacts(ArtefactStore):
    """Sends files to a `FileKeeper`."""

    def __init__(self, keeper: Any):
        self._keeper = keeper

    def write(self, trial_id: int | None, name: str, content: Content) -> Artefact:
        """Sends the whole file; it is on the other machine's disk when this returns."""
        written: Artefact = _result_of(self._keeper.write.remote(trial_id, name, as_bytes(content)))
        return written

    def read(self, artefact: Artefact) -> bytes:
        """Fetches the file, whose size and hash the actor has checked."""
        content: bytes = _result_of(self._keeper.read.remote(artefact))
        return content

    def delete(self, artefact: Artefact) -> None:
        """Has the actor delete the file."""
        _result_of(self._keeper.delete.remote(artefact))


def as_bytes(content: Content) -> bytes:
    """A file's content in memory."""
    if isinstance(content, bytes):
        return content
    buffer = io.BytesIO()
    content(buffer)
    return buffer.getvalue()
