"""Files of sequences: `.ts` files of the UCR and UEA archives, and long CSV files with a row for each step."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.checked_json import read_record
from model_search.data.prepare_options import RULES_AS_DECLARED, RULES_AS_IN_FILES, RULES_OF_NEW_STUDIES
from model_search.data.rows import LABEL as ROW_LABEL
from model_search.data.sequences.padded import Padded, padded
from model_search.data.tabular import columns
from model_search.data.tabular.chosen_rows import Labels, as_array
from model_search.data.tabular.csv_file import UTF_8, Encoding
from model_search.data.tabular.csv_reading import Reading, read_csv
from model_search.data.task import TaskKind
from model_search.data.text.tokens import is_missing
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

ID, TIME, LABEL = "id", "time", "label"  # names of the columns where none are given
_WHOLE = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_SHOWN = 8  # names of channels in a sentence
_ZONE = re.compile(r"[T ].*(?:[zZ]|[+-]\d\d(?::?\d\d)?)$")  # at the end of an ISO time


@dataclasses.dataclass(frozen=True)
class LongColumns:
    """The columns of a long CSV file.

    Attributes:
        id: Which sequence a row belongs to.
        time: The order of its steps; that of the rows where there is no column "time" and none is named.
        label: The label, of the sequence or of the step.
        weight: The weight of the sequence or, where each step has a label, of the step; None for none.
        others: The labels of further tasks, one for each sequence.
        groups: The group of the sequence (a person, say), which stays together in the split; None for none.
    """

    id: str = ID
    time: str = TIME
    label: str = LABEL
    weight: str | None = None
    others: tuple[str, ...] = ()
    groups: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dict of the fields; what is not given is left out, as before."""
        found = dataclasses.asdict(self) | {"others": list(self.others)}
        return {name: value for name, value in found.items() if value not in (None, [])}

    @classmethod
    def from_json(cls, values: Any) -> LongColumns:
        """Reads what `to_json` wrote.

        Raises:
            DamagedRecordError: for anything else.
        """
        return read_record(cls, values, "the columns of sequences")

    @property
    def known(self) -> set[str]:
        """The names of all columns that are no channels."""
        return {
            self.id,
            self.time,
            self.label,
            *self.others,
            *(name for name in (self.weight, self.groups) if name is not None),
        }


@dataclasses.dataclass(frozen=True)
class LabelledSequences:
    """Sequences with the user's own labels.

    Attributes:
        sequences: The sequences.
        labels: A label for each sequence [rows], or for each step [rows, steps] (None at padded steps); None where
            there are none.
        channels: Names of the channels; empty where they have none.
        ids: The ids of the sequences; empty where they have none.
        weights: The weights of the sequences [rows], or of steps [rows, steps] where these have labels; None where all
            weigh the same.
        others: The labels of further tasks, one for each sequence.
        task: What the label is called where there are several tasks.
        groups: The groups of the sequences, which stay together in the split; None where they are independent.
        given_steps: To how many steps the sequences were padded when the labels came; 0 where a file holds both.
        are_names: As in `Labels`.
        declared: As in `Labels`.
        notes: Sentences on numbers of a file that could be read in two ways.
    """

    sequences: Padded
    labels: np.ndarray | None
    channels: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    weights: np.ndarray | None = None
    others: Mapping[str, Labels] = dataclasses.field(default_factory=dict)
    task: str = ROW_LABEL
    groups: np.ndarray | None = None
    given_steps: int = 0
    are_names: bool = False
    declared: TaskKind | None = None
    notes: tuple[str, ...] = ()

    def with_labels(self, given: Labels) -> LabelledSequences:
        """The same sequences with these labels and weights."""
        values = as_array(given.values)
        weights = None if given.weights is None else as_array(given.weights)
        groups = None if given.groups is None else as_array(given.groups)
        found = dataclasses.replace(self, labels=values, weights=weights, others=given.others, task=given.name)
        found = dataclasses.replace(found, groups=groups, given_steps=self.sequences.values.shape[1])
        return dataclasses.replace(found, are_names=given.are_names, declared=given.declared)

    @property
    def counted(self) -> tuple[int, Labels]:
        """How many there are, and their labels, one for each sequence.

        Raises:
            DataError: if there are none.
        """
        if self.labels is None:
            raise DataError("the sequences have no labels; expected one for each")
        own = Labels(self.labels, self.weights, self.task, others=self.others, groups=self.groups)
        return len(self.sequences), dataclasses.replace(own, are_names=self.are_names, declared=self.declared)

    @property
    def has_label_per_step(self) -> bool:
        """Whether the labels are those of steps."""
        return self.labels is not None and are_of_steps(self.labels)


def are_of_steps(values: np.ndarray) -> bool:
    """Whether labels or weights are those of steps: the first of a sequence that is not missing has an axis."""
    return values.ndim > 1 or np.ndim(next((one for one in values if not is_missing(one)), 0)) > 0


def read_file(
    path: str | os.PathLike[str],
    names: LongColumns,
    per_step: bool,
    encoding: Encoding = UTF_8,
    channels: Sequence[str] = (),
    rules: int = RULES_OF_NEW_STUDIES,
) -> LabelledSequences:
    """The sequences of a `.ts` file or of a long CSV file.

    Args:
        path: The file.
        names: The columns of a CSV file.
        per_step: Whether a CSV file's labels are those of steps.
        encoding: Of a CSV file's text.
        channels: The names of the channels of training, in which order those of a CSV file are read; those of the file
            where there are none.
        rules: The study's `PrepareOptions.reading_rules`.

    Raises:
        DataError: if it cannot be read.
    """
    found = pathlib.Path(path).expanduser()
    return read_long_csv(found, names, per_step, encoding, channels, rules) if is_csv(path) else read_ts(found)


def is_csv(source: Any) -> bool:
    """Whether a source of sequences is the path of a CSV file: one that does not end in ".ts"."""
    return isinstance(source, str | os.PathLike) and pathlib.Path(source).suffix.lower() != ".ts"


def read_long_csv(
    path: pathlib.Path,
    names: LongColumns,
    per_step: bool,
    encoding: Encoding,
    channels: Sequence[str] = (),
    rules: int = RULES_OF_NEW_STUDIES,
) -> LabelledSequences:
    """A CSV file with a row for each step: id, time, label, and a column for each channel.

    Args:
        path: The file.
        names: Its columns that are no channels.
        per_step: Whether its labels are those of steps.
        encoding: As for `read_file`.
        channels: As for `read_file`.
        rules: As for `read_file`.

    Raises:
        DataError: if a column is missing or a cell is no number, a step has no id, or a sequence has several labels; or
            if the file has other channels than those of training.
    """
    import pandas as pd

    frame, notes = _read_cells(path, names, encoding, rules)
    for name, what in ((names.id, "sequences"), (None if names.time == TIME else names.time, "times")):
        if name is not None and name not in frame.columns:
            raise DataError(f"{path} has no column {name!r} of {what}; its columns are {', '.join(frame.columns)}")
    own = [str(name) for name in frame.columns if name not in names.known]
    if not own:
        raise DataError(f"{path} has no column of numbers beside {names.id!r}, {names.time!r} and {names.label!r}")
    if channels:
        _refuse_other_channels(own, channels, path)
        own = list(channels)  # a model tells channels apart by their place, a file by their names
    table = np.column_stack([_numbers(frame[name], path) for name in own])
    cells_of_ids = frame[names.id].str.strip()
    _refuse_blank(cells_of_ids, path, "the sequence of each step")
    codes, ids = pd.factorize(cells_of_ids)
    order = np.arange(len(frame))
    if names.time in frame.columns:
        order = np.argsort(_times(frame[names.time], path, rules), kind="stable")
    order = order[np.argsort(codes[order], kind="stable")]
    bounds = np.flatnonzero(np.diff(codes[order], prepend=-1))
    members = np.split(order, bounds[1:])
    sequences = padded([table[rows] for rows in members])
    at_limit = (np.abs(table) >= columns.LARGEST).any(axis=1)  # where cells are read, they are clipped
    sequences = dataclasses.replace(sequences, clipped=len(np.unique(codes[at_limit])))

    def read(name: str | None, by_step: bool, what: str = "labels") -> np.ndarray | None:
        if name not in frame.columns:
            return None
        cells = frame[name].to_numpy(dtype=object)
        return (
            _labels_by_step(cells, members, sequences)
            if by_step
            else _labels(cells, members, ids, f"{path}: sequence", what)
        )

    others = {name: Labels(values, None, name) for name in names.others if (values := read(name, False)) is not None}
    return LabelledSequences(
        sequences,
        read(names.label, per_step),
        tuple(own),
        tuple(map(str, ids)),
        read(names.weight, per_step),
        others,
        names.label if others else ROW_LABEL,
        read(names.groups, False, "groups"),
        notes=tuple(notes),
    )


def read_ts(path: pathlib.Path) -> LabelledSequences:
    """A `.ts` file, of one channel or several, of equal or different lengths.

    Raises:
        DataError: naming the line that cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is no text in UTF-8; expected a .ts file") from None
    head, body = _ts_head(lines, path)
    if head.get("timestamps", "false").startswith("true"):
        raise DataError(f"{path} has time stamps, which are not read; expected @timeStamps false")
    declared = _declared_of(head)
    sequences: list[np.ndarray] = []
    labels: list[str] = []
    for number, line in body:
        parts = line.split(":")
        if declared is not None:
            labels.append(parts.pop().strip())
        try:
            series = [np.array(part.split(","), dtype=np.float64) for part in parts]
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}; expected numbers, separated by commas") from None
        if not series or len({len(one) for one in series}) != 1:
            raise DataError(f"{path}, line {number}: the channels have different numbers of steps")
        sequences.append(np.column_stack(series))
    if not sequences:
        raise DataError(f"{path} holds no sequences; expected them after @data")
    values = None if declared is None else np.array(labels, dtype=object)
    return LabelledSequences(padded(sequences), values, declared=declared)


def _declared_of(head: Mapping[str, str]) -> TaskKind | None:
    """What the labels of a `.ts` file are; None where it has none."""
    if head.get("classlabel", "false").startswith("true"):
        return TaskKind.CLASSIFICATION
    return TaskKind.REGRESSION if head.get("targetlabel", "false").startswith("true") else None


def _ts_head(lines: list[str], path: pathlib.Path) -> tuple[dict[str, str], Iterator[tuple[int, str]]]:
    """The settings of a `.ts` file by their names in lower case, and its numbered lines of data."""
    head: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith(("#", "%")):
            continue
        if text.lower() == "@data":
            rest = ((n, one.strip()) for n, one in enumerate(lines[number:], start=number + 1))
            return head, ((n, one) for n, one in rest if one and not one.startswith(("#", "%")))
        if not text.startswith("@"):
            break
        name, _, value = text[1:].partition(" ")
        head[name.lower()] = value.strip().lower()
    raise DataError(f"{path} has no line @data; expected a .ts file with settings, @data, and a sequence a line")


def _read_cells(
    path: pathlib.Path, names: LongColumns, encoding: Encoding, rules: int
) -> tuple[pd.DataFrame, list[str]]:
    """A CSV file's cells as text, with points for decimal commas, as `csv_data` reads them; and notes on points."""
    table = read_csv(path, Reading(encoding=encoding.name), of_study=encoding.of_study)
    has_groups = rules >= RULES_AS_IN_FILES
    if table.reading.decimal != ",":
        return table.frame.astype(object), []
    found = table.number_columns(names.label, of_points=has_groups)
    numbers = [name for name in found if name not in (names.id, names.groups)]
    grouped, said = table.grouped_columns(numbers) if has_groups else ([], [])
    return table.with_points(numbers, grouped).astype(object), said


def _refuse_other_channels(own: Sequence[str], channels: Sequence[str], path: pathlib.Path) -> None:
    """Raises DataError, which names them, if channels of training are missing or there are others."""
    missing = [name for name in channels if name not in own]
    extra = [name for name in own if name not in channels]
    wrong = [f"{_some(names)} {what}" for names, what in ((missing, "missing"), (extra, "not among them")) if names]
    if wrong:
        raise DataError(
            f"{path} has the channels {_some(own)}; expected those of training, {_some(channels)}, in any order: "
            f"{' and '.join(wrong)}; rename these columns, or leave out what is not among them"
        )


def _some(names: Sequence[str]) -> str:
    """The first names; a file may have thousands."""
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _numbers(series: Any, path: pathlib.Path) -> np.ndarray:
    values = columns.parse_numbers([cell.strip() for cell in series])
    bad = np.flatnonzero(np.isnan(values))
    if len(bad):
        raise DataError(
            f"{path}: column {series.name!r} has {len(bad)} cells without a number, such as "
            f"{series.iloc[int(bad[0])]!r} in row {bad[0] + 1}; fill them in, or leave these sequences out"
        )
    return values


def _times(series: Any, path: pathlib.Path, rules: int) -> np.ndarray:
    """The times, by which steps are sorted: numbers, or dates as whole numbers."""
    import pandas as pd

    cells = series.str.strip()
    values = columns.parse_numbers(list(cells))
    missing = np.isnan(values)
    if not missing.any():
        return values if rules < RULES_AS_DECLARED else _exact(cells, values)
    _refuse_blank(cells, path, "the time of each step")
    try:
        stamps = pd.to_datetime(cells, errors="coerce", format="ISO8601", utc=True)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path}: column {series.name!r} cannot be read as times ({error})") from None
    unread = stamps.isna().to_numpy()
    if unread.any():
        are_numbers = missing.mean() < unread.mean()
        bad = int(np.flatnonzero(missing if are_numbers else unread)[0])
        raise DataError(
            f"{path}: column {series.name!r} holds {cells.iloc[bad]!r} in row {bad + 1}; expected "
            f"{'a number' if are_numbers else 'a time such as 2024-05-31T12:00:00'}, as in most rows"
        )
    has_zone = cells.str.contains(_ZONE).to_numpy(bool)
    if has_zone.any() and not has_zone.all():
        bad = int(np.flatnonzero(has_zone != has_zone[0])[0])
        raise DataError(
            f"{path}: column {series.name!r} holds {cells.iloc[0]!r} in row 1 and {cells.iloc[bad]!r} in row {bad + 1}"
            "; expected times that all have a zone, or all none"
        )
    return stamps.dt.tz_convert(None).to_numpy().astype(np.int64)


def _exact(cells: Any, values: np.ndarray) -> np.ndarray:
    """Numbers as int64 where all are whole: float64 does not tell times of 19 digits apart."""
    if not all(map(_WHOLE.fullmatch, cells)):
        return values
    try:
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    except OverflowError:
        return values


def _refuse_blank(cells: pd.Series, path: pathlib.Path, expected: str) -> None:
    blank = np.flatnonzero(cells == "")
    if len(blank):
        raise DataError(
            f"{path}: column {cells.name!r} is blank in {len(blank)} rows, the first of which is row {blank[0] + 1}; "
            f"expected {expected}: fill it in, or leave these rows out"
        )


def _labels(cells: np.ndarray, members: list[np.ndarray], ids: Any, where: str, what: str) -> np.ndarray:
    """The one label of each sequence, or the like."""
    found = np.empty(len(members), dtype=object)
    for number, rows in enumerate(members):
        different = {cells[row] for row in rows if cells[row].strip()}
        if len(different) > 1:
            raise DataError(
                f"{where} {ids[number]!r} has the {what} {', '.join(map(repr, sorted(different)[:3]))}; expected one "
                "for each sequence (labels of steps are for the problem type RNN_ALL_ACTIVATIONS)"
            )
        found[number] = next(iter(different), "")
    return found


def _labels_by_step(cells: np.ndarray, members: list[np.ndarray], sequences: Padded) -> np.ndarray:
    found = np.full(sequences.values.shape[:2], None, dtype=object)
    for number, rows in enumerate(members):
        found[number, : len(rows)] = cells[rows]
    return found
