"""Which executor runs a search, and how much of the time it is given."""

import sys

import numpy as np
import pandas as pd
import pytest
from pretended import open_pretended

import model_search
from model_search.deadline import Deadline
from model_search.trainers import dispatch
from model_search.trainers.bags import bagging
from model_search.trainers.worker import StopReason

EXECUTORS = {"here": "run_in_this_process", "processes": "run_in_processes", "ray": "run_on_ray"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`run(loaded, **options)`: the executor that was chosen, the workers, and the seconds that it has."""
    chosen = []
    for name, function in EXECUTORS.items():

        def act(session, context, name=name):
            chosen.append((name, context.size, context.interrupts.deadline.remaining))
            return StopReason.FINISHED

        monkeypatch.setattr(dispatch, function, act)

    def run_one(loaded, **options):
        if loaded:
            monkeypatch.setitem(sys.modules, "tensorflow", sys)
        else:
            monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
        session, context = open_pretended(tmp_path, **options)
        assert dispatch.run_session(session, context.options, Deadline(100.0, clock=lambda: 0.0)) == "finished"
        session.store.close()
        return chosen.pop()

    return run_one


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"workers": None}, ("here", 1, 100.0)),
        ({"workers": 1, "time_limit": 100, "finish": "both"}, ("here", 1, 90.0)),
        ({"workers": 1, "time_limit": 100, "finish": "ensemble"}, ("here", 1, 98.0)),
        ({"workers": 1, "time_limit": 100, "finish": "neither"}, ("here", 1, 100.0)),
        ({"workers": 3, "time_limit": 100}, ("processes", 3, 90.0)),
        ({"workers": 3, "executor": "ray"}, ("ray", 0, 100.0)),
    ],
)
def test_the_executor_and_its_time(run, options, expected):
    assert run(True, **options) == expected


def test_where_others_train_this_process_still_has_to_load_tensorflow(run):
    assert run(False, workers=3, time_limit=100) == ("processes", 3, 90.0 - dispatch.LOADING_SECONDS)
    assert run(False, workers=1, time_limit=100) == ("here", 1, 90.0)


def test_what_there_is_to_say_is_said_once_where_a_search_goes_on_without_bags(tmp_path, monkeypatch, capsys):
    """As after a time limit that leaves no time for bags; no clock decides here."""
    run_session, begun = dispatch.run_session, []

    def run_till_the_limit(session, options, *others):
        begun.append(session.is_begun)
        run_session(session, options, *others)
        return StopReason.TIME_LIMIT

    monkeypatch.setattr(dispatch, "run_session", run_till_the_limit)
    monkeypatch.setattr(bagging, "are_worth_while", lambda *given: False)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=100), "same": 1.0})
    options = {"number_models": 1, "train_steps": 5, "batch_size": 16, "finish": "neither", "experiment_name": "s"}
    model_search.fit(frame, frame["x"] * 2, root_dir=tmp_path, **options)
    said = capsys.readouterr().err
    assert begun == [False, True]
    assert said.count("it has the same value in every row") == 1
    assert "the study holds" not in said
    model_search.fit(frame, frame["x"] * 2, root_dir=tmp_path, **options)
    assert capsys.readouterr().err.count("the study holds 1 model already") == 1
