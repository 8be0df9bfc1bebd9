"""Real searches: called from a thread, from text without a file, on copied studies, and interrupted at any moment."""

import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import commands
import pytest

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "classification"
DATA = ROOT / "data" / "wine.csv"

SEARCH = """
import os, sys, threading
from model_search import constants, single_trainer
from model_search.data import csv_data

def search(name, workers):
    provider = csv_data.Provider(filename={data!r}, label="cultivar")
    trainer = single_trainer.SingleTrainer(provider, constants.DEFAULT_DNN)
    study = trainer.try_models(2, 20, 5, {root!r}, 16, name, "me", workers=workers, finish="ensemble", progress=False)
    print(name, study.history.completed_count, len(study.predict({data!r})), flush=True)
"""
CALLERS = {
    "a thread": "thread = threading.Thread(target=search, args=(sys.argv[1], int(sys.argv[2])))\n"
    "thread.start(); thread.join()",
    "a thread after os.chdir": "def away(name, workers):\n    search(name, workers)\n"
    "thread = threading.Thread(target=away, args=(sys.argv[1], int(sys.argv[2])))\n"
    "os.chdir('/')\nthread.start(); thread.join()",
    "exec": "exec('search(sys.argv[1], int(sys.argv[2]))')",
}


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def completed_in(folder):
    if not (folder / "study.db").exists():
        return 0
    connection = sqlite3.connect(folder / "study.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    (found,) = connection.execute("SELECT count(*) FROM trials WHERE state = 'completed'").fetchone()
    connection.close()
    return found


@pytest.mark.parametrize("caller", CALLERS)
def test_called_without_a_file_and_from_threads(count, figure, tmp_path, caller):
    script = SEARCH.format(data=str(DATA), root=str(tmp_path / "runs")) + CALLERS[caller]
    done = 0
    for workers in count((1, 2), (1,) if caller == "exec" else (2,)):
        ended = subprocess.run(
            [sys.executable, "-", f"s{workers}", str(workers)],
            input=script, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout == f"s{workers} 2 178\n", ended.stdout
        assert "Traceback" not in ended.stderr
        done += 1
    figure(f"try_models from {caller}, a program on standard input", f"{done} searches complete")


def command(*words):
    return [sys.executable, "-m", "model_search", *words]


def test_a_copied_study_is_called_by_its_new_name(figure, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(GOLDEN / "study", tmp_path / "runs" / "the copy")
    where = [f"--model_dir={tmp_path / 'runs'}", "--experiment_name=the copy"]
    said = ""
    for words in (["leaderboard"], ["finish"], ["report"], ["predict", str(tmp_path / "nothing.csv")]):
        called = commands.call(*words, *where)
        assert "Traceback" not in called.err, called.err
        said += called.out + called.err
    said += (tmp_path / "runs" / "the copy" / "report.html").read_text(encoding="utf-8")
    connection = sqlite3.connect(tmp_path / "runs" / "the copy" / "study.db")
    (old,) = connection.execute("SELECT name FROM study").fetchone()
    connection.close()
    assert "--experiment_name=the copy" in said
    assert f"--experiment_name={old}" not in said
    assert f"load_study('{tmp_path / 'runs'}', '{old}'" not in said
    figure("a copied study", "leaderboard, final stage, report and printed commands have its new name")


def test_interrupted_at_any_moment(count, figure, tmp_path):
    """Ctrl-C at random moments of a whole command, from its first line to the export."""
    times, rng, phases, before = count(20, 2), random.Random(3), [], 0
    root = tmp_path / "runs"
    words = command(
        f"--filename={DATA}", "--label=cultivar", f"--model_dir={root}", "--experiment_name=x",
        "--phoenix_train_steps=200", "--phoenix_batch_size=16",
    )  # fmt: skip
    for turn in range(times):
        target = f"--experiment_max_num_trials={before + 3}"
        with (tmp_path / f"{turn}.err").open("w+b") as err:
            process = subprocess.Popen([*words, target], env=environment(), stderr=err, stdout=subprocess.DEVNULL)
            _wait_for_interrupts(process)
            time.sleep(rng.random() ** 2 * 20)
            process.send_signal(signal.SIGINT)
            status = process.wait(120)
            err.seek(0)
            said = err.read().decode()
        assert status in (0, 130), said
        assert "Traceback" not in said, said
        now = completed_in(root / "x")
        assert now >= before
        before = now
        phases.append("done already" if status == 0 else "stopped")
    target = f"--experiment_max_num_trials={before + 1}"
    ended = subprocess.run([*words, target], env=environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert completed_in(root / "x") == before + 1
    assert (root / "x" / "final" / "export.json").is_file()
    figure(
        f"Ctrl-C at {times} random moments of a command",
        f"{phases.count('stopped')} stopped with status 130, {phases.count('done already')} were done; no traceback, "
        "nothing lost, the same command goes on",
    )


def test_two_shells_finish_one_study_at_once(count, figure, tmp_path):
    times = count(5, 1)
    for turn in range(times):
        root = tmp_path / str(turn)
        shutil.copytree(GOLDEN / "study", root / "x")
        words = command("finish", f"--model_dir={root}", "--experiment_name=x", "--finish=ensemble")
        both = [
            subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for process in both:
            said, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors
            assert "Traceback" not in errors
            assert "not written" not in said, said
        connection = sqlite3.connect(root / "x" / "study.db")
        assert connection.execute("SELECT kind FROM final_models").fetchall() == [("ensemble",)]
        connection.close()
        held = sorted(path.name for path in (root / "x" / "final").iterdir())
        assert held == ["export.json", "model.keras", "model_card.md", "saved_model"]
        assert [path.name for path in (root / "x").iterdir() if path.name.startswith(".")] == []
    figure(f"two shells finish one study at once, {times} times", "one ensemble and one whole export each time")


def _wait_for_interrupts(process):
    """Until the command's own code runs, which loads NumPy early; before, Python itself answers the signal."""
    maps = pathlib.Path(f"/proc/{process.pid}/maps")
    while process.poll() is None and "numpy" not in maps.read_text():
        time.sleep(0.001)
