"""Greedy selection on known cases, for every kind of objective."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.data.task import Task, TaskKind
from model_search.errors import UserError
from model_search.finish.calibration import log_loss
from model_search.finish.ensemble_selection import (
    LabelledRows,
    Selection,
    SelectionSettings,
    ensemble_logits,
    paired_gain,
    select,
)
from model_search.finish.selection_objectives import make_objective
from model_search.training.metrics import ResolvedMetric, compute_metric

CLASSES = Task(TaskKind.CLASSIFICATION, "y", 3)
NUMBERS = Task(TaskKind.REGRESSION, "y", 2)
QUICK = SelectionSettings(bags=4, steps=8, splits=2, split_bags=2)


def noisy_classes(rows=300, models=6, noise=2.0, seed=0):
    """Models whose errors are independent of each other, each right more often than not."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=rows).astype(np.int32)
    truth = 2.0 * np.eye(3)[labels]
    return [(truth + rng.normal(scale=noise, size=truth.shape)).astype(np.float32) for _ in range(models)], labels


def mixed(found, candidates, task):
    places = list(found.weights)
    return ensemble_logits(
        task,
        [candidates[place] for place in places],
        [found.weights[place] for place in places],
    )


def test_selection_loads_no_tensorflow():
    code = "import sys, model_search.finish.ensemble_selection; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "keras", "pandas", "scipy"} & set(loaded)


def test_models_that_err_independently_make_a_better_ensemble_on_rows_not_seen():
    candidates, labels = noisy_classes(rows=1200)
    seen = [logits[:600] for logits in candidates]
    found = select(seen, LabelledRows(CLASSES, labels[:600]), settings=QUICK)
    assert found.beats_single
    assert found.gain > 2 * found.gain_error
    assert sum(found.weights.values()) == pytest.approx(1)
    assert list(found.weights.values()) == sorted(found.weights.values(), reverse=True)
    unseen = [logits[600:] for logits in candidates]
    single = min(log_loss(logits, labels[600:]) for logits in unseen)
    assert log_loss(mixed(found, unseen, CLASSES), labels[600:]) < 0.9 * single


def test_what_was_chosen_on_some_rows_is_compared_on_others():
    """Of random answers some look good on the rows that they are chosen on, ensembles most of all; none is better."""
    greedy = SelectionSettings(bags=1, share=1.0, steps=40, patience=40, splits=2, split_bags=1, prior_rows=0)
    gains = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        labels = rng.integers(2, size=100).astype(np.int32)
        candidates = [rng.normal(size=(100, 2)).astype(np.float32) for _ in range(40)]
        rows = LabelledRows(Task(TaskKind.CLASSIFICATION, "y", 2), labels)
        gains.append(select(candidates, rows, ResolvedMetric("accuracy", "maximize"), greedy, seed).gain)
    assert abs(np.mean(gains)) < 0.05  # chosen and compared on the same rows it is about 0.08


@pytest.mark.parametrize(
    ("weights", "gain", "better"),
    [({0: 0.5, 1: 0.5}, 0.1, True), ({0: 0.5, 1: 0.5}, 0.0, False), ({0: 1.0}, 0.1, False)],
)
def test_an_ensemble_is_better_by_its_gain(weights, gain, better):
    assert Selection(weights, 0, gain, 0.0).beats_single is better


@pytest.mark.parametrize(
    ("gain", "loss_gain", "better"),
    [(-0.01, 0.02, True), (-0.03, 0.02, False), (-0.01, -0.01, False), (0.01, -0.01, True), (-0.01, None, False)],
)
def test_the_log_loss_settles_what_is_within_noise(gain, loss_gain, better):
    assert Selection({0: 0.5, 1: 0.5}, 0, gain, 0.0, loss_gain, noise=0.02).beats_single is better


def test_the_log_loss_is_asked_of_decisions_alone():
    candidates, labels = noisy_classes()
    rows = LabelledRows(CLASSES, labels)
    found = select(candidates, rows, ResolvedMetric("accuracy", "maximize"), QUICK)
    by_loss = select(candidates, rows, settings=QUICK)
    assert found.loss_gain == pytest.approx(by_loss.gain, abs=0.15)
    assert (by_loss.loss_gain, by_loss.noise) == (None, 0)


def test_the_noise_is_that_of_the_rows():
    errors = []
    for rows in (300, 4800):
        candidates, labels = noisy_classes(rows=rows)
        found = select(candidates, LabelledRows(CLASSES, labels), ResolvedMetric("accuracy", "maximize"), QUICK)
        errors.append(found.noise)
    assert 0.005 < errors[0] < 0.05
    assert errors[1] == pytest.approx(errors[0] / 4, rel=0.5)


def test_copies_of_one_model_gain_nothing():
    (candidate,), labels = noisy_classes(models=1)
    found = select([candidate] * 5, LabelledRows(CLASSES, labels), settings=QUICK)
    assert found.gain == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(np.exp(mixed(found, [candidate] * 5, CLASSES)).sum(axis=1), 1, atol=1e-5)


def test_a_model_beside_noise_stays_alone():
    candidates, labels = noisy_classes(models=1, noise=0.5)
    rng = np.random.default_rng(1)
    junk = [rng.normal(scale=8, size=candidates[0].shape).astype(np.float32) for _ in range(3)]
    found = select([*junk, *candidates], LabelledRows(CLASSES, labels))
    assert found.single == 3
    assert found.weights[3] > 0.95
    assert found.gain == pytest.approx(0, abs=0.02)


def test_one_candidate_is_an_ensemble_of_one_and_no_gain():
    (candidate,), labels = noisy_classes(models=1)
    found = select([candidate], LabelledRows(CLASSES, labels))
    assert found.weights == {0: 1.0}
    assert (found.single, found.gain, found.beats_single) == (0, 0.0, False)


def test_the_same_seed_gives_the_same_ensemble():
    candidates, labels = noisy_classes()
    rows = LabelledRows(CLASSES, labels)
    assert select(candidates, rows, settings=QUICK) == select(candidates, rows, settings=QUICK)


def test_only_the_best_candidates_take_part():
    candidates, labels = noisy_classes(models=3)
    worse = [logits * -1 for logits in candidates]
    kept = SelectionSettings(keep=3, bags=2, steps=4, splits=1, split_bags=1)
    found = select([*worse, *candidates], LabelledRows(CLASSES, labels), settings=kept)
    assert set(found.weights) <= {3, 4, 5}


def test_row_weights_decide():
    """Each of two models knows one half of the rows; only one half counts."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=200).astype(np.int32)
    right = 4.0 * np.eye(3, dtype=np.float32)[labels]
    first, second = right.copy(), right.copy()
    first[100:], second[:100] = -right[100:], -right[:100]
    weights = np.repeat([1.0, 0.0], 100).astype(np.float32)
    found = select([second, first], LabelledRows(CLASSES, labels, weights), settings=QUICK)
    assert found.single == 1
    assert found.weights[1] > 0.7


def test_numbers_are_averaged():
    rng = np.random.default_rng(0)
    labels = rng.normal(size=(400, 2)).astype(np.float32)
    candidates = [labels + rng.normal(size=labels.shape).astype(np.float32) for _ in range(5)]
    found = select(candidates, LabelledRows(NUMBERS, labels), settings=QUICK)
    assert found.beats_single
    errors = [np.square(one - labels).mean() for one in candidates]
    assert np.square(mixed(found, candidates, NUMBERS) - labels).mean() < 0.5 * min(errors)


def test_quantiles_are_selected_by_their_pinball_loss():
    """Two members that err to opposite sides are better together than a third one that is better by itself."""
    rng = np.random.default_rng(0)
    task = Task(TaskKind.REGRESSION, "y", 2, quantiles=(0.25, 0.75))
    labels = rng.normal(size=(400, 1)).astype(np.float32)
    ideal = np.tile(np.float32([-0.6745, 0.6745]), (400, 1))
    candidates = [ideal - 1, ideal + 1, ideal[:, ::-1] + np.float32(0.8), ideal + 3]
    objective, costly = make_objective(task, ResolvedMetric("pinball", "minimize"))
    assert not costly
    for one in candidates:
        objective.add(one, labels, None)
    objective.ready()
    rows = np.arange(400)
    singles = objective.singles(rows)
    assert singles.argmin() == 2  # in another order, which makes no difference
    np.testing.assert_allclose(singles, [objective.single(one, labels, None) for one in candidates], rtol=1e-5)
    counts = objective.greedy(np.arange(4), np.concatenate([rows, rows[:5]]), 8, 8)
    assert counts[3] == 0
    assert objective.score(counts / counts.sum(), rows) < singles.min() - 0.05


def test_of_logarithms_the_loss_and_the_error_of_numbers_are_two_objectives():
    """The first candidate has the smaller errors of logarithms, the second one those of numbers."""
    task = Task(TaskKind.REGRESSION, "y", 1, target_scale=3.0, log_target=True)
    labels = np.float32([[0], [0], [0], [2]])
    candidates = [labels + np.float32([[0], [0], [0], [0.5]]), labels + np.float32([[1], [1], [1], [0]])]
    for name, best in (("loss", 0), ("rmse", 1), ("mae", 1)):
        objective, costly = make_objective(task, ResolvedMetric(name, "minimize"))
        for one in candidates:
            objective.add(one, labels, None)
        objective.ready()
        singles = objective.singles(np.arange(4))
        assert costly == (name != "loss")
        assert singles.argmin() == best
        known = [compute_metric(name, task, labels, one) for one in candidates]
        np.testing.assert_allclose(singles, known, rtol=1e-5)


@pytest.mark.parametrize("name", ["accuracy", "auc", "f1"])
def test_any_metric_can_be_what_counts(name):
    candidates, labels = noisy_classes()
    found = select(candidates, LabelledRows(CLASSES, labels), ResolvedMetric(name, "maximize"), QUICK)
    assert len(found.weights) > 1
    assert found.gain > 0


def test_a_users_own_metric_is_asked_for_probabilities():
    candidates, labels = noisy_classes(rows=80, models=3)
    seen = []

    def hits(truth, probabilities):
        seen.append(probabilities.sum(axis=1))
        return float((probabilities.argmax(axis=1) == truth).mean())

    found = select(candidates, LabelledRows(CLASSES, labels), ResolvedMetric("hits", "maximize", hits), QUICK)
    assert found.weights
    np.testing.assert_allclose(np.concatenate(seen), 1, atol=1e-4)


def strict(truth, probabilities):
    """Needs every class, and warns where one is rare."""
    if len(np.unique(truth)) < 2:
        raise ValueError("one class only")
    if truth.sum() < 3:
        warnings.warn("rare", stacklevel=1)
    return float(probabilities[truth == 1, 1].mean() - probabilities[truth == 0, 1].mean())


@pytest.mark.parametrize("metric", [ResolvedMetric("auc", "maximize"), ResolvedMetric("strict", "maximize", strict)])
@pytest.mark.parametrize("rare", [1, 2, 3])
def test_halves_and_draws_without_a_class_tell_nothing(metric, rare):
    labels = np.zeros(40, np.int32)
    labels[:rare] = 1
    rng = np.random.default_rng(0)
    candidates = [np.eye(2, dtype=np.float32)[labels] + rng.normal(size=[40, 2]).astype(np.float32) for _ in range(4)]
    rows = LabelledRows.of(Task(TaskKind.CLASSIFICATION, "y", 2), labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = select(candidates, rows, metric, QUICK)
        gain = paired_gain(rows, metric, candidates[0], candidates[1], seed=1)
    assert np.isfinite(
        [found.gain, found.gain_error, found.noise, *found.weights.values(), gain.gain, gain.error]
    ).all()
    assert (found.gain, found.gain_error) == (0, 0) or rare > 1


def test_ties_of_a_metric_are_broken_by_the_log_loss():
    labels = np.array([0, 1, 2] * 20, np.int32)
    sure = 6.0 * np.eye(3, dtype=np.float32)[labels]
    wavering = 0.5 * sure
    objective, costly = make_objective(CLASSES, ResolvedMetric("accuracy", "maximize"))
    for logits in (wavering, sure):
        objective.add(logits, labels, None)
    objective.ready()
    assert costly
    assert objective.greedy(np.arange(2), np.arange(60), 1, 1).tolist() == [0, 1]


def test_log_loss_takes_part_where_a_metric_sees_decisions_alone():
    """One row more that is right by luck does not make up for probabilities that are far off."""
    labels = np.random.default_rng(0).integers(3, size=100).astype(np.int32)
    honest = 3 * np.eye(3, dtype=np.float32)[labels]
    honest[:20] = honest[:20, [1, 2, 0]]
    lucky = 30 * np.eye(3, dtype=np.float32)[labels]
    lucky[:19] = lucky[:19, [1, 2, 0]]
    chosen = {}
    for guided in (0.0, 0.3):
        objective, _ = make_objective(CLASSES, ResolvedMetric("accuracy", "maximize"), guided)
        for logits in (honest, lucky):
            objective.add(logits, labels, None)
        objective.ready()
        chosen[guided] = int(objective.greedy(np.arange(2), np.arange(100), 1, 1).argmax())
        np.testing.assert_allclose(objective.singles(np.arange(100)), [-0.8, -0.81], atol=1e-6)  # the metric alone
    assert chosen == {0.0: 1, 0.3: 0}
    auc, _ = make_objective(CLASSES, ResolvedMetric("auc", "maximize"), 0.3)
    assert auc.single(honest, labels, None) == pytest.approx(-compute_metric("auc", CLASSES, labels, honest), abs=1e-6)


def test_the_worst_goal_is_not_taken_for_the_best():
    candidates, labels = noisy_classes(models=3)
    found = select(candidates, LabelledRows(CLASSES, labels), ResolvedMetric("loss", "maximize"), QUICK)
    losses = [log_loss(logits, labels) for logits in candidates]
    assert found.single == int(np.argmax(losses))


def test_labels_of_every_step_of_a_sequence():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=(60, 4)).astype(np.int32)
    truth = 2.0 * np.eye(3)[labels]
    candidates = [(truth + rng.normal(scale=2, size=truth.shape)).astype(np.float32) for _ in range(4)]
    rows = LabelledRows.of(CLASSES, labels)
    flat = [rows.logits(candidate) for candidate in candidates]
    found = select(flat, rows, settings=QUICK)
    assert rows.by_row(mixed(found, flat, CLASSES)).shape == (60, 4, 3)
    assert found.beats_single


def test_nothing_to_select_from_is_said():
    with pytest.raises(UserError, match="received 0 candidates"):
        select([], LabelledRows(CLASSES, np.zeros(3, np.int32)))
    with pytest.raises(UserError, match="0 rows"):
        select([np.zeros((0, 3), np.float32)], LabelledRows(CLASSES, np.zeros(0, np.int32)))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 12), st.integers(0, 2**32 - 1), st.booleans())
def test_weights_are_shares_whatever_the_logits(models, rows, seed, classes):
    rng = np.random.default_rng(seed)
    task = CLASSES if classes else NUMBERS
    scale = 10.0 ** rng.integers(-3, 4)
    candidates = [(scale * rng.normal(size=(rows, task.logits_dimension))).astype(np.float32) for _ in range(models)]
    labels = rng.integers(3, size=rows).astype(np.int32) if classes else rng.normal(size=(rows, 2)).astype(np.float32)
    weights = None if seed % 2 else rng.random(rows).astype(np.float32)
    found = select(candidates, LabelledRows(task, labels, weights), settings=QUICK)
    assert sum(found.weights.values()) == pytest.approx(1)
    assert min(found.weights.values()) > 0
    assert np.isfinite(found.gain)
    assert np.isfinite(mixed(found, candidates, task)).all()


def test_when_the_time_is_over_the_bags_and_splits_so_far_decide(monkeypatch):
    candidates, labels = noisy_classes()
    rows = LabelledRows(CLASSES, labels)
    kind, bags = type(make_objective(CLASSES, None)[0]), []
    greedy = kind.greedy

    def watched(self, *arguments):
        bags.append(arguments)
        return greedy(self, *arguments)

    monkeypatch.setattr(kind, "greedy", watched)
    select(candidates, rows, settings=QUICK)
    assert len(bags) == 4 + 2 * 2 * 2
    bags.clear()
    found = select(candidates, rows, settings=QUICK, is_late=lambda: True)
    assert len(bags) == 3  # one, and one for each half of one split
    assert sum(found.weights.values()) == pytest.approx(1)


@pytest.mark.parametrize("metric", [None, ResolvedMetric("accuracy", "maximize")])
def test_a_model_is_better_than_another_one_only_by_more_than_noise(metric):
    models, labels = noisy_classes(rows=600, models=2)
    rows = LabelledRows.of(CLASSES, labels)
    good = models[0] + np.float32(1.5) * np.eye(3, dtype=np.float32)[labels]
    found = paired_gain(rows, metric, good, models[0], seed=1)
    assert found.is_clear
    assert found.gain > 5 * found.error > 0
    assert not paired_gain(rows, metric, models[0], good, seed=1).is_clear
    assert paired_gain(rows, metric, models[0], good, seed=1).gain == pytest.approx(-found.gain)
    # Of two alike, one has the better figure on these rows, and that says nothing.
    first = paired_gain(rows, metric, models[0], models[1], seed=1)
    second = paired_gain(rows, metric, models[1], models[0], seed=1)
    assert max(first.gain, second.gain) > 0
    assert not first.is_clear
    assert not second.is_clear
    assert not paired_gain(rows, metric, good, good, seed=1).is_clear
    assert found == paired_gain(rows, metric, good, models[0], seed=1)
