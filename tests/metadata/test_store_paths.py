"""Names become folders that lie inside of the root, and can be read back."""

import pathlib
import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_search.errors import StoreError, StudyError
from model_search.metadata import paths

ROOT = pathlib.Path("root")
HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "C:\\x",
    "C:",
    "%",
    "%%",
    "%2E",
    "%_",
    "a%_",
    "_",
    "\0",
    "a\0b",
    "\n",
    "con",
    "NUL.txt",
    "com1",
    "trailing.",
    "trailing ",
    " leading",
    ".hidden",
    "*?<>|\"'",
    "\udcff\ud800",
    "\ud83d\ude00",
    "😀",
    "Prüfung 3",
    "Pru\u0308fung 3",
    "研究",
    "x" * 256,
    "." * 130,
    "研" * 130,
    "/" * 130,
    "%" * 130,
]


def make_study(root, name):
    folder = paths.study_dir(root, name)
    folder.mkdir(parents=True)
    (folder / paths.DATABASE).touch()
    return folder


@pytest.mark.parametrize("name", ["adult", "my-study_2", "phoneme 40 models", "v1.2", "a+b=c,(d)"])
def test_ordinary_names_stay_as_they_are(name):
    assert paths.study_dir("runs", name) == pathlib.Path("runs") / name


def test_hostile_names_make_folders_that_are_found_again(tmp_path):
    folders = {make_study(tmp_path / "root", name) for name in HOSTILE}
    assert len(folders) == len(HOSTILE)
    assert paths.list_studies(tmp_path / "root") == sorted(HOSTILE)
    assert [entry.name for entry in tmp_path.iterdir()] == ["root"]


def assert_safe(name):
    relative = paths.study_dir(ROOT, name).relative_to(ROOT)
    assert relative.parts
    for part in relative.parts:
        assert part not in (".", "..")
        assert len(part.encode()) <= 255
        assert part.isprintable()
        assert not set(part) & set('/\\:*?"<>|')
        assert part[-1] not in ". "
        assert part[0] not in ". "
        assert part.partition(".")[0].lower() not in ("con", "prn", "aux", "nul", "com1", "lpt9")
        assert unicodedata.is_normalized("NFC", part)


@pytest.mark.parametrize("name", HOSTILE)
def test_every_part_of_a_hostile_name_is_a_safe_folder(name):
    assert_safe(name)


@given(st.text(st.characters(), max_size=33))
def test_every_part_of_any_name_is_a_safe_folder(name):
    assert_safe(name)


@given(st.sets(st.text(st.sampled_from("%_2Ea. /\\\0ä\u0308\ud800") | st.characters(), max_size=12), min_size=2))
def test_different_names_have_different_folders(names):
    assert len({paths.study_dir(ROOT, name) for name in names}) == len(names)


def test_a_name_that_no_path_can_hold_is_refused():
    with pytest.raises(StudyError, match="5000 characters"):
        paths.study_dir("runs", "x" * 5000)


def test_what_is_no_study_is_not_listed(tmp_path):
    make_study(tmp_path, "one")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for odd in ("100%", "a%ff", "%c3%a4", "tail%_"):
        (tmp_path / odd).mkdir()
        (tmp_path / odd / paths.DATABASE).touch()
    (tmp_path / "loop%_").symlink_to(tmp_path, target_is_directory=True)
    assert paths.list_studies(tmp_path) == ["one"]
    assert paths.list_studies(tmp_path / "nowhere") == []


def test_trials_and_their_files():
    assert paths.trial_dir(12) == "trials/000012"
    assert paths.trial_dir(12_345_678) == "trials/12345678"
    sha256 = "0123456789abcdef" * 4
    assert paths.artefact_path(12, "weights.npz", sha256) == "trials/000012/weights.0123456789abcdef.npz"
    assert paths.artefact_path(12, "log", sha256) == "trials/000012/log.0123456789abcdef"
    with pytest.raises(StoreError, match="too long"):
        paths.artefact_path(12, "x" * 300, sha256)


@given(st.text(st.sampled_from("./\\ab%\0"), max_size=12), st.text(string.hexdigits, min_size=16, max_size=16))
def test_any_name_of_a_file_stays_in_its_trials_folder(name, sha256):
    path = paths.check_relative(paths.artefact_path(7, name, sha256))
    assert pathlib.PurePosixPath(path).parent == pathlib.PurePosixPath("trials/000007")


@pytest.mark.parametrize(
    "relative",
    [
        "",
        ".",
        "..",
        "../x",
        "trials/../../x",
        "trials/..",
        "/etc/passwd",
        "C:\\x",
        "C:x",
        "\\x",
        "a\\..\\b",
        "a//b",
        "a\0",
    ],
)
def test_a_path_out_of_the_study_is_refused(relative):
    with pytest.raises(StoreError, match="not a path inside"):
        paths.check_relative(relative)


def test_a_place_of_files_is_the_same_in_every_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert paths.absolute_place("models") == str(tmp_path / "models")
    assert paths.absolute_place("~/models/") == str(tmp_path / "home" / "models")
    for place in ("", "/models", "s3://bucket/models/", "memory://x", "simplecache::s3://bucket"):
        assert paths.absolute_place(place) == place
