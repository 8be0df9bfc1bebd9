"""What a user may say of a task, and what is refused in words."""

import numpy as np
import pandas as pd
import pytest

from model_search.data import array_data, csv_data
from model_search.data.prepare_options import PrepareOptions
from model_search.data.tabular.task_choice import parse_choice
from model_search.data.task import TargetKind, Task, TaskKind
from model_search.errors import DamagedRecordError, DataError

X = np.arange(60.0)[:, None] % 7
WORDS = np.array(["low", "middle", "high"])[np.arange(60) % 3]


def prepared(y, **options):
    return array_data.Provider(X, y, **options).prepare(PrepareOptions(seed=1, batch_size=16))


@pytest.mark.parametrize("options", [{"task": "ordinal"}, {}])
def test_classes_are_in_the_order_that_is_given(options):
    data = prepared(WORDS, classes=["low", "middle", "high", "never seen"], **options)
    assert data.task.target is TargetKind.ORDERED_CLASSES
    assert data.task.classes == ("low", "middle", "high", "never seen")
    assert data.task.logits_dimension == 4
    assert Task.from_json(data.task.to_json()) == data.task


def test_numbers_and_ordered_categories_have_an_order_of_their_own():
    assert prepared(np.arange(60) % 4 * 10, task="ordinal").task.classes == (0, 10, 20, 30)
    categories = pd.Categorical(WORDS, categories=["low", "middle", "high"], ordered=True)
    assert prepared(pd.Series(categories), task="ordinal").task.classes == ("low", "middle", "high")


def test_a_file_and_an_array_give_the_same_order(tmp_path):
    pd.DataFrame({"x": X[:, 0], "y": np.arange(60) % 3 + 1}).to_csv(tmp_path / "rows.csv", index=False)
    provider = csv_data.Provider(filename=tmp_path / "rows.csv", label="y", classes=["3", "1", "2"])
    assert provider.prepare(PrepareOptions(seed=1, batch_size=16)).task.classes == ("3", "1", "2")


def test_quantiles_have_a_logit_each_and_one_target():
    data = prepared(X[:, 0] * 1.5, quantiles=np.array([0.1, 0.9]))
    assert data.task.target is TargetKind.QUANTILES
    assert (data.task.quantiles, data.task.logits_dimension) == ((0.1, 0.9), 2)
    assert data.train.label.shape[1] == 1
    assert Task.from_json(data.task.to_json()) == data.task
    assert prepared(X[:, 0] * 1.5, task="quantile").task.quantiles == (0.1, 0.5, 0.9)
    with pytest.raises(DamagedRecordError, match="quantiles"):
        Task.from_json(data.task.to_json() | {"quantiles": [0.9, 0.1]})


def test_other_choices_are_other_data():
    numbers = np.arange(60) % 4
    prints = {prepared(numbers, task=task).fingerprint for task in ("classification", "ordinal")}
    prints |= {prepared(numbers, quantiles=quantiles).fingerprint for quantiles in ([0.5], [0.4])}
    assert len(prints) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"task": "ordinal"}, r"the order of the labels .* is unknown .*classes=\["),
        ({"classes": ["low", "high"]}, "holds 'middle', which classes lacks"),
        ({"classes": "low"}, "at least two different ones"),
        ({"classes": ["low", "low"]}, "at least two different ones"),
        ({"classes": ["low", "high"], "task": "classification"}, "expected 'ordinal', or no classes"),
        ({"quantiles": [0.5]}, "are no numbers"),
        ({"quantiles": [0.9, 0.1]}, "rising numbers between 0 and 1"),
        ({"quantiles": [0.0, 0.5]}, "rising numbers between 0 and 1"),
        ({"quantiles": 0.5}, "rising numbers between 0 and 1"),
        ({"quantiles": ["half"]}, "rising numbers between 0 and 1"),
        ({"quantiles": [0.5], "task": "ordinal"}, "expected 'quantile', or no quantiles"),
        ({"task": "ordered"}, "expected one of 'classification', 'regression', 'ordinal', 'quantile'"),
    ],
)
def test_what_cannot_be_is_refused_in_words(options, words):
    with pytest.raises(DataError, match=words):
        prepared(WORDS, **options)


def test_several_tasks_may_be_in_an_order_by_their_numbers():
    y = {"grade": np.arange(60) % 3, "size": X[:, 0]}
    data = prepared(y, task={"grade": "ordinal"})
    assert next(iter(data.tasks.values())).target is TargetKind.ORDERED_CLASSES
    with pytest.raises(DataError, match="those of one label"):
        prepared(y, quantiles=[0.5])


def test_kinds_are_choices_too():
    assert parse_choice(TaskKind.REGRESSION).kind is TaskKind.REGRESSION
    assert parse_choice(None) is None


def test_the_scale_of_quantiles_is_that_of_most_targets():
    y = np.append(np.random.default_rng(0).normal(5, 2, 297), [1e9, 2e9, 3e9])
    x = np.arange(300.0)[:, None] % 7
    task = array_data.Provider(x, y, quantiles=[0.5]).prepare(PrepareOptions(seed=1, batch_size=16)).task
    assert abs(task.target_mean - 5) < 0.5
    assert abs(task.target_scale - 2) < 0.5
    same = np.append(np.zeros(290), np.arange(10.0))
    task = array_data.Provider(x, same, quantiles=[0.5]).prepare(PrepareOptions(seed=1, batch_size=16)).task
    assert task.target_scale > 0.1
