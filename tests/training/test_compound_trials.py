"""Ensembles and distillations, as the engine carries them out."""

import dataclasses

import numpy as np
import pytest
from engine_cases import DENSE, WITH_STATE, arrays, class_stream, class_table, number_table, plan, settings

from model_search.data.prepared_data import TableData
from model_search.errors import TrialError
from model_search.metadata.trial import (
    DISTILLATION_LOSSES,
    DistillationPlan,
    EnsemblePlan,
    TrialKind,
    TrialPlan,
)
from model_search.training.engine import Engine
from model_search.training.metrics import all_metrics
from model_search.training.outcome import FrozenTowers, Given, TrainedTower


def ensemble(members, *architecture, combining="average", residual=False, freeze=True, **others):
    made = plan(*(architecture or (DENSE,)), **others)
    return dataclasses.replace(
        made,
        trial_id=max(members) + 7,
        kind=TrialKind.ENSEMBLE,
        architecture=architecture,
        members=members,
        ensemble=EnsemblePlan(combining, residual, freeze),
    )


def student(teacher, *architecture, loss="cross_entropy", temperature=1.0, balance=1.0, **others):
    return dataclasses.replace(
        plan(*architecture, **others),
        trial_id=9,
        kind=TrialKind.DISTILLATION,
        teacher=teacher,
        distillation=DistillationPlan(loss, temperature, balance),
    )


class House:
    """Data, an engine that keeps training logits, and trained members."""

    def __init__(self, data, members=2, **own):
        self.data = data
        self.engine = Engine(data, settings(keep_train_logits=True, **own))
        plans = [plan(DENSE, WITH_STATE, seed=n, steps=40) for n in range(members)]
        self.outcomes = [self.engine.run(one) for one in plans]
        self.towers = tuple(TrainedTower(p, o.weights) for p, o in zip(plans, self.outcomes, strict=True))

    @property
    def frozen(self):
        valid = np.stack([o.valid_logits for o in self.outcomes])
        if isinstance(self.data, TableData):
            return FrozenTowers(valid, np.stack([o.train_logits for o in self.outcomes]))
        return FrozenTowers(valid, forward=self.engine.forward(self.towers))

    def forbid_forward(self, monkeypatch):
        monkeypatch.setattr(Engine, "forward", lambda *_: pytest.fail("a frozen tower was run"))


@pytest.fixture(scope="module")
def table():
    return House(class_table(classes=3))


@pytest.fixture(scope="module")
def stream():
    return House(class_stream())


@pytest.fixture(scope="module")
def numbers():
    return House(number_table(targets=2))


@pytest.fixture(params=["table", "stream", "numbers"])
def house(request):
    return request.getfixturevalue(request.param)


def test_training_logits_are_those_of_the_weights_handed_back(table):
    outcome = table.outcomes[0]
    again = table.engine.logits(table.towers[0].plan, outcome.weights, table.data.train.inputs)
    np.testing.assert_allclose(outcome.train_logits, again, atol=1e-5)
    assert Engine(table.data, settings()).run(plan(DENSE)).train_logits is None


def test_an_average_of_frozen_towers_is_numpy_alone(house, monkeypatch):
    frozen = FrozenTowers(house.frozen.valid)
    monkeypatch.setattr("model_search.training.trial_run.FlatTower", lambda *_: pytest.fail("a tower was built"))
    outcome = house.engine.run(ensemble((1, 2), steps=0), Given(frozen=frozen))
    expected = frozen.valid.mean(axis=0)
    np.testing.assert_array_equal(outcome.valid_logits, expected)
    assert outcome.metrics == all_metrics(house.data.task, house.data.valid.label, expected)
    assert (outcome.parameters, outcome.weights, outcome.mixture) == (0, {}, ())


def test_a_weighted_ensemble_of_frozen_towers_begins_as_their_average_and_learns(house):
    untrained = house.engine.run(ensemble((1, 2), combining="weighted", steps=0), Given(frozen=house.frozen))
    np.testing.assert_allclose(untrained.valid_logits, house.frozen.valid.mean(axis=0), atol=1e-5)
    plan_ = ensemble((1, 2), combining="weighted", steps=60, learning_rate=0.01)
    outcome = house.engine.run(plan_, Given(frozen=house.frozen))
    width = house.data.task.logits_dimension
    kernel, bias = outcome.mixture
    assert (kernel.shape, bias.shape) == ((2 * width, width), (width,))
    assert outcome.parameters == kernel.size + bias.size
    by_hand = np.concatenate(list(house.frozen.valid), axis=1) @ kernel + bias
    np.testing.assert_allclose(outcome.valid_logits, by_hand, atol=1e-4)
    assert not np.allclose(outcome.valid_logits, untrained.valid_logits)
    assert outcome.weights == {}


def test_an_adaptive_average_trains_its_tower_on_the_labels_alone(house, monkeypatch):
    alone = house.engine.run(plan(DENSE, steps=24))
    frozen = house.frozen
    house.forbid_forward(monkeypatch)
    outcome = house.engine.run(ensemble((1, 2), DENSE, steps=24), Given(frozen=frozen))
    own = outcome.tower_logits
    np.testing.assert_allclose(outcome.valid_logits, (frozen.valid.sum(axis=0) + own) / 3, atol=1e-5)
    if outcome.best_step == alone.best_step:
        np.testing.assert_array_equal(own, alone.valid_logits)
    assert list(outcome.weights) == list(alone.weights)


@pytest.mark.parametrize("combining", ["average", "weighted"])
@pytest.mark.parametrize("residual", [False, True])
def test_a_tower_among_frozen_ones(house, combining, residual):
    frozen = house.frozen
    made = ensemble((1, 2), WITH_STATE, combining=combining, residual=residual, steps=40)
    outcome = house.engine.run(made, Given(frozen=frozen))
    model = house.engine.build(made)
    model.set_weights(arrays(outcome))
    own = model(house.data.valid.inputs["features"]).numpy()
    np.testing.assert_allclose(outcome.tower_logits, own, atol=1e-4)
    sides = np.concatenate([*frozen.valid, own], axis=1)
    by_hand = (frozen.valid.sum(axis=0) + own) / 3
    if combining == "weighted":
        by_hand = sides @ outcome.mixture[0] + outcome.mixture[1]
    np.testing.assert_allclose(outcome.valid_logits, by_hand, atol=1e-3)
    assert outcome.metrics == all_metrics(house.data.task, house.data.valid.label, outcome.valid_logits)
    if isinstance(house.data, TableData):
        assert "frozen" not in outcome.timings
        trained = model(house.data.train.inputs["features"]).numpy()
        np.testing.assert_allclose(outcome.train_logits, trained, atol=1e-4)


def test_streams_tell_what_running_the_frozen_towers_cost(stream):
    made = ensemble((1, 2), DENSE, residual=True, steps=16)
    assert stream.engine.run(made, Given(frozen=stream.frozen)).timings["frozen"] > 0
    distilled = student((1, 2), DENSE, steps=16)
    assert stream.engine.run(distilled, Given(frozen=stream.frozen)).timings["frozen"] > 0


def test_a_residual_tower_hears_of_the_others(table):
    residual = table.engine.run(ensemble((1, 2), DENSE, residual=True, steps=16), Given(frozen=table.frozen))
    adaptive = table.engine.run(ensemble((1, 2), DENSE, steps=16), Given(frozen=table.frozen))
    assert not np.allclose(residual.tower_logits, adaptive.tower_logits)
    silent = dataclasses.replace(
        table.frozen, train=np.zeros_like(table.frozen.train), valid=np.zeros_like(table.frozen.valid)
    )
    other = table.engine.run(ensemble((1, 2), DENSE, residual=True, steps=16), Given(frozen=silent))
    assert not np.allclose(residual.tower_logits, other.tower_logits)


def test_the_gradient_of_an_adaptive_mixture_does_not_reach_the_tower(table):
    """The tower's own loss alone trains it: with plain steps it is the tower that is trained by itself."""
    made = {"steps": 1, "optimizer": "sgd", "learning_rate": 0.1}
    alone = table.engine.run(plan(DENSE, **made))
    beside = table.engine.run(ensemble((1, 2), DENSE, combining="weighted", **made), Given(frozen=table.frozen))
    for one, other in zip(arrays(alone), arrays(beside), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    residual = table.engine.run(
        ensemble((1, 2), DENSE, combining="weighted", residual=True, **made), Given(frozen=table.frozen)
    )
    assert not all(np.allclose(a, b) for a, b in zip(arrays(alone), arrays(residual), strict=True))


@pytest.mark.parametrize("combining", ["average", "weighted"])
@pytest.mark.parametrize("architecture", [(), (WITH_STATE,)])
def test_fine_tuning_trains_the_members(house, combining, architecture):
    made = ensemble((1, 2), *architecture, combining=combining, freeze=False, steps=24, learning_rate=0.003)
    outcome = house.engine.run(made, Given(members=house.towers))
    before = [array for tower in house.towers for array in arrays(tower)]
    after = arrays(outcome)[: len(before)]
    assert sum(not np.array_equal(a, b) for a, b in zip(before, after, strict=True)) >= len(before) // 2
    tower = TrainedTower(made, outcome.weights, outcome.mixture, house.towers)
    again = house.engine.forward([tower])(house.data.valid.inputs)[0]
    np.testing.assert_allclose(again, outcome.valid_logits, atol=1e-3)
    assert outcome.tower_logits is None
    if isinstance(house.data, TableData):
        assert outcome.train_logits.shape == (len(house.data.train), house.data.task.logits_dimension)


def test_a_fine_tuned_ensemble_can_be_fine_tuned_again(table):
    first = ensemble((1, 2), freeze=False, steps=8)
    outcome = table.engine.run(first, Given(members=table.towers))
    nested = TrainedTower(first, outcome.weights, outcome.mixture, table.towers)
    again = table.engine.run(ensemble((9,), DENSE, freeze=False, steps=0), Given(members=(nested,)))
    for one, other in zip(arrays(outcome), arrays(again), strict=False):
        np.testing.assert_array_equal(one, other)


def test_fine_tuning_without_an_own_tower_starts_from_the_members(table):
    outcome = table.engine.run(ensemble((1, 2), freeze=False, steps=0), Given(members=table.towers))
    np.testing.assert_allclose(outcome.valid_logits, table.frozen.valid.mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("loss", DISTILLATION_LOSSES)
def test_a_student_learns_from_its_teacher(house, loss):
    outcome = house.engine.run(student((1, 2), DENSE, loss=loss, steps=40), Given(frozen=house.frozen))
    alone = house.engine.run(plan(DENSE, steps=40))
    assert not np.allclose(outcome.valid_logits, alone.valid_logits)
    assert outcome.metrics == all_metrics(house.data.task, house.data.valid.label, outcome.valid_logits)


def test_a_student_of_mse_logits_comes_near_its_teacher(table):
    teacher = table.frozen.valid.mean(axis=0)
    outcome = table.engine.run(student((1, 2), DENSE, loss="mse_logits", steps=400), Given(frozen=table.frozen))
    alone = table.engine.run(plan(DENSE, steps=400))
    assert np.square(outcome.valid_logits - teacher).mean() < 0.5 * np.square(alone.valid_logits - teacher).mean()


def test_lambda_and_temperature_matter(table):
    def run(**how):
        return table.engine.run(student((1, 2), DENSE, steps=16, **how), Given(frozen=table.frozen)).valid_logits

    balanced = run(loss="balanced")
    assert not np.allclose(balanced, run(loss="balanced", balance=3.0))
    assert not np.allclose(balanced, run(loss="balanced", temperature=4.0))
    unheard = run(loss="balanced", balance=0.0)
    np.testing.assert_allclose(unheard, table.engine.run(plan(DENSE, steps=16)).valid_logits, atol=1e-5)


def test_distillation_losses_are_those_of_the_contract(table):
    """Against the formulas in NumPy, on one step of plain gradient descent from known logits."""
    from model_search.training.runtime import tensorflow
    from model_search.training.training_objectives import FROZEN, Batch, objective_of

    tf = tensorflow()
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 5, 3)).astype(np.float32)
    weights = np.array([0.5, 1.5, 1.0, 1.0, 1.0], np.float32)
    soft = np.exp(teacher / 2) / np.exp(teacher / 2).sum(axis=1, keepdims=True)
    log_student = student - np.log(np.exp(student).sum(axis=1, keepdims=True))
    expected = {
        "mse_logits": (weights * ((teacher - student) ** 2).mean(axis=1)).mean(),
        "mse_softmax": (weights * ((soft - student) ** 2).mean(axis=1)).mean(),
        "cross_entropy": (weights * -(soft * log_student).sum(axis=1)).mean(),
    }
    expected["balanced"] = 7.0 + 0.5 * expected["cross_entropy"]
    for loss, value in expected.items():
        made = student((1,), DENSE, loss=loss, temperature=2.0, balance=0.5)
        objective = objective_of(made, table.data.task.kind, lambda *_: tf.constant(7.0))
        batch = Batch({FROZEN: tf.constant(teacher)}, {"label": None}, {"label": tf.constant(weights)})
        found = objective.batch_loss(batch, tf.constant(student))
        assert float(found) == pytest.approx(float(value), rel=1e-5)


def test_a_student_may_start_from_weights(table):
    start = table.outcomes[0].weights
    made = student((1, 2), DENSE, WITH_STATE, steps=0)
    outcome = table.engine.run(made, Given(start, table.frozen))
    np.testing.assert_allclose(outcome.valid_logits, table.outcomes[0].valid_logits, atol=1e-5)


@pytest.mark.parametrize(
    "made",
    [
        ensemble((1, 2)),
        ensemble((1, 2), DENSE),
        ensemble((1, 2), combining="weighted"),
        ensemble((1, 2), freeze=False),
        student((1,), DENSE),
    ],
)
def test_without_what_it_needs_a_trial_fails_in_words(table, made: TrialPlan):
    with pytest.raises(TrialError, match="trial 9"):
        table.engine.run(made)


def test_row_weights_and_partial_evaluations_go_together_with_frozen_towers():
    house = House(class_table(rows=3000, weighted=True), eval_steps=5)
    made = ensemble((1, 2), DENSE, combining="weighted", residual=True, steps=24)
    outcome = house.engine.run(made, Given(frozen=house.frozen))
    assert outcome.valid_logits.shape == (1500, 2)
    average = house.engine.run(ensemble((1, 2), DENSE, steps=24), Given(frozen=house.frozen))
    expected = (house.frozen.valid.sum(axis=0) + average.tower_logits) / 3
    np.testing.assert_allclose(average.valid_logits, expected, atol=1e-5)
