"""Reads CSV files with every cell as text, and reports in one sentence what is wrong with a file."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import itertools
import os
import pathlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.checked_json import need
from model_search.data.tabular import columns
from model_search.data.tabular.csv_file import Encoding, lines_of
from model_search.data.tabular.csv_rows import RowError, csv_rows
from model_search.data.tabular.schema import MOSTLY
from model_search.data.task import Task
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from model_search.data.array_data import TableLike

DELIMITERS = (",", ";", "\t", "|")
DELIMITER_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar", " ": "a blank"}
SAMPLE_CHARACTERS = 200_000
SAMPLE_ROWS = 200
DECIMAL_ROWS = 5 * SAMPLE_ROWS  # from which the decimal comma is detected
BLOCK_ROWS, BLOCK_CELLS = 2**16, 2**21  # that are read as Python objects at a time
_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d*),\d+(?:[eE][+-]?\d+)?", re.ASCII)
# In a file with decimal commas. A number of thousands never begins with 0, as in `columns.GROUPED_NUMBER`.
POINT_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+", re.ASCII)
_SURE_COMMA = re.compile(r"[+-]?0,\d+", re.ASCII)  # neither thousands nor, throughout a column, a list of two numbers
_UNSURE_COMMA = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)  # thousands, or three decimals

_QUOTED = re.compile(r'"[^"]*"')
_SEPARATOR = re.compile(r'"?sep=([^"\r\n])"?\s*', re.IGNORECASE)  # a first line that is none of CSV, but Excel's


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a CSV file is read.

    Attributes:
        delimiter: Between the fields; detected if None.
        header: Whether the first row holds the names; "auto" detects it.
        encoding: Of the text.
        decimal: "." or ","; detected if None (where the comma is the delimiter, from numbers such as "0,5" alone).
    """

    delimiter: str | None = None
    header: bool | str = "auto"
    encoding: str = "utf-8"
    decimal: str | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None and (not isinstance(self.delimiter, str) or len(self.delimiter) != 1):
            raise DataError(f"the delimiter is {self.delimiter!r}; expected one character, or None to detect it")
        if self.delimiter is not None and self.delimiter in '"\r\n\0':
            raise DataError(
                f"the delimiter is {self.delimiter!r}, which has another meaning in CSV; choose another one"
            )
        Encoding(self.encoding)  # raises if there is none
        if not isinstance(self.header, bool) and self.header != "auto":
            raise DataError(f"header is {self.header!r}; expected True, False or 'auto'")
        if self.decimal not in (None, ".", ","):
            raise DataError(f"decimal is {self.decimal!r}; expected '.', ',' or None to detect it")


@dataclasses.dataclass(frozen=True)
class CsvTable:
    """A CSV file: texts by column, how they were read (with everything detected), and what people should know of it."""

    frame: pd.DataFrame
    reading: Reading
    notes: tuple[str, ...] = ()

    def number_columns(self, label: str | None = None, *, of_points: bool = False) -> list[str]:
        """Columns that hold numbers: of the label column all cells, of others nearly all.

        Args:
            label: The name of the label column.
            of_points: Whether "1.234.567" is a number, too.
        """
        least = {str(name): 1.0 if name == label else MOSTLY for name in self.frame.columns}
        return [
            name
            for name, share in least.items()
            if _share_of_numbers(columns.cells_of(self.frame[name]), of_points) >= share
        ]

    def grouped_columns(self, names: Iterable[str]) -> tuple[list[str], list[str]]:
        """Those of some columns of numbers in a file with decimal commas whose points separate thousands.

        They do if every point of the column is before three digits, as in "1.275".

        Returns:
            The names, and notes on those whose points could be decimal points as well.
        """
        found, notes = [], []
        for name in names:
            kinds = _PointsOfColumn.of(columns.cells_of(self.frame[name]))
            if kinds.example and not kinds.has_other:
                found.append(name)
                if not kinds.is_sure:
                    notes.append(
                        f"column {name!r}: {kinds.example!r} could be read in two ways; its points separate thousands "
                        f"({kinds.example.replace('.', '')}), as the file has decimal commas; where they are decimal "
                        "points, write commas"
                    )
        return found, notes

    def with_points(self, names: Collection[str], grouped: Collection[str] = ()) -> pd.DataFrame:
        """The frame with points for the decimal commas of some columns, if the decimal is a comma.

        Args:
            names: The columns.
            grouped: Those of them whose points separate thousands.
        """
        if self.reading.decimal != ",":
            return self.frame
        changed = {
            name: self.frame[name].array.map_cells(functools.partial(_with_points, grouped=name in grouped))
            for name in self.frame.columns
            if name in names
        }
        return self.frame.assign(**changed)


@dataclasses.dataclass
class _PointsOfColumn:
    """What the points of a column's numbers may be.

    Attributes:
        example: A number such as "1.275"; empty where there is none.
        is_sure: Whether there is a decimal comma, or a number with two points.
        has_other: Whether there is a number such as "1.5", whose point is a decimal point.
    """

    example: str = ""
    is_sure: bool = False
    has_other: bool = False

    @classmethod
    def of(cls, blocks: Iterable[Iterable[str]]) -> _PointsOfColumn:
        found = cls()
        for text in filter(None, map(columns.canonical_text, itertools.chain.from_iterable(blocks))):
            if POINT_GROUPS.fullmatch(text):
                found.example = found.example or text
                found.is_sure = found.is_sure or text.count(".") > 1
            elif _DECIMAL_COMMA.fullmatch(text):
                found.is_sure = True
            elif "." in text and columns.PLAIN_NUMBER.fullmatch(text):
                found.has_other = True
        return found


def read_csv(
    path: str | os.PathLike[str],
    reading: Reading | None = None,
    label: str | None = None,
    names: Sequence[str] | None = None,
    *,
    of_study: bool = False,
) -> CsvTable:
    """Reads a CSV file (also compressed by gzip).

    Args:
        path: The file.
        reading: How to read it.
        label: A required column; if the first row contains it, that row is the header.
        names: Names of the columns of a file without a header; "column_0", "column_1", ... where None.
        of_study: Whether the encoding is that of a study, see `Encoding`.

    Returns:
        A frame whose cells are all text, not stripped; decimal commas are left as they are, see `CsvTable.with_points`.

    Raises:
        DataError: if there is no such file, or it cannot be read; the message names the line where that helps.
    """
    file = open_csv(path, reading, label, names, of_study=of_study)
    return CsvTable(_whole(file), file.reading, file.notes)


def _whole(file: CsvFile) -> pd.DataFrame:
    """All rows of a file, packed."""
    import pandas as pd

    from model_search.data.tabular.packed_text import PackedText, Selection, pack

    blocks = [[pack(cells) for cells in columns] for columns in file.blocks]
    rows = Selection()
    cells = {name: PackedText(column, rows) for name, column in zip(file.names, zip(*blocks, strict=True), strict=True)}
    return pd.DataFrame(cells, copy=False)


@dataclasses.dataclass(frozen=True)
class CsvFile:
    """A CSV file that is read as its rows are asked for.

    Attributes:
        names: Of the columns.
        reading: How it is read, with everything detected.
        blocks: Its rows, some at a time: for each column its cells. At least one row.
        notes: Sentences about a first line that names the delimiter, and commas that can be read in two ways.
    """

    names: tuple[str, ...]
    reading: Reading
    blocks: Iterator[list[tuple[str, ...]]]
    notes: tuple[str, ...] = ()


def open_csv(
    path: str | os.PathLike[str],
    reading: Reading | None = None,
    label: str | None = None,
    names: Sequence[str] | None = None,
    *,
    of_study: bool = False,
) -> CsvFile:
    """Opens a CSV file, and detects how it is read from its first rows; arguments and errors as in `read_csv`."""
    reading = reading or Reading()
    path = pathlib.Path(path)
    lines = lines_of(path, Encoding(reading.encoding, of_study))
    sample, said = _first_lines(lines), list[str]()
    if not sample:
        raise DataError(f"{path} is empty; expected a header and rows")
    named = _SEPARATOR.fullmatch(sample[0])
    if named:
        said = [f"the first line of {path} ({sample[0].strip()!r}) is no row; it names the delimiter, for Excel"]
        sample[0] = "\n"  # so that lines keep their numbers
    delimiter = reading.delimiter or (named[1] if named else _sniff("".join(sample), reading.decimal))
    rows = _rows(itertools.chain(sample, lines), delimiter, path)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path} is empty; expected a header and rows")
    body = list(itertools.islice(rows, DECIMAL_ROWS))
    stripped = [cell.strip() for cell in first]
    has_header = _is_header(stripped, body, label) if reading.header == "auto" else bool(reading.header)
    if has_header:
        if not body:
            raise DataError(f"{path} holds only a header ({len(first)} columns); expected rows below it")
        header = [name or f"column_{index}" for index, name in enumerate(stripped)]
    else:
        body.insert(0, first)
        header = list(names) if names is not None else [f"column_{index}" for index in range(len(first))]
        if len(header) != len(first):
            raise DataError(
                f"{path} has {len(first)} columns and no header; expected {len(header)}: {', '.join(header)}"
            )
    doubled = [name for name, count in Counter(header).items() if count > 1]
    if doubled:
        raise DataError(f"{path} has several columns named {', '.join(map(repr, doubled))}; give each its own name")
    samples = dict(zip(header, zip(*body[:DECIMAL_ROWS], strict=True), strict=True))
    decimal, notes = (reading.decimal, []) if reading.decimal else _decimal(samples, delimiter)
    blocks = _blocks(itertools.chain(body, rows), len(header))
    how = Reading(delimiter, has_header, reading.encoding, decimal)
    return CsvFile(tuple(header), how, blocks, (*said, *notes))


def _first_lines(lines: Iterator[str]) -> list[str]:
    """The lines from which everything is detected; one at least where the file has one."""
    found, size = [], 0
    for line in lines:
        found.append(line)
        size += len(line)
        if size >= SAMPLE_CHARACTERS:
            break
    return found


def _blocks(rows: Iterator[list[str]], width: int) -> Iterator[list[tuple[str, ...]]]:
    """The columns of so many rows that their cells take little memory, again and again."""
    number = max(1, min(BLOCK_ROWS, BLOCK_CELLS // width))
    while block := list(itertools.islice(rows, number)):
        yield list(zip(*block, strict=True))


def read_table(source: TableLike, description: Mapping[str, Any]) -> pd.DataFrame:
    """Rows for prediction or evaluation.

    Args:
        source: Path of a CSV file, a DataFrame, a dict of columns, or an array [rows, columns] of the features.
        description: The study's description of its data (`TableData.description`).

    Returns:
        A frame with the columns of the source: text as read from a file, or typed.

    Raises:
        DataError: if the source cannot be read.
    """
    from model_search.data.array_data import as_frame

    if isinstance(source, str | os.PathLike):
        file, numbers = _open_later(source, description)
        return CsvTable(_whole(file), file.reading).with_points(numbers, _grouped(description))
    features = _features_of(description)
    return as_frame(source, None if hasattr(source, "columns") or isinstance(source, Mapping) else features)


def table_pieces(source: TableLike, description: Mapping[str, Any]) -> Iterator[pd.DataFrame]:
    """The rows that `read_table` gives: those of a file some at a time, as they are read, others in one piece."""
    import pandas as pd

    if not isinstance(source, str | os.PathLike):
        yield read_table(source, description)
        return
    file, numbers = _open_later(source, description)
    commas, grouped = set(numbers) if file.reading.decimal == "," else set(), _grouped(description)
    for block in file.blocks:
        cells = dict(zip(file.names, block, strict=True))
        points = {name: _with_points(cells[name], name in grouped) for name in cells if name in commas}
        yield pd.DataFrame(
            {name: np.array(texts, dtype=object) for name, texts in (cells | points).items()}, dtype=object
        )


def _grouped(description: Mapping[str, Any]) -> list[str]:
    """The columns of a study's file whose points separate thousands."""
    remembered = need(description.get("reading", {}), Mapping, "how the data are read")
    return need(remembered.get("grouped_columns", []), list, "the columns with thousands")


def _features_of(description: Mapping[str, Any]) -> list[str]:
    task, names = Task.of_description(description), _columns_of(description)
    return [name for name in names if name not in (task.label, task.weight)]


def _columns_of(description: Mapping[str, Any]) -> list[str]:
    return [need(name, str, "a column") for name in need(description.get("columns"), list, "the columns")]


def _open_later(source: str | os.PathLike[str], description: Mapping[str, Any]) -> tuple[CsvFile, Collection[str]]:
    """A file that is read as the training file was, and the columns in which a decimal comma is one.

    Without a header it holds either all columns of the training file, or the features alone.
    """
    remembered = need(description.get("reading", {}), Mapping, "how the data are read")
    features = _features_of(description)
    delimiter = remembered.get("delimiter")
    reading = Reading(
        delimiter=None if delimiter in DELIMITERS else delimiter,  # another file may use a different one
        header=remembered.get("header", "auto"),
        encoding=remembered.get("encoding", "utf-8"),
        decimal=remembered.get("decimal"),
    )
    if reading.header is not False:
        file = open_csv(source, reading, label=features[0] if features else None, of_study=True)
        return file, remembered.get("number_columns", file.names)
    file, names = open_csv(source, reading, of_study=True), _columns_of(description)
    for expected in (names, features):
        if len(expected) == len(file.names):
            return dataclasses.replace(file, names=tuple(expected)), remembered.get("number_columns", expected)
    raise DataError(
        f"{source} has {len(file.names)} columns and no header; expected {len(names)} as in training, "
        f"or the {len(features)} without the label"
    )


def _rows(lines: Iterable[str], delimiter: str, path: pathlib.Path) -> Iterator[list[str]]:
    """The rows that are not blank, all of the same length."""
    expected = 0
    try:
        for start, row in csv_rows(lines, delimiter):
            if row and (len(row) > 1 or row[0].strip()):
                expected = expected or len(row)
                if len(row) != expected:
                    raise DataError(_wrong_length(path, start, len(row), expected, delimiter))
                yield row
    except RowError as error:
        raise DataError(
            f"{path}, line {error.line}: {error}; a quote that opens a field must close it, and stand doubled within it"
        ) from None


def _wrong_length(path: pathlib.Path, line: int, received: int, expected: int, delimiter: str) -> str:
    name = DELIMITER_NAMES.get(delimiter, repr(delimiter))
    hint = f"; put a field that contains {name} in double quotes" if received > expected else ""
    return f"{path}, line {line} has {received} fields; expected {expected}, as in the first row{hint}"


def _sniff(text: str, decimal: str | None = None) -> str:
    """The delimiter with which the lengths of the first rows agree best; a comma if none is found.

    Where a comma would do, another one that does as well is preferred if the comma is known to be the decimal sign, or
    if no comma but those of numbers ("0,12;-1,30") and of prose is left with it.
    """
    sample = text[:SAMPLE_CHARACTERS]
    if len(sample) < len(text):
        sample = sample[: sample.rfind("\n") + 1] or sample
    scores: dict[str, tuple[float, int]] = {}
    for delimiter in DELIMITERS:
        lengths: Counter[int] = Counter()
        reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
        try:
            for row in reader:
                lengths[len(row)] += bool(row)
                if lengths.total() >= SAMPLE_ROWS:
                    break
        except csv.Error:  # a cell that is longer than this reader takes: the rows before it decide
            pass
        if not lengths:
            continue
        (length, count), total = lengths.most_common(1)[0], lengths.total()
        if length > 1:
            scores[delimiter] = (count / max(total, 1), length)
    best = max(scores, key=lambda one: scores[one], default=",")  # of equal ones the first
    if best != "," or best not in scores:
        return best
    lines = [line for line in _QUOTED.sub("", sample).splitlines() if line.strip()][:SAMPLE_ROWS]
    others = [one for one in scores if one != "," and scores[one][0] >= scores[best][0]]
    others = [one for one in others if decimal == "," or _explains_commas(lines, one)]
    return max(others, key=lambda one: scores[one], default=best)


def _explains_commas(lines: Iterable[str], delimiter: str) -> bool:
    """Whether every line has the delimiter, and between two of them no comma but that of a number or before a blank."""
    for line in lines:
        cells = [cell.strip() for cell in line.split(delimiter)]
        if len(cells) < 2:
            return False
        if any("," in cell.replace(", ", " ") and not _DECIMAL_COMMA.fullmatch(cell) for cell in cells):
            return False
    return True


def _is_header(first: Sequence[str], body: Sequence[Sequence[str]], label: str | None) -> bool:
    """Whether the first row holds names.

    It does where it names the label. It does not where it has a number above numbers; else it does where it has a text
    above numbers. For the rest, it does not where it has a blank cell (but for the first, where an index stands) or a
    value twice.
    """
    if label is not None and label in first:
        return True
    numeric = [_is_number(cell) for cell in first]
    if all(numeric) and first == [str(index) for index in range(len(first))]:
        return bool(body)
    is_named = False
    for index, cell in enumerate(first):
        below = [text for row in body[:SAMPLE_ROWS] if (text := columns.canonical_text(row[index]))]
        if not all(map(_is_number, below)):
            continue
        if numeric[index]:
            return False
        is_named = is_named or bool(below and columns.canonical_text(cell))
    filled = [cell for cell in first if cell]
    return is_named or (len(set(filled)) == len(filled) and all(first[1:-1]))


def _is_number(text: str) -> bool:
    """Whether a text is a number, with a point or with a decimal comma."""
    return any(form.fullmatch(text) for form in (columns.PLAIN_NUMBER, _DECIMAL_COMMA, columns.GROUPED_NUMBER))


def _share_of_numbers(blocks: Iterable[Iterable[str]], of_points: bool) -> float:
    """Share of the cells with a value that are numbers, with a decimal comma or without; 0 where there are none."""
    forms = [_DECIMAL_COMMA, columns.PLAIN_NUMBER, *([POINT_GROUPS] if of_points else [])]
    present = numbers = 0
    for text in filter(None, map(columns.canonical_text, itertools.chain.from_iterable(blocks))):
        present += 1
        numbers += any(form.fullmatch(text) for form in forms)
    return numbers / max(present, 1)


def _decimal(samples: Mapping[str, Sequence[str]], delimiter: str) -> tuple[str, list[str]]:
    """The decimal sign of a file, "." or ",", and notes where its commas could be read in another way.

    Args:
        samples: The first cells of each column.
        delimiter: Between the cells; where it is a comma, only numbers such as "0,5" prove a decimal comma.
    """
    found = {name: commas for name, cells in samples.items() if (commas := _numbers_with_comma(cells))}
    grouped = columns.GROUPED_NUMBER.fullmatch
    decimal = {name: texts for name, texts in found.items() if all(map(_DECIMAL_COMMA.fullmatch, texts))}
    decimal = {name: texts for name, texts in decimal.items() if not all(map(grouped, texts))}
    if delimiter == ",":
        decimal = {name: texts for name, texts in decimal.items() if any(map(_SURE_COMMA.fullmatch, texts))}
        notes = [
            f"column {name!r}: its commas are read as decimal commas ({next(filter(_SURE_COMMA.fullmatch, texts))!r}); "
            "where they are none, give decimal='.'"
            for name, texts in decimal.items()
        ]
        return ("," if decimal else "."), notes
    if decimal:
        return ",", []
    unsure = {name: texts[0] for name, texts in found.items() if all(map(_UNSURE_COMMA.fullmatch, texts))}
    unsure = {name: text for name, text in unsure.items() if not any("." in cell for cell in samples[name])}
    return ".", [
        f"column {name!r}: {text!r} could be read in two ways; its commas separate thousands "
        f"({text.replace(',', '')}); where they are decimal commas, give decimal=','"
        for name, text in unsure.items()
    ]


def _numbers_with_comma(cells: Sequence[str]) -> list[str]:
    """The texts with a comma of a column that holds nothing but numbers; empty for another column."""
    values = [text for cell in cells if (text := columns.canonical_text(cell))]
    with_comma = [text for text in values if "," in text]
    return with_comma if all(map(_is_number, values)) else []


def _with_points(cells: Sequence[str], grouped: bool = False) -> tuple[str, ...]:
    def convert(cell: str) -> str:
        text = cell.strip()
        if _DECIMAL_COMMA.fullmatch(text) or (grouped and POINT_GROUPS.fullmatch(text)):
            return text.replace(".", "").replace(",", ".")
        return cell

    return tuple(map(convert, cells))
