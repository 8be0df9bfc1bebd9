"""Bags: folds of rows, out-of-fold predictions, and the weights of their towers."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search.data.prepared_data import StreamData, TableData
from model_search.data.rows import FEATURES, Rows
from model_search.data.task import Task, TaskKind
from model_search.errors import StudyError, TrialError
from model_search.metadata.trial import TrialKind, TrialPlan
from model_search.training.evaluator import Evaluator
from model_search.training.folds.bags import fold_numbers, name_in_fold, weights_by_fold
from model_search.training.folds.evaluator import WithFolds
from model_search.training.outcome import Progress, TrainedTower, TrainingSettings, TrialOutcome

TASK = Task(TaskKind.CLASSIFICATION, "y", 2)
SETTINGS = TrainingSettings("DNN", "loss", "minimize")


def rows(count, first=0):
    """Rows whose feature is their own number."""
    numbers = np.arange(first, first + count, dtype=np.float32)
    return Rows.of(numbers[:, None], (numbers % 2).astype(np.int32))


DATA = TableData(TASK, rows(16), rows(8, 16), "f", {"task": TASK.to_json()})


SEEN = []


def plan(**others):
    return TrialPlan(9, TrialKind.BAGGING, ("IDENTITY",), {}, 10, 8, 5, "k", parent=3, **({"folds": 4} | others))


class Remembers(Evaluator):
    """Predicts for a row, as the logit of class 1, how often it was trained on; keeps what it was given."""

    def __init__(self, data, settings):
        self.data, self.seen = data, SEEN

    def run(self, plan, given=None, on_progress=None):
        self.seen.append((plan, self.data))
        on_progress(Progress(5, 10, 0.5, None))
        train, valid = (part.inputs[FEATURES][:, 0] for part in (self.data.train, self.data.valid))
        trained = np.isin(valid, train).astype(np.float32)
        logits = np.stack([0 * trained, trained], axis=1) + len(self.seen)
        return TrialOutcome({"loss": 0.0}, 7, 10, {"train": 1.0}, (), {"a/b": np.full(2, len(self.seen))}, logits)

    def forward(self, towers):
        raise AssertionError

    def logits_of(self, tower):
        raise AssertionError


@pytest.fixture
def remembered():
    SEEN.clear()
    return SEEN


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 12), st.integers(0, 2**20), st.lists(st.integers(0, 3), min_size=12, max_size=200))
def test_folds_are_of_one_size_and_have_all_classes(folds, seed, classes):
    classes = np.array(classes)
    found = fold_numbers(len(classes), folds, seed, classes)
    for part in (classes >= 0, *(classes == one for one in np.unique(classes))):
        counts = np.bincount(found[part], minlength=folds)
        assert len(counts) == folds
        assert counts.max() - counts.min() <= 1
    assert np.array_equal(found, fold_numbers(len(classes), folds, seed, classes))


def test_every_row_is_predicted_by_the_tower_that_was_trained_without_it(remembered):
    reports = []
    outcome = WithFolds(Remembers, DATA, SETTINGS).run(plan(), None, reports.append)
    assert len(remembered) == 4
    both = np.concatenate([outcome.train_logits, outcome.valid_logits])
    assert both.shape == (24, 2)
    assert (both[:, 1] == both[:, 0]).all()  # none was trained on
    predicted_by = np.zeros(24)
    for number, (alone, data) in enumerate(remembered, 1):
        assert (alone.folds, alone.seed, alone.parent) == (0, 5 + number - 1, 3)
        assert alone.steps == round(10 * len(data.train) / 16)  # as many epochs
        left_out = data.valid.inputs[FEATURES][:, 0].astype(int)
        assert len(data.train) + len(left_out) == 24
        assert np.bincount(data.valid.label).tolist() == [3, 3]
        predicted_by[left_out] = number
    assert np.array_equal(both[:, 0], predicted_by)
    assert outcome.parameters == 28
    assert outcome.timings == {"train": 4.0}
    assert outcome.metrics["loss"] == pytest.approx(np.log(2))
    assert [report.step for report in reports] == [5, 15, 25, 35]
    assert {report.steps for report in reports} == {40}
    tower = TrainedTower(plan(), outcome.weights)
    assert [weights["a/b"].tolist() for weights in weights_by_fold(tower)] == [[n, n] for n in (1, 2, 3, 4)]


def test_other_plans_are_left_to_the_evaluator_of_single_towers(remembered):
    WithFolds(Remembers, DATA, SETTINGS).run(plan(folds=0), None, lambda progress: None)
    assert [found.trial_id for found, _ in remembered] == [9]


def test_a_stream_has_no_folds():
    stream = StreamData(TASK, lambda seed: iter(()), rows(8), "f", {})
    with pytest.raises(TrialError, match="a stream has no rows to divide"):
        WithFolds(Remembers, stream, SETTINGS).run(plan())


def test_weights_that_are_not_those_of_the_folds_are_refused():
    weights = {name_in_fold(fold, "a"): np.ones(1) for fold in range(3)}
    with pytest.raises(StudyError, match="not those of 4 folds"):
        weights_by_fold(TrainedTower(plan(), weights))
    assert len(weights_by_fold(TrainedTower(plan(folds=3), weights))) == 3


@pytest.mark.parametrize("changes", [{"folds": 1}, {"folds": 51}, {"folds": -2}])
def test_a_plan_of_no_folds_is_refused(changes):
    with pytest.raises(ValueError, match="expected 2 to 50"):
        plan(**changes)
    assert TrialPlan.from_json(plan().to_json()) == plan()
    assert "folds" not in plan(folds=0).to_json()
    assert not plan().trains_one_tower
    assert dataclasses.replace(plan(), folds=0).trains_one_tower


def further(*left_out, **others):
    return dataclasses.replace(plan(**others), kind=TrialKind.FOLDS, left_out=left_out)


def test_a_trial_on_some_folds_is_evaluated_on_their_rows_alone_and_is_no_model(remembered):
    everything = WithFolds(Remembers, DATA, SETTINGS).run(plan(), None, lambda progress: None)
    of_bag = list(remembered)
    remembered.clear()
    outcome = WithFolds(Remembers, DATA, SETTINGS).run(further(1, 2), None, lambda progress: None)
    for (alone, data), (expected, of_expected) in zip(remembered, of_bag[1:3], strict=True):
        assert alone == dataclasses.replace(expected, trial_id=9)  # the models of the whole bag
        assert np.array_equal(data.valid.inputs[FEATURES], of_expected.valid.inputs[FEATURES])
    assert len(outcome.valid_logits) == 12 and len(everything.train_logits) == 16
    by = np.concatenate([everything.train_logits, everything.valid_logits])[:, 0]
    assert outcome.valid_logits[:, 0].tolist() == [place - 1 for place in by if place in (2, 3)]
    assert not outcome.weights and outcome.train_logits is None
    assert outcome.metrics["loss"] == pytest.approx(np.log(2))


def test_another_division_has_other_folds(remembered):
    WithFolds(Remembers, DATA, SETTINGS).run(further(0), None, lambda progress: None)
    WithFolds(Remembers, DATA, SETTINGS).run(further(4), None, lambda progress: None)
    one, other = (set(data.valid.inputs[FEATURES][:, 0]) for _, data in remembered)
    assert len(one) == len(other) == 6 and one != other
    assert [alone.seed for alone, _ in remembered] == [5, 9]


@pytest.mark.parametrize("left_out", [(1, 0), (0, 0), (3, 4), (-1,), (40,)])
def test_folds_that_are_none_are_refused(left_out):
    with pytest.raises(ValueError, match="expected different folds of one division, in order, below 40"):
        further(*left_out)


def test_a_plan_on_some_folds_is_read_back_and_says_what_it_is():
    made = further(4, 6)
    assert TrialPlan.from_json(made.to_json()) == made
    assert "left_out" not in plan().to_json()
    assert (made.division, made.is_bag, plan().is_bag, plan(folds=0).is_bag) == (1, False, True, False)
    for wrong in ({"kind": TrialKind.BAGGING}, {"parent": None}, {"left_out": ()}):
        with pytest.raises(ValueError, match="leaves out"):
            dataclasses.replace(made, **wrong)
