"""The command in this process: its status, and what it prints."""

import contextlib
import dataclasses
import io
import os
import pathlib
import tempfile

import absl.logging  # defines flags, which a flagsaver would take away again  # noqa: F401
from absl.testing import flagsaver

from model_search import main


@dataclasses.dataclass(frozen=True)
class Called:
    status: int
    out: str
    err: str

    @property
    def logs(self):
        """The files with tracebacks that it names."""
        return [pathlib.Path(word.rstrip(";,.")) for word in self.err.split() if word.startswith(tempfile.gettempdir())]


def call(*words, spent=0.0):
    out, err = io.StringIO(), io.StringIO()
    with flagsaver.flagsaver(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main.main(["model_search", *map(os.fspath, words)], spent)
    return Called(status, out.getvalue(), err.getvalue())


def check_one_sentence(called, status=2):
    """A mistake: told in one line, without a traceback, a status that says so, nothing on standard output."""
    assert called.status == status, called
    assert called.err.startswith("error: "), called
    assert len(called.err.strip().splitlines()) == 1, called
    assert "Traceback" not in called.err, called
    assert called.out == "", called
    return called.err
