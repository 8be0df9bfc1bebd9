"""Text from others, safe for a terminal and a log: names, labels and messages may hold anything.

A terminal obeys control characters: they move the cursor, hide text, change the window's title, or answer as if
somebody had typed. They are shown as Python writes them (a backslash, x1b), and so are characters that reverse the text
next to them.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import TextIO

# Control characters of ASCII and of ISO 8859, separators of lines, directions of writing, halves of surrogate pairs.
_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
_LAYOUT = "\n\t"


def printable(text: object) -> str:
    """The text with every control character but line ends and tabs shown as an escape."""
    return _CONTROLS.sub(lambda match: match[0] if match[0] in _LAYOUT else _escape(match), str(text))


def printable_line(text: object) -> str:
    """The same in one line: line ends and tabs are shown as escapes, too."""
    return _CONTROLS.sub(_escape, str(text))


def say(text: object = "", file: TextIO | None = None) -> None:
    """Prints text from others; to standard output where no file is given."""
    print(printable(text), file=sys.stdout if file is None else file)


class PrintableFormatter(logging.Formatter):
    """Formats records of a log so that reading it on a terminal does no harm."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return printable(super().format(record))


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode("ascii")
