import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_factory import completed, make_plan, make_trial, running

from model_search.errors import UserError
from model_search.metadata.trial import DistillationPlan, EnsemblePlan, Trial, TrialState
from model_search.search.history.history import History


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


def _compound(trial_id, architecture=(), **fields):
    return make_plan(trial_id, architecture, **({"members": (1, 2), "ensemble": EnsemblePlan("average")} | fields))


def test_the_towers_are_a_history_without_ensembles():
    history = History("loss", "minimize")
    history.update([completed(1, 3.0), completed(2, 2.0), completed(3, 1.0, _compound(3))])
    history.update([completed(4, 0.5, _compound(4, ["IDENTITY"])), running(5), running(6, _compound(6))])
    student = make_plan(7, teacher=(1,), distillation=DistillationPlan("mse_logits"))
    history.update([completed(7, 0.1, student), make_trial(8, TrialState.FAILED, make_plan(8))])
    towers = history.towers
    assert _ids(towers.completed) == [7, 2, 1] and _ids(history.completed) == [7, 4, 3, 2, 1]
    assert (_ids(towers.unfinished), _ids(towers.failed)) == ([5], [8])
    assert towers.towers is towers and (towers.metric, towers.goal) == ("loss", "minimize")


def test_the_towers_follow_a_trial_whose_plan_changes():
    history = History("loss", "minimize")
    history.update([running(1)])
    history.update([make_trial(1, TrialState.CLAIMED)])
    assert history.towers.unfinished == () and history.towers.get(1) is None
    history.update([running(1, _compound(3)), running(1)])
    assert _ids(history.towers.unfinished) == [1]
    history.update([completed(1, 1.0)])
    assert _ids(history.towers.completed) == [1] and history.towers.unfinished == ()


def test_the_towers_before_a_trial_are_those_of_the_trials_before():
    history = History("loss", "minimize")
    history.update([completed(1, 3.0), completed(2, 1.0), completed(5, 0.5)])
    assert _ids(history.before(3).towers.completed) == [2, 1]


def test_an_empty_history_is_true_and_has_no_trials():
    history = History("loss", "minimize")
    assert history and len(history) == 0


def test_a_snapshot_does_not_change_with_its_history_nor_the_history_with_it():
    history = History("loss", "minimize")
    history.update([completed(1, 3.0), completed(2, 1.0), running(3), make_trial(4, TrialState.FAILED, make_plan(4))])
    taken = history.snapshot()
    history.update([completed(3, 0.5), completed(5, 0.1), running(6), make_trial(7, TrialState.LOST, make_plan(7))])
    for kept in (taken, taken.towers):
        assert (_ids(kept.completed), _ids(kept.unfinished), _ids(kept.failed)) == ([2, 1], [3], [4])
        assert (_ids(kept.latest(9)), len(kept), len(kept.changes())) == ([1, 2], 4, 4)
        assert not kept.contains_key("key 6") and kept.get(3).state is TrialState.RUNNING
    taken.update([completed(8, 0.0)])
    assert history.get(8) is None and history.towers.get(8) is None
    assert _ids(taken.towers.completed) == [8, 2, 1]


def test_the_loss_of_a_trial_is_turned_so_that_less_is_better():
    up, down = History("loss", "maximize"), History("loss", "minimize")
    assert (up.loss(completed(1, 3.0)), down.loss(completed(1, 3.0))) == (-3.0, 3.0)
