"""What others call things is shown, and never obeyed by a terminal."""

import io
import logging
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_search.errors import DataError
from model_search.printable import PrintableFormatter, printable, printable_line, say


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\rb\x08", "a\\rb\\x08"),
        ("\x9b31m", "\\x9b31m"),
        ("safe\u202egpj.exe", "safe\\u202egpj.exe"),
        ("\udcff", "\\udcff"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("größer 東京 👍🏽 \\x1b", "größer 東京 👍🏽 \\x1b"),
    ],
)
def test_what_is_shown(text, shown):
    assert printable(text) == shown
    assert printable_line(text) == shown.replace("\n", "\\n").replace("\t", "\\t")


@given(st.text(st.characters(codec=None)))
def test_no_control_character_is_left(text):
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in printable_line(text))
    assert {c for c in printable(text) if unicodedata.category(c) in ("Cc", "Cs")} <= {"\n", "\t"}
    printable(text).encode("utf-8")


def test_messages_of_errors_are_printable():
    error = DataError("column '\x1b[2J' is missing")
    assert str(error) == "column '\\x1b[2J' is missing"
    assert error.args == ("column '\x1b[2J' is missing",)


def test_what_is_said_and_logged_is_printable():
    file = io.StringIO()
    say("\x1b[2Jname", file=file)
    assert file.getvalue() == "\\x1b[2Jname\n"
    record = logging.LogRecord("log", logging.INFO, "", 0, "trial of %s", ("\x1b[2J",), None)
    assert PrintableFormatter("%(message)s").format(record) == "trial of \\x1b[2J"
