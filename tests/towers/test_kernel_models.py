"""Kernel models: the same numbers as of NumPy in Keras and in bags, and as of scikit-learn on the same kernel."""

import dataclasses

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from model_search.data.task import Task, TaskKind
from model_search.errors import StudyError
from model_search.metadata.trial import TrialKind
from model_search.search.planning.classic_models import classic_plan, widths, with_length_of
from model_search.towers.classic_arrays import (
    KERNEL,
    as_logits,
    checked,
    columns_of,
    parameters_of,
    similarities,
    squared_distances,
)
from model_search.towers.classic_models import bag_of_classic_models, classic_model
from model_search.training.classic.fitted import ClassicRows
from model_search.training.classic.fitting import fitted_models, patience

PLAN = classic_plan("kernel", 3, seed=7)


def table(classes, rows=120, seed=0, weighted=True):
    """A smooth function of two of four columns."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, 4)).astype(np.float32)
    signal = np.sin(2 * features[:, 0]) + features[:, 1] ** 2
    unmarked, weights = np.full(4, -1, np.int32), rng.random(rows) + 0.5 if weighted else None
    if not classes:
        return ClassicRows(Task(TaskKind.REGRESSION, "y", 1), features, signal.astype(np.float32), weights, unmarked)
    targets = np.digitize(signal, np.quantile(signal, np.arange(1, classes) / classes)).astype(np.int32)
    return ClassicRows(Task(TaskKind.CLASSIFICATION, "y", classes), features, targets, weights, unmarked)


def every_step(plan, rows):
    return {fitted.step: fitted for fitted in fitted_models(plan, rows, rows.features)}


def logits(arrays, features, width):
    return np.asarray(classic_model(checked(arrays, "it"), width, "it")(features))


def test_it_learns_what_a_linear_model_cannot():
    rows, other = table(0, rows=400), table(0, rows=200, seed=1)
    errors = [
        np.mean((fitted.outputs[:, 0] - other.targets) ** 2) for fitted in fitted_models(PLAN, rows, other.features)
    ]
    assert len(errors) == PLAN.steps == patience(PLAN)
    assert min(errors) < 0.05 * other.targets.var()


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_keras_gives_the_outputs_of_every_step(classes):
    rows = table(classes)
    found, width = every_step(PLAN, rows), rows.task.logits_dimension
    each = PLAN.steps // len(widths(PLAN))
    without_weakest = [step for step in range(1, PLAN.steps + 1) if (step - 1) % each < 4]
    assert list(found) == (without_weakest if classes else list(range(1, PLAN.steps + 1)))
    for fitted in list(found.values())[::7]:
        assert as_logits(fitted.outputs, width) == pytest.approx(logits(fitted.arrays, rows.features, width), abs=5e-3)
        outputs = fitted.outputs.shape[1]
        assert columns_of(fitted.arrays) == 4
        assert parameters_of(fitted.arrays) == 120 * 4 + 1 + 120 * outputs + outputs


def test_it_is_ridge_regression_on_its_kernel():
    rows = table(0, weighted=False)
    rows = dataclasses.replace(rows, targets=rows.targets - rows.targets.mean())
    fitted = every_step(PLAN, rows)[3 * 8 + 3]  # the fourth width, the third penalty
    seen = similarities(squared_distances(rows.features, rows.features), fitted.arrays["scale"])
    centred = seen - seen.mean(axis=0)
    centred -= centred.mean(axis=1, keepdims=True)
    model = KernelRidge(alpha=0.0000256 * 5**5, kernel="precomputed").fit(centred, rows.targets)
    assert fitted.outputs[:, 0] == pytest.approx(model.predict(centred), abs=2e-3)
    usual = np.median(np.square(rows.features[:, None] - rows.features[None]).sum(axis=2)[~np.eye(120, dtype=bool)])
    assert 1 / (0.3 * usual) == pytest.approx(fitted.arrays["scale"][0], rel=1e-3)


def test_of_many_rows_some_are_centers_and_as_many_rows_as_centers_are_no_special_case():
    rows = table(0, rows=1200)
    plan = with_length_of(PLAN, 20)
    *_, fitted = fitted_models(plan, rows, rows.features[:1000])
    assert fitted.arrays["centers"].shape == (1000, 4)
    assert fitted.outputs == pytest.approx(logits(fitted.arrays, rows.features[:1000], 1), abs=5e-3)


def test_equal_rows_and_a_class_without_rows_give_finite_logits():
    rows = table(2)
    same = dataclasses.replace(rows, features=np.zeros_like(rows.features))
    lacking = dataclasses.replace(
        rows, task=Task(TaskKind.CLASSIFICATION, "y", 4), targets=np.where(rows.targets == 1, 3, 0)
    )
    for given in (same, lacking):
        for fitted in every_step(PLAN, given).values():
            width = given.task.logits_dimension
            own = as_logits(fitted.outputs, width)
            assert np.isfinite(own).all() and own.shape == (120, width)
    assert (own[:, 1:3] < own[:, [0, 3]].max(axis=1, keepdims=True)).all()


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("step", [1, 12, 28])
def test_a_bag_has_the_width_and_the_penalty_that_were_best(classes, step):
    rows = table(classes)
    chosen = with_length_of(PLAN, step)
    again = every_step(dataclasses.replace(chosen, kind=TrialKind.BAGGING), rows)[chosen.steps]
    first = every_step(PLAN, rows)[step]
    assert again.arrays["scale"] == first.arrays["scale"]
    assert again.outputs == pytest.approx(first.outputs, rel=2e-2, abs=2e-2)
    assert with_length_of(chosen, chosen.steps) == chosen
    width = rows.task.logits_dimension
    bag = bag_of_classic_models([first.arrays, again.arrays], width, "it", lambda parts: (parts[0] + parts[1]) / 2)
    both = (logits(first.arrays, rows.features, width) + logits(again.arrays, rows.features, width)) / 2
    assert np.asarray(bag(rows.features)) == pytest.approx(both, abs=1e-4)


@pytest.mark.parametrize(
    "changed",
    [
        {"scale": np.zeros(1, np.float32)},
        {"scale": np.ones(2, np.float32)},
        {"centers": np.ones((3, 2, 1), np.float32)},
        {"centers": np.ones((4, 2), np.float32)},
        {"bias": np.ones(2, np.float32)},
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(changed):
    arrays = {
        "centers": np.ones((3, 2), np.float32),
        "scale": np.ones(1, np.float32),
        "kernel": np.ones((3, 1), np.float32),
        "bias": np.ones(1, np.float32),
    }
    assert set(checked(arrays, "it")) == set(KERNEL)
    with pytest.raises(StudyError, match="do not fit together"):
        checked({**arrays, **changed}, "it")
