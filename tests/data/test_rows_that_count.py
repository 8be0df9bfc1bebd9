"""Weights of 0, and labels of further tasks that no validation row has: nothing is measured where no row counts."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from model_search.data import array_data, sequence_data, text_data
from model_search.data.prepare_options import PrepareOptions
from model_search.errors import DataError
from model_search.finish.evaluate import metrics_of_tasks
from model_search.training.evaluation import ValidationMetrics
from model_search.training.outcome import TrainingSettings

ROWS = 40
OPTIONS = PrepareOptions(seed=1, batch_size=8, embedding="EMBEDDING")
BEFORE = dataclasses.replace(OPTIONS, reading_rules=4)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 3))
KINDS = np.array(["a", "b"])[np.arange(ROWS) % 2]
SEQUENCES = RNG.normal(size=(ROWS, 4, 1))
PROVIDERS = [
    lambda y, w: array_data.Provider(X, y, weights=w),
    lambda y, w: array_data.Provider({"x": X, "s": SEQUENCES}, y, weights=w),
    lambda y, w: sequence_data.Provider(SEQUENCES, y, weights=w),
    lambda y, w: text_data.Provider(["word again word"] * ROWS, y, weights=w),
]


def rows_of(data):
    """The numbers of the validation rows, from a task that holds them."""
    task = data.tasks["row"]
    return np.rint(data.valid.labels["row"][:, 0] * task.target_scale + task.target_mean).astype(int)


@pytest.mark.parametrize("make", PROVIDERS)
def test_a_split_in_which_no_row_counts_is_refused(make):
    valid = rows_of(make({"kind": KINDS, "row": np.arange(ROWS) + 0.0}, None).prepare(OPTIONS))
    weights = np.ones(ROWS)
    weights[valid] = 0
    with pytest.raises(
        DataError, match=f"each of the {len(valid)} validation .* weighs 0; .*: leave out .* of weight 0"
    ):
        make(KINDS, weights).prepare(OPTIONS)
    with pytest.raises(DataError, match=f"each of the {ROWS - len(valid)} training .* weighs 0"):
        make(KINDS, 1 - weights).prepare(OPTIONS)
    assert not make(KINDS, weights).prepare(BEFORE).valid.weight.any()
    weights[valid[0]] = 1
    assert make(KINDS, weights).prepare(OPTIONS).valid.weight.sum() == 1


def test_steps_that_do_not_count_are_refused():
    options = dataclasses.replace(OPTIONS, label_per_step=True)
    y = np.arange(ROWS * 4).reshape(ROWS, 4) + 0.5
    data = sequence_data.Provider(SEQUENCES, y).prepare(options)
    first = data.valid.labels["label"][:, 0, 0] * data.task.target_scale + data.task.target_mean
    weights = np.ones(ROWS)
    weights[np.rint((first - 0.5) / 4).astype(int)] = 0
    with pytest.raises(DataError, match=r"each of the 8 validation sequences weighs 0"):
        sequence_data.Provider(SEQUENCES, y, weights=weights).prepare(options)


@pytest.mark.parametrize("make", PROVIDERS)
@pytest.mark.parametrize("has_numbers", [True, False])
def test_a_further_task_without_validation_labels_has_no_metrics(make, has_numbers):
    valid = rows_of(make({"kind": KINDS, "row": np.arange(ROWS) + 0.0}, None).prepare(OPTIONS))
    rare = pd.Series(np.arange(ROWS) + 0.5 if has_numbers else KINDS[::-1]).astype(object)
    rare[valid] = None
    rare = rare.astype(float) if has_numbers else rare
    data = make({"kind": KINDS, "rare": rare}, None).prepare(OPTIONS)
    notes = [note for note in data.description["notes"] if "validation row" in note]
    assert notes == ["no validation row has a label of 'rare' (or all such rows weigh 0); this task has no metrics"]
    width = sum(task.logits_dimension for task in data.tasks.values())
    logits = RNG.normal(size=(len(data.valid), width)).astype(np.float32)
    found = ValidationMetrics(data, TrainingSettings("DNN", "accuracy", "maximize")).all(logits)
    assert "accuracy" in found and not [name for name in found if "/" in name]
    assert metrics_of_tasks(data.tasks, data.valid, logits, [1.0, 1.0]).keys() == found.keys()
    trained = metrics_of_tasks(data.tasks, data.train, np.repeat(logits[:1], len(data.train), axis=0), [1.0, 1.0])
    assert "loss/rare" in trained


def test_rows_to_evaluate_on_that_all_weigh_0_are_refused():
    data = array_data.Provider(X, KINDS).prepare(OPTIONS)
    rows = dataclasses.replace(data.valid, weights={"label": np.zeros(len(data.valid), np.float32)})
    with pytest.raises(DataError, match="every weight of the 8 rows is 0; expected some above 0 to evaluate on"):
        metrics_of_tasks(data.tasks, rows, np.zeros((len(rows), 2), np.float32), [1.0])
