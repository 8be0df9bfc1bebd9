"""Mistakes on the command line, and whatever else can end a command: one sentence, and never a traceback."""

import contextlib
import io
import os
import pathlib
import subprocess
import sys

import pytest
from commands import call, check_one_sentence
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from model_search import command_errors, main, single_trainer
from model_search.errors import ProviderError, StopStudyError, StoreError, UserError

GOOD = "a,b,label\n" + "".join(f"{i % 7},{i * 37 % 11},{'yes' if i % 7 > 3 else 'no'}\n" for i in range(60))
DATA = ("--filename=good.csv", "--label=label")
STUDY = "--experiment_name=none"
SPEC = "minimum_depth: 1 maximum_depth: 2 problem_type: DNN search_type: ADAPTIVE_COORDINATE_DESCENT nonsense: 1 "
SPEC += 'blocks_to_use: "IDENTITY"'
MISTAKES = {
    "no data": [(), ("--label=label",), ("--filename",), ("--filename=",), ("--filename=good.csv",), ("--", "--x")],
    "a file that is none": [
        (f"--filename={name}", "--label=label")
        for name in ("none.csv", "folder", "empty.csv", "header.csv", "one.csv", "binary.csv", "nothing.csv", "\udcff")
    ],
    "a label that is none": [
        ("--filename=good.csv", *words)
        for words in (
            ("--label=lable",),
            ("--label=",),
            ("--label_index=9",),
            ("--label_index=x",),
            ("--label_index=1.5",),
            ("--label_index=99999999999999999999",),
            ("--label=label", "--label_index=0"),
        )
    ],
    "no such flag": [(*DATA, word) for word in ("--nonsense", "--nonsense=1", "-x", "---", "--=", "=", "extra")],
    "a value out of range": [
        (*DATA, f"--{name}={value}")
        for name, values in {
            "experiment_max_num_trials": ("0", "-1", "x", "1.5", "", "1e3"),
            "time_limit": ("0", "-1", "x", "", "nan", "-inf", "1,5"),
            "workers": ("0", "-1", "x", "", "1.5"),
            "phoenix_train_steps": ("0", "-5", "x"),
            "phoenix_batch_size": ("0", "-5", "x"),
            "phoenix_eval_steps": ("0", "-5", "x"),
            "phoenix_tf_random_seed": ("-5", "x", "1.5"),
            "logits_dimension": ("0", "-1", "x"),
            "student_parameters": ("0",),
            "keep_models": ("0",),
            "disk_limit": ("0", "-1"),
            "top": ("x",),
        }.items()
        for value in values
    ],
    "a word that is none of the choices": [
        (*DATA, word)
        for word in (
            "--task=guess",
            "--task=regression",
            "--optimization_metric=nice",
            "--optimization_metric=r2",
            "--optimization_goal=up",
            "--hypertuning_method=best",
            "--finish=maybe",
            "--executor=cloud",
            "--resources=cpu=1",
            "--resources=cpu",
            "--artefacts=",
            "--artefacts=nosuch://x",
            "--phoenix_dataset=mine",
        )
    ],
    "a specification that is none": [
        (*DATA, f"--phoenix_spec_filename={name}") for name in ("none.pbtxt", "bad.pbtxt", "folder", "binary.csv")
    ],
    "a provider that is none": [
        (*DATA, f"--provider_module={name}") for name in ("none.py", "folder", "good.csv", "text")
    ],
    "data that do not fit": [
        (*DATA, *words)
        for words in (
            ("--weight=w",),
            ("--weight=label",),
            ("--validation_filename=none.csv",),
            ("--validation_filename=empty.csv",),
            ("--validation_filename=folder",),
            ("--field_delim=",),
            ("--field_delim=ab",),
            ("--field_delim=;",),
            ('--field_delim="',),
            ("--field_delim=\n",),
            ("--record_defaults=",),
            ("--record_defaults=1,2",),
        )
    ],
    "a folder that cannot be made": [
        (*DATA, f"--model_dir={name}")
        for name in ("good.csv", "good.csv/x", "/proc/x", "a\0b", "/x" * 300, "~nobody-of-this-name/x")
    ],
    "a name that is too long": [(*DATA, "--experiment_name=" + "x" * 500)],
    "no such command": [("fly",), ("Leaderboard",), ("",), (" ",), ("\udcff",), ("search", "extra")],
    "no such study": [
        (*words, STUDY)
        for words in (
            ("leaderboard",),
            ("leaderboard", "--model_dir=good.csv"),
            ("leaderboard", "--model_dir=none"),
            ("leaderboard", "--top=-1"),
            ("report",),
            ("predict", "good.csv"),
            ("evaluate", "good.csv"),
            ("export", "out"),
            ("members",),
            ("finish",),
        )
    ],
    "words too many or too few": [
        (*words, STUDY)
        for words in (
            ("leaderboard", "x"),
            ("report", "a", "b"),
            ("predict",),
            ("predict", "a", "b"),
            ("evaluate",),
            ("export",),
            ("members", "x"),
            ("finish", "x"),
        )
    ],
    "no name of a study": [("leaderboard",), ("predict", "good.csv"), ("finish",)],
    "a file of flags that is none": [("--flagfile=none",), ("--flagfile=good.csv",), ("--flagfile=folder",)],
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with odd files; nothing that is asked for is trained."""
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("a,label\n")
    (tmp_path / "one.csv").write_text("a,label\n1,x\n")
    (tmp_path / "nothing.csv").write_text("a,label\n" + "1,\n2,\n" * 20)
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 9)
    (tmp_path / "text").write_text("no Python")
    (tmp_path / "bad.pbtxt").write_text(SPEC)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("model_search.trainers.dispatch.run_session", refuse_to_train)
    return tmp_path


def refuse_to_train(*arguments):
    raise UserError("this is no mistake: it would have trained")


def test_mistakes(figure, place):
    tried = 0
    for words in (words for kind in MISTAKES.values() for words in kind):
        told = check_one_sentence(call(*words))
        assert "would have trained" not in told, words
        assert "unexpected" not in told, words
        tried += 1
    assert sorted(path.name for path in place.iterdir()) == sorted(
        ["good.csv", "empty.csv", "header.csv", "one.csv", "nothing.csv", "binary.csv", "text", "bad.pbtxt", "folder"]
    )
    figure(f"command lines with a mistake, {tried} tried", "one sentence each, no traceback, nothing written")


NAMES = sorted(flag.name for flag in main.own_flags())
VALUES = st.one_of(
    st.sampled_from(
        ["", "0", "-1", "1", "nan", "inf", "x", "good.csv", "folder", "label", "none", "1e400", "é", "\udcff"]
    ),
    st.text(st.characters(exclude_characters="\0"), max_size=8),
)
FLAGS = st.builds("--{}={}".format, st.sampled_from([n for n in NAMES if n != "provider_module"]), VALUES)
WORDS = st.one_of(
    FLAGS,
    FLAGS,
    st.sampled_from(["--filename=good.csv", "--label=label", STUDY, "leaderboard", "predict", "report", "export"]),
    st.sampled_from(
        ["search", "finish", "members", "evaluate", "good.csv", "--", "--top", "-h", "--overwrite", "=", "-"]
    ),
    VALUES,
)


def test_words_at_random(count, figure, place):
    tried = set()

    @settings(max_examples=count(2000, 120), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(WORDS, max_size=6))
    @example(["predict", "good.csv", "--trial=--5", STUDY])
    @example([*DATA, "--phoenix_train_steps=99999999999999999999"])
    def is_told(words):
        tried.add(tuple(words))
        called = call(*words)
        assert called.status in (0, 1, 2), (words, called)
        assert "Traceback" not in called.err + called.out, (words, called)
        assert "unexpected" not in called.err, (words, called, called.logs and called.logs[0].read_text())
        assert called.status == 0 or called.err.startswith(("error: ", "note: ")), (words, called)

    is_told()
    figure(f"command lines of random words, {len(tried)} tried", "told in words each, no traceback")


def test_the_nearest_names_of_a_label_are_offered(place):
    assert "did you mean 'label'" in check_one_sentence(call("--filename=good.csv", "--label=lable"))


def raising(monkeypatch, error):
    def run(self, options, deadline):
        raise error

    monkeypatch.setattr(single_trainer.SingleTrainer, "run", run)
    return call(*DATA)


@pytest.mark.parametrize(
    ("error", "status", "words", "has_log"),
    [
        (UserError("this is wrong"), 2, "error: this is wrong", False),
        (ProviderError("it raised"), 2, "error: it raised; the traceback is in ", True),
        (StopStudyError("ten in a row"), 1, "the search has stopped: ten in a row", False),
        (StoreError("locked"), 1, "error: locked", False),
        (
            KeyError("x"),
            1,
            "error: something unexpected has happened, which is a fault of model_search: KeyError",
            True,
        ),
        (RecursionError("deep"), 1, "error: something unexpected has happened", True),
        (MemoryError(), 1, "error: there is not enough memory", True),
        (OSError(28, "No space left on device", "/x"), 1, "error: No space left on device: /x", True),
        (OSError("odd"), 1, "error: odd", True),
        (KeyboardInterrupt(), 130, "stopped; everything finished is kept", False),
        (BrokenPipeError(), 141, "", False),
        (UnicodeEncodeError("ascii", "é", 0, 1, "no"), 1, "error: standard output takes ascii", False),
    ],
)
def test_whatever_is_raised_is_told(place, monkeypatch, error, status, words, has_log):
    called = raising(monkeypatch, error)
    assert called.status == status
    assert called.err.strip().startswith(words)
    assert "Traceback" not in called.err
    assert bool(called.logs) == has_log
    for log in called.logs:
        text = log.read_text()
        assert "Traceback (most recent call last)" in text
        assert type(error).__name__ in text
        assert "--label=label" in text
        assert log.stat().st_mode & 0o077 == 0
        log.unlink()


def test_without_room_for_a_log_it_is_told_all_the_same(place, monkeypatch):
    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command_errors.tempfile, "mkstemp", full)
    called = raising(monkeypatch, KeyError("x"))
    assert called.status == 1
    assert "could not be written to a file: No space left on device" in called.err


def test_control_characters_of_names_are_shown_as_such(place, monkeypatch):
    assert raising(monkeypatch, UserError("a\x1b[2Jb\u202ec")).err == "error: a\\x1b[2Jb\\x202ec\n"


def test_a_full_or_left_standard_output_is_told(place):
    class Full(io.StringIO):
        def flush(self):
            raise OSError(28, "No space left on device")

    class Left(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(Full()):
        assert main.main(["model_search", "--help"]) == 1
    assert err.getvalue() == "error: standard output cannot be written: No space left on device\n"
    with contextlib.redirect_stdout(Left()):
        assert main.main(["model_search", "--help"]) == 141


SHELL = {
    "| head -1": ("{} --help | head -1", 0, "usage"),
    "> /dev/full": ("{} --help > /dev/full", 1, "standard output, or a file, cannot be written: No space left"),
    ">&-": ("{} --help >&-", 0, ""),
    "leaderboard >&-": ("{} leaderboard --experiment_name=x >&-", 2, "standard output is closed"),
    ">&- 2>&- <&-": ("{} --filename=x.csv --label=y >&- 2>&- <&-", 2, ""),
}


def test_in_a_shell(figure):
    command = f"{sys.executable} -m model_search"
    env = os.environ | {"PYTHONPATH": str(pathlib.Path(main.__file__).parents[1])}
    for line, status, words in SHELL.values():
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line.format(command)], capture_output=True, text=True, check=False, env=env
        )
        said = done.stdout + done.stderr
        assert done.returncode in ({status, 141} if "|" in line else {status}), (line, done)
        assert words in said, (line, done)
        assert "Traceback" not in said
        assert "Exception ignored" not in said, (line, done)
    figure(f"standard output that is full, closed or left, {len(SHELL)} kinds", "told in words each, no traceback")
