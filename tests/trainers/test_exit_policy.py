"""When workers that have not ended are waited for no longer."""

import types

import pytest

from model_search.metadata.store import Heartbeat
from model_search.trainers import exit_policy
from model_search.trainers.exit_policy import LEAVING_SECONDS, ExitPolicy


@pytest.fixture
def clock(monkeypatch):
    """`clock.now` is the time."""
    made = types.SimpleNamespace(now=100.0)
    monkeypatch.setattr(exit_policy, "time", types.SimpleNamespace(monotonic=lambda: made.now))
    return made


def test_a_worker_that_hangs_is_overdue_when_the_study_has_been_complete_for_a_while(clock):
    policy, beats = ExitPolicy(3), [Heartbeat(4, 1, 7)]
    assert not policy.is_overdue(2, lambda: beats)
    clock.now += 9 * LEAVING_SECONDS
    assert not policy.is_overdue(3, lambda: beats)
    clock.now += LEAVING_SECONDS
    assert not policy.is_overdue(3, lambda: beats)
    clock.now += 1
    assert policy.is_overdue(3, lambda: beats)


def test_a_trial_that_is_trained_is_waited_for_though_another_call_has_completed_the_study(clock):
    policy = ExitPolicy(3)
    for counter in range(20):
        clock.now += 0.9 * LEAVING_SECONDS
        assert not policy.is_overdue(3, lambda count=counter: [Heartbeat(4, 1, count)])
    clock.now += 1.1 * LEAVING_SECONDS
    assert policy.is_overdue(3, lambda: [Heartbeat(4, 1, 19)])
