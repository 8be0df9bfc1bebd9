"""Files in a place that several machines see: the contract, for a folder and for a file system that is none."""

import pytest
from artefact_contract import ArtefactContract

from model_search.errors import StoreError, StudyError, UserError
from model_search.metadata.artefacts import LocalArtefacts
from model_search.metadata.paths import study_dir
from model_search.metadata.shared_artefacts import SharedArtefacts, open_artefacts, shared_artefacts
from model_search.metadata.store import StudyRecord
from model_search.metadata.study_folder import LinkedFileError
from model_search.metadata.trial import Artefact

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


def record_of(place, **settings):
    return StudyRecord("adult", "me", "", "loss", "minimize", 1, "f", {}, {"artefacts": place, **settings}, {})


def test_a_study_without_a_place_keeps_its_files_in_its_folder(tmp_path):
    assert isinstance(open_artefacts(tmp_path, record_of(None), None), LocalArtefacts)
    assert isinstance(shared_artefacts(tmp_path, None), LocalArtefacts)
    with pytest.raises(StudyError, match="keeps its files in its own folder, not in /elsewhere; leave artefacts out"):
        open_artefacts(tmp_path, record_of(None), "/elsewhere")


def test_a_place_counts_if_it_is_named_again(tmp_path):
    place = str(tmp_path / "shared")
    shared = open_artefacts(tmp_path / "adult", record_of(place), place + "/")
    shared.write(1, "x", b"hello")
    assert list((tmp_path / "shared" / "adult" / "trials" / "000001").iterdir())
    with pytest.raises(StudyError, match=r"keeps its files in '.*shared', not in /elsewhere"):
        open_artefacts(tmp_path / "adult", record_of(place), "/elsewhere")


def test_studies_of_one_name_or_one_end_of_a_long_name_have_folders_of_their_own(tmp_path):
    place, long = str(tmp_path / "shared"), [study_dir(tmp_path, letter * 200 + "tail") for letter in "AB"]
    for number, folder in enumerate((tmp_path / "a" / "adult", tmp_path / "b" / "adult", *long)):
        record = record_of(place, artefacts_id=f"{number:08x}")
        open_artefacts(folder, record, place).write(1, "x", b"hello")
    found = {path.parents[2].relative_to(place).as_posix() for path in (tmp_path / "shared").rglob("x.*")}
    ends = {f"{letter * 200}%_/%_tail-0000000{number}" for letter, number in (("A", 2), ("B", 3))}
    assert found == {"adult-00000000", "adult-00000001"} | ends


@pytest.mark.parametrize("given", ["../other", "", "0123456", "0123456g", "01234567\n", 12345678, ["01234567"]])
def test_an_id_that_is_none_is_refused(tmp_path, given):
    with pytest.raises(StudyError, match="damaged: artefacts_id is"):
        open_artefacts(tmp_path / "adult", record_of("/elsewhere", artefacts_id=given), "/elsewhere")


def test_a_relative_place_of_an_earlier_version_is_one_of_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("models", "models/", str(tmp_path / "models")):
        open_artefacts(tmp_path / "adult", record_of("models"), place).write(1, "x", b"hello")
    assert list((tmp_path / "models" / "adult" / "trials" / "000001").iterdir())
    monkeypatch.chdir("models")
    with pytest.raises(StudyError, match="keeps its files in 'models', not in "):
        open_artefacts(tmp_path / "adult", record_of("models"), str(tmp_path / "models"))


@pytest.mark.parametrize("place", ["/nowhere", "s3://bucket/x", "memory://x", "http://localhost:1/", "nosuch://x"])
def test_a_place_that_only_the_study_names_is_never_touched(tmp_path, place):
    unnamed = open_artefacts(tmp_path / "adult", record_of(place), None)
    artefact = Artefact("x", "trials/000001/x", "0" * 64, 1)
    for act in (lambda: unnamed.write(1, "x", b""), lambda: unnamed.read(artefact), lambda: unnamed.delete(artefact)):
        with pytest.raises(StudyError, match=f"only if you name it, too: give artefacts='{place}'"):
            act()


def test_what_is_said_of_a_place_is_short_and_without_control_characters(tmp_path):
    unnamed = open_artefacts(tmp_path, record_of("s3://\x1b[31m\u202e" + "x" * 1000), None)
    message = str(unnamed.refusal())
    assert message.isprintable()
    assert message.isascii()
    assert len(message) < 700


def test_a_place_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(StudyError, match="damaged: artefacts is"):
        open_artefacts(tmp_path, record_of(["x"]), None)


def test_links_in_a_shared_folder_are_not_followed(tmp_path):
    outside, place = tmp_path / "outside", tmp_path / "shared"
    (place / "adult").mkdir(parents=True)
    outside.mkdir()
    (place / "adult" / "trials").symlink_to(outside)
    for url in (str(place), f"file://{place}"):
        with pytest.raises(LinkedFileError):
            shared_artefacts(tmp_path / "adult", url).write(1, "x", b"hello")
    assert not list(outside.iterdir())
