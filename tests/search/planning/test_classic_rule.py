"""Classic models among the trials of a search: which trials, and what the others are then."""

import json

import pytest
from search_factory import add_distillation, add_ensembles, completed, failed, make_spec, run_study

from model_search import constants
from model_search.metadata.trial import CLASSIC_MODELS, TrialKind, TrialPlan
from model_search.search.planning.classic_models import models_of_search
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.spec.load import load_spec

ALL = tuple(CLASSIC_MODELS)


def planner(spec, classic=ALL[:2]):
    return Planner(spec, PlannerSettings(0, 1000, 32, sampler="random", classic=classic), "loss", "minimize")


def worst_networks(plan):
    return 0.1 if plan.classic else float(plan.trial_id)


def test_they_are_the_third_and_the_fourth_trial_and_all_starting_points_are_tried():
    spec = load_spec(constants.DEFAULT_DNN)
    plain = run_study(planner(spec, ()), 8, lambda plan: 1.0)
    mixed = run_study(planner(spec), 10, lambda plan: 1.0)
    kinds = [mixed.get(number).plan.classic for number in range(1, 11)]
    assert kinds == [None, None, "boosted_trees", "linear", *[None] * 6]
    assert mixed.get(3).plan.kind is TrialKind.CLASSIC
    first = [point.architecture for point in planner(spec)._make.algorithm.starting_points]
    assert len(first) > 2
    searched = [mixed.get(number).plan for number in range(1, 11) if mixed.get(number).plan.is_searched]
    assert [plan.architecture for plan in searched[: len(first)]] == first
    assert [plain.get(number).plan.architecture for number in range(1, len(first) + 1)] == first


def test_in_a_longer_search_there_are_more_with_towers_between_them():
    history = run_study(planner(make_spec(), ALL), 14, lambda plan: 1.0)
    found = {number: history.get(number).plan.classic for number in range(1, 15)}
    expected = dict(zip((3, 4, 6, 8, 10, 12, 14), ALL, strict=True))
    assert {number: name for number, name in found.items() if name} == expected
    assert [len(models_of_search(ALL, number)) for number in (7, 8, 19, 20, 10_000)] == [0, 2, 2, 5, 7]


def test_one_that_failed_is_not_tried_again_and_explains_nothing():
    history = run_study(planner(make_spec()), 6, lambda plan: None if plan.classic else 1.0)
    assert [trial.id for trial in history.failed] == [3, 4]
    assert not history.failures.architectures
    assert planner(make_spec()).plan(7, history).classic is None


def test_another_worker_takes_the_other_one():
    made = planner(make_spec())
    history = run_study(made, 2, lambda plan: 1.0)
    taken = made.plan(4, history)  # before trial 3 has a plan
    assert taken.classic == "boosted_trees"
    history.update([completed(4, 1.0, taken)])
    assert made.plan(3, history, attempt=1).classic == "linear"


@pytest.mark.parametrize("search", ["nonadaptive", "adaptive", "residual", "intermixed"])
def test_ensembles_and_students_of_the_search_are_made_of_towers(search):
    spec = make_spec()
    fields = {"minimal_pool_size": 4} if search == "nonadaptive" else {"increase_width_every": 4}
    fields = {"try_ensembling_every": 4} if search == "intermixed" else fields
    add_ensembles(spec, search, **fields)
    add_distillation(spec, minimal_pool_size=6)
    history = run_study(planner(spec), 16, worst_networks)
    classic = {trial.id for trial in history.trials if trial.plan.classic}
    assert classic
    built_on = {number for trial in history.trials for number in trial.plan.builds_on}
    assert built_on
    assert not built_on & classic
    assert all(trial.plan.classic is None for trial in history.towers.trials)


def test_the_plan_of_one_is_written_and_read():
    history = run_study(planner(make_spec()), 3, lambda plan: 1.0)
    plan = history.get(3).plan
    assert TrialPlan.from_json(plan.to_json()) == plan
    assert (plan.described, plan.towers, plan.builds_on) == ("gradient-boosted trees", (3,), ())
    assert not plan.trains_one_tower
    assert "classic" not in history.get(1).plan.to_json()


@pytest.mark.parametrize("changes", [{"classic": "forest"}, {"architecture": ["IDENTITY"]}])
def test_a_plan_of_something_else_is_refused(changes):
    plan = run_study(planner(make_spec()), 3, lambda plan: 1.0).get(3).plan
    with pytest.raises(ValueError, match=r"expected one of boosted_trees, linear, .* by itself"):
        TrialPlan.from_json(json.dumps(json.loads(plan.to_json()) | changes))


def test_a_failed_tower_does_not_count():
    made = planner(make_spec())
    history = run_study(made, 1, lambda plan: 1.0)
    history.update([failed(2, made.plan(2, history))])
    assert made.plan(3, history).classic == "boosted_trees"
