"""Breaks the package's guards one by one, each in a copy, and runs the test that has to notice.

    python tests/faults/mutations.py              # all of guards.toml
    python tests/faults/mutations.py student      # those whose name or file contains a word
"""

import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tomllib

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
TABLE = HERE / "guards.toml"
PACKAGE = "model_search"
_SECONDS = 300  # a broken guard may make a test wait for ever
_PASSED, _FAILED = 0, 1  # exit statuses of pytest; others say that no test was run


@dataclasses.dataclass(frozen=True)
class Guard:
    """One entry of guards.toml.

    Attributes:
        name: What is guarded, in words.
        file: Where, in the package.
        text: What stands there exactly once.
        replacement: What the broken guard says instead.
        test: A test, as pytest names it, that has to fail then.
        quick: Whether it is run in `make test` as well.
    """

    name: str
    file: str
    text: str
    replacement: str
    test: str
    quick: bool = False

    def missing(self, root=ROOT):
        """Why the entry is not true of the sources: a sentence, or None."""
        source, tested = root / PACKAGE / self.file, root / self.test.split("::")[0]
        function = f"def {self.test.split('::')[-1].split('[')[0]}("
        found = source.read_text(encoding="utf-8").count(self.text) if source.is_file() else 0
        if found != 1:
            return f"{self.name}: its text is in {self.file} {found} times, expected once; bring guards.toml up to date"
        beside = tested.parent.glob("*.py")  # a contract is in a file of its own
        if not tested.is_file() or not any(function in path.read_text(encoding="utf-8") for path in beside):
            return f"{self.name}: there is no test {self.test}; bring guards.toml up to date"
        return None


def guards():
    """All entries."""
    return [Guard(**entry) for entry in tomllib.loads(TABLE.read_text(encoding="utf-8"))["guard"]]


def copy_of_sources(folder):
    """The package and its tests below `folder`; everything else is linked to."""
    copied = (PACKAGE, "tests")
    for name in copied:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
    for entry in ROOT.iterdir():
        if entry.name not in copied and not entry.name.startswith("."):
            (folder / entry.name).symlink_to(entry)
    return folder


def run_tests(root, tests):
    """Runs tests in a copy; returns pytest's status (-1 where they do not end) and its output."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "--durations=0"]
    process = subprocess.Popen(
        [*command, "--hypothesis-seed=0", *tests],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=_SECONDS)
        return process.returncode, said
    except subprocess.TimeoutExpired:
        return -1, f"no end within {_SECONDS} seconds"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def survivors(chosen, folder, say=lambda text: None):
    """Breaks each guard in turn.

    Args:
        chosen: The guards.
        folder: An empty folder for the copy.
        say: Receives a line for each guard.

    Returns:
        A sentence for each guard that no test holds.

    Raises:
        AssertionError: if a test fails without any change, so that its failure would prove nothing.
    """
    root = copy_of_sources(folder)
    status, said = run_tests(root, sorted({guard.test for guard in chosen}))
    assert status == _PASSED, f"the tests fail although nothing is broken:\n{said[-3000:]}"
    found = []
    for guard in chosen:
        source = root / PACKAGE / guard.file
        whole = source.read_text(encoding="utf-8")
        source.write_text(whole.replace(guard.text, guard.replacement), encoding="utf-8")
        status, said = run_tests(root, [guard.test])
        source.write_text(whole, encoding="utf-8")
        if status == _FAILED:
            say(f"noticed: {guard.name}")
            continue
        what = "passes" if status == _PASSED else f"ends with status {status}:\n{said[-1500:]}"
        found.append(f"{guard.name} ({guard.file}): {guard.test} {what}")
        say(f"NOT NOTICED: {found[-1]}")
    return found


def main(words):
    import tempfile

    chosen = [guard for guard in guards() if not words or any(word in guard.name + guard.file for word in words)]
    missing = [sentence for guard in chosen if (sentence := guard.missing())]
    if missing:
        return "\n".join(missing)
    with tempfile.TemporaryDirectory() as folder:
        found = survivors(chosen, pathlib.Path(folder), lambda text: print(text, flush=True))
    print(f"{len(chosen)} guards broken in turn: {len(chosen) - len(found)} noticed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
