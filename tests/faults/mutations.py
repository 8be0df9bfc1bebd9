"""Breaks the package's guards one by one, each in a copy, and runs the test that has to notice.

python tests/faults/mutations.py              # all of guards.toml
python tests/faults/mutations.py student      # those whose name or file contains a word
"""

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
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


def survivors(chosen, folder, say=lambda text: None, jobs=1):
    """Breaks each guard in turn.

    Args:
        chosen: The guards.
        folder: An empty folder for the copies.
        say: Receives a line for each guard.
        jobs: How many guards are broken at once, each in a copy of its own.

    Returns:
        A sentence for each guard that no test holds.

    Raises:
        AssertionError: if a test fails without any change, so that its failure would prove nothing.
    """
    copies = queue.SimpleQueue()
    for number in range(jobs):
        (folder / str(number)).mkdir()
        copies.put(copy_of_sources(folder / str(number)))
    whole = copies.get()
    status, said = run_tests(whole, sorted({guard.test for guard in chosen}))
    assert status == _PASSED, f"the tests fail although nothing is broken:\n{said[-3000:]}"
    copies.put(whole)

    def survives(guard):
        root = copies.get()
        try:
            found = _survives(guard, root)
        finally:
            copies.put(root)
        say(f"noticed: {guard.name}" if found is None else f"NOT NOTICED: {found}")
        return found

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        return [found for found in pool.map(survives, chosen) if found is not None]


def _survives(guard, root):
    """Why a broken guard was not noticed: a sentence, or None."""
    source = root / PACKAGE / guard.file
    whole = source.read_text(encoding="utf-8")
    source.write_text(whole.replace(guard.text, guard.replacement), encoding="utf-8")
    try:
        status, said = run_tests(root, [guard.test])
    finally:
        source.write_text(whole, encoding="utf-8")
    if status == _FAILED:
        return None
    what = "passes" if status == _PASSED else f"ends with status {status}:\n{said[-1500:]}"
    return f"{guard.name} ({guard.file}): {guard.test} {what}"


def main():
    parser = argparse.ArgumentParser(description="Breaks the guards of guards.toml; a test has to notice each.")
    parser.add_argument("words", nargs="*", help="of the names or files of guards; all guards without")
    parser.add_argument("--jobs", type=int, default=1, help="how many are broken at once")
    given = parser.parse_args()
    chosen = [g for g in guards() if not given.words or any(word in g.name + g.file for word in given.words)]
    missing = [sentence for guard in chosen if (sentence := guard.missing())]
    if missing:
        return "\n".join(missing)
    with tempfile.TemporaryDirectory() as folder:
        found = survivors(chosen, pathlib.Path(folder), lambda text: print(text, flush=True), given.jobs)
    print(f"{len(chosen)} guards broken in turn: {len(chosen) - len(found)} noticed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
