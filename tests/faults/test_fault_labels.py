"""Labels that must come back as they were written, numbers that float32 does not hold, and cells that are changed."""

import csv
import datetime
import fractions
import json
import math

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_search.data import array_data, csv_data
from model_search.data.later_rows import labelled_rows
from model_search.data.prepare_options import PrepareOptions
from model_search.data.task import Task
from model_search.errors import DataError
from model_search.finish.predict import predict_labels

OPTIONS = PrepareOptions(seed=1, batch_size=8)
MISSING = {"", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "nat"}
INFINITE = {sign + word for sign in ("", "+", "-") for word in ("inf", "infinity")}
MISSING_AMONG_NUMBERS = MISSING | INFINITE | {"none", "?", "-", "--", "."}

ODD_TEXTS = (
    *(
        "1.1",
        "1.10",
        "1.1 ",
        "2.0b",
        "1e3",
        "1000",
        "1000.0",
        "1,000",
        "TRUE",
        "True",
        "true",
        " true",
        "01",
        "1",
        "+1",
    ),
    *(
        "-0",
        "0",
        "0.0",
        "\u0661",
        "\uff11",
        "2020-01-01",
        "01/01/2020",
        "9007199254740993",
        "9007199254740992",
        "NA",
        "None",
        "-",
    ),
    *("nan", "inf", "1_0", "0x1", "1e400", "é", "e\u0301", "\u2003a", "a", '"', "a,b", "=1+1", "1e-400", "9" * 320),
)
TEXTS = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n\ufeff"), max_size=6),
)
NUMBERS = st.one_of(st.integers(), st.floats(), st.integers(-3, 3), st.sampled_from([2**53, 2**53 + 1, 2.0**53, 1.0]))
DATES = st.one_of(st.dates(), st.datetimes())
CELLS = st.one_of(TEXTS, NUMBERS, st.booleans(), DATES, st.none())
COLUMNS = st.one_of(
    *(st.lists(kind, min_size=2, max_size=6) for kind in (TEXTS, NUMBERS, st.integers(), st.booleans(), DATES, CELLS))
)


def is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_number(text):
    """The exact number that a text is, as people write it in a table; None where it is none."""
    digits = text.strip().lstrip("+-")
    if not text.isascii() or "_" in text or (digits[:1] == "0" and digits[1:2].isdigit()):
        return None
    if digits.isdigit():
        return fractions.Fraction(text.strip())  # exact, also beyond what float64 holds
    try:
        if "," in digits:
            head, *groups = digits.partition(".")[0].split(",")
            if not (head.isdigit() and len(head) <= 3 and all(len(g) == 3 and g.isdigit() for g in groups)):
                return None
        if not math.isfinite(float(digits.replace(",", ""))) or digits.lower().startswith(("inf", "nan")):
            return None
        return fractions.Fraction(text.strip().replace(",", "").rstrip("."))
    except ValueError:
        return None


def expected_of(column):
    """What each cell must be decoded to: None where it is missing, a Fraction among numbers, else a text or value.

    An own reading of the rules of docs/data.md.
    """
    cells = [None if cell is None or (isinstance(cell, float) and not math.isfinite(cell)) else cell for cell in column]
    present = [cell for cell in cells if cell is not None]
    if all(map(is_number, present)):
        return [None if cell is None else fractions.Fraction(cell) for cell in cells]
    if all(isinstance(cell, str) for cell in present):
        among = [None if c is None or c.strip().lower() in MISSING_AMONG_NUMBERS else as_number(c) for c in cells]
        markers = [c is None or c.strip().lower() in MISSING_AMONG_NUMBERS for c in cells]
        if all(n is not None or m for n, m in zip(among, markers, strict=True)) and any(n is not None for n in among):
            return among
    texts = [str(cell) if isinstance(cell, datetime.date) else cell for cell in cells]
    return [None if isinstance(cell, str) and cell.strip().lower() in MISSING else cell for cell in texts]


def same(found, wanted):
    if isinstance(wanted, fractions.Fraction):
        exact = fractions.Fraction(found)
        return exact == wanted or (isinstance(found, float) and found == float(wanted))
    return type(found) is type(wanted) and found == wanted


def decoded(data, source):
    """Every row's label, encoded as for an evaluation and decoded as a prediction; and the task as it is stored."""
    task = Task.from_json(json.loads(json.dumps(data.task.to_json(), allow_nan=False)))
    rows = labelled_rows(source, data.description)
    return predict_labels(np.eye(len(task.classes), dtype=np.float32)[rows.label], task).tolist(), task


def write(path, column):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["x", "y"], *([index % 7, cell] for index, cell in enumerate(column))])
    return path


def check_column(column, make):
    """Whether the column was learnt from (else it was refused in a sentence)."""
    wanted = expected_of(column)
    try:
        data, source = make(column)
    except DataError as error:
        beyond = "beyond what float64 holds" in str(error)
        assert beyond or "same label" in str(error) or "lacks its label" in str(error), error
        return False
    labels, task = decoded(data, source)
    present = [label for label in wanted if label is not None]
    assert len(labels) == len(present)
    assert all(same(found, label) for found, label in zip(labels, present, strict=True)), (labels, present)
    different = {
        (type(label), float(label) if isinstance(label, fractions.Fraction) and label.denominator > 1 else label)
        for label in present
    }
    assert len(task.classes) == len(different)
    lost = len(wanted) - len(present)
    assert not lost or any(note.startswith(f"{lost} rows") for note in data.description["notes"])
    return True


def test_labels_come_back_as_they_were_written(count, figure, tmp_path):
    examples = count(1500, 120)
    learnt = {"array": 0, "CSV": 0}
    refused = 0

    def from_array(column):
        x = np.arange(len(column), dtype=float)[:, None] % 7
        return array_data.Provider(x, column, task="classification").prepare(OPTIONS), (x, column)

    def from_csv(column):
        path = write(tmp_path / "t.csv", column)
        return csv_data.Provider(filename=path, label="y", task="classification").prepare(OPTIONS), path

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(COLUMNS)
    def keeps(labels):
        nonlocal refused
        column = [label for _ in range(10) for label in labels]
        texts = ["" if label is None else str(label) for label in column]
        for source, given_column, make in (("array", column, from_array), ("CSV", texts, from_csv)):
            was_learnt = check_column(given_column, make)
            learnt[source] += was_learnt
            refused += not was_learnt

    keeps()
    assert min(learnt.values()) > examples / 3
    figure(
        f"labels as written: text, ints, floats, booleans, dates, mixed; {examples} columns tried as array and as CSV",
        f"all labels of {sum(learnt.values())} columns decode to what was written; {refused} refused in a sentence "
        "(one label alone, none, or a number beyond float64)",
    )


def typed_columns(draw):
    kind = draw(st.sampled_from(["int64", "float64", "bool", "datetime64[ns]", "datetime64[D]", "text"]))
    cells = {
        "int64": st.integers(-(2**63), 2**63 - 1),
        "float64": st.floats(allow_nan=False, allow_infinity=False),
        "bool": st.booleans(),
        "datetime64[ns]": st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)),
        "datetime64[D]": st.dates(datetime.date(1700, 1, 1), datetime.date(2200, 1, 1)),
        "text": st.sampled_from(["1.1", "1.10", "1e3", "1000", "x", " x", "X", "01"]),
    }[kind]
    cells = draw(st.lists(cells, min_size=2, max_size=5, unique=True)) + ["2.0b"] * (kind == "text")
    return np.array(cells * 10, dtype=object if kind == "text" else kind)


def test_typed_labels_are_the_same_from_csv_frame_and_array(count, figure, tmp_path):
    examples = count(500, 40)
    tried = 0

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.composite(typed_columns)())
    def agree(y):
        nonlocal tried
        x = np.arange(len(y), dtype=float) % 7
        frame = pd.DataFrame({"x": x, "y": y})
        frame.to_csv(tmp_path / "t.csv", index=False)
        options = {"task": "classification"}
        found = {
            "csv": csv_data.Provider(filename=tmp_path / "t.csv", label="y", **options).prepare(OPTIONS),
            "frame": array_data.Provider(frame[["x"]], frame["y"], **options).prepare(OPTIONS),
            "array": array_data.Provider(x[:, None], y, feature_names=["x"], **options).prepare(OPTIONS),
        }
        texts = {name: [str(label) for label in data.task.classes] for name, data in found.items()}
        assert texts["csv"] == texts["frame"] == texts["array"]
        assert found["frame"].task.classes == found["array"].task.classes
        codes = [labelled_rows((x[:, None], y), data.description).label.tolist() for data in found.values()]
        as_text = pd.read_csv(tmp_path / "t.csv", dtype=str, keep_default_na=False)["y"]
        codes += [labelled_rows((x[:, None], as_text), data.description).label.tolist() for data in found.values()]
        assert all(one == codes[0] for one in codes)
        tried += 1

    agree()
    figure(
        f"the same typed labels from CSV, frame and array, {tried} columns",
        "the same classes each time, and each finds its labels in the others' rows",
    )
