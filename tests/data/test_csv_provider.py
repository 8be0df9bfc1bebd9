"""The CSV provider: what it reads, what it infers, and every sentence it answers bad input with."""

import bz2
import gzip
import json
import lzma
import pathlib
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from model_search import main
from model_search.data import csv_data
from model_search.data.later_rows import inputs_of, labelled_rows
from model_search.data.prepare_options import PrepareOptions
from model_search.data.tabular.csv_reading import Reading, read_csv
from model_search.data.task import TaskKind
from model_search.errors import DataError

SAMPLES = pathlib.Path(__file__).parents[2] / "data"
OPTIONS = PrepareOptions(seed=1, batch_size=8)


def write(tmp_path, text, name="t.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def rows(template, count=40):
    """Rows "i" with i % 2, i % 3 at hand."""
    return "".join(
        template.format(i=i, two=i % 2, three=i % 3, tenth=i / 10, letter="ab"[i % 2]) + "\n" for i in range(count)
    )


def prepare(path, options=OPTIONS, **arguments):
    return csv_data.Provider(filename=path, **({"label": "y"} | arguments)).prepare(options)


@pytest.mark.parametrize(
    ("name", "label", "kind", "classes"),
    [
        ("breast_cancer", "diagnosis", TaskKind.CLASSIFICATION, ("benign", "malignant")),
        ("wine", "cultivar", TaskKind.CLASSIFICATION, ("cultivar_1", "cultivar_2", "cultivar_3")),
        ("diabetes", "progression", TaskKind.REGRESSION, ()),
    ],
)
def test_sample_data(name, label, kind, classes):
    provider = csv_data.Provider(filename=SAMPLES / f"{name}.csv", label=label)
    data = provider.prepare(OPTIONS)
    assert (data.task.kind, data.task.classes) == (kind, classes)
    assert provider.number_of_classes() == data.task.logits_dimension == max(len(classes), 1)
    assert data.train.inputs["features"].dtype == np.float32
    assert np.isfinite(data.train.inputs["features"]).all()
    assert len(data.train) + len(data.valid) == len((SAMPLES / f"{name}.csv").read_text().splitlines()) - 1
    json.dumps(data.description, allow_nan=False)
    if kind is TaskKind.REGRESSION:
        assert data.train.label.shape == (len(data.train), 1)
        assert abs(data.train.label.mean()) < 1e-5
        assert abs(data.train.label.std() - 1) < 1e-5
    else:
        assert data.train.label.dtype == np.int32


def test_archived_positional_arguments(tmp_path):
    path = write(tmp_path, "y,a,b\n" + rows("{two},{tenth},{three}"))
    valid = write(tmp_path, "y,a,b\n1,0.5,2\n0,0.1,1\n", "v.csv")
    data = csv_data.Provider(0, 2, [0, 0.0, "x"], str(path), str(valid), ",").prepare(OPTIONS)
    assert data.task.classes == (0, 1)
    assert (len(data.train), len(data.valid)) == (40, 2)
    kinds = [item["kind"] for item in data.description["schema"]["features"]]
    assert kinds == ["number", "category"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_found_out_and_quotes_are_respected(tmp_path, delimiter):
    body = rows('{tenth}@"a,b;c|d\te ""q"" {two}"@{letter}').replace("@", delimiter)
    data = prepare(write(tmp_path, delimiter.join(["x", "t", "y"]) + "\n" + body))
    assert data.description["columns"] == ["x", "t", "y"]
    assert data.description["reading"]["delimiter"] == delimiter
    assert data.description["schema"]["features"][1]["vocabulary"] == ['a,b;c|d\te "q" 0', 'a,b;c|d\te "q" 1']


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("reading", [{}, {"decimal": ","}])
def test_a_comma_in_numbers_is_no_delimiter(tmp_path, delimiter, reading):
    lines = [f"{i / 50:.2f}@{-i / 9:.3f}@{i % 7}.5,{i}".replace(".", ",", 2).replace("@", delimiter) for i in range(40)]
    lines = [line.rpartition(delimiter)[0] + f"{delimiter}{i % 2}" for i, line in enumerate(lines)]
    path = write(tmp_path, "\n".join(lines))
    data = csv_data.Provider(filename=path, label_index=-1, **reading).prepare(OPTIONS)
    assert data.description["reading"] | {"source": ""} == {
        "source": "",
        "delimiter": delimiter,
        "header": False,
        "encoding": "utf-8",
        "decimal": ",",
        "number_columns": ["column_0", "column_1", "column_2"],
    }
    assert len(data.train) + len(data.valid) == 40
    assert 0.2 < data.description["schema"]["features"][0]["center"] < 0.6
    later = write(tmp_path, "\n".join(lines[:5]), "later.csv")
    whole = inputs_of(path, data.description)["features"]
    np.testing.assert_array_equal(inputs_of(later, data.description)["features"], whole[:5])


@pytest.mark.parametrize(
    ("line", "reading", "delimiter"),
    [
        ("{tenth},5;{two}", {}, ";"),
        ("Ulm, Mitte;{letter}", {}, ";"),
        ("{tenth},x;y,{two}", {}, ","),
        ("{tenth},x;y,{two}", {"decimal": ","}, ";"),
        ('"{two},5","{tenth},2"', {"decimal": ","}, ","),
        ('{tenth},"x;y",{two}', {}, ","),
    ],
)
def test_of_a_comma_and_another_delimiter(tmp_path, line, reading, delimiter):
    path = write(tmp_path, rows(line.replace("{tenth}", "{i}")))
    assert read_csv(path, Reading(header=False, **reading)).reading.delimiter == delimiter
    named = write(tmp_path, "a,b,c\n" + rows("{i},{two};{three},{letter}"), "named.csv")
    assert read_csv(named, Reading()).reading.delimiter == ","


def test_delimiter_can_be_given(tmp_path):
    data = prepare(write(tmp_path, "x~y\n" + rows("{tenth}~{letter}")), field_delim="~")
    assert data.description["columns"] == ["x", "y"]


def test_decimal_commas(tmp_path):
    body = "".join(f"{i},25;1.00{i % 10},5;{'ab'[i % 2]}\n" for i in range(40))
    data = prepare(write(tmp_path, "u;v;y\n" + body))
    assert [item["kind"] for item in data.description["schema"]["features"]] == ["number", "number"]
    assert 10 < data.description["schema"]["features"][0]["center"] < 30
    assert 1000 < data.description["schema"]["features"][1]["center"] < 1010


@pytest.mark.parametrize(("line", "delimiter"), [("sep=;\r\n", ";"), ('"sep=|"\n', "|"), ("SEP=\t\n", "\t")])
def test_a_first_line_for_excel_names_the_delimiter(tmp_path, line, delimiter):
    lines = [delimiter.join(("a, b", "y")), *(delimiter.join((f"{i},5", "uv"[i % 2])) for i in range(40))]
    body = "\n".join(lines)
    data, plain = prepare(write(tmp_path, line + body)), prepare(write(tmp_path, body, "plain.csv"))
    assert data.fingerprint == plain.fingerprint
    (note,) = data.description["notes"]
    assert f"t.csv ({line.strip()!r}) is no row; it names the delimiter" in note
    later = inputs_of(write(tmp_path, line + body, "later.csv"), plain.description)["features"]
    np.testing.assert_array_equal(later, inputs_of(tmp_path / "plain.csv", plain.description)["features"])
    with pytest.raises(DataError, match=r"line 43 has 3 fields; expected 2"):
        prepare(write(tmp_path, line + body + "\n" + delimiter.join("123")))
    with pytest.raises(DataError, match="is empty"):
        prepare(write(tmp_path, line))


def test_points_of_thousands_beside_decimal_commas(tmp_path):
    """As German programs write 1243.74, 1275 and 577: with decimals, whole numbers, decimal points, the label."""
    body = "".join(f"1.2{i},5;1.2{i};{i}.5;1.0{i}\n" for i in range(10, 50))
    body += "1.275;577;7.5;1.060,5\n"
    path = write(tmp_path, "a;b;c;y\n" + body)
    data = prepare(path)
    centers = [feature["center"] for feature in data.description["schema"]["features"]]
    assert 1200 < centers[0] < 1260 and 1200 < centers[1] < 1260 and 10 < centers[2] < 50
    assert 1000 < data.task.target_mean < 1070
    assert data.description["reading"]["grouped_columns"] == ["a", "b", "y"]
    said = [note for note in data.description["notes"] if "two ways" in note]
    assert said == [
        "column 'b': '1.210' could be read in two ways; its points separate thousands (1210), as the file has decimal "
        "commas; where they are decimal points, write commas"
    ]
    later = inputs_of(path, data.description)["features"]
    assert later[:, 1].max() > 0 > later[:, 1].min() > -3 and len(later) == 41
    before = prepare(path, PrepareOptions(seed=1, batch_size=8, reading_rules=5))
    assert "grouped_columns" not in before.description["reading"]


@pytest.mark.parametrize(("delimiter", "mark"), [(";", ""), (",", '"')])
def test_three_decimals_behind_a_zero_are_no_thousands(tmp_path, delimiter, mark):
    cells = np.random.default_rng(0).uniform(-0.999, 0.999, (200, 2)).round(3)
    table = np.column_stack([cells, cells.mean(axis=1)])
    lines = [delimiter.join(f"{mark}{cell:.3f}{mark}".replace(".", ",") for cell in row) for row in table]
    data = prepare(write(tmp_path, "\n".join([delimiter.join("aby"), *lines])))
    assert data.description["reading"]["decimal"] == ","
    assert abs(data.task.target_mean) < 0.2
    assert abs(data.description["schema"]["features"][0]["center"]) < 0.2
    said = [note for note in data.description["notes"] if "decimal='.'" in note]
    assert len(said) == (3 if mark else 0)  # where a comma separates, that it is no list of numbers is noted


def test_a_comma_that_can_be_read_in_two_ways_is_noted(tmp_path):
    body = "".join(f"1,{i:03};2,{i:03}.5;{i}.5;{i % 7 + i / 10}\n" for i in range(40))
    path = write(tmp_path, "a;b;c;y\n" + body)
    said = [note for note in prepare(path).description["notes"] if "decimal" in note]
    assert said == [
        "column 'a': '1,000' could be read in two ways; its commas separate thousands (1000); where they are decimal "
        "commas, give decimal=','"
    ]
    assert not any("decimal" in note for note in prepare(path, decimal=".").description["notes"])
    (feature, *_) = prepare(path, decimal=",").description["schema"]["features"]
    assert feature["center"] < 2


def test_bom_gzip_windows_line_ends_and_blank_lines(tmp_path):
    text = "\ufeffx,y\r\n\r\n" + rows("{tenth},{letter}").replace("\n", "\r\n") + "\r\n"
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    data = prepare(path)
    assert data.description["columns"] == ["x", "y"]
    assert len(data.train) + len(data.valid) == 40


@pytest.mark.parametrize(
    ("text", "names", "count"),
    [
        ("x,y\n" + rows("{tenth},{letter}"), ["x", "y"], 40),
        (rows("{tenth},{letter}"), ["column_0", "column_1"], 40),
        ("city,y\n" + rows("c{three},{letter}"), ["city", "y"], 40),
        ("2011,2012,y\n" + rows("u{three},v{two},{letter}"), ["2011", "2012", "y"], 40),
        ("0,1,2\n" + rows("{tenth},{three},{two}"), ["0", "1", "2"], 40),
        (",x,y\n" + rows("{i},{tenth},{letter}"), ["column_0", "x", "y"], 40),
        ("x,,y\n" + rows("{i},{tenth},{letter}"), ["x", "column_1", "y"], 40),
        ("a,,b\n" + rows("a,{tenth},{letter}"), ["column_0", "column_1", "column_2"], 41),
        ("a,a,b\n" + rows("{letter},c{two},{letter}"), ["column_0", "column_1", "column_2"], 41),
        ("a;c\n" + rows("0,{i};{letter}"), ["a", "c"], 40),
        ("0,5;c\n" + rows("0,{i};{letter}"), ["column_0", "column_1"], 41),
    ],
)
def test_header_is_found_out(tmp_path, text, names, count):
    data = csv_data.Provider(filename=write(tmp_path, text), label_index=-1).prepare(OPTIONS)
    assert data.description["columns"] == names
    assert len(data.train) + len(data.valid) == count


def test_a_name_twice_above_numbers_is_refused(tmp_path):
    for text in ("x,x,species\n" + rows("{i},{tenth},{letter}"), "x;x;species\n" + rows("{i},5;{tenth};{letter}")):
        with pytest.raises(DataError, match="several columns named 'x'"):
            csv_data.Provider(filename=write(tmp_path, text), label_index=-1).prepare(OPTIONS)


def test_header_can_be_given(tmp_path):
    path = write(tmp_path, "a,b\n" + rows("c{three},{letter}"))
    data = csv_data.Provider(filename=path, label_index=1, header=False).prepare(OPTIONS)
    assert data.task.classes == ("a", "b")
    assert data.description["columns"] == ["column_0", "column_1"]
    assert len(data.train) + len(data.valid) == 41


def test_the_label_names_a_header_of_numbers(tmp_path):
    data = prepare(write(tmp_path, "1,2\n" + rows("{tenth},{two}")), label="2")
    assert data.description["columns"] == ["1", "2"]


@pytest.mark.parametrize(
    ("labels", "kind", "classes"),
    [
        (["no", "yes"], TaskKind.CLASSIFICATION, ("no", "yes")),
        (["True", "False"], TaskKind.CLASSIFICATION, ("False", "True")),
        (["0", "1"], TaskKind.CLASSIFICATION, (0, 1)),
        (["1.0", "2.0"], TaskKind.CLASSIFICATION, (1.0, 2.0)),
        (["007", "008"], TaskKind.CLASSIFICATION, ("007", "008")),
        (["None", "-"], TaskKind.CLASSIFICATION, ("-", "None")),
        (["1.5", "2"], TaskKind.REGRESSION, ()),
        ([str(i) for i in range(20)], TaskKind.CLASSIFICATION, tuple(range(20))),
        ([str(i) for i in range(21)], TaskKind.REGRESSION, ()),
        (["1e3", "-2E-1", "3"], TaskKind.REGRESSION, ()),
    ],
)
def test_task_inference(tmp_path, labels, kind, classes):
    body = "".join(f"{i % 7},{labels[i % len(labels)]}\n" for i in range(120))
    data = prepare(write(tmp_path, "x,y\n" + body))
    assert (data.task.kind, data.task.classes) == (kind, classes)
    assert [type(c) for c in data.task.classes] == [type(c) for c in classes]
    assert "'y' is predicted" in data.task.inferred


def test_task_can_be_set(tmp_path):
    path = write(tmp_path, "x,y\n" + "".join(f"{i % 7},{i % 30}\n" for i in range(240)))
    assert prepare(path).task.kind is TaskKind.REGRESSION
    assert prepare(path, task="classification").task.logits_dimension == 30
    assert prepare(path, logits_dimension=30).task.kind is TaskKind.CLASSIFICATION
    assert prepare(path, logits_dimension=32).task.logits_dimension == 32
    asked = PrepareOptions(seed=1, batch_size=8, task_kind=TaskKind.CLASSIFICATION)
    assert prepare(path, asked).task.kind is TaskKind.CLASSIFICATION
    few = write(tmp_path, "x,y\n" + rows("{tenth},{two}"), "few.csv")
    assert prepare(few, logits_dimension=1).task.kind is TaskKind.REGRESSION
    assert prepare(few, task="regression").task.kind is TaskKind.REGRESSION


def test_rows_without_label_are_left_out_and_counted(tmp_path):
    data = prepare(write(tmp_path, "x,y\n" + rows("{tenth},{letter}") + "5,\n6,NA\n7, \n"))
    assert len(data.train) + len(data.valid) == 40
    assert any("3 rows" in note and "no label" in note for note in data.description["notes"])


def test_weights_are_read_and_are_no_feature(tmp_path):
    data = prepare(write(tmp_path, "x,w,y\n" + rows("{tenth},{three},{letter}")), weight="w")
    assert data.train.weight.dtype == np.float32
    assert set(data.train.weight.tolist()) == {0.0, 1.0, 2.0}
    assert len(data.valid.weight) == len(data.valid)
    assert data.task.weight == "w"
    assert [item["column"] for item in data.description["schema"]["features"]] == ["x"]


def test_rare_classes_stay_in_training_and_are_named_once(tmp_path):
    data = prepare(write(tmp_path, "x,y\n" + rows("{tenth},{letter}") + "1,rare\n2,rare\n3,rarer\n"))
    index = data.task.classes.index("rare")
    assert (data.train.label == index).sum() == 2
    assert (data.valid.label == index).sum() == 0
    notes = [note for note in data.description["notes"] if "too few rows" in note]
    assert len(notes) == 1
    assert "'rare', 'rarer'" in notes[0]


def test_features_are_fitted_on_training_rows_alone(tmp_path):
    path = write(tmp_path, "x,c,y\n" + rows("{tenth},u{three},{letter}"))
    valid = write(tmp_path, "y,c,x\na,new,1000\nb,u1,\n", "v.csv")
    data = prepare(path, validation_filename=valid)
    number, category = data.preprocessor.schema.features
    assert number.center < 4
    assert category.vocabulary == ("u0", "u1", "u2")
    np.testing.assert_allclose(data.valid.inputs["features"][:, 1:], [[0, 0, 0, 1], [0, 1, 0, 0]])
    assert 2.9 < data.valid.inputs["features"][0, 0] <= 3
    assert data.valid.inputs["features"][1, 0] == 0


def test_seed_decides_the_split_and_fingerprint_tells_data_apart(tmp_path):
    path = write(tmp_path, "x,y\n" + rows("{tenth},{letter}"))
    first, again = prepare(path), prepare(path)
    assert first.fingerprint == again.fingerprint
    np.testing.assert_array_equal(first.train.inputs["features"], again.train.inputs["features"])
    other_seed = prepare(path, PrepareOptions(seed=0, batch_size=8))
    assert not np.array_equal(first.train.inputs["features"], other_seed.train.inputs["features"])
    changed = write(tmp_path, path.read_text().replace("1.7", "1.71"), "changed.csv")
    assert prepare(changed).fingerprint != first.fingerprint


def test_fingerprint_is_the_same_in_another_process(tmp_path):
    path = write(tmp_path, "x,c,y\n" + rows("{tenth},u{three},{letter}"))
    code = (
        "from model_search.data import csv_data; from model_search.data.provider import PrepareOptions; "
        f"print(csv_data.Provider(filename={str(path)!r}, label='y')"
        ".prepare(PrepareOptions(seed=1, batch_size=8)).fingerprint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == prepare(path).fingerprint


def test_reading_a_table_needs_no_tensorflow(tmp_path):
    path = write(tmp_path, "x,y\n" + rows("{tenth},{letter}"))
    code = (
        "import sys; from model_search.data import csv_data\n"
        "assert 'pandas' not in sys.modules\n"
        "from model_search.data.provider import PrepareOptions\n"
        f"csv_data.Provider(filename={str(path)!r}, label='y').prepare(PrepareOptions(seed=1, batch_size=8))\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


BODY = rows("{tenth},{letter}")
BAD = {
    "empty": ("", {}, "is empty; expected a header and rows"),
    "blank": (" \n\n", {}, "is empty"),
    "header only": ("x,y\n", {}, "holds only a header (2 columns)"),
    "label absent": ("x,Income\n" + BODY, {"label": "incom"}, "no label column 'incom'; did you mean 'Income'?"),
    "label absent, names blank": (
        "a,,price,city\n" + "p,x,low,Rom\nq,y,high,Oslo\n" * 9,
        {"label": "prize"},
        "its columns are: column_0, column_1, column_2, column_3; its first row is taken for data: where it holds the ",
    ),
    "weight absent": ("x,y\n" + BODY, {"weight": "w"}, "no weight column 'w'"),
    "label is weight": ("x,y\n" + BODY, {"weight": "y"}, "as label and as weight"),
    "label index": ("x,y\n" + BODY, {"label": None, "label_index": 2}, "label_index is 2, "),
    "two labels": ("x,y\n" + BODY, {"label_index": 0}, "label is 'y', but column 0 is 'x'"),
    "one class": ("x,y\n" + BODY.replace("b", "a"), {}, "every row has the same label, 'a'"),
    "one number": ("x,y\n" + rows("{i},1.5"), {}, "every row has the same label, 1.5"),
    "too many fields": ("x,y\n" + BODY + "1,2,3\n", {}, "line 42 has 3 fields; expected 2"),
    "too few fields": ("x,y\n" + BODY + "1\n", {}, "line 42 has 1 fields; expected 2"),
    "line after a quoted line break": ('x,y\n"1\n",a\n1,2,3\n', {}, "line 4 has 3 fields"),
    "open quote": ("x,y\n" + BODY + '1,"b\n', {}, "line 42: "),
    "no labels": ("x,y\n" + rows("{i},"), {}, "every row lacks its label (column 'y')"),
    "few rows": ("x,y\n" + rows("{i},{two}", 9), {}, "9 rows with a label; expected at least 10"),
    "duplicate names": ("x,x,y\n" + rows("{i},{i},{two}"), {}, "several columns named 'x'"),
    "no features": ("x,y\n" + rows("1,{two}"), {}, "no column can be learnt from ('x': it has the same value"),
    "only a label": ("y\n" + rows("{two}"), {}, "no column can be learnt from"),
    "negative weight": ("x,w,y\n" + rows("{tenth},-1,{two}"), {"weight": "w"}, "'-1' in row 1; expected a number of"),
    "missing weight": ("x,w,y\n" + rows("{tenth},,{two}"), {"weight": "w"}, "weight column 'w' holds ''"),
    "zero weights": ("x,w,y\n" + rows("{tenth},0,{two}"), {"weight": "w"}, "every weight"),
    "defaults": ("x,y\n" + BODY, {"record_defaults": [0]}, "record_defaults has 1 values"),
    "text regression": ("x,y\n" + BODY, {"task": "regression"}, "are no numbers (such as 'a')"),
    "too many classes": (
        "x,y\n" + rows("1,{three}"),
        {"logits_dimension": 2},
        "3 different labels, logits_dimension is 2",
    ),
    "texts as classes": ("x,y\n" + rows("{two},n{i}", 1001), {}, "1001 different labels; expected at most 1000"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_sentence(tmp_path, case):
    text, arguments, sentence = BAD[case]
    with pytest.raises(DataError, match=re.escape(sentence)) as caught:
        prepare(write(tmp_path, text), **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"label": "y"}, "no file was given"),
        ({"filename": "t.csv"}, "no label was given"),
        ({"filename": "t.csv", "label": "y", "task": "clustering"}, "task is 'clustering'"),
        ({"filename": "t.csv", "label": "y", "field_delim": ",,"}, "expected one character"),
        ({"filename": "t.csv", "label": "y", "header": "yes"}, "header is 'yes'"),
        ({"filename": "t.csv", "label": "y", "decimal": ";"}, "decimal is ';'"),
        ({"filename": "t.csv", "label": "y", "logits_dimension": 0}, "logits_dimension is 0"),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(DataError, match=re.escape(sentence)):
        csv_data.Provider(**arguments)


def test_file_errors(tmp_path):
    with pytest.raises(DataError, match=r"no such file: .*absent\.csv"):
        prepare(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="is a folder"):
        prepare(tmp_path)
    damaged = tmp_path / "d.csv.gz"
    damaged.write_bytes(gzip.compress(b"x,y\n" * 100)[:-20])
    with pytest.raises(DataError, match="damaged"):
        prepare(damaged)


def test_encodings(tmp_path):
    text = "x,straße,y\n" + rows("{tenth},ü{three},{letter}")
    path = write(tmp_path, text, encoding="cp1252")
    with pytest.raises(DataError, match=r"byte 0xdf in line 1 .*encoding='cp1252'"):
        prepare(path)
    data = prepare(path, encoding="cp1252")
    assert data.description["columns"] == ["x", "straße", "y"]
    with pytest.raises(DataError, match=r"UTF-16, not UTF-8; save it as UTF-8, or give .* encoding='utf-16'$"):
        prepare(write(tmp_path, text, "16.csv", "utf-16"))
    other = write(tmp_path, text, "8.csv")
    with pytest.raises(DataError, match=r"8\.csv is not utf-16: .*; save it as utf-16, which this study reads$"):
        inputs_of(other, prepare(tmp_path / "16.csv", encoding="utf-16").description)
    assert prepare(tmp_path / "16.csv", encoding="utf-16").fingerprint == data.fingerprint
    plain = write(tmp_path, "x,y\n" + BODY, "plain.csv")
    for encoding in ("utf-16", "utf-32"):
        with pytest.raises(DataError, match=f"plain.csv is not {encoding}: .*encoding='utf-8'"):
            prepare(plain, encoding=encoding)
    with pytest.raises(DataError, match="no encoding 'klingon'"):
        prepare(path, encoding="klingon")
    with pytest.raises(DataError, match="zero bytes"):
        prepare(write(tmp_path, "x,y\n1,\0a\n", "zero.csv"))


def test_the_command_tells_encoding_and_decimal(tmp_path):
    path = write(tmp_path, "a;straße;y\n" + rows("1,{i:03};ü{three};{letter}"), encoding="cp1252")
    main.FLAGS(["model_search", f"--filename={path}", "--label=y", "--encoding=cp1252", "--decimal=,"])
    data = main._provider().prepare(OPTIONS)
    assert data.description["columns"] == ["a", "straße", "y"]
    assert data.description["schema"]["features"][0]["center"] < 2
    main.FLAGS.unparse_flags()
    main.FLAGS(["model_search", f"--filename={write(tmp_path, 'x,y' + chr(10) + BODY)}", "--label=y"])
    for name in ("encoding", "decimal"):
        main.FLAGS[name].unparse()
    assert main._provider().prepare(OPTIONS).description["reading"]["decimal"] == "."


@pytest.mark.parametrize("kind", ["text", "image", "audio"])
def test_the_command_tells_the_encoding_of_other_files_than_tables(tmp_path, kind):
    path = write(tmp_path, "text,label\n" + rows("ü{three}.{letter},{letter}"), encoding="cp1252")
    try:
        main.FLAGS(["model_search", f"--phoenix_dataset={kind}", f"--filename={path}", "--encoding=cp1252"])
        assert main._provider().number_of_classes() == 2
        main.FLAGS["encoding"].unparse()
        with pytest.raises(DataError, match=r"not utf-8: byte 0xfc"):
            main._provider().number_of_classes()
    finally:
        for name in ("phoenix_dataset", "filename", "encoding"):
            main.FLAGS[name].unparse()


@pytest.mark.parametrize(
    ("name", "pack", "what"),
    [
        ("t.xlsx", None, "an Excel file"),
        ("t.xls", lambda text: bytes.fromhex("d0cf11e0a1b11ae1") + text, "an Excel file"),
        ("t.csv.bz2", bz2.compress, "compressed by bzip2"),
        ("t.csv.xz", lzma.compress, "compressed by xz"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_what_is_no_text_is_named(tmp_path, name, pack, what, encoding):
    path = tmp_path / name
    text = ("x,y\n" + BODY).encode()
    if pack is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("sheet.xml", text)
    else:
        path.write_bytes(pack(text))
    with pytest.raises(DataError, match=f"is {what}.*save the sheet as CSV .* or unpack the file"):
        prepare(path, encoding=encoding)
    named = write(tmp_path, "BZh9,y\n" + BODY, "named.csv")
    assert prepare(named).description["columns"] == ["BZh9", "y"]


@pytest.mark.parametrize(
    ("labels", "named"), [(["-0.5", "unknown", "2"], "unknown"), (["?!", "1e999", "-1"], "?!"), (["007", "1"], "007")]
)
def test_the_label_that_is_no_number_is_named(tmp_path, labels, named):
    body = "".join(f"{i},{labels[i % len(labels)]}\n" for i in range(40))
    with pytest.raises(DataError, match=re.escape(f"are no numbers (such as {named!r}); regression needs numbers: c")):
        prepare(write(tmp_path, "x,y\n" + body), task="regression")
    data = prepare(write(tmp_path, "x,y\n" + "".join(f"{i},{i / 10}\n" for i in range(40))))
    with pytest.raises(DataError, match=re.escape(f"(such as {named!r}); 'y' is predicted as a number: correct")):
        labelled_rows(write(tmp_path, "x,y\n" + body, "later.csv"), data.description)


def test_validation_errors(tmp_path):
    path = write(tmp_path, "x,z,y\n" + rows("{tenth},{three},{letter}"))
    with pytest.raises(DataError, match="lack column 'z'"):
        prepare(path, validation_filename=write(tmp_path, "x,y\n1,a\n", "v1.csv"))
    with pytest.raises(DataError, match="classes never seen in training: 'c'; known are 'a', 'b'"):
        prepare(path, validation_filename=write(tmp_path, "x,z,y\n1,1,c\n", "v2.csv"))
    with pytest.raises(DataError, match="no row with a label"):
        prepare(path, validation_filename=write(tmp_path, "x,z,y\n1,1,\n", "v3.csv"))


def test_options_are_checked():
    for arguments in ({"batch_size": 0}, {"batch_size": 1, "eval_steps": 0}, {"batch_size": 1, "valid_fraction": 1.0}):
        with pytest.raises(DataError):
            PrepareOptions(seed=0, **arguments)
