"""Files of a study are read and written without following links, whoever made its folder."""

import os
import stat

import pytest

from model_search.errors import StoreError, StudyError
from model_search.metadata import study_folder
from model_search.metadata.artefacts import LocalArtefacts
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import StudyRecord
from model_search.metadata.study_folder import LinkedFileError, OpenFolder, VanishedStudyError
from model_search.trainers.opening.overwriting import EarlierStudy


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "own.txt").write_text("the user's own")
    return folder


@pytest.fixture
def study(tmp_path, outside):
    folder = tmp_path / "study"
    folder.mkdir()
    return folder


def unchanged(outside):
    return [path.name for path in outside.iterdir()] == ["own.txt"] and (
        outside / "own.txt"
    ).read_text() == "the user's own"


@pytest.mark.parametrize("relative", ["a", "a/b", "a/b/c.npz"])
def test_a_link_anywhere_on_the_way_is_refused(study, outside, relative):
    for part in range(1, len(relative.split("/")) + 1):
        place = study.joinpath(*relative.split("/")[:part])
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(outside)
        with pytest.raises(LinkedFileError, match="is a link, which is not followed"):
            study_folder.inside(study, relative)
        place.unlink()


def test_a_link_into_the_folder_itself_or_to_nothing_is_refused_too(study):
    (study / "loop").symlink_to("loop")
    (study / "here").symlink_to(".")
    (study / "nothing").symlink_to("nowhere")
    for name in ("loop", "here", "nothing", "here/x"):
        with pytest.raises(LinkedFileError):
            study_folder.inside(study, name)


def test_a_study_that_is_reached_through_a_link_is_used(study, tmp_path):
    (tmp_path / "link").symlink_to(study, target_is_directory=True)
    artefact = LocalArtefacts(tmp_path / "link").write(1, "x", b"hello")
    assert LocalArtefacts(study).read(artefact) == b"hello"


@pytest.mark.parametrize("act", ["write", "read", "delete"])
@pytest.mark.parametrize("name", ["trials", "trials/000001"])
def test_files_of_trials_are_not_reached_through_links(study, outside, act, name):
    artefact = LocalArtefacts(study).write(1, "x", b"hello")
    (study / name).rename(outside.parent / "moved")
    (study / name).symlink_to(outside.parent / "moved")
    acts = {
        "write": lambda: LocalArtefacts(study).write(1, "y", b""),
        "read": lambda: LocalArtefacts(study).read(artefact),
        "delete": lambda: LocalArtefacts(study).delete(artefact),
    }
    with pytest.raises(LinkedFileError):
        acts[act]()
    assert len([path for path in (outside.parent / "moved").rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize("link", [lambda place, to: place.symlink_to(to), lambda place, to: place.hardlink_to(to)])
def test_a_file_that_is_written_takes_the_place_of_a_link(study, outside, link):
    link(study / "spec.pbtxt", outside / "own.txt")
    study_folder.write_text(study, "spec.pbtxt", "new")
    assert (study / "spec.pbtxt").read_text() == "new"
    assert not (study / "spec.pbtxt").is_symlink()
    assert unchanged(outside)


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(study):
    (study / "spec.pbtxt").mkdir()
    with pytest.raises(IsADirectoryError):
        study_folder.write_text(study, "spec.pbtxt", "new")
    assert [path.name for path in study.iterdir()] == ["spec.pbtxt"]


def test_the_folder_of_a_study_is_never_made(study):
    study.rmdir()
    for act in (lambda: study_folder.make_folder(study, "a/b"), lambda: OpenFolder(study).open_log("logs/w.log")):
        with pytest.raises(VanishedStudyError, match="no longer in"):
            act()
    assert not study.exists()


def test_a_log_is_not_written_into_another_study_in_its_place(study):
    opened = OpenFolder(study)
    study.rename(study.with_name("moved"))
    study.mkdir()
    with pytest.raises(VanishedStudyError, match="no longer in"):
        opened.open_log("trials/000005/worker.log")
    assert list(study.iterdir()) == []
    assert list(study.with_name("moved").iterdir()) == []


def test_a_file_of_another_study_in_its_place_is_not_deleted(study):
    artefacts = LocalArtefacts(study)
    artefact = artefacts.write(1, "x", b"hello")
    study.rename(study.with_name("moved"))
    with pytest.raises(VanishedStudyError, match="no longer in"):
        artefacts.delete(artefact)
    study.mkdir()
    assert LocalArtefacts(study).write(1, "x", b"hello") == artefact
    with pytest.raises(VanishedStudyError, match="no longer in"):
        artefacts.delete(artefact)
    assert LocalArtefacts(study).read(artefact) == b"hello"


def test_a_log_goes_on_where_it_was(study):
    for text in (b"one\n", b"two\n"):
        with OpenFolder(study).open_log("logs/w.log") as log:
            log.write(text)
    assert (study / "logs" / "w.log").read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("name", ["logs", "logs/w.log"])
def test_a_log_is_not_written_through_a_link(study, outside, name):
    (study / name).parent.mkdir(exist_ok=True)
    (study / name).symlink_to(outside / "own.txt" if name.endswith("log") else outside)
    with pytest.raises(LinkedFileError, match="is a link"):
        OpenFolder(study).open_log("logs/w.log")
    assert unchanged(outside)


def test_a_log_is_not_written_where_another_name_shows_it(study, outside):
    (study / "w.log").hardlink_to(outside / "own.txt")
    with pytest.raises(LinkedFileError, match="is a hard link"):
        OpenFolder(study).open_log("w.log")
    assert unchanged(outside)


def test_a_pipe_does_not_keep_the_program_waiting(study):
    os.mkfifo(study / "w.log")
    with pytest.raises(StoreError, match=r"w\.log"):
        OpenFolder(study).open_log("w.log")
    with pytest.raises(LinkedFileError, match="is no file"):
        study_folder.read_file(study, "w.log")


def test_a_file_of_another_size_is_not_read(study):
    with (study / "large").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="it has 1099511627776 bytes"):
        study_folder.read_file(study, "large", 5)


@pytest.mark.parametrize("name", ["final", "final/model.keras", "final/inner/model.keras"])
def test_a_target_in_the_study_is_not_reached_through_a_link(study, outside, name, tmp_path, monkeypatch):
    (study / "final").symlink_to(outside)
    (tmp_path / "alias").symlink_to(study)
    monkeypatch.chdir(tmp_path)
    for folder in (study, "study", tmp_path / "alias"):
        with pytest.raises(LinkedFileError):
            study_folder.check_target(study, f"{folder}/{name}")


def test_a_target_elsewhere_is_the_users_own_matter(study, outside, tmp_path):
    (tmp_path / "mine").symlink_to(outside)
    study_folder.check_target(study, tmp_path / "mine" / "model.keras")
    study_folder.check_target(study, study / "final" / "model.keras")


def test_overwriting_deletes_links_and_not_what_they_lead_to(study, outside):
    store = SqliteStore(study / "study.db")
    store.create_study(StudyRecord("study", "me", "", "loss", "minimize", 1, "f", {}, {}, {}))
    store.close()
    (study / "trials").mkdir()
    (study / "trials" / "link").symlink_to(outside)
    (study / "own").symlink_to(outside / "own.txt")
    EarlierStudy.found("study", study).delete()
    assert not study.exists()
    assert unchanged(outside)


def test_a_study_that_is_itself_a_link_is_not_overwritten(outside, tmp_path):
    SqliteStore(outside / "study.db").close()
    (tmp_path / "link").symlink_to(outside)
    with pytest.raises(StudyError, match="is a link, and is not overwritten"):
        EarlierStudy.found("link", tmp_path / "link")
    assert (outside / "study.db").exists()


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_files_and_folders_are_made_with_the_users_umask_and_nothing_is_executable(study, umask):
    before = os.umask(umask)
    try:
        LocalArtefacts(study).write(1, "x", b"hello")
        study_folder.write_text(study, "spec.pbtxt", "x")
        OpenFolder(study).open_log("logs/w.log").close()
    finally:
        os.umask(before)
    made = list(study.rglob("*"))
    assert len(made) == 6
    for path in made:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o777 if path.is_dir() else 0o666) & ~umask, path


def test_a_folder_is_checked_against_what_was_there_at_first(tmp_path):
    later = OpenFolder(tmp_path / "later")
    with pytest.raises(VanishedStudyError):
        later.check()
    (tmp_path / "later").mkdir()
    later.check()  # nothing was there that it could have replaced
    opened = OpenFolder(tmp_path / "later")
    opened.check()
    (tmp_path / "later").rename(tmp_path / "moved")
    (tmp_path / "later").mkdir()
    with pytest.raises(VanishedStudyError):
        opened.check()
