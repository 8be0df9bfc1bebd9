import dataclasses

import numpy as np
import pytest
from search_factory import completed, make_plan, make_planner, make_spec, run_study, running

from model_search.errors import SpecError
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.algorithms.reinforce.controller import Batch, Controller, probabilities
from model_search.search.algorithms.reinforce.learning import Learnt
from model_search.search.history.history import History

BLOCKS = ("FULLY_CONNECTED", "IDENTITY", "BOTTLENECK_32", "LOWRANK_1")


def _batch():
    """Two sequences of three tokens and of one token, with places where not everything is possible."""
    tokens = np.array([[1, 2, 3], [3, 0, 0]])
    possible = np.zeros((2, 3, 4), dtype=bool)
    possible[0, :, 1:] = True
    possible[0, 1, 3] = False
    possible[1, 0, 1:] = True
    return Batch(tokens, possible, np.array([0.7, -0.4]))


def _gain(controller, batch, entropy_weight):
    """What `learn` climbs."""
    rows, length = batch.tokens.shape
    state, before, gain = controller.begin(rows), np.zeros(rows, dtype=np.int64), 0.0
    for t in range(length):
        logits, step = controller.step(before, state)
        drawn = probabilities(logits, batch.possible[:, t])
        for row in np.flatnonzero(batch.possible[:, t].any(axis=1)):
            shares = drawn[row][batch.possible[row, t]]
            gain += batch.advantages[row] * np.log(drawn[row, batch.tokens[row, t]])
            gain -= entropy_weight * (shares * np.log(shares)).sum()
        state, before = (step[0], step[1]), batch.tokens[:, t]
    return gain / rows


@pytest.mark.parametrize("name", ["embedding", "recurrent", "bias", "output", "output_bias"])
def test_the_gradient_is_that_of_finite_differences(name):
    rng = np.random.default_rng(0)
    controller, batch, weight = Controller.make(4, 3, rng), _batch(), 0.3
    controller.weights = {key: rng.normal(size=value.shape) for key, value in controller.weights.items()}
    seen = controller.gradient(batch, weight)
    for place in np.ndindex(controller.weights[name].shape):
        gains = []
        for sign in (1, -1):
            moved = controller.copy()
            moved.weights[name][place] += sign * 1e-6
            gains.append(_gain(moved, batch, weight))
        assert seen[name][place] == pytest.approx((gains[0] - gains[1]) / 2e-6, abs=1e-7)


def test_what_was_better_than_expected_becomes_more_probable():
    controller = Controller.make(4, 8, np.random.default_rng(0))
    before = _gain(controller, _batch(), 0.0)
    for _ in range(20):
        controller.learn(_batch(), 0.0, 0.01)
    assert _gain(controller, _batch(), 0.0) > before


def test_entropy_alone_makes_draws_uniform():
    controller = Controller.make(4, 8, np.random.default_rng(0))
    controller.weights["output_bias"] += np.array([0.0, 3.0, 0.0, 0.0])
    batch = dataclasses.replace(_batch(), advantages=np.zeros(2))
    for _ in range(300):
        controller.learn(batch, 1.0, 0.05)
    logits, _ = controller.step(np.array([0]), controller.begin())
    assert probabilities(logits[0], np.array([False, True, True, True])) == pytest.approx(
        [0, 1 / 3, 1 / 3, 1 / 3], abs=0.01
    )


def test_a_copy_learns_by_itself():
    controller = Controller.make(4, 3, np.random.default_rng(0))
    weights = {name: value.copy() for name, value in controller.weights.items()}
    controller.copy().learn(_batch(), 0.1, 0.1)
    assert all((controller.weights[name] == weights[name]).all() for name in weights)


@pytest.mark.parametrize(
    ("shape", "rewards"),
    [("RANK", [0.5, 1.0, 0.0, 1 / 3]), ("CUBE", [0.125, 1.0, 0.0, 1 / 27]), ("STANDARDIZED", [0.0, 0.0, -3.0, 0.0])],
)
def test_rewards(shape, rewards):
    learnt = Learnt(Controller.make(3, 2, np.random.default_rng(0)))
    given = [learnt.reward(loss, shape) for loss in (2.0, 1.0, 3.0, 2.0)]
    assert given[1:] == pytest.approx(rewards[1:])


def _spec(**fields):
    return make_spec("REINFORCE", blocks_to_use=BLOCKS, minimum_depth=5, maximum_depth=5, **fields)


def _missing(plan):
    return 5.0 - sum(name == "LOWRANK_1" for name in plan.architecture)


@pytest.mark.parametrize("reward", [0, 1, 2])
def test_the_controller_learns_to_draw_better_towers(reward):
    history = run_study(make_planner(_spec(reinforce={"reward": reward})), 200, _missing)
    losses = [history.get(i).objective("loss") for i in range(1, 201)]
    assert np.mean(losses[:50]) - np.mean(losses[100:]) > 0.5


def test_a_fresh_process_comes_to_the_same_controller():
    spec = _spec()
    algorithm = make_algorithm(spec)
    history = History("loss", "minimize")
    rng = np.random.default_rng(0)
    for trial_id in range(1, 43):
        plan = make_plan(trial_id, [BLOCKS[i] for i in rng.integers(4, size=5)])
        known = algorithm.propose(history, np.random.default_rng(trial_id))
        assert known == make_algorithm(spec).propose(history, np.random.default_rng(trial_id))
        history.update([completed(trial_id, _missing(plan), plan)])


def test_replicas_learn_from_gradients_at_the_weights_that_they_drew_with():
    """Two batches of two replicas that were drawn from the beginning: the second gradient is that of the beginning."""
    fields = {"replicas": 2, "update_every": 2, "entropy_weight": 0.0}
    algorithm, history = make_algorithm(_spec(reinforce=fields)), History("loss", "minimize")
    rng = np.random.default_rng(0)
    plans = [make_plan(i, [BLOCKS[k] for k in rng.integers(4, size=5)]) for i in range(1, 5)]
    history.update([running(1, plans[0]), running(2, plans[1])])
    history.update(completed(plan.trial_id, _missing(plan), plan) for plan in plans[2:])  # the second replica is first
    algorithm.propose(history, np.random.default_rng(0))
    first = algorithm._learnt
    assert first.marks == [(1, ((3, _missing(plans[2])), (4, _missing(plans[3]))))]
    assert list(first.fetched) == [1]
    for number, plan in enumerate(plans[:2], start=1):
        history.update([dataclasses.replace(completed(number, _missing(plan), plan), revision=10 + number)])
    algorithm.propose(history, np.random.default_rng(0))
    learnt = algorithm._learnt
    assert [replica for replica, _ in learnt.marks] == [1, 0]
    by_hand, again = first.controller.copy(), first.copy()
    rewards = [again.reward(_missing(plan), "STANDARDIZED") for plan in plans[:2]]
    batch = algorithm.batch([plan.architecture for plan in plans[:2]], np.array(rewards) - again.baseline)
    by_hand.ascend(first.beginning.gradient(batch, 0.0), algorithm.learning_rate)
    for name, weights in by_hand.weights.items():
        np.testing.assert_array_equal(learnt.controller.weights[name], weights)
        np.testing.assert_array_equal(learnt.fetched[1].weights[name], first.controller.weights[name])


@pytest.mark.parametrize("fields", [{"replicas": 3}, {"memory_weight": 0.02}])
def test_with_replicas_or_memory_it_still_learns_and_a_fresh_process_comes_to_the_same(fields):
    spec = _spec(reinforce=fields)
    history = run_study(make_planner(spec), 120, _missing)
    losses = [history.get(i).objective("loss") for i in range(1, 121)]
    assert np.mean(losses[:40]) - np.mean(losses[80:]) > 0.4
    one, other = (make_algorithm(spec) for _ in range(2))
    half = History("loss", "minimize")
    half.update(history.get(i) for i in range(1, 61))
    one.propose(half, np.random.default_rng(0))
    assert one.propose(history, np.random.default_rng(5)) == other.propose(history, np.random.default_rng(5))


def test_memory_makes_what_was_tried_more_probable():
    found = {}
    for weight in (0.0, 1.0):
        algorithm, history = make_algorithm(_spec(reinforce={"memory_weight": weight})), History("loss", "minimize")
        rng = np.random.default_rng(0)
        plans = [make_plan(i, [BLOCKS[k] for k in rng.integers(2, size=5)]) for i in range(1, 41)]
        history.update(completed(plan.trial_id, 1.0, plan) for plan in plans)
        found[weight] = algorithm.log_probabilities(history, [plan.architecture for plan in plans]).mean()
    assert found[1.0] > found[0.0] + 1


def test_the_probabilities_of_all_towers_are_one_in_all():
    algorithm, history = make_algorithm(_spec()), History("loss", "minimize")
    towers = list(algorithm.grammar.enumerate(5))
    assert np.exp(algorithm.log_probabilities(history, towers)).sum() == pytest.approx(1)


def test_another_history_is_learnt_from_the_beginning():
    algorithm, histories = make_algorithm(_spec()), []
    for seed in (0, 1):
        rng, history = np.random.default_rng(seed), History("loss", "minimize")
        plans = [make_plan(i, [BLOCKS[k] for k in rng.integers(4, size=5)]) for i in range(1, 21)]
        history.update(completed(plan.trial_id, _missing(plan), plan) for plan in plans)
        histories.append(history)
    for history in (*histories, *histories):
        fresh = make_algorithm(_spec()).propose(history, np.random.default_rng(5))
        assert algorithm.propose(history, np.random.default_rng(5)) == fresh


def test_only_the_latest_windows_are_learnt_from(monkeypatch):
    monkeypatch.setattr("model_search.search.algorithms.reinforce.search._WINDOW", 20)
    algorithm, history = make_algorithm(_spec()), History("loss", "minimize")
    plans = [make_plan(i, ("IDENTITY",) * 5) for i in range(1, 71)]
    history.update(completed(plan.trial_id, 1.0, plan) for plan in plans)
    algorithm.propose(history, np.random.default_rng(0))
    learnt = [trial_id for _, trials in algorithm._learnt.marks for trial_id, _ in trials]
    assert learnt == list(range(41, 71))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"entropy_weight": -1.0}, "entropy_weight is -1"),
        ({"controller_learning_rate": 0.0}, "controller_learning_rate is 0"),
        ({"hidden_units": 0}, "hidden_units is 0"),
        ({"replicas": 0}, "replicas is 0"),
        ({"memory_weight": -1.0}, "memory_weight is -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(SpecError, match=words):
        make_algorithm(make_spec("REINFORCE", reinforce=settings))
