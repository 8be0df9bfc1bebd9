"""Models that are built from what trials of every kind have left answer as the trials did."""

import contextlib
import dataclasses

import numpy as np
import pytest

from model_search.data.prepared_data import TableData
from model_search.data.rows import Rows
from model_search.data.task import Task, TaskKind
from model_search.errors import StudyError
from model_search.finish.final_ensemble import StudyParts, parameters_of
from model_search.finish.study_models import LatestModel, StudyModels
from model_search.metadata.artefacts import LocalArtefacts, load_arrays, save_arrays
from model_search.metadata.final_models import FinalKind, FinalMember, FinalModel
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import StudyRecord
from model_search.metadata.trial import EnsemblePlan, TrialKind, TrialPlan
from model_search.search.history.history import History
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.progress import ProgressDisplay
from model_search.trainers.worker import Worker, WorkerParts
from model_search.training.engine import Engine
from model_search.training.outcome import TrainingSettings

BLOCK, SMALL = "FIXED_OUTPUT_FULLY_CONNECTED_64", "FULLY_CONNECTED_PYRAMID"
TASK = Task(TaskKind.CLASSIFICATION, "label", 2, (0, 1))


def rows(count, seed):
    features = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    return Rows.of(features, (features[:, 0] > features[:, 1]).astype(np.int32))


DATA = TableData(TASK, rows(60, 1), rows(30, 2), "f", {})


def plan(number, *architecture, members=(), combining=None, **how):
    return TrialPlan(
        number,
        TrialKind.ENSEMBLE if members else TrialKind.SEARCH,
        architecture,
        {"learning_rate": 0.01, "optimizer": "adam"},
        steps=8,
        batch_size=8,
        seed=number,
        key=f"key {number}",
        members=members,
        ensemble=EnsemblePlan(combining, **how) if members else None,
    )


PLANS = [
    plan(1, BLOCK),
    plan(2, SMALL),
    plan(3, members=(1, 2), combining="average"),
    plan(4, SMALL, members=(1, 2), combining="average", residual=True),
    plan(5, SMALL, members=(1, 2), combining="weighted"),
    plan(6, members=(2, 4), combining="weighted"),
    plan(7, members=(1, 2), combining="average", freeze=False),
    plan(8, SMALL, members=(2, 7), combining="weighted", freeze=False),
    plan(9, members=(1, 7), combining="average"),
]


class Listed:
    def plan(self, trial_id, history, attempt=0):
        return PLANS[trial_id - 1]

    def stops(self, plan, curve, history):
        return False

    def keeping(self, arrays):
        return contextlib.nullcontext()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    store, artefacts, history = SqliteStore(folder / "study.db"), LocalArtefacts(folder), History("loss", "minimize")
    settings = TrainingSettings("DNN", "loss", "minimize", keep_train_logits=True)
    model = {"problem_type": "DNN", "dropout_between_blocks": False, "disable_last_dense_layer": False}
    described = {"task": TASK.to_json(), "feature_shape": [3], "model": model}
    record = store.create_study(StudyRecord("s", "me", "", "loss", "minimize", 1, "f", described, {}, {}))
    parts = WorkerParts(
        store=store,
        planner=Listed(),
        history=history,
        engine=Engine(DATA, settings),
        artefacts=artefacts,
        environment={},
        interrupts=Interrupts(),
        display=ProgressDisplay("loss", 5, enabled=False),
    )
    Worker("w", parts).run(len(PLANS))
    return StudyParts(store, artefacts, record, history)


def stored_logits(study, number):
    artefacts = study.history.get(number).result.artefacts
    return load_arrays(study.artefacts, next(a for a in artefacts if a.name == "valid_logits.npz"))["valid_logits"]


@pytest.mark.parametrize("number", range(1, len(PLANS) + 1))
def test_a_trials_model_answers_as_the_trial_did(study, number):
    model = StudyModels(study).of_trial(study.history.get(number))
    np.testing.assert_allclose(
        np.asarray(model(DATA.valid.inputs["features"])), stored_logits(study, number), atol=2e-5
    )


def final_model(trials):
    members = tuple(FinalMember(trial, 1 / len(trials)) for trial in trials)
    return FinalModel(FinalKind.ENSEMBLE, {}, 1, 0.1, (1, 2), members=members)


def test_towers_that_are_in_several_members_are_built_once(study):
    everyone = tuple(range(1, len(PLANS) + 1))
    model = StudyModels(study).of_final(final_model(everyone))
    answers = [stored_logits(study, number) for number in everyone]
    powers = [np.exp(values - values.max(axis=1, keepdims=True)) for values in answers]
    mean = np.mean([each / each.sum(axis=1, keepdims=True) for each in powers], axis=0)
    np.testing.assert_allclose(np.exp(np.asarray(model(DATA.valid.inputs["features"]))), mean, atol=1e-5)
    assert len([layer for layer in model.layers if layer.name.startswith("tower_")]) == 6  # 1, 2, 4, 5, 7, 8
    assert parameters_of(study.history, everyone) == sum(np.prod(v.shape) for v in model.trainable_variables)


def test_parameters_are_those_of_the_different_towers(study):
    own = {trial.id: trial.result.tower_parameters for trial in study.history.completed}
    assert parameters_of(study.history, [1, 2, 3]) == own[1] + own[2]
    assert parameters_of(study.history, [3, 4]) == own[1] + own[2] + own[4]


@pytest.mark.parametrize("numbered", [False, True])
def test_the_student_is_built_from_named_weights_and_from_numbered_ones(study, numbered):
    files = study.history.get(2).result.artefacts
    arrays = load_arrays(study.artefacts, next(file for file in files if file.name == "weights.npz"))
    if numbered:  # as former versions stored them
        arrays = {f"{index:04d}": array for index, array in enumerate(arrays.values())}
    file = save_arrays(study.artefacts, None, "student_weights.npz", arrays)
    student = FinalModel(FinalKind.STUDENT, {}, 1, 0.1, (1, 2), plan=PLANS[1], artefacts=(file,))
    model = StudyModels(study).of_final(student)
    np.testing.assert_allclose(np.asarray(model(DATA.valid.inputs["features"])), stored_logits(study, 2), atol=2e-5)
    with pytest.raises(StudyError, match="the weights of the student are no longer stored"):
        StudyModels(study).of_final(dataclasses.replace(student, artefacts=()))


def test_a_model_is_built_once_for_predictions_one_after_the_other(study):
    latest, inputs = LatestModel(), {"features": np.zeros((2, 3), np.float32)}
    first, second = study.history.get(1), study.history.get(2)
    model = latest.of(study, first, inputs)
    assert latest.of(study, study.store.trial(1), None) is model
    assert latest.of(study, second, inputs) is not model
    again = latest.of(study, first, inputs)
    study.store.save_file(save_arrays(study.artefacts, None, "more.npz", {"more": np.zeros(1)}))
    assert latest.of(study, first, inputs) is not again  # it may have been trained again on all rows


class Pruned:
    """A store in which one trial has lost its files."""

    def __init__(self, trial):
        self._trial = trial

    def trial(self, number):
        return self._trial


def test_lost_weights_are_reported(study):
    trial = study.history.get(1)
    without = dataclasses.replace(trial.result, artefacts=())
    bare_trial = dataclasses.replace(trial, result=without)
    history = History("loss", "minimize")
    history.update([bare_trial])
    bare = dataclasses.replace(study, history=history, store=Pruned(bare_trial))
    with pytest.raises(StudyError, match="the weights of trial 1 are no longer stored"):
        StudyModels(bare).of_trial(history.get(1))
    with pytest.raises(StudyError, match="trial 2 is not completed"):
        StudyModels(bare).of_final(final_model((2,)))
