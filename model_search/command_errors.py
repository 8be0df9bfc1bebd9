"""The boundary of the command: whatever goes wrong becomes one sentence and an exit status, never a traceback."""

from __future__ import annotations

import contextlib
import io
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence

from model_search.errors import ModelSearchError, ProviderError, StopStudyError, UserError
from model_search.metadata.filesystem import NO_ROOM
from model_search.printable import printable

EXIT_DONE = 0
EXIT_STOPPED = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141  # as a shell reports a process that SIGPIPE has ended


class NoOutput(io.StringIO):
    """Stands for a standard stream that is closed; what is written to it is lost."""

    def write(self, text: str) -> int:
        """Forgets the text."""
        return len(text)


def run_in_words(command: Callable[[], None], words: Sequence[str]) -> int:
    """Runs a command; what it raises is told on standard error.

    Args:
        command: What to run.
        words: The command's words, for the log.

    Returns:
        The exit status: 0 done, 1 the search had to stop or something unexpected has happened, 2 something given is
        wrong, 130 interrupted, 141 whoever read standard output has left.
    """
    try:
        status = _run(command, words)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _drop_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:  # of the flush
        _drop_output()
        _say(f"error: standard output cannot be written: {_reason(error)}")
        return EXIT_STOPPED


def _run(command: Callable[[], None], words: Sequence[str]) -> int:
    try:
        command()
    except KeyboardInterrupt:
        _say("\nstopped; everything finished is kept, the same command continues the study")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        raise
    except ProviderError as error:
        _say(f"error: {error}{_log_of(error, words)}")
        return EXIT_USER_ERROR
    except UserError as error:
        _say(f"error: {error}")
        return EXIT_USER_ERROR
    except StopStudyError as error:
        _say(f"the search has stopped: {error}")
    except ModelSearchError as error:
        _say(f"error: {error}")
    except UnicodeEncodeError as error:
        _say(
            f"error: standard output takes {error.encoding} and cannot show {error.object[error.start : error.end]!r}; "
            "set PYTHONIOENCODING=utf-8, or let predictions go to a file with --output=FILE"
        )
    except MemoryError as error:
        _say(
            "error: there is not enough memory; end other programs, or take fewer rows, a smaller --phoenix_batch_size "
            f"or fewer --workers{_log_of(error, words)}"
        )
    except OSError as error:
        if error.errno in NO_ROOM and error.filename is None:
            _drop_output()
            _say(f"error: standard output, or a file, cannot be written: {_reason(error)}{_log_of(error, words)}")
        else:
            _say(f"error: {_reason(error)}{_log_of(error, words)}")
    except Exception as error:
        _say(
            f"error: something unexpected has happened, which is a fault of model_search: {type(error).__name__}: "
            f"{error}{_log_of(error, words)}; to report it, send that file, which names your files and columns"
        )
    else:
        return EXIT_DONE
    return EXIT_STOPPED


def _log_of(error: BaseException, words: Sequence[str]) -> str:
    """Writes the traceback into a new file that only this user may read; where it is, in words."""
    import model_search

    lines = [
        f"model_search {model_search.__version__}, Python {platform.python_version()}, {platform.platform()}\n",
        f"command: {list(words)!r}\n\n",
        *traceback.format_exception(error),
    ]
    try:
        descriptor, name = tempfile.mkstemp(prefix="model_search-", suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(lines)
    except OSError as reason:
        return f" (the traceback could not be written to a file: {_reason(reason)})"
    return f"; the traceback is in {name}"


def ensure_standard_streams() -> None:
    """Gives closed standard streams a place to go, before any file is opened that would take their number.

    Otherwise what libraries write to standard output or error would go into the first files that are opened.
    """
    opened = os.open(os.devnull, os.O_RDWR)
    while opened < 3:
        os.set_inheritable(opened, True)
        opened = os.dup(opened)
    os.close(opened)
    if sys.stderr is None:
        sys.stderr = NoOutput()
    if sys.stdout is None:
        sys.stdout = NoOutput()
    elif isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files come out as they came in


def _drop_output() -> None:
    """Lets what is still buffered go nowhere, so that Python does not fail again when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)


def _reason(error: OSError) -> str:
    if error.strerror is None:
        return str(error) or type(error).__name__
    return error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"


def _say(text: str) -> None:
    """One line on standard error, where control characters (of names) cannot change what a terminal shows."""
    with contextlib.suppress(OSError, ValueError):
        print(printable(text), file=sys.stderr, flush=True)
