"""The identity of the process that holds a trial, and whether it is known to be gone."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import socket
import subprocess
import time

_PROC = pathlib.Path("/proc")
_START_FIELD = 19  # of /proc/PID/stat, after the command's name: ticks from the boot to the process's start
_ENDED_STATES = ("Z", "X")  # a zombie has ended; only its parent has not noticed


@dataclasses.dataclass(frozen=True)
class ProcessIdentity:
    """A process, distinguished from a later one with the same number.

    Attributes:
        host: The machine's name.
        boot: Identity of the machine's boot; "" where that is unknown.
        namespace: The process namespace (containers number their processes anew); "" where there are none.
        pid: The process's number.
        started: When it started, in the system's own words; "" where that is unknown.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: str

    @classmethod
    def of(cls, pid: int | None = None) -> ProcessIdentity:
        """The identity of a process of this host (of this one where None)."""
        number = os.getpid() if pid is None else pid
        return cls(socket.gethostname(), _boot(), _namespace(), number, _start_of(number) or "")

    def is_gone(self) -> bool:
        """Whether the process is known to have ended; False where that cannot be known on this machine."""
        if self.host != socket.gethostname():
            return False
        if self.boot != _boot():
            return bool(self.boot and _boot())  # the machine has been rebooted since
        if self.namespace != _namespace():
            return False
        started = _start_of(self.pid)
        return started is None or bool(started and self.started and started != self.started)


def seconds_since_start() -> float:
    """How long this process has been running, whatever the wall clock has done meanwhile, where that is known."""
    fields = _read(_PROC / "self/stat").rpartition(")")[2].split()
    if len(fields) > _START_FIELD and hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_START_FIELD]) / os.sysconf("SC_CLK_TCK")
    import psutil

    return time.time() - psutil.Process().create_time()


def _boot() -> str:
    return _read(_PROC / "sys/kernel/random/boot_id")


def _namespace() -> str:
    try:
        return str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return ""


def _start_of(pid: int) -> str | None:
    """When the process started; "" where it is unknown, None where there is no such process."""
    if (_PROC / "self/stat").exists():
        # The command's name is in parentheses and may itself contain any of ") (" and blanks.
        fields = _read(_PROC / str(pid) / "stat").rpartition(")")[2].split()
        if not fields:
            return "" if _answers(pid) else None
        return None if fields[0] in _ENDED_STATES else fields[_START_FIELD]
    if os.name != "posix":
        return ""
    return _start_by_ps(pid)


def _answers(pid: int) -> bool:
    """Whether there is such a process, perhaps one of another user that /proc hides."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _start_by_ps(pid: int) -> str | None:
    try:
        found = subprocess.run(  # noqa: S603 - no shell; the only variable is a number
            ["ps", "-o", "lstart=", "-o", "state=", "-p", str(pid)],  # noqa: S607 - its place depends on the system
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError:
        return ""
    started, _, state = found.stdout.strip().rpartition(" ")
    return None if not started or state[:1] in _ENDED_STATES else started.strip()


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
