"""What version 2 of the guided beam adds: scales, acquisitions, candidates, and local search in every seventh trial."""

import numpy as np
import pytest
from search_factory import completed, make_plan, make_planner, make_spec, rough_loss, run_study

from model_search.search.algorithms.guided_beam import Child
from model_search.search.algorithms.portfolio_beam import NAME
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.algorithms.robust_beam import expected_improvement
from model_search.search.history.history import History
from model_search.search.predictor.additive_gaussian_process import Prediction
from model_search.search.predictor.predictor import Predictors
from model_search.search.predictor.scales import log_regret, normal_scores, targets
from model_search.search.space.grammar import Grammar

BLOCKS = ("FULLY_CONNECTED", "IDENTITY", "BOTTLENECK_32", "LOWRANK_1")


def _spec(depth=6, version=2, **fields):
    """Towers of one length, whose hyperparameters have one value only."""
    spec = make_spec(
        NAME,
        blocks_to_use=BLOCKS,
        minimum_depth=depth,
        maximum_depth=depth,
        learning={"optimizers": ["adam"]},
        **fields,
    )
    spec.learning_spec.learning_rate_range.add(minimum=1e-3, maximum=1e-3)
    if version is not None:
        spec.search_settings.hparam["version"].int64_value = version
    return spec


VALUES = np.array([3.0, -50.0, 1.0, 2.0, 2.0, 4.0, 3.5])


@pytest.mark.parametrize("scale", [targets, normal_scores, log_regret])
def test_a_scale_keeps_the_order_and_no_outlier_decides(scale):
    scaled = scale(VALUES)
    assert scaled.mean() == pytest.approx(0, abs=1e-9)
    assert scaled.std() == pytest.approx(1)
    for one in range(len(VALUES)):
        for other in range(len(VALUES)):
            assert (scaled[one] < scaled[other]) == (VALUES[one] < VALUES[other])
    assert np.ptp(scaled[VALUES > 0]) > 0.3 * np.ptp(scaled)
    np.testing.assert_array_equal(scale(np.full(5, 7.0)), np.zeros(5))


@pytest.mark.parametrize("scale", [normal_scores])
def test_ranks_alone_count(scale):
    np.testing.assert_allclose(scale(VALUES), scale(np.sign(VALUES) * VALUES**2))


def test_the_scale_changes_from_trial_to_trial():
    grammar, known = Grammar.of(_spec()), (targets, normal_scores, log_regret)
    predictors, history, seen = Predictors(grammar, known), History("loss", "minimize"), set()
    for number in range(1, 16):
        history.update([completed(number, float(number), make_plan(number, BLOCKS[: 1 + number % 4]))])
        predictor = predictors.of(history)
        losses = -np.array([history.loss(item.trial) for item in predictor.tried])
        fits = [scale for scale in known if number > 6 and np.allclose(predictor.targets, scale(losses))]
        seen.update(scale.__name__ for scale in fits)
    assert seen == {"targets", "normal_scores", "log_regret"}


def test_expected_improvement_grows_with_mean_and_uncertainty():
    expected = Prediction(np.array([0.0, 0.5, 0.0, 1.0]), np.array([0.1, 0.1, 1.0, 1e-9]))
    found = expected_improvement(expected, best=0.5)
    assert found[0] < found[1] < found[2] < found[3]
    assert found[3] == pytest.approx(0.5)
    assert found[1] == pytest.approx(0.1 / np.sqrt(2 * np.pi))


def test_all_neighbours_of_the_best_are_candidates():
    algorithm = make_algorithm(_spec())
    history = run_study(make_planner(_spec()), 12, rough_loss(BLOCKS, 1))
    best = history.best(1)[0]
    candidates = {
        child.architecture
        for child in algorithm._children(
            [Child(best.plan.architecture, best.id)], 6, np.random.default_rng(0), 0, history
        )
    }
    assert candidates >= set(algorithm.grammar.neighbours(best.plan.architecture))
    assert len(candidates) > 18  # and others


def test_exploration_grows_while_nothing_is_better():
    algorithm = make_algorithm(_spec())
    expected = Prediction(np.array([-9.0, -9.0]), np.array([1e-9, 1.0]))
    history, weights = History("loss", "minimize"), []
    for number in range(1, 90):
        tower = [BLOCKS[number // 4**place % 4] for place in range(6)]
        history.update([completed(number, 1.0 + (number > 5), make_plan(number, tower))])
        if number > 6 and number % 3 == 1:
            first, second = algorithm._acquisition(history, Predictors(algorithm.grammar).of(history))(expected)
            weights.append(second - first)
    bounds = [weight for weight in weights if weight > 0.99]  # the others are expected improvements
    assert len(bounds) < len(weights)
    assert bounds[0] == pytest.approx(1)
    assert bounds == sorted(bounds)
    assert bounds[-1] == pytest.approx(2)


def test_every_seventh_trial_is_a_step_of_a_local_search_or_its_new_beginning():
    """It goes to a neighbour of the best tower of its descent, and begins anew when all of those were tried."""
    spec, loss = _spec(depth=3), rough_loss(BLOCKS, 3)

    def short(plan):
        return loss(make_plan(1, (*plan.architecture, *plan.architecture)))

    history = run_study(make_planner(spec), 62, short)
    grammar, current, begun, stepped = Grammar.of(spec), None, 0, 0
    for number in range(14, 63, 7):
        trial = history.get(number)
        neighbours = [] if current is None else grammar.neighbours(current.plan.architecture)
        earlier = {history.get(i).plan.architecture for i in range(1, number)}
        if set(neighbours) <= earlier:
            assert trial.plan.parent is None
            current, begun = trial, begun + 1
            continue
        assert trial.plan.parent == current.id and trial.plan.architecture in neighbours
        stepped += 1
        if trial.objective("loss") < current.objective("loss"):
            current = trial
    assert begun >= 2 and stepped >= 2


def test_the_first_trials_of_towers_of_one_length_are_a_baseline():
    history = run_study(make_planner(_spec(), sampler="auto"), 12, rough_loss(BLOCKS, 2))
    assert [trial.id for trial in sorted(history.completed, key=lambda t: t.id) if trial.plan.random] == [1, 2, 3, 4, 5]
    assert not any(
        t.plan.random for t in run_study(make_planner(_spec(version=1)), 12, rough_loss(BLOCKS, 2)).completed
    )
