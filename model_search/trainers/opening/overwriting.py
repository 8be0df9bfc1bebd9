"""`overwrite=True`: an earlier study is deleted, but never one that others work on or have just begun."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import secrets
import shutil
from collections.abc import Iterator

from model_search.errors import StudyError
from model_search.metadata import paths
from model_search.metadata.connection import UnreadableStudyError
from model_search.metadata.filesystem import FileIdentity, identity_of
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import StudyRecord

_ASIDE = ".old"  # how the name of a folder ends that is being deleted


@dataclasses.dataclass(frozen=True)
class _State:
    """Which study a database holds: the identity of its file, the revision of its last change, its record."""

    file: FileIdentity | None
    revision: int
    record: StudyRecord | None


@dataclasses.dataclass(frozen=True)
class EarlierStudy:
    """What was in a study's folder when a search with `overwrite` began.

    Data may take minutes to prepare. What was begun or changed in the meantime is not the earlier study, and is not
    deleted: its trials are somebody's work.

    Attributes:
        name: The experiment's.
        folder: The study's.
        state: What its database was; None where there is none, or one that cannot be read.
    """

    name: str
    folder: pathlib.Path
    state: _State | None = None

    @classmethod
    def found(cls, name: str, folder: pathlib.Path) -> EarlierStudy:
        """Reads what is there.

        Raises:
            StudyError: if it must not be deleted: it is no study, or others are working on it.
        """
        here = cls(name, folder)
        here._refuse_foreign()
        with here._locked() as state:
            return dataclasses.replace(here, state=state)

    def delete(self) -> str:
        """Deletes it, with what is left of earlier ones; a folder that is not there is no error.

        The folder is renamed first, while no other process can write, so that a search that claims a trial at this
        moment either is noticed here, or is refused its claim.

        Returns:
            A warning that names what cannot be deleted, which is in the study's way no longer; empty if all is gone.

        Raises:
            StudyError: if another process has begun the study anew, or has changed it, since it was found; or if the
                folder cannot be renamed.
        """
        self._rename_aside()
        return "; ".join(filter(None, map(_remove, self._leftovers())))

    def _rename_aside(self) -> None:
        self._refuse_foreign()
        if not (self.folder / paths.DATABASE).exists():
            return  # there is nothing to delete, or a study is being made
        aside = self.folder.with_name(f".{self.folder.name}.{secrets.token_hex(4)}{_ASIDE}")
        try:
            with self._locked() as state:
                if state is not None and state.record is None:
                    return  # a study is being made, perhaps: there is nothing to delete yet
                if state is not None and state != self.state:
                    raise self.begun_by_another()
                if os.name == "posix":
                    self.folder.rename(aside)
            if os.name != "posix":  # where a file that is open cannot be renamed
                self.folder.rename(aside)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not self.folder.exists():
                return  # another process has deleted it
            raise StudyError(
                f"{self.folder} cannot be deleted: {error.strerror or error}; delete it by hand, or choose another "
                "experiment_name"
            ) from error

    def _leftovers(self) -> list[pathlib.Path]:
        """Folders that this study's earlier ones were renamed to."""
        name = re.compile(rf"\.{re.escape(self.folder.name)}\.[0-9a-f]{{8}}{re.escape(_ASIDE)}")
        try:
            return sorted(path for path in self.folder.parent.iterdir() if name.fullmatch(path.name))
        except OSError:
            return []  # there is no such folder yet, or it cannot be listed

    def begun_by_another(self) -> StudyError:
        """The error where the study is not the one that was to be deleted."""
        return StudyError(
            f"study {self.name!r} was begun or changed by another process just now, and is not overwritten; run again "
            "without overwrite to join it, or choose another experiment_name"
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[_State | None]:
        """Keeps others from writing while no one works on the study; None where its database cannot be read.

        A damaged one may be the reason for deleting it.
        """
        with contextlib.ExitStack() as opened:
            state = None
            with contextlib.suppress(UnreadableStudyError):
                store = SqliteStore(self.folder / paths.DATABASE, create=False)
                opened.callback(store.close)
                store.reclaim_dead()
                revision = opened.enter_context(store.locked())
                self._refuse_running(store)
                state = _State(store.file, revision, _record(store))
            yield state

    def _refuse_foreign(self) -> None:
        """The folder is deleted, so it must be a study's."""
        if self.folder.is_symlink():
            raise StudyError(f"{self.folder} is a link, and is not overwritten; delete it, or name another study")
        before = identity_of(self.folder)
        try:
            names = list(self.folder.iterdir())
        except FileNotFoundError:
            return
        has_no_database = bool(names) and not (self.folder / paths.DATABASE).is_file()
        # Another process may have renamed the folder meanwhile, to delete it: then it was a study, and is gone.
        if has_no_database and identity_of(self.folder) == before:
            raise StudyError(
                f"{self.folder} is not a study (it has no {paths.DATABASE}); it is not overwritten, name another"
            )

    def _refuse_running(self, store: SqliteStore) -> None:
        held = [beat.trial_id for beat in store.heartbeats()]
        if held:
            workers = sorted({store.trial(number).worker for number in held})
            raise StudyError(
                f"study {self.name!r} is being worked on (trials {', '.join(map(str, held))}, by "
                f"{', '.join(workers)}); stop that first, or choose another experiment_name; if no one works on it "
                f"any more, delete {self.folder}"
            )


def _remove(aside: pathlib.Path) -> str:
    """Deletes a folder; returns a warning if it cannot be deleted, or not completely."""
    try:
        while aside.exists():
            with contextlib.suppress(FileNotFoundError):  # whoever had the study open deletes files of it, too
                shutil.rmtree(aside)
    except OSError as error:
        return (
            f"the earlier study could not be deleted completely: {error.strerror or error}; what is left is in "
            f"{aside}, delete it by hand"
        )
    return ""


def _record(store: SqliteStore) -> StudyRecord | None:
    try:
        return store.study()
    except UnreadableStudyError:
        raise
    except StudyError:
        return None  # it was being made, and is none yet
