"""What later trials are handed of earlier ones, through the real loop, engine and files."""

import contextlib
import dataclasses

import numpy as np
import pytest

from model_search.data.prepared_data import StreamData, TableData
from model_search.data.rows import Rows
from model_search.data.task import Task, TaskKind
from model_search.errors import TrialError
from model_search.metadata.artefacts import LocalArtefacts, load_arrays, save_arrays
from model_search.metadata.paths import MIXTURE, WEIGHTS
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import StudyRecord
from model_search.metadata.trial import (
    DistillationPlan,
    EnsemblePlan,
    StartKind,
    TrialKind,
    TrialPlan,
    TrialState,
    WarmStart,
)
from model_search.search.history.history import History
from model_search.trainers.finished_models import FinishedTowers
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.progress import ProgressDisplay
from model_search.trainers.worker import Worker, WorkerParts
from model_search.training.engine import Engine
from model_search.training.outcome import TrainingSettings

BLOCK = "FIXED_OUTPUT_FULLY_CONNECTED_64"
DISTIL = TrialKind.DISTILLATION
SMALL = "FULLY_CONNECTED_PYRAMID"


def rows(count, seed):
    features = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    return Rows.of(features, (features[:, 0] > features[:, 1]).astype(np.int32))


def data(stream=False):
    task = Task(TaskKind.CLASSIFICATION, "label", 2, (0, 1))
    train = rows(60, 1)

    def batches(seed):
        while True:
            yield train

    if stream:
        return StreamData(task, batches, rows(30, 2), "f", {})
    return TableData(task, train, rows(30, 2), "f", {})


def plan(number, *architecture, kind=TrialKind.SEARCH, **others):
    hyperparameters = {"learning_rate": 0.01, "optimizer": "adam"}
    return TrialPlan(number, kind, architecture, hyperparameters, 8, 8, number, f"key {number}", **others)


PLANS = [
    plan(1, BLOCK),
    plan(2, SMALL),
    plan(3, kind=TrialKind.ENSEMBLE, members=(1, 2), ensemble=EnsemblePlan("average")),
    plan(4, SMALL, kind=TrialKind.ENSEMBLE, members=(1, 2), ensemble=EnsemblePlan("weighted")),
    plan(5, SMALL, kind=TrialKind.ENSEMBLE, members=(1, 2, 4), ensemble=EnsemblePlan("average", residual=True)),
    plan(
        6,
        BLOCK,
        kind=TrialKind.DISTILLATION,
        teacher=(1, 2),
        distillation=DistillationPlan("balanced"),
        start=WarmStart(StartKind.COPY, (1,)),
    ),
    plan(7, kind=TrialKind.ENSEMBLE, members=(2, 6), ensemble=EnsemblePlan("weighted")),
    plan(8, kind=TrialKind.ENSEMBLE, members=(1, 2), ensemble=EnsemblePlan("average", freeze=False)),
    plan(9, SMALL, kind=TrialKind.ENSEMBLE, members=(2, 8), ensemble=EnsemblePlan("weighted", freeze=False)),
]


class Listed:
    """A planner that plans what is listed."""

    def plan(self, trial_id, history, attempt=0):
        return PLANS[trial_id - 1]

    def stops(self, plan, curve, history):
        return False

    def keeping(self, arrays):
        return contextlib.nullcontext()


class Study:
    def __init__(self, folder, prepared, keep=True):
        self.store = SqliteStore(folder / "study.db")
        self.store.create_study(StudyRecord("s", "me", "", "loss", "minimize", 1, "f", {}, {}, {}))
        self.history = History("loss", "minimize")
        self.engine = Engine(prepared, TrainingSettings("DNN", "loss", "minimize", keep_train_logits=keep))
        self.artefacts = LocalArtefacts(folder)
        parts = WorkerParts(
            store=self.store,
            planner=Listed(),
            history=self.history,
            engine=self.engine,
            artefacts=self.artefacts,
            environment={},
            interrupts=Interrupts(),
            display=ProgressDisplay("loss", 5, enabled=False),
            stream=isinstance(prepared, StreamData),
        )
        self.worker = Worker("w", parts)

    def trials(self):
        return self.store.history()[0]


@pytest.fixture(scope="module")
def table_study(tmp_path_factory):
    study = Study(tmp_path_factory.mktemp("table"), data())
    study.worker.run(len(PLANS))
    return study


def names(trial):
    return {artefact.name for artefact in trial.result.artefacts}


def test_every_kind_of_trial_runs_and_leaves_what_is_its_own(table_study):
    trials = table_study.trials()
    assert [(trial.state, trial.reason) for trial in trials] == [(TrialState.COMPLETED, None)] * len(PLANS)
    own = {"weights.npz", "valid_logits.npz", "train_logits.npz"}
    expected = [own, own, {"valid_logits.npz"}, own | {"mixture.npz"}, own, own]
    expected += [{"valid_logits.npz", "mixture.npz"}, own, own | {"mixture.npz"}]
    can_go_on = [trial.id for trial in trials if "optimizer.npz" in names(trial)]
    assert can_go_on == [trial.id for trial in trials if trial.plan.can_train_longer] and can_go_on
    assert [names(trial) - {"optimizer.npz"} for trial in trials] == expected


def test_no_frozen_tower_of_a_table_is_run_again(table_study):
    assert all("frozen" not in trial.result.timings for trial in table_study.trials())


def test_parameters_are_those_of_the_whole_model_and_of_the_own_part(table_study):
    parameters = [trial.result.parameters for trial in table_study.trials()]
    own = [trial.result.tower_parameters for trial in table_study.trials()]
    assert own[:2] == parameters[:2]
    assert (own[2], parameters[2]) == (0, parameters[0] + parameters[1])
    assert (own[3], parameters[3]) == (parameters[1] + 6 * 2 + 2, own[3] + parameters[0] + parameters[1])
    assert parameters[4] == parameters[1] + own[0] + own[1] + own[3]
    assert parameters[7] == own[7] == parameters[0] + parameters[1]


def test_the_parts_add_up_to_the_evaluated_model(table_study):
    towers = FinishedTowers(table_study.history, table_study.artefacts, table_study.engine, stream=False)
    given = towers.given(PLANS[4])
    model = table_study.engine.forward([towers.trained(number) for number in (1, 2, 4)])
    valid = table_study.engine._data.valid
    np.testing.assert_allclose(given.frozen.valid, model(valid.inputs), atol=1e-4)
    np.testing.assert_allclose(given.frozen.train, model(table_study.engine._data.train.inputs), atol=1e-4)
    average = towers.given(PLANS[2]).frozen
    assert average.train is None
    assert towers.given(PLANS[5]).initial_weights is not None


def test_logits_that_are_not_stored_are_computed_and_timed(tmp_path):
    study = Study(tmp_path, data(), keep=False)
    study.worker.run(6)
    trials = study.trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETED] * 6
    assert trials[3].result.timings["frozen"] > 0
    assert "frozen" not in trials[2].result.timings


def test_on_a_stream_frozen_towers_are_run_and_timed(tmp_path):
    study = Study(tmp_path, data(stream=True))
    study.worker.run(len(PLANS))
    trials = study.trials()
    assert [(trial.state, trial.reason) for trial in trials] == [(TrialState.COMPLETED, None)] * len(PLANS)
    assert [trial.id for trial in trials if "frozen" in trial.result.timings] == [4, 5, 6, 7]


def test_a_damaged_file_of_logits_is_computed_again_and_damaged_weights_fail_the_trial(tmp_path):
    study = Study(tmp_path, data())
    study.worker.run(2)
    first = study.trials()[0]
    for artefact in first.result.artefacts:
        if artefact.name != "weights.npz":
            (tmp_path / artefact.path).write_bytes(b"")
    towers = FinishedTowers(study.history, study.artefacts, study.engine, stream=False)
    given = towers.given(PLANS[3])
    assert given.seconds > 0
    assert given.frozen.train.shape == (2, 60, 2)
    weights = next(artefact for artefact in first.result.artefacts if artefact.name == "weights.npz")
    (tmp_path / weights.path).write_bytes(b"")
    fresh = FinishedTowers(study.history, study.artefacts, study.engine, stream=False)
    with pytest.raises(TrialError, match=r"trial 1 cannot be built on: .*weights\..*is damaged"):
        fresh.given(PLANS[3])


def numbered(study, number):
    """The trial with its weights stored as former versions did: under numbers, in the order of the model."""
    trial = study.history.get(number)
    file = next(artefact for artefact in trial.result.artefacts if artefact.name == WEIGHTS)
    arrays = load_arrays(study.artefacts, file).values()
    again = save_arrays(study.artefacts, number, WEIGHTS, {f"{i:04d}": array for i, array in enumerate(arrays)})
    files = tuple(again if artefact is file else artefact for artefact in trial.result.artefacts)
    return dataclasses.replace(trial, result=dataclasses.replace(trial.result, artefacts=files))


def test_numbered_weights_of_a_former_version_are_read_as_named_ones_are(table_study):
    history = History("loss", "minimize")
    history.update([numbered(table_study, number) for number in (1, 2, 8, 9)])
    towers = [
        FinishedTowers(known, table_study.artefacts, table_study.engine, stream=False)
        for known in (table_study.history, history)
    ]
    named, former = ([each.trained(number) for number in (1, 2, 8, 9)] for each in towers)
    assert all(name.isdigit() for tower in former for name in tower.weights)
    inputs = table_study.engine._data.valid.inputs
    expected = table_study.engine.forward(named)(inputs)
    np.testing.assert_array_equal(table_study.engine.forward(former)(inputs), expected)
    again = [table_study.engine.run(PLANS[5], each.given(PLANS[5])) for each in towers]
    np.testing.assert_array_equal(again[0].valid_logits, again[1].valid_logits)
    assert list(again[0].weights) == list(again[1].weights) == list(named[0].weights)


def test_weights_are_stored_by_name(table_study):
    def stored(number):
        artefacts = table_study.history.get(number).result.artefacts
        return load_arrays(table_study.artefacts, next(a for a in artefacts if a.name == WEIGHTS))

    dense, logits = [f"{BLOCK}#1/dense/kernel", f"{BLOCK}#1/dense/bias"], ["logits/kernel", "logits/bias"]
    small = [f"{SMALL}#1/dense/kernel", f"{SMALL}#1/dense/bias"]
    first, second = dense + logits, small + logits
    tuned = [f"member_1/{name}" for name in first] + [f"member_2/{name}" for name in second]
    assert [list(stored(number)) for number in (1, 2, 8)] == [first, second, tuned]
    assert list(stored(9)) == [
        *(f"member_2/{name}" for name in second),
        *(f"member_8/{name}" for name in tuned),
        *second,
    ]


def test_a_mixture_that_is_gone_is_said(table_study):
    trial = table_study.history.get(9)
    files = tuple(artefact for artefact in trial.result.artefacts if artefact.name != MIXTURE)
    history = History("loss", "minimize")
    history.update([table_study.history.get(number) for number in (1, 2, 8)])
    history.update([dataclasses.replace(trial, result=dataclasses.replace(trial.result, artefacts=files))])
    towers = FinishedTowers(history, table_study.artefacts, table_study.engine, stream=False)
    with pytest.raises(TrialError, match=r"trial 9 cannot be built on: .*mixture\.npz is missing"):
        towers.trained(9)


def test_a_trial_that_is_not_completed_cannot_be_built_on(table_study):
    towers = FinishedTowers(History("loss", "minimize"), table_study.artefacts, table_study.engine, stream=False)
    with pytest.raises(TrialError, match="trial 1 is not completed"):
        towers.given(PLANS[2])


def test_the_cache_forgets_what_was_not_read_for_long(table_study, monkeypatch):
    monkeypatch.setattr("model_search.trainers.finished_models._CACHE_BYTES", 600)
    towers = FinishedTowers(table_study.history, table_study.artefacts, table_study.engine, stream=False)
    for number in (1, 2, 1):
        again = dataclasses.replace(PLANS[2], members=(number,))
        np.testing.assert_array_equal(towers.given(again).frozen.valid[0], towers.given(again).frozen.valid[0])
    assert sum(array.nbytes for array in towers._cache.values()) <= 600
