"""Studies from a stranger: nothing outside of their folder is read, written or deleted, and no code of theirs runs."""

import ctypes
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys

import pytest
from tamperings import TAMPERINGS, read_hashes, tampered

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "classification"
ROOT = HERE.parents[1]

IN_ALL = 0xFFF & ~0x4  # all but changed attributes


class Watcher:
    """Notices whatever is done to the files below a folder, by Python or by a library (inotify)."""

    def __init__(self, folder):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = self._libc.inotify_init1(os.O_NONBLOCK)
        self._folders = {}
        for path in (folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())):
            number = self._libc.inotify_add_watch(self._file, os.fsencode(path), IN_ALL)
            if number < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch")
            self._folders[number] = path

    def events(self):
        """The paths of files that were opened, read, written, made, moved or deleted since."""
        found = []
        while True:
            try:
                content = os.read(self._file, 1 << 16)
            except BlockingIOError:
                return found
            while content:
                number, mask, _, length = struct.unpack_from("iIII", content)
                name = content[16 : 16 + length].rstrip(b"\0").decode()
                found.append(f"{self._folders[number] / name} {mask:#x}")
                content = content[16 + length :]

    def close(self):
        os.close(self._file)


def decoy(folder):
    """A user's own folder."""
    (folder / "letters").mkdir(parents=True)
    (folder / "thesis.txt").write_text("years of work\n")
    (folder / "letters" / "one.txt").write_text("a secret\n")
    (folder / "evil.py").write_text("raise SystemExit('imported')\n")
    return folder


def run_watched(tmp_path, names):
    """Uses tampered studies in one process; yields what it says of each, with what was done outside."""
    home, studies = tmp_path / "home", []
    for number, name in enumerate(names):
        outside = decoy(home / str(number))
        root = tmp_path / "roots" / str(number)
        root.mkdir(parents=True)
        tampered(GOLDEN / "study", root / "study", name, outside)
        studies.append({"name": name, "root": str(root), "workers": TAMPERINGS[name].workers})
    warm, scratch, data = tmp_path / "warm", tmp_path / "scratch", tmp_path / "data"
    shutil.copytree(GOLDEN, warm)
    scratch.mkdir()
    data.mkdir()
    for name in ("train.csv", "rows.csv"):
        shutil.copy(GOLDEN / name, data)
    orders = {
        "readable": [str(data)],
        "scratch": str(scratch),
        "data": str(data),
        "warm": str(warm),
        "studies": studies,
    }
    (tmp_path / "orders.json").write_text(json.dumps(orders))
    before, watcher = read_hashes(home), Watcher(home)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch), "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        with (tmp_path / "said").open("w") as out, (tmp_path / "errors").open("w") as errors:
            subprocess.run(
                [sys.executable, str(HERE / "programs_stranger.py"), str(tmp_path / "orders.json")],
                stdout=out,
                stderr=errors,
                env=environment,
                check=False,
            )
        seen = watcher.events()
    finally:
        watcher.close()
    said = [json.loads(line) for line in (tmp_path / "said").read_text().splitlines() if line.startswith("{")]
    assert len(said) == len(names), (tmp_path / "errors").read_text()[-5000:]
    assert read_hashes(home) == before
    assert seen == []
    assert not list(tmp_path.rglob("executed"))
    return said


def problems_of(said):
    found = {}
    for one in said:
        tracebacks = [f"{what}: {text}" for what, (kind, text) in one["said"].items() if kind == "traceback"]
        long = [
            f"{what}: {text[:300]}"
            for what, (kind, text) in one["said"].items()
            if kind == "sentence" and (len(text) > 3000 or "Traceback" in text)
        ]
        if tracebacks or long or one["touched"]:
            found[one["name"]] = [*tracebacks, *long, *one["touched"]]
    return found


ROWS = {
    "places of files that a stranger's study names": ("place",),
    "links, hard links and pipes on every path that is written or read": ("link", "hard link", "pipe", "folder"),
    "zip bombs, huge shapes, pickles and code in a study's files; paths that lead out": ("file", "path"),
    "a stranger's database: triggers, views, a super-journal, fields of studies, data, plans, results": (
        "schema", "study", "data", "plan", "result", "final", "process",
    ),
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
def test_tampered_studies(full, figure, tmp_path):
    names = [name for name, tampering in TAMPERINGS.items() if full or tampering.quick]
    said = run_watched(tmp_path, names)
    assert problems_of(said) == {}
    for row, groups in ROWS.items():
        uses = [use for one in said if one["name"].partition(":")[0] in groups for use in one["said"].values()]
        kinds = [kind for kind, _ in uses]
        studies = sum(one["name"].partition(":")[0] in groups for one in said)
        figure(
            f"{row}, {studies} studies",
            f"{len(uses)} uses: {kinds.count('answer')} answers, {kinds.count('sentence')} sentences; nothing outside "
            "read, written or deleted, no connection, no code executed",
        )


def test_the_watcher_notices_what_is_done_outside(tmp_path):
    folder = decoy(tmp_path / "home")
    watcher = Watcher(folder)
    (folder / "letters" / "one.txt").read_text()
    (folder / "thesis.txt").rename(folder / "moved.txt")
    seen = "\n".join(watcher.events())
    watcher.close()
    assert "letters/one.txt" in seen
    assert "moved.txt" in seen


def test_every_tampering_belongs_to_a_row():
    assert {name.partition(":")[0] for name in TAMPERINGS} == {group for groups in ROWS.values() for group in groups}
    assert len(TAMPERINGS) >= 40
