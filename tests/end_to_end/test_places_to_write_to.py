"""Nothing that is written replaces a study's own files, or the data."""

import os
import shutil
import threading

import numpy as np
import pytest

import model_search
from model_search import main
from model_search.errors import UserError


@pytest.fixture
def study(cancer_study, tmp_path):
    """A copy of the study, which a test may damage."""
    shutil.copytree(cancer_study.folder, tmp_path / "runs" / "study")
    return model_search.load_study(tmp_path / "runs", "study")


def test_a_report_replaces_no_file_but_a_page(study, tmp_path, cancer_csv):
    data = tmp_path / "data.csv"
    shutil.copy(cancer_csv, data)
    for target in (study.folder / "study.db", data, next(study.folder.rglob("*.npz"))):
        before = target.read_bytes()
        with pytest.raises(UserError, match="is no HTML page; name another"):
            study.report(target)
        assert target.read_bytes() == before
    page = study.report(tmp_path / "page.html")
    assert study.report(page) == page
    with pytest.raises(UserError, match="received 3 as the place to write to; expected a path"):
        study.report(3)
    with pytest.raises(UserError, match="received None as the place to write to"):
        study.export(None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_report_is_written_into_a_pipe(study, tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    study.report(pipe)
    reader.join()
    assert pipe.is_fifo()
    assert b"</html>" in read[0]


def test_predictions_replace_neither_the_study_nor_what_they_are_made_for(study, tmp_path, cancer_csv):
    data, database = tmp_path / "data.csv", study.folder / "study.db"
    shutil.copy(cancer_csv, data)
    with pytest.raises(UserError, match="they are made for that file; name another"):
        study.write_predictions(str(data), data)
    with pytest.raises(UserError, match="it is a file of the study; name another"):
        study.write_predictions(str(data), database)
    with pytest.raises(UserError, match="received None as the place"):
        study.write_predictions(str(data), None)
    flags = [f"--model_dir={tmp_path / 'runs'}", "--experiment_name=study", f"--output={database}"]
    assert main.main(["model_search", "predict", str(data), *flags]) == 2
    assert data.read_bytes() == cancer_csv.read_bytes()
    assert len(study.trials) == 4
    assert study.write_predictions(str(data), study.folder / "answers.csv") == 569
    assert study.write_predictions(str(data), study.folder / "answers.csv") == 569


def test_a_trial_is_named_by_any_whole_number_and_nothing_else(study, cancer_csv):
    number = study.leaderboard().trial.iloc[0]
    assert study.trial(number) == study.trial(int(number))
    assert len(study.predict(str(cancer_csv), trial=np.int64(number))) == 569
    for wrong in (True, [1], study.best_trial, 1.0):
        with pytest.raises(UserError, match="expected a trial's number"):
            study.trial(wrong)
    with pytest.raises(UserError, match="top is 'x'"):
        study.print_leaderboard("x")


def test_a_study_is_found_again_from_another_working_directory(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = model_search.load_study("runs", "study")
    monkeypatch.chdir("/")
    assert found.report().is_file()
    made = []
    thread = threading.Thread(target=lambda: made.append(len(found.trials)))
    thread.start()
    thread.join()
    assert made == [4]
    assert found.finish(what="ensemble")


def test_names_and_specifications_of_a_wrong_type_are_named():
    with pytest.raises(UserError, match="the experiment's name is 3; expected a text"):
        model_search.load_study("runs", 3)
    with pytest.raises(UserError, match="The specification is 3; give the path"):
        model_search.fit(np.zeros((30, 2)), [0, 1] * 15, spec=3)
