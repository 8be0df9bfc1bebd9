"""The ranking by one metric."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_search.errors import UserError
from model_search.metadata.final_models import FinalKind, FinalMember, FinalModel
from model_search.metadata.trial import Trial, TrialResult, TrialState
from model_search.ranking import Goal, MetricRanking, Objective, as_ranking

LESS, MORE = Objective("loss", "minimize"), Objective("auc", "maximize")
MISSING = [None, math.nan, math.inf, -math.inf]
GOALS = st.sampled_from(["minimize", "maximize"])
NUMBERS = st.floats(-1e300, 1e300)


def trial(number, **metrics):
    return Trial(number, TrialState.COMPLETED, 1, number, "w", result=TrialResult(metrics, 1, 1, {}))


def final(**metrics):
    return FinalModel(FinalKind.ENSEMBLE, metrics, 1, 0.0, (1,), members=(FinalMember(1, 1.0, None, None),))


def test_a_goal_is_read_from_its_text():
    assert LESS.goal is Goal.MINIMIZE and str(MORE) == "maximize auc"
    for wrong in ("up", "", None, "MINIMIZE"):
        with pytest.raises(UserError, match=f"goal is {wrong!r}; expected 'minimize' or 'maximize'"):
            Goal.of(wrong)


@given(GOALS, NUMBERS, NUMBERS)
def test_exactly_one_of_two_different_values_is_better(goal, one, other):
    objective = Objective("m", goal)
    assert objective.better(one, other) == ((one < other) if goal == "minimize" else (one > other))
    assert objective.better(one, other) + objective.better(other, one) == (one != other)
    assert objective.from_loss(objective.loss(one)) == one


@pytest.mark.parametrize("objective", [LESS, MORE])
@pytest.mark.parametrize("missing", MISSING)
def test_what_is_missing_is_worse_than_every_number_and_no_better_than_what_is_missing(objective, missing):
    assert objective.better(0.5, missing) and not objective.better(missing, 0.5)
    assert not any(objective.better(missing, other) for other in MISSING)
    assert objective.loss(missing) == math.inf


def test_the_best_of_values():
    assert LESS.best([0.5, math.nan, 0.25, None]) == 0.25
    assert MORE.best([0.5, math.inf, 0.25]) == 0.5
    assert LESS.best([]) is None and MORE.best([math.nan, None]) is None


def test_the_error_of_a_value_is_its_distance_from_the_best_possible_one():
    assert Objective("loss", Goal.MINIMIZE).error(0.25) == 0.25
    assert Objective("accuracy", Goal.MAXIMIZE).error(0.75) == 0.25
    assert Objective("r2", Goal.MAXIMIZE).error(-1.0) == 2.0
    assert Objective("likelihood", Goal.MINIMIZE).error(-3.0) is None
    assert Objective("profit", Goal.MAXIMIZE).error(1.5) is None


@given(GOALS, st.lists(st.floats(), max_size=8))
def test_losses_of_an_array_are_those_of_its_elements(goal, values):
    objective = Objective("m", goal)
    losses = objective.losses(values)
    assert losses.dtype == np.float64 and losses.tolist() == [objective.loss(value) for value in values]


@given(GOALS, st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=12), st.randoms())
def test_inserting_gives_the_same_order_as_sorting(goal, values, random):
    ranking = as_ranking("m", goal)
    trials = [trial(number, m=value) for number, value in enumerate(values, 1)]
    random.shuffle(trials)
    ranked = []
    for entry in trials:
        ranking.insert(ranked, entry)
    assert ranked == ranking.order(trials)
    for before, after in itertools.pairwise(ranked):
        assert not ranking.better(after, before)
        assert ranking.better(before, after) or before.id < after.id


def test_final_models_stand_behind_their_equals_and_what_has_no_metric_comes_last():
    ranking = MetricRanking(MORE)
    entries = [final(auc=0.5), final(loss=1.0), trial(2, auc=0.5), trial(3, loss=9.0), trial(1, auc=0.25)]
    assert ranking.order(entries) == [entries[2], entries[0], entries[4], entries[3], entries[1]]
    assert [ranking.can_rank(entry) for entry in entries] == [True, False, True, False, True]


def test_rankings_that_compare_the_same_are_equal():
    assert as_ranking("loss", "minimize") == MetricRanking(LESS) != MetricRanking(Objective("loss", "maximize"))
    assert as_ranking(MetricRanking(MORE)) == MetricRanking(MORE)


def test_a_ranking_takes_no_other_goal_and_a_metric_needs_one():
    with pytest.raises(UserError, match="a ranking has its own goal"):
        as_ranking(MetricRanking(MORE), "maximize")
    with pytest.raises(UserError, match="goal is None"):
        as_ranking("loss")
