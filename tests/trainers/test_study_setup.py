"""From options to an open study: what is refused, what is warned of, what a provider has to return."""

import dataclasses

import numpy as np
import pytest
from pretended import open_pretended

from model_search import constants
from model_search.data import array_data
from model_search.data.csv_data import Provider as CsvProvider
from model_search.data.prepare_options import PrepareOptions
from model_search.data.provider import Provider
from model_search.data.rows import Rows
from model_search.errors import DataError, StudyError
from model_search.metadata import study_folder
from model_search.metadata.study_folder import VanishedStudyError
from model_search.spec.load import load_spec
from model_search.spec.searches import LATEST_VERSION
from model_search.trainers.finish_study import same_data, study_parts
from model_search.trainers.opening import study_setup
from model_search.trainers.opening.data_preparation import prepared
from model_search.trainers.opening.study_setup import open_session
from model_search.trainers.options import SearchOptions
from model_search.trainers.progress import ProgressDisplay


def table():
    x = np.random.default_rng(0).normal(size=(60, 3))
    options = PrepareOptions(seed=1, batch_size=8)
    return array_data.Provider(x, (x[:, 0] > 0).astype(int)).prepare(options)


class Own(Provider):
    """A provider that makes its own table."""

    def __init__(self, data):
        self.data = data

    def number_of_classes(self):
        return 2

    def prepare(self, options):
        return self.data


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"description": {}}, r"description lacks 'task'; expected \{'task': task.to_json\(\)\}"),
        ({"description": {"schema": {"features": []}}}, r"description lacks 'task', 'columns'; expected"),
        ({"description": None}, "description is NoneType; expected a dict"),
        ({"fingerprint": ""}, "fingerprint is ''; expected a text"),
        ({"train": Rows.of({"text": np.array(["a"])}, np.zeros(1))}, "input 'text' is <U1; expected numbers"),
        ({"task": "classes"}, "task is str; expected model_search.data.task.Task"),
        ({"task": None, "fingerprint": None}, "task is NoneType.*; fingerprint is None"),
    ],
)
def test_what_a_custom_table_lacks_is_reported(tmp_path, changes, words):
    provider = Own(dataclasses.replace(table(), **changes))
    options = SearchOptions(1, 10, 5, tmp_path, 8, "x", "me", progress=False)
    with pytest.raises(DataError, match=f"Own.prepare returned a TableData that cannot be used: .*{words}"):
        open_session(provider, load_spec(constants.DEFAULT_DNN), options)
    assert not list(tmp_path.iterdir())


def test_something_else_than_data_is_refused_by_its_type():
    with pytest.raises(DataError, match=r"Own.prepare returned dict; expected .*TableData or StreamData"):
        prepared(Own({}), PrepareOptions(seed=1, batch_size=8))


def test_what_is_enough_is_enough():
    data = dataclasses.replace(table(), description={"task": table().task.to_json()})
    assert prepared(Own(data), PrepareOptions(seed=1, batch_size=8)) is data


def test_warnings_are_kept_apart_from_notes(tmp_path, monkeypatch):
    monkeypatch.setattr(study_setup, "warnings_of", lambda spec: ["the walk is not random"])
    session, _ = open_pretended(tmp_path)
    assert "the walk is not random" in session.warnings
    assert any("is predicted as" in note for note in session.notes)


def test_silence_is_for_progress_and_not_for_warnings(capfd):
    for enabled in (None, True, False):
        display = ProgressDisplay("loss", 3, enabled)
        display.warn("use_auxiliary_head is not done")
        display.note("trial 1 has ended")
        shown = capfd.readouterr().err
        assert shown.count("use_auxiliary_head is not done") == 1
        assert ("trial 1" in shown) is (enabled is not False)


def open_maps(folder, shape, data_format):
    spec = load_spec(constants.DEFAULT_CNN)
    spec.cnn_data_format = data_format
    data, maps = table(), np.zeros((60, *shape), np.float32)
    train, valid = (Rows.of({"map": maps[: len(rows)]}, rows.label) for rows in (data.train, data.valid))
    data = dataclasses.replace(data, train=train, valid=valid, own_specs={})
    data = dataclasses.replace(data, description={"task": data.task.to_json()})
    options = SearchOptions(1, 10, 5, folder, 8, "x", "me", overwrite=True, progress=False)
    session = open_session(Own(data), spec, options)
    session.store.close()
    return session


def test_maps_have_their_channels_last_also_where_the_specification_has_them_first(tmp_path):
    for shape in ((6, 8, 3), (3, 8, 3)):  # three rows of pixels are possible
        (warning,) = [one for one in open_maps(tmp_path, shape, "NCHW").warnings if "cnn_data_format" in one]
        assert "channels last on every device" in warning
    with pytest.raises(DataError, match=r"shape \[3, 6, 8\], which seems to be \[channels, .*np.transpose"):
        open_maps(tmp_path, (3, 6, 8), "NCHW")
    assert not any("cnn_data_format" in one for one in open_maps(tmp_path, (3, 6, 8), "NHWC").warnings)


def other_table(folder):
    text = (folder / "table.csv").read_text()
    (folder / "other.csv").write_text(text.replace("59,", "60,"))
    return folder / "other.csv"


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"metric": "accuracy"}, "its metric is loss .*not accuracy"), ({"seed": 8}, "has seed 7, not 8")],
)
def test_another_metric_or_seed_is_refused(tmp_path, changes, words):
    open_pretended(tmp_path, seed=7)[0].store.close()
    with pytest.raises(StudyError, match=words):
        open_pretended(tmp_path, **({"seed": 7} | changes))
    open_pretended(tmp_path, seed=7)[0].store.close()


def accuracy(labels, predictions):
    return -float(np.mean(predictions.argmax(axis=-1) != labels))


@pytest.mark.parametrize(("first", "then"), [(accuracy, "accuracy"), ("accuracy", accuracy)])
def test_a_function_and_a_built_in_metric_of_its_name_are_not_mixed(tmp_path, first, then):
    open_pretended(tmp_path, metric=first, goal="maximize", time_limit=60)[0].store.close()
    kinds = ("a function of yours", "the built-in one")
    its, given = kinds if callable(first) else kinds[::-1]
    with pytest.raises(StudyError, match=f"'x' cannot be continued: its metric 'accuracy' is {its}, not {given}"):
        open_pretended(tmp_path, metric=then, goal="maximize", time_limit=99)
    session, _ = open_pretended(tmp_path, metric=first, goal="maximize", number_models=9)
    assert session.record.settings["time_limit"] == 60  # of before it was opened: nothing of the refused call was kept
    assert session.store.study().settings["number_models"] == 9
    session.store.close()


def test_a_specification_that_does_not_go_with_the_study_is_refused(tmp_path):
    session, context = open_pretended(tmp_path, seed=7)
    session.store.close()
    provider = CsvProvider(filename=str(tmp_path / "table.csv"), label="y")
    spec = load_spec(constants.DEFAULT_DNN)
    removed = spec.blocks_to_use.pop()
    with pytest.raises(StudyError, match=f"'x' cannot be continued: blocks_to_use no longer has {removed}"):
        open_session(provider, spec, context.options)


def test_other_data_are_refused(tmp_path):
    open_pretended(tmp_path, seed=7)[0].store.close()
    other_table(tmp_path).replace(tmp_path / "table.csv")
    with pytest.raises(StudyError, match="the training data differ"):
        open_pretended(tmp_path, seed=7)
    open_pretended(tmp_path, seed=7, overwrite=True)[0].store.close()


def test_a_final_stage_takes_the_study_s_own_data(tmp_path):
    session, _ = open_pretended(tmp_path)
    parts = study_parts(session.folder, session.store, session.artefacts)
    data, _ = same_data(parts, CsvProvider(filename=str(tmp_path / "table.csv"), label="y"))
    assert data.fingerprint == session.record.data_fingerprint
    with pytest.raises(StudyError, match="the training data of study 'x' differ"):
        same_data(parts, CsvProvider(filename=str(other_table(tmp_path)), label="y"))


def test_a_folder_that_is_no_study_is_not_overwritten(tmp_path):
    folder = tmp_path / "runs" / "x"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("three years of work")
    with pytest.raises(StudyError, match="is not a study"):
        open_pretended(tmp_path, overwrite=True)
    assert (folder / "thesis.txt").read_text() == "three years of work"


def test_a_study_that_is_being_worked_on_is_not_overwritten(tmp_path):
    session, _ = open_pretended(tmp_path)
    claim = session.store.claim("somebody", 5)
    with pytest.raises(StudyError, match=r"is being worked on \(trials 1, by somebody\)"):
        open_pretended(tmp_path, overwrite=True)
    session.store.fail(claim, "over")
    open_pretended(tmp_path, overwrite=True)[0].store.close()


def test_a_study_goes_on_with_the_version_of_the_search_that_it_began_with(tmp_path):
    def searched(session):
        found = type(session.planner._make.algorithm).__name__
        session.store.close()
        return found

    session, _ = open_pretended(tmp_path)
    assert (session.record.settings["search_version"], searched(session)) == (LATEST_VERSION, "ProcessPortfolio")
    session, _ = open_pretended(tmp_path)
    session.store.change_settings({}, without=["search_version"])  # as version 1.0 wrote it
    session.store.close()
    for _ in range(2):
        session, _ = open_pretended(tmp_path)
        assert (session.store.study().settings["search_version"], searched(session)) == (1, "GuidedBeam")


@pytest.mark.parametrize("moment", ["before the file is written", "while it is written"])
def test_the_specification_never_goes_into_another_study_in_the_place_of_its_own(tmp_path, monkeypatch, moment):
    spec_text, write_text, turns, spec = study_setup._spec_text, study_folder.write_text, iter([1]), []

    def begin_anew():
        if next(turns, None):
            session, _ = open_pretended(tmp_path, overwrite=True, seed=8)
            session.store.close()
            spec.append(session.folder / "spec.pbtxt")
            spec[0].unlink()

    def read_late(store):
        found = spec_text(store)
        begin_anew()
        return found

    def write_late(*given):
        begin_anew()
        write_text(*given)

    if moment == "while it is written":
        monkeypatch.setattr(study_folder, "write_text", write_late)
    else:
        monkeypatch.setattr(study_setup, "_spec_text", read_late)
    with pytest.raises(VanishedStudyError, match="is no longer in"):
        open_pretended(tmp_path, seed=7)
    assert not spec[0].exists()
