"""Which models are trained again in folds, and by which plans."""

import dataclasses

import pytest
from search_factory import completed, make_plan, make_planner, make_spec, make_trial, running

from model_search.errors import SpaceExhaustedError
from model_search.metadata.trial import EnsemblePlan, TrialKind, TrialState
from model_search.search.history.history import History
from model_search.search.planning.classic_models import classic_plan
from model_search.search.planning.finalists import FINALISTS, FinalistsPlanner, finalists
from model_search.search.planning.fold_plans import bag_plan


@pytest.fixture
def history():
    """Seven towers, the later the better; trees that are worst, an ensemble, a short training and a running trial."""
    found = History("loss", "minimize")
    found.update(completed(number, 1.0 - 0.1 * number) for number in range(1, 8))
    found.update(
        [completed(8, 9.0, classic_plan("boosted_trees", 8, 1)), completed(9, 9.5, classic_plan("linear", 9, 1))]
    )
    together = make_plan(10, (), steps=0, members=(1, 2), ensemble=EnsemblePlan("average"))
    found.update([completed(10, 0.0, dataclasses.replace(together, kind=TrialKind.ENSEMBLE))])
    found.update([completed(11, 0.28, make_plan(11, total_steps=99)), running(12)])
    return found


def test_the_best_models_of_one_training_and_boosted_trees(history):
    assert [trial.id for trial in finalists(history)] == [7, 8, 6, 5, 4]
    assert len(finalists(history)) == FINALISTS + 1


def test_each_is_planned_once_whatever_else_was_tried(history):
    planner = FinalistsPlanner(make_planner(make_spec()), finalists(history), folds=5)
    made = []
    for trial_id in range(13, 18):
        assert planner.left(history) == 18 - trial_id
        plan = planner.plan(trial_id, history)
        made.append(plan)
        state = TrialState.FAILED if trial_id == 15 else TrialState.COMPLETED
        history.update([make_trial(trial_id, state, plan, loss=5.0)])
    assert [plan.parent for plan in made] == [7, 8, 6, 5, 4]
    assert {(plan.kind, plan.folds) for plan in made} == {(TrialKind.BAGGING, 5)}
    assert (made[0].architecture, made[0].seed, made[1].classic) == (("FULLY_CONNECTED",), 1, "boosted_trees")
    with pytest.raises(SpaceExhaustedError):
        planner.plan(18, history)
    # Bags are no finalists themselves, and lead although other figures are better.
    assert [trial.id for trial in finalists(history)] == [7, 8, 6, 5, 4]
    assert history.leader.id == 13
    assert not {trial.id for trial in history.towers.completed} & set(range(13, 18))


def test_without_bags_the_best_trial_leads():
    history = History("loss", "minimize")
    assert history.leader is None
    history.update([completed(1, 0.5), completed(2, 0.4)])
    assert history.leader.id == 2


def test_bags_of_bad_models_alone_do_not_lead(history):
    worst = history.get(1)
    history.update([completed(13, 0.95, bag_plan(13, worst, 5))])
    assert history.leader.id == history.best(1)[0].id
    history.update([completed(14, 0.9, bag_plan(14, history.get(7), 5))])
    assert history.leader.id == 14


def trials(metric, goal, values, bags):
    """Trials with some values of a metric, and bags of some of them: their parents and values."""
    found = History(metric, goal)
    done = TrialState.COMPLETED
    found.update(make_trial(number, done, make_plan(number), **{metric: v}) for number, v in enumerate(values, 1))
    for number, (parent, value) in enumerate(bags, 1 + len(values)):
        plan = bag_plan(number, found.get(parent), 8)
        found.update([make_trial(number, done, plan, **{metric: value})])
    return found


STEPS = (0.165, 0.223, 0.481, 0.695, 0.718, 0.722)  # mean squared errors of models on steps of two columns


@pytest.mark.parametrize(
    ("metric", "goal", "values", "bags", "leader"),
    [
        # The best models had no time for a bag, and those of the others are no match for them.
        ("loss", "minimize", STEPS, [(3, 0.455), (4, 0.704)], 1),
        ("r2", "maximize", [1 - loss for loss in STEPS], [(3, 0.545), (4, 0.296)], 1),
        ("accuracy", "maximize", (0.99, 0.95, 0.94), [(2, 0.96)], 1),
        # A bag of the best one leads, however much luck its figure had; with it the best of all bags.
        ("loss", "minimize", STEPS, [(3, 0.455), (1, 0.25)], 8),
        ("loss", "minimize", STEPS, [(1, 0.25), (2, 0.2)], 8),
        ("accuracy", "maximize", (0.99, 0.95), [(1, 0.94)], 3),
        # So does one of a model that is nearly as good, or that is itself nearly as good.
        ("accuracy", "maximize", (0.9, 0.895, 0.8), [(2, 0.87)], 4),
        ("loss", "minimize", (0.3, 0.32, 0.5), [(2, 0.35)], 4),
        ("loss", "minimize", (0.3, 0.4, 0.5), [(2, 0.32)], 4),
        ("accuracy", "maximize", (1.0, 1.0, 0.8), [(2, 0.9)], 4),
        # But not one of a model that is none of the best four.
        ("loss", "minimize", (0.3, 0.3, 0.3, 0.3, 0.301), [(5, 0.302)], 1),
        # Metrics of one's own have errors of no known size.
        ("profit", "maximize", (50.0, 30.0), [(2, 31.0)], 3),
        ("likelihood", "minimize", (-50.0, 30.0), [(2, 31.0)], 3),
    ],
)
def test_bags_of_clearly_worse_models_are_no_match_for_the_best_trial(metric, goal, values, bags, leader):
    assert trials(metric, goal, values, bags).leader.id == leader


def test_those_near_the_best_are_of_the_best_four_single_models():
    near = trials("loss", "minimize", (0.33, 0.3, 0.331, 0.31, 0.32), [(2, 0.1)]).near_best
    assert [trial.id for trial in near] == [2, 4, 5, 1]
    assert History("loss", "minimize").near_best == []
