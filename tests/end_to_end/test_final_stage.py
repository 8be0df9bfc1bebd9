"""The final stage: from the trials of a search to models that are better than the best of them, in any process."""

import dataclasses
import json
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest

import model_search
from model_search.data import array_data, csv_data
from model_search.data.prepare_options import PrepareOptions
from model_search.deadline import Deadline
from model_search.errors import StudyError, UserError
from model_search.finish.final_stage import StageOptions, run_stage
from model_search.finish.students import distillation
from model_search.finish.students.distillation import DistillationContext
from model_search.finish.students.student import NoTimeError
from model_search.metadata import paths
from model_search.metadata.artefacts import LocalArtefacts
from model_search.metadata.final_models import FinalKind
from model_search.metadata.sqlite_store import SqliteStore
from model_search.spec.load import load_spec
from model_search.trainers.finish_study import study_parts
from model_search.training.outcome import TrainingSettings


@pytest.fixture(scope="module")
def finished(tmp_path_factory, search, cancer_csv):
    provider = csv_data.Provider(filename=str(cancer_csv), label="diagnosis")
    return search(tmp_path_factory.mktemp("runs"), provider, number_models=5, finish="both")


def test_an_ensemble_and_a_student_are_there(finished):
    ensemble, student = finished.final_models
    assert (ensemble.kind, student.kind) == (FinalKind.ENSEMBLE, FinalKind.STUDENT)
    assert ensemble.trials == student.trials == (1, 2, 3, 4, 5)
    assert sum(member.weight for member in ensemble.members) == pytest.approx(1)
    assert student.parameters <= ensemble.parameters / 3
    assert ensemble.seconds > 0
    assert student.seconds > 0
    assert {"loss", "accuracy", "auc"} <= set(ensemble.metrics) & set(student.metrics)


def test_the_figures_of_the_records_are_those_of_the_models(finished, cancer_csv):
    labels = pd.read_csv(cancer_csv)["diagnosis"].to_numpy()
    for model in finished.final_models:
        name = model.kind.value
        answers = finished.predict(str(cancer_csv), name)
        assert (answers == labels).mean() > 0.9
        assert finished.calibration(name) == model.calibration
        assert finished.predict_proba(str(cancer_csv), name).sum(axis=1).to_numpy() == pytest.approx(1)


def test_the_best_of_all_is_what_is_used(finished, cancer_csv):
    goal = {"ensemble": 0, "student": 1}
    values = {name: finished.final_models[place].metrics["loss"] for name, place in goal.items()}
    values[finished.best_trial.id] = finished.best_trial.objective("loss")
    for name, place in goal.items():
        if not finished.final_models[place].accepted:
            del values[name]
    if finished.final_models[0].leads:  # by its cross-fitted test, whatever the figure of the best trial
        del values[finished.best_trial.id]
    assert finished.best == min(values, key=values.get)
    chosen = finished.predict_proba(str(cancer_csv), finished.best)
    pd.testing.assert_frame_equal(finished.predict_proba(str(cancer_csv)), chosen)
    single = finished.predict_proba(str(cancer_csv), "single")
    pd.testing.assert_frame_equal(finished.predict_proba(str(cancer_csv), finished.best_trial.id), single)


def test_the_leaderboard_and_the_members_table(finished):
    board = finished.leaderboard()
    assert list(board.columns) == ["rank", "trial", "kind", "loss", "blocks", "parameters", "seconds", "parent"]
    assert len(board) == 7
    final = board[board["trial"].isna()]
    assert set(final["kind"]) <= {
        "final ensemble",
        "final ensemble (no gain)",
        "final student",
        "final student (no gain)",
    }
    assert list(board["rank"]) == [1, 2, 3, 4, 5, 6, 7]
    members = finished.members()
    assert list(members.columns) == ["trial", "blocks", "weight", "loss", "without", "parameters"]
    assert members["weight"].sum() == pytest.approx(1)
    assert members["weight"].is_monotonic_decreasing
    own = {trial.id: trial.objective("loss") for trial in finished.trials}
    assert [own[trial] for trial in members["trial"]] == list(members["loss"])


def test_each_is_exported_with_its_card(finished, cancer_csv, tmp_path):
    frame = pd.read_csv(cancer_csv).drop(columns="diagnosis").head(12)
    for name in ("ensemble", "student"):
        written = finished.export(tmp_path / name, trial=name)
        loaded = keras.models.load_model(written["keras"], safe_mode=True)
        inputs = {column: frame[column].to_numpy(np.float32) for column in frame.columns}
        expected = finished.predict_proba(frame, name).to_numpy()
        np.testing.assert_allclose(np.asarray(loaded(inputs)["probabilities"]), expected, atol=1e-5)
        serve = __import__("tensorflow").saved_model.load(str(written["saved_model"])).signatures["serving_default"]
        cells = {c: __import__("tensorflow").constant(frame[c].astype(str).to_list()) for c in frame.columns}
        np.testing.assert_allclose(serve(**cells)["probabilities"].numpy(), expected, atol=1e-5)
        card = written["card"].read_text(encoding="utf-8")
        assert f"final {name}" in card
        assert "expected calibration error" in card
    assert all(f"trial {member.trial} (" in card_of(tmp_path) for member in finished.final_models[0].members)
    about = json.loads((tmp_path / "ensemble" / "export.json").read_text())["metadata"]
    assert about["calibration"]["temperature"] == finished.final_models[0].calibration.temperature


def card_of(folder):
    return (folder / "ensemble" / "model_card.md").read_text(encoding="utf-8")


def test_another_process_reads_and_reports_them_without_tensorflow(finished):
    code = (
        "import sys, model_search\n"
        "study = model_search.load_study(sys.argv[1], 'study')\n"
        "print(study.leaderboard().to_string(), study.members().to_string(), study.best, study.final_models)\n"
        "study.finish(what='ensemble', progress=False)\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    before = finished.final_models
    store = SqliteStore(finished.folder / paths.DATABASE)
    done = subprocess.run(
        [sys.executable, "-c", code, str(finished.folder.parent)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "final" in done.stdout
    (again,) = finished.final_models
    assert dataclasses.replace(again, seconds=0, metrics={}) == dataclasses.replace(before[0], seconds=0, metrics={})
    assert again.metrics == pytest.approx(before[0].metrics)
    store.save_final_models(before)
    store.close()


def test_a_study_that_goes_on_gets_new_final_models_and_one_that_does_not_keeps_them(tmp_path, search, cancer_csv):
    provider = csv_data.Provider(filename=str(cancer_csv), label="diagnosis")
    first = search(tmp_path, provider, number_models=2, finish="ensemble")
    (ensemble,) = first.final_models
    assert search(tmp_path, provider, number_models=2, finish="ensemble").final_models == (ensemble,)
    later = search(tmp_path, provider, number_models=3, finish="ensemble")
    assert later.final_models[0].trials == (1, 2, 3)
    assert search(tmp_path, provider, number_models=3, finish="neither").final_models == later.final_models


def test_final_models_that_are_not_what_is_asked_for_now_are_made_anew(tmp_path, capfd):
    x = np.random.default_rng(0).normal(size=(200, 4))
    provider = array_data.Provider(x, np.where(x[:, 0] + x[:, 1] > 0, "yes", "no"))
    options = {"number_models": 8, "train_steps": 20, "batch_size": 32, "root_dir": tmp_path, "seed": 1}
    options |= {"eval_steps": None, "experiment_name": "study", "experiment_owner": "", "progress": False}

    def search(**changes):
        trainer = model_search.single_trainer.SingleTrainer(provider, model_search.constants.DEFAULT_DNN)
        study = trainer.try_models(**options | changes)
        study.close()
        return study.final_models

    (teacher, _), (ensemble, student) = search(finish="distil"), search(finish="both")
    assert not teacher.accepted and "made as the student's teacher only" in teacher.notes
    assert ensemble.members == teacher.members
    assert "made as the student's teacher only" not in ensemble.notes
    assert search(finish="both") == search(finish="ensemble") == (ensemble, student)
    capfd.readouterr()
    (_, smaller) = search(finish="both", student_parameters=student.parameters - 1)
    assert smaller.parameters < student.parameters
    assert f"the study's student has {student.parameters:,} parameters" in capfd.readouterr().err
    assert search(finish="both", student_parameters=smaller.parameters)[1] == smaller
    assert search(finish="ensemble", student_parameters=1)[1] == smaller

    store = SqliteStore(tmp_path / "study" / paths.DATABASE)
    store.save_final_models([dataclasses.replace(ensemble, accepted=True), student])
    store.close()
    assert not search(finish="distil")[0].accepted

    trials = {trial.id: trial.plan for trial in model_search.load_study(tmp_path, "study").trials}
    assert any(trials[member.trial].classic for member in ensemble.members)
    (networks,) = search(finish="ensemble", members="networks")
    assert not any(trials[member.trial].classic for member in networks.members)
    assert search(finish="ensemble", members="networks") == (networks,)


def test_one_model_makes_no_ensemble_and_it_is_said(tmp_path, search, cancer_csv, capfd):
    provider = csv_data.Provider(filename=str(cancer_csv), label="diagnosis")
    study = search(tmp_path, provider, number_models=1, finish="both", progress=None)
    assert "only one model" in capfd.readouterr().err
    assert study.final_models == ()
    assert study.best == 1
    with pytest.raises(StudyError, match="has no final ensemble"):
        study.members()
    with pytest.raises(StudyError, match="has no final student"):
        study.predict(str(cancer_csv), "student")
    with pytest.raises(UserError, match="'best', 'single', 'ensemble' or 'student'"):
        study.predict(str(cancer_csv), "teacher")


def numbers(rows=300):
    x = np.random.default_rng(0).normal(size=(rows, 3))
    return x, 5000 + 300 * x[:, 0] * x[:, 1]


def test_numbers_a_custom_metric_and_a_student_later(tmp_path):
    def largest_error(labels, predictions):
        return float(np.abs(labels - predictions).max())

    x, y = numbers()
    options = {"train_steps": 40, "root_dir": tmp_path, "seed": 3, "progress": False, "experiment_name": "own"}
    study = model_search.fit(x, y, number_models=3, metric=largest_error, goal="minimize", finish="ensemble", **options)
    (ensemble,) = study.final_models
    assert ensemble.calibration is None
    assert "largest_error" in ensemble.metrics
    predicted = study.predict(x, "ensemble")
    mean = sum(member.weight * study.predict(x, member.trial) for member in ensemble.members)
    np.testing.assert_allclose(predicted, mean, rtol=1e-4)
    provider = array_data.Provider(x, y)
    with pytest.raises(StudyError, match="'largest_error' is a function, which is not stored"):
        study.finish(provider, "distil")
    (again,) = study.finish(progress=False)
    assert not again.accepted
    assert any("a function, which is not stored" in note for note in again.notes)
    assert study.best == study.best_trial.id


def test_a_student_is_made_of_the_weights_that_are_kept(tmp_path, search, cancer_csv):
    """The best trial is the only one whose weights are kept, and too large to be the student."""
    provider = csv_data.Provider(filename=str(cancer_csv), label="diagnosis")
    study = search(tmp_path, provider, number_models=6, finish="both", keep_models=1)
    assert study.final_models[0].kind is FinalKind.ENSEMBLE
    for model in study.final_models:
        assert len(study.predict(str(cancer_csv), model.kind.value)) == len(pd.read_csv(cancer_csv))


def test_a_student_later_takes_the_same_data(finished, cancer_csv, tmp_path):
    with pytest.raises(UserError, match="takes the data"):
        finished.finish(what="distil")
    pd.read_csv(cancer_csv).iloc[:-9].to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(StudyError, match="differ from those"):
        finished.finish(csv_data.Provider(filename=str(tmp_path / "other.csv"), label="diagnosis"))
    with pytest.raises(UserError, match=r"'all'.*'both', 'ensemble'"):
        finished.finish(what="all")
    with pytest.raises(UserError, match="student_parameters is 0"):
        finished.finish(what="ensemble", student_parameters=0)
    provider = csv_data.Provider(filename=str(cancer_csv), label="diagnosis")
    with pytest.raises(StudyError, match="no student: no architecture of the study has at most 3 parameters"):
        finished.finish(provider, "both", student_parameters=3, progress=False)
    assert [model.kind for model in finished.final_models] == [FinalKind.ENSEMBLE]
    ensemble, student = finished.finish(provider, "distil", progress=False)
    assert not ensemble.accepted
    assert "the student's teacher only" in ensemble.notes[-1]
    assert finished.best != "ensemble"
    members = {member.trial for member in ensemble.members}
    if student.plan is None:  # it is a part of the ensemble
        assert {member.trial for member in student.members} <= members
    else:
        assert student.plan.teacher == tuple(sorted(members))


def test_ctrl_c_leaves_the_ensemble_and_no_student(tmp_path, search, cancer_csv, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(distillation, "distil", interrupted)
    provider = csv_data.Provider(filename=str(cancer_csv), label="diagnosis")
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, provider, number_models=3, finish="both")
    study = model_search.load_study(tmp_path, "study")
    assert [model.kind for model in study.final_models] == [FinalKind.ENSEMBLE]


def test_the_specifications_own_temperature_wins(tmp_path, cancer_csv):
    spec = 'problem_type: DNN search_type: ADAPTIVE_COORDINATE_DESCENT blocks_to_use: ["FULLY_CONNECTED"] '
    spec += "minimum_depth: 1 maximum_depth: 3 beam_size: 2 temperature: 2.5"
    (tmp_path / "spec.pbtxt").write_text(spec)
    study = model_search.single_trainer.SingleTrainer(
        csv_data.Provider(filename=str(cancer_csv), label="diagnosis"), str(tmp_path / "spec.pbtxt")
    ).try_models(2, 30, 10, tmp_path, 32, "study", "me", seed=1, progress=False, finish="ensemble")
    for name in ("single", "ensemble"):
        assert (study.calibration(name).temperature, study.calibration(name).fitted) == (2.5, False)
    frame = pd.read_csv(cancer_csv).head(5)
    raw = np.asarray(study.tower("single")(study_features(study, frame))) / 2.5
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(study.predict_proba(frame, "single"), expected, atol=1e-5)


def test_continuing_with_another_temperature_is_honoured_by_every_model(tmp_path, cancer_csv):
    provider = csv_data.Provider(filename=str(cancer_csv), label="diagnosis")

    def search(models, temperature):
        spec = load_spec(model_search.constants.DEFAULT_DNN)
        spec.ClearField("temperature")
        if temperature is not None:
            spec.temperature = temperature
        trainer = model_search.single_trainer.SingleTrainer(provider, spec)
        return trainer.try_models(
            models, 30, 10, tmp_path, 32, "study", "me", progress=False, finish="ensemble", deterministic=False
        )

    assert all(search(2, None).calibration(name).fitted for name in (1, "ensemble"))
    for models, temperature in ((2, 2.5), (3, 0.5)):  # without and with new trials
        study = search(models, temperature)
        for name in (1, "ensemble"):
            found = study.calibration(name)
            assert (found.temperature, found.fitted) == (temperature, False)
            assert study.bundle(name).temperature == temperature
    assert all(search(3, None).calibration(name).fitted for name in (1, "ensemble"))


def test_a_final_stage_without_time_still_makes_the_ensemble(tmp_path, search, cancer_csv):
    provider = csv_data.Provider(filename=str(cancer_csv), label="diagnosis")
    study = search(tmp_path, provider, number_models=3)
    store = SqliteStore(study.folder / paths.DATABASE)
    options = PrepareOptions(seed=1, batch_size=32, eval_steps=10)
    settings = TrainingSettings("DNN", "loss", "minimize")
    stage = StageOptions(
        what="both",
        distillation=DistillationContext(provider.prepare(options), settings),
        deadline=Deadline(0.0),
    )
    with pytest.raises(NoTimeError, match="no student: no time is left"):
        run_stage(study_parts(study.folder, store, LocalArtefacts(study.folder)), stage)
    store.close()
    (ensemble,) = model_search.load_study(tmp_path, "study").final_models
    assert ensemble.kind is FinalKind.ENSEMBLE


def test_what_the_final_stage_cannot_make_is_shown_without_progress_too(tmp_path, search, cancer_csv, capfd):
    provider = csv_data.Provider(filename=str(cancer_csv), label="diagnosis")
    search(tmp_path, provider, number_models=2, finish="both", student_parameters=3)
    assert "no student: no architecture" in capfd.readouterr().err


def study_features(study, frame):
    from model_search.data.later_rows import inputs_of

    return inputs_of(frame, study.record.data)["features"]
