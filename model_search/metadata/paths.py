"""All names and paths of a study; they are built in this module only.

A study lives in ``root_dir/<experiment name>/``. Names are data: whatever they contain, the folder lies inside
`root_dir`, and the name can be read back from it. Ordinary names stay as they are; a character that a file system
could misunderstand becomes ``%`` and its UTF-8 bytes in hexadecimal, and a name too long for one folder is cut into
nested ones, marked with ``%_`` at the cut. The empty name is ``%``.
"""

from __future__ import annotations

import os
import pathlib
import re
import unicodedata
from collections.abc import Iterator

from model_search.errors import StoreError, StudyError

DATABASE = "study.db"
SPECIFICATION = "spec.pbtxt"
COMPARISON = "comparison.json"  # of families of blocks, of which the study searched one
LOGS = "logs"
TRIALS = "trials"
STUDY_FILES = "files"

# Files that a trial leaves.
WEIGHTS = "weights.npz"  # of its own tower, by name
VALID_LOGITS = "valid_logits.npz"  # on the validation rows
TRAIN_LOGITS = "train_logits.npz"  # of its own tower on the training rows
OPTIMIZER = "optimizer.npz"  # what it has gathered by the best checkpoint
MIXTURE = "mixture.npz"  # kernel and bias of a weighted ensemble

# Files of the study itself.
STUDENT_WEIGHTS = "student_weights.npz"  # of the final student, by name
GIVEN_MODELS = "given_models.npz"  # weights of models that new towers may start from
VALIDATION_ROWS = "validation.npz"  # labels and weights
TRAINING_ROWS = "training.npz"  # labels and weights, where trials have predicted these rows out of their folds


def refit_weights(trial_id: int) -> str:
    """The study's file of the weights that a trial's tower has when it is trained again on all rows."""
    return f"refit_{trial_id}.npz"


_FOLDER_BYTES = 200  # file systems take 255 bytes a name; room for marks and suffixes
_LONGEST_PATH = 1000  # of a file below the study's folder; ours take 300
_SHOWN = 200
_NAME_BYTES = 400  # SQLite opens paths of up to 500 bytes
_PUNCTUATION = frozenset(" !#$&'()+,-.;=@[]^_`{}~")
_EMPTY = "%"
_CUT = "%_"
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")  # names that Windows keeps for itself
_ESCAPE = re.compile(r"((?:%[0-9A-F]{2})+)")


def study_dir(root_dir: str | os.PathLike[str], experiment_name: str) -> pathlib.Path:
    """The study's folder (which is not created); always inside `root_dir`.

    Raises:
        StudyError: if the name is longer than any path can be, or no text.
    """
    if not isinstance(experiment_name, str):
        raise StudyError(f"the experiment's name is {experiment_name!r:.80}; expected a text")
    tokens = _tokens(experiment_name)
    if sum(len(token.encode()) for token in tokens) > _NAME_BYTES:
        raise StudyError(
            f"the experiment's name has {len(experiment_name)} characters ({experiment_name[:40]!r}...); "
            f"choose one that takes at most {_NAME_BYTES} bytes as a path"
        )
    return pathlib.Path(root_dir).joinpath(*_folders(tokens))


def list_studies(root_dir: str | os.PathLike[str]) -> list[str]:
    """Names of the studies in a folder, sorted; none where there is no such folder."""
    root = pathlib.Path(root_dir)
    return sorted(_studies_below(root, root))


def name_of(folder: pathlib.Path) -> str | None:
    """The name of the study that a folder holds, as its path says; None where it is no folder that `study_dir` makes.

    A copied or renamed study has the name of its folder; the record in it keeps the old one.
    """
    root, pieces = folder.parent, [folder.name]
    while pieces[0].startswith(_CUT):
        root, pieces = root.parent, [root.name, *pieces]
    name = _decoded("".join(pieces))
    return name if name is not None and study_dir(root, name) == folder else None


def folders_of(folder: pathlib.Path) -> tuple[str, ...]:
    """The names of the nested folders that a study's name takes; that of the folder alone where it is no study's."""
    name = name_of(folder)
    return (folder.name,) if name is None else study_dir("", name).parts


def absolute_place(place: str) -> str:
    """A place of files as it is named in every working folder; a URL, and the empty text, as they are."""
    if not place or "://" in place or "::" in place:  # the latter joins the protocols of fsspec
        return place
    return os.path.abspath(os.path.expanduser(place))  # noqa: PTH100, PTH111 (a text stays one)


def trial_dir(trial_id: int) -> str:
    """The folder of a trial's files, relative to the study's: "trials/000012"."""
    return f"{TRIALS}/{trial_id:06d}"


def trial_of(artefact: str) -> int | None:
    """The trial that an artefact's path belongs to; None for one of the study itself."""
    found = re.match(rf"{TRIALS}/(\d+)/", artefact)
    return None if found is None else int(found[1])


def trial_log(trial_id: int, worker: str) -> str:
    """A worker's log of a trial, relative to the study's folder."""
    return f"{trial_dir(trial_id)}/{file_name(worker)}.log"


def worker_log(worker: str) -> str:
    """A worker process's own log, relative to the study's folder."""
    return f"{LOGS}/{file_name(worker)}.log"


def file_name(name: str) -> str:
    """Any name as the name of one file: cut where it is too long."""
    return "".join(_tokens(name)).encode()[:_FOLDER_BYTES].decode("utf-8", "ignore")


def artefact_path(trial_id: int | None, name: str, sha256: str) -> str:
    """The path of an artefact, relative to the study's folder: "trials/000012/weights.0123456789abcdef.npz".

    A file of no trial but of the study itself (`trial_id` None) lies in "files".

    A part of the content's hash is in the file's name, so that a worker that was given up for dead can never write over
    what its successor has stored.

    Raises:
        StoreError: if the name is longer than a file's can be.
    """
    safe = "".join(_tokens(name))
    if len(safe.encode()) > _FOLDER_BYTES:
        raise StoreError(f"the file name {name[:40]!r}... {of_whom(trial_id)} is too long; give it fewer characters")
    stem, dot, suffix = safe.rpartition(".")
    head = f"{stem}.{sha256[:16]}{dot}{suffix}" if stem else f"{safe}.{sha256[:16]}"
    return f"{STUDY_FILES if trial_id is None else trial_dir(trial_id)}/{head}"


def of_whom(trial_id: int | None) -> str:
    """Whose a file is, in words: "of trial 12", "of the study"."""
    return "of the study" if trial_id is None else f"of trial {trial_id}"


def check_relative(relative: str) -> str:
    """Returns a relative path unchanged if it stays inside the study's folder.

    Raises:
        StoreError: if it is absolute, empty, or climbs.
    """
    windows = pathlib.PureWindowsPath(relative)
    parts = re.split(r"[/\\]", relative)
    too_long = len(relative) > _LONGEST_PATH
    if too_long or "\0" in relative or windows.drive or windows.root or any(part in ("", ".", "..") for part in parts):
        raise StoreError(
            f"{relative[:_SHOWN]!r} is not a path inside the study's folder; expected such as {trial_dir(12)}/name"
        )
    return relative


def _tokens(name: str) -> list[str]:
    """The name's characters, each as it is or escaped; joined they make a legal name of a folder."""
    if not name:
        return [_EMPTY]
    normal = unicodedata.is_normalized("NFC", name)
    tokens = [character if _is_plain(character, normal) else _escaped(character) for character in name]
    if name[0] in ". " or _DEVICES.fullmatch(name):
        tokens[0] = _escaped(name[0])
    if name[-1] in ". ":
        tokens[-1] = _escaped(name[-1])
    return tokens


def _is_plain(character: str, normal: bool) -> bool:
    if character.isascii():
        return character.isalnum() or character in _PUNCTUATION
    return normal and character.isalnum()


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _folders(tokens: list[str]) -> list[str]:
    pieces = [""]
    for token in tokens:
        if len((pieces[-1] + token).encode()) > _FOLDER_BYTES:
            pieces.append("")
        pieces[-1] += token
    last = len(pieces) - 1
    return [(_CUT if index > 0 else "") + piece + (_CUT if index < last else "") for index, piece in enumerate(pieces)]


def _studies_below(root: pathlib.Path, folder: pathlib.Path) -> Iterator[str]:
    for entry in _entries(folder):
        if entry.name.endswith(_CUT):
            yield from _studies_below(root, entry)
        elif DATABASE in (inner.name for inner in _entries(entry)):
            name = _decoded("".join(entry.relative_to(root).parts))
            if name is not None and study_dir(root, name) == entry:
                yield name


def _entries(folder: pathlib.Path) -> list[pathlib.Path]:
    """The entries of a folder; none where it cannot be read or is no folder (or a misleading link)."""
    if folder.name.endswith(_CUT) and folder.is_symlink():
        return []
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _decoded(encoded: str) -> str | None:
    """The name of a study's folder (nested ones joined); None where it is not even UTF-8."""
    joined = encoded.replace(_CUT * 2, "")
    if joined == _EMPTY:
        return ""
    pieces = _ESCAPE.split(joined)
    try:
        pieces[1::2] = [
            bytes.fromhex(piece.replace("%", "")).decode("utf-8", "surrogatepass") for piece in pieces[1::2]
        ]
    except UnicodeDecodeError:
        return None
    return "".join(pieces)
