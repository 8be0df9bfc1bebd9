"""Reads and writes the files of a study's folder without following a link.

A study may come from a stranger, as a copied folder or a downloaded archive. Whatever links it holds, nothing outside
of its folder is read, written or deleted: each component of a path below the folder is looked at before it is used,
files are written under a new name and renamed, and what is written in place (logs) is opened without following a link.
The folder itself, which the user names, may be reached through links. Whoever can change the folder while it is used
has the user's rights already and is not guarded against.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import stat
from collections.abc import Callable, Iterator
from typing import BinaryIO

from model_search.errors import DiskFullError, StoreError, StudyError, UserError
from model_search.metadata import paths
from model_search.metadata.filesystem import NO_ROOM, FileIdentity, identity_of

Folder = str | os.PathLike[str]

# A file that is opened by its name must be the file itself (no link), and must not keep the program waiting (no pipe).
_CAREFUL = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_FILE_MODE = 0o666  # less the user's umask; nothing is executable


class VanishedStudyError(StoreError):
    """The study that was open is no longer at its path: moved, deleted or overwritten."""

    @classmethod
    def of(cls, folder: pathlib.Path) -> VanishedStudyError:
        """The error for a study's folder."""
        return cls(
            f"the study is no longer in {folder}: it was moved, deleted or overwritten while it was in use; nothing "
            "more is written; if it was moved, run again with the root_dir and experiment_name that it has now, where "
            "its finished trials are"
        )


class LinkedFileError(StudyError, StoreError):
    """A link, or something else than a file, where a study keeps a file or a folder of its own."""


def inside(folder: Folder, relative: str) -> pathlib.Path:
    """The place that a relative path names in a study's folder; it need not exist.

    Raises:
        LinkedFileError: if the place, or a folder on the way to it, is a link.
    """
    place = pathlib.Path(folder)
    for part in pathlib.PurePath(relative).parts:
        place = place / part
        try:
            is_link = stat.S_ISLNK(place.lstat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            is_link = False
        if is_link:
            raise _link(place)
    return place


def check_target(folder: Folder, target: Folder) -> str | None:
    """Checks a place that somebody names for a file or folder, if it is in a study's folder.

    Returns:
        The place relative to the study's folder; None where it is elsewhere.

    Raises:
        LinkedFileError: if the way from the study's folder to it leads through a link.
        UserError: if it is no path.
    """
    if not isinstance(target, str | os.PathLike):
        raise UserError(f"received {target!r:.80} as the place to write to; expected a path")
    place = pathlib.Path(os.path.abspath(pathlib.Path(target).expanduser()))  # noqa: PTH100 (resolve() follows links)
    study = pathlib.Path(folder).absolute()
    for above in reversed((place, *place.parents)):
        # A study that is gone still has its path, and nothing else is to be made there.
        if above == study or (above.is_dir() and study.is_dir() and above.samefile(study)):
            relative = os.fspath(place.relative_to(above))
            inside(above, relative)
            return relative
    return None


@contextlib.contextmanager
def held(folder: pathlib.Path, identity: FileIdentity | None) -> Iterator[pathlib.Path]:
    """A study's folder under a path that stays with it, should it be moved while it is used.

    Where the system has no such path, it is the folder's own.

    Args:
        folder: The study's.
        identity: Device and number of the folder as it was opened; any if None.

    Raises:
        VanishedStudyError: if another folder, or none, is at the path by now.
    """
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folders
        yield folder
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise VanishedStudyError.of(folder) from error
    try:
        found = os.fstat(descriptor)
        if identity not in (None, (found.st_dev, found.st_ino)):
            raise VanishedStudyError.of(folder)
        place = pathlib.Path(f"/proc/self/fd/{descriptor}")
        yield place if place.is_dir() else folder
    except VanishedStudyError as error:
        raise VanishedStudyError.of(folder) from error
    finally:
        os.close(descriptor)


class OpenFolder:
    """A study's folder as it is when this is made; never another one that takes its place.

    Attributes:
        path: The folder.
    """

    def __init__(self, folder: Folder):
        self.path = pathlib.Path(folder).absolute()  # the working folder may change
        self._identity = identity_of(self.path)

    def held(self) -> contextlib.AbstractContextManager[pathlib.Path]:
        """The folder under a path that stays with it; see `held`, the function."""
        return held(self.path, self._identity)

    def check(self) -> None:
        """Checks that the folder is still at its path; any folder will do where there was none at first.

        Raises:
            VanishedStudyError: if it is not.
        """
        found = identity_of(self.path)
        if found is None or self._identity not in (None, found):
            raise VanishedStudyError.of(self.path)

    def open_log(self, relative: str) -> BinaryIO:
        """Opens a log, to write at its end; its folder is made where it is missing.

        Raises:
            LinkedFileError: if the way to it leads through a link, it is no file, or it has other names elsewhere.
            StoreError: if it cannot be opened, or the study's folder is gone.
        """
        path = pathlib.PurePath(relative)
        named = inside(self.path, relative)  # a message names the place that the user knows
        try:
            with self.held() as folder:
                make_folder(folder, os.fspath(path.parent))
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _CAREFUL | _BINARY
                descriptor = os.open(inside(folder, relative), flags, _FILE_MODE)
        except OSError as error:
            raise not_written(f"the log {named} cannot be written", error) from error
        file = os.fdopen(descriptor, "ab")
        try:
            _check_own(named, os.fstat(descriptor))
        except BaseException:
            file.close()
            raise
        return file


def make_folder(folder: Folder, relative: str) -> pathlib.Path:
    """Makes a folder in a study's folder, with those on the way to it; it may be there already.

    The study's own folder is never made: it may just have been moved elsewhere.

    Raises:
        LinkedFileError: if one of them is a link.
        VanishedStudyError: if the study's folder is gone.
        OSError: if it cannot be made.
    """
    place = inside(folder, relative)
    if not place.is_dir():
        made = pathlib.Path(folder)
        try:
            for part in place.relative_to(made).parts:
                above, made = made, made / part
                made.mkdir(exist_ok=True)
                sync_folder(above)
        except FileNotFoundError as error:
            raise VanishedStudyError.of(pathlib.Path(folder)) from error
    return place


@contextlib.contextmanager
def new_file(folder: pathlib.Path) -> Iterator[tuple[BinaryIO, Callable[[str], pathlib.Path]]]:
    """A new file under a temporary name in a checked folder; it is gone in the end unless it was renamed.

    Yields:
        The file, open for writing and reading, and a function that syncs it, renames it to a name in the folder, and
        closes it. What has the name already is replaced, a link as well; what that leads to stays as it is.
    """
    temporary = folder / f".{secrets.token_hex(8)}.tmp"
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _CAREFUL | _BINARY, _FILE_MODE)
    renamed = False
    try:
        with os.fdopen(descriptor, "w+b") as file:

            def rename(name: str) -> pathlib.Path:
                nonlocal renamed
                file.flush()
                os.fsync(file.fileno())
                file.close()
                temporary.replace(folder / name)
                renamed = True
                sync_folder(folder)
                return folder / name

            yield file, rename
    finally:
        if not renamed:
            with contextlib.suppress(OSError):
                temporary.unlink()


def write_text(folder: Folder, name: str, text: str) -> None:
    """Writes a file in a study's folder as a whole; a link of that name is replaced.

    Raises:
        OSError: if it cannot be written.
    """
    with new_file(pathlib.Path(folder)) as (file, rename):
        file.write(text.encode("utf-8"))
        rename(name)


def read_file(folder: Folder, relative: str, size: int | None = None) -> bytes:
    """The content of a file in a study's folder.

    Args:
        folder: The study's.
        relative: The file.
        size: Its size in bytes; another one is noticed before anything is read.

    Raises:
        LinkedFileError: if the way to it leads through a link, or it is no file.
        OSError: if it cannot be read.
        ValueError: if it has another size.
    """
    place = inside(folder, relative)
    with os.fdopen(os.open(place, os.O_RDONLY | _CAREFUL | _BINARY), "rb") as file:
        about = os.fstat(file.fileno())
        _check_file(place, about)
        if size is not None and about.st_size != size:
            raise ValueError(f"it has {about.st_size} bytes")
        return file.read()


def check_own_file(place: pathlib.Path) -> bool:
    """Whether a file is there, which others write in place; it is checked without being opened.

    Raises:
        LinkedFileError: if it is a link, no file, or has other names elsewhere.
    """
    try:
        about = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    _check_own(place, about)
    return True


def existing_study(root: pathlib.Path, experiment_name: str) -> pathlib.Path:
    """The folder of a study.

    Args:
        root: Folder of all studies.
        experiment_name: Name of the study.

    Raises:
        StudyError: if there is none (the message names the existing studies), or it cannot be read.
    """
    folder = paths.study_dir(root, experiment_name)
    try:
        is_there = check_own_file(folder / paths.DATABASE)
    except OSError as error:
        raise StudyError(f"study {experiment_name!r} in {root} cannot be reached: {error.strerror or error}") from error
    if not is_there:
        others = paths.list_studies(root)
        hint = f"; there are: {', '.join(others)}" if others else "; there are no studies in it"
        raise StudyError(f"no study {experiment_name!r} in {root}{hint}")
    return folder


def delete_file(folder: Folder, relative: str) -> None:
    """Deletes a file of a study; one that is not there is no error.

    Raises:
        LinkedFileError: if the way to it leads through a link.
        OSError: if it cannot be deleted.
    """
    inside(folder, relative).unlink(missing_ok=True)


def not_written(what: str, error: OSError) -> StoreError:
    """The error that something cannot be written, with what to do."""
    kind, cure = (DiskFullError, "make room") if error.errno in NO_ROOM else (StoreError, "mend that")
    return kind(f"{what}: {error.strerror or error}; {cure} and run again")


def sync_folder(folder: pathlib.Path) -> None:
    """Makes a new name in a folder survive a power cut, where the system supports that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_file(place: pathlib.Path, about: os.stat_result) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise LinkedFileError(f"{place} is no file; a study's own file is expected there; move away what is")


def _check_own(place: pathlib.Path, about: os.stat_result) -> None:
    """What is written in place must be a file that has no other name: another one may be outside of the folder."""
    if stat.S_ISLNK(about.st_mode):
        raise _link(place)
    _check_file(place, about)
    if about.st_nlink > 1:
        raise LinkedFileError(
            f"{place} is a hard link, so that a file elsewhere would be changed with it; copy the study, or delete it"
        )


def _link(place: pathlib.Path) -> LinkedFileError:
    return LinkedFileError(
        f"{place} is a link, which is not followed: a study's files lie in its own folder; replace it by what it leads "
        "to, if that is yours, or delete it"
    )
