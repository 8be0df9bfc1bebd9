"""The encoding of trials, the Gaussian processes on it, and the predictor of a history."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from search_factory import completed, make_plan, make_spec, make_trial, running

from model_search.metadata.trial import TrialState
from model_search.search.history.history import History
from model_search.search.predictor.additive_gaussian_process import GaussianProcesses, components
from model_search.search.predictor.encoding import Encoder
from model_search.search.predictor.predictor import MOST_TRIALS, Memory, Predictor, chosen, targets
from model_search.search.space.grammar import Grammar

BLOCKS = ("IDENTITY", "LOWRANK_1", "BOTTLENECK_32")


def _encoder(positions=4, one_length=False, hyperparameters=()):
    return Encoder(BLOCKS, positions, one_length, hyperparameters)


ARCHITECTURES = st.lists(st.lists(st.sampled_from(BLOCKS), max_size=4).map(tuple), min_size=1, max_size=12)


@given(ARCHITECTURES)
def test_every_covariance_is_symmetric_and_positive_semidefinite(architectures):
    encoder = _encoder()
    encoded = encoder.encode(architectures)
    similarity = encoder.compare(encoded, encoded)
    assert np.allclose(np.diag(similarity.match), 1)
    for component in components(similarity, 4, 2.0):
        assert np.allclose(component, component.T)
        assert np.linalg.eigvalsh(component).min() > -1e-9
    alone = components(encoder.alone(encoded), 4, 2.0)[:, :, 0]
    assert np.allclose(alone, np.einsum("kii->ki", components(similarity, 4, 2.0)))


@pytest.mark.parametrize("positions", [1, 4, 14])
def test_each_is_to_itself_as_alike_as_the_comparison_says(positions):
    encoder = Encoder(BLOCKS, positions, True, VALUES)
    encoded = encoder.encode([tuple(np.roll(BLOCKS * 5, i)[:positions]) for i in range(4)], VALUES)
    similarity = encoder.compare(encoded, encoded)
    assert len(encoder.shares) == len(similarity.parts)
    assert np.allclose(encoder.alone(encoded).parts[:, :, 0], np.einsum("kii->ki", similarity.parts))


def test_only_the_same_architecture_is_wholly_alike():
    architectures = [a for depth in range(4) for a in itertools.product(BLOCKS, repeat=depth)]
    encoder = _encoder()
    encoded = encoder.encode(architectures)
    match = encoder.compare(encoded, encoded).match
    assert (match[~np.eye(len(match), dtype=bool)] < 1).all()


def test_an_end_counts_as_much_as_a_beginning():
    encoder = _encoder()
    base, longer_behind, longer_in_front = (
        ("LOWRANK_1", "IDENTITY"),
        ("LOWRANK_1", "IDENTITY", "IDENTITY"),
        ("BOTTLENECK_32", "LOWRANK_1", "IDENTITY"),
    )
    one, others = encoder.encode([base]), encoder.encode([longer_behind, longer_in_front])
    match = encoder.compare(one, others).match[0]
    assert match.min() >= 0.5


VALUES = [
    {"optimizer": "adam", "learning_rate": 1e-4, "same": 1.0},
    {"optimizer": "adam", "learning_rate": 1e-3, "same": 1.0},
    {"optimizer": "momentum", "learning_rate": 1e-1, "same": 1.0, "momentum": 0.9},
    {"optimizer": "momentum", "learning_rate": 1e-1, "same": 1.0, "momentum": 0.8},
]


def test_hyperparameters_are_alike_by_their_own_scale():
    encoder = _encoder(hyperparameters=VALUES)
    encoded = encoder.encode([()] * 4, VALUES)
    hyper = encoder.compare(encoded, encoded).hyper
    assert np.allclose(np.diag(hyper), 1)
    assert hyper[0, 1] > hyper[0, 2]
    far = encoder.encode([()], [VALUES[2] | {"learning_rate": 1e9}])
    assert encoder.compare(far, encoded).hyper[0, 2] == pytest.approx(1)


def test_values_that_occur_often_are_compared_as_if_each_were_by_itself():
    rng = np.random.default_rng(0)
    values = [{"optimizer": "abc"[i % 3], "rate": 10 ** rng.uniform(-4, 0), "depth": i % 5} for i in range(30)]
    encoder = _encoder(hyperparameters=values)
    trials = encoder.encode([()] * 30, values)
    same, others = encoder.encode([()] * 3, values[:1] * 3), encoder.encode([()] * 3, [values[7], {}, values[9]])
    assert others.hyperparameters[1].tolist() == [0.5, 0, 0, 0, 0.5]  # a number that is not given lies half-way
    for few in (same, others, trials):
        compared = encoder.compare(few, trials)
        differences = few.hyperparameters[:, None] - trials.hyperparameters[None]
        squares = np.stack([(differences[..., columns] ** 2).sum(axis=-1) for columns in ([0], [1, 2, 3], [4])])
        assert np.allclose(compared.parts[-3:], np.exp(squares / (-2 * encoder.WIDTH**2)), rtol=1e-12)
        assert np.allclose(compared.hyper, np.exp(squares.mean(axis=0) / (-2 * encoder.WIDTH**2)), rtol=1e-12)


def test_hyperparameters_that_never_differ_do_not_count():
    encoder = _encoder(hyperparameters=VALUES[:1] * 3)
    encoded = encoder.encode([()] * 3, VALUES[:1] * 3)
    assert encoder.compare(encoded, encoded).hyper is None


def _processes(count=60, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    architectures = [tuple(rng.choice(BLOCKS, 4)) for _ in range(count + 30)]
    values = rng.standard_normal((4, 3))
    clean = np.array([sum(values[i, BLOCKS.index(b)] for i, b in enumerate(a)) for a in architectures])
    encoder = _encoder(one_length=True)
    encoded = encoder.encode(architectures)
    seen = encoded.rows(np.arange(count))
    processes = GaussianProcesses(encoder, seen, clean[:count] + noise * rng.standard_normal(count))
    return processes, encoded.rows(np.arange(count, count + 30)), clean[count:], clean[:count], seen


def test_additive_worlds_are_predicted_with_honest_uncertainty():
    processes, new, truth, _, _ = _processes()
    predicted = processes.predict(new)
    assert np.corrcoef(predicted.mean, truth)[0, 1] > 0.97
    assert (np.abs(predicted.mean - truth) < 3 * predicted.deviation + 0.05).mean() > 0.9


def test_noise_is_taken_out():
    processes, _, _, clean, seen = _processes(noise=0.7)
    mean = processes.predict(seen).mean
    noisy = mean - clean
    assert noisy.std() < 0.5


def test_each_is_predicted_from_the_others_as_if_it_had_been_left_out():
    processes, _, _, clean, _ = _processes(noise=0.7)
    assert 0.7 < np.corrcoef(processes.leave_one_out(), clean)[0, 1] < 1


def test_running_trials_leave_the_mean_and_take_away_uncertainty_near_them():
    processes, new, _, _, _ = _processes(count=8)
    alone, beside = processes.predict(new), processes.predict(new, running=new.rows(np.array([0])))
    assert np.allclose(alone.mean, beside.mean)
    assert (beside.deviation <= alone.deviation + 1e-9).all()
    assert beside.deviation[0] < 0.95 * alone.deviation[0]


def test_targets_keep_the_order_and_compress_the_bad():
    values = np.array([-1e6, 0.0, 1.0, 2.0, 3.0, 4.0])
    scaled = targets(values)
    assert (np.diff(scaled) > 0).all()
    assert scaled.mean() == pytest.approx(0)
    assert scaled[5] - scaled[2] > 0.1 * (scaled[2] - scaled[0])


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=30))
@example([733007751909.0] * 3 + [733007751909.0000001])
@example([0.1] * 10)
def test_targets_are_finite_whatever_comes(values):
    assert np.isfinite(targets(np.array(values))).all()


def _history(count, goal="minimize"):
    history, rng = History("loss", goal), np.random.default_rng(0)
    history.update(
        completed(i, float(rng.random()), make_plan(i, rng.choice(BLOCKS, 1 + i % 4))) for i in range(1, count + 1)
    )
    return history


def test_of_many_trials_the_best_and_the_latest_are_chosen():
    history = _history(2000)
    trials = chosen(history)
    assert len(trials) <= MOST_TRIALS
    assert trials[: MOST_TRIALS // 2] == history.best(MOST_TRIALS // 2)
    assert set(range(2001 - MOST_TRIALS // 4, 2001)) <= {trial.id for trial in trials}
    assert trials[-1] == history.completed[-1]


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_a_predictor_follows_the_goal(goal):
    predictor = Predictor(_history(30, goal), Grammar.of(make_spec(blocks_to_use=BLOCKS)))
    values = [item.trial.objective("loss") for item in predictor.tried]
    assert values == sorted(values, reverse=goal == "maximize")
    assert (np.diff(predictor.targets) <= 0).all()


def test_a_predictor_of_equal_results_expects_the_same_of_all():
    history = History("loss", "minimize")
    history.update(completed(i, 1.0, make_plan(i, ["IDENTITY"])) for i in range(1, 6))
    history.update([running(6, make_plan(6, ["LOWRANK_1"]))])
    predictor = Predictor(history, Grammar.of(make_spec(blocks_to_use=BLOCKS)))
    predicted = predictor.predict([("IDENTITY",), ("LOWRANK_1", "IDENTITY")])
    assert np.allclose(predicted.mean, 0)
    assert np.isfinite(predicted.deviation).all()
    assert predictor.skill == 0


NORMED = ("FULLY_CONNECTED_RESIDUAL_CONCAT_BATCHNORM", "FULLY_CONNECTED_RESIDUAL_PROJECT_BATCHNORM")
PLAIN = ("FULLY_CONNECTED_RESIDUAL_CONCAT", "FULLY_CONNECTED_RESIDUAL_PROJECT", "FIXED_OUTPUT_FULLY_CONNECTED_128")


def test_a_block_that_was_not_tried_is_expected_to_be_like_those_whose_names_share_words():
    """One of the two normed blocks is good; the other one, and a plain one, were not tried."""
    tried = [NORMED[0], PLAIN[0], PLAIN[2]]
    history = History("loss", "minimize")
    history.update(
        completed(i, -float(architecture.count(NORMED[0])), make_plan(i, architecture))
        for i, architecture in enumerate(itertools.product(tried, repeat=2), start=1)
    )
    grammar = Grammar.of(make_spec(blocks_to_use=(*NORMED, *PLAIN)))
    predictor = Predictor(history, grammar)
    normed, plain = predictor.predict([(NORMED[1],) * 2, (PLAIN[1],) * 2]).mean
    assert normed > plain + 0.2


def test_words_that_all_names_have_and_the_flatten_block_tell_nothing():
    for blocks in (("TABLE_0", "TABLE_1", "PLATE_REDUCTION_FLATTEN"), BLOCKS, NORMED[:1]):
        counts = Encoder(blocks, 3, False, ()).encode([blocks[:1]]).counts
        assert counts.shape == (1, len(blocks))


def test_what_is_remembered_is_made_again_after_a_trial_without_the_metric():
    history, memory, made = History("loss", "minimize"), Memory(), itertools.count()
    history.update([completed(1, 0.0)])
    assert [memory.recall(history, lambda: next(made)) for _ in range(2)] == [0, 0]
    history.update([make_trial(2, TrialState.COMPLETED, make_plan(2), accuracy=1.0)])
    assert history.completed_count == 1
    assert memory.recall(history, lambda: next(made)) == 1
