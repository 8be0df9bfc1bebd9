"""Two worker processes with everything real, from a script without a guard, or a notebook: on standard input."""

import os
import pathlib
import shlex
import subprocess
import sys

import pytest

import model_search

ROOT = pathlib.Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

SCRIPT = """
import keras
import numpy as np
import tensorflow as tf

from model_search import blocks, data, single_trainer
from model_search.spec.load import load_text


@blocks.register_block(lookup_name="MINE_TANH", init_args={"width": 8})
class Tanh(blocks.Block):
    def __init__(self, width):
        self.width = width

    def build(self, input_tensors, is_training, lengths=None, hparams=None):
        print("building a block of mine")
        return [*input_tensors, keras.layers.Dense(self.width, activation="tanh")(input_tensors[-1])]


class Mine(data.Provider):
    def get_input_fn(self, hparams, mode, batch_size):
        def input_fn():
            rng = np.random.default_rng(0 if mode == "train" else 1)
            x = rng.normal(size=(200, 4)).astype("float32")
            return tf.data.Dataset.from_tensor_slices(({"x": x}, (x.sum(1) > 0).astype("int32"))).batch(batch_size)
        return input_fn

    def number_of_classes(self):
        return 2


def right(labels, predictions):
    return float(np.mean(labels == predictions.argmax(axis=1)))


spec = load_text(
    "minimum_depth: 1 maximum_depth: 2 problem_type: DNN search_type: ADAPTIVE_COORDINATE_DESCENT beam_size: 2 "
    'blocks_to_use: "MINE_TANH"'
)
study = single_trainer.SingleTrainer(Mine(), spec).try_models(
    4, 60, 10, "runs", 32, "mine", "me", workers=2, metric=right, goal="maximize",
    callbacks=lambda trial: print("finished", trial.id),
)
print(study.leaderboard().to_string())
print(study.model(1).predict(np.zeros((3, 4), "float32"), verbose=0))
"""


@pytest.mark.slow
def test_a_script_on_standard_input_trains_in_two_processes(tmp_path):
    done = subprocess.run(
        [sys.executable, "-"],
        input=SCRIPT,
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(line for line in done.stdout.splitlines() if line.startswith("finished")) == [
        f"finished {number}" for number in (1, 2, 3, 4)
    ]
    assert "building a block of mine" not in done.stdout.split("finished 4")[0]
    logs = list((tmp_path / "runs" / "mine" / "trials").glob("*/worker-*.log"))
    assert len(logs) == 4
    assert all("building a block of mine" in log.read_text() for log in logs)


@pytest.mark.slow
def test_the_documented_command_names_its_workers(tmp_path):
    page = (ROOT / "docs" / "workers.md").read_text()
    (command,) = [line for line in page.splitlines() if line.startswith("model_search") and "--tuner_id" in line]
    words = shlex.split(command.replace("train.csv", str(ROOT / "data" / "wine.csv")).replace("income", "cultivar"))[1:]
    words += ["--experiment_max_num_trials=2", "--phoenix_train_steps=40", "--optimization_metric=accuracy"]
    done = subprocess.run(
        [sys.executable, "-m", "model_search", *words],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    trials = model_search.load_study(tmp_path / "runs", "adult").trials
    assert {trial.worker for trial in trials} <= {"second-1", "second-2"}
    assert [trial.state for trial in trials] == ["completed"] * 2
    assert trials[0].result.environment["inter_threads"] >= 1
    assert trials[0].result.environment["device"]
