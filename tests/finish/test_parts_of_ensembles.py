"""Parts of an ensemble that are small enough to be its student."""

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model_search.data.labelled_rows import LabelledRows
from model_search.data.rows import Rows
from model_search.data.task import Task, TaskKind
from model_search.finish.students.comparison import DistanceFromTeacher, ErrorOnLabels
from model_search.finish.students.parts import Way, Whole, part_of
from model_search.metadata.final_models import FinalMember
from model_search.metadata.trial import TrialKind
from model_search.search.planning.classic_models import FORESTS, classic_plan
from model_search.towers.classic_arrays import checked, parameters_of
from model_search.towers.classic_models import classic_model
from model_search.training.classic.fitted import ClassicRows
from model_search.training.classic.fitting import fitted_models
from model_search.training.folds.bags import name_in_fold
from model_search.training.folds.thinning import models_of, thinned
from model_search.training.outcome import TrainedTower


def fitted(name, classes, steps=10, seed=0):
    """The arrays of a small classic model, rows that it has not seen, and its plan."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(200, 3)).astype(np.float32)
    signal = np.sin(2 * features[:, 0]) + features[:, 1]
    task = Task(TaskKind.CLASSIFICATION, "y", 2) if classes else Task(TaskKind.REGRESSION, "y", 1)
    targets = (signal > 0).astype(np.int32) if classes else signal.astype(np.float32)
    rows = ClassicRows(task, features, targets, None, np.full(3, -1, np.int32))
    plan = classic_plan(name, 3, seed=7, several_leaves=())
    plan = dataclasses.replace(plan, steps=steps, hyperparameters=dict(plan.hyperparameters))
    if name in FORESTS:
        plan.hyperparameters["leaf_sizes"] = "1"
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


def whole(tower, weight=1.0):
    """A member of an ensemble that is this classic model, or a bag of them."""
    number = tower.plan.trial_id
    size = sum(map(parameters_of, models_of(tower)))
    return Whole(FinalMember(number, weight), {number: size}, tower)


def within(tower, most):
    """What a part of one member keeps of it, and the part."""
    part = part_of([whole(tower)], most)
    return thinned(tower, part.members[0].share), part


@pytest.mark.parametrize("classes", [True, False])
def test_of_averaged_trees_the_first_ones_are_taken(classes):
    arrays, features, plan = fitted("extra_trees", classes)
    kept, part = within(TrainedTower(plan, arrays), parameters_of(arrays) // 3)
    assert part.parameters == parameters_of(kept.weights) <= parameters_of(arrays) // 3
    assert (kept.plan.trial_id, kept.plan.folds) == (3, 0)
    assert part.note == "it is 3 of 10 trees of trial 3"
    width = 2 if classes else 1
    every, some = (logits(each, features, width) for each in (arrays, kept.weights))
    three = fitted("extra_trees", classes, steps=3)[0]
    assert some == pytest.approx(logits(three, features, width), abs=1e-6)
    assert np.abs(every - some).mean() > 0.01


def test_each_forest_of_a_bag_keeps_some_of_its_trees():
    tower, every, _ = bag("random_forest", True)
    size = sum(map(parameters_of, every))
    kept, part = within(tower, size // 2)
    counts = [len(arrays["root"]) for arrays in models_of(kept)]
    assert all(count in (4, 5, 6) for count in counts)
    assert part.parameters <= size // 2
    assert part.note == f"it is {sum(counts)} of 30 trees of trial 3"
    assert kept.plan.folds == 3
    kept, part = within(tower, size)
    assert (part.parameters, part.note, kept.plan.folds) == (size, "it is trial 3", 3)


@pytest.mark.parametrize(("share", "models"), [(0.4, 1), (0.7, 2), (1.0, 3)])
def test_of_a_bag_of_boosted_trees_some_models_are_taken(share, models):
    tower, every, features = bag("boosted_trees", True)
    kept, part = within(tower, int(share * sum(map(parameters_of, every))))
    assert kept.plan.folds == (models if models > 1 else 0)
    assert part.parameters == sum(map(parameters_of, every[:models]))
    for arrays, own in zip(every, models_of(kept), strict=False):
        assert logits(own, features, 2) == pytest.approx(logits(arrays, features, 2))
    assert part.note == ("it is trial 3" if models == 3 else f"it is {models} of 3 models of trial 3")


def test_what_is_too_large_has_no_part():
    arrays, _, plan = fitted("boosted_trees", True)
    assert part_of([whole(TrainedTower(plan, arrays))], parameters_of(arrays) - 1) is None


@pytest.mark.parametrize("name", ["random_forest", "extra_trees"])
def test_as_many_trees_are_taken_as_there_is_room_for(name):
    arrays, _, plan = fitted(name, True)
    tower = TrainedTower(plan, arrays)
    ends = [*map(int, arrays["root"][1:]), len(arrays["feature"])]
    for limit in range(ends[0], parameters_of(arrays) + 1, 7):
        kept, part = within(tower, limit)
        expected = max(count for count, end in enumerate(ends, 1) if end <= limit)
        assert len(kept.weights["root"]) == expected
        assert part.parameters == ends[expected - 1]
    assert part_of([whole(tower)], ends[0] - 1) is None


def networks(weight, sizes, trial):
    """A member of towers that are not divided."""
    return Whole(FinalMember(trial, weight), sizes)


def kept_of(part):
    return {member.trial: (round(member.weight, 6), round(member.share, 6)) for member in part.members}


def test_members_share_the_room_by_weight_by_order_or_by_density():
    members = [networks(0.5, {1: 60}, 1), networks(0.3, {2: 30}, 2), networks(0.2, {3: 10}, 3)]
    assert kept_of(part_of(members, 100)) == {1: (0.5, 1), 2: (0.3, 1), 3: (0.2, 1)}
    assert kept_of(part_of(members, 70, Way.BY_WEIGHT)) == {1: (0.714286, 1), 3: (0.285714, 1)}
    assert kept_of(part_of(members, 70, Way.BY_DENSITY)) == {2: (0.6, 1), 3: (0.4, 1)}
    assert kept_of(part_of(members, 70, Way.DIVIDED)) == {1: (0.714286, 1), 3: (0.285714, 1)}
    assert part_of(members, 9) is None


def test_a_tower_of_several_members_counts_once():
    members = [networks(0.6, {1: 50, 2: 40}, 4), networks(0.4, {2: 40, 3: 5}, 5)]
    found = part_of(members, 95, Way.BY_WEIGHT)
    assert (set(kept_of(found)), found.parameters) == ({4, 5}, 95)
    assert set(kept_of(part_of(members, 94, Way.BY_WEIGHT))) == {4}


def test_what_a_small_member_does_not_need_is_left_to_the_larger_ones():
    tower, every, _ = bag("random_forest", True)
    size = sum(map(parameters_of, every))
    found = part_of([whole(tower, 0.2), networks(0.8, {9: 10}, 9)], size // 2 + 10)
    assert found.parameters > 0.9 * (size // 2)
    assert found.note.startswith("it is trial 9 and ")
    weights = {member.trial: member.weight for member in found.members}
    assert weights == pytest.approx({9: 0.8, 3: 0.2})


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0.01, 1), st.integers(1, 100)), min_size=1, max_size=8),
    st.integers(1, 400),
    st.sampled_from(Way),
)
@example([(1.0, 10), (0.5, 1)], 16, Way.DIVIDED)
def test_a_part_is_never_larger_than_allowed_and_its_weights_add_up(drawn, most, way):
    members = [
        networks(weight, {number: size, 100 + number % 2: 7}, number) for number, (weight, size) in enumerate(drawn, 1)
    ]
    found = part_of(members, most, way)
    if found is None:
        total = sum(weight for weight, _ in drawn)
        shares = [weight / total if way is Way.DIVIDED else 1.0 for weight, _ in drawn]
        assert all(size + 7 > share * most for share, (_, size) in zip(shares, drawn, strict=True))
        return
    towers = {}
    for member in found.members:
        towers |= members[member.trial - 1].sizes
    assert found.parameters == sum(towers.values()) <= most
    assert sum(member.weight for member in found.members) == pytest.approx(1)


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
