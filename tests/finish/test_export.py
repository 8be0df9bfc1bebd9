"""Exported models: loaded by fresh processes that lack this package, run by the model card's own words."""

import csv
import json
import pathlib
import re
import subprocess
import sys
import warnings

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from exported_answers import HOSTILE_LABELS

from model_search.data import csv_data
from model_search.data.audio.log_mel import LogMel
from model_search.data.images.picture_format import PictureFormat
from model_search.data.later_rows import inputs_of
from model_search.data.prepare_options import PrepareOptions
from model_search.data.rows import InputSpec
from model_search.data.tabular.features import CategoryFeature, DateFeature, FeatureSchema, NumberFeature
from model_search.data.tabular.preprocess import Preprocessor
from model_search.data.task import Task, TaskKind
from model_search.errors import UserError
from model_search.finish import export as export_module
from model_search.finish.export import ModelBundle, export, serving_model
from model_search.finish.predict import predict_labels, predict_probabilities, tower_logits
from model_search.towers.builder import TowerSpec, build_tower
from model_search.towers.inputs import structured

HOSTILE_NAMES = (
    *(
        "a b",
        "a/b",
        "a\0b",
        "a_b",
        "a",
        "A",
        "",
        "ünï 列",
        "quote'\"",
        "x,y",
        "new\nline",
        "class",
        "self",
        "1st",
        "..",
        "$",
    ),
    *(
        "answers",
        "tower",
        "preprocessing",
        "model",
        "label",
        "probabilities",
        "logits",
        "concatenate",
        "_",
        "a|b",
        "\\",
    ),
)


def small_bundle(width, task, schema=None, **more):
    spec = TowerSpec(
        ("FULLY_CONNECTED_RESIDUAL_CONCAT_BATCHNORM", "FIXED_OUTPUT_FULLY_CONNECTED_128"),
        {"features": InputSpec((width,))},
        task.logits_dimension,
        dropout_rate=0.3,
        seed=1,
    )
    return ModelBundle(build_tower(spec), task, schema, **more)


def classes_task(*classes):
    return Task(TaskKind.CLASSIFICATION, "the label", len(classes), classes)


def plain_schema():
    return FeatureSchema(
        (
            NumberFeature("age", 40.0, 12.0, indicator=True),
            CategoryFeature("city", ("", "Köln", "New\nYork", "a, b")),
            NumberFeature("income", 1e5, 1e4, as_text=True),
            DateFeature("since", ("days", "weekday", "hour"), (18000.0, 3.0, 12.0), (900.0, 2.0, 7.0), indicator=True),
            CategoryFeature("floor", ("1", "2", "True"), numeric=True),
            CategoryFeature("street", (), mean_texts=("", "Ägir", "a\nb"), means=(0.5, -1.25, 2.75, 0.0)),
        ),
        {"id": "it is an identifier"},
    )


PLAIN_ROWS = {
    "age": ["31", "", "77.5", "5e1"],
    "city": ["Köln", "", "New\nYork", "elsewhere"],
    "income": ["100500", "99000.25", "", "-1"],
    "since": ["2021-03-04", "2016-02-29 23:15:00", "", "1969-12-31 12:00:00"],
    "floor": ["1", "", "True", "3"],
    "street": ["Ägir", "", "a\nb", "other"],
}
RAW_ROWS = {
    "age": [" 31 ", "n/a", "77.5", "5e1"],
    "city": ["Köln\u2003", "?", "New\nYork", "elsewhere"],
    "income": ["100,500", " 99,000.25", "None", "-1"],
    "since": ["4.3.2021", "2016/2/29 11:15 PM", "-", "1969-12-31T12:00Z"],
    "floor": ["1.0", "NULL", "True", "3"],
    "street": [" Ägir", "N/A", "a\nb\u2003", "other"],
}


def hostile_schema():
    kinds = (
        lambda name: NumberFeature(name, 1.0, 2.0),
        lambda name: CategoryFeature(name, ("u", "v")),
        lambda name: DateFeature(name, ("month",), (6.0,), (3.0,)),
    )
    return FeatureSchema(tuple(kinds[i % 3](name) for i, name in enumerate(HOSTILE_NAMES)))


def hostile_rows():
    cells = (["1", "-2.5"], ["v", "w"], ["2020-05-01", ""])
    return {name: cells[i % 3] for i, name in enumerate(HOSTILE_NAMES)}


CASES = {
    "texts": (plain_schema(), classes_task(*HOSTILE_LABELS), PLAIN_ROWS, RAW_ROWS),
    "whole": (hostile_schema(), classes_task(-1, 2, 2**40), hostile_rows(), hostile_rows()),
    "numbers": (
        plain_schema(),
        Task(TaskKind.REGRESSION, "y", 1, target_mean=1000.0, target_scale=250.0),
        PLAIN_ROWS,
        RAW_ROWS,
    ),
}
SIMPLE_CELLS = {"x": ["-2", "-0.1", "0.2", "3"]}
FAR_CELLS = {"x": ["1000000000", "1000000001", "1000000002"]}
SIMPLE_TASKS = {
    "binary": classes_task("no", "yes"),
    "booleans": classes_task(False, True),
    "fractions": classes_task(0.1, 2.5, 3.0),
    "targets": Task(TaskKind.REGRESSION, "y", 2, target_mean=1e4, target_scale=2.0),
    "alike": classes_task("1.1", "1.10", " 1.1"),
    "exact": classes_task(2**53, 2**53 + 1),
    "far": Task(TaskKind.REGRESSION, "y", 1, target_mean=1e9, target_scale=1e-3),
    "huge": Task(TaskKind.REGRESSION, "y", 1, target_mean=-1e39, target_scale=1e40),
    "tiny": Task(TaskKind.REGRESSION, "y", 1, target_mean=1e-50, target_scale=1e-50),
}
CASES["far column"] = (
    FeatureSchema((NumberFeature("x", 1e9, 1.0),)),
    Task(TaskKind.REGRESSION, "y", 1),
    FAR_CELLS,
    FAR_CELLS,
)
ROWS = {case: clean for case, (_, _, clean, _) in CASES.items()} | dict.fromkeys(SIMPLE_TASKS, SIMPLE_CELLS)
RUN_THE_CARDS = """
import io, json, os, re, sys, contextlib
kind, marker, root = sys.argv[1:]
sys.modules["model_search"] = None
if kind == "raw":
    sys.modules["keras"] = None
for case in sorted(os.listdir(root)):
    os.chdir(os.path.join(root, case))
    os.replace(kind + ".csv", "new.csv")
    card = open("model_card.md", encoding="utf-8").read()
    [snippet] = [code for code in re.findall(r"```python\\n(.*?)```", card, re.DOTALL) if marker in code]
    scope = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(snippet, scope)
    answers = {name: values.numpy().tolist() for name, values in scope["answers"].items()}
    if kind == "raw":
        loaded = scope["tf"].saved_model.load("saved_model").signatures
        assert set(loaded) == {"serving_default", "serving_typed"}, set(loaded)
    with open(kind + ".json", "w") as file:
        json.dump(answers, file, default=lambda value: value.decode("utf-8"))
"""


def simple_bundle(task):
    """A single number, by which every class is the answer to some of `SIMPLE_CELLS`."""
    import keras

    features = keras.Input((1,), name="features")
    head = keras.layers.Dense(task.logits_dimension)
    tower = keras.Model(features, head(features))
    slopes = np.linspace(-1, 1, task.logits_dimension)
    head.set_weights([slopes[None, :], 0.5 * (slopes == 0)])
    return ModelBundle(tower, task, FeatureSchema((NumberFeature("x", 0.0, 1.0),)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    root = tmp_path_factory.mktemp("exports")
    cases = {
        case: (small_bundle(schema.width, task, schema, temperature=1.5), clean, raw)
        for case, (schema, task, clean, raw) in CASES.items()
    }
    cases |= {case: (simple_bundle(task), SIMPLE_CELLS, SIMPLE_CELLS) for case, task in SIMPLE_TASKS.items()}
    bundles = {}
    for case, (bundle, clean, raw) in cases.items():
        written = export(bundle, root / case)
        assert written["saved_model"].is_dir()
        assert written["keras"].is_file()
        for name, rows in (("clean", clean), ("raw", raw)):
            with (root / case / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerows([list(rows), *zip(*rows.values(), strict=True)])
        bundles[case] = bundle
    return root, bundles


@pytest.mark.parametrize(("kind", "marker"), [("clean", "model.keras"), ("raw", "saved_model.load")])
def test_the_model_card_runs_without_this_package(exported, kind, marker):
    root, bundles = exported
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", RUN_THE_CARDS, kind, marker, str(root)],
        cwd=root,
        env={"PATH": "", "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for case, bundle in bundles.items():
        answers = json.loads((root / case / f"{kind}.json").read_text())
        check_answers(answers, bundle, ROWS[case])


def check_answers(answers, bundle, rows):
    """Raw cells mean the same as the clean ones, so the clean ones say what is expected of both."""
    logits = tower_logits(bundle.tower, {"features": Preprocessor(bundle.schema).transform(rows)})
    expected = predict_labels(logits, bundle.task).tolist()
    if bundle.task.kind is TaskKind.REGRESSION:
        assert set(answers) == {"prediction"}
        np.testing.assert_allclose(answers["prediction"], expected, rtol=0, atol=1e-3 * bundle.task.target_scale)
        return
    probabilities = predict_probabilities(logits, bundle.task, bundle.temperature)
    np.testing.assert_allclose(answers["probabilities"], probabilities.to_numpy(), atol=1e-5)
    assert answers["label"] == [str(label) if isinstance(label, bool) else label for label in expected]
    assert bundle.schema.width > 1 or set(expected) == set(bundle.task.classes)


FILES = {
    "blanks around names": (" x , kind,y \r\n", ",", {}),
    "a name that is missing": ("x,,y\n", ",", {}),
    "no header": ("", ",", {"label_index": -1}),
    "no header, label first": ("", ",", {"label_index": 0}),
    "semicolons and decimal commas": ("x;kind;y\n", ";", {}),
    "units": ("x,kind,y\n", ",", {}),
    "booleans": ("x,kind,y\n", ",", {}),
    "tabs in another encoding": ("x\tkind\ty\n", "\t", {"encoding": "cp1252"}),
}


def rows_of(delimiter, decimal, label_first, unit, kinds):
    """Lines of a number, a category and a label; some cells as people write them."""
    odd = {30: (" NA ", kinds[1]), 31: ("7.125", " - "), 33: ("7.375", kinds[0].lower())}
    if delimiter == "\t":
        odd[32] = ("1,234.5", "ulm")
    for place in range(60):
        number = (
            f"{place * 37.5 - 900:,.3f}".translate(str.maketrans(",.", ".,")) if decimal else f" {place * 0.75:.3f}"
        )
        number = f"{number.strip()} {unit}" if unit else number
        cells = [number, kinds[place % 3], ("yes", "no")[place % 7 > 3]]
        cells[:2] = odd.get(place, cells[:2])
        yield delimiter.join(cells[-1:] + cells[:-1] if label_first else cells)


@pytest.mark.parametrize("case", FILES)
def test_the_programs_of_the_card_read_the_file_that_the_study_was_made_from(case, tmp_path, monkeypatch):
    head, delimiter, more = FILES[case]
    kinds = ("TRUE", "FALSE", "TRUE") if case == "booleans" else ("köln", "ulm", "a,b" if delimiter != "," else "ab")
    unit = "€" if case == "units" else ""
    lines = list(rows_of(delimiter, "commas" in case, more.get("label_index") == 0, unit, kinds))
    path, encoding = tmp_path / "new.csv", more.get("encoding", "utf-8")
    path.write_text(head + "\n".join([*lines, "", ""]), encoding=encoding)
    provider = csv_data.Provider(filename=path, **({"label": "y"} if head else {}), **more)
    data = provider.prepare(PrepareOptions(seed=1, batch_size=8))
    tower = small_bundle(data.train.inputs["features"].shape[1], data.task).tower
    about = data.description | {"inputs": {name: spec.to_json() for name, spec in data.input_specs.items()}}
    written = export(ModelBundle.of_study(tower, about, [1.5], {}), tmp_path / "exported")
    inputs = inputs_of(path, about)
    expected = predict_probabilities(tower_logits(tower, inputs), data.task, 1.5).to_numpy()
    assert len({features.tobytes() for features in inputs["features"]}) == len(lines)
    path.rename(tmp_path / "exported" / "new.csv")
    monkeypatch.chdir(tmp_path / "exported")
    assert len(json.loads((tmp_path / "exported" / "export.json").read_text(encoding="utf-8"))["columns"]) == 2
    programs = re.findall(r"```python\n(.*?)```", written["card"].read_text(encoding="utf-8"), re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        scope = {}
        exec(program, scope)
        np.testing.assert_allclose(np.asarray(scope["answers"]["probabilities"]), expected, atol=1e-5)


def test_the_description_names_every_column(exported):
    root, _ = exported
    about = json.loads((root / "whole" / "export.json").read_text())
    assert [column["column"] for column in about["columns"]] == list(HOSTILE_NAMES)
    by_name = {column["column"]: column for column in about["columns"]}
    assert by_name["a b"] == {
        "column": "a b",
        "keras": "a b",
        "saved_model": "a_b_2",
        "kind": "number",
    }
    assert about["task"]["classes"] == [-1, 2, 2**40]


def test_typed_serving_takes_typed_columns(exported):
    root, bundles = exported
    bundle = bundles["numbers"]
    serve = tf.saved_model.load(str(root / "numbers" / "saved_model")).signatures["serving_typed"]
    typed = Preprocessor(bundle.schema).typed_columns(PLAIN_ROWS)
    answers = serve(**{name: tf.constant(values) for name, values in typed.items()})
    check_answers({"prediction": answers["prediction"].numpy()}, bundle, PLAIN_ROWS)


def test_a_number_beyond_float32_is_clipped_as_text_and_missing_in_a_typed_column(exported):
    root, bundles = exported
    loaded = tf.saved_model.load(str(root / "binary" / "saved_model")).signatures
    as_text = loaded["serving_default"](x=tf.constant(["1e39", "1e30"]))["probabilities"].numpy()
    column = {"x": tf.constant([1e39, float("nan")], "float32")}
    for typed in (loaded["serving_typed"](**column), serving_model(bundles["binary"])(column)):
        np.testing.assert_array_equal(*typed["probabilities"].numpy())
        assert typed["probabilities"].numpy()[0].tolist() == [0.5, 0.5]
    np.testing.assert_array_equal(*as_text)
    assert as_text[0][1] > 0.99


def test_plain_keras_predicts_from_arrays():
    bundle = small_bundle(plain_schema().width, classes_task("a", "b"), plain_schema())
    model = serving_model(bundle)
    typed = Preprocessor(bundle.schema).typed_columns(pd.DataFrame(PLAIN_ROWS))
    assert set(typed) == {tensor.name for tensor in model.inputs}
    answers = model.predict(typed, verbose=0)
    assert answers["probabilities"].shape == (4, 2)
    one = model.predict({name: values[:1] for name, values in typed.items()}, verbose=0)
    np.testing.assert_allclose(one["probabilities"], answers["probabilities"][:1], atol=1e-6)


def test_a_model_without_a_schema_takes_features_as_they_are(tmp_path):
    import keras

    bundle = small_bundle(3, Task(TaskKind.CLASSIFICATION, "y", 2), metadata={"study": "s", "trial": 3})
    written = export(bundle, tmp_path / "out")
    rows = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    expected = tower_logits(bundle.tower, {"features": rows}).argmax(1).tolist()
    loaded = keras.models.load_model(written["keras"], safe_mode=True)
    assert loaded.predict(rows, verbose=0)["label"].tolist() == expected
    for served in tf.saved_model.load(str(written["saved_model"])).signatures.values():
        assert served(features=tf.constant(rows))["label"].numpy().tolist() == expected


@pytest.mark.parametrize("names", [("features",), ("clip", "preprocessing", "ids")])
def test_inputs_as_they_are_end_at_the_largest_number_that_is_read(tmp_path, names):
    """Sums of larger ones are no float32: an answer would be no number."""
    given = {name: keras.Input((3,), dtype="int32" if name == "ids" else "float32", name=name) for name in names}
    joined = keras.layers.Concatenate()([keras.ops.cast(one, "float32") for one in given.values()])
    tower = keras.Model(
        structured(given), keras.layers.Dense(2, kernel_initializer=keras.initializers.Constant(10.0))(joined)
    )
    export(ModelBundle(tower, classes_task("a", "b"), None), tmp_path / "model")
    serve = tf.saved_model.load(str(tmp_path / "model" / "saved_model")).signatures["serving_default"]
    model = keras.models.load_model(tmp_path / "model" / "model.keras")

    def answers(number):
        rows = {name: tf.constant([[number, -number, 0.1]]) for name in names}
        rows |= {"ids": tf.constant([[1, 2, 3]])} if "ids" in names else {}
        taken = model(rows if len(names) > 1 else rows[names[0]])
        return serve(**rows)["probabilities"].numpy(), taken["probabilities"].numpy()

    for found, expected in zip(answers(1e38), answers(1e30), strict=True):
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["pictures", "sound", "sequences"])
def test_no_rows_have_no_answers(tmp_path, kind):
    """Convolutions with batch normalisation refuse an empty batch."""
    layers, wanted = keras.layers, LogMel.usual(8000, bands=8)
    if kind == "pictures":
        given = {"image": keras.Input((8, 6, 3), dtype="uint8", name="image")}
        read = layers.Conv2D(4, 3)(keras.ops.cast(given["image"], "float32"))
        none = [{"image": tf.zeros([0], tf.string)}, {"image": tf.zeros([0, 8, 6, 3], tf.uint8)}]
        more = {"images": PictureFormat(8, 6, 3)}
    else:
        lengths = keras.Input((), dtype="int32", name="lengths")
        given = {"sequence": keras.Input((9, 8), name="sequence"), "lengths": lengths}
        last = keras.ops.cast(keras.ops.one_hot(lengths - 1, 9), "float32")[:, :, None] * given["sequence"]
        read = layers.Conv1D(4, 3)(last)
        none = [{"sequence": tf.zeros([0, 9, 8]), "lengths": tf.zeros([0], tf.int32)}] * 2
        more = {}
        if kind == "sound":
            none[0] = {"waveform": tf.zeros([0, 900]), "samples": tf.zeros([0], tf.int32)}
            more = {"audio": wanted, "inputs": {"sequence": InputSpec((9, 8)), "lengths": InputSpec((), "int32")}}
    read = layers.Flatten()(layers.ReLU()(layers.BatchNormalization()(read)))
    tower = keras.Model(structured(given), layers.Dense(2)(read))
    export(ModelBundle(tower, classes_task("a", "b"), None, **more), tmp_path / "model", ["saved_model"])
    signatures = tf.saved_model.load(str(tmp_path / "model" / "saved_model")).signatures
    for name, rows in zip(("serving_default", "serving_typed"), none, strict=True):
        found = {key: values.shape for key, values in signatures[name](**rows).items()}
        assert found == {"label": (0,), "probabilities": (0, 2)}
    some = {name: tf.ones([2, *rows.shape[1:]], rows.dtype) for name, rows in none[1].items()}
    assert signatures["serving_typed"](**some)["probabilities"].shape == (2, 2)


def test_the_card_says_where_the_model_comes_from(tmp_path):
    metadata = {
        "study": "adult|x",
        "trial": 12,
        "architecture": ["A", "B"],
        "metrics": {"accuracy": 0.875, "loss": 0.25},
        "environment": {"keras": "3.15", "cpu": "x"},
    }
    bundle = small_bundle(plain_schema().width, classes_task("a", "b"), plain_schema(), metadata=metadata)
    card = export(bundle, tmp_path / "out", formats=("keras",))["card"].read_text(encoding="utf-8")
    for words in (
        "study adult\\|x, trial 12",
        "A, B",
        "accuracy 0.875",
        "optimistic",
        "keras 3.15",
        "it is an identifier",
    ):
        assert words in card
    assert "saved_model.load" not in card
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["export.json", "model.keras", "model_card.md"]


@pytest.fixture
def bundle():
    return small_bundle(2, Task(TaskKind.REGRESSION, "y", 1))


def test_a_keras_path_is_that_file_alone(bundle, tmp_path):
    target = tmp_path / "deep" / "best.keras"
    for _ in range(2):
        assert export(bundle, target) == {"keras": target}
    assert [path.name for path in target.parent.iterdir()] == ["best.keras"]


def test_an_earlier_export_is_replaced_and_nothing_else_is(bundle, tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    export(bundle, target, formats=("keras",))
    export(bundle, target)
    assert (target / "saved_model").is_dir()
    export(bundle, str(target), formats=("keras",))
    assert sorted(path.name for path in target.iterdir()) == ["export.json", "model.keras", "model_card.md"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (target / "new.csv").write_text("rows to predict")
    with pytest.raises(UserError, match=r"holds something other .*\(new\.csv\)"):
        export(bundle, target)
    assert (target / "new.csv").read_text() == "rows to predict"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    (tmp_path / "folder.keras").mkdir()
    for path, words in (
        (mine, "holds something other"),
        (mine / "thesis.txt", "is a file"),
        (tmp_path / "folder.keras", "is a folder"),
    ):
        with pytest.raises(UserError, match=words):
            export(bundle, path)
    with pytest.raises(UserError, match="cannot be written"):
        export(bundle, mine / "thesis.txt" / "below")
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_a_file_of_somebody_else_that_is_called_like_ours_is_not_replaced(bundle, tmp_path):
    """Only a folder with the description of an export is one."""
    (tmp_path / "model.keras").write_text("another model")
    with pytest.raises(UserError, match=r"holds something other .*\(model\.keras\)"):
        export(bundle, tmp_path)
    assert (tmp_path / "model.keras").read_text() == "another model"


def test_a_file_that_is_put_into_the_folder_while_it_is_written_stays(bundle, tmp_path, monkeypatch):
    export(bundle, tmp_path / "model", ["keras"])
    fill = export_module._fill

    def filled(*given):
        (tmp_path / "model" / "notes.txt").write_text("mine")
        return fill(*given)

    monkeypatch.setattr(export_module, "_fill", filled)
    with pytest.raises(UserError, match=r"holds something other than an exported model \(notes.txt\)"):
        export(bundle, tmp_path / "model", ["keras"])
    assert (tmp_path / "model" / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_unknown_formats_are_refused(bundle, tmp_path):
    for formats in (("onnx",), ()):
        with pytest.raises(UserError, match="expected some of"):
            export(bundle, tmp_path / "out", formats=formats)


@pytest.mark.parametrize("name", ["out", "out.keras"])
@pytest.mark.parametrize(
    "failure", [KeyboardInterrupt, OSError("disk full"), tf.errors.ResourceExhaustedError(None, None, "disk full")]
)
def test_an_interrupted_export_leaves_what_was_there(bundle, tmp_path, monkeypatch, name, failure):
    target = tmp_path / name
    export(bundle, target, formats=("keras",))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    save = export_module._save_keras

    def fail(*arguments):
        save(*arguments)
        raise failure

    monkeypatch.setattr(export_module, "_save_keras", fail)
    with pytest.raises((KeyboardInterrupt, UserError)):
        export(bundle, target, formats=("keras",))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert list(tmp_path.iterdir()) == [target]


def test_an_export_that_cannot_take_its_place_gives_the_old_one_back(bundle, tmp_path, monkeypatch):
    target = tmp_path / "out"
    export(bundle, target, formats=("keras",))
    before = (target / "model.keras").read_bytes()
    rename = pathlib.Path.rename

    def fail(self, other):
        if self.name.endswith(".new"):
            raise OSError("no")
        return rename(self, other)

    monkeypatch.setattr(pathlib.Path, "rename", fail)
    with pytest.raises(UserError, match="cannot be written"):
        export(bundle, target, formats=("keras",))
    assert (target / "model.keras").read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def test_nothing_is_said(tmp_path, capfd):
    bundle = small_bundle(plain_schema().width, classes_task("a", "b"), plain_schema())
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        export(bundle, tmp_path / "out")
    assert capfd.readouterr() == ("", "")


def test_a_tower_that_does_not_fit_the_columns_is_refused():
    with pytest.raises(UserError, match="reads"):
        small_bundle(3, classes_task("a", "b"), plain_schema())
