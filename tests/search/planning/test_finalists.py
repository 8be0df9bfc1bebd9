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
    found.update([completed(11, 0.0, make_plan(11, total_steps=99)), running(12)])
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
    history.update([completed(14, 0.9, bag_plan(14, history.get(6), 5))])
    assert history.leader.id == 14
