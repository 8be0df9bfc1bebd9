import pytest
from search_factory import add_ensembles, completed, make_planner, make_spec, run_study

from model_search import constants
from model_search.blocks import catalogue
from model_search.problem import problem_type
from model_search.proto.phoenix_spec_pb2 import EvaluationSchedule as Settings
from model_search.search.algorithms.guided_beam import WARM_UP
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.history.history import History
from model_search.search.space.grammar import Grammar
from model_search.search.space.hyperparameter_space import build_space
from model_search.search.space.starting_points import starting_points
from model_search.spec.load import load_spec

DNN = problem_type("DNN").starting_points


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


def test_workers_that_begin_in_the_same_moment_take_different_ones():
    planner, history = make_planner(stock()), History("loss", "minimize")
    planned = [planner.plan(trial_id, history).architecture for trial_id in range(1, len(DNN) + 1)]
    assert planned == [point.architecture for point in DNN]


def test_suggestions_come_first():
    spec = stock()
    spec.ClearField("ensemble_spec")
    spec.user_suggestions.add(architecture=["FULLY_CONNECTED_PYRAMID"])
    history = run_study(make_planner(spec), len(DNN) + 1, lambda plan: float(plan.trial_id))
    tried = [history.get(number).plan.architecture for number in range(1, len(DNN) + 2)]
    assert tried == [("FULLY_CONNECTED_PYRAMID",), *(point.architecture for point in DNN)]


def test_a_schedule_trains_them_like_any_other_tower():
    spec = stock()
    spec.evaluation_schedule.kind = Settings.ASHA
    plan = make_planner(spec).plan(1, History("loss", "minimize"))
    assert plan.architecture == DNN[0].architecture and plan.steps < 1000 == plan.total_steps


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
    return make_planner(spec).plan(1, History("loss", "minimize")).architecture


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
