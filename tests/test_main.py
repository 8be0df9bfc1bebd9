"""The binary: what it prints and the status it exits with; as processes, or in this one where nothing else is said."""

import pathlib
import subprocess
import sys

import commands
import pandas as pd
import pytest
from absl.testing import flagsaver

from model_search import main
from model_search.errors import UserError

DATA = pathlib.Path(__file__).parents[1] / "data"


def call(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "model_search", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("binary")
    done = call(
        f"--filename={DATA / 'breast_cancer.csv'}", "--label=diagnosis", f"--model_dir={folder}/runs",
        "--experiment_name=cancer", "--experiment_max_num_trials=2", "--phoenix_train_steps=40",
        "--phoenix_eval_steps=10", "--phoenix_tf_random_seed=1", "--phoenix_use_tpu=false",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, done


def test_search_prints_the_task_the_leaderboard_and_where_the_model_is(searched):
    folder, done = searched
    assert "diagnosis" in done.stderr
    assert "--phoenix_use_tpu: accepted, no effect" in done.stderr
    assert "rank" in done.stdout
    assert str(folder / "runs" / "cancer" / "final") in done.stdout
    assert (folder / "runs" / "cancer" / "final" / "model.keras").is_file()


def test_leaderboard_predict_evaluate_and_export_work_on_what_is_there(searched, tmp_path):
    folder, _ = searched
    study = (f"--model_dir={folder}/runs", "--experiment_name=cancer")
    assert "rank" in call("leaderboard", *study).stdout
    rows = pd.read_csv(DATA / "breast_cancer.csv").drop(columns="diagnosis").head(7)
    rows.to_csv(tmp_path / "new.csv", index=False)
    done = commands.call("predict", tmp_path / "new.csv", f"--output={tmp_path / 'out.csv'}", *study)
    assert done.status == 0, done.err
    assert len(pd.read_csv(tmp_path / "out.csv")) == 7
    assert "accuracy: " in commands.call("evaluate", DATA / "breast_cancer.csv", *study).out
    assert call("report", *study).stdout == f"report: {folder}/runs/cancer/report.html\n"
    assert commands.call("report", tmp_path / "mine.html", *study).status == 0
    assert "model_search predict NEW.csv" in (tmp_path / "mine.html").read_text()
    done = commands.call("export", tmp_path / "model", "--trial=1", *study)
    assert done.status == 0, done.err
    assert (tmp_path / "model" / "saved_model").is_dir()


@pytest.mark.parametrize(
    ("command", "flag", "readers"),
    [
        ("evaluate", "--threshold=best", "predict"),
        ("evaluate", "--output=x.csv", "predict"),
        ("search", "--escape_formulas", "predict"),
        ("leaderboard", "--trial=1", "predict or evaluate or export or train_longer"),
        ("members", "--trial=2", "predict or evaluate or export or train_longer"),
        ("predict", "--top=3", "search or leaderboard or finish or train_longer"),
        ("finish", "--noone_cycle", "train_longer"),
        ("evaluate", "--label=y", "search or finish or train_longer"),
        ("predict", "--encoding=latin-1", "search or finish or train_longer"),
        ("report", "--overwrite", "search"),
        ("evaluate", "--optimization_metric=auc", "search or predict"),
    ],
)
def test_a_flag_that_a_command_does_not_read_is_refused(tmp_path, command, flag, readers):
    name = flag.removeprefix("--no").strip("-").split("=")[0]
    words = [] if command == "search" else [command]
    with flagsaver.flagsaver():
        main._parse(["model_search", flag, "--threshold=best"])  # with which predict reads the metric, too
        with pytest.raises(UserError, match=rf"received --{name}, which {command} does not .* give it to {readers}$"):
            main._refuse_flags_of_others(command, [*words, flag])
        for reader in readers.split(" or "):
            main._refuse_flags_of_others(reader, [reader, flag])
        main._refuse_flags_of_others(command, [*words, "--", flag])
    done = commands.call(*words, flag, f"--model_dir={tmp_path}", "--experiment_name=x")
    assert f"received --{name}, which {command} does not read" in done.err


def test_commands_share_a_file_of_flags(tmp_path):
    (tmp_path / "flags").write_text(
        f"--model_dir={tmp_path}\n--experiment_name=x\n--top=3\n--optimization_metric=auc\n"
    )
    done = call("predict", "x.csv", f"--flagfile={tmp_path / 'flags'}")
    assert done.stderr == f"error: no study 'x' in {tmp_path}; there are no studies in it\n"


def test_a_program_may_have_parsed_the_flags_before(tmp_path):
    code = "from absl import app; from model_search import main; app.run(main.main)"
    words = ["leaderboard", "--experiment_name=zzz", f"--model_dir={tmp_path}"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert "no study 'zzz'" in done.stderr


def test_a_program_that_runs_a_command_is_interrupted_as_before(tmp_path):
    code = """
import signal, threading
from model_search import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without it
def run():
    try:
        main.run(["model_search", "--help"])
    except SystemExit as end:
        print(end.code)
run()
thread = threading.Thread(target=run); thread.start(); thread.join()
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "True", done.stderr
    assert done.stdout.splitlines().count("0") == 2


def test_predict_reads_a_metric_for_the_best_threshold_alone():
    with flagsaver.flagsaver():
        for words in ([], ["--threshold=0.3"], ["--threshold=best"]):
            given = ["--optimization_metric=f1", *words]
            main._parse(["model_search", *given])
            if words == ["--threshold=best"]:
                main._refuse_flags_of_others("predict", given)
            else:
                with pytest.raises(
                    UserError, match="received --optimization_metric=f1, which predict reads with --thr"
                ):
                    main._refuse_flags_of_others("predict", given)


@pytest.mark.parametrize("given", [["--provider_module={}"], ["--provider_module", "{}"], ["-provider_module", "{}"]])
def test_a_provider_module_is_loaded_however_it_is_written(tmp_path, given):
    (tmp_path / "mine.py").write_text("raise ValueError('it was loaded')")
    done = call(*[word.format(tmp_path / "mine.py") for word in given])
    assert done.returncode == 2
    assert "failed with ValueError: it was loaded" in done.stderr


def test_what_comes_after_two_dashes_is_no_flag(tmp_path):
    (tmp_path / "mine.py").write_text("raise ValueError('it was loaded')")
    assert "it was loaded" not in call("--", "--provider_module", tmp_path / "mine.py").stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no data"),
        (("--filename=x.csv",), "no label"),
        (("--filename=/no/such/file.csv", "--label=y"), "no such file"),
        (("--filename=x.csv", "--label=y", "--nonsense=1"), "nonsense"),
        (("report", "a.html", "b.html"), "report takes one path at most"),
        (("fly",), "unknown command 'fly'"),
        (("leaderboard", "--experiment_name=none", "--model_dir=/tmp/nothing-here"), "no study 'none'"),
        (("--provider_module=/no/such.py",), "no such file"),
        (
            ("--phoenix_dataset=text", "--filename=x.csv", "--groups=who"),
            "--groups is not read with --phoenix_dataset=text",
        ),
        (("--filename=x.csv", "--label=y", "--encoding=klingon"), "there is no encoding 'klingon'"),
        (("--filename=x.csv", "--label=y", "--decimal=;"), "--decimal"),
        (("--input_dir=x", "--encoding=cp1252"), "--encoding is not read with"),
        (("--phoenix_dataset=image", "--input_dir=x", "--time=day"), "--time is not read with --phoenix_dataset=image"),
        (
            ("--phoenix_dataset=image", "--input_dir=x", "--log_target"),
            "--log_target is not read with --phoenix_dataset",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(arguments, words):
    assert words in commands.check_one_sentence(commands.call(*arguments))


def test_a_mistake_is_one_sentence_and_status_2_of_a_process():
    done = call("fly")
    assert done.returncode == 2
    assert done.stderr == commands.check_one_sentence(commands.call("fly"))
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"a,b\n", "row"),
        (b"a,label\n" + b"1,x\n2,y\n" * 20 + b"1,x,9\n", "line 42"),
        (b"a,label\n" + b"1,x\n2,x\n" * 20, "the same label"),
        (b"a,label\n" + b"1,\n2,\n" * 20, "label"),
        (b"a,lable\n" + b"1,x\n2,y\n" * 20, "lable"),
        (b"a,label\n" + b"1,\xff\xfe\n2,y\n" * 20, "UTF-8"),
    ],
)
def test_bad_data_is_one_sentence_and_status_2(tmp_path, content, words):
    (tmp_path / "bad.csv").write_bytes(content)
    done = commands.call(f"--filename={tmp_path / 'bad.csv'}", "--label=label", f"--model_dir={tmp_path}/runs")
    assert words in commands.check_one_sentence(done)
    assert not (tmp_path / "runs").exists()


def test_a_users_own_provider_and_block_can_be_searched(tmp_path):
    (tmp_path / "mine.py").write_text(
        """
import numpy as np
import keras
import tensorflow as tf
from model_search import blocks, data


@blocks.register_block(lookup_name="MINE_TANH", init_args={"width": 8}, enum_id=20001)
class Tanh(blocks.Block):
    def __init__(self, width):
        self.width = width

    def build(self, input_tensors, is_training, lengths=None, hparams=None):
        return [*input_tensors, keras.layers.Dense(self.width, activation="tanh")(input_tensors[-1])]


@data.register_provider(lookup_name="mine", init_args={})
class Mine(data.Provider):
    def get_input_fn(self, hparams, mode, batch_size):
        def input_fn():
            rng = np.random.default_rng(0 if mode == "train" else 1)
            x = rng.normal(size=(200, 4)).astype("float32")
            y = (x.sum(1) > 0).astype("int32")
            return tf.data.Dataset.from_tensor_slices(({"x": x}, y)).batch(batch_size)
        return input_fn

    def number_of_classes(self):
        return 2
"""
    )
    (tmp_path / "mine.pbtxt").write_text(
        "minimum_depth: 1 maximum_depth: 2 problem_type: DNN search_type: ADAPTIVE_COORDINATE_DESCENT beam_size: 2 "
        'blocks_to_use: ["MINE_TANH", "FULLY_CONNECTED"]'
    )
    done = call(
        f"--provider_module={tmp_path / 'mine.py'}", "--phoenix_dataset=mine", f"--model_dir={tmp_path}/runs",
        f"--phoenix_spec_filename={tmp_path / 'mine.pbtxt'}", "--experiment_name=mine",
        "--experiment_max_num_trials=3", "--phoenix_train_steps=50", "--phoenix_tf_random_seed=2",
        "--optimization_metric=accuracy",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "MINE_TANH" in done.stdout


def test_the_time_limit_counts_from_the_start_of_the_process_and_leaves_room_for_the_export(tmp_path):
    code = """
import sys
from model_search import main, single_trainer
def run(self, options, deadline):
    assert options.time_limit == 60
    print(deadline.remaining <= 60 - 7 - main.EXPORT_SECONDS, main._seconds_of_this_process() > 0)
    sys.exit(0)
single_trainer.SingleTrainer.run = run
main.main(["model_search", *sys.argv[1:]], spent=7)
"""
    words = [f"--filename={DATA / 'wine.csv'}", "--label=cultivar", "--time_limit=60", f"--model_dir={tmp_path}"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.stdout == "True True\n", done.stderr


def test_a_process_that_was_started_for_something_else_has_spent_nothing(monkeypatch):
    from model_search import main

    for age, spent in ((2.0, 2.0), (3600.0, 0.0), (-5.0, 0.0)):
        monkeypatch.setattr(main, "seconds_since_start", lambda age=age: age)
        assert main._seconds_of_this_process() == pytest.approx(spent)


@pytest.mark.parametrize(("words", "status"), [(["--help"], 0), (["report", "--experiment_name=nothing"], 2)])
def test_an_interrupt_as_the_process_ends_changes_neither_output_nor_status(tmp_path, words, status):
    """Python itself would answer it with a traceback, or end by the signal."""
    code = """
import atexit, os, signal, sys
atexit.register(os.kill, os.getpid(), signal.SIGINT)
from model_search.__main__ import run
run()
"""
    words = [*words, f"--model_dir={tmp_path}"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    usual = call(*words)
    assert done.returncode == usual.returncode == status, done.stderr
    assert done.stderr == usual.stderr
