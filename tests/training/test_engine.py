import dataclasses
import math
import random
import subprocess
import sys

import numpy as np
import pytest
from engine_cases import (
    DENSE,
    WITH_STATE,
    arrays,
    class_stream,
    class_table,
    number_table,
    plan,
    settings,
)

from model_search.data.rows import Rows
from model_search.errors import DataError, TrialError, UserError
from model_search.training.engine import Engine, _Sweeper
from model_search.training.metrics import all_metrics
from model_search.training.outcome import Given
from model_search.training.runtime import tensorflow


@pytest.fixture(scope="module")
def engine():
    return Engine(class_table(), settings())


def same(one, other):
    assert one.metrics == other.metrics
    assert one.curve == other.curve
    assert np.array_equal(one.valid_logits, other.valid_logits)
    assert all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


def test_a_trial_learns_and_reports(engine):
    reports = []
    outcome = engine.run(plan(DENSE, WITH_STATE, steps=150), on_progress=reports.append)
    assert outcome.metrics["loss"] < outcome.curve[0][1]
    assert outcome.metrics["accuracy"] > 0.6
    assert set(outcome.metrics) == {"loss", "log_loss", "accuracy", "auc", "auc_pr", "f1"}
    assert set(outcome.timings) == {"build", "trace", "train", "validate", "total"}
    assert outcome.valid_logits.shape == (100, 2)
    assert outcome.parameters == sum(np.prod(v.shape) for v in engine.build(plan(DENSE, WITH_STATE)).trainable_weights)
    steps = [progress.step for progress in reports]
    assert steps[0] == 0
    assert steps[-1] == 150
    assert steps == sorted(steps)
    assert reports[-1].steps == 150
    assert reports[0].best is None
    assert reports[-1].best == min(value for _, value in outcome.curve)
    assert math.isfinite(reports[-1].loss)


def test_the_weights_handed_back_are_those_of_the_best_checkpoint(engine):
    outcome = engine.run(plan(DENSE, WITH_STATE, steps=120, learning_rate=0.05))
    steps, values = zip(*outcome.curve, strict=True)
    assert outcome.best_step == steps[int(np.argmin(values))]
    assert outcome.metrics["loss"] == min(values)
    valid = engine._data.valid
    model = engine.build(plan(DENSE, WITH_STATE))
    model.set_weights(arrays(outcome))
    np.testing.assert_allclose(model.predict(valid.inputs["features"], verbose=0), outcome.valid_logits, atol=1e-4)
    logits = engine.logits(plan(DENSE, WITH_STATE), outcome.weights, valid.inputs)
    np.testing.assert_allclose(logits, outcome.valid_logits, atol=1e-5)
    assert all_metrics(engine._data.task, valid.label, logits)["loss"] == pytest.approx(outcome.metrics["loss"])


def test_the_same_plan_gives_the_same_numbers_and_another_seed_others(engine):
    dropping = Engine(class_table(), settings(dropout_between_blocks=True))
    one = plan(DENSE, WITH_STATE, dropout_rate=0.3, gradient_max_norm=2)
    first = dropping.run(one)
    engine.run(plan(WITH_STATE, optimizer="rmsprop"))
    random.seed(1)
    same(first, dropping.run(one))
    same(first, Engine(class_table(), settings(dropout_between_blocks=True)).run(one))
    other = dropping.run(dataclasses.replace(one, seed=6))
    assert other.metrics["loss"] != first.metrics["loss"]


def test_the_order_of_chunks_does_not_matter(engine, monkeypatch):
    first = engine.run(plan(DENSE, steps=40))
    monkeypatch.setattr("model_search.training.trial_run.CHUNK_SECONDS", 1e-9)
    same(first, engine.run(plan(DENSE, steps=40)))


def test_dropout_changes_training_only_where_the_settings_say_so(engine):
    with_dropout = Engine(class_table(), settings(dropout_between_blocks=True))
    plain = engine.run(plan(DENSE, dropout_rate=0.5))
    assert plain.metrics == engine.run(plan(DENSE)).metrics
    assert with_dropout.run(plan(DENSE, dropout_rate=-1.0)).metrics == plain.metrics
    assert with_dropout.run(plan(DENSE, dropout_rate=0.5)).metrics != plain.metrics


def test_dropout_draws_anew_at_every_step():
    """With a step size of nearly zero, only dropout makes the losses of equal batches differ."""
    rows = Rows.of(np.ones((8, 4), np.float32), np.zeros(8, np.int32))
    table = dataclasses.replace(class_table(), train=rows)
    engine = Engine(table, settings(dropout_between_blocks=True))
    losses = []
    engine.run(
        plan(DENSE, steps=8, optimizer="sgd", learning_rate=1e-12, dropout_rate=0.5),
        on_progress=lambda progress: losses.append(progress.loss) and None,
    )
    found = [loss for loss in losses if math.isfinite(loss)]
    assert len(set(found)) > 4


def test_given_weights_are_the_starting_point(engine):
    outcome = engine.run(plan(DENSE, steps=100))
    again = engine.run(plan(DENSE, steps=0, seed=77), given=Given(outcome.weights))
    assert again.best_step == 0
    np.testing.assert_array_equal(again.valid_logits, outcome.valid_logits)
    assert engine.run(plan(DENSE, steps=0, seed=77)).metrics["loss"] != again.metrics["loss"]


def test_asking_for_the_end_keeps_the_best_so_far(engine):
    outcome = engine.run(plan(DENSE, steps=1000), on_progress=lambda progress: progress.step >= 100)
    assert 100 <= outcome.curve[-1][0] < 1000
    assert outcome.best_step <= outcome.curve[-1][0]
    at_once = engine.run(plan(DENSE, steps=1000), on_progress=lambda progress: True)
    assert at_once.best_step == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, ValueError])
@pytest.mark.parametrize("step", [0, 1, 100])
def test_what_the_caller_raises_ends_the_run_as_it_is(engine, error, step):
    def stop(progress):
        if progress.step >= step:
            raise error("stop")

    with pytest.raises(error, match="stop"):
        engine.run(plan(DENSE, steps=200), on_progress=stop)
    assert engine.run(plan(DENSE, steps=5)).metrics["loss"] > 0


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_a_loss_that_explodes_names_step_and_learning_rate(engine, optimizer):
    table = number_table()
    with pytest.raises(TrialError, match=rf"between steps \d+ and \d+ \({optimizer}, learning rate 1e\+09\)"):
        Engine(table, settings()).run(plan(DENSE, steps=100, optimizer=optimizer, learning_rate=1e9))


def test_weights_that_overflow_in_the_last_update_are_noticed():
    with pytest.raises(TrialError, match="the logits are not finite at step 1"):
        Engine(number_table(), settings()).run(plan(DENSE, steps=1, optimizer="sgd", learning_rate=1e38))


def test_a_batch_may_be_larger_than_the_table():
    outcome = Engine(class_table(rows=20), settings()).run(plan(DENSE, batch_size=64))
    assert outcome.metrics["loss"] > 0


def test_numbers_of_several_targets_are_learnt():
    outcome = Engine(number_table(targets=2), settings("r2", "maximize")).run(plan(DENSE, steps=300))
    assert outcome.valid_logits.shape == (100, 2)
    assert outcome.metrics["r2"] > 0.2
    assert set(outcome.metrics) == {"loss", "mse", "rmse", "mae", "r2"}


def test_row_weights_decide_what_is_learnt():
    """The same features with both labels, one of them of little weight."""
    features = np.ones((40, 4), np.float32)
    labels = np.array([0, 1] * 20, np.int32)
    weights = np.where(labels == 1, 9.0, 1.0).astype(np.float32)
    table = dataclasses.replace(
        class_table(), train=Rows.of(features, labels, weights), valid=Rows.of(features, labels, weights)
    )
    outcome = Engine(table, settings()).run(plan(DENSE, steps=200))
    share = 1 / (1 + np.exp(outcome.valid_logits[:, 0] - outcome.valid_logits[:, 1]))
    assert share == pytest.approx(np.full(40, 0.9), abs=0.03)
    assert outcome.metrics["accuracy"] == pytest.approx(0.9)


def test_scaled_training_takes_fewer_updates_for_shallow_towers():
    scaled = Engine(class_table(), settings(parameter_scaled=True, maximum_depth=4))
    outcome = scaled.run(plan(DENSE, steps=100))
    deep = scaled.run(plan(DENSE, DENSE, DENSE, DENSE, steps=100))
    assert outcome.curve[-1][0] == deep.curve[-1][0] == 100
    assert [step % 4 for step, _ in outcome.curve] == [0] * len(outcome.curve)
    assert any(step % 4 for step, _ in deep.curve)
    unscaled = Engine(class_table(), settings()).run(plan(DENSE, steps=25))
    same_updates = [value for _, value in unscaled.curve]
    assert [value for _, value in outcome.curve] == same_updates


def test_the_metric_of_the_study_chooses_the_step():
    outcome = Engine(class_table(), settings("accuracy", "maximize")).run(plan(DENSE, steps=100, learning_rate=0.05))
    values = [value for _, value in outcome.curve]
    assert outcome.metrics["accuracy"] == max(values)


def test_a_custom_metric_chooses_the_step_too():
    seen = []

    def recall(labels, predictions):
        seen.append((labels.shape, predictions.shape))
        return float((predictions[labels == 1, 1] > 0.5).mean())

    own = settings("recall", "maximize", metric_fn=recall)
    outcome = Engine(class_table(metric_fn=lambda labels, p: {"confidence": p.max(axis=1).mean()}), own).run(
        plan(DENSE)
    )
    assert outcome.metrics["recall"] == max(value for _, value in outcome.curve)
    assert 0.5 <= outcome.metrics["confidence"] <= 1
    assert seen[0] == ((100,), (100, 2))


def test_a_metric_that_cannot_be_computed_fails_the_trial():
    table = class_table()
    one_class = dataclasses.replace(table.valid, labels={"label": np.zeros(100, np.int32)})
    with pytest.raises(TrialError, match="'auc' cannot be computed"):
        Engine(dataclasses.replace(table, valid=one_class), settings("auc", "maximize")).run(plan(DENSE))


def test_a_loss_of_the_provider_is_learnt_and_reported():
    tf = tensorflow()

    def hinge(labels, logits, weights):
        sign = 2.0 * tf.cast(labels, tf.float32) - 1.0
        return tf.reduce_mean(weights * tf.nn.relu(1.0 - sign * (logits[:, 1] - logits[:, 0])))

    outcome = Engine(class_table(loss_fn=hinge), settings()).run(plan(DENSE, steps=200))
    margin = outcome.valid_logits[:, 1] - outcome.valid_logits[:, 0]
    sign = 2.0 * class_table().valid.label - 1
    assert outcome.metrics["loss"] == pytest.approx(np.maximum(0, 1 - sign * margin).mean(), rel=1e-4)
    assert outcome.metrics["log_loss"] != outcome.metrics["loss"]
    with pytest.raises(UserError, match="expected one number"):
        Engine(class_table(loss_fn=lambda a, b, c: b), settings()).run(plan(DENSE))


def test_evaluations_read_a_part_and_the_last_one_reads_all():
    table = class_table(rows=4000)
    outcome = Engine(table, settings(eval_steps=10)).run(plan(DENSE, steps=40))
    assert len(outcome.valid_logits) == 2000
    full = all_metrics(table.task, table.valid.label, outcome.valid_logits)
    assert outcome.metrics == full
    best = min(value for _, value in outcome.curve)
    assert best != full["loss"]
    assert best == pytest.approx(full["loss"], rel=0.5)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_stream_is_learnt_from(weighted):
    stream = class_stream(weighted=weighted)
    outcome = Engine(stream, settings("accuracy", "maximize")).run(plan(DENSE, steps=200))
    assert outcome.metrics["accuracy"] > 0.6
    same(outcome, Engine(stream, settings("accuracy", "maximize")).run(plan(DENSE, steps=200)))


def test_a_stream_that_ends_raises():
    stream = dataclasses.replace(class_stream(), train_batches=lambda seed: iter([]))
    with pytest.raises(DataError, match="training data ended"):
        Engine(stream, settings()).run(plan(DENSE))


def test_a_long_validation_can_be_interrupted(monkeypatch):
    monkeypatch.setattr("model_search.training.trial_run.CHUNK_SECONDS", 0.0)
    monkeypatch.setattr("model_search.training.flat_tower._FORWARD_ROWS", 10)
    steps = []

    def stop(progress):
        steps.append(progress.step)
        if len(steps) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Engine(class_table(), settings()).run(plan(DENSE, steps=0), on_progress=stop)
    assert steps == [0, 0, 0, 0]


def test_trained_weights_keep_their_moving_averages(engine):
    outcome = engine.run(plan(WITH_STATE, steps=100))
    on = engine.run(plan(WITH_STATE, steps=1, optimizer="sgd", learning_rate=1e-9), given=Given(outcome.weights))
    np.testing.assert_allclose(on.valid_logits, outcome.valid_logits, atol=0.05)


def test_an_unknown_optimizer_fails_the_trial(engine):
    with pytest.raises(TrialError, match="optimizer is 'lion'"):
        engine.run(plan(DENSE, optimizer="lion"))


def test_memory_that_does_not_suffice_fails_the_trial_in_words(engine, monkeypatch):
    tf = tensorflow()

    def exhausted(self, *inputs):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating [[{{node x}}]]")

    monkeypatch.setattr("model_search.training.loop.TrainingLoop.advance", exhausted)
    with pytest.raises(TrialError, match="training failed: there is not enough memory for it"):
        engine.run(plan(DENSE))


def test_weights_of_another_tower_fail_the_trial_in_words(engine):
    with pytest.raises(TrialError, match="the weights to start from do not fit the tower: without an array for"):
        engine.run(plan(DENSE), given=Given({"kernel": np.zeros(3)}))


def test_another_process_gets_the_same_numbers_and_a_quiet_terminal(engine):
    code = (
        "import sys; sys.path.insert(0, 'tests/training')\n"
        "from engine_cases import *\n"
        "from model_search.training.engine import Engine\n"
        "from model_search.training.runtime import environment\n"
        "outcome = Engine(class_table(), settings()).run(plan(DENSE, WITH_STATE))\n"
        "assert environment()['intra_threads'] == 1, environment()\n"
        "print(repr(outcome.metrics['loss']), repr(float(outcome.valid_logits.sum())))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    outcome = engine.run(plan(DENSE, WITH_STATE))
    assert done.stdout.split() == [repr(outcome.metrics["loss"]), repr(float(outcome.valid_logits.sum()))]


def test_garbage_is_collected_in_proportion_to_the_work(monkeypatch):
    sweeper, now, collected = _Sweeper(), [0.0], []

    def collect():
        collected.append(now[0])
        now[0] += 1.0

    monkeypatch.setattr("model_search.training.engine.gc.collect", collect)
    monkeypatch.setattr("model_search.training.engine.time.perf_counter", lambda: now[0])
    for _ in range(100):
        sweeper.sweep(1.0)
    assert len(collected) == 5
