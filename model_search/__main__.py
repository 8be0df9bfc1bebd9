"""The `model_search` command, also as `python -m model_search`."""

from __future__ import annotations

import sys

EXIT_INTERRUPTED = 130


def run() -> None:
    """Runs the command; Ctrl-C while it is still being loaded is no traceback either."""
    try:
        from model_search import main
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    main.run()


if __name__ == "__main__":
    run()
