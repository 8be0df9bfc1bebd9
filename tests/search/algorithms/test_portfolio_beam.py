"""What version 3 of the guided beam adds: plain steps from the best trials; and that studies keep their version."""

import numpy as np
import pytest
from search_factory import completed, make_plan, make_planner, make_spec, rough_loss, run_study

from model_search.errors import SpecError
from model_search.search.algorithms.guided_beam import GuidedBeam
from model_search.search.algorithms.portfolio_beam import LEAST_STEPS, NAME, STALLED, STEPS_FROM, PortfolioBeam
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.algorithms.robust_beam import RobustBeam
from model_search.search.history.history import History
from model_search.search.predictor.additive_gaussian_process import Prediction
from model_search.search.predictor.predictor import Predictor
from model_search.search.space.edit_distance import encode, levenshtein
from model_search.spec.searches import with_version

BLOCKS = ("FULLY_CONNECTED", "IDENTITY", "BOTTLENECK_32", "LOWRANK_1")


def _spec(depth=6, search=NAME, version=3, most_steps=None):
    """Towers of one length, whose hyperparameters have one value only."""
    lengths = {"minimum_depth": depth, "maximum_depth": depth}
    spec = make_spec(search, blocks_to_use=BLOCKS, learning={"optimizers": ["adam"]}, **lengths)
    spec.learning_spec.learning_rate_range.add(minimum=1e-3, maximum=1e-3)
    if version is not None:
        spec.search_settings.hparam["version"].int64_value = version
    if most_steps is not None:
        spec.search_settings.hparam["most_steps"].float_value = most_steps
    return spec


def test_a_spec_names_the_version():
    assert type(make_algorithm(_spec(version=3))) is PortfolioBeam
    assert type(make_algorithm(_spec(version=2))) is RobustBeam
    assert type(make_algorithm(_spec(version=1))) is GuidedBeam


def test_a_study_keeps_the_version_that_it_began_with_unless_another_is_asked_for():
    def version(spec):
        return spec.search_settings.hparam["version"].int64_value

    given = _spec(version=None)
    assert [version(with_version(given, number)) for number in (1, 2)] == [1, 2]
    assert version(with_version(_spec(version=2), 1)) == 2
    assert "version" not in given.search_settings.hparam
    other = make_spec("LOCAL_SEARCH")
    assert with_version(other, 1) == other


def _history(losses, depth=6):
    """Trials of different towers with these losses."""
    history = History("loss", "minimize")
    for number, loss in enumerate(losses):
        tower = [BLOCKS[number // 4**place % 4] for place in range(depth)]
        history.update([completed(number + 1, loss, make_plan(number + 1, tower))])
    return history


def _edits(one, other):
    numbers = {name: number for number, name in enumerate(BLOCKS)}
    return levenshtein(*(encode([tower], numbers) for tower in (one, other)))[0, 0]


def test_steps_grow_with_the_trials_that_were_no_better():
    algorithm = make_algorithm(_spec(most_steps=0.4))
    shares = [algorithm._share_of_steps(_history([1.0] + [2.0] * later)) for later in (5, 20, 30, STALLED, 90)]
    assert shares[0] == 0
    assert shares[1:] == sorted(shares[1:])
    assert LEAST_STEPS < shares[1] < shares[2] < shares[3] == shares[4] == pytest.approx(0.4)
    assert algorithm._share_of_steps(_history([2.0] * 60 + [1.0])) == pytest.approx(LEAST_STEPS)


def test_steps_are_rare_where_neighbours_are_too_many_to_be_tried():
    losses = [1.0] + [2.0] * 50
    few, many = make_algorithm(_spec(most_steps=1.0)), make_algorithm(_spec(depth=30, most_steps=1.0))
    assert few._share_of_steps(_history(losses)) == 1
    assert many._share_of_steps(_history(losses, depth=30)) == pytest.approx(LEAST_STEPS + 0.85 * 50 / 90)


def test_only_the_expected_improvement_counts_where_nothing_was_better_for_long():
    algorithm, expected = make_algorithm(_spec()), Prediction(np.array([1.0, -3.0]), np.array([1e-9, 3.9]))

    def prefers_the_bound(later):
        history = _history([1.0] + [2.0] * later)
        scores = algorithm._acquisition(history, Predictor(history, algorithm.grammar))(expected)
        return scores[0] > scores[1]  # what is certain and good, not what may be the best

    assert {prefers_the_bound(later) for later in range(5, 15)} == {True, False}
    assert {prefers_the_bound(later) for later in range(STALLED, STALLED + 10)} == {False}


def test_as_many_proposals_are_steps_as_their_share_says():
    """Only a step leaves from one of the best ten where the predictor has a reason to go elsewhere."""
    asked = make_algorithm(_spec(most_steps=1.0)), make_algorithm(_spec(most_steps=0.0))
    history, steps = _history([1.0] + [2.0] * STALLED), []
    for algorithm in asked:
        seen = []
        algorithm._step = lambda *given, seen=seen: seen.append(1) or RobustBeam._local_step(asked[1], *given)
        algorithm.propose(history, np.random.default_rng(0))
        steps.append(len(seen))
    assert steps == [1, 0]


def test_a_step_goes_to_an_untried_neighbour_of_one_of_the_best_and_mostly_of_the_best():
    algorithm, history = make_algorithm(_spec()), _history(list(np.arange(40.0)))
    steps = [algorithm._step(history, np.random.default_rng(seed)) for seed in range(60)]
    tried = {trial.plan.architecture for trial in history.completed}
    for step in steps:
        assert _edits(history.get(step.parent).plan.architecture, step.architecture) == 1
        assert step.architecture not in tried
    parents = [step.parent for step in steps]
    assert 32 <= parents.count(1) <= 52 and 4 <= parents.count(2) <= 24


@pytest.mark.parametrize("depths", [(5, 5), (1, 5)], ids=["one length", "free length"])
def test_steps_leave_a_local_optimum_and_what_is_near_it(depths):
    """All neighbours of the best were tried. Of the others, two that are within two edits of it are the next best."""
    spec = _spec()
    spec.minimum_depth, spec.maximum_depth = depths
    algorithm, (one, other) = make_algorithm(spec), BLOCKS[:2]
    best, near, far = (one,) * 5, [(other, other, one, one, one), (one, one, one, other, other)], (other,) * 5
    towers = [best, *near, far, *algorithm.grammar.neighbours(best)]
    history = History("loss", "minimize")
    history.update(completed(i, float(min(i, 5)), make_plan(i, tower)) for i, tower in enumerate(towers, start=1))
    history.update(  # the greatest depth is allowed by now
        completed(i, 9.0, make_plan(i, far)) for i in range(len(towers) + 1, len(towers) + 20)
    )
    steps = [algorithm._step(history, np.random.default_rng(seed)) for seed in range(20)]
    assert {step.parent for step in steps} <= {4, *range(len(towers) + 1, len(towers) + 20)}
    assert all(_edits(far, step.architecture) <= 2 and step.architecture not in towers for step in steps)


def test_a_step_begins_anew_where_everything_near_the_best_was_tried():
    algorithm = make_algorithm(_spec(depth=2))
    everything = _history(list(np.arange(16.0)), depth=2)
    assert algorithm._step(everything, np.random.default_rng(0)).parent is None


def test_what_fails_is_no_step():
    planner = make_planner(_spec(depth=3, most_steps=1.0))
    history = run_study(planner, 24, lambda plan: None if "LOWRANK_1" in plan.architecture else 1.0 + plan.trial_id)
    assert history.failures.blocks == {"LOWRANK_1"}
    steps = [planner._make.algorithm._step(history, np.random.default_rng(seed)) for seed in range(30)]
    assert all("LOWRANK_1" not in step.architecture for step in steps if step.parent is not None)


def test_its_setting_is_checked():
    with pytest.raises(SpecError, match=r"most_steps is 1\.5; expected at least 0 and at most 1"):
        make_algorithm(_spec(most_steps=1.5))


def test_the_first_trials_are_no_steps():
    history = run_study(make_planner(_spec(most_steps=1.0), sampler="auto"), STEPS_FROM - 1, rough_loss(BLOCKS, 2))
    algorithm = make_algorithm(_spec(most_steps=1.0))
    assert algorithm._share_of_steps(history.before(STEPS_FROM - 1)) == 0
    assert algorithm._share_of_steps(history) >= LEAST_STEPS


def test_it_is_no_worse_than_local_search_where_much_interacts_and_few_are_far_off():
    def best(search, seed):
        planner = make_planner(_spec(search=search), seed, sampler="auto")
        return run_study(planner, 60, rough_loss(BLOCKS, seed)).best(1)[0].objective("loss")

    differences = [best(NAME, seed) - best("LOCAL_SEARCH", seed) for seed in range(6)]
    assert np.mean(differences) < 0.1
