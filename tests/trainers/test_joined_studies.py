"""What one process does to the study that another is opening, in every order of their steps."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
from pretended import open_pretended

from model_search.data import array_data
from model_search.errors import StudyError
from model_search.metadata.artefacts import save_arrays
from model_search.metadata.connection import UnreadableStudyError
from model_search.metadata.paths import GIVEN_MODELS
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.study_folder import OpenFolder, VanishedStudyError
from model_search.spec.load import stored_spec
from model_search.trainers.opening import study_setup
from model_search.trainers.serialization import Contents


@pytest.fixture
def first(tmp_path, monkeypatch):
    """`first(act)`: calls `act` once, at the moment at which the next study is about to be created."""

    def arm(act):
        create = SqliteStore.create_study

        def act_and_create(store, record):
            monkeypatch.setattr(SqliteStore, "create_study", create)
            act()
            return create(store, record)

        monkeypatch.setattr(SqliteStore, "create_study", act_and_create)

    return arm


@pytest.fixture
def opened(tmp_path):
    """`opened(**options)`: a session; closed in the end."""
    sessions = []

    def one(folder=tmp_path, **options):
        sessions.append(open_pretended(folder, **options)[0])
        return sessions[-1]

    yield one
    for session in sessions:
        session.store.close()


def spec_file(session):
    return (session.folder / "spec.pbtxt").read_text(encoding="utf-8")


def test_the_second_takes_seed_data_and_settings_of_the_first(first, opened):
    winners = []
    first(lambda: winners.append(opened(number_models=7, time_limit=9.0, seed=5)))
    second = opened(number_models=20, time_limit=None)
    (winner,) = winners
    assert second.record == winner.record == second.store.study()
    assert (second.record.seed, second.data.fingerprint) == (5, winner.data.fingerprint)
    for name, array in second.data.valid.inputs.items():
        assert np.array_equal(array, winner.data.valid.inputs[name])
    assert second.record.settings["number_models"] == 7
    assert spec_file(second) == second.record.spec_text
    assert len(second.store.files()) == 1


def test_whoever_continues_changes_the_settings(opened):
    opened(number_models=7)
    assert opened(number_models=20).store.study().settings["number_models"] == 20


def test_what_another_process_changes_while_one_continues_stays(first, opened):
    other, given = opened(), {"origin": "a model", "digest": "d", "towers": []}

    def change():
        other.store.change_settings({"given": given})
        other.store.save_file(save_arrays(other.artefacts, None, GIVEN_MODELS, {"x": np.zeros(1)}))

    first(change)
    assert opened(number_models=20).store.study().settings["given"] == given


def test_a_study_begun_anew_from_the_same_is_not_taken_for_the_one_that_was_found(first, opened):
    earlier = opened(seed=5)
    earlier.store.change_settings({"given": {"origin": "a model", "digest": "d", "towers": []}})
    earlier.store.save_file(save_arrays(earlier.artefacts, None, GIVEN_MODELS, {"x": np.zeros(1)}))

    def overwrite():
        earlier.store.close()
        opened(seed=5, overwrite=True)

    first(overwrite)
    with pytest.raises(VanishedStudyError):
        opened()
    assert "given" not in opened().store.study().settings


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": 8}, "has seed 5, not 8; leave the seed out"),
        ({"metric": "accuracy"}, r"its metric is loss \(minimize\), not accuracy \(maximize\)"),
        ({"artefacts": "elsewhere"}, "keeps its files in its own folder, not in elsewhere"),
    ],
)
def test_what_does_not_fit_the_first_is_refused(first, opened, options, words):
    first(lambda: opened(seed=5))
    with pytest.raises(StudyError, match=f"'x' .*{words}"):
        opened(**options)
    assert opened().record.seed == 5


def test_files_elsewhere_are_those_of_the_first(first, opened, tmp_path):
    place = str(tmp_path / "elsewhere")
    first(lambda: opened(artefacts=place, seed=5))
    with pytest.raises(StudyError, match="only if you name it"):
        opened(seed=5)
    second = opened(artefacts=place, seed=5)
    assert second.record.settings["artefacts"] == place
    assert second.store.study().settings["artefacts"] == place
    kept = second.artefacts.write(None, "more.npz", b"x")
    assert not (second.folder / kept.path).exists()
    (own,) = (tmp_path / "elsewhere").iterdir()
    assert own.name == f"x-{second.record.settings['artefacts_id']}"
    assert (own / kept.path).read_bytes() == b"x"


def test_two_studies_of_one_name_and_seed_do_not_share_their_files(opened, tmp_path):
    place = str(tmp_path / "elsewhere")
    one, other = (opened(root_dir=tmp_path / root, artefacts=place, seed=5) for root in ("a", "b"))
    kept = one.artefacts.write(1, "weights.npz", b"x")
    assert other.artefacts.write(1, "weights.npz", b"x") == kept
    other.artefacts.delete(kept)
    assert one.artefacts.read(kept) == b"x"
    again = opened(root_dir=tmp_path / "a", artefacts=place)
    assert again.store.study().settings["artefacts_id"] == one.record.settings["artefacts_id"]
    assert again.artefacts.read(kept) == b"x"


def test_a_study_begun_anew_while_data_are_prepared_keeps_its_own_id(opened, tmp_path, monkeypatch):
    options = {"artefacts": str(tmp_path / "elsewhere"), "seed": 5}
    opened(**options)
    make_folder, turns = study_setup._make_folder, iter([{"overwrite": True}])

    def make_late(folder):
        for more in turns:
            opened(**options, **more)
        make_folder(folder)

    monkeypatch.setattr(study_setup, "_make_folder", make_late)
    session = opened(**options)
    kept = session.artefacts.write(1, "weights.npz", b"x")
    assert session.store.study().settings["artefacts_id"] == session.record.settings["artefacts_id"]
    assert opened(**options).artefacts.read(kept) == b"x"


def test_a_study_of_an_earlier_version_keeps_its_folder_in_a_shared_place(opened, tmp_path):
    place = str(tmp_path / "elsewhere")
    session = opened(artefacts=place)
    session.store.change_settings({}, without=["artefacts_id"])
    kept = opened(artefacts=place).artefacts.write(1, "weights.npz", b"x")
    assert (tmp_path / "elsewhere" / "x" / kept.path).is_file()
    assert "artefacts_id" not in session.store.study().settings


def test_other_data_are_refused_after_the_split_of_the_first(first, opened, tmp_path):
    first(opened)
    other = tmp_path / "other"
    other.mkdir()
    pd.DataFrame({"x": range(1, 61), "y": ["a", "b", "b"] * 20}).to_csv(other / "table.csv", index=False)
    with pytest.raises(StudyError, match=r"the training data differ \(the same columns, other values\)"):
        opened(other, root_dir=tmp_path / "runs")


def test_a_study_overwritten_while_it_is_continued_is_prepared_for_anew(first, opened):
    earlier = opened(seed=5)

    def overwrite():
        earlier.store.close()
        opened(seed=6, overwrite=True)

    first(overwrite)
    with pytest.raises(VanishedStudyError):
        opened()
    assert opened().record.seed == 6


NEW = ("create_study", "save_file", "_spec_text")
CONTINUED = ("create_study", "change_settings", "_spec_text")


@pytest.mark.parametrize(("begun", "step"), [*((False, step) for step in NEW), *((True, step) for step in CONTINUED)])
def test_a_folder_deleted_between_two_steps_is_reported(opened, monkeypatch, tmp_path, step, begun):
    if begun:
        opened()
    where = study_setup if step == "_spec_text" else SqliteStore
    act = getattr(where, step)

    def delete_and_act(*given, **named):
        shutil.rmtree(tmp_path / "runs")
        return act(*given, **named)

    monkeypatch.setattr(where, step, delete_and_act)
    with pytest.raises(VanishedStudyError, match=r"is no longer in .*runs/x: it was moved, deleted or overwritten"):
        opened()
    assert not (tmp_path / "runs").exists()


def test_a_folder_deleted_before_its_database_is_made_is_reported(opened, monkeypatch, tmp_path):
    make = SqliteStore.__init__

    def delete_and_make(store, path, **options):
        shutil.rmtree(path.parent)
        make(store, path, **options)

    monkeypatch.setattr(SqliteStore, "__init__", delete_and_make)
    with pytest.raises(UnreadableStudyError, match="its folder does not exist"):
        opened()
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_worker_refuses_a_study_that_is_another_by_now(opened):
    session = opened(seed=5)
    contents = Contents.of(session)
    store = SqliteStore(session.folder / "study.db")
    assert contents.open(store).record == session.record
    store.close()
    session.store.close()
    other = opened(overwrite=True, seed=6)
    with pytest.raises(VanishedStudyError):
        contents.open(other.store)


def test_a_worker_refuses_a_study_that_is_being_made(opened, tmp_path):
    contents = Contents.of(opened())
    with pytest.raises(VanishedStudyError):
        contents.open(SqliteStore(tmp_path / "new.db"))


def test_the_specification_on_disk_is_the_last_one_of_the_store(opened, monkeypatch):
    """Another process continues the study between our change and our file."""
    session = opened()
    texts = iter(["ours", "theirs", "theirs"])
    monkeypatch.setattr(study_setup, "_spec_text", lambda store: next(texts))
    study_setup._write_spec(session.store, OpenFolder(session.folder))
    assert spec_file(session) == "theirs"
    assert [path.name for path in session.folder.glob(".*")] == []


def test_a_custom_split_needs_no_seed(first, opened, tmp_path):
    """Validation rows that were given do not depend on the seed; the plans do."""
    x = np.arange(60.0).reshape(30, 2)
    provider = array_data.Provider(x, [0, 1] * 15, validation=(x, [0, 1] * 15))
    session, context = open_pretended(tmp_path)
    session.store.close()
    options = dataclasses.replace(context.options, experiment_name="given")
    spec = stored_spec(session.record.spec_text, "x")
    winners = []
    first(lambda: winners.append(study_setup.open_session(provider, spec, options)))
    second = study_setup.open_session(provider, spec, options)
    winners[0].store.close()
    second.store.close()
    assert second.record == winners[0].record
