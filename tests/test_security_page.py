"""The page on security: the tests that it names exist, and it says what a study, a report and an export reveal."""

import io
import pathlib
import re
import socket
import sqlite3
import sys
import traceback
import zipfile

import numpy as np
import pandas as pd
import pytest

from model_search import constants, load_study, single_trainer
from model_search.data import csv_data

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
ROWS = 300
MEDIAN = 4242.5  # exact in 32 bits, and the median of its column
ONE_NUMBER = 98765.4375
WEIGHT = 3.4567891  # without zero bytes, which other numbers have

# What is planted, by the first cell of the page's table: texts; numbers, as text and as bytes; rows of arrays.
PLANTED = {
    "names of columns that are read": "readplant",
    "names of columns that were left out": "outplant",
    "name of the label column": "labelplant",
    "name of the weight column": "weightplant",
    "classes": "classplant",
    "categories that occur in several rows": "categoryplant",
    "categories that occur once": "rareplant",
    "texts of identifiers and free text": "textplant",
    "one number or date of a row": ONE_NUMBER,
    "median of a column of numbers": MEDIAN,
    "a word among numbers (up to three, quoted in a note)": "wordplant",
    "the value of a column that has hardly another": "nearlyplant",
    "labels of the validation rows": 1,
    "weights of the validation rows": WEIGHT,
    "predictions for training and validation rows": 2,
    "path and name of the data file": "fileplant",
    "name of the study": "studyplant",
    "owner of the study": "ownerplant",
    "path of the study's folder": "rootplant",
    "name of the host": "hostplant",
}


def tables():
    """The page's two tables as lists of cells."""
    found = [[]]
    for line in PAGE.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split(" | ")])
        elif found[-1]:
            found.append([])
    return [[[cell.strip("| ") for cell in row] for row in table[2:]] for table in found if table]


def planted_table():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=ROWS)
    numbers = np.where(np.abs(noise) < 0.5, MEDIAN, MEDIAN + noise.round(3))  # whatever the split, the median stays
    frame = pd.DataFrame(
        {
            "readplant": numbers,
            "words": rng.normal(size=ROWS).round(3).astype(object),
            "colour": rng.choice(["categoryplant", "other"], ROWS),
            "outplant": [f"textplant {number}" for number in range(ROWS)],
            "nearly": "nearlyplant",
            "labelplant": rng.choice(["classplant", "second"], ROWS),
            "weightplant": WEIGHT,
        }
    )
    frame.loc[numbers.argmax(), "readplant"] = ONE_NUMBER
    frame.loc[4, "words"] = "wordplant"
    frame.loc[5, "colour"] = "rareplant"
    frame.loc[6, "nearly"] = "another"
    return frame


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A study that was searched, reported on and exported, and every connection that was tried."""
    top = tmp_path_factory.mktemp("security")
    events, listening = [], [True]

    def hook(event, arguments):
        if not listening[0] or event not in ("socket.bind", "socket.connect"):
            return
        # urllib3, which TensorFlow imports, tries once whether there is IPv6; it does not listen.
        if not any("urllib3" in frame.filename for frame in traceback.extract_stack()):
            events.append((event, arguments[1]))

    sys.addaudithook(hook)  # it cannot be removed
    data = top / "fileplant.csv"
    planted_table().to_csv(data, index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: "hostplant")
        provider = csv_data.Provider(filename=str(data), label="labelplant", weight="weightplant")
        study = single_trainer.SingleTrainer(data=provider, spec=constants.DEFAULT_DNN).try_models(
            number_models=2,
            train_steps=16,
            eval_steps=2,
            root_dir=str(top / "rootplant"),
            batch_size=8,
            experiment_name="studyplant",
            experiment_owner="ownerplant",
            seed=1,
            progress=False,
        )
        study.report()
        study.export(top / "exported")
        study.predict(str(data))
    listening[0] = False
    return top, study.folder, events


def place_of(file, top):
    """How the page calls the place of a file."""
    study, export = top / "rootplant" / "studyplant", top / "exported"
    relative = file.relative_to(study if file.is_relative_to(study) else export)
    is_folder = len(relative.parts) > 1
    return f"{relative.parts[0]}/" if is_folder and file.is_relative_to(study) else relative.parts[0]


def files(top):
    return [path for place in ("rootplant", "exported") for path in (top / place).rglob("*") if path.is_file()]


def contents(file):
    """The bytes of a file, and of what is packed in it."""
    yield file.read_bytes()
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            yield from map(archive.read, archive.namelist())


def arrays(file):
    if file.suffix == ".npz":
        with np.load(io.BytesIO(file.read_bytes())) as found:
            yield from found.values()


def holds(file, planted):
    """Whether a file holds a text, a number, or (1 and 2) arrays of that many axes with one element for each row."""
    if isinstance(planted, int):
        rows = (ROWS * 4 // 5, ROWS // 5)
        return any(a.ndim == planted and len(a) in rows and a.dtype.kind == "if"[planted - 1] for a in arrays(file))
    if isinstance(planted, str):
        forms = [planted.encode()]
    else:
        forms = [str(planted).encode(), np.float32(planted).tobytes(), np.float64(planted).tobytes()]
    return any(form in content for content in contents(file) for form in forms)


def found_in(top, planted):
    return {place_of(file, top) for file in files(top) if holds(file, planted)}


def test_every_line_says_how_it_is_held_by_tests_that_exist():
    table = tables()[0]
    assert len(table) >= 12
    for what, may, may_not, held in table:
        named = re.findall(r"`(tests/[^`]+)`", held)
        assert may and may_not and named, what
        for name in named:
            path, _, function = name.partition("::")
            assert (ROOT / path).is_file(), name
            assert not function or f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), name


def test_the_page_says_where_everything_is(kept):
    top, _, _ = kept
    said = {what: set(re.findall(r"`([^`]+)`", places)) for what, places in tables()[1]}
    assert said == {what: found_in(top, planted) for what, planted in PLANTED.items()}


def test_the_search_finds_what_is_planted(tmp_path):
    """A search that finds nothing anywhere would prove nothing."""
    (tmp_path / "rootplant" / "studyplant").mkdir(parents=True)
    file = tmp_path / "rootplant" / "studyplant" / "study.db"
    file.write_bytes(b"\0" + np.float64(ONE_NUMBER).tobytes() + b"textplant")
    assert found_in(tmp_path, ONE_NUMBER) == found_in(tmp_path, "textplant") == {"study.db"}
    assert not holds(file, WEIGHT)


def test_nothing_listens_or_connects(kept):
    _, _, events = kept
    assert events == []


def test_what_the_page_takes_out_of_a_study_is_gone_and_the_study_works(kept):
    top, folder, _ = kept
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1].replace(
        "runs/adult/study.db", str(folder / "study.db")
    )
    before = load_study(top / "rootplant", "studyplant").predict(str(top / "fileplant.csv"))
    exec(compile(code, "SECURITY.md", "exec"), {})
    for gone in ("hostplant", "ownerplant", "wordplant"):
        assert not holds(folder / "study.db", gone)
    with sqlite3.connect(folder / "study.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    study = load_study(top / "rootplant", "studyplant")
    np.testing.assert_array_equal(study.predict(str(top / "fileplant.csv")), before)
    assert "ownerplant" not in study.report().read_text(encoding="utf-8")
