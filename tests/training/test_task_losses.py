import numpy as np
import pytest
from engine_cases import classes_task, numbers_task

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
