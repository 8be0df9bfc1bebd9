"""Which executor runs a search, and how much of the time it is given."""

import sys

import pytest
from pretended import open_pretended

from model_search.deadline import Deadline
from model_search.trainers import dispatch
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
