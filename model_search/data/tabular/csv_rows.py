"""Rows of a CSV file with cells of any length.

The reader of the standard library takes cells of up to 131,072 characters; its limit can be raised for a whole process
only. It reads here as long as it can; a row with a longer cell is read by the few lines below, by the same rules.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator


class RowError(csv.Error):
    """A row that is not written as CSV; `line` is its first line, from 1."""

    def __init__(self, message: str, line: int):
        super().__init__(message)
        self.line = line


_TOO_LONG = "field larger than field limit"


def csv_rows(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows as the strict `csv.reader` reads them, whatever the length of their cells.

    Args:
        lines: The lines of the file, with their ends.
        delimiter: Between the cells; one character.

    Yields:
        The number of the first line of the row, from 1, and its cells.

    Raises:
        RowError: if a quote is not closed, or something follows it.
    """
    source = _Lines(iter(lines))
    try:
        yield from _rows(source, delimiter)
    except csv.Error as error:
        raise RowError(str(error), source.first) from None


def _rows(source: _Lines, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    while True:
        reader = csv.reader(source, delimiter=delimiter, strict=True)
        try:
            for row in reader:
                yield source.first, row
                source.begin()
            return
        except csv.Error as error:
            if _TOO_LONG not in str(error):
                raise
        row = _long_row(source, delimiter)
        yield source.first, row
        source.begin()


class _Lines:
    """Hands out lines, and keeps those of the row that is being read."""

    def __init__(self, lines: Iterator[str]):
        self._lines = lines
        self._next = 1
        self.first = 1  # number of the row's first line
        self.kept: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._next += 1
        self.kept.append(line)
        return line

    def begin(self) -> None:
        """Another row begins with the next line."""
        self.kept.clear()
        self.first = self._next


def _long_row(source: _Lines, delimiter: str) -> list[str]:
    """The row that begins with the lines that are kept; takes further lines as far as a quoted cell reaches."""
    text = "".join(source.kept)
    plain = re.compile(rf"[^{re.escape(delimiter)}\r\n]*")
    cells: list[str] = []
    place = 0
    while True:
        if text[place : place + 1] == '"':
            cell, text, place = _quoted(source, text, place + 1)
            cells.append(cell)
        else:
            found = plain.match(text, place)
            place = place if found is None else found.end()
            cells.append("" if found is None else found[0])
        end = text[place : place + 1]
        if end in ("", "\r", "\n"):
            return cells
        if end != delimiter:
            raise csv.Error(f"'{delimiter}' expected after '\"'")
        place += 1


def _quoted(source: _Lines, text: str, place: int) -> tuple[str, str, int]:
    """A quoted cell whose content begins at `place`; with the text in which it ends, and the place after its quote."""
    parts: list[str] = []
    while True:
        closing = text.find('"', place)
        while closing >= 0 and text[closing + 1 : closing + 2] == '"':
            closing = text.find('"', closing + 2)
        if closing >= 0:
            parts.append(text[place:closing])
            return "".join(parts).replace('""', '"'), text, closing + 1
        parts.append(text[place:])
        line = next(source, None)
        if line is None:
            raise csv.Error("unexpected end of data")
        text, place = line, 0
