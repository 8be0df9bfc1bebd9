"""Parts of an ensemble's classic models that are small enough to be its student."""

import dataclasses

import numpy as np
import pytest

from model_search.data.labelled_rows import LabelledRows
from model_search.data.rows import Rows
from model_search.data.task import Task, TaskKind
from model_search.finish.students.comparison import DistanceFromTeacher, ErrorOnLabels
from model_search.finish.students.parts import part_of
from model_search.metadata.trial import TrialKind
from model_search.search.planning.classic_models import classic_plan
from model_search.towers.classic_arrays import checked, parameters_of
from model_search.towers.classic_models import classic_model
from model_search.training.classic.fitted import ClassicRows
from model_search.training.classic.fitting import fitted_models
from model_search.training.folds.bags import name_in_fold, weights_by_fold
from model_search.training.outcome import TrainedTower


def fitted(name, classes, steps=10, seed=0):
    """The arrays of a small classic model, rows that it has not seen, and its plan."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(200, 3)).astype(np.float32)
    signal = np.sin(2 * features[:, 0]) + features[:, 1]
    task = Task(TaskKind.CLASSIFICATION, "y", 2) if classes else Task(TaskKind.REGRESSION, "y", 1)
    targets = (signal > 0).astype(np.int32) if classes else signal.astype(np.float32)
    rows = ClassicRows(task, features, targets, None, np.full(3, -1, np.int32))
    plan = dataclasses.replace(classic_plan(name, 3, seed=7), steps=steps)
    unseen = np.random.default_rng(9).normal(size=(100, 3)).astype(np.float32)
    return list(fitted_models(plan, rows, features))[-1].arrays, unseen, plan


def bag(name, classes, models=3):
    every = [fitted(name, classes, seed=seed) for seed in range(models)]
    weights = {
        name_in_fold(fold, key): array for fold, (arrays, _, _) in enumerate(every) for key, array in arrays.items()
    }
    plan = dataclasses.replace(every[0][2], kind=TrialKind.BAGGING, folds=models)
    return TrainedTower(plan, weights), [arrays for arrays, _, _ in every], every[0][1]


def logits(arrays, features, width):
    return np.asarray(classic_model(checked(arrays, "it"), width, "it")(features))


@pytest.mark.parametrize("classes", [True, False])
def test_of_averaged_trees_the_first_ones_are_taken(classes):
    arrays, features, plan = fitted("extra_trees", classes)
    found = part_of(TrainedTower(plan, arrays), parameters_of(arrays) // 3, 9)
    assert found.parameters <= parameters_of(arrays) // 3
    assert (found.tower.plan.trial_id, found.tower.plan.parent, found.tower.plan.folds) == (9, 3, 0)
    assert "3 of 10 trees of trial 3" in found.note
    width = 2 if classes else 1
    whole, some = (logits(each, features, width) for each in (arrays, found.tower.weights))
    three = fitted("extra_trees", classes, steps=3)[0]
    assert some == pytest.approx(logits(three, features, width), abs=1e-6)
    assert np.abs(whole - some).mean() > 0.01


def test_each_forest_of_a_bag_keeps_some_of_its_trees():
    tower, every, _ = bag("random_forest", True)
    whole = sum(map(parameters_of, every))
    found = part_of(tower, whole // 2, 9)
    counts = [len(arrays["root"]) for arrays in weights_by_fold(found.tower)]
    assert all(count in (4, 5, 6) for count in counts)
    assert found.parameters <= whole // 2
    assert f"{sum(counts)} of 30 trees of trial 3" in found.note
    assert found.tower.plan.folds == 3
    assert part_of(tower, whole, 9).parameters == whole


@pytest.mark.parametrize(("share", "models"), [(0.4, 1), (0.7, 2), (1.0, 3)])
def test_of_a_bag_of_boosted_trees_some_models_are_taken(share, models):
    tower, every, features = bag("boosted_trees", True)
    found = part_of(tower, int(share * sum(map(parameters_of, every))), 9)
    assert found.tower.plan.folds == (models if models > 1 else 0)
    assert found.tower.plan.kind is (TrialKind.BAGGING if models > 1 else TrialKind.CLASSIC)
    kept = weights_by_fold(found.tower) if models > 1 else [found.tower.weights]
    for arrays, own in zip(every, kept, strict=False):
        assert logits(own, features, 2) == pytest.approx(logits(arrays, features, 2))
    assert ("models of" in found.note) == (models < 3)


def test_what_is_too_large_has_no_part():
    arrays, _, plan = fitted("boosted_trees", True)
    assert part_of(TrainedTower(plan, arrays), parameters_of(arrays) - 1, 9) is None


@pytest.mark.parametrize("name", ["random_forest", "extra_trees"])
def test_as_many_trees_are_taken_as_there_is_room_for(name):
    arrays, _, plan = fitted(name, True)
    whole, ends = parameters_of(arrays), [*map(int, arrays["root"][1:]), len(arrays["feature"])]
    for limit in range(ends[0], whole + 1, 7):
        found = part_of(TrainedTower(plan, arrays), limit, 9)
        expected = max(count for count, end in enumerate(ends, 1) if end <= limit)
        assert len(found.tower.weights["root"]) == expected
        assert found.parameters == ends[expected - 1]
    assert part_of(TrainedTower(plan, arrays), ends[0] - 1, 9) is None


def test_the_distance_from_the_teacher_needs_no_labels():
    arrays, features, _ = fitted("extra_trees", True)
    right, worse = (logits(each, features, 2) for each in (arrays, fitted("extra_trees", True, steps=2)[0]))
    measure = DistanceFromTeacher(TaskKind.CLASSIFICATION, right)
    assert measure.error(right) == pytest.approx(0, abs=1e-6)
    assert measure.error(worse) > 0.01
    assert DistanceFromTeacher(TaskKind.REGRESSION, right[:, :1] + 2).error(right[:, :1]) == pytest.approx(4, abs=1e-4)


def labelled(task, labels):
    return LabelledRows.of_rows(task, Rows.of(np.zeros((len(labels), 1), np.float32), labels))


def test_the_error_on_labels_allows_each_its_own_temperature():
    labels = (np.random.default_rng(0).random(400) < 0.8).astype(np.int32)
    measure = ErrorOnLabels(labelled(Task(TaskKind.CLASSIFICATION, "y", 2), labels))
    honest = np.log(np.array([[0.2, 0.8]] * 400, np.float32))
    assert measure.error(honest) == pytest.approx(measure.error(9 * honest), abs=0.01)
    assert measure.error(honest) < measure.error(-honest)
    numbers = ErrorOnLabels(labelled(Task(TaskKind.REGRESSION, "y", 1), np.ones((4, 1), np.float32)))
    assert numbers.error(np.zeros((4, 1))) > numbers.error(np.full((4, 1), 0.5))
