"""One moment on a clock that is handed in."""

import math

import pytest

from model_search.deadline import Deadline


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_it_passes_with_the_clock():
    clock = Clock()
    deadline = Deadline(10.0, spent=2.0, clock=clock)
    assert (deadline.is_set, deadline.remaining, deadline.passed) == (True, 8.0, False)
    clock.now = 108.0
    assert (deadline.remaining, deadline.passed) == (0.0, True)
    clock.now = 200.0
    assert deadline.remaining == 0.0


def test_an_earlier_one_is_on_the_same_clock():
    clock = Clock()
    search = Deadline(10.0, clock=clock).earlier(3.0)
    assert search.remaining == 7.0
    clock.now = 107.0
    assert search.passed


def test_within_some_seconds_or_before():
    clock = Clock()
    search = Deadline(10.0, clock=clock)
    assert (search.within(4.0).remaining, search.within(40.0).remaining) == (4.0, 10.0)
    assert Deadline(clock=clock).within(4.0).remaining == 4.0


@pytest.mark.parametrize("deadline", [Deadline(), Deadline().earlier(5.0), Deadline(None, spent=9.0)])
def test_without_a_limit_it_never_passes(deadline):
    assert (deadline.is_set, deadline.remaining, deadline.passed) == (False, math.inf, False)
