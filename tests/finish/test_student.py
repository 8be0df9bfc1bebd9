"""The student that learns from the final ensemble."""

import dataclasses
import itertools
import types

import numpy as np
import pytest

from model_search.data.prepared_data import StreamData, TableData
from model_search.data.rows import Rows
from model_search.data.tabular.features import CategoryFeature, FeatureSchema, NumberFeature
from model_search.data.task import Task, TaskKind
from model_search.deadline import Deadline
from model_search.errors import StudyError, TrialError
from model_search.finish import final_stage
from model_search.finish.final_ensemble import MetricFunctions
from model_search.finish.students.student import (
    Candidate,
    DistillationTask,
    NoTimeError,
    _Distiller,
    comparison_rows,
    distil,
    small_enough,
    synthetic_rows,
    work,
)
from model_search.metadata.final_models import FinalKind, FinalMember, FinalModel
from model_search.metadata.trial import Trial, TrialKind, TrialPlan, TrialResult, TrialState
from model_search.search.history.history import History
from model_search.training.engine import Engine
from model_search.training.outcome import TrainedTower, TrainingSettings

SMALL, LARGE = ("FULLY_CONNECTED_PYRAMID",), ("FIXED_OUTPUT_FULLY_CONNECTED_64",)
SETTINGS = TrainingSettings("DNN", "loss", "minimize")


def features(rows, seed):
    return np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)


def truth(x):
    """A teacher that knows it all."""
    score = 3 * np.tanh(x[:, :1] + x[:, 1:2] * x[:, 2:3])
    return np.concatenate([score, -score], axis=1)


def teacher(inputs):
    return truth(inputs["features"])


def table(rows=120, **description):
    def labelled(x):
        return Rows.of(x, truth(x).argmax(axis=1).astype(np.int32))

    task = Task(TaskKind.CLASSIFICATION, "label", 2, (0, 1))
    return TableData(task, labelled(features(rows, 1)), labelled(features(400, 2)), "f", description)


def job(data, **others):
    made = DistillationTask(
        data, SETTINGS, teacher, truth(data.valid.inputs["features"]), (2, 1), 9, steps=60, batch_size=16, seed=3
    )
    return dataclasses.replace(made, **others)


def test_a_student_comes_nearer_to_its_teacher_than_a_tower_by_itself():
    data = table()
    student = distil(job(data, steps=400), [Candidate(LARGE, 500)])
    assert student.plan.kind is TrialKind.DISTILLATION
    assert student.plan.teacher == (1, 2)
    alone = Engine(data, SETTINGS).run(
        TrialPlan(1, TrialKind.SEARCH, LARGE, {"learning_rate": 0.001, "optimizer": "adam"}, 1600, 128, 3, "k")
    )

    def distance(logits):
        return np.square(1 / (1 + np.exp(logits[:, 1] - logits[:, 0])) - 1 / (1 + np.exp(-2 * teacher))).mean()

    teacher = truth(data.valid.inputs["features"])[:, 0]
    assert distance(student.outcome.valid_logits) < 0.5 * distance(alone.valid_logits)


def test_the_best_candidate_is_trained_longer(monkeypatch):
    steps = []
    run = Engine.run

    def watched(self, plan, *arguments):
        steps.append((plan.architecture, plan.steps))
        return run(self, plan, *arguments)

    monkeypatch.setattr(Engine, "run", watched)
    candidates = [
        Candidate(SMALL, 30),
        Candidate(LARGE, 500),
        Candidate(SMALL + SMALL, 60),
        Candidate(LARGE + LARGE, 5000),
    ]
    student = distil(job(table()), candidates)
    assert [step[0] for step in steps[:3]] == [candidate.architecture for candidate in candidates[:3]]
    assert [step[1] for step in steps] == [60, 60, 60, 240]
    assert student.plan.architecture == steps[3][0]


def test_a_candidate_starts_from_the_weights_it_brings_along():
    data = table()
    plan = TrialPlan(5, TrialKind.SEARCH, LARGE, {"learning_rate": 0.01, "optimizer": "adam"}, 200, 16, 3, "k")
    trained = Engine(data, SETTINGS).run(plan)
    candidate = Candidate(LARGE, 500, 5, lambda: TrainedTower(plan, trained.weights))
    warm = distil(job(data, steps=1), [candidate])
    cold = distil(job(data, steps=1), [Candidate(LARGE, 500)])
    assert (warm.plan.warm_start, cold.plan.warm_start) == (5, None)
    assert warm.outcome.metrics["loss"] < cold.outcome.metrics["loss"]


def after(questions):
    """A deadline that has passed when the clock has been asked so often."""
    return Deadline(questions + 0.5, clock=itertools.count(0.0).__next__)


def test_when_the_time_is_over_the_best_so_far_is_the_student():
    late = job(table(), steps=1_000_000, deadline=after(20))
    student = distil(late, [Candidate(SMALL, 30), Candidate(LARGE, 500)])
    assert student.plan.steps == 1_000_000
    assert student.outcome.best_step < 1_000_000


@pytest.mark.parametrize("questions", range(9))
def test_without_time_for_a_student_there_is_none(questions):
    late = job(table(), steps=1_000_000, deadline=after(questions))
    try:
        assert np.isfinite(distil(late, [Candidate(SMALL, 30)]).outcome.valid_logits).all()
    except NoTimeError as error:
        assert "no time is left" in str(error)
        assert questions < 8


def test_a_candidate_is_not_begun_where_it_would_not_be_ready():
    long = Candidate(LARGE, 500, seconds=1000.0)
    with pytest.raises(NoTimeError):
        distil(job(table(), deadline=after(900)), [long])
    student = distil(job(table(), deadline=after(900)), [long, Candidate(SMALL, 30)])
    assert student.plan.architecture == SMALL


def test_training_ends_when_the_time_is_over():
    clock = Clock()

    def slow(progress):
        clock.now += 60.0 if progress.step else 0.0

    student = distil(job(table(), steps=400, deadline=Deadline(50.0, clock=clock)), [Candidate(SMALL, 30)], slow)
    assert student.plan.steps == 400
    assert student.outcome.curve[-1][0] < 400


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_without_time_the_teacher_is_not_even_asked():
    clock, asked = Clock(), []
    late = job(table(), teacher=asked.append, deadline=Deadline(5.0, clock=clock))
    clock.now = 6.0
    with pytest.raises(NoTimeError):
        distil(late, [Candidate(SMALL, 30)])
    assert not asked


def test_no_candidate_is_begun_after_a_teacher_that_took_all_the_time(monkeypatch):
    clock = Clock()

    def slow(inputs):
        clock.now += 100.0
        return truth(inputs["features"])

    monkeypatch.setattr(Engine, "run", lambda *arguments: pytest.fail("a student is trained although it is too late"))
    with pytest.raises(NoTimeError):
        distil(job(table(), teacher=slow, deadline=Deadline(50.0, clock=clock)), [Candidate(SMALL, 30)])


@pytest.mark.parametrize(("left", "trainings"), [(9.0, 1), (11.0, 2)])
def test_the_longer_training_is_not_begun_when_it_is_too_late(monkeypatch, left, trainings):
    """The candidate takes 10 seconds besides the training itself."""
    clock, steps, run = Clock(), [], Engine.run

    def timed(self, plan, *arguments):
        steps.append(plan.steps)
        outcome = run(self, plan, *arguments)
        clock.now = 100.0 - left
        return outcome

    monkeypatch.setattr(Engine, "run", timed)
    student = distil(job(table(), deadline=Deadline(100.0, clock=clock)), [Candidate(SMALL, 30, seconds=10.0)])
    assert steps == [60, 240][:trainings]
    assert student.plan.steps in steps


def test_the_teacher_answers_for_as_many_rows_as_its_time_allows():
    asked = []

    def teacher(inputs):
        asked.append(len(inputs["features"]))
        return truth(inputs["features"])

    student = distil(job(table(20_000), teacher=teacher, deadline=after(20)), [Candidate(SMALL, 30)])
    assert 0 < sum(asked) < 40_000
    assert np.isfinite(student.outcome.valid_logits).all()


def test_what_the_caller_raises_ends_the_job():
    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distil(job(table()), [Candidate(SMALL, 30)], stop)


def test_without_a_candidate_it_says_what_to_do():
    with pytest.raises(StudyError, match="no network that is small enough was trained"):
        distil(job(table()), [])


def test_the_same_seed_gives_the_same_student():
    one, other = (distil(job(table()), [Candidate(SMALL, 30)]) for _ in range(2))
    np.testing.assert_array_equal(one.outcome.valid_logits, other.outcome.valid_logits)


def test_on_a_stream_the_teacher_is_asked_for_every_batch():
    rows = table()

    def batches(seed):
        while True:
            yield rows.train

    data = StreamData(rows.task, batches, rows.valid, "f", {})
    student = distil(job(data), [Candidate(SMALL, 30)])
    assert student.outcome.timings["frozen"] > 0


def test_a_student_of_numbers():
    task = Task(TaskKind.REGRESSION, "label", 2)
    x, v = features(100, 1), features(50, 2)
    data = TableData(task, Rows.of(x, truth(x)), Rows.of(v, truth(v)), "f", {})
    student = distil(job(data), [Candidate(LARGE, 500)])
    assert student.plan.distillation.loss == "mse_logits"
    assert student.outcome.metrics["r2"] > 0


def test_synthetic_rows_keep_a_column_together():
    x = np.arange(40, dtype=np.float32).reshape(10, 4)
    made = synthetic_rows(x, [slice(0, 1), slice(1, 3), slice(3, 4)], 300, np.random.default_rng(0))
    assert made.shape == (3000, 4)
    sources = (made - np.arange(4)) / 4
    assert np.array_equal(sources, sources.round())
    assert np.array_equal(sources[:, 1], sources[:, 2])
    own = np.tile(np.arange(10), 300)
    swapped = (sources != own[:, None]).mean(axis=0)
    assert np.all((swapped > 0.1) & (swapped < 0.2))


def test_the_schema_says_which_features_are_one_column():
    schema = FeatureSchema((NumberFeature("a", 0, 1, indicator=True), CategoryFeature("b", ("x",))))
    student = distil(job(table(schema=schema.to_json())), [Candidate(SMALL, 30)])
    assert np.isfinite(student.outcome.valid_logits).all()


def test_candidates_within_the_limit_each_architecture_once():
    candidates = [
        Candidate(LARGE, 500, 3),
        Candidate(SMALL, 30, 4),
        Candidate(LARGE, 500, 5),
        Candidate(LARGE + LARGE, 5000, 6),
    ]
    assert [candidate.trial for candidate in small_enough(candidates, 500)] == [3, 4]


@pytest.mark.parametrize(
    ("share", "expected"), [(2.0, [(1, 60), (2, 60), (3, 60), (1, 240)]), (0.9, [(1, 300)]), (0.1, [(1, 42)])]
)
def test_a_budget_of_work_leaves_the_first_candidate_alone_or_less_of_it(monkeypatch, share, expected):
    trained = []

    def watched(self, plan, *arguments):
        trained.append((plan.parent, plan.steps))
        return outcome

    data = table()
    outcome = Engine(data, SETTINGS).run(
        TrialPlan(1, TrialKind.SEARCH, SMALL, {"learning_rate": 0.001, "optimizer": "adam"}, 2, 16, 3, "k")
    )
    monkeypatch.setattr(Engine, "run", watched)
    candidates = [Candidate(SMALL, 10**5, number) for number in (1, 2, 3)]
    whole = 7 * 60 * work(128, 10**5)
    distil(job(data, budget=share * whole), candidates)
    assert trained == expected


FRESH = {"optimizer": "adam", "learning_rate": 0.01, "schedule": "cosine", "warmup_share": 0.05}


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ({}, (2000, 256)),  # 600 rows, with the synthetic ones
        ({"budget": 1000 * work(256, 500)}, (1000, 256)),
        ({"budget": 100 * work(256, 500)}, None),
        ({"pace": 2 / work(256, 500), "deadline": Deadline(1500.0, clock=lambda: 0.0)}, (637, 256)),
        ({"pace": 2 / work(256, 500), "deadline": Deadline(150.0, clock=lambda: 0.0)}, None),
        ({"pace": 2 / work(256, 500)}, (2000, 256)),
        # The deadline is no time limit of the user's.
        ({"pace": 2 / work(256, 500), "deadline": Deadline(150.0, clock=lambda: 0.0), "is_timed": False}, (2000, 256)),
    ],
)
def test_a_tower_for_large_tables_is_trained_from_the_beginning_if_there_is_time(monkeypatch, others, expected):
    data, trained = table(), []
    outcome = Engine(data, SETTINGS).run(TrialPlan(1, TrialKind.SEARCH, SMALL, FRESH, 2, 16, 3, "k"))

    def watched(self, plan, *arguments):
        trained.append(plan)
        return outcome

    monkeypatch.setattr(Engine, "run", watched)
    student = distil(job(data, **others), [Candidate(SMALL, 30, 1)], fresh=Candidate(LARGE, 500, hyperparameters=FRESH))
    if expected is None:
        assert student.plan.architecture == SMALL
        assert student.plan.parent == 1
    else:
        assert [(plan.architecture, plan.hyperparameters, plan.parent) for plan in trained] == [(LARGE, FRESH, None)]
        assert (student.plan.steps, student.plan.batch_size) == expected


def test_a_fresh_tower_that_diverges_leaves_it_to_a_trial(monkeypatch):
    run = Engine.run

    def diverging(self, plan, *arguments):
        if plan.parent is None:
            raise TrialError("the loss became nan")
        return run(self, plan, *arguments)

    monkeypatch.setattr(Engine, "run", diverging)
    fresh = Candidate(LARGE, 500, hyperparameters=FRESH)
    assert distil(job(table()), [Candidate(SMALL, 30, 1)], fresh=fresh).plan.architecture == SMALL
    with pytest.raises(TrialError, match="became nan"):
        distil(job(table()), [], fresh=fresh)


def test_without_a_network_and_with_little_work_there_is_no_student_and_the_teacher_is_not_asked():
    asked = []
    with pytest.raises(StudyError, match="too little work to begin one"):
        distil(job(table(), budget=10.0, teacher=asked.append), [], fresh=Candidate(LARGE, 500, hyperparameters=FRESH))
    assert not asked


@pytest.mark.parametrize("columns", [2, 4])
def test_rows_that_students_are_compared_on_are_no_training_rows(columns):
    data = table()
    known = data.train.inputs["features"][:, :columns]
    data = dataclasses.replace(data, train=data.train.with_inputs({"features": known}))
    compared = comparison_rows(data, 3)["features"]
    assert len(compared) == 2048
    assert np.array_equal(compared, comparison_rows(data, 3)["features"])
    assert not (compared[:, None] == known[None]).all(axis=2).any()


def test_steps_of_a_large_table_are_epochs():
    assert distil_steps(rows=60_000) == 12 * 180_000 // 256  # each row, and two synthetic ones


def distil_steps(rows):
    """How many steps a student with fresh weights would be trained for."""
    found = _Distiller(job(table(rows)), None)
    return found.fresh_steps(Candidate(LARGE, 500, hyperparameters=FRESH))


def test_a_student_with_fresh_weights_needs_no_trial():
    student = distil(job(table()), [], fresh=Candidate(LARGE, 500, hyperparameters=FRESH))
    assert student.plan.start is None
    assert student.outcome.metrics["loss"] < 0.3


def test_a_student_of_bags_is_not_compared_on_rows_that_its_teachers_have_seen():
    bag = TrialPlan(2, TrialKind.BAGGING, ("IDENTITY",), {}, 1, 1, 1, "bag", parent=1, folds=3)
    history = History("loss", "minimize")
    history.update([Trial(2, TrialState.COMPLETED, 1, 1, "w", bag, TrialResult({"loss": 1.0}, 1, 1, {}))])
    study = types.SimpleNamespace(history=history, store=types.SimpleNamespace(files=dict))
    ensemble = FinalModel(FinalKind.ENSEMBLE, {"loss": 1.0}, 1, 1.0, (2,), members=(FinalMember(2, 1.0),))
    student = FinalModel(FinalKind.STUDENT, {"loss": 0.1}, 1, 1.0, (2,), plan=dataclasses.replace(bag, folds=0))
    rows = np.zeros((1, 2), np.float32)
    found = final_stage._compared(study, ensemble, student, (rows, rows), MetricFunctions())
    assert not found.accepted
    assert "too good to compare it by" in found.notes[-1]
