"""The machine's resources for workers: cores, memory, GPUs; and how often the system has killed for memory."""

from __future__ import annotations

import os
import pathlib
import subprocess
from collections.abc import Mapping

import psutil

WORKER_BYTES = 900 << 20  # of a worker with TensorFlow loaded and a small study
_DATA_COPIES = 3  # copies of the prepared data in a worker: as received, as tensors, and while converting
_MEMORY_SHARE = 0.8  # share of the free memory that workers may use
_CGROUP = pathlib.Path("/sys/fs/cgroup")
_PROC = pathlib.Path("/proc")


def cores() -> int:
    """Cores that this process may use, within a container's quota; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        allowed = min(allowed, max(1, int(quota) // int(period)))
    return allowed


def free_memory() -> int:
    """Bytes that can be allocated without swapping, within a container's limit."""
    free = int(psutil.virtual_memory().available)
    limit, used = _read(_CGROUP / "memory.max"), _read(_CGROUP / "memory.current")
    if limit.isdigit() and used.isdigit():
        free = min(free, max(0, int(limit) - int(used)))
    return free


def used_memory() -> int:
    """Bytes of memory that this process holds; not those of files, which the system can drop at any time."""
    found = psutil.Process().memory_info()
    return int(found.rss) - int(getattr(found, "shared", 0))


def gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False, timeout=20)  # noqa: S607 - its place depends on the system
    except (OSError, subprocess.TimeoutExpired):
        return []
    found = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number in range(len(found))] if listed.returncode == 0 else []


def workers_that_fit(data_bytes: int, devices: int) -> tuple[int, str]:
    """The number of workers that the machine has room for, at least 1, and the reason in words.

    Args:
        data_bytes: Size of the prepared data.
        devices: GPUs; where there are any, one worker each.
    """
    have, free = cores(), free_memory()
    by_memory = int(_MEMORY_SHARE * free / (WORKER_BYTES + _DATA_COPIES * data_bytes))
    count = max(1, min(devices or have, by_memory))
    plural = "s" if have != 1 else ""
    words = f"{have} core{plural}, {free / 1e9:.1f} GB of free memory"
    return count, words + (f", {devices} GPU{'s' if devices > 1 else ''}" if devices else "")


def memory_kills() -> int | None:
    """How often the system has killed a process for memory; None where that is unknown."""
    counts = [
        int(count)
        for path in (_PROC / "vmstat", _CGROUP / "memory.events")
        for name, _, count in (line.partition(" ") for line in _read(path).splitlines())
        if name == "oom_kill" and count.isdigit()
    ]
    return sum(counts) if counts else None


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
