"""Predicts and evaluates files that need not fit into memory: some rows at a time are read, predicted and left."""

from __future__ import annotations

import bz2
import contextlib
import csv
import dataclasses
import gzip
import io
import lzma
import os
import pathlib
import secrets
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO, cast

import numpy as np

from model_search.data.audio.later_recordings import recording_paths
from model_search.data.files.labelled_files import FileColumns
from model_search.data.images.later_pictures import picture_paths
from model_search.data.later_rows import PieceReader, inputs_of, label_columns, label_rows, labelled_rows, steps_of
from model_search.data.rows import Arrays, Rows
from model_search.data.sequences.later_sequences import in_file
from model_search.data.tabular.csv_reading import table_pieces
from model_search.data.tabular.packed_text import PackedText
from model_search.data.tabular.preprocess import Note
from model_search.data.task import Task, TaskKind, logits_of_tasks
from model_search.errors import UserError
from model_search.finish.evaluate import metrics_of_tasks
from model_search.finish.predict import (
    class_array,
    predict_labels,
    predict_probabilities,
    predict_task_probabilities,
    predict_tasks,
    tower_logits,
    written_classes,
)
from model_search.metadata.study_folder import check_target
from model_search.training.metrics import predicted_classes

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from model_search.data.array_data import TableLike

_CSV = (".csv", ".tsv", ".txt")  # of which a study has none of its own
_FILES = 512  # pictures or recordings that are read at a time
# Spreadsheets take a cell that begins with one of these for a formula; some take the full-width forms, too.
FORMULA_STARTS = (*"=+-@\t\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@dataclasses.dataclass(frozen=True)
class ModelAnswers:
    """What one model of a study answers for data that are read now, a file of a table piece by piece.

    Attributes:
        description: The study's description of its data.
        tasks: What is predicted, by name, the primary task first.
        tower: The model's tower, with room for as many steps as these inputs have.
        note: Receives sentences on cells that are not taken as they are.
    """

    description: Mapping[str, Any]
    tasks: Mapping[str, Task]
    tower: Callable[[Arrays | None], keras.Model]
    note: Note

    def logits(self, data: TableLike) -> tuple[np.ndarray, np.ndarray | None]:
        """Logits [rows, ...], and which steps are valid where there is a label for each step."""
        if self._reads_in_pieces(data):
            return np.concatenate(list(logits_in_pieces(self.tower(None), data, self.description, self.note))), None
        inputs = inputs_of(data, self.description, self.note)
        return tower_logits(self.tower(inputs), inputs), steps_of(inputs, self.description)

    def labels(self, data: TableLike, temperatures: Sequence[float]) -> np.ndarray | dict[str, np.ndarray]:
        """See `Study.predict`."""
        logits, steps = self.logits(data)
        return predict_tasks(logits, self.tasks, temperatures, steps)

    def probabilities(self, data: TableLike, temperatures: Sequence[float]) -> pd.DataFrame | dict[str, pd.DataFrame]:
        """See `Study.predict_proba`."""
        import pandas as pd

        logits, steps = self.logits(data)
        found = predict_task_probabilities(logits, self.tasks, temperatures, steps)
        of_rows = steps is None and "sequences" not in self.description  # a long frame of sequences has a row a step
        if not (of_rows and isinstance(data, pd.DataFrame | pd.Series) and len(data) == len(logits)):
            return found
        for frame in found.values() if isinstance(found, dict) else [found]:
            frame.index = data.index
        return found

    def metrics(self, data: TableLike, temperatures: Sequence[float]) -> dict[str, float]:
        """See `Study.evaluate`."""
        if self._reads_in_pieces(data) and len(self.tasks) == 1:
            given, found = labelled_logits(self.tower(None), data, self.description, self.note)
        else:
            given = labelled_rows(data, self.description, self.note)
            found = tower_logits(self.tower(given.inputs), given.inputs)
        return metrics_of_tasks(self.tasks, given, found, temperatures)

    def frames(self, data: TableLike, temperatures: Sequence[float]) -> Iterator[pd.DataFrame]:
        """What is written of predictions, some rows or files at a time.

        Raises:
            UserError: if the data are a file, and the study reads none.
        """
        files = files_of(data, self.description, self.note)
        if files is not None:
            return answers_of_files(files, lambda paths: self.logits(paths)[0], self.tasks, temperatures)
        if self.description.get("schema") is not None:
            pieces = logits_in_pieces(self.tower(None), data, self.description, self.note)
            return (answers_of(logits, self.tasks, temperatures) for logits in pieces)
        return iter([self._frame(data, temperatures)])

    def _frame(self, data: TableLike, temperatures: Sequence[float]) -> pd.DataFrame:
        """What is written for data that are read at once.

        Each sequence of a file that names them has its "id" first, a label for each step its "row" and "step".
        """
        is_path = isinstance(data, str | os.PathLike)
        if is_path and not {"sequences", "text"} & self.description.keys():
            made_from = "inputs by name" if "named" in self.description else "an input_fn"
            raise UserError(
                f"received the file {data}; the study was made from {made_from}, which no file holds: give rows as "
                "training had them, in Python, to `study.predict` or `study.write_predictions`"
            )
        logits, steps = self.logits(data)
        ids: tuple[str, ...] = ()
        if is_path and "sequences" in self.description:  # read once more: a tower's inputs leave the ids out
            ids = in_file(cast("str", data), self.description).ids
        if steps is None:
            found = answers_of(logits, self.tasks, temperatures)
            return found if not ids else _with_first(found, {"id": list(ids)})
        rows, numbers = np.nonzero(steps)
        whose = {"id": [ids[row] for row in rows]} if ids else {"row": rows}
        return _with_first(answers_of(logits[steps], self.tasks, temperatures), whose | {"step": numbers})

    def _reads_in_pieces(self, data: TableLike) -> bool:
        """Whether rows are read some at a time, and their features are left again."""
        return isinstance(data, str | os.PathLike) and self.description.get("schema") is not None


def logits_in_pieces(
    tower: keras.Model, source: TableLike, description: Mapping[str, Any], note: Note | None = None
) -> Iterator[np.ndarray]:
    """A tower's logits [rows, width] for the rows of a table, some rows at a time where it is a file.

    Args:
        tower: Inputs to logits.
        source: As in `inputs_of`.
        description: The study's description of its data, a table's.
        note: As in `inputs_of`; called at the end.
    """
    reader = PieceReader(description)
    for frame in table_pieces(source, description):
        yield tower_logits(tower, reader.read(frame))
    _say(reader.notes(), note)


def files_of(source: Any, description: Mapping[str, Any], note: Note | None = None) -> list[pathlib.Path] | None:
    """The pictures or recordings that a source names; None for a study of other data, or a source that names none.

    `note` is called with a sentence if links to folders are left out.
    """
    columns = FileColumns.from_json(description.get("reading"))
    if "images" in description:
        return picture_paths(source, columns, note)
    return recording_paths(source, columns, note) if "audio" in description else None


def _with_first(frame: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    """The frame with these columns before its own, which have other names."""
    for place, (name, values) in enumerate(columns.items()):
        frame.insert(place, name, values)
    return frame


def answers_of_files(
    paths: Sequence[pathlib.Path],
    logits_of: Callable[[list[str]], np.ndarray],
    tasks: Mapping[str, Task],
    temperatures: Sequence[float],
) -> Iterator[pd.DataFrame]:
    """The answers for pictures or recordings, some files at a time, with the name of each in the column "file".

    Args:
        paths: The files.
        logits_of: From some of them to logits [files, width].
        tasks: What is predicted, by name, the primary task first.
        temperatures: Divide the logits of each task.
    """
    for start in range(0, len(paths), _FILES):
        piece = [str(path) for path in paths[start : start + _FILES]]
        frame = answers_of(logits_of(piece), tasks, temperatures)
        frame.insert(0, "file", piece)
        yield frame


def labelled_logits(
    tower: keras.Model, source: TableLike, description: Mapping[str, Any], note: Note | None = None
) -> tuple[Rows, np.ndarray]:
    """Labels, without inputs, and logits of the rows of a file that have a label.

    Of a file that is larger than memory, labels, weights and logits are held, but no features.

    Raises:
        DataError: if there is no label column, or it holds unknown classes.
    """
    import pandas as pd

    task, reader = Task.of_description(description), PieceReader(description)
    logits, found, weights = [], [], []
    for frame in table_pieces(source, description):
        series, weight = label_columns(frame, task)
        found.append(PackedText.of(series))
        weights += [] if weight is None else [PackedText.of(weight)]
        logits.append(tower_logits(tower, reader.read(frame)))
    column = pd.concat([pd.Series(part, name=task.label) for part in found], ignore_index=True)
    weight = pd.concat([pd.Series(part, name=task.weight) for part in weights], ignore_index=True) if weights else None
    present, rows = label_rows(column, weight, description, note)
    _say(reader.notes(), note)
    return rows, np.concatenate(logits)[present]


def _say(sentences: Iterable[str], note: Note | None) -> None:
    if note is not None:
        for sentence in sentences:
            note(sentence)


def answers_of(logits: np.ndarray, tasks: Mapping[str, Task], temperatures: Sequence[float]) -> pd.DataFrame:
    """What is written for each row: "prediction", and "probability_CLASS" for each class; "quantile_Q" of quantiles.

    Of tasks besides the primary one, "prediction/TASK" and "probability_CLASS/TASK". Classes that print alike (1 and
    "1") are written as in Python.
    """
    found = None
    for (name, columns), temperature in zip(logits_of_tasks(tasks).items(), temperatures, strict=True):
        frame = _answers_of_task(logits[..., columns], tasks[name], temperature)
        found = frame if found is None else found.join(frame.rename(columns=lambda one, name=name: f"{one}/{name}"))
    return cast("pd.DataFrame", found)


def _answers_of_task(logits: np.ndarray, task: Task, temperature: float) -> pd.DataFrame:
    import pandas as pd

    labels = predict_labels(logits, task, temperature)
    if task.quantiles:
        return pd.DataFrame(labels, columns=[f"quantile_{quantile:g}" for quantile in task.quantiles])
    found = pd.DataFrame({"prediction": pd.Series(labels.tolist(), dtype=labels.dtype if labels.ndim == 1 else object)})
    if task.kind is not TaskKind.CLASSIFICATION:
        return found
    names = written_classes(task)
    if names.tolist() != class_array(task).tolist():
        found["prediction"] = names[predicted_classes(task, logits / temperature)]
    shares = predict_probabilities(logits, task, temperature)
    return found.join(shares.set_axis([f"probability_{name}" for name in names.tolist()], axis="columns"))


def escape_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with an apostrophe before each text that a spreadsheet would take for a formula; numbers stay."""
    import pandas as pd

    def escaped(cell: Any) -> Any:
        return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell

    def kept(column: pd.Series) -> pd.Series:  # of the same type: large whole numbers among others stay exact
        cells = [escaped(cell) for cell in column]
        return pd.Series(cells, column.index, dtype=object, name=column.name)

    columns = [column if _is_number(column) else kept(column) for _, column in frame.items()]
    return pd.concat(columns, axis=1).rename(columns=escaped)


def check_output(folder: pathlib.Path, data: object, path: str | os.PathLike[str]) -> None:
    """Checks where predictions are to be written, before anything is predicted.

    Args:
        folder: The study's.
        data: What is predicted for.
        path: The file to make.

    Raises:
        UserError: if it is no path, a file of the study, or the file that is predicted for.
    """
    check_target(folder, path)
    target = pathlib.Path(path)
    if not target.is_file():
        return
    if isinstance(data, str | os.PathLike) and pathlib.Path(data).is_file() and target.samefile(data):
        raise UserError(f"the predictions cannot be written to {path}: they are made for that file; name another")
    own = folder.resolve()
    if own in target.resolve().parents and not any(suffix in _CSV for suffix in map(str.lower, target.suffixes)):
        raise UserError(f"the predictions cannot be written to {path}: it is a file of the study; name another")


def write_csv(parts: Iterable[pd.DataFrame], path: str | os.PathLike[str]) -> int:
    """Writes frames below each other as one CSV file: whole, or not at all.

    Args:
        parts: Frames with the same columns.
        path: The file; compressed if it ends in .gz, .bz2, .xz or .zip. A device or a pipe is written to as it is.

    Returns:
        The number of rows.

    Raises:
        UserError: if it cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(_replaced(pathlib.Path(path)))
            return append_csv(parts, file)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"the predictions cannot be written to {path}: {reason}") from None


def append_csv(parts: Iterable[pd.DataFrame], file: TextIO) -> int:
    """Writes frames below each other, with one header; returns the number of rows."""
    rows = 0
    for part in parts:
        # Python's csv leaves a carriage return unquoted, and readers take it for the end of a row.
        quoting = csv.QUOTE_NONNUMERIC if _has_carriage_return(part) else csv.QUOTE_MINIMAL
        part.to_csv(file, index=False, header=not rows, quoting=quoting)
        rows += len(part)
    return rows


@contextlib.contextmanager
def _replaced(path: pathlib.Path) -> Iterator[TextIO]:
    """A file under another name, which gets this name when all is written."""
    if path.exists() and not path.is_file():
        if path.is_dir():
            raise UserError(f"the predictions cannot be written to {path}: it is a folder; give the path of a file")
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    target = path.resolve()  # of a link, the file behind it
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with _open_packed(part, path.suffix.lower(), path.stem) as file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _open_packed(part: pathlib.Path, suffix: str, name: str) -> Iterator[TextIO]:
    openers: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    if suffix == ".zip":
        with (
            zipfile.ZipFile(part, "x", zipfile.ZIP_DEFLATED) as archive,
            archive.open(name, "w") as raw,
            io.TextIOWrapper(raw, encoding="utf-8", newline="") as file,
        ):
            yield file
    elif suffix in openers:
        with openers[suffix](part, "xt", encoding="utf-8", newline="") as packed:
            yield cast(TextIO, packed)
    else:
        with part.open("x", encoding="utf-8", newline="") as file:
            yield file


def _has_carriage_return(frame: pd.DataFrame) -> bool:
    texts = [column.unique() for _, column in frame.items() if not _is_number(column)]
    return any("\r" in str(cell) for cells in (frame.columns, *texts) for cell in cells)


def _is_number(series: pd.Series) -> bool:
    import pandas.api.types as types

    return types.is_numeric_dtype(series.dtype)
