import dataclasses

import numpy as np
import pytest
from engine_cases import classes_task, numbers_task
from sklearn.metrics import mean_pinball_loss

from model_search.data.task import Task, TaskKind
from model_search.errors import UserError
from model_search.metadata.trial import DistillationPlan
from model_search.training.losses import LossSettings, TaskLosses, batch_loss, task_losses
from model_search.training.training_objectives import Batch, DistillationObjective

TASKS = {"kind": classes_task(3), "size": numbers_task()}
RNG = np.random.default_rng(0)
LABELS = {"kind": np.array([0, 2, 1], np.int32), "size": RNG.normal(size=(3, 1)).astype(np.float32)}
LOGITS = RNG.normal(size=(3, 4)).astype(np.float32)
WEIGHTS = {"size": np.array([0.0, 2.0, 1.0], np.float32)}


def tensors(arrays):
    import tensorflow as tf

    return {name: tf.constant(values) for name, values in arrays.items()}


def parts():
    given = tensors({"kind": LOGITS[:, :3], "size": LOGITS[:, 3:]})
    return [
        float(
            batch_loss(task, None)(
                *(tensors(one).get(name) for one in (LABELS,)), given[name], tensors(WEIGHTS).get(name)
            )
        )
        for name, task in TASKS.items()
    ]


def test_merged_losses_are_added_with_their_weights():
    import tensorflow as tf

    loss = task_losses(TASKS, LossSettings({"size": 0.5}), None)
    found = float(loss(tensors(LABELS), tf.constant(LOGITS), tensors(WEIGHTS), tf.constant(0)))
    one, two = parts()
    assert found == pytest.approx(one + 0.5 * two, rel=1e-5)


@pytest.mark.parametrize("update", [0, 1, 2])
def test_other_losses_take_turns(update):
    import tensorflow as tf

    loss = task_losses(TASKS, LossSettings(merged=False), None)
    found = float(loss(tensors(LABELS), tf.constant(LOGITS), tensors(WEIGHTS), tf.constant(update)))
    assert found == pytest.approx(parts()[update % 2], rel=1e-5)


def test_one_task_has_its_plain_loss():
    task = classes_task()
    assert task_losses({"label": task}, LossSettings(), None) is batch_loss(task, None)


def test_a_loss_of_the_providers_own_is_for_one_task():
    with pytest.raises(UserError, match="is for one task, and the data have 2"):
        task_losses(TASKS, LossSettings(), lambda labels, logits: 0.0)


def test_a_student_learns_each_task_from_its_own_logits():
    import tensorflow as tf

    loss = task_losses(TASKS, LossSettings(), None)
    assert isinstance(loss, TaskLosses)
    objective = DistillationObjective(loss, DistillationPlan("cross_entropy"), TASKS["kind"].kind)
    teacher = RNG.normal(size=(3, 4)).astype(np.float32)
    batch = Batch({"frozen_logits": tf.constant(teacher)}, tensors(LABELS), {})
    soft = np.exp(teacher[:, :3]) / np.exp(teacher[:, :3]).sum(axis=1, keepdims=True)
    logs = LOGITS[:, :3] - np.log(np.exp(LOGITS[:, :3]).sum(axis=1, keepdims=True))
    expected = -(soft * logs).sum(axis=1).mean() + np.square(teacher[:, 3] - LOGITS[:, 3]).mean()
    assert float(objective.batch_loss(batch, tf.constant(LOGITS))) == pytest.approx(expected, rel=1e-4)


def test_ordered_classes_pay_for_distance_and_the_true_probabilities_cost_least():
    import tensorflow as tf

    task = dataclasses.replace(classes_task(3), ordered=True)
    loss, probabilities = batch_loss(task, None), np.array([0.2, 0.5, 0.3])
    truth = np.arange(3, dtype=np.int32)

    def cost(given):
        logits = tf.constant(np.tile(np.log(given), (3, 1)).astype(np.float32))
        return np.array([float(loss(truth[n : n + 1], logits[n : n + 1], None)) for n in range(3)])

    below = np.cumsum(probabilities)
    expected = -np.log(probabilities) - np.log([below[0], 1 - below[0], 1 - below[0]])
    expected -= np.log([below[1], below[1], 1 - below[1]])
    np.testing.assert_allclose(cost(probabilities), expected, rtol=1e-5)
    near, far = cost(np.array([0.1, 0.8, 0.1])), cost(np.array([0.8, 0.1, 0.1]))
    assert near[2] < far[2]  # the same probability of the true class, and the rest is nearer to it
    for other in ([0.3, 0.4, 0.3], [0.2, 0.3, 0.5], [1 / 3, 1 / 3, 1 / 3]):
        assert probabilities @ cost(probabilities) < probabilities @ cost(np.array(other))
    weights = tf.constant([0.0, 1.0, 2.0])
    logits = tf.constant(np.tile(np.log(probabilities), (3, 1)).astype(np.float32))
    assert float(loss(truth, logits, weights)) == pytest.approx((expected[1] + 2 * expected[2]) / 3, rel=1e-5)


def test_quantiles_are_where_their_loss_is_least():
    import tensorflow as tf

    task = Task(TaskKind.REGRESSION, "y", 2, quantiles=(0.25, 0.9))
    loss, labels = batch_loss(task, None), np.arange(101, dtype=np.float32)[:, None]

    def cost(low, high):
        return float(loss(labels, tf.constant(np.tile(np.float32([low, high]), (101, 1))), None))

    assert cost(25, 90) == pytest.approx(
        np.mean([mean_pinball_loss(labels, np.full(101, q * 100), alpha=q) for q in (0.25, 0.9)]), rel=1e-5
    )
    assert all(cost(25, 90) < cost(25 + low, 90 + high) for low, high in ((5, 0), (-5, 0), (0, 5), (0, -5)))
