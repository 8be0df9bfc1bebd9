"""Training in pieces, on parts of the rows, and ended early."""

import dataclasses

import numpy as np
import pytest
from engine_cases import arrays, class_rows, class_stream, class_table, number_rows, plan, settings

from model_search.errors import TrialError
from model_search.metadata.trial import StartKind, TrialKind, WarmStart
from model_search.training.batches import RowOrder, skip, subset
from model_search.training.checkpoints import evaluation_updates
from model_search.training.engine import Engine
from model_search.training.outcome import Given, OptimizerState


def _pieces(whole, ends, kind=StartKind.CONTINUE):
    """The same training, as trials that continue each other."""
    first = 0
    for number, end in enumerate(ends, start=1):
        start = {} if first == 0 else {"start": WarmStart(kind, (number - 1,)), "first_step": first}
        yield dataclasses.replace(whole, trial_id=number, steps=end, total_steps=whole.steps, **start)
        first = end


@pytest.mark.parametrize(
    "hyperparameters",
    [
        {},
        {"exponential_decay_rate": 0.5, "exponential_decay_steps": 8},
        {"cooldown_share": 0.8},
        {"l2_regularization": 0.01, "gradient_max_norm": 1},
    ],
    ids=["constant", "decay", "cooldown", "l2"],
)
@pytest.mark.parametrize("make_data", [class_table, class_stream], ids=["table", "stream"])
def test_training_in_pieces_is_training_through(make_data, hyperparameters):
    engine = Engine(make_data(), settings())
    whole = plan(steps=48, batch_size=150, optimizer="sgd", learning_rate=0.02, **hyperparameters)
    through = engine.run(whole)
    assert through.best_step == 48  # the weights of the best step are those of the last one
    weights = None
    for piece in _pieces(whole, (16, 30, 48)):
        outcome = engine.run(piece, Given(weights))
        assert outcome.best_step == piece.steps
        weights = outcome.weights
    for expected, found in zip(arrays(through), weights.values(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert outcome.metrics["loss"] == pytest.approx(through.metrics["loss"], rel=1e-4)


@pytest.mark.parametrize("optimizer", ["nesterov", "adam"])
def test_with_the_optimizers_state_training_in_pieces_is_training_through(optimizer):
    engine = Engine(class_table(), settings())
    whole = plan(steps=48, batch_size=150, optimizer=optimizer, learning_rate=0.005, cooldown_share=0.5)
    through = engine.run(whole)
    assert through.best_step == 48
    weights, state = None, None
    for piece in _pieces(whole, (16, 30, 48), StartKind.RESUME):
        outcome = engine.run(piece, Given(weights, optimizer=state))
        assert outcome.best_step == piece.steps
        weights, state = outcome.weights, OptimizerState.from_arrays(outcome.optimizer.to_arrays())
    assert state.optimizer == optimizer and state.updates == 48
    for expected, found in zip(arrays(through), weights.values(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    for expected, found in zip(through.optimizer.slots, state.slots, strict=True):
        assert list(expected) == list(found)


def test_the_state_of_another_optimizer_or_tower_is_refused():
    engine = Engine(class_table(), settings())
    first, second = _pieces(plan(steps=24, optimizer="adam"), (8, 24), StartKind.RESUME)
    outcome = engine.run(first)
    other = dataclasses.replace(second, hyperparameters={**second.hyperparameters, "optimizer": "momentum"})
    with pytest.raises(TrialError, match="that of adam; the trial's optimizer is momentum"):
        engine.run(other, Given(outcome.weights, optimizer=outcome.optimizer))
    slots = tuple(dict(list(slot.items())[1:]) for slot in outcome.optimizer.slots)
    with pytest.raises(TrialError, match="optimizer's state does not fit the tower: without an array for"):
        engine.run(second, Given(outcome.weights, optimizer=dataclasses.replace(outcome.optimizer, slots=slots)))


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        {"adam/updates": np.array(0.5)},
        {"adam/updates": np.array(3), "rmsprop/0/a": np.zeros(2)},
        {"adam/updates": np.array(3), "adam/first/a": np.zeros(2)},
        {"adam/updates": np.array(3), "adam/0": np.zeros(2)},
    ],
)
def test_arrays_that_are_no_state_of_an_optimizer_are_refused(damaged):
    with pytest.raises(ValueError, match=r"optimizer|belongs to no slot"):
        OptimizerState.from_arrays(damaged)


def test_a_longer_training_has_a_cycle_of_its_own():
    engine = Engine(class_table(), settings())
    whole = plan(steps=40, optimizer="sgd", learning_rate=0.1, one_cycle_share=0.25)
    first = engine.run(dataclasses.replace(whole, steps=20))
    start = {"start": WarmStart(StartKind.RESUME, (1,)), "first_step": 20, "trial_id": 2}
    longer = dataclasses.replace(whole, kind=TrialKind.LONGER, **start)
    promoted = dataclasses.replace(longer, kind=TrialKind.SEARCH)
    outcomes = [engine.run(each, Given(first.weights, optimizer=first.optimizer)) for each in (longer, promoted)]
    assert not np.allclose(arrays(outcomes[0])[0], arrays(outcomes[1])[0])


def test_a_continuation_evaluates_between_its_own_ends():
    engine = Engine(class_table(), settings())
    first, second = _pieces(plan(steps=24, optimizer="adam"), (8, 24))
    steps = []
    outcome = engine.run(second, Given(engine.run(first).weights), lambda progress: steps.append(progress.step))
    assert [step for step, _ in outcome.curve] == [10, 12, 14, 16, 18, 20, 22, 24]
    assert (steps[0], steps[-1]) == (8, 24)


def test_a_short_training_follows_the_rates_of_the_whole_one():
    engine = Engine(class_table(), settings())
    whole = plan(steps=20, optimizer="sgd", cooldown_share=1.0, learning_rate=0.1)
    short = dataclasses.replace(whole, steps=10, total_steps=20)
    alone = dataclasses.replace(whole, steps=10)
    outcomes = [engine.run(each) for each in (short, alone)]
    assert not np.allclose(arrays(outcomes[0])[0], arrays(outcomes[1])[0])


def test_towers_of_scaled_training_continue_too():
    engine = Engine(class_table(), settings(parameter_scaled=True, maximum_depth=4))
    whole = plan(steps=40, batch_size=150, optimizer="sgd", learning_rate=0.02)
    through = engine.run(whole)
    first, second = _pieces(whole, (20, 40))
    outcome = engine.run(second, Given(engine.run(first).weights))
    np.testing.assert_allclose(arrays(outcome)[0], arrays(through)[0], rtol=1e-4, atol=1e-6)


def test_a_share_of_the_rows_is_all_that_is_read():
    table = class_table()
    share = dataclasses.replace(plan(steps=20, batch_size=16), row_share=0.25)
    chosen = subset(table.train.label, 0.25)
    spoilt = np.full_like(table.train.inputs["features"], np.nan)
    spoilt[chosen] = table.train.inputs["features"][chosen]
    partly = dataclasses.replace(table, train=table.train.with_inputs({"features": spoilt}))
    one, two = (Engine(data, settings()).run(share) for data in (table, partly))
    np.testing.assert_array_equal(arrays(one)[0], arrays(two)[0])
    with pytest.raises(TrialError, match="loss became nan"):
        Engine(partly, settings()).run(plan(steps=20, batch_size=16))


def test_a_share_of_a_stream_is_refused():
    with pytest.raises(TrialError, match="stream"):
        Engine(class_stream(), settings()).run(dataclasses.replace(plan(), row_share=0.5))


def test_a_share_has_the_classes_of_the_whole_and_grows_without_losing_rows():
    labels = class_rows(1000, classes=3, seed=4).label
    small, large = subset(labels, 0.1), subset(labels, 0.4)
    assert set(small) < set(large) and len(np.unique(large)) == len(large)
    for label in range(3):
        assert np.mean(labels[small] == label) == pytest.approx(np.mean(labels == label), abs=0.01)
    assert np.array_equal(subset(labels, 1.0), np.arange(1000))
    assert set(labels[subset(np.array([0] * 99 + [1]), 0.01)]) <= {0, 1, 2}
    assert 99 in subset(np.array([0] * 99 + [1]), 0.02)  # the only row of its class
    assert len(subset(number_rows(100).label, 0.3)) == 30


def test_skipped_batches_are_gone():
    through, skipping = RowOrder(50, 8, seed=3), RowOrder(50, 8, seed=3)
    expected = through.take(150)[130:]
    skip(skipping, 130)
    np.testing.assert_array_equal(skipping.take(20), expected)
    assert set(RowOrder(np.array([3, 5, 7]), 2, seed=0).take(30).ravel()) == {3, 5, 7}


def test_evaluations_are_spread_over_what_is_trained():
    assert evaluation_updates(16) == (2, 4, 6, 8, 10, 12, 14, 16)
    assert evaluation_updates(16, 8) == (9, 10, 11, 12, 13, 14, 15, 16)
    assert evaluation_updates(5, 5) == (5,)


def test_a_trial_that_is_ended_keeps_its_curve_so_far():
    engine = Engine(class_table(), settings())
    reports = []

    def stop_at_12(progress):
        reports.append(progress)
        return bool(progress.curve) and progress.curve[-1][0] >= 12

    outcome = engine.run(plan(steps=32), on_progress=stop_at_12)
    assert [step for step, _ in outcome.curve] == [4, 8, 12]
    assert reports[-1].curve == outcome.curve and reports[0].curve == ()
    assert outcome.best_step in (4, 8, 12)
