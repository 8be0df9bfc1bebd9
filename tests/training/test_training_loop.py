"""The compiled loop against Keras doing the same, update by update."""

import numpy as np
import pytest
from engine_cases import class_rows, classes_task, number_rows, numbers_task

from model_search.constants import OPTIMIZERS
from model_search.data.rows import Rows
from model_search.errors import UserError
from model_search.training.flat_tower import FlatTower, VariablePool
from model_search.training.gradients import loss_and_gradients
from model_search.training.hyperparameters import Hyperparameters
from model_search.training.loop import TableTensors, TrainingLoop, optimizer_of
from model_search.training.losses import balanced, batch_loss
from model_search.training.runtime import tensorflow
from model_search.training.training_objectives import Objective

tf = tensorflow()
import keras  # noqa: E402

ROWS, BATCH = 24, 6
ORDER = np.arange(ROWS, dtype=np.int32).reshape(-1, BATCH)
RATES = np.array([0.1, 0.05, 0.02, 0.01])


def small_model(outputs=2, width=5, state=True):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((4,), name="features")
    hidden = keras.layers.Dense(width, activation="tanh")(inputs)
    if state:
        hidden = keras.layers.BatchNormalization(momentum=0.8)(hidden)
    return keras.Model(inputs, keras.layers.Dense(outputs)(hidden))


def trained(model, rows, hyperparameters, loss, pool=None):
    tower = FlatTower(model, pool or VariablePool(), len(optimizer_of(hyperparameters).slots))
    loop = TrainingLoop(tower, TableTensors.of(rows), BATCH, hyperparameters, Objective(loss))
    tower.load(model.get_weights())
    tower.fill_slots(optimizer_of(hyperparameters).slots)
    mean = loop.advance(0, ORDER, loop.step_sizes(RATES))
    return tower, mean


def keras_optimizer(name, beta2):
    match name:
        case "sgd":
            return keras.optimizers.SGD()
        case "momentum":
            return keras.optimizers.SGD(momentum=0.9)
        case "nesterov":
            return keras.optimizers.SGD(momentum=0.9, nesterov=True)
        case "adagrad":
            return keras.optimizers.Adagrad()
        case "rmsprop":
            return keras.optimizers.RMSprop()
        case _:
            return keras.optimizers.Adam(beta_2=beta2)


def trained_by_keras(model, rows, hyperparameters, task):
    optimizer = keras_optimizer(hyperparameters.optimizer, hyperparameters.beta2)
    loss_fn = batch_loss(task, None)
    weights = None if rows.weight is None else rows.weight / rows.weight.mean()
    losses = []
    for numbers, rate in zip(ORDER, RATES, strict=True):
        with tf.GradientTape() as tape:
            given = None if weights is None else tf.constant(weights[numbers])
            loss = loss_fn(rows.label[numbers], model(rows.inputs["features"][numbers], training=True), given)
            penalty = 0.5 * hyperparameters.l2 * sum(tf.reduce_sum(v.value**2) for v in model.trainable_variables)
            total = loss + penalty
        gradients = tape.gradient(total, [v.value for v in model.trainable_variables])
        if hyperparameters.max_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, hyperparameters.max_norm)
        for variable in model.trainable_variables:
            variable.assign(variable * (1 - rate * hyperparameters.weight_decay))
            if len(variable.shape) > 1:
                variable.assign(variable * (1 - rate * hyperparameters.kernel_decay))
        optimizer.learning_rate = rate
        optimizer.apply(gradients, model.trainable_variables)
        losses.append(float(loss))
    return np.mean(losses)


CASES = [
    *[Hyperparameters(optimizer=name) for name in OPTIMIZERS],
    Hyperparameters(optimizer="sgd", max_norm=0.05),
    Hyperparameters(optimizer="sgd", max_norm=50.0),
    Hyperparameters(optimizer="adam", l2=0.3),
    Hyperparameters(optimizer="momentum", weight_decay=0.4),
    Hyperparameters(optimizer="adam", kernel_decay=0.4, beta2=0.9),
]


@pytest.mark.parametrize(
    "hyperparameters", CASES, ids=lambda h: f"{h.optimizer}-{h.max_norm}-{h.l2}-{h.weight_decay}-{h.beta2}"
)
def test_updates_are_those_of_keras(hyperparameters):
    rows, model = class_rows(ROWS), small_model()
    tower, mean = trained(model, rows, hyperparameters, batch_loss(classes_task(), None))
    expected = trained_by_keras(model, rows, hyperparameters, classes_task())
    assert mean == pytest.approx(expected, rel=1e-4)
    for ours, theirs in zip(tower.weights(tower.snapshot()), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 1.5, 1.0]])
def test_smoothed_labels_are_those_of_keras(weights):
    labels, logits = np.array([0, 2, 1, 2]), np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    given = None if weights is None else tf.constant(weights)
    found = batch_loss(classes_task(3), None, 0.2)(labels, logits, given)
    expected = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)(
        keras.utils.to_categorical(labels, 3), logits, sample_weight=weights
    )
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    assert batch_loss(numbers_task(1), None, 0.2) is batch_loss(numbers_task(1), None)


@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 1.5, 1.0]])
def test_balanced_classes_weigh_the_same_and_rows_one_on_average(weights):
    labels = np.repeat([0, 1], [8, 2])
    logits = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    rows = np.array([0, 1, 1, 0])
    given = np.ones(4) if weights is None else np.array(weights)
    plain = batch_loss(classes_task(), None)
    found = balanced(plain, labels, 1.0)(rows, logits, None if weights is None else tf.constant(given, tf.float32))
    own = np.array([0.625, 2.5])  # of 8 and 2 rows: 5 for each class
    expected = plain(rows, logits, tf.constant(given * own[rows], tf.float32))
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    none = balanced(plain, labels, 0.0)(rows, logits, tf.constant(given, tf.float32))
    assert float(none) == pytest.approx(float(plain(rows, logits, tf.constant(given, tf.float32))), rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("targets", [None, 1, 3])
def test_losses_and_weights_are_those_of_keras(targets, weighted):
    task = classes_task() if targets is None else numbers_task(targets)
    rows = class_rows(ROWS, weighted=weighted) if targets is None else number_rows(ROWS, targets, weighted=weighted)
    model = small_model(targets or 2)
    hyperparameters = Hyperparameters(optimizer="sgd")
    tower, mean = trained(model, rows, hyperparameters, batch_loss(task, None))
    assert mean == pytest.approx(trained_by_keras(model, rows, hyperparameters, task), rel=1e-4)
    for ours, theirs in zip(tower.weights(tower.snapshot()), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


def test_large_layers_are_variables_of_their_own_and_give_the_same():
    rows, model = class_rows(ROWS), small_model(width=4096, state=False)
    hyperparameters = Hyperparameters(optimizer="sgd")
    tower, _ = trained(model, rows, hyperparameters, batch_loss(classes_task(), None))
    assert len(tower.groups) == 2
    trained_by_keras(model, rows, hyperparameters, classes_task())
    for ours, theirs in zip(tower.weights(tower.snapshot()), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4)


def test_chunks_of_any_length_and_stacked_batches_give_the_same():
    rows, model = class_rows(ROWS), small_model()
    hyperparameters = Hyperparameters(optimizer="adam")
    loss = batch_loss(classes_task(), None)
    tower, mean = trained(model, rows, hyperparameters, loss)
    expected = tower.weights(tower.snapshot())

    other = FlatTower(model, VariablePool(), 2)
    loop = TrainingLoop(other, rows, BATCH, hyperparameters, Objective(loss))
    other.load(model.get_weights())
    other.fill_slots((0.0, 0.0))
    sizes = loop.step_sizes(RATES)
    total = 0.0
    for start, end in ((0, 1), (1, 4)):
        stacked = rows.take(ORDER[start:end].ravel())
        total += loop.advance(start, stacked, sizes[start:end]) * (end - start)
    assert total / 4 == pytest.approx(mean, rel=1e-6)
    for ours, theirs in zip(other.weights(other.snapshot()), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_snapshot_stays_as_it_was_while_training_goes_on():
    rows, model = class_rows(ROWS), small_model()
    tower = FlatTower(model, VariablePool())
    loop = TrainingLoop(
        tower,
        TableTensors.of(rows),
        BATCH,
        Hyperparameters(optimizer="sgd"),
        Objective(batch_loss(classes_task(), None)),
    )
    tower.load(model.get_weights())
    before = tower.snapshot()
    first = tower.logits(rows.inputs)
    loop.advance(0, ORDER, loop.step_sizes(RATES))
    assert np.abs(tower.logits(rows.inputs) - first).max() > 1e-3
    for kept, original in zip(tower.weights(before), model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, original)
    tower.restore(before)
    np.testing.assert_array_equal(tower.logits(rows.inputs), first)


def test_initial_values_of_moving_averages_do_not_affect_evaluations():
    rows, model = class_rows(ROWS), small_model()
    hyperparameters = Hyperparameters(optimizer="sgd")
    settled = []
    for mean, variance in ((0.0, 1.0), (3.0, 20.0)):
        model.layers[2].moving_mean.assign(np.full(5, mean))
        model.layers[2].moving_variance.assign(np.full(5, variance))
        tower, _ = trained(model, rows, hyperparameters, batch_loss(classes_task(), None))
        before = tower.snapshot()
        with tower.settled(len(ORDER)):
            settled.append(tower.weights(tower.snapshot()))
        for ours, theirs in zip(tower.weights(tower.snapshot()), tower.weights(before), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for one, other in zip(*settled, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    moved = tower.weights(before)
    assert max(np.abs(a - b).max() for a, b in zip(moved, settled[1], strict=True)) > 1


def test_averages_that_were_learnt_stay_as_they_are_beside_fresh_ones():
    model = small_model()
    mean, variance = model.layers[2].moving_mean, model.layers[2].moving_variance
    mean.assign(np.full(5, 3.0))  # learnt, and the variance fresh
    tower = FlatTower(model, VariablePool())
    tower.load(model.get_weights(), partly_learnt=True)
    tower.state.assign(tower.state + 1)  # as training would
    places = [i for i, weight in enumerate(model.weights) if weight is mean or weight is variance]
    before = tower.weights(tower.snapshot())
    with tower.settled(10):
        after = tower.weights(tower.snapshot())
    changed = [i for i, (one, other) in enumerate(zip(before, after, strict=True)) if (one != other).any()]
    assert changed == places[1:]


def test_without_moving_averages_nothing_is_to_be_forgotten():
    tower, _ = trained(small_model(state=False), class_rows(ROWS), Hyperparameters(), batch_loss(classes_task(), None))
    before = tower.weights(tower.snapshot())
    with tower.settled(1):
        for ours, theirs in zip(tower.weights(tower.snapshot()), before, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_logits_are_those_of_the_model_whatever_the_blocks():
    model = small_model()
    tower = FlatTower(model, VariablePool())
    tower.load(model.get_weights())
    rows = class_rows(9000)
    np.testing.assert_allclose(tower.logits(rows.inputs), model.predict(rows.inputs["features"], verbose=0), atol=1e-5)
    assert tower.logits(rows.take(slice(0, 0)).inputs).shape == (0, 2)


def test_a_pool_is_shared_by_towers_one_after_the_other():
    pool, rows = VariablePool(), class_rows(ROWS)
    loss = batch_loss(classes_task(), None)
    trained(small_model(width=9), rows, Hyperparameters(optimizer="rmsprop"), loss, pool)
    tower, _ = trained(small_model(), rows, Hyperparameters(optimizer="adam"), loss, pool)
    alone, _ = trained(small_model(), rows, Hyperparameters(optimizer="adam"), loss)
    for ours, theirs in zip(tower.weights(tower.snapshot()), alone.weights(alone.snapshot()), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)])
def test_gradients_of_large_products_are_the_usual_ones(transposed):
    rng = np.random.default_rng(0)
    large = tf.constant(rng.normal(size=(600, 600)), tf.float32)
    start = tf.constant(rng.normal(size=(4, 600)), tf.float32)

    def product(start, large):
        left = tf.transpose(start) if transposed[0] else start
        hidden = tf.matmul(left, large, transpose_a=transposed[0], transpose_b=transposed[1])
        return tf.reduce_sum(tf.square(tf.tanh(hidden / 30)))

    @tf.function(autograph=False)
    def both(start, large):
        return loss_and_gradients(lambda: product(start, large), [start, large], 4)

    with tf.GradientTape() as tape:
        tape.watch([start, large])
        expected = product(start, large)
    value, gradients = both(start, large)
    assert float(value) == pytest.approx(float(expected), rel=1e-4)
    for ours, theirs in zip(gradients, tape.gradient(expected, [start, large]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def loss_of(loss_fn, weighted=False):
    rows = class_rows(8, weighted=weighted)
    weights = None if rows.weight is None else tf.constant(rows.weight)
    return batch_loss(classes_task(), loss_fn)(
        tf.constant(rows.label), tf.constant(rows.inputs["features"][:, :2]), weights
    )


def test_a_custom_loss_receives_labels_logits_and_weights():
    seen = []

    def keep(labels, logits, weights):
        seen.append((labels.shape.as_list(), logits.shape.as_list(), weights))
        return tf.reduce_sum(logits)

    assert np.isfinite(float(loss_of(keep)))
    assert seen[0] == ([8], [8, 2], 1.0)
    loss_of(keep, weighted=True)
    assert seen[1][2].shape == [8]
    assert float(loss_of(lambda labels, logits: tf.reduce_sum(logits) * 0 + 3)) == 3
    assert float(loss_of(lambda labels, logits, weights=1.0: tf.ones([8]))) == 1


@pytest.mark.parametrize(
    ("loss_fn", "weighted", "words"),
    [
        (lambda labels, logits, weights: logits, False, r"returned a tensor of shape \(8, 2\); expected one number"),
        (lambda labels, logits, weights: None, False, "'<lambda>' failed on labels of shape"),
        (lambda labels, logits, weights: labels["x"], False, "failed on labels of shape"),
        (lambda labels: 0.0, False, "cannot be called with"),
        (lambda labels, logits: 0.0, True, "takes no weights"),
    ],
)
def test_a_loss_that_does_the_wrong_thing_is_refused_in_words(loss_fn, weighted, words):
    with pytest.raises(UserError, match=words):
        loss_of(loss_fn, weighted)


def test_rows_in_a_stream_may_be_maps():
    rows = Rows.of(np.ones((BATCH, 3, 3, 1), np.float32), np.zeros(BATCH, np.int32))
    inputs = keras.Input((3, 3, 1), name="features")
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    tower = FlatTower(model, VariablePool())
    loop = TrainingLoop(
        tower,
        TableTensors.of(rows),
        BATCH,
        Hyperparameters(optimizer="sgd"),
        Objective(batch_loss(classes_task(), None)),
    )
    tower.load(model.get_weights())
    before = loop.advance(0, ORDER[:1], loop.step_sizes(RATES[:1]))
    assert loop.advance(1, ORDER[:1], loop.step_sizes(RATES[:1])) < before
