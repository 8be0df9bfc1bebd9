"""Which models that are no networks a search tries on which data."""

import dataclasses

import numpy as np
import pytest

from model_search.data.prepared_data import TableData
from model_search.data.rows import Rows
from model_search.data.task import Task, TaskKind
from model_search.metadata.trial import BOOSTED, CLASSIC_MODELS
from model_search.training.classic.evaluator import classic_models

ALL = tuple(CLASSIC_MODELS)
SHALLOW = tuple(name for name in ALL if name != "deep_boosted_trees")


def table(rows=100, columns=5, classes=2):
    task = Task(TaskKind.CLASSIFICATION, "y", classes) if classes else Task(TaskKind.REGRESSION, "y", 1)
    labels = np.zeros(rows, np.int32) if classes else np.zeros((rows, 1), np.float32)
    given = Rows.of(np.zeros((rows, columns), np.float32), labels)
    return TableData(task, given, given.take(slice(2)), "", {"schema": {}})


@pytest.mark.parametrize("classes", [0, 2, 30])
def test_a_table_has_all(classes):
    assert classic_models(table(classes=classes)) == ALL


def test_deep_trees_where_classes_are_few_and_there_is_time_for_them():
    assert classic_models(table(classes=31)) == SHALLOW
    assert classic_models(table(), time_limit=60) == ALL
    assert classic_models(table(), time_limit=10) == SHALLOW
    assert classic_models(table(rows=20_000, columns=100), time_limit=60) == SHALLOW
    assert classic_models(table(rows=20_000, columns=100), time_limit=120) == ALL
    assert classic_models(table(classes=12), time_limit=120) == SHALLOW


def test_of_quantiles_boosted_trees_alone():
    data = dataclasses.replace(table(classes=0), task=Task(TaskKind.REGRESSION, "y", 2, quantiles=(0.1, 0.9)))
    assert classic_models(data) == BOOSTED


def test_none_where_there_are_no_columns_or_the_loss_is_another():
    data = table()
    assert classic_models(dataclasses.replace(data, description={})) == ()
    assert classic_models(dataclasses.replace(data, loss_fn=lambda labels, logits: 0.0)) == ()
