"""What version 1.0.0 left on disk opens, answers, goes on and is exported as it was by that version.

The studies are made by `make_golden.py`. Every test works on a copy in another folder.
"""

import html
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from golden_cases import BY_NAME, CASES, NAME, answers, board, choices, load_npz, plan, stream_rows

import model_search

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
AGAIN = {"rtol": 1e-2, "atol": 1e-3}  # of what is trained again, perhaps on another machine
EXPORTED = [case.name for case in CASES if case.exported]


@pytest.fixture(scope="module")
def expected():
    """What is expected of a case: the document and the arrays."""
    read = {}

    def of(name):
        if name not in read:
            folder = BY_NAME[name].folder
            document = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
            read[name] = document, load_npz(folder / "expected.npz")
        return read[name]

    return of


@pytest.fixture
def copy(tmp_path):
    """Copies a case's folder to another place."""
    return lambda name: shutil.copytree(BY_NAME[name].folder, tmp_path / f"moved {name}")


@pytest.fixture
def opened(copy):
    """Opens a copy of a case's study; hands out the folder, too."""
    studies = []

    def of(name):
        folder = copy(name)
        studies.append(model_search.load_study(folder, NAME))
        return studies[-1], folder

    yield of
    for study in studies:
        study.close()


def check_numbers(found, wanted, **tolerance):
    assert list(found) == list(wanted)
    np.testing.assert_allclose(list(found.values()), list(wanted.values()), **tolerance)


def check_answers(found, wanted, what):
    if found["predict"].dtype.kind == "U":  # labels
        sure = np.ptp(np.sort(found["proba"], axis=1)[:, -2:], axis=1) > 1e-3
        assert (found["predict"] == wanted[f"predict/{what}"])[sure].all(), what
        np.testing.assert_allclose(found["proba"], wanted[f"proba/{what}"], **CLOSE, err_msg=str(what))
    else:
        np.testing.assert_allclose(found["predict"], wanted[f"predict/{what}"], **CLOSE, err_msg=str(what))


def test_the_expected_answers_are_those_of_the_version_that_made_the_studies(expected):
    assert {expected(case.name)[0]["made_by"] for case in CASES} == {"1.0.0"}


@pytest.mark.parametrize("name", BY_NAME)
def test_the_records_are_read_as_they_were_written(opened, expected, name):
    study, _ = opened(name)
    wanted = expected(name)[0]
    assert study.metric == wanted["metric"]
    assert (study.best, study.best_trial.id) == (wanted["best"], wanted["best_trial"])
    assert study.recommended_trial.id == wanted["recommended_trial"]
    assert board(study) == wanted["leaderboard"]
    assert len(study.trials) == len(wanted["trials"])
    for trial, then in zip(study.trials, wanted["trials"], strict=True):
        assert (trial.id, trial.state.value, trial.attempt) == (then["id"], then["state"], then["attempt"])
        assert (trial.reason, plan(trial)) == (then.get("reason"), with_record(then["plan"]))
        assert (trial.result is None) == ("result" not in then)
        if trial.result is None:
            continue
        result = then["result"]
        assert dict(trial.result.metrics) == result["metrics"]
        assert [list(point) for point in trial.result.curve] == result["curve"]
        for field in ("parameters", "tower_parameters", "best_step", "stopped_at"):
            assert getattr(trial.result, field) == result[field]
        assert sorted(artefact.name for artefact in trial.result.artefacts) == result["files"]
    for model, then in zip(study.final_models, wanted["final"], strict=True):
        assert (model.kind.value, dict(model.metrics)) == (then["kind"], then["metrics"])
        assert [[member.trial, member.weight] for member in model.members] == then["members"]


@pytest.mark.parametrize("name", BY_NAME)
def test_every_model_answers_as_it_did(opened, expected, name):
    study, folder = opened(name)
    document, arrays = expected(name)
    assert {what.partition("/")[2] for what in arrays} == {str(what) for what in choices(study)}
    for what in choices(study):
        check_answers(answers(BY_NAME[name], study, folder, what), arrays, what)
    for what, temperature in document["temperatures"].items():
        found = study.calibration(int(what) if what.isdecimal() else what)
        assert (found is None) == (temperature is None)
        if found is not None:
            np.testing.assert_allclose(found.temperature, temperature, rtol=1e-3)


@pytest.mark.parametrize("name", [case.name for case in CASES if case.labelled is not None])
def test_every_model_is_evaluated_as_it_was(opened, expected, name):
    study, folder = opened(name)
    wanted = expected(name)[0]["evaluate"]
    assert set(wanted) == {str(what) for what in choices(study)}
    for what in choices(study):
        check_numbers(study.evaluate(BY_NAME[name].labelled(folder), trial=what), wanted[str(what)], **CLOSE)


@pytest.mark.parametrize("name", BY_NAME)
def test_the_report_is_written(opened, tmp_path, name):
    study, _ = opened(name)
    page = study.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert study.metric in page and html.escape(study.best_trial.plan.described) in page


@pytest.mark.parametrize("name", BY_NAME)
def test_the_ensemble_is_selected_again(opened, expected, name):
    study, folder = opened(name)
    document, arrays = expected(name)
    then = [model for model in document["final"] if model["kind"] == "ensemble"]
    ensemble = study.finish(progress=False)[0]
    assert [model.kind.value for model in study.final_models] == ["ensemble"]
    assert sum(study.members()["weight"]) == pytest.approx(1)
    if not then:  # the one that was stopped had none
        assert answers(BY_NAME[name], study, folder, "ensemble")["proba"].shape == (30, 2)
        return
    check_numbers(dict(ensemble.metrics), then[0]["metrics"], **CLOSE)
    np.testing.assert_allclose(
        [[member.trial, member.weight] for member in ensemble.members], then[0]["members"], **CLOSE
    )
    assert (ensemble.accepted, ensemble.parameters) == (then[0]["accepted"], then[0]["parameters"])
    check_answers(answers(BY_NAME[name], study, folder, "ensemble"), arrays, "ensemble")


@pytest.mark.parametrize("name", ["classification", "regression", "stream"])
def test_a_student_is_distilled_again(opened, expected, name):
    study, folder = opened(name)
    case = BY_NAME[name]
    then = next(model for model in expected(name)[0]["final"] if model["kind"] == "student")
    student = study.finish(case.provider(folder), progress=False)[1]
    assert student.parameters == then["parameters"]
    check_numbers(dict(student.metrics), then["metrics"], **AGAIN)
    assert set(answers(case, study, folder, "student")) <= {"predict", "proba"}


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_a_search_goes_on_with_the_same_data(copy, expected, name):
    """The next trials are those that the earlier version would have made, too."""
    case, folder = BY_NAME[name], copy(name)
    document = expected(name)[0]
    study = case.search(folder, number_models=case.more, finish="neither")
    untouched = {trial["id"] for trial in document["trials"]} - {trial["id"] for trial in document["continued"]}
    assert len(study.history.completed) == case.more
    assert {trial.id for trial in study.trials} == untouched | {trial["id"] for trial in document["continued"]}
    for then in document["continued"]:
        trial = study.trial(then["id"])
        assert (trial.state.value, trial.attempt) == (then["state"], then["attempt"])
        found, wanted = plan(trial), with_record(then["plan"])
        for values in (found, wanted):
            del values["key"]  # it holds the bins of what follows
        check_hyperparameters(found.pop("hyperparameters"), wanted.pop("hyperparameters"))
        assert found == wanted
        assert trial.result.parameters == then["result"]["parameters"]
        check_numbers(dict(trial.result.metrics), then["result"]["metrics"], **AGAIN)
        assert len(answers(case, study, folder, trial.id)["predict"])
    study.close()


def check_hyperparameters(found, wanted):
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert found[name] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value), name


def test_other_data_are_refused(copy):
    folder = copy("weighted")
    arrays = load_npz(folder / "train.npz")
    np.savez_compressed(folder / "train.npz", **(arrays | {"x": arrays["x"] + 1}))
    with pytest.raises(model_search.UserError, match="the training data differ"):
        BY_NAME["weighted"].search(folder, number_models=8)


@pytest.mark.parametrize("name", BY_NAME)
def test_trials_are_replayed(opened, expected, name):
    study, folder = opened(name)
    for number in expected(name)[0]["replayed"]:
        found = study.replay(number, BY_NAME[name].provider(folder))
        assert (found.trial, found.restored) == (number, ())
        check_numbers(dict(sorted(found.metrics.items())), dict(sorted(found.stored.items())), **AGAIN)
        assert found.same or found.notes, found  # to the last bit, but for other software or another machine


def test_files_that_are_gone_are_made_again(opened, expected):
    """Those of a tower of an ensemble: both are made again."""
    study, folder = opened("classification")
    ensemble = study.trial(3)
    lost = [file for member in ensemble.plan.members for file in files(study, member)]
    for file in lost:
        file.unlink()
    found = study.replay(3, BY_NAME["classification"].provider(folder))
    assert found.restored == ensemble.plan.members
    assert all(file.is_file() for member in ensemble.plan.members for file in files(study, member))
    proba = answers(BY_NAME["classification"], study, folder, 3)["proba"]
    np.testing.assert_allclose(proba, expected("classification")[1]["proba/3"], **AGAIN)


def with_record(stored):
    """A plan of version 1.0 as it is written now: what it starts from is a record, not a bare number."""
    if stored is None:
        return None
    values = dict(stored)
    start = values["warm_start"]
    if start is not None:
        values["warm_start"] = {"kind": "continue" if values["first_step"] else "copy", "trials": [start]}
    return values


def files(study, number):
    return [study.folder / artefact.path for artefact in study.trial(number).result.artefacts]


@pytest.mark.parametrize("name", EXPORTED)
def test_an_exported_saved_model_answers_as_the_study_did(expected, name):
    folder = BY_NAME[name].folder
    columns = json.loads((folder / "exported" / "export.json").read_text(encoding="utf-8"))["columns"]
    cells = read_cells(folder / "rows.csv")
    serve = tf.saved_model.load(str(folder / "exported" / "saved_model")).signatures["serving_default"]
    served = serve(**{column["saved_model"]: tf.constant(cells[column["column"]]) for column in columns})
    check_served(served, expected(name)[1], "best")


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_keras_files_answer_as_the_study_did(expected, name):
    import keras

    folder = BY_NAME[name].folder
    columns = json.loads((folder / "exported" / "export.json").read_text(encoding="utf-8"))["columns"]
    inputs = {column["keras"]: typed(folder, column) for column in columns}
    models = {"best": folder / "exported" / "model.keras"} | {path.stem: path for path in folder.glob("*.keras")}
    assert len(models) == 3
    for what, path in models.items():
        check_served(keras.models.load_model(path)(inputs), expected(name)[1], what)


def check_served(served, wanted, what):
    if "prediction" in served:
        np.testing.assert_allclose(np.asarray(served["prediction"]), wanted[f"predict/{what}"], **CLOSE)
    else:
        labels = np.array([label.decode() for label in served["label"].numpy()])
        found = {"predict": labels, "proba": np.asarray(served["probabilities"])}
        check_answers(found, wanted, what)


def read_cells(path):
    import pandas as pd

    return pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("list")


def typed(folder, column):
    """A column as the `.keras` file takes it."""
    import pandas as pd

    cells = read_cells(folder / "rows.csv")[column["column"]]
    if column["kind"] == "number":
        numbers = pd.to_numeric(pd.Series(cells).str.replace(",", ""), errors="coerce")
        return tf.constant(numbers.to_numpy("float32"))
    return tf.constant([cell.strip() for cell in cells])


@pytest.mark.parametrize("name", ["classification", "regression", "stream"])
def test_a_study_is_exported_as_it_was(opened, expected, tmp_path, name):
    study, folder = opened(name)
    written = study.export(tmp_path / "anew")
    serve = tf.saved_model.load(str(written["saved_model"])).signatures["serving_default"]
    if name == "stream":
        rows = stream_rows(folder)
        joined = np.concatenate([rows["acids"], rows["grid"].reshape(len(rows["grid"]), -1)], axis=1)
        served = serve(features=tf.constant(joined))
    else:
        described = (tmp_path / "anew" / "export.json").read_text(encoding="utf-8")
        assert as_then(json.loads(described)) == as_then(
            json.loads((folder / "exported" / "export.json").read_text(encoding="utf-8"))
        )
        columns, cells = json.loads(described)["columns"], read_cells(folder / "rows.csv")
        served = serve(**{column["saved_model"]: tf.constant(cells[column["column"]]) for column in columns})
    check_served(served, expected(name)[1], "best")


def as_then(description):
    """What an export said of columns and task, without what is told of columns since."""
    told_since = ("booleans", "order")
    columns = [{key: one[key] for key in one if key not in told_since} for one in description["columns"]]
    return {"columns": columns, "task": description["task"]}


def test_nothing_names_the_machine():
    for case in CASES:
        for path in case.folder.rglob("*"):
            if path.is_file():
                assert not any(name in path.read_bytes() for name in (b"/work/", b"/tmp/", b"/home/", b"/root/")), path
