"""Files in a place that several machines see: the contract, for a folder and for a file system that is none."""

import pytest
from artefact_contract import ArtefactContract

from model_search.errors import StoreError, UserError
from model_search.metadata.artefacts import LocalArtefacts
from model_search.metadata.shared_artefacts import SharedArtefacts, open_artefacts

fsspec = pytest.importorskip("fsspec", reason="fsspec comes with the extra for Ray")


class TestLocalFolder(ArtefactContract):
    @pytest.fixture
    def artefacts(self, tmp_path):
        return LocalArtefacts(tmp_path)

    @pytest.fixture
    def overwrite(self, tmp_path):
        def act(artefact, content):
            path = tmp_path / artefact.path
            path.unlink() if content is None else path.write_bytes(content)

        return act


class TestSharedFolder(TestLocalFolder):
    @pytest.fixture
    def artefacts(self, tmp_path):
        return SharedArtefacts(str(tmp_path))


class TestUrl(ArtefactContract):
    @pytest.fixture
    def artefacts(self):
        yield SharedArtefacts("memory://bucket/study [1]")
        fsspec.filesystem("memory").store.clear()

    @pytest.fixture
    def overwrite(self):
        system = fsspec.filesystem("memory")

        def act(artefact, content):
            path = f"/bucket/study [1]/{artefact.path}"
            system.rm_file(path) if content is None else system.pipe_file(path, content)

        return act


def test_nothing_but_the_file_stays(tmp_path):
    artefact = SharedArtefacts(f"file://{tmp_path}").write(2, "x.txt", b"hello")
    found = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert found == [artefact.path]


def test_a_location_that_cannot_be_used_raises(tmp_path):
    with pytest.raises(UserError, match="nosuch://bucket"):
        SharedArtefacts("nosuch://bucket")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        SharedArtefacts(str(tmp_path / "file")).write(1, "x", b"hello")


def test_where_a_study_keeps_its_files(tmp_path):
    assert isinstance(open_artefacts(tmp_path, {}), LocalArtefacts)
    assert isinstance(open_artefacts(tmp_path, {"artefacts": None}), LocalArtefacts)
    shared = open_artefacts(tmp_path / "adult", {"artefacts": str(tmp_path / "shared")})
    shared.write(1, "x", b"hello")
    assert list((tmp_path / "shared" / "adult" / "trials" / "000001").iterdir())
