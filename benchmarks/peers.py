"""Packages that benchmarks compare with: environments of their own, and names of their results."""

from __future__ import annotations

import argparse
import importlib.metadata
import pathlib
import platform
import subprocess
import sys
from collections.abc import Sequence


def add_environments_flag(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds --environments: the folder in which each peer has an environment."""
    parser.add_argument("--environments", type=pathlib.Path, default=default, help="folder of the peers' environments")


def interpreter(name: str, requirements: Sequence[str], environments: pathlib.Path) -> str:
    """The Python of a peer's environment, which is made where it is missing or has other requirements.

    Args:
        name: The peer.
        requirements: What pip installs, with pinned versions.
        environments: The folder of all environments.

    Raises:
        subprocess.CalledProcessError: if they cannot be installed.
    """
    folder = environments / name
    made = folder / "made.txt"
    wanted = "\n".join(requirements)
    if not made.exists() or made.read_text() != wanted:
        print(f"making an environment for {name} in {folder}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", *requirements], check=True)
        made.write_text(wanted)
    return str(folder / "bin" / "python")


def installed(package: str) -> str:
    """A package of this environment with its version."""
    return f"{package} {importlib.metadata.version(package)}"


def on_this_machine(work: str, version: str) -> str:
    """The name of a result, which holds for one version on one machine."""
    return f"{work}/{version}/{platform.machine()}, {platform.node()}"
