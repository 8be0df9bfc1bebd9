"""Fault tests: real processes that are killed, stopped, cut off from room. Each prints its figure at the end."""

import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.append(str(HERE.parent / "report"))  # made_studies.py
FIGURES = []
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    if not FIGURES:
        return
    full = config.getoption("--full-faults")
    terminalreporter.section(f"faults, {'full' if full else 'reduced'} count")
    for section, rows in sections().items():
        terminalreporter.line(section, bold=True)
        for fault, figure in rows:
            terminalreporter.line(f"  {fault}: {figure}")
    page = config.getoption("--fault-table")
    if page and exitstatus == 0:
        table = []
        for section, rows in sections().items():
            table += [
                "",
                f"| {section} | figure |",
                "|---|---|",
                *(f"| {fault} | {figure} |" for fault, figure in rows),
            ]
        text = pathlib.Path(page).read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
        pathlib.Path(page).write_text("\n".join([before + BEGIN, *table, "", END + after]), encoding="utf-8")


def sections():
    """The rows by the module that they come from, whose docstring is their heading."""
    found = {}
    for section, *row in FIGURES:
        found.setdefault(section, []).append(row)
    return found


@pytest.fixture
def full(request):
    """Whether to run at full count."""
    return request.config.getoption("--full-faults")


@pytest.fixture
def count(full):
    """`count(full number, reduced number)`."""
    return lambda most, fewer: most if full else fewer


@pytest.fixture
def figure(request):
    """`figure(fault, what was found)`: a row of the table."""
    section = " ".join(request.module.__doc__.split("\n\n")[0].split()).rstrip(".")
    return lambda fault, found: FIGURES.append((section, fault, found))


class Program:
    """A process of programs.py."""

    def __init__(self, pid, out):
        self.pid = pid
        self._out = out

    def said(self):
        """Whatever it has said until now."""
        if not self._out.exists():
            return []
        return [json.loads(line) for line in self._out.read_bytes().split(b"\n")[:-1]]

    def wait_for(self, wanted, seconds=300.0):
        """Waits until it says something of which `wanted` is true; returns that."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ended = self.has_ended()
            for thing in self.said():
                if wanted(thing):
                    return thing
            if ended:
                break
            time.sleep(0.002)
        raise AssertionError(f"process {self.pid} never said it, but: {self.said()[-3:]}")

    def wait_until_said(self, number, seconds=300.0):
        """Waits until it has said so much."""
        end = time.monotonic() + seconds
        while len(self.said()) < number:
            assert time.monotonic() < end, f"process {self.pid} has only said {self.said()}"
            time.sleep(0.002)

    def done(self):
        """The results that it says are stored."""
        return [thing for thing in self.said() if isinstance(thing, dict) and "done" in thing]

    def has_ended(self):
        return self._out.with_name(self._out.name + ".exit").exists()

    def join(self, seconds=600.0):
        """Waits for its end; returns the status it ended with."""
        end = time.monotonic() + seconds
        while not self.has_ended():
            if time.monotonic() > end:
                raise AssertionError(f"process {self.pid} does not end; it said {self.said()[-3:]}")
            time.sleep(0.002)
        return int(self._out.with_name(self._out.name + ".exit").read_text())

    def kill(self):
        """SIGKILL; returns when it is gone."""
        if not self.has_ended():
            os.kill(self.pid, signal.SIGKILL)
        return self.join()

    def stop(self):
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.pid, signal.SIGCONT)


@pytest.fixture(scope="session")
def server():
    process = subprocess.Popen(
        [sys.executable, str(HERE / "programs.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    yield process
    process.stdin.close()
    process.wait(300)
    process.stdout.close()


@pytest.fixture
def start(server, tmp_path):
    """`start(role, folder=..., **config)` starts a process; all are killed in the end."""
    numbers, programs = itertools.count(), []
    (tmp_path / "said").mkdir()

    def start_one(role, folder=tmp_path, **config):
        out = tmp_path / "said" / str(next(numbers))
        order = {"role": role, "out": str(out), "config": {"folder": str(folder), **config}}
        server.stdin.write(json.dumps(order).encode() + b"\n")
        server.stdin.flush()
        programs.append(Program(int(server.stdout.readline()), out))
        return programs[-1]

    yield start_one
    for program in programs:
        program.kill()


@pytest.fixture
def race(tmp_path):
    """`race(programs, folder)` lets all go at once; returns what each said last."""

    def run(programs, folder=tmp_path):
        for program in programs:
            program.wait_for(lambda thing: thing == "ready")
        (folder / "go").touch()
        assert [program.join() for program in programs] == [0] * len(programs), [p.said()[-1] for p in programs]
        return [program.said()[-1] for program in programs]

    return run
