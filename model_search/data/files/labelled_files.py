"""Which files there are, and what their labels are: folders of classes, or a CSV file of paths."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from model_search.data.tabular.csv_reading import read_csv
from model_search.errors import DataError

TRAIN_FOLDERS = ("train", "training")
VALID_FOLDERS = ("valid", "validation", "val", "dev")
TEST_FOLDERS = ("test", "testing")
MAX_NAMED = 5  # files that a note or a message names


@dataclasses.dataclass(frozen=True)
class FileKind:
    """What kind of files is looked for.

    Attributes:
        name: What they are called in messages, in the plural.
        suffixes: How their names end, in lower case, with the dot.
    """

    name: str
    suffixes: frozenset[str]


@dataclasses.dataclass(frozen=True)
class LabelledFiles:
    """Files with their labels.

    Attributes:
        paths: The files.
        labels: A label for each; None where none are known.
        skipped: Files that were left out, each with the reason.
    """

    paths: tuple[pathlib.Path, ...]
    labels: tuple[Any, ...] | None
    skipped: tuple[tuple[pathlib.Path, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class FoundFolders:
    """What an input folder holds.

    Attributes:
        train: The files to train on.
        valid: Those of a folder of validation files; None where there is none.
        test: The folder of test files, which a search leaves alone; None where there is none.
    """

    train: LabelledFiles
    valid: LabelledFiles | None
    test: pathlib.Path | None


def find_in_folders(input_dir: str | os.PathLike[str], kind: FileKind) -> FoundFolders:
    """The files of `input_dir/CLASS/FILE`, or of `input_dir/train/CLASS/FILE` with valid and test beside it.

    Raises:
        DataError: if there is no such folder, or it holds no classes.
    """
    root = as_folder(input_dir)
    children = {child.name.lower(): child for child in subfolders(root)}
    train = next((children[name] for name in TRAIN_FOLDERS if name in children), None)
    if train is None or not subfolders(train):
        return FoundFolders(files_by_class(root, kind), None, None)
    valid = next((children[name] for name in VALID_FOLDERS if name in children), None)
    test = next((children[name] for name in TEST_FOLDERS if name in children), None)
    others = sorted(set(children) - {*TRAIN_FOLDERS, *VALID_FOLDERS, *TEST_FOLDERS})
    if others:
        raise DataError(
            f"{root} has a folder {train.name!r} with folders of classes, and beside it {', '.join(map(repr, others))};"
            " expected folders of classes, or train, valid and test folders that hold them"
        )
    return FoundFolders(files_by_class(train, kind), None if valid is None else files_by_class(valid, kind), test)


def files_by_class(folder: str | os.PathLike[str], kind: FileKind) -> LabelledFiles:
    """The files of `folder/CLASS/...`, labelled by the folders' names, in the order of their paths.

    Raises:
        DataError: if there are no such folders, or no files in them.
    """
    root = as_folder(folder)
    paths: list[pathlib.Path] = []
    labels: list[str] = []
    skipped: list[tuple[pathlib.Path, str]] = []
    for child in subfolders(root):
        for path, reason in _walk(child, root, kind):
            if reason is not None:
                skipped.append((path, reason))
                continue
            paths.append(path)
            labels.append(child.name)
    if not paths:
        raise DataError(
            f"{root} holds no {kind.name} in folders of classes; expected {root}/CLASS/FILE, a folder for each class "
            f"(files ending in {', '.join(sorted(kind.suffixes))})"
        )
    return LabelledFiles(tuple(paths), tuple(labels), tuple(skipped))


def files_in(folder: str | os.PathLike[str], kind: FileKind) -> LabelledFiles:
    """All files below a folder, in the order of their paths, without labels.

    Raises:
        DataError: if there is none.
    """
    root = as_folder(folder)
    found = list(_walk(root, root, kind))
    paths = tuple(path for path, reason in found if reason is None)
    if not paths:
        raise DataError(f"{root} holds no {kind.name} ({', '.join(sorted(kind.suffixes))})")
    return LabelledFiles(paths, None, tuple((path, reason) for path, reason in found if reason is not None))


def files_of_csv(
    filename: str | os.PathLike[str], path_column: str | None, label: str | None, *, needs_labels: bool = True
) -> LabelledFiles:
    """The files that a CSV file names; relative paths start at its folder.

    Args:
        filename: The CSV file.
        path_column: The column of paths; the first one where None.
        label: The column of labels; the second one where None.
        needs_labels: Whether a missing label column is refused.

    Raises:
        DataError: if a column is missing.
    """
    frame = read_csv(filename).frame
    names = [str(name) for name in frame.columns]
    path_column = names[0] if path_column is None else path_column
    others = [name for name in names if name != path_column]
    label = others[0] if label is None and others else label
    for role, name in (("path", path_column), ("label", label)):
        if name is None and needs_labels:
            raise DataError(f"{filename} has no column of labels beside {path_column!r}; expected paths and labels")
        if name not in names and (role == "path" or needs_labels):
            raise DataError(f"{filename} has no {role} column {name!r}; its columns are {', '.join(names)}")
    folder = pathlib.Path(filename).resolve().parent
    paths = tuple(folder / cell.strip() for cell in frame[path_column])
    return LabelledFiles(paths, tuple(frame[label]) if label in names else None)


def as_folder(path: str | os.PathLike[str]) -> pathlib.Path:
    """A folder that exists.

    Raises:
        DataError: if it does not.
    """
    folder = pathlib.Path(path).expanduser()
    if not folder.is_dir():
        what = "it is a file" if folder.exists() else "there is no such folder"
        raise DataError(f"input_dir is {str(path)!r}, but {what}; expected a folder of folders of classes")
    return folder


def subfolders(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folders in a folder, by name; hidden ones and links are left out."""
    return sorted(
        child for child in folder.iterdir() if child.is_dir() and not child.is_symlink() and child.name[0] != "."
    )


def named(paths: Sequence[tuple[pathlib.Path, str]]) -> str:
    """The first few files with their reasons, for a sentence."""
    shown = "; ".join(f"{path}: {reason}" for path, reason in paths[:MAX_NAMED])
    return shown + (f"; and {len(paths) - MAX_NAMED} more" if len(paths) > MAX_NAMED else "")


def _walk(folder: pathlib.Path, root: pathlib.Path, kind: FileKind) -> Iterator[tuple[pathlib.Path, str | None]]:
    """Every file of a kind below a folder, by path; with the reason where it is left out."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = pathlib.Path(place, name)
            if path.suffix.lower() not in kind.suffixes or name[0] == ".":
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
                yield path, f"it is a link out of {root}"
            else:
                yield path, None
