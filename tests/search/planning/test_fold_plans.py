"""Which trials are evaluated on further folds, and on which."""

import dataclasses

import pytest
from search_factory import completed, make_plan, make_spec, make_trial, run_study, running

from model_search.metadata.trial import EnsemblePlan, TrialKind, TrialState
from model_search.search.history.history import History
from model_search.search.planning.fold_plans import FoldLadder
from model_search.search.planning.planner import Planner, PlannerSettings


def history_of(*losses):
    found = History("loss", "minimize")
    found.update(completed(number, loss) for number, loss in enumerate(losses, 1))
    return found


def climb(history, trials, loss, at_once=2):
    """Runs trials on further folds as long as there are any; the loss is that of (parent, folds)."""
    made = []
    for trial_id in range(len(history) + 1, len(history) + 1 + trials):
        plan = FoldLadder(at_once).next_plan(trial_id, history, history)
        if plan is None:
            break
        made.append(plan)
        history.update([completed(trial_id, loss(plan.parent, plan.left_out), plan)])
    return [(plan.parent, plan.left_out) for plan in made]


def test_the_best_third_goes_on_and_the_best_of_these_again():
    history = history_of(*(0.01 * number for number in range(1, 10)))

    def loss(parent, left_out):  # the first is better than the second on the validation rows, worse on other ones
        return {1: 0.5, 2: 0.492, 3: 0.9}[parent]

    assert climb(history, 9, loss) == [(1, (0, 1)), (2, (0, 1)), (3, (0, 1)), (1, (2, 3))]
    more = history_of(*(0.01 * number for number in range(1, 3)))
    assert climb(more, 9, loss) == []


def test_the_later_rungs_divide_the_rows_anew():
    history = history_of(*(0.01 * number for number in range(1, 101)))
    made = climb(history, 100, lambda parent, left_out: 0.5 + 0.01 * ((parent * 7 + sum(left_out)) % 3))
    assert {left_out for _, left_out in made} == {(0, 1), (2, 3), (8, 9), (10, 11)}
    assert len(made) == len(set(made))
    parts = [left_out for parent, left_out in made if parent == made[-1][0]]
    assert parts == [(0, 1), (2, 3), (8, 9), (10, 11)][: len(parts)]


def test_what_is_clearly_the_best_or_clearly_worse_goes_on_no_further():
    history = history_of(*(0.1 * number for number in range(1, 20)))
    made = climb(history, 30, lambda parent, left_out: 0.1 * parent)  # the same differences on all folds
    assert made == [(parent, (0, 1)) for parent in range(1, 7)]


def test_what_is_planned_or_has_failed_is_not_planned_again():
    history = history_of(*(0.1 * number for number in range(1, 8)))
    ladder = FoldLadder(1)
    first = ladder.next_plan(8, history, history)
    history.update([make_trial(8, TrialState.FAILED, first)])
    second = ladder.next_plan(9, history, history)
    history.update([running(9, second)])
    assert [first.parent, second.parent] == [1, 2]
    assert ladder.next_plan(10, history, history) is None


def test_single_models_that_are_trained_in_full_alone_go_on():
    history = history_of(*(0.1 * number for number in range(1, 4)))
    together = make_plan(4, (), steps=0, members=(1, 2), ensemble=EnsemblePlan("average"))
    history.update([completed(4, 0.0, dataclasses.replace(together, kind=TrialKind.ENSEMBLE))])
    history.update([completed(5, 0.01, make_plan(5, total_steps=99)), completed(6, 9.0)])
    plan = FoldLadder(2).next_plan(7, history, history)
    assert (plan.parent, plan.folds, plan.left_out, plan.kind) == (1, 8, (0, 1), TrialKind.FOLDS)
    assert (plan.architecture, plan.seed, plan.steps) == (("FULLY_CONNECTED",), 1, 10)


@pytest.mark.parametrize(("further", "schedule", "expected"), [(2, "", True), (0, "", False), (2, "ASHA", False)])
def test_the_planner_asks_for_them_where_the_user_does_and_all_trials_are_trained_in_full(further, schedule, expected):
    spec = make_spec("NONADAPTIVE_RANDOM_SEARCH")
    spec.evaluation_schedule.schedule = schedule
    planner = Planner(spec, PlannerSettings(0, 1000, 32, "random", further_folds=further), "loss", "minimize")
    history = run_study(planner, 30, lambda plan: 1.0 + plan.trial_id % 7 / 10 + sum(plan.left_out) / 50)
    found = [trial for trial in history.trials if trial.plan.left_out]
    assert bool(found) is expected
    again = run_study(planner, 30, lambda plan: 1.0 + plan.trial_id % 7 / 10 + sum(plan.left_out) / 50)
    assert [trial.plan for trial in again.trials] == [trial.plan for trial in history.trials]
    towers = [trial for trial in history.trials if not trial.plan.left_out]
    assert len(found) <= len(towers) * (1 / 3 + 1 / 9 + 1 / 27 + 1 / 81)
