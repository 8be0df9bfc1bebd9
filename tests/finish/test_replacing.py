"""A folder is replaced as a whole."""

import shutil
import threading

import pytest

from model_search.finish import replacing
from model_search.finish.replacing import exchange, whole_or_not
from model_search.metadata.study_folder import OpenFolder, VanishedStudyError


def write(target, text, files=("a", "b"), study=None):
    with whole_or_not(target, study) as temporary:
        temporary.mkdir()
        for name in files:
            (temporary / name).write_text(text)


def read(target):
    return {path.name: path.read_text() for path in target.iterdir()}


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_takes_the_place_of_another(tmp_path, monkeypatch, exchanges):
    if not exchanges:
        monkeypatch.setattr(replacing, "exchange", lambda one, other: False)
    target = tmp_path / "sub" / "model"
    for text in ("first", "second"):
        write(target, text)
        assert read(target) == {"a": text, "b": text}
        assert list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_what_was_there(tmp_path):
    write(tmp_path / "model", "first")
    with pytest.raises(KeyError), whole_or_not(tmp_path / "model") as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("half")
        raise KeyError("no luck")
    assert read(tmp_path / "model") == {"a": "first", "b": "first"}
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]


def test_there_is_no_moment_without_a_whole_folder(tmp_path):
    target, wrong, done = tmp_path / "model", [], threading.Event()
    write(target, "0")
    if not exchange(target, target):
        pytest.skip("this system cannot exchange two folders")

    def check():
        while not done.is_set():
            if not target.is_dir():
                wrong.append("gone")

    reader = threading.Thread(target=check)
    reader.start()
    for turn in range(200):
        write(target, str(turn))
    done.set()
    reader.join()
    assert wrong == []


def test_many_at_once(tmp_path):
    target, failures = tmp_path / "model", []

    def work(text):
        try:
            for _ in range(20):
                write(target, text)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(set(read(target).values())) == 1
    assert list(tmp_path.iterdir()) == [target]


def moved(study):
    study.rename(study.with_name("elsewhere"))


def overwritten(study):
    moved(study)
    study.mkdir()


def deleted(study):
    shutil.rmtree(study)


@pytest.mark.parametrize("moment", ["before", "meanwhile"])
@pytest.mark.parametrize("change", [moved, overwritten, deleted])
def test_nothing_is_written_for_a_study_that_is_no_longer_there(tmp_path, change, moment):
    study = tmp_path / "runs" / "x"
    study.mkdir(parents=True)
    opened, act = OpenFolder(study), lambda: None
    if moment == "before":
        change(study)
    else:
        act = lambda: change(study)  # noqa: E731
    with (
        pytest.raises(VanishedStudyError, match=r"is no longer in .*x: it was moved"),
        whole_or_not(study / "final", opened) as temporary,
    ):
        temporary.mkdir()
        act()
        (temporary / "a").write_text("of the study that was there")
    assert [path for path in tmp_path.rglob("*") if path.name.startswith((".", "final", "a"))] == []
    assert study.exists() == (change is overwritten)


def test_a_folder_in_a_study_is_made_and_replaced_where_the_study_stays(tmp_path):
    study = tmp_path / "x"
    study.mkdir()
    target = study / "exports" / "model"
    for text in ("first", "second"):
        write(target, text, study=OpenFolder(study))
        assert read(target) == {"a": text, "b": text}
        assert list(target.parent.iterdir()) == [target]


def test_a_target_elsewhere_does_not_need_the_study(tmp_path):
    study = tmp_path / "x"
    study.mkdir()
    opened = OpenFolder(study)
    deleted(study)
    write(tmp_path / "mine" / "model", "first", study=opened)
    assert read(tmp_path / "mine" / "model") == {"a": "first", "b": "first"}
