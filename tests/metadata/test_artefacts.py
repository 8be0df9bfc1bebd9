"""Files: whole or not there, and never loaded where they are damaged."""

import dataclasses
import hashlib
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model_search.errors import StoreError
from model_search.metadata.artefacts import DamagedArtefactError, LocalArtefacts, load_arrays, save_arrays

ARRAYS = {
    "0000": np.arange(12, dtype=np.float32).reshape(3, 4),
    "0001": np.array([], dtype=np.int64),
    "scalar": np.array(1.5),
    "text": np.array(["a", "ä"]),
    "fortran": np.asfortranarray(np.ones((2, 3), np.float16)),
}


@pytest.fixture
def artefacts(tmp_path):
    return LocalArtefacts(tmp_path)


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_is_written_is_read(artefacts, tmp_path):
    artefact = artefacts.write(3, "notes.txt", b"hello")
    assert artefact.name == "notes.txt"
    assert artefact.size == 5
    assert artefact.sha256 == hashlib.sha256(b"hello").hexdigest()
    assert artefacts.read(artefact) == b"hello"
    assert files(tmp_path) == [artefact.path] == [f"trials/000003/notes.{artefact.sha256[:16]}.txt"]


@pytest.mark.skipif(os.name != "posix", reason="folders are synced where the system can")
def test_a_file_and_its_name_are_on_disk_when_the_call_returns(artefacts, tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def watched(descriptor):
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    path = tmp_path / artefacts.write(3, "notes.txt", b"hello").path
    assert synced[-1] == path.parent.stat().st_ino  # after the file was renamed
    assert path.stat().st_ino in synced[:-1]
    assert {tmp_path.stat().st_ino, path.parent.parent.stat().st_ino} <= set(synced)  # where folders were made


def test_a_function_writes_and_may_go_back(artefacts):
    def write(file):
        file.write(b"....body")
        file.seek(0)
        file.write(b"head")

    assert artefacts.read(artefacts.write(1, "x.bin", write)) == b"headbody"


def test_an_empty_file_is_a_file(artefacts):
    assert artefacts.read(artefacts.write(1, "empty", b"")) == b""


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_writer_that_breaks_off_leaves_nothing(artefacts, tmp_path, error):
    def write(file):
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        artefacts.write(1, "x.bin", write)
    assert files(tmp_path) == []


def test_a_late_worker_does_not_write_over_its_successor(artefacts):
    mine = artefacts.write(1, "weights.npz", b"mine")
    theirs = artefacts.write(1, "weights.npz", b"theirs")
    assert artefacts.read(mine) == b"mine"
    assert artefacts.read(theirs) == b"theirs"


def test_writing_the_same_twice_is_one_file(artefacts, tmp_path):
    assert artefacts.write(1, "x", b"same") == artefacts.write(1, "x", b"same")
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("offset", [0, 1, 100, 4096, 70_000, -1])
def test_one_changed_bit_is_noticed(artefacts, tmp_path, offset):
    artefact = save_arrays(artefacts, 1, "weights.npz", {"w": np.zeros(20_000, np.float32)})
    path = tmp_path / artefact.path
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedArtefactError, match="is damaged"):
        artefacts.read(artefact)
    with pytest.raises(DamagedArtefactError, match="is damaged"):
        load_arrays(artefacts, artefact)


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"\0", lambda content: b""])
def test_another_length_is_noticed(artefacts, tmp_path, change):
    artefact = artefacts.write(1, "x", b"hello")
    path = tmp_path / artefact.path
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DamagedArtefactError, match="is damaged"):
        artefacts.read(artefact)


def test_a_missing_file_is_noticed(artefacts, tmp_path):
    artefact = artefacts.write(1, "x", b"hello")
    (tmp_path / artefact.path).unlink()
    with pytest.raises(DamagedArtefactError, match="cannot be read"):
        artefacts.read(artefact)


def test_a_path_out_of_the_study_is_not_followed(artefacts, tmp_path):
    artefact = artefacts.write(1, "x", b"hello")
    for path in ("../secret", "/etc/passwd", "trials/../../x"):
        with pytest.raises(StoreError, match="not a path inside"):
            artefacts.read(dataclasses.replace(artefact, path=path))


def test_a_folder_that_cannot_be_made_is_said_plainly(tmp_path):
    (tmp_path / "trials").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"x of trial 1 cannot be written"):
        LocalArtefacts(tmp_path).write(1, "x", b"hello")


def test_a_name_that_climbs_stays_in_the_trials_folder(artefacts, tmp_path):
    artefact = artefacts.write(1, "../../x", b"hello")
    assert artefact.name == "../../x"
    assert artefacts.read(artefact) == b"hello"
    assert [path.rpartition("/")[0] for path in files(tmp_path)] == ["trials/000001"]


def test_arrays_come_back(artefacts):
    found = load_arrays(artefacts, save_arrays(artefacts, 1, "weights.npz", ARRAYS))
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_numpy_itself_reads_the_file(artefacts, tmp_path):
    artefact = save_arrays(artefacts, 1, "weights.npz", ARRAYS)
    with np.load(tmp_path / artefact.path, allow_pickle=False) as found:
        assert set(found.files) == set(ARRAYS)
        np.testing.assert_array_equal(found["0000"], ARRAYS["0000"])


def test_equal_arrays_make_equal_files(artefacts, monkeypatch):
    first = save_arrays(artefacts, 1, "weights.npz", ARRAYS)
    monkeypatch.setattr("time.localtime", lambda *_: (2030, 1, 1, 0, 0, 0, 0, 1, 0))
    assert (
        save_arrays(artefacts, 1, "weights.npz", {name: array.copy(order="K") for name, array in ARRAYS.items()})
        == first
    )


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\\"), max_size=8),
        hnp.arrays(
            st.one_of(hnp.floating_dtypes(), hnp.integer_dtypes(), hnp.boolean_dtypes()),
            hnp.array_shapes(min_dims=0, min_side=0, max_side=3),
        ),
        max_size=3,
    )
)
def test_any_numbers_come_back(artefacts, arrays):
    found = load_arrays(artefacts, save_arrays(artefacts, 1, "a.npz", arrays))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_arrays_of_objects_are_refused(artefacts, tmp_path):
    with pytest.raises(ValueError, match="without pickle"):
        save_arrays(artefacts, 1, "a.npz", {"x": np.array([object()])})
    assert files(tmp_path) == []


def test_extension_types_are_refused_instead_of_losing_their_type(artefacts):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    with pytest.raises(ValueError, match="bfloat16"):
        save_arrays(artefacts, 1, "a.npz", {"x": np.ones(2, ml_dtypes.bfloat16)})


def test_names_that_a_zip_file_would_change_are_refused(artefacts):
    with pytest.raises(ValueError, match="an array is named"):
        save_arrays(artefacts, 1, "a.npz", {"a\0b": np.ones(1)})


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_nothing_is_ever_unpickled(artefacts):
    buffer = io.BytesIO()
    np.save(buffer, np.array([Trap()], dtype=object), allow_pickle=True)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("x.npy", buffer.getvalue())
    for content in (archive.getvalue(), pickle.dumps(Trap()), buffer.getvalue(), b"", b"PK\x05\x06"):
        artefact = artefacts.write(1, "a.npz", content)
        with pytest.raises(DamagedArtefactError, match="plain arrays"):
            load_arrays(artefacts, artefact)
