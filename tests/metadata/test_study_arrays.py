"""Arrays that the study keeps so that they need not be computed again."""

import numpy as np
import pytest

from model_search.errors import StoreError
from model_search.metadata.artefacts import LocalArtefacts
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import StudyRecord
from model_search.metadata.study_arrays import StudyArrays


class Study:
    def __init__(self, folder):
        self.folder, self.notes = folder, []
        self.store = SqliteStore(folder / "study.db")
        self.store.create_study(StudyRecord("s", "me", "", "loss", "minimize", 1, "f", {}, {}, {}))
        self.arrays = StudyArrays(self.store, LocalArtefacts(folder), self.notes.append)

    @property
    def files(self):
        return sorted((self.folder / "files").iterdir())


@pytest.fixture
def study(tmp_path):
    found = Study(tmp_path)
    yield found
    found.store.close()


def test_arrays_come_back_by_name(study):
    study.arrays.save("a.npz", {"x": np.arange(3.0)})
    assert study.arrays.names() == {"a.npz"}
    assert study.arrays.load("a.npz")["x"].tolist() == [0, 1, 2]
    assert study.arrays.load("b.npz") is None and not study.notes


def test_equal_arrays_are_one_file(study):
    for _ in range(2):
        study.arrays.save("a.npz", {"x": np.arange(3.0)})
    assert len(study.files) == 1


@pytest.mark.parametrize("way", ["cut", "changed", "deleted", "no arrays"])
def test_a_damaged_file_is_told_about_once_and_not_read(study, way):
    study.arrays.save("a.npz", {"x": np.arange(3.0)})
    (file,) = study.files
    content = file.read_bytes()
    if way == "deleted":
        file.unlink()
    elif way == "no arrays":
        study.store.save_file(LocalArtefacts(study.folder).write(None, "a.npz", b"something else"))
    else:
        file.write_bytes(content[:-1] if way == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    assert study.arrays.load("a.npz") is None and study.arrays.load("a.npz") is None
    assert len(study.notes) == 1
    assert study.notes[0].startswith("a.npz is not used, and computed again from the trials: ")


def test_a_file_that_another_worker_deletes_meanwhile_is_no_damage(study, monkeypatch):
    study.arrays.save("a.npz", {"x": np.arange(3.0)})
    read = LocalArtefacts.read

    def deleted_first(artefacts, artefact):
        StudyArrays(study.store, artefacts, pytest.fail).forget(["a.npz"])
        return read(artefacts, artefact)

    monkeypatch.setattr(LocalArtefacts, "read", deleted_first)
    assert study.arrays.load("a.npz") is None and not study.notes


def test_what_is_forgotten_is_gone_with_its_file(study):
    for name in ("a.npz", "b.npz"):
        study.arrays.save(name, {"x": np.arange(3.0)})
    study.arrays.forget(["a.npz", "never.npz"])
    assert study.arrays.names() == {"b.npz"}
    assert [file.name.split(".")[0] for file in study.files] == ["b"]


def test_what_cannot_be_written_is_an_error(study, monkeypatch):
    def full(*given):
        raise StoreError("no room")

    monkeypatch.setattr(LocalArtefacts, "write", full)
    with pytest.raises(StoreError, match="no room"):
        study.arrays.save("a.npz", {"x": np.arange(3.0)})
    assert not study.arrays.names()
