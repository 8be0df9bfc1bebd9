"""A study whose trials take no time, or as long as is wanted, and end as is wanted; without TensorFlow."""

import dataclasses
import os
import pathlib
import time

import numpy as np
import pandas as pd

from model_search.data.csv_data import Provider
from model_search.deadline import Deadline
from model_search.errors import TrialError
from model_search.metadata.trial import TrialKind, TrialPlan
from model_search.spec.load import load_spec
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.opening.study_setup import open_session
from model_search.trainers.options import SearchOptions
from model_search.trainers.progress import ProgressDisplay
from model_search.trainers.session import RunContext
from model_search.training.outcome import Progress, TrialOutcome


class PretendedEngine:
    """`act(plan, earlier)` may raise, kill or sleep; `earlier` says how often this trial was begun before."""

    def __init__(self, act, notes):
        self.act = act
        self.notes = pathlib.Path(notes)

    def run(self, plan, given=None, on_progress=None):
        with (self.notes / str(plan.trial_id)).open("a+") as file:
            file.seek(0)
            earlier = len(file.readlines())
            file.write(f"{os.getpid()}\n")
        on_progress(Progress(0, plan.steps, 1.0, None))
        self.act(plan, earlier)
        on_progress(Progress(plan.steps, plan.steps, 1.0, None))
        loss = float(np.random.default_rng(plan.trial_id).random())  # the same in every run, and far apart
        return TrialOutcome(
            {"loss": loss}, 10, plan.steps, {"total": 0.0}, ((1, loss),), {"w": np.ones(3)}, np.ones((4, 2))
        )

    def logits_of(self, tower):
        return np.ones((4, 2)), np.ones((6, 2))


class MakeEngine:
    """Can be sent to another process."""

    def __init__(self, act, notes):
        self.act = act
        self.notes = str(notes)

    def __call__(self, data, settings):
        return PretendedEngine(self.act, self.notes), {
            "pid": os.getpid(),
            "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
        }


def make_plan(trial_id):
    blocks = ("IDENTITY",) * trial_id
    return TrialPlan(trial_id, TrialKind.SEARCH, blocks, {}, steps=10, batch_size=8, seed=trial_id, key=str(trial_id))


def nothing(plan, earlier):
    """A trial that ends at once."""


def fails(plan, earlier):
    raise TrialError("no luck")


def waits(seconds):
    def act(plan, earlier):
        time.sleep(seconds)

    return act


def together(folder):
    """No trial ends before two workers have begun one each."""
    notes = pathlib.Path(folder) / "notes"

    def act(plan, earlier):
        while len({pid for note in notes.iterdir() for pid in note.read_text().split()}) < 2:
            time.sleep(0.02)

    return act


def open_pretended(folder, act=nothing, workers=2, **changes):
    """A session and its context."""
    table = pathlib.Path(folder) / "table.csv"
    if not table.exists():
        pd.DataFrame({"x": range(60), "y": ["a", "b", "b"] * 20}).to_csv(table, index=False)
    notes = pathlib.Path(folder) / "notes"
    notes.mkdir(exist_ok=True)
    values = {
        "number_models": 6, "train_steps": 10, "eval_steps": 5, "root_dir": pathlib.Path(folder) / "runs",
        "batch_size": 8, "experiment_name": "x", "experiment_owner": "me", "progress": False, "workers": workers,
    }  # fmt: skip
    options = SearchOptions(**(values | changes))
    from model_search import constants

    spec = load_spec(constants.DEFAULT_DNN)
    for field in ("ensemble_spec", "distillation_spec"):  # which would want real logits
        spec.ClearField(field)
    session = open_session(Provider(filename=str(table), label="y"), spec, options)
    session = dataclasses.replace(session, make_engine=MakeEngine(act, notes))
    display = ProgressDisplay("loss", options.number_models, options.progress)
    return session, RunContext(options, workers, Interrupts(Deadline(options.time_limit)), display)
