"""`overwrite=True`: what is deleted, and what is not."""

import pathlib

import pytest
from pretended import open_pretended

from model_search.errors import StudyError
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.study_folder import VanishedStudyError
from model_search.trainers.opening.overwriting import EarlierStudy


@pytest.fixture
def begun(tmp_path):
    """The folder of a study without trials, and its open session."""
    session, _ = open_pretended(tmp_path)
    yield session
    session.store.close()


def found(session):
    return EarlierStudy.found("x", session.folder)


def test_a_study_is_deleted_with_its_folder(begun):
    found(begun).delete()
    assert list(begun.folder.parent.iterdir()) == []


def test_whoever_has_it_open_is_told_and_writes_nothing(begun):
    found(begun).delete()
    for act in (
        lambda: begun.store.claim("w", 9),
        lambda: begun.store.change_settings({}),
        lambda: begun.artefacts.write(1, "weights.npz", b"x"),
        begun.store.another,
    ):
        with pytest.raises(VanishedStudyError, match=r"is no longer in .*x: it was moved, deleted or overwritten"):
            act()
    assert list(begun.folder.parent.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda session: session.store.change_settings({"number_models": 9}),
        lambda session: session.store.fail(session.store.claim("w", 9), "no luck"),
    ],
    ids=["continued", "a trial more"],
)
def test_a_study_that_has_changed_since_is_kept(begun, change):
    earlier = found(begun)
    change(begun)
    with pytest.raises(StudyError, match="begun or changed by another process just now, and is not overwritten"):
        earlier.delete()
    assert begun.store.study().name == "x"


def test_a_study_that_was_begun_since_is_kept(tmp_path):
    earlier = EarlierStudy.found("x", tmp_path / "runs" / "x")
    session, _ = open_pretended(tmp_path)
    with pytest.raises(StudyError, match="begun or changed by another process just now"):
        earlier.delete()
    session.store.claim("w", 9)
    session.store.close()


def test_a_study_begun_anew_in_the_same_place_is_another(tmp_path, begun):
    earlier = found(begun)
    found(begun).delete()
    session, _ = open_pretended(tmp_path, seed=begun.record.seed)
    with pytest.raises(StudyError, match="begun or changed by another process just now"):
        earlier.delete()
    session.store.close()


def test_a_study_that_is_worked_on_is_kept(begun):
    earlier = found(begun)
    begun.store.claim("w", 9)
    for act in (earlier.delete, lambda: found(begun)):
        with pytest.raises(StudyError, match=r"is being worked on \(trials 1, by w\)"):
            act()
    assert begun.store.trial(1).state == "claimed"


def test_a_database_without_a_record_yet_is_left_to_its_maker(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    store = SqliteStore(folder / "study.db")
    EarlierStudy.found("x", folder).delete()
    assert store.claim("w", 9).trial_id == 1
    store.close()


def test_a_damaged_study_is_deleted(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "study.db").write_bytes(b"no database" * 99)
    EarlierStudy.found("x", folder).delete()
    assert not folder.exists()


def test_a_link_and_a_folder_of_something_else_are_kept(tmp_path, begun):
    (tmp_path / "link").symlink_to(begun.folder)
    with pytest.raises(StudyError, match="is a link, and is not overwritten"):
        EarlierStudy.found("link", tmp_path / "link")
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious").touch()
    with pytest.raises(StudyError, match=r"other is not a study \(it has no study.db\)"):
        EarlierStudy.found("other", other)
    assert begun.store.study().name == "x"


@pytest.mark.parametrize("anew", [False, True], ids=["deleted", "begun anew"])
def test_a_study_that_another_process_deletes_or_replaces_meanwhile_was_one(tmp_path, begun, monkeypatch, anew):
    """The other process comes right after the names in the folder were read."""
    earlier, read = found(begun), pathlib.Path.iterdir

    def iterdir(folder):
        names = list(read(folder))
        if folder == begun.folder and (begun.folder / "study.db").is_file():
            begun.folder.rename(begun.folder.with_name(".x.01234567.old"))
            if anew:
                begun.folder.mkdir()
                (begun.folder / "logs").mkdir()
        return iter(names)

    monkeypatch.setattr("pathlib.Path.iterdir", iterdir)
    assert earlier.delete() == ""
    assert [path.name for path in tmp_path.glob("runs/*")] == (["x"] if anew else [])


def refuse(*given):
    raise PermissionError(13, "Permission denied")


def test_a_folder_that_cannot_be_renamed_is_reported_and_stays(begun, monkeypatch):
    earlier = found(begun)
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.rename", refuse)
        with pytest.raises(StudyError, match="x cannot be deleted: Permission denied; delete it by hand"):
            earlier.delete()
    assert begun.store.study().name == "x"


def test_what_cannot_be_deleted_is_named_where_it_is_and_is_deleted_next_time(tmp_path, begun, monkeypatch):
    runs = begun.folder.parent
    others = [runs / name for name in (".y.01234567.old", ".x.0123456.old", ".x.01234567.new")]
    for other in others:
        other.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", refuse)
        session, _ = open_pretended(tmp_path, overwrite=True)
    session.store.close()
    (aside,) = (path for path in runs.glob(".x.????????.old"))
    said = "the earlier study could not be deleted completely: Permission denied; what is left is in"
    assert session.warnings == (f"{said} {aside}, delete it by hand",)
    assert (aside / "study.db").is_file()
    session, _ = open_pretended(tmp_path, overwrite=True)
    session.store.close()
    assert session.warnings == ()
    assert sorted(runs.iterdir()) == sorted([*others, begun.folder])
