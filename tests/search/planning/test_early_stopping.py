"""Trials that are ended early: those whose curve is hopeless, and no others."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_factory import make_plan, make_spec, make_trial

from model_search.errors import SpecError
from model_search.metadata.trial import StartKind, TrialState, WarmStart
from model_search.proto.phoenix_spec_pb2 import EvaluationSchedule as Settings
from model_search.ranking import Goal, Objective
from model_search.search.history.history import History
from model_search.search.planning.early_stopping import (
    CurveExtrapolation,
    MedianStopping,
    StoppingRule,
    hopeful_end,
    is_out_of_patience,
)
from model_search.spec.schedules import STOPPING_RULES

STEPS = 800
LOOKS = np.arange(100, 801, 100)


def power_law(end, gain=1.0, exponent=0.5):
    return [(int(step), end + gain * float(step) ** -exponent) for step in LOOKS]


def peers(*curves, goal="minimize", **fields):
    history = History("loss", goal)
    for number, curve in enumerate(curves, start=2):
        trial = make_trial(number, TrialState.COMPLETED, make_plan(number, steps=STEPS, **fields), loss=0.0)
        result = dataclasses.replace(trial.result, curve=tuple(curve))
        history.update([dataclasses.replace(trial, result=result)])
    return history


PLAN = make_plan(99, steps=STEPS)


@pytest.mark.parametrize("rule", [MedianStopping(), CurveExtrapolation()], ids=["median", "extrapolation"])
@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_the_hopeless_are_stopped_and_the_promising_are_not(rule, goal):
    sign = 1 if goal == "minimize" else -1

    def turned(curve):
        return [(step, sign * value) for step, value in curve]

    history = peers(*(turned(power_law(0.1 * number)) for number in range(1, 8)), goal=goal)
    assert rule.stops(PLAN, turned(power_law(2.0))[:5], history)
    assert not rule.stops(PLAN, turned(power_law(0.05))[:5], history)


def test_the_median_is_that_of_the_averages_so_far():
    flat = [[(100, 1.0), (200, 1.0 - 0.2 * number), (800, -9.0)] for number in range(5)]
    history = peers(*flat)  # averages until step 200: 1.0, 0.9, 0.8, 0.7, 0.6
    rule = MedianStopping(grace_steps=0)
    assert not rule.stops(PLAN, [(100, 0.95), (200, 0.79)], history)
    assert rule.stops(PLAN, [(100, 0.95), (200, 0.81)], history)
    assert not rule.stops(PLAN, [(100, 0.7), (200, 0.95)], history)  # the best so far counts, not the last


def test_few_peers_say_nothing():
    assert not MedianStopping().stops(PLAN, power_law(9.0)[:5], peers(*[power_law(0.1)] * 4))
    assert MedianStopping().stops(PLAN, power_law(9.0)[:5], peers(*[power_law(0.1)] * 5))
    assert not CurveExtrapolation().stops(PLAN, power_law(9.0)[:5], History("loss", "minimize"))
    assert not CurveExtrapolation().stops(PLAN, power_law(9.0)[:3], peers(power_law(0.1)))


@pytest.mark.parametrize("rule", [MedianStopping, CurveExtrapolation])
def test_nothing_is_stopped_within_its_grace_or_at_its_end(rule):
    history = peers(*[power_law(0.1)] * 6)
    curve = power_law(9.0)
    assert not rule(grace_steps=600).stops(PLAN, curve[:5], history)
    assert rule(grace_steps=500).stops(PLAN, curve[:5], history)
    assert not rule(grace_steps=0).stops(PLAN, curve, history)
    assert not rule().stops(PLAN, [], history)
    continued = dataclasses.replace(PLAN, first_step=300, start=WarmStart(StartKind.CONTINUE, (1,)))
    others = peers(*[power_law(0.1)] * 6, first_step=300, start=WarmStart(StartKind.CONTINUE, (1,)))
    assert not rule(grace_steps=300).stops(continued, curve[:5], others)  # steps 300 to 500
    assert rule(grace_steps=200).stops(continued, curve[:5], others)


def test_only_trials_of_the_same_length_are_compared():
    history = peers(*[power_law(0.1)] * 6)
    assert MedianStopping().stops(PLAN, power_law(9.0)[:5], history)
    for other in (
        {"steps": STEPS + 1},
        {"first_step": 10, "start": WarmStart(StartKind.CONTINUE, (1,))},
        {"row_share": 0.5},
    ):
        assert not MedianStopping().stops(dataclasses.replace(PLAN, **other), power_law(9.0)[:5], history)


def test_the_rule_without_a_name_stops_nothing():
    assert not StoppingRule(0).stops(PLAN, power_law(1e9)[:7], peers(*[power_law(0.0)] * 9))
    assert StoppingRule.of(make_spec()) == StoppingRule()


@pytest.mark.parametrize("name", sorted(STOPPING_RULES))
def test_a_spec_chooses_the_rule(name):
    spec = make_spec()
    if name in Settings.Stopping.DESCRIPTOR.values_by_name:
        spec.evaluation_schedule.stopping = Settings.Stopping.Value(name)
    else:
        spec.evaluation_schedule.stopping_rule = name
    spec.evaluation_schedule.grace_steps = 7
    assert StoppingRule.of(spec) == STOPPING_RULES.get(name)(7)
    spec.evaluation_schedule.grace_steps = -1
    with pytest.raises(SpecError, match="grace_steps"):
        StoppingRule.of(spec)


@given(
    st.floats(-2, 2),
    st.floats(0, 5),
    st.floats(0.1, 2.5),
    st.integers(4, 7),
)
def test_the_end_of_a_power_law_is_never_underrated(end, gain, exponent, length):
    curve = np.array(power_law(end, gain, exponent))
    truth = curve[-1, 1]
    assert hopeful_end(curve[:length], STEPS) <= truth + 0.05 * (curve[length - 1, 1] - truth) + 1e-6


def test_hope_is_near_the_truth_where_the_curve_is_clear():
    curve = np.array(power_law(0.5, 3.0, 0.7))
    assert hopeful_end(curve[:5], STEPS) == pytest.approx(curve[-1, 1], abs=0.01)


def test_noise_gives_hope():
    curve = np.array(power_law(0.5, 3.0, 0.7))
    noisy = curve.copy()
    noisy[:, 1] += 0.05 * np.array([1, -1, 1, -1, 1, -1, 1, -1])
    assert hopeful_end(noisy[:5], STEPS) < hopeful_end(curve[:5], STEPS) - 0.02


def test_looks_that_are_not_finite_are_left_out():
    curve = [(0, 1.0), (100, float("nan")), *power_law(9.0)[1:5]]
    assert CurveExtrapolation().stops(PLAN, curve, peers([(100, float("nan")), *power_law(0.1)]))
    assert not CurveExtrapolation().stops(PLAN, curve, peers([(100, float("nan"))]))


@pytest.mark.parametrize(
    ("values", "patience", "expected"),
    [
        ([0.5, 0.4, 0.4, 0.6], 2, True),
        ([0.5, 0.4, 0.3, 0.6], 2, False),
        ([0.5, 0.6], 2, False),
        ([0.5, 0.6, 0.7], 2, True),
        ([0.5, 0.6, 0.7, 0.8], 0, False),
        ([0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4], 2, False),  # the last step
    ],
)
def test_patience_counts_evaluations_without_a_better_one(values, patience, expected):
    plan = make_plan(1, steps=10, patience=patience)
    curve = [(step, value) for step, value in enumerate(values, 1)]
    assert is_out_of_patience(plan, curve, Objective("loss", Goal.MINIMIZE)) is expected
    raised = [(step, -value) for step, value in curve]
    assert is_out_of_patience(plan, raised, Objective("accuracy", Goal.MAXIMIZE)) is expected
