"""Which models that are no networks a search tries on which data."""

import dataclasses

import numpy as np
import pytest

from model_search.data.prepared_data import TableData
from model_search.data.rows import Rows
from model_search.data.tabular.features import CategoryFeature, FeatureSchema, NumberFeature
from model_search.data.task import Task, TaskKind
from model_search.metadata.trial import BOOSTED, CLASSIC_MODELS
from model_search.search.planning.classic_models import AS_USUAL, FORESTS, Boosting, classic_plan, leaf_sizes
from model_search.training.classic.evaluator import boosting_in_time, classic_models, several_leaves_in_time

ALL = tuple(name for name in CLASSIC_MODELS if name != "sparse_linear")
SHALLOW = tuple(name for name in ALL if name != "deep_boosted_trees")
OF_MANY_ROWS = tuple(name for name in ALL if name != "kernel")


def table(rows=100, columns=5, classes=2):
    task = Task(TaskKind.CLASSIFICATION, "y", classes) if classes else Task(TaskKind.REGRESSION, "y", 1)
    labels = np.zeros(rows, np.int32) if classes else np.zeros((rows, 1), np.float32)
    given = Rows.of(np.zeros((rows, columns), np.float32), labels)
    schema = FeatureSchema(tuple(NumberFeature(f"number {column}", 0.0, 1.0) for column in range(columns)))
    return TableData(task, given, given.take(slice(2)), "", {"schema": schema.to_json()})


@pytest.mark.parametrize("classes", [0, 2, 30])
def test_a_table_has_all(classes):
    assert classic_models(table(classes=classes)) == ALL


@pytest.mark.parametrize(
    ("rows", "classes", "has"), [(5000, 0, True), (5001, 0, False), (5000, 2, True), (1667, 3, False)]
)
def test_kernel_models_are_for_small_tables(rows, classes, has):
    assert ("kernel" in classic_models(table(rows, classes=classes))) is has
    assert ("kernel" in classic_models(table(rows, classes=classes), time_limit=40)) is has
    assert "kernel" not in classic_models(table(rows, classes=classes), time_limit=30)


def test_deep_trees_where_classes_are_few_and_there_is_time_for_them():
    assert classic_models(table(classes=31)) == SHALLOW
    assert classic_models(table(), time_limit=60) == ALL
    assert classic_models(table(), time_limit=5) == tuple(name for name in SHALLOW if name != "kernel")
    many = {"rows": 20_000, "columns": 100}
    assert "deep_boosted_trees" not in classic_models(table(**many), time_limit=60)
    assert classic_models(table(**many), time_limit=120) == OF_MANY_ROWS
    assert "deep_boosted_trees" not in classic_models(table(rows=40_000, columns=100), time_limit=120)
    assert classic_models(table(classes=14), time_limit=120) == SHALLOW
    wide = table(rows=2000, columns=290, classes=0)
    # 600 rounds of 127 leaves, each split among 174 columns: 24.6 s, of which three quarters have to be there
    assert "deep_boosted_trees" not in classic_models(wide, time_limit=110)
    assert "deep_boosted_trees" in classic_models(wide, time_limit=112)
    few = table(rows=200, columns=290, classes=0)  # for 40 leaves
    assert "deep_boosted_trees" in classic_models(few, time_limit=60)


def test_forests_where_there_is_time_to_grow_them():
    forests = {"extra_trees", "random_forest"}
    many = table(rows=200_000, columns=40, classes=0)
    # 60 trees of 16,666 nodes at most compare half of the columns on 14 levels: 33.7 s, and twice that
    for limit, expected in ((134, set()), (136, {"extra_trees"}), (269, {"extra_trees"}), (271, forests)):
        assert forests & set(classic_models(many, time_limit=limit)) == expected
    assert forests <= set(classic_models(many))
    assert forests <= set(classic_models(table(rows=200_000, columns=40, classes=2), time_limit=120))  # 6 columns


def test_forests_have_leaves_of_several_sizes_where_there_is_time_to_grow_them():
    data = table(rows=20_000, columns=20, classes=0)
    # 180 trees of 16,666 nodes at most compare half of the columns on 14 levels: 5.05 s, and twice that
    for limit, expected in ((40, ()), (41, ("extra_trees",)), (80, ("extra_trees",)), (81, FORESTS), (None, FORESTS)):
        assert several_leaves_in_time(data, limit) == expected
    features = [NumberFeature("x", 0.0, 1.0), CategoryFeature("c", tuple(map(str, range(18))))]
    categories = {"schema": FeatureSchema(tuple(features)).to_json()}
    assert several_leaves_in_time(dataclasses.replace(data, description=categories), 16) == FORESTS
    plans = [classic_plan("extra_trees", 6, 1, several_leaves=names) for names in (FORESTS, ("random_forest",))]
    assert [(plan.steps, leaf_sizes(plan)) for plan in plans] == [(180, (10, 3, 1)), (60, (3,))]


WIDE = ("linear", "sparse_linear", "boosted_trees", "extra_trees", "kernel", "deep_boosted_trees", "random_forest")


@pytest.mark.parametrize(
    ("rows", "columns", "classes", "expected"),
    [
        (60, 20, 0, WIDE),
        (60, 20, 2, WIDE),
        (60, 19, 0, ALL),
        (61, 20, 0, ALL),
        (100, 200_000, 2, WIDE),
        (100, 200_001, 2, ALL),
        (100, 2_000, 5, WIDE),
        (100, 2_001, 5, ALL),
    ],
)
def test_linear_models_come_first_where_there_are_many_columns_for_few_rows(rows, columns, classes, expected):
    assert classic_models(table(rows, columns, classes)) == expected


def test_boosting_has_fewer_rounds_where_time_is_short():
    assert boosting_in_time(table(rows=40_000, columns=100), None) == AS_USUAL
    assert boosting_in_time(table(), time_limit=120) == AS_USUAL
    assert boosting_in_time(table(rows=40_000, columns=100), time_limit=126).share == pytest.approx(0.5)
    three = table(rows=40_000, columns=100, classes=3)
    assert boosting_in_time(three, time_limit=126) == Boosting(pytest.approx(1 / 6))
    plans = {share: classic_plan("boosted_trees", 3, 7, Boosting(share)) for share in (1.0, 0.5, 0.1)}
    assert {share: plan.steps for share, plan in plans.items()} == {1.0: 800, 0.5: 400, 0.1: 80}
    rates = [plan.hyperparameters["learning_rate"] for plan in plans.values()]
    assert rates == pytest.approx([0.05, 0.1, 0.2])
    assert classic_plan("extra_trees", 3, 7, Boosting(0.1, in_order=True)) == classic_plan("extra_trees", 3, 7)


def test_categories_become_one_column_each_where_there_is_time_for_few_rounds():
    words = tuple("abcdefghijklmnopqrst")
    features = [NumberFeature("number", 0.0, 1.0), CategoryFeature("pair", ("x",))]
    features += [CategoryFeature(f"word {number}", words) for number in range(4)]
    schema = FeatureSchema(tuple(features))
    data = dataclasses.replace(table(40_000, schema.width, 0), description={"schema": schema.to_json()})
    assert schema.width == 3 + 4 * 21
    # 36.8 s as they are, and 4.8 s with 7 columns
    assert boosting_in_time(data, time_limit=6 * 36.8 * 0.31) == Boosting(pytest.approx(0.31))
    assert boosting_in_time(data, time_limit=6 * 36.8 * 0.29) == Boosting(1.0, in_order=True)
    assert boosting_in_time(data, time_limit=6 * 2.4) == Boosting(pytest.approx(0.5), in_order=True)
    assert "deep_boosted_trees" in classic_models(data, time_limit=6 * 36.8 * 0.29)
    assert classic_plan("boosted_trees", 3, 7, Boosting(0.5, in_order=True)).hyperparameters["categories"] == "ordered"
    assert "categories" not in classic_plan("boosted_trees", 3, 7, Boosting(0.5)).hyperparameters


def test_of_quantiles_boosted_trees_alone():
    data = dataclasses.replace(table(classes=0), task=Task(TaskKind.REGRESSION, "y", 2, quantiles=(0.1, 0.9)))
    assert classic_models(data) == BOOSTED


def test_none_where_there_are_no_columns_or_the_loss_is_another():
    data = table()
    assert classic_models(dataclasses.replace(data, description={})) == ()
    assert classic_models(dataclasses.replace(data, loss_fn=lambda labels, logits: 0.0)) == ()
