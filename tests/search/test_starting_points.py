import numpy as np
import pytest
from search_factory import add_ensembles, completed, make_plan, make_planner, make_spec, make_trial, run_study, running

from model_search import constants
from model_search.blocks import catalogue
from model_search.metadata.trial import TrialState
from model_search.search.algorithms import make_algorithm
from model_search.search.grammar import Grammar
from model_search.search.guided_beam import WARM_UP
from model_search.search.history import History
from model_search.search.space import build_space
from model_search.search.starting_points import STARTING_POINTS, starting_points
from model_search.spec.load import load_spec

DNN = STARTING_POINTS["DNN"]


def stock(**fields):
    """The stock specification of dense towers."""
    spec = load_spec(constants.DEFAULT_DNN)
    for name, value in fields.items():
        setattr(spec, name, value)
    return spec


def points_of(spec):
    return starting_points(Grammar.of(spec), build_space(spec, train_steps=1000))


@pytest.mark.parametrize("point", DNN, ids=lambda point: "-".join(point.architecture))
def test_each_is_a_tower_that_the_stock_search_could_come_to_by_itself(point):
    assert all(catalogue.is_known(name) for name in point.architecture)
    (found,) = [other for other in points_of(stock()) if other.architecture == point.architecture]
    assert found == point and set(point.hyperparameters) >= {"optimizer", "learning_rate"}


def test_they_are_different_towers_and_leave_room_for_random_ones():
    assert len({point.architecture for point in DNN}) == len(DNN) < WARM_UP


def test_a_tower_with_a_block_that_is_not_searched_is_left_out():
    spec = stock()
    gone = DNN[0].architecture[0]
    spec.blocks_to_use.remove(gone)
    assert [p.architecture for p in points_of(spec)] == [p.architecture for p in DNN if gone not in p.architecture]


def test_a_tower_of_another_depth_is_left_out():
    deepest = max(len(point.architecture) for point in DNN)
    shallower = points_of(stock(maximum_depth=deepest - 1))
    assert [point.architecture for point in shallower] == [
        point.architecture for point in DNN if len(point.architecture) < deepest
    ]


def test_a_learning_rate_out_of_range_is_left_to_the_sampler():
    spec = stock()
    spec.learning_spec.learning_rate_range.add(minimum=0.2, maximum=0.3)
    assert len(points_of(spec)) == len(DNN)
    for point in points_of(spec):
        assert "learning_rate" not in point.hyperparameters and "optimizer" in point.hyperparameters


def test_a_learning_rate_is_not_given_to_another_optimizer():
    spec = stock()
    spec.learning_spec.optimizers.append("sgd")
    spec.learning_spec.learning_rate_range.add(minimum=1e-6, maximum=1.0)
    assert len(points_of(spec)) == len(DNN)
    for point in points_of(spec):
        assert not {"learning_rate", "optimizer"} & set(point.hyperparameters)


def test_a_study_begins_with_them_in_their_order_and_goes_on_at_random():
    planner, history = make_planner(stock()), History("loss", "minimize")
    for trial_id in range(1, WARM_UP + 1):
        plan = planner.plan(trial_id, history)
        if trial_id <= len(DNN):
            point = DNN[trial_id - 1]
            assert plan.architecture == point.architecture
            assert {name: plan.hyperparameters[name] for name in point.hyperparameters} == point.hyperparameters
        else:
            assert plan.architecture not in [point.architecture for point in DNN]
        history.update([completed(trial_id, float(trial_id), plan)])


def test_workers_share_them():
    planner, history = make_planner(stock()), History("loss", "minimize")
    for trial_id in range(1, len(DNN) + 1):
        history.update([running(trial_id, planner.plan(trial_id, history))])
    assert {trial.plan.architecture for trial in history.unfinished} == {point.architecture for point in DNN}


@pytest.mark.parametrize(
    "fields",
    [{"starting_points": False}, {"increase_complexity_probability": 0.0}],
    ids=["switched off", "nothing grows"],
)
def test_there_are_none_where_the_specification_says_otherwise(fields):
    assert _first(stock(**fields)) not in [point.architecture for point in DNN]


def test_a_specification_that_says_when_towers_grow_is_kept_to():
    spec = stock()
    spec.increase_complexity_minimum_trials.extend([0, 10, 20, 30, 40])
    assert len(_first(spec)) == 1


def test_other_blocks_begin_at_random():
    assert make_algorithm(make_spec("PREDICTOR_GUIDED_BEAM")).starting_points == ()


def _first(spec):
    return make_algorithm(spec).propose(History("loss", "minimize"), np.random.default_rng(0)).architecture


def test_one_that_failed_is_not_tried_again():
    algorithm = make_algorithm(stock())
    history = History("loss", "minimize")
    history.update([make_trial(1, TrialState.FAILED, make_plan(1, DNN[0].architecture))])
    assert algorithm.propose(history, np.random.default_rng(0)).architecture == DNN[1].architecture


def test_dropout_that_is_not_searched_is_left_out():
    for point in points_of(stock(apply_dropouts_between_blocks=False)):
        assert set(point.hyperparameters) == {"optimizer", "learning_rate"}


def test_towers_of_one_length_begin_with_those_of_that_length_that_fit_its_rules():
    deep = [point.architecture for point in DNN if len(point.architecture) == 5]
    spec = stock(minimum_depth=5)
    assert [point.architecture for point in points_of(spec)] == deep
    for place in range(5):
        spec.position_choices.add(blocks=[deep[1][place]])
    assert [point.architecture for point in points_of(spec)] == [deep[1]]


def test_an_ensemble_that_grows_tower_by_tower_does_not_begin_again_with_them():
    spec = stock()
    spec.ClearField("ensemble_spec")
    spec.ClearField("distillation_spec")
    add_ensembles(spec, "adaptive", minimal_pool_size=8)
    history = run_study(make_planner(spec), 30, lambda plan: float(plan.trial_id))
    grown = [trial.plan.architecture for trial in history.completed if trial.plan.members]
    begun_again = [architecture for architecture in grown if architecture in [point.architecture for point in DNN]]
    assert len(grown) > 10 and len(begun_again) < len(grown) / 3
    assert any(trial.plan.parent for trial in history.completed if trial.plan.members)


def test_the_first_guided_trials_may_change_towers_deeper_than_is_allowed_by_then():
    depths = []
    for seed in range(6):
        planner = make_planner(stock(), seed)
        history = run_study(planner, WARM_UP, lambda plan: -float(len(plan.architecture)))
        depths.append(len(planner.plan(WARM_UP + 1, history).architecture))
    assert max(depths) == 5
