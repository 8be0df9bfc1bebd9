"""A study that keeps its files elsewhere: the place counts only for those who name it."""

import json
import shutil
import sqlite3
import subprocess
import sys

import pytest
from golden_cases import BY_NAME, NAME

import model_search
from model_search.errors import StudyError

pytest.importorskip("fsspec", reason="fsspec comes with the extra for Ray")
CASE = BY_NAME["classification"]


@pytest.fixture
def moved(tmp_path):
    """A study whose files are in another place, and that place."""
    shutil.copytree(CASE.folder / NAME, tmp_path / "runs" / NAME)
    for name in ("train.csv", "rows.csv"):
        shutil.copy(CASE.folder / name, tmp_path / "runs")
    place = tmp_path / "place"
    for name in ("trials", "files"):
        shutil.move(tmp_path / "runs" / NAME / name, place / NAME / name)
    with sqlite3.connect(tmp_path / "runs" / NAME / "study.db") as connection:
        connection.execute("UPDATE study SET settings = json_set(settings, '$.artefacts', ?)", (str(place),))
    connection.close()
    return tmp_path / "runs", str(place)


def test_the_interface(moved):
    root, place = moved
    rows = CASE.rows(root)
    unnamed = model_search.load_study(root, NAME)
    assert len(unnamed.leaderboard()) == 10
    assert unnamed.report().is_file()
    for act in (lambda: unnamed.predict(rows), unnamed.model, unnamed.finish, lambda: unnamed.evaluate(rows)):
        with pytest.raises(StudyError, match=f"only if you name it, too: give artefacts='{place}'"):
            act()
    named = model_search.load_study(root, NAME, artefacts=place)
    wanted = json.loads((CASE.folder / "expected.json").read_text())
    assert len(named.predict(rows)) == len(named.predict_proba(rows)) > 0
    assert len(named.finish()) == 1
    assert f"artefacts={place}" in named.report().read_text()
    assert wanted["made_by"] == "1.0.0"


def test_a_search_goes_on_where_the_place_is_named_again(moved):
    root, place = moved
    with pytest.raises(StudyError, match="only if you name it"):
        CASE.search(root, number_models=9)
    with pytest.raises(StudyError, match="not in /elsewhere"):
        CASE.search(root, number_models=9, artefacts="/elsewhere")
    study = CASE.search(root, number_models=9, finish="neither", artefacts=place)
    assert len(study.leaderboard()) >= 9
    assert len(study.predict(CASE.rows(root), trial=9)) > 0
    assert not (root / NAME / "trials").exists()


COMMANDS = {
    "leaderboard": [],
    "report": [],
    "members": [],
    "predict": ["rows.csv"],
    "evaluate": ["rows.csv"],
    "export": ["model.keras"],
    "finish": [],
}
WITHOUT_FILES = ("leaderboard", "report", "members")
PROGRAM = """
import json, sys
from model_search import main
for words in json.loads(sys.argv[1]):
    main.FLAGS.artefacts = None
    print(json.dumps([words[1], main.main(words)]), file=sys.stderr, flush=True)
"""


def test_the_command_line(moved):
    root, place = moved
    where = [f"--model_dir={root}", f"--experiment_name={NAME}"]
    calls = [["model_search", name, *words, *where] for name, words in COMMANDS.items()]
    calls += [[*call, f"--artefacts={place}"] for call in calls]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(calls)], capture_output=True, text=True, check=False, cwd=root
    )
    statuses = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("[")]
    needing = [name for name in COMMANDS if name not in WITHOUT_FILES]
    assert statuses == [*([name, 2 * (name in needing)] for name in COMMANDS), *([name, 0] for name in COMMANDS)]
    assert done.stderr.count(f"only if you name it, too: give artefacts='{place}'") == len(needing)
    assert "Traceback" not in done.stderr
