"""Labels are what the user wrote: nothing is merged, and later labels are found however they are given."""

import csv
import datetime

import numpy as np
import pandas as pd
import pytest

from model_search.data import array_data, csv_data
from model_search.data.later_rows import labelled_rows
from model_search.data.prepare_options import PrepareOptions
from model_search.data.task import TaskKind
from model_search.errors import DataError
from model_search.finish.predict import predict_labels

OPTIONS = PrepareOptions(seed=1, batch_size=8)
EARLIER = PrepareOptions(seed=1, batch_size=8, reading_rules=1)
BEFORE_INFINITE = PrepareOptions(seed=1, batch_size=8, reading_rules=2)


def write(path, names, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return path


def repeated(labels, times=12):
    return [label for _ in range(times) for label in labels]


def from_csv(tmp_path, labels, options=OPTIONS, **arguments):
    column = repeated(labels)
    path = write(tmp_path / "t.csv", ["x", "y"], [[i % 7, label] for i, label in enumerate(column)])
    provider = csv_data.Provider(filename=path, label="y", **({"task": "classification"} | arguments))
    return provider.prepare(options)


def from_array(labels, options=OPTIONS, **arguments):
    column = labels if hasattr(labels, "dtype") else repeated(labels)
    x = np.arange(len(column), dtype=float) % 7
    return array_data.Provider(x[:, None], column, **({"task": "classification"} | arguments)).prepare(options)


def notes(data):
    return " | ".join(data.description["notes"])


@pytest.mark.parametrize(
    "labels",
    [
        ["1.1", "1.10", "2.0b"],
        ["1e3", "1000", "other"],
        ["TRUE", "true", "True", "no"],
        ["01", "1", "001"],
        ["+1", "1", "x"],
        ["-0", "0", "x"],
        ["1", "\u0661"],
        ["2020-01-01", "01/01/2020", "2020-1-1"],
        [" a", "a", "a ", "A"],
        ["é", "e\u0301"],
        ["None", "-", "?", "."],
        ["9007199254740993", "9007199254740992", "x"],
    ],
)
def test_every_text_is_a_class_of_its_own(tmp_path, labels):
    for data in (from_csv(tmp_path, labels), from_array(labels)):
        assert sorted(data.task.classes) == sorted(labels)
        rows = labelled_rows(
            {"x": [1.0] * len(labels), "x0": [1.0] * len(labels), "y": labels},
            data.description | {"task": data.description["task"] | {"label": "y"}},
        )
        logits = np.eye(len(labels), dtype=np.float32)[rows.label]
        assert predict_labels(logits, data.task).tolist() == labels


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["9007199254740992", "9007199254740993"], (2**53, 2**53 + 1)),
        (["9007199254740993.0", "9007199254740992"], (2**53, 2**53 + 1)),
        (["-18446744073709551617", "18446744073709551617"], (-(2**64) - 1, 2**64 + 1)),
        (["1", "2.0", "3"], (1, 2.0, 3)),
        (["1e3", "2e3"], (1000.0, 2000.0)),
        (["1,234", "5"], (5, 1234)),
        (["+1", "-0"], (0, 1)),
        ([" 1", "2 "], (1, 2)),
    ],
)
def test_numbers_are_exact(tmp_path, labels, classes):
    found = from_csv(tmp_path, labels).task.classes
    assert found == classes
    assert [type(value) for value in found] == [type(value) for value in classes]


def test_equal_numbers_are_one_class_in_the_most_common_writing(tmp_path):
    data = from_csv(tmp_path, ["1", "1", "1.0", "2.50", "2.5", "2.50", "7"])
    assert data.task.classes == (1, 2.5, 7)
    assert [type(value) for value in data.task.classes] == [int, float, int]
    assert "24 rows write a label in another way than most ('1.0' for '1', '2.5' for '2.50')" in notes(data)
    assert not any("another way" in note for note in from_csv(tmp_path, ["1", "2"]).description["notes"])


def test_a_default_that_is_a_text_keeps_numbers_apart(tmp_path):
    data = from_csv(tmp_path, ["1.1", "1.10", "1.2"], record_defaults=[0, ""])
    assert data.task.classes == ("1.1", "1.10", "1.2")
    later = write(tmp_path / "later.csv", ["x", "y"], [[1, "1.10"], [2, "1.1"]])
    assert labelled_rows(later, data.description).label.tolist() == [1, 0]


def test_labels_that_look_alike_are_noted(tmp_path):
    said = notes(from_csv(tmp_path, ["yes", "Yes", " yes", "no"]))
    assert "look alike are different classes: ' yes' and 'Yes' and 'yes'" in said
    assert "look alike" in notes(from_array([1, "1", "b"]))
    assert "look alike" not in notes(from_csv(tmp_path, ["yes", "no"]))


def test_values_of_several_types_keep_theirs():
    for labels in ([True, 1, 1.0, "1", "True", 0], [1, 2.5, "a"], [2**63, -1], [2**53 + 1, 0.5]):
        found = from_array(labels).task.classes
        expected = {(type(label), label) for label in labels}
        assert {(type(label), label) for label in found} == expected
        assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.array([b"u", b"v"] * 20), ("u", "v")),
        (np.array(["2020-01-02", "2020-01-01"] * 20, dtype="datetime64[D]"), ("2020-01-01", "2020-01-02")),
        (
            pd.Series(pd.to_datetime(["2020-01-01 10:00", "2020-01-01 00:00"] * 20)),
            ("2020-01-01 00:00:00", "2020-01-01 10:00:00"),
        ),
        (pd.Series(pd.to_timedelta([1, 2] * 20, unit="D")), ("1 days", "2 days")),
        (np.array([2**63, 2**63 + 1] * 20, dtype=np.uint64), (2**63, 2**63 + 1)),
        (pd.Series([2**53, 2**53 + 1, None] * 20, dtype="Int64"), (2**53, 2**53 + 1)),
        (pd.Series([datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)] * 20), ("2020-01-01", "2021-01-01")),
        (pd.Series(["a", "b", None] * 20, dtype="string"), ("a", "b")),
    ],
)
def test_typed_labels(labels, classes):
    found = from_array(labels).task.classes
    assert found == classes
    assert [type(value) for value in found] == [type(value) for value in classes]


def test_what_is_missing_is_counted_by_what_stands_there(tmp_path):
    said = notes(from_csv(tmp_path, ["a", "b", "", " ", "NA", "nan", "NULL"]))
    assert "60 rows of" in said and "(12 'NA', 12 'NULL', 12 'nan', 24 empty)" in said
    said = notes(from_array([1.5, 2.5, float("nan"), float("inf"), float("-inf")]))
    assert "(12 empty, 24 infinite)" in said
    assert "(12 '?')" in notes(from_csv(tmp_path, ["1", "2", "?"]))


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1e-400", "9" * 400 + ".0"])
def test_numbers_beyond_float64_are_refused(tmp_path, number):
    with pytest.raises(DataError, match="beyond what float64 holds"):
        from_csv(tmp_path, ["1.5", "2.5", number])


def test_what_is_no_single_value_is_refused():
    column = pd.Series([[1], [2]] * 20)
    with pytest.raises(DataError, match="holds a list"):
        from_array(column)
    with pytest.raises(DataError, match="not UTF-8"):
        from_array(pd.Series([b"\xff", b"a"] * 20))


def test_a_decimal_comma_in_a_column_of_texts_is_left_alone(tmp_path):
    path = tmp_path / "t.csv"
    lines = [f"{i},5;{['1,5', 'u'][i % 2]};{['1,5', 'b'][i // 2 % 2]}" for i in range(40)]
    path.write_text("x;c;y\n" + "\n".join(lines))
    provider = csv_data.Provider(filename=path, label="y")
    data = provider.prepare(OPTIONS)
    assert data.task.classes == ("1,5", "b")
    number, category = data.preprocessor.schema.features
    assert 10 < number.center < 30
    assert category.vocabulary == ("1,5", "u")
    one = tmp_path / "one.csv"
    one.write_text("x;c;y\n0,5;1,5;1,5\n")
    rows = labelled_rows(one, data.description)
    assert rows.label.tolist() == [0]
    assert rows.inputs["features"][0, 1:].tolist() == [1, 0, 0]
    before = provider.prepare(EARLIER)
    assert before.task.classes == ("1.5", "b")
    assert labelled_rows(one, before.description).label.tolist() == [0]


LATER = [
    ([True, False], ["True", "FALSE"], [1, 0]),
    (["True", "False"], [True, False], [1, 0]),
    (["TRUE", "FALSE"], [True, False], [1, 0]),
    ([1, 2], ["1", "2.0"], [0, 1]),
    ([1, 2], [1.0, 2.0], [0, 1]),
    (["1", "2", "b"], [1, 2.0], [0, 1]),
    (["1.0", "2.5", "b"], [1.0, 2.5], [0, 1]),
    (["1.1", "1.10", "2.0b"], ["1.10", "1.1"], [1, 0]),
    ([1, "1", "b"], ["1", "b"], [1, 2]),
    ([1, "1", "b"], [1, "b"], [0, 2]),
    (["2020-01-01 00:00:00", "2020-01-01 10:00:00"], pd.to_datetime(["2020-01-01"]), [0]),
]


@pytest.mark.parametrize(("labels", "later", "expected"), LATER)
def test_later_labels_are_found_however_they_are_given(labels, later, expected):
    data = from_array(labels)
    assert labelled_rows((np.ones((len(later), 1)), later), data.description).label.tolist() == expected


@pytest.mark.parametrize(
    ("labels", "later"),
    [(["1.1", "2.0b"], ["1.10"]), (["no", "yes"], ["Yes"]), ([1, 2], [1.5]), (["1.10", "b"], [1.1]), ([1, 2], [True])],
)
def test_later_labels_that_are_no_class_are_named(labels, later):
    with pytest.raises(DataError, match=f"never seen in training: {later[0]!r}; known are {labels[0]!r}"):
        labelled_rows((np.ones((1, 1)), later), from_array(labels).description)


def test_later_labels_that_differ_in_blanks_are_taken_with_a_note():
    said = []
    data = from_array([" <=50K", " >50K"])
    rows = labelled_rows((np.ones((3, 1)), ["<=50K", " >50K", None]), data.description, said.append)
    assert rows.label.tolist() == [0, 1]
    assert any("1 labels in column" in note and "blanks alone" in note and "'<=50K'" in note for note in said)
    assert any("1 rows have no label" in note for note in said)


BEFORE = "c9390fbd4f82e19641b631b653cad001b30c42d65c60ccf6893ae947c6314d4c"
MIXED_BEFORE = "fd53de8ac0321c33523fe786d3a46f812ae81937dc83c147b5c10f99679db5e5"


def test_an_infinite_number_is_missing_in_a_file_as_in_a_frame(tmp_path):
    labels = [1.5, 2.5, 3.5, "inf", "-Infinity", " INF "]
    of_file = from_csv(tmp_path, labels, task=None)
    of_frame = from_array([float(label) for label in labels], task=None)
    for data in (of_file, of_frame):
        assert data.task.kind is TaskKind.REGRESSION
        assert len(data.train) + len(data.valid) == 36
        assert "36 rows" in notes(data)
        assert "(36 infinite)" in notes(data)
    assert "are no numbers" not in notes(of_file)
    later = write(tmp_path / "later.csv", ["x", "y"], [[1, "2.5"], [2, "inf"]])
    assert len(labelled_rows(later, of_file.description)) == 1
    assert from_csv(tmp_path, ["inf", "a"]).task.classes == ("a", "inf")


def test_an_infinite_number_of_one_of_several_tasks_is_missing(tmp_path):
    path = write(tmp_path / "t.csv", ["x", "y", "z"], [[i % 7, i % 3, ["inf", "0.5", "1.5"][i % 3]] for i in range(40)])
    data = csv_data.Provider(filename=path, label=["y", "z"]).prepare(OPTIONS)
    assert data.other_tasks["z"].kind is TaskKind.REGRESSION
    assert "14 rows have no label in column 'z'" in notes(data)
    assert csv_data.Provider(filename=path, label=["y", "z"]).prepare(BEFORE_INFINITE).other_tasks["z"].classes == (
        "0.5",
        "1.5",
        "inf",
    )


def test_a_study_with_a_class_inf_keeps_it(tmp_path):
    data = from_csv(tmp_path, ["1.5", "2.5", "inf"], BEFORE_INFINITE, task=None)
    assert data.task.classes == ("1.5", "2.5", "inf")
    assert labelled_rows(tmp_path / "t.csv", data.description).label.tolist() == [0, 1, 2] * 12


def test_a_study_of_before_is_read_as_it_was(tmp_path):
    """The fingerprints are those that version 1.0 gave."""
    path = tmp_path / "odd.csv"
    labels = [" 1.1", "1.10", "2.0b", "1e3", "1000"]
    lines = (f"{i % 7},5;{['1,5', 'u'][i % 2]};{labels[i % 5]}\n" for i in range(40))
    path.write_text("x;c;y\n" + "".join(lines))
    data = csv_data.Provider(filename=path, label="y").prepare(EARLIER)
    assert (data.task.classes, data.fingerprint) == (("1.10", "1000", "2.0b"), BEFORE)
    assert data.description["reading_rules"] == 1
    stored = {name: value for name, value in data.description.items() if name != "reading_rules"}
    assert labelled_rows(path, stored).label.tolist() == [[0, 0, 2, 1, 1][i % 5] for i in range(40)]
    frame = pd.DataFrame(
        {
            "m": pd.Series([True, 1, "a", 1.0] * 10, dtype=object),
            "b": pd.Series([b"u", b"v"] * 20, dtype=object),
            "x": np.arange(40) % 7,
        }
    )
    mixed = array_data.Provider(frame, pd.Series([1, "1", 1.0, "b"] * 10, dtype=object)).prepare(EARLIER)
    assert (mixed.task.classes, mixed.fingerprint) == (("1", "b"), MIXED_BEFORE)
    assert mixed.preprocessor.schema.features[1].vocabulary == ("b'u'", "b'v'")
    row = labelled_rows((frame[:4], [1, "1", 1.0, "b"]), mixed.description)
    assert row.label.tolist() == [0, 0, 0, 1]
    assert row.inputs["features"][:, 3:5].tolist() == [[1, 0], [0, 1]] * 2
