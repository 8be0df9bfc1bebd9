import dataclasses

import numpy as np
import pytest
from search_factory import completed, make_plan, make_planner, make_spec, running

from model_search.metadata.trial import Artefact, StartKind
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.history.history import History
from model_search.search.space.morphisms import is_morphism
from model_search.spec.check import check

DENSE, WIDE = "FIXED_OUTPUT_FULLY_CONNECTED_64", "FIXED_OUTPUT_FULLY_CONNECTED_128"
RESIDUAL, JOINED = "BOTTLENECK_32_SKIP", "FULLY_CONNECTED_RESIDUAL_CONCAT"
BLOCKS = (DENSE, WIDE, RESIDUAL, JOINED)


def auto_keras(**settings):
    spec = make_spec("AUTO_KERAS", blocks_to_use=BLOCKS, maximum_depth=6, increase_complexity_minimum_trials=[0] * 6)
    for name, value in settings.items():
        spec.search_settings.hparam[name].float_value = value
    return spec


def studied(planner, count, loss):
    """Trials with stored weights, one after the other."""
    history = History("loss", "minimize")
    for number in range(1, count + 1):
        trial = completed(number, 0.0, planner.plan(number, history))
        result = dataclasses.replace(
            trial.result, metrics={"loss": loss(trial.plan)}, artefacts=(Artefact("weights.npz", "a", "", 1),)
        )
        history.update([dataclasses.replace(trial, result=result)])
    return history


def test_three_kinds_of_towers_come_first_and_morphisms_of_trained_towers_follow():
    planner = make_planner(auto_keras())
    history = studied(planner, 12, lambda plan: 1 / sum(map(len, plan.architecture)))
    plans = [history.get(number).plan for number in range(1, 13)]
    assert [plan.architecture for plan in plans[:3]] == [(DENSE,) * 3, (RESIDUAL,) * 3, (JOINED,) * 3]
    assert all(plan.start is None for plan in plans[:3])
    assert all(plan.patience == 5 for plan in plans)
    for plan in plans[3:]:
        assert is_morphism(plan.architecture, history.get(plan.parent).plan.architecture)
        assert plan.start.kind is StartKind.MORPH and plan.start.trials == (plan.parent,)
        assert plan.steps == 1000  # its patience ends it


@pytest.mark.parametrize(("thresholds", "depth"), [((), 3), ((0, 0, 5, 5, 8, 8), 2)])
def test_the_first_three_towers_are_those_of_any_time(thresholds, depth):
    spec = make_spec("AUTO_KERAS", blocks_to_use=BLOCKS, maximum_depth=6, increase_complexity_minimum_trials=thresholds)
    history = studied(make_planner(spec), 12, lambda plan: 1 / sum(map(len, plan.architecture)))
    plans = [history.get(number).plan for number in range(1, 13)]
    assert [plan.architecture for plan in plans[:3]] == [(name,) * depth for name in (DENSE, RESIDUAL, JOINED)]
    assert all(plan.start.kind is StartKind.MORPH for plan in plans[3:])


def test_without_exploration_it_goes_on_from_good_towers():
    def loss(plan):
        return float(sum(name != WIDE for name in plan.architecture)) / len(plan.architecture)

    history = studied(make_planner(auto_keras(beta=0.0)), 25, loss)
    parents = [history.get(number).plan.parent for number in range(15, 26)]
    losses = [history.loss(history.get(parent)) for parent in parents]
    assert np.mean(losses) < np.mean([history.loss(trial) for trial in history.completed])


def test_workers_at_the_same_time_get_different_towers():
    algorithm = make_algorithm(auto_keras())
    history = History("loss", "minimize")
    history.update([completed(n, 1 / n, make_plan(n, (name,) * 2)) for n, name in enumerate((DENSE, RESIDUAL), 1)])
    for number in range(3, 9):
        proposal = algorithm.propose(history, np.random.default_rng(number))
        assert proposal.architecture not in {trial.plan.architecture for trial in history.trials}
        history.update([running(number, make_plan(number, proposal.architecture))])


@pytest.mark.parametrize(
    ("settings", "message"), [({"beta": -1.0}, "beta is -1"), ({"cooling": 1.0}, "cooling is 1; expected at")]
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    assert any(message in problem.message for problem in check(auto_keras(**settings)))


def test_rungs_do_not_go_with_it():
    spec = auto_keras()
    spec.evaluation_schedule.kind = spec.evaluation_schedule.ASHA
    assert any("AUTO_KERAS does not go with" in problem.message for problem in check(spec))
