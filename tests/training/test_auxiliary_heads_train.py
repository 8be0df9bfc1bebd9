import dataclasses

import numpy as np
import pytest
from engine_cases import DENSE, WITH_STATE, class_rows, class_stream, class_table, number_table, plan, settings

from model_search.metadata.trial import DistillationPlan, TrialKind
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.trainers.opening.study_settings import training_settings
from model_search.training.engine import Engine
from model_search.training.metrics import resolve_metric
from model_search.training.outcome import FrozenTowers, Given
from model_search.training.training_objectives import AuxiliaryObjective, Batch


def with_head(weight=0.4, **others):
    return settings(auxiliary_weight=weight, **others)


def same(first, second):
    assert first.weights.keys() == second.weights.keys()
    return all(np.array_equal(first.weights[name], second.weights[name]) for name in first.weights)


@pytest.mark.parametrize("make", [class_table, number_table, class_stream])
def test_the_head_changes_what_is_learnt_and_is_not_kept(make):
    data, wanted = make(), plan(WITH_STATE, DENSE)
    one, plain = (Engine(data, given).run(wanted) for given in (with_head(), settings()))
    assert not same(one, plain)
    assert one.parameters == plain.parameters
    assert one.valid_logits.shape == plain.valid_logits.shape
    again = Engine(data, with_head()).logits(wanted, one.weights, data.valid.inputs)
    np.testing.assert_allclose(again, one.valid_logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("asked", "weight"), [(True, 0.5), (False, None)])
def test_the_specification_asks_for_it(asked, weight):
    spec = PhoenixSpec(use_auxiliary_head=asked, auxiliary_head_loss_weight=0.5)
    assert training_settings(spec, resolve_metric(None, None, class_table().task), None).auxiliary_weight == weight


def test_a_tower_that_is_too_short_is_trained_without_one():
    runs = [Engine(class_table(), given).run(plan(DENSE)) for given in (with_head(), settings())]
    assert same(*runs)


def test_a_student_is_trained_without_one():
    data = class_table()
    teacher = FrozenTowers(np.zeros((1, 100, 2), np.float32), train=np.ones((1, 200, 2), np.float32))
    how = {"kind": TrialKind.DISTILLATION, "teacher": (1,), "distillation": DistillationPlan("cross_entropy")}
    wanted = dataclasses.replace(plan(DENSE, DENSE), trial_id=2, **how)
    runs = [Engine(data, given).run(wanted, Given(frozen=teacher)) for given in (with_head(), settings())]
    assert same(*runs)


def test_logits_on_the_training_rows_are_those_of_the_tower():
    data, wanted = class_table(), plan(DENSE, DENSE)
    engine = Engine(data, with_head(keep_train_logits=True))
    outcome = engine.run(wanted)
    assert outcome.train_logits is not None
    expected = engine.logits(wanted, outcome.weights, data.train.inputs)
    np.testing.assert_allclose(outcome.train_logits, expected, rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_towers_and_a_share_of_the_heads():
    import tensorflow as tf

    rows = class_rows(5)
    outputs = np.arange(10, dtype=np.float32).reshape(5, 2)[:, None] * np.array([[[1.0], [3.0]]], np.float32)
    objective = AuxiliaryObjective(lambda labels, logits, weights: tf.reduce_sum(logits), 0.5)
    batch = Batch(rows.inputs, rows.labels, rows.weights)
    assert float(objective.batch_loss(batch, tf.constant(outputs))) == 45 + 0.5 * 135
