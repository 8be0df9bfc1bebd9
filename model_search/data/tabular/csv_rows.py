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
            closing, text = _closing_quote(text, place + 1, source)
            cells.append(text[place + 1 : closing].replace('""', '"'))
            place = closing + 1
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


def _closing_quote(text: str, place: int, source: _Lines) -> tuple[int, str]:
    """Where the quote is closed that opens before `place`, and the text, with as many more lines as that takes."""
    while True:
        place = text.find('"', place)
        while place >= 0 and text[place + 1 : place + 2] == '"':
            place = text.find('"', place + 2)
        if place >= 0:
            return place, text
        before = len(text)
        line = next(source, None)
        if line is None:
            raise csv.Error("unexpected end of data")
        text, place = text + line, before
