import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_factory import completed, make_plan, make_trial, running

from model_search.errors import UserError
from model_search.metadata.trial import Trial, TrialState
from model_search.search.history import History


def _ids(trials):
    return [trial.id for trial in trials]


def test_a_goal_that_is_none_is_refused():
    with pytest.raises(UserError, match="goal is 'up'"):
        History("loss", "up")


@pytest.mark.parametrize(("goal", "order"), [("minimize", [2, 4, 3, 1]), ("maximize", [1, 3, 2, 4])])
def test_the_best_come_first_and_ties_go_by_id(goal, order):
    history = History("loss", goal)
    history.update([completed(4, 1.0), completed(1, 3.0), completed(3, 2.0), completed(2, 1.0)])
    assert _ids(history.completed) == order
    assert _ids(history.best(2)) == order[:2]
    assert _ids(history.best(10)) == order
    assert history.best(0) == [] and history.best(-1) == []


def test_a_trial_moves_from_unfinished_to_where_it_ends():
    history = History("loss", "minimize")
    history.update([make_trial(1, TrialState.CLAIMED), running(2), running(3)])
    assert _ids(history.unfinished) == [2, 3]
    history.update([running(1), completed(2, 1.0), make_trial(3, TrialState.FAILED, make_plan(3))])
    assert (_ids(history.unfinished), _ids(history.completed), _ids(history.failed)) == ([1], [2], [3])
    assert len(history) == 3 and history.completed_count == 1


def test_an_interrupted_trial_with_a_plan_is_unfinished():
    history = History("loss", "minimize")
    history.update([make_trial(1, TrialState.INTERRUPTED, make_plan(1)), make_trial(2, TrialState.INTERRUPTED)])
    assert _ids(history.unfinished) == [1]


def test_a_trial_given_twice_counts_once():
    history = History("loss", "minimize")
    for _ in range(3):
        history.update([completed(1, 1.0), running(2)])
    assert _ids(history.completed) == [1] and _ids(history.latest(5)) == [1] and _ids(history.unfinished) == [2]


def test_keys_of_every_planned_trial_are_known():
    history = History("loss", "minimize")
    history.update([completed(1, 1.0), running(2), make_trial(3, TrialState.FAILED, make_plan(3))])
    assert all(history.contains_key(f"key {i}") for i in (1, 2, 3))
    assert not history.contains_key("key 4")


def test_a_plan_that_was_replaced_is_forgotten_unless_another_trial_has_it():
    history = History("loss", "minimize")
    history.update([running(1, make_plan(1, key="a")), running(2, make_plan(2, key="a"))])
    history.update([running(1, make_plan(1, key="b"))])
    assert history.contains_key("a") and history.contains_key("b")
    history.update([make_trial(2, TrialState.CLAIMED)])
    assert not history.contains_key("a")


def test_a_trial_without_the_metric_is_not_ranked():
    history = History("auc", "maximize")
    history.update([completed(1, 1.0), make_trial(2, TrialState.COMPLETED, make_plan(2), auc=0.5)])
    assert _ids(history.completed) == [2]
    assert len(history) == 2


def test_the_latest_are_those_completed_last():
    history = History("loss", "minimize")
    history.update([completed(2, 1.0)])
    history.update([completed(1, 5.0), completed(5, 0.5)])
    assert _ids(history.latest(2)) == [1, 5]
    assert history.latest(0) == []


def test_before_leaves_out_later_trials_and_is_the_same_object_where_there_are_none():
    history = History("loss", "minimize")
    history.update([completed(1, 3.0), completed(4, 1.0), running(6)])
    assert history.before(5) is history
    assert _ids(history.before(4).completed) == [1]


def test_get_finds_trials_of_every_state():
    history = History("loss", "minimize")
    history.update([make_trial(7, TrialState.CLAIMED)])
    assert isinstance(history.get(7), Trial) and history.get(8) is None


@given(
    st.lists(st.tuples(st.integers(1, 40), st.floats(-1e300, 1e300)), unique_by=lambda pair: pair[0]),
    st.sampled_from(["minimize", "maximize"]),
)
def test_the_ranking_is_that_of_sorting(pairs, goal):
    history = History("loss", goal)
    for trial_id, loss in pairs:
        history.update([completed(trial_id, loss)])
    sign = 1 if goal == "minimize" else -1
    assert _ids(history.completed) == [i for i, _ in sorted(pairs, key=lambda pair: (sign * pair[1], pair[0]))]
