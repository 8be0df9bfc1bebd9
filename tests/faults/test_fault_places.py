"""Places that cannot be written, odd paths, copied studies, and studies that vanish while they are in use."""

import errno
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile

import pytest
from commands import call, check_one_sentence
from programs import make_plan, make_record, make_result

import model_search
from model_search.data.csv_data import Provider
from model_search.data.later_rows import inputs_of
from model_search.errors import ModelSearchError, StoreError, StudyError, UserError
from model_search.finish import replacing
from model_search.metadata import connection, paths
from model_search.metadata.artefacts import LocalArtefacts
from model_search.metadata.filesystem import what_helps
from model_search.metadata.shared_artefacts import SharedArtefacts
from model_search.metadata.sqlite_store import SqliteStore
from model_search.trainers.finish_study import same_data, study_parts

ROWS = [f"{i % 7},{i * 37 % 11},{'yes' if i % 7 > 3 else 'no'}" for i in range(60)]
NOBODY = 65534
ODD = [
    'it\'s a "name"',
    "two words",
    "line\nbreak",
    "Übung-日本-é",
    "$(touch x); `y`",
    "-dash",
    "50%",
    "a=b,c",
    "~x",
    "#",
]
GONE = "it was moved, deleted or overwritten while it was in use"
ROOT = pathlib.Path(model_search.__file__).parents[1]


def csv_at(folder, name="train.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(["a,b,label", *ROWS]) + "\n")
    return folder / name


def search(data, root, name, *more):
    return call(
        f"--filename={data}", "--label=label", f"--model_dir={root}", f"--experiment_name={name}",
        "--phoenix_train_steps=10", "--phoenix_batch_size=8", "--finish=neither", "--phoenix_tf_random_seed=1",
        "--experiment_max_num_trials=1", *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of studies with one of a single trial, which nobody changes."""
    root = tmp_path_factory.mktemp("places")
    done = search(csv_at(root), root / "runs", "adult")
    assert done.status == 0, done
    return root


def study_of(trained, name="adult"):
    return (f"--model_dir={trained}/runs", f"--experiment_name={name}")


AS_NOBODY = """
import os, pathlib, sys
sys.path[:0] = {path!r}
os.environ["HOME"] = os.environ["TMPDIR"] = {home!r}
from commands import call
for words in {warm!r}:  # so that everything is imported before the rights are gone: it may lie in a folder of root
    assert call(*words).status == 0, call(*words)
os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})
for words in {calls!r}:
    done = call(*words)
    print(repr((done.status, done.out, done.err)))
"""


@pytest.fixture
def open_folder():
    """A folder that anybody may enter; those of pytest are for its own user alone."""
    with tempfile.TemporaryDirectory() as name:
        pathlib.Path(name).chmod(0o755)
        yield pathlib.Path(name)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become somebody else")
def test_a_user_who_may_not_write(trained, open_folder, figure):
    here, home = open_folder / "study", open_folder / "home"
    shutil.copytree(trained, here)
    here.chmod(0o755)
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    study, data = (f"--model_dir={here}/runs", "--experiment_name=adult"), here / "train.csv"
    calls = [
        ("leaderboard", *study),
        ("report", str(home / "report.html"), *study),
        ("predict", str(data), *study),
        ("evaluate", str(data), *study),
        ("export", str(home / "model.keras"), *study),
        ("report", *study),
        ("export", str(here / "model.keras"), *study),
        ("predict", str(data), f"--output={here}/out.csv", *study),
        (f"--filename={data}", "--label=label", f"--model_dir={here}/mine"),
        (f"--filename={data}", "--label=label", "--experiment_max_num_trials=9", "--finish=neither", *study),
    ]
    warm = [(*words[:2], *study_of(trained)) for words in calls[2:4]]
    warm += [(words[0], f"{open_folder}/warm{i}.keras", *study_of(trained)) for i, words in enumerate(calls[4:6])]
    warm += [("leaderboard", *study), (f"--filename={data}", "--label=label", "--experiment_max_num_trials=1", *study)]
    code = AS_NOBODY.format(
        warm=warm, path=[str(ROOT), str(ROOT / "tests")], home=str(home), nobody=NOBODY, calls=calls
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    found = [eval(line) for line in done.stdout.splitlines()]
    assert len(found) == len(calls), done
    for words, (status, _, err) in zip(calls, found, strict=True):
        assert "Traceback" not in err, words
        assert "unexpected" not in err, (words, err)
        if calls.index(words) < 5:
            assert status == 0, err
        else:
            assert status in (1, 2), (words, err)
            assert len(err.strip().splitlines()) == 1, (words, err)
            assert "ermission denied" in err or "may not be written to" in err, (words, err)
    assert sum("may write to" in err for _, _, err in found[5:]) >= 3
    figure(
        f"a user without write permission, {len(calls)} commands",
        "5 that read work on a study that may only be read; 5 that write are refused in one sentence each",
    )


def test_odd_paths(count, figure, tmp_path, monkeypatch):
    """Each name for the folder of studies, the data, the study and the export; all of it is found again."""
    monkeypatch.chdir(tmp_path)
    odd = ODD[: count(len(ODD), 2)]
    for name in odd:
        folder = tmp_path / "above" / name
        data, root = csv_at(folder, f"{name}.csv"), folder / "runs"
        done = search(data, root, name)
        assert done.status == 0, (name, done)
        study = (f"--model_dir={root}", f"--experiment_name={name}")
        assert paths.list_studies(root) == [name]
        assert model_search.load_study(root, name).name == name
        for words in (
            ("leaderboard",),
            ("report", str(folder / f"{name}.html")),
            ("export", str(folder / f"{name}.keras")),
        ):
            done = call(words[0], *study, "--", *words[1:])
            assert done.status == 0, (name, words, done)
        assert (folder / f"{name}.html").is_file()
        assert (folder / f"{name}.keras").is_file()
        done = call("predict", *study, f"--output={folder}/{name}-out.csv", "--", data)
        assert done.status == 0, (name, done)
    assert [path.name for path in tmp_path.iterdir()] == ["above"]
    figure(
        f"odd paths, {len(odd)} names with quotes, blanks, line breaks, letters of other scripts",
        "search, leaderboard, report, export and predict find all of it, nothing written elsewhere",
    )


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES])
def test_a_report_on_a_medium_that_takes_none(trained, tmp_path, monkeypatch, code):
    study = model_search.load_study(trained / "runs", "adult")
    (tmp_path / "report.html").write_text("<html>earlier")

    def refuse(*arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("model_search.report.html.os.fsync", refuse)
    cure = "make room" if code in (errno.ENOSPC, errno.EDQUOT) else "that you may write to"
    with pytest.raises(UserError, match=f"{os.strerror(code)}; .*{cure}"):
        study.report(tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "<html>earlier"


LIMITED = """
import resource, sys
sys.path[:0] = {path!r}
from commands import call
import tensorflow
for size in {sizes!r}:
    for words in {calls!r}:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        done = call(*words)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(repr((size, words[0], done.status, done.out, done.err)))
"""


def test_a_full_disk_while_reporting_and_exporting(trained, tmp_path, count, figure):
    study = study_of(trained)
    calls = [
        ("report", str(tmp_path / "report.html"), *study),
        ("export", str(tmp_path / "model.keras"), *study),
        ("export", str(tmp_path / "model"), *study),
    ]
    sizes = [0, 1, 100, 1000, 5000, 10_000, 20_000][:: count(1, 4)]
    code = LIMITED.format(path=[str(ROOT), str(ROOT / "tests")], calls=calls, sizes=sizes)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    found = [eval(line) for line in done.stdout.splitlines()]
    assert len(found) == len(sizes) * len(calls), done
    refused = [entry for entry in found if entry[2] != 0]
    assert len(refused) > len(found) / 2
    for entry in refused:
        assert entry[2] == 2, entry
        assert "cannot be written to" in entry[4].strip().splitlines()[-1], entry
        assert entry[4].strip().splitlines()[-1].endswith("; make room, or give a path on another disk"), entry
    left = {path.name for path in tmp_path.iterdir()}
    assert not [name for name in left if name.startswith(".")], left
    figure(
        f"full disk while reporting and exporting, {len(refused)} times",
        f"{len(refused)} times one sentence, nothing half written, no temporary file left",
    )


def test_a_full_disk_says_what_helps_when_exporting(trained, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(replacing, "_to_disk", full)
    with pytest.raises(UserError, match="No space left on device; make room"):
        model_search.load_study(trained / "runs", "adult").export(tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())


def test_a_copied_study_is_called_by_the_name_that_it_has_now(trained, tmp_path):
    shutil.copytree(trained / "runs" / "adult", tmp_path / "runs" / "copy of it")
    study = model_search.load_study(tmp_path / "runs", "copy of it")
    assert study.name == study.record.name == "copy of it"
    with pytest.raises(StudyError, match="study 'copy of it' has no trial 7"):
        study.trial(7)
    with pytest.raises(StudyError, match="study 'copy of it' has no final ensemble"):
        study.members()
    text = study.report().read_text()
    assert "copy of it" in text
    assert "--experiment_name=adult" not in text
    told = check_one_sentence(
        call(f"--filename={trained}/train.csv", "--label=a", *study_of(tmp_path, "copy of it")), status=2
    )
    assert "study 'copy of it' cannot be continued" in told


@pytest.mark.parametrize("how", ["deleted", "moved", "replaced"])
def test_a_study_that_is_gone_while_it_is_in_use(tmp_path, how):
    folder = tmp_path / "s"
    folder.mkdir()
    store = SqliteStore(folder / paths.DATABASE)
    store.create_study(make_record())
    claim = store.claim("w", 5)
    store.commit_plan(claim, make_plan(1))
    if how == "deleted":
        shutil.rmtree(folder)
    else:
        folder.rename(tmp_path / "moved")
    if how == "replaced":
        folder.mkdir()
        SqliteStore(folder / paths.DATABASE).close()
    for action in (
        lambda: store.claim("w", 5),
        lambda: store.heartbeat(claim),
        lambda: store.fail(claim, "no reason"),
        lambda: store.complete(claim, make_result(1)),
        lambda: store.change_settings({"a": 1}),
    ):
        with pytest.raises(StoreError, match=GONE):
            action()
    if how != "replaced":
        with pytest.raises(StoreError, match=GONE):
            LocalArtefacts(folder).write(1, "weights.npz", b"content")
        assert not folder.exists()


def test_a_medium_that_is_read_only_is_no_vanished_study(tmp_path):
    error = sqlite3.OperationalError("attempt to write a readonly database")
    error.sqlite_errorcode = sqlite3.SQLITE_READONLY
    (tmp_path / "study.db").touch()
    assert "may not be written to" in str(connection.in_plain_words(error, tmp_path / "study.db", was_open=True))


def test_what_helps():
    assert "make room" in what_helps(OSError(errno.ENOSPC, ""))
    assert "may write to" in what_helps(OSError(errno.EACCES, ""))
    assert "that exists" in what_helps(OSError(errno.ENOENT, ""))
    assert what_helps(OSError(errno.EIO, ""), "try again") == "try again"


def test_the_names_of_folders_are_the_names_of_studies(tmp_path):
    for name in ["adult", "a/b", "", "x" * 390, "é" * 60, ". ", "%", "%_", *ODD]:
        assert paths.name_of(paths.study_dir(tmp_path, name)) == name


def test_one_model_and_a_second(trained, tmp_path):
    """The least that can be asked for."""
    done = search(trained / "train.csv", tmp_path, "short", "--time_limit=1", "--experiment_max_num_trials=200")
    assert done.status == 0, done
    assert model_search.load_study(tmp_path, "short").history.completed_count >= 1


JUNK = [None, 5, -1, 0.5, "", "junk", [], ["junk"], {}, {"junk": 1}, True]
SPECS = ["", "junk: {", "minimum_depth: 'x'"]


def leaves(value, place=()):
    """The places in a JSON document, with those of lists and objects themselves."""
    if place:
        yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield from leaves(one, (*place, name))


def changed(value, place, junk):
    if not place:
        return junk
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = changed(value[place[0]], place[1:], junk)
    return copy


def use(root, name, data):
    """What reads most of a record; a search is continued as far as its data and its settings are checked."""
    study = model_search.load_study(root, name)
    study.leaderboard()
    study.report()
    inputs_of(data, study.record.data)
    _ = study.task
    study.bundle()
    study.evaluate(data)
    same_data(
        study_parts(study.folder, SqliteStore(study.folder / paths.DATABASE), LocalArtefacts(study.folder)),
        Provider(filename=data, label="label"),
    )


def test_junk_in_the_record_of_a_study(trained, tmp_path, count, figure):
    shutil.copytree(trained / "runs", tmp_path / "runs")
    database, data = tmp_path / "runs" / "adult" / paths.DATABASE, trained / "train.csv"
    use(tmp_path / "runs", "adult", data)
    opened = sqlite3.connect(database)
    opened.execute("PRAGMA ignore_check_constraints=ON")
    whole = {column: opened.execute(f"SELECT {column} FROM study").fetchone()[0] for column in ("record", "settings")}
    edits = [
        (column, place, junk)
        for column, text in whole.items()
        for place in leaves(json.loads(text))
        for junk in (*JUNK, *(SPECS if place[-1] in ("spec", "spec_text") else ()))
    ]
    edits = edits[:: count(1, 23)]
    refused = 0
    for column, place, junk in edits:
        text = json.dumps(changed(json.loads(whole[column]), place, junk))
        opened.execute(f"UPDATE study SET {column} = ?", (text,))
        opened.commit()
        try:
            use(tmp_path / "runs", "adult", data)
        except ModelSearchError as error:
            assert "\n" not in str(error), (column, place, junk)
            refused += 1
        except Exception as error:
            raise AssertionError(f"{column} {place} is {junk!r}: {type(error).__name__}: {error}") from error
        opened.execute(f"UPDATE study SET {column} = ?", (whole[column],))
        opened.commit()
    opened.close()
    assert refused > len(edits) / 4
    figure(
        f"junk in the record of a study, {len(edits)} edits",
        f"{refused} refused in one sentence each, the others change nothing that is read",
    )


def test_a_remote_file_system_that_raises_anything(monkeypatch):
    fsspec = pytest.importorskip("fsspec")

    class AwayError(Exception):
        pass

    def away(*arguments, **named):
        raise AwayError("no route\nto the server")

    with monkeypatch.context() as patch:
        patch.setattr(fsspec.core, "url_to_fs", away)
        with pytest.raises(UserError, match="cannot be used: AwayError: no route to the server; expected"):
            SharedArtefacts("memory://x")
    artefacts = SharedArtefacts("memory://x")
    written = artefacts.write(1, "weights.npz", b"content")
    for name, action in (
        ("pipe_file", lambda: artefacts.write(1, "weights.npz", b"content")),
        ("makedirs", lambda: artefacts.write(1, "weights.npz", b"content")),
        ("cat_file", lambda: artefacts.read(written)),
        ("rm_file", lambda: artefacts.delete(written)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(type(fsspec.filesystem("memory")), name, away)
            with pytest.raises(StoreError, match="AwayError: no route to the server"):
                action()
    assert call("leaderboard", "--experiment_name=x", "--artefacts=nosuch://x").status == 2
