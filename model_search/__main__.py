"""The `model_search` command, also as `python -m model_search`."""

from __future__ import annotations

import sys

EXIT_INTERRUPTED = 130


def run() -> None:
    """Runs the command; Ctrl-C right before it, as it is still being loaded, or right after it is no traceback."""
    try:
        from model_search import main

        main.run()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    run()
