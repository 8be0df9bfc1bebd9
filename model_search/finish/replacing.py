"""Files and folders that are replaced as a whole: whoever reads the path finds the old one or the new one."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pathlib
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator

from model_search.metadata.study_folder import OpenFolder, check_target, make_folder

_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE = -100  # AT_FDCWD
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)


@contextlib.contextmanager
def whole_or_not(
    target: pathlib.Path, study: OpenFolder | None = None, refuse: Callable[[pathlib.Path], None] = lambda path: None
) -> Iterator[pathlib.Path]:
    """A temporary sibling of the target, which replaces the target on success and is deleted on failure.

    Two processes may do so at once: the last one's stays. A kill leaves the target as it was or as it is to be, and
    perhaps a hidden sibling (".NAME.....new"), which may be deleted. Where the system cannot exchange two folders, a
    kill between two renames leaves the earlier folder under such a name (".NAME.....old").

    Args:
        target: The file or folder; the folders on the way to it are made.
        study: The study that is written from, if any. A target in its folder is written only while that is in place.
        refuse: Raises if there is something at a path that must not be replaced; called right before it would be, since
            writing takes its time.

    Raises:
        OSError: if it cannot be written or replaced.
        VanishedStudyError: if the target is in the study's folder, and that was moved, deleted or overwritten.
    """
    relative = None if study is None else check_target(study.path, target)
    if study is None or relative is None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _replaced(target, lambda: refuse(target)) as temporary:
            yield temporary
        return
    place = pathlib.PurePath(relative)
    with study.held() as folder:
        inside = make_folder(folder, os.fspath(place.parent)) / place.name

        def check() -> None:
            study.check()
            refuse(inside)

        try:
            with _replaced(inside, check) as temporary:
                yield temporary
        except Exception:
            study.check()  # what fails because the study is gone is told as that
            raise


@contextlib.contextmanager
def _replaced(target: pathlib.Path, check: Callable[[], None]) -> Iterator[pathlib.Path]:
    """A temporary sibling that replaces the target, unless what is checked right before raises."""
    beside = target.parent / f".{target.name}.{secrets.token_hex(4)}"
    temporary, old = beside.with_name(f"{beside.name}.new{target.suffix}"), beside.with_name(f"{beside.name}.old")
    try:
        yield temporary
        _to_disk(temporary)
        check()
        if temporary.is_dir():
            _replace_folder(temporary, target, old)
        else:
            temporary.replace(target)
    finally:
        for leftover in (temporary, old):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def _replace_folder(temporary: pathlib.Path, target: pathlib.Path, old: pathlib.Path) -> None:
    try:
        temporary.rename(target)  # where there is none yet, or an empty one
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
    else:
        return
    if exchange(temporary, target):
        return
    target.rename(old)
    try:
        temporary.rename(target)
    except OSError:
        old.rename(target)
        raise


def exchange(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Exchanges two paths in one step; False where the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    return bool(rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)


def _to_disk(path: pathlib.Path) -> None:
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())
