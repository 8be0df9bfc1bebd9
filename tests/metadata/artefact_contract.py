"""What every artefact store promises. Subclass `ArtefactContract`; give it the fixtures `artefacts` and `overwrite`."""

import dataclasses
import hashlib

import numpy as np
import pytest

from model_search.errors import StoreError
from model_search.metadata.artefacts import DamagedArtefactError, PrunedArtefactError, load_arrays, save_arrays


class ArtefactContract:
    """`overwrite(artefact, content)` changes a stored file behind the store's back; None removes it."""

    def test_what_is_written_is_read(self, artefacts):
        artefact = artefacts.write(3, "notes.txt", b"hello")
        assert (artefact.name, artefact.size) == ("notes.txt", 5)
        assert artefact.sha256 == hashlib.sha256(b"hello").hexdigest()
        assert artefacts.read(artefact) == b"hello"

    def test_a_function_writes_and_may_go_back(self, artefacts):
        def write(file):
            file.write(b"....body")
            file.seek(0)
            file.write(b"head")

        assert artefacts.read(artefacts.write(1, "x.bin", write)) == b"headbody"

    def test_a_writer_that_breaks_off_leaves_nothing(self, artefacts):
        def write(file):
            file.write(b"half")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            artefacts.write(1, "x.bin", write)

    def test_a_file_can_be_deleted_more_than_once(self, artefacts):
        gone, other = artefacts.write(1, "a", b"first"), artefacts.write(1, "b", b"second")
        artefacts.delete(gone)
        artefacts.delete(gone)
        with pytest.raises(DamagedArtefactError):
            artefacts.read(gone)
        assert artefacts.read(other) == b"second"

    @pytest.mark.parametrize("path", ["../outside", "/etc/passwd"])
    def test_nothing_outside_is_deleted(self, artefacts, path):
        gone = dataclasses.replace(artefacts.write(1, "a", b"x"), path=path)
        with pytest.raises(StoreError, match="not a path inside"):
            artefacts.delete(gone)

    def test_a_pruned_file_is_refused_with_the_way_to_make_it_again(self, artefacts):
        gone = dataclasses.replace(save_arrays(artefacts, 12, "weights.npz", {"a": np.ones(2)}), pruned=True)
        with pytest.raises(PrunedArtefactError, match=r"weights.npz of trial 12 .*study\.replay\(12, data\)"):
            load_arrays(artefacts, gone)

    def test_an_empty_file_is_a_file(self, artefacts):
        assert artefacts.read(artefacts.write(1, "empty", b"")) == b""

    def test_two_contents_of_one_name_do_not_meet(self, artefacts):
        first, second = artefacts.write(1, "x", b"first"), artefacts.write(1, "x", b"second")
        assert (artefacts.read(first), artefacts.read(second)) == (b"first", b"second")
        assert artefacts.write(1, "x", b"first") == first

    def test_a_file_may_belong_to_the_study_itself(self, artefacts):
        assert artefacts.read(artefacts.write(None, "whole.txt", b"all")) == b"all"

    @pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "a b", "ä", "con", ".hidden", "%00", "a[1]*?.npz"])
    def test_names_are_data(self, artefacts, name):
        artefact = artefacts.write(1, name, b"x")
        assert artefact.path.startswith("trials/000001/")
        assert ".." not in artefact.path.split("/")
        assert artefacts.read(artefact) == b"x"

    def test_arrays_are_kept_as_they_are(self, artefacts):
        arrays = {"0000": np.arange(6, dtype=np.float32).reshape(2, 3), "text": np.array(["a", "ä"])}
        found = load_arrays(artefacts, save_arrays(artefacts, 1, "weights.npz", arrays))
        for key, array in arrays.items():
            np.testing.assert_array_equal(found[key], array)

    @pytest.mark.parametrize("content", [None, b"", b"hell", b"hellO", b"hello "])
    def test_a_damaged_file_is_noticed(self, artefacts, overwrite, content):
        artefact = artefacts.write(1, "x", b"hello")
        overwrite(artefact, content)
        with pytest.raises(DamagedArtefactError, match=r"damaged|cannot be read"):
            artefacts.read(artefact)

    @pytest.mark.parametrize("path", ["../x", "/etc/passwd", "trials/../../x", "", "a//b", "C:\\x"])
    def test_a_path_that_leads_out_is_refused(self, artefacts, path):
        artefact = artefacts.write(1, "x", b"hello")
        with pytest.raises(StoreError, match="not a path inside"):
            artefacts.read(dataclasses.replace(artefact, path=path))
