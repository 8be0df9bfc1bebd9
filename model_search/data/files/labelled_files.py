"""Which files there are, and what their labels are: folders of classes, or a CSV file of paths."""

from __future__ import annotations

import dataclasses
import errno
import os
import pathlib
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from model_search.data.rows import LABEL
from model_search.data.tabular.chosen_rows import Labels
from model_search.data.tabular.csv_file import UTF_8, Encoding
from model_search.data.tabular.csv_reading import Reading, open_csv, read_csv
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
        unread: How names of such files in formats that are not read end.
        convert_to: A format to convert those to.
    """

    name: str
    suffixes: frozenset[str]
    unread: frozenset[str] = frozenset()
    convert_to: str = ""


@dataclasses.dataclass(frozen=True)
class FileColumns:
    """The columns of a CSV file of paths and labels, and its encoding.

    Attributes:
        path: That of the paths; the first one where None.
        labels: Those of the labels, the first of which is the primary task's; the second one where empty.
        weight: That of the weights of the files; None for none.
        groups: That of the groups of the files, which stay together in the split; None for none.
        encoding: Of the text.
    """

    path: str | None = None
    labels: tuple[str, ...] = ()
    weight: str | None = None
    groups: str | None = None
    encoding: Encoding = UTF_8

    @classmethod
    def of(cls, path: str | None, label: str | Sequence[str] | None, weight: str | None = None) -> FileColumns:
        """The columns that a user names."""
        labels = () if label is None else (label,) if isinstance(label, str) else tuple(label)
        if len(set(labels)) < len(labels):
            raise DataError(f"label is {label!r}; expected each column once")
        return cls(path, labels, weight)

    @property
    def named(self) -> tuple[str, ...]:
        """The columns of weights and of groups, where there are such."""
        return tuple(name for name in (self.weight, self.groups) if name is not None)

    @classmethod
    def from_json(cls, values: Any) -> FileColumns:
        """Reads what a study's description of its data says of how it reads files."""
        reading = values if isinstance(values, Mapping) else {}
        label = reading.get("label_column")
        found = cls.of(reading.get("path_column"), label, reading.get("weight_column"))
        return dataclasses.replace(found, groups=reading.get("group_column"), encoding=Encoding.stored(reading))

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dict; `from_json` reads it."""
        label: Any = None if not self.labels else self.labels[0] if len(self.labels) == 1 else list(self.labels)
        optional = {"weight_column": self.weight, "group_column": self.groups}
        found = {"path_column": self.path, "label_column": label}
        found |= {name: column for name, column in optional.items() if column is not None}
        return found | self.encoding.to_json()


@dataclasses.dataclass(frozen=True)
class LabelledFiles:
    """Files with their labels.

    Attributes:
        paths: The files.
        labels: A label for each; None where none are known.
        skipped: Files that were left out, each with the reason.
        columns: The columns that were asked for of a CSV file.
        others: The labels of further tasks, by name, [files] each.
        weights: The weights of the files; None where all weigh the same.
        groups: The groups of the files; None where they are independent.
        unread: A sentence on files beside them in formats that are not read; empty where there are none.
        are_names: Whether the labels are the names of folders of classes.
    """

    paths: tuple[pathlib.Path, ...]
    labels: tuple[Any, ...] | None
    skipped: tuple[tuple[pathlib.Path, str], ...] = ()
    columns: FileColumns = FileColumns()
    others: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    weights: tuple[Any, ...] | None = None
    groups: tuple[Any, ...] | None = None
    unread: str = ""
    are_names: bool = False

    @property
    def as_labels(self) -> Labels | None:
        """The labels and weights; None where there are no labels."""
        if self.labels is None:
            return None
        name = self.columns.labels[0] if self.columns.labels else LABEL
        others = {other: Labels(values, None, other) for other, values in self.others.items()}
        weight = self.columns.weight or "weight"
        return Labels(self.labels, self.weights, name, weight, others, self.groups, self.are_names)


NO_COLUMNS = FileColumns()
_LINKED = "it is a link to a folder, which is not followed; put the folder itself there"


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
    found = files_by_class(train, kind)
    found = dataclasses.replace(found, skipped=(*linked_folders(root), *found.skipped))
    return FoundFolders(found, None if valid is None else files_by_class(valid, kind), test)


def files_by_class(folder: str | os.PathLike[str], kind: FileKind) -> LabelledFiles:
    """The files of `folder/CLASS/...`, labelled by the folders' names, in the order of their paths.

    Raises:
        DataError: if there are no such folders, or no files in them.
    """
    root = as_folder(folder)
    paths: list[pathlib.Path] = []
    labels: list[str] = []
    skipped = linked_folders(root)
    unread: Counter[str] = Counter()
    for child in subfolders(root):
        found = list(_walk(child, root, kind, unread))
        if not found:
            skipped.append((child, f"this folder holds no {kind.name}, and so is no class"))
        for path, reason in found:
            if reason is not None:
                skipped.append((path, reason))
                continue
            paths.append(path)
            labels.append(child.name)
    sentence = _of_unread(root, kind, unread)
    if not paths:
        raise DataError(
            f"{root} holds no {kind.name} in folders of classes; expected {root}/CLASS/FILE, a folder for each class "
            f"(files ending in {', '.join(sorted(kind.suffixes))}){_left_out(skipped)}{sentence and '; '}{sentence}"
        )
    return LabelledFiles(tuple(paths), tuple(labels), tuple(skipped), unread=sentence, are_names=True)


def files_in(folder: str | os.PathLike[str], kind: FileKind) -> LabelledFiles:
    """All files below a folder, in the order of their paths, without labels.

    Raises:
        DataError: if there is none.
    """
    root = as_folder(folder)
    found = list(_walk(root, root, kind, Counter()))
    paths = tuple(path for path, reason in found if reason is None)
    skipped = tuple((path, reason) for path, reason in found if reason is not None)
    if not paths:
        raise DataError(f"{root} holds no {kind.name} ({', '.join(sorted(kind.suffixes))}){_left_out(skipped)}")
    return LabelledFiles(paths, None, skipped)


def files_of_csv(
    filename: str | os.PathLike[str],
    kind: FileKind,
    wanted: FileColumns = NO_COLUMNS,
    *,
    needs_labels: bool = True,
    needed: Sequence[str] = (),
) -> LabelledFiles:
    """The files that a CSV file names; relative paths start at its folder.

    A first row that begins with a path (of a file that is there, or that ends as files of this kind do) is no header.

    Args:
        filename: The CSV file.
        kind: What kind of files it names.
        wanted: Its columns.
        needs_labels: Whether a missing column of labels is refused.
        needed: Names of its columns of weights and of groups that may not be missing.

    Raises:
        DataError: if a column is missing.
    """
    has_header = not _begins_with_path(pathlib.Path(filename), kind, wanted)
    reading = Reading(header="auto" if has_header else False, encoding=wanted.encoding.name)
    frame = read_csv(filename, reading, of_study=wanted.encoding.of_study).frame
    names = [str(name) for name in frame.columns]
    is_list = len(names) == 1 and not has_header
    path_column = names[0] if wanted.path is None or is_list else wanted.path
    others = [name for name in names if name not in (path_column, wanted.weight, wanted.groups)]
    labels = wanted.labels or tuple(others[:1])
    if needs_labels and not labels:
        raise DataError(f"{filename} has no column of labels beside {path_column!r}; expected paths and labels")
    asked = [("path", path_column), *(("label", name) for name in labels if needs_labels)]
    columns = [("weight", wanted.weight), ("group", wanted.groups)]
    asked += [(role, name) for role, name in columns if name is not None and name in needed]
    for role, name in asked:
        if name not in names:
            raise DataError(f"{filename} has no {role} column {name!r}; its columns are {', '.join(names)}")
    folder = pathlib.Path(filename).resolve().parent
    paths = tuple(folder / cell.strip() for cell in frame[path_column])
    first, *more = labels or ("",)
    weight, groups = (name if name in names else None for name in (wanted.weight, wanted.groups))
    return LabelledFiles(
        paths,
        tuple(frame[first]) if first in names else None,
        columns=wanted,
        others={name: tuple(frame[name]) for name in more if name in names},
        weights=None if weight is None else tuple(frame[weight]),
        groups=None if groups is None else tuple(frame[groups]),
    )


def _begins_with_path(filename: pathlib.Path, kind: FileKind, wanted: FileColumns) -> bool:
    """Whether the first row of a CSV file holds a path, and none of the columns that are asked for."""
    first = _first_row(filename, wanted.encoding)
    if {wanted.path, wanted.weight, wanted.groups, *wanted.labels} & set(first):
        return False
    try:
        is_file = bool(first[0]) and (filename.resolve().parent / first[0]).is_file()
    except (OSError, ValueError):  # too long for a name, or with zero bytes
        is_file = False
    return is_file or pathlib.PurePath(first[0]).suffix.lower() in kind.suffixes


def _first_row(filename: pathlib.Path, encoding: Encoding) -> list[str]:
    """The cells of the first row, stripped, whether these are names or data."""
    file = open_csv(filename, Reading(header=False, encoding=encoding.name), of_study=encoding.of_study)
    return [column[0].strip() for column in next(file.blocks)]


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


def size_of(path: str | os.PathLike[str]) -> int:
    """The size of an ordinary file in bytes.

    Raises:
        OSError: if there is none, or it is a pipe, a device or a folder, which nobody should wait for.
    """
    about = pathlib.Path(path).stat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "it is no ordinary file")
    return about.st_size


def subfolders(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folders in a folder, by name; hidden ones and links are left out."""
    return sorted(
        child for child in folder.iterdir() if child.is_dir() and not child.is_symlink() and child.name[0] != "."
    )


def linked_folders(folder: pathlib.Path) -> list[tuple[pathlib.Path, str]]:
    """The links to folders in a folder, by name, each with the reason why it is left out; hidden ones do not count."""
    found = sorted(child for child in folder.iterdir() if child.is_symlink() and child.is_dir())
    return [(child, _LINKED) for child in found if child.name[0] != "."]


def none_skipped(files: LabelledFiles, kind: FileKind, note: Callable[[str], None] | None = None) -> LabelledFiles:
    """The files, if none was left out; each needs an answer. Folders need none.

    Args:
        files: What was found.
        kind: What kind of files they are.
        note: Called with a sentence on the links to folders, which are left out as in training.

    Raises:
        DataError: naming the files that were left out.
    """
    linked = [(path, reason) for path, reason in files.skipped if path.is_symlink() and path.is_dir()]
    if linked and note is not None:
        links = "1 link to a folder is" if len(linked) == 1 else f"{len(linked)} links to folders are"
        note(f"{links} left out: {named(linked)}")
    lost = [(path, reason) for path, reason in files.skipped if not path.is_dir()]
    if lost:
        total = len(files.paths) + len(lost)
        raise DataError(f"{len(lost)} of {total} {kind.name} cannot be read: {named(lost)}; leave them out")
    return files


def paths_of(
    source: Any, kind: FileKind, columns: FileColumns = NO_COLUMNS, note: Callable[[str], None] | None = None
) -> list[pathlib.Path] | None:
    """The files that a source names, in the order of its predictions; None where it names none.

    Args:
        source: A folder (all files of the kind below it, by path), a file's path, a CSV file of paths, or a list of
            paths.
        kind: What kind of files it names.
        columns: Those of the study's CSV file.
        note: As for `none_skipped`.

    Raises:
        DataError: if a path does not exist, or a folder has no such files, or links that lead out of it.
    """
    if isinstance(source, str | os.PathLike):
        path = pathlib.Path(source).expanduser()
        if path.is_dir():
            return list(none_skipped(files_in(path, kind), kind, note).paths)
        if not path.is_file():
            raise DataError(f"there is no file or folder {os.fspath(source)!r}; expected {kind.name}")
        if path.suffix.lower() in kind.suffixes:
            return [path]
        return list(files_of_csv(path, kind, columns, needs_labels=False).paths)
    if isinstance(source, Sequence) and source and all(isinstance(item, str | os.PathLike) for item in source):
        return [pathlib.Path(item).expanduser() for item in source]
    return None


def named(paths: Sequence[tuple[pathlib.Path, str]]) -> str:
    """The first few files with their reasons, for a sentence."""
    shown = "; ".join(f"{path}: {reason}" for path, reason in paths[:MAX_NAMED])
    return shown + (f"; and {len(paths) - MAX_NAMED} more" if len(paths) > MAX_NAMED else "")


def _left_out(skipped: Sequence[tuple[pathlib.Path, str]]) -> str:
    return f"; left out: {named(skipped)}" if skipped else ""


def _of_unread(root: pathlib.Path, kind: FileKind, counts: Counter[str]) -> str:
    """A sentence on the files in folders of classes that are of a kind, but in formats that are not read."""
    if not counts:
        return ""
    shown = ", ".join(f"{counts[suffix]} {suffix}" for suffix in sorted(counts))
    return f"files in {root} in formats that are not read: {shown}; convert them to {kind.convert_to} to have them read"


def _walk(
    folder: pathlib.Path, root: pathlib.Path, kind: FileKind, unread: Counter[str]
) -> Iterator[tuple[pathlib.Path, str | None]]:
    """Every file of a kind below a folder, by path; with the reason where it is left out.

    Links to folders are among them. Files in formats that are not read are added to `unread`, by suffix.
    """
    for place, folders, names in os.walk(folder):
        folders.sort()
        inner = (pathlib.Path(place, name) for name in folders if name[0] != ".")
        yield from ((path, _LINKED) for path in inner if path.is_symlink())
        for name in sorted(names):
            path = pathlib.Path(place, name)
            suffix = path.suffix.lower()
            if suffix in kind.unread and name[0] != ".":
                unread[suffix] += 1
            if suffix not in kind.suffixes or name[0] == ".":
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
                yield path, f"it is a link out of {root}"
            else:
                yield path, None
