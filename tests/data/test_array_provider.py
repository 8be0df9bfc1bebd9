"""Arrays and frames as data, and rows that come after the search."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.utils import Bunch

from model_search.data import array_data, csv_data, sequence_data
from model_search.data.images.picture_format import checked_array
from model_search.data.inputs import as_array, as_float32
from model_search.data.later_rows import inputs_of, labelled_rows
from model_search.data.prepare_options import PrepareOptions
from model_search.data.rows import as_pandas
from model_search.data.task import TaskKind
from model_search.data.text.text_files import TextColumns, evaluated_texts
from model_search.errors import DataError

OPTIONS = PrepareOptions(seed=3, batch_size=8)
RNG = np.random.default_rng(3)
X = RNG.normal(size=(60, 3))
Y = RNG.integers(0, 3, 60)


def prepare(*args, **kwargs):
    return array_data.Provider(*args, **kwargs).prepare(OPTIONS)


@pytest.mark.parametrize(
    ("y", "kind", "classes"),
    [
        (Y, TaskKind.CLASSIFICATION, (0, 1, 2)),
        (Y.astype(np.int8)[:, None], TaskKind.CLASSIFICATION, (0, 1, 2)),
        (Y.tolist(), TaskKind.CLASSIFICATION, (0, 1, 2)),
        (Y > 0, TaskKind.CLASSIFICATION, (False, True)),
        (Y + 0.0, TaskKind.CLASSIFICATION, (0.0, 1.0, 2.0)),
        (np.array(["u", "v", "w"])[Y], TaskKind.CLASSIFICATION, ("u", "v", "w")),
        (np.array([b"u", b"v", b"w"], dtype=object)[Y].astype(str), TaskKind.CLASSIFICATION, ("u", "v", "w")),
        (np.eye(3)[Y], TaskKind.CLASSIFICATION, (0, 1, 2)),
        (pd.Series(Y, name="target"), TaskKind.CLASSIFICATION, (0, 1, 2)),
        (pd.Series(Y).astype("category"), TaskKind.CLASSIFICATION, (0, 1, 2)),
        (pd.Series(Y).map({0: "u", 1: "v", 2: "w"}).astype("category"), TaskKind.CLASSIFICATION, ("u", "v", "w")),
        (X[:, 0], TaskKind.REGRESSION, ()),
        (np.arange(60), TaskKind.REGRESSION, ()),
    ],
)
def test_labels(y, kind, classes):
    data = prepare(X, y)
    assert (data.task.kind, data.task.classes) == (kind, classes)
    assert [type(value) for value in data.task.classes] == [type(value) for value in classes]
    json.dumps(data.description, allow_nan=False)


def test_labels_go_with_their_rows():
    data = prepare(np.column_stack([Y, X[:, 0]]), Y, feature_names=["same", "noise"])
    for rows in (data.train, data.valid):
        order = rows.inputs["features"][:, 0].argsort()
        assert (np.diff(rows.label[order]) >= 0).all()
        assert set(rows.label.tolist()) == {0, 1, 2}
    assert len(data.train) + len(data.valid) == 60


def test_a_feature_may_be_called_like_the_label():
    frame = pd.DataFrame(X, columns=["a", "label", "weight"])
    data = prepare(frame, Y, weights=np.ones(60))
    assert data.task.label == "label (label)"
    assert data.task.weight == "weight (weight)"
    assert len(data.preprocessor.schema.features) == 3
    assert inputs_of(X, data.description)["features"].shape == (60, 3)


def test_targets_are_scaled_on_training_rows():
    data = prepare(X, 1000 + 7 * X[:, 0])
    assert data.train.label.mean() == pytest.approx(0, abs=1e-5)
    assert data.train.label.std() == pytest.approx(1, abs=1e-5)
    assert data.task.target_mean == pytest.approx(1000, abs=5)


def test_typed_frames():
    frame = pd.DataFrame(
        {
            "number": X[:, 0],
            "whole": pd.array(RNG.integers(0, 9, 60), dtype="Int64"),
            "flag": X[:, 1] > 0,
            "kind": pd.Categorical(np.array(["a", "b"])[(X[:, 2] > 0).astype(int)]),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(RNG.integers(0, 300, 60), unit="D"),
            7: np.arange(60),
        },
        index=RNG.permutation(60),
    )
    data = prepare(frame, Y)
    assert [item["kind"] for item in data.description["schema"]["features"]] == [
        "number",
        "number",
        "category",
        "category",
        "date",
    ]
    assert "7" in data.preprocessor.schema.dropped


def test_missing_labels_and_infinite_features():
    y = X[:, 0].copy()
    y[:4] = np.nan
    x = X.copy()
    x[5, 1] = np.inf
    data = prepare(x, y)
    assert len(data.train) + len(data.valid) == 56
    assert np.isfinite(data.train.inputs["features"]).all()


def test_validation_and_weights():
    data = prepare(X, Y, validation=(X[:7], Y[:7], np.ones(7)), weights=np.arange(60))
    assert (len(data.train), len(data.valid)) == (60, 7)
    np.testing.assert_array_equal(data.train.weight, np.arange(60, dtype=np.float32))
    np.testing.assert_array_equal(data.train.inputs["features"][:7], data.valid.inputs["features"])


@pytest.mark.parametrize(
    ("args", "kwargs", "sentence"),
    [
        ((X, Y[:5]), {}, "60 rows of features, 5 labels"),
        ((X[:, :, None], Y), {}, "expected two dimensions"),
        ((X, X), {}, "expected one dimension"),
        ((X, Y), {"feature_names": ["a"]}, "1 feature names for 3 columns"),
        ((X, Y), {"feature_names": ["a", "a", "b"]}, "not unique"),
        ((X, Y), {"weights": [1.0]}, "1 weights"),
        ((X, Y), {"weights": np.full(60, np.nan)}, "expected a number of at least 0"),
        ((X, Y), {"validation": X}, "validation is expected as"),
        ((X, Y), {"task": "cluster"}, "task is 'cluster'"),
        (({"a": [1, 2], "b": [1]}, [0, 1]), {}, "differ in length"),
        ((pd.DataFrame(X, columns=["a", "b", "a"]), Y), {}, "several columns named 'a'"),
        (
            (pd.DataFrame(X, columns=list("abc")), Y),
            {"validation": (pd.DataFrame({"a": [1.0]}), [1])},
            "lack columns 'b'",
        ),
        ((X, np.zeros(60)), {}, "every row has the same label, 0.0"),
        ((sparse.csr_matrix(X), Y), {}, r"the features are a sparse matrix \(csr_matrix .*\(60, 3\)\).*\.toarray\(\)"),
        ((X, sparse.csr_array(Y[:, None])), {}, r"the labels are a sparse matrix \(csr_array of shape \(60, 1\)"),
        (({"a": sparse.csr_matrix(X), "b": X}, Y), {}, "input 'a' are a sparse matrix .* expected an array"),
        (
            (Bunch(data=X, target=Y), Y),
            {},
            r"the features are a Bunch .*\(with data, target\).*\.data for the features",
        ),
        ((X, Bunch(data=X, target=Y)), {}, r"the labels are a Bunch .*\.target for the labels"),
        ((X[:, :0], Y), {}, r"have no columns \(their shape is \(60, 0\)\); expected one at least"),
        ((pd.DataFrame(index=range(60)), Y), {}, "the features have no columns"),
        (({}, Y), {}, "the features have no columns; expected"),
    ],
)
def test_bad_input(args, kwargs, sentence):
    with pytest.raises(DataError, match=sentence):
        prepare(*args, **kwargs)


def test_one_row_as_a_series_is_told_how_to_stay_a_frame():
    frame = pd.DataFrame(X, columns=list("abc"))
    with pytest.raises(DataError, match=r"3 feature names for 1 columns; .* is it one row\? Take frame.iloc\[\[0\]\]"):
        array_data.as_frame(frame.iloc[0], list("abc"))


def test_columns_of_a_dict_go_together_by_position():
    shuffled = pd.Series(X[:, 0]).sample(frac=1, random_state=1)
    plain = prepare({"s": shuffled.to_numpy(), "o": X[:, 1], "l": X[:, 2].tolist()}, Y)
    typed = prepare({"s": shuffled, "o": pd.Series(X[:, 1]), "l": X[:, 2].tolist()}, Y)
    np.testing.assert_array_equal(typed.train.inputs["features"], plain.train.inputs["features"])
    frame = pd.DataFrame(X, columns=["s", "o", "l"], index=range(60, 120))
    expected = typed.preprocessor.transform(frame)
    mixed = {"s": frame["s"], "o": frame["o"].reset_index(drop=True), "l": frame["l"].to_numpy()}
    np.testing.assert_array_equal(typed.preprocessor.transform(mixed), expected)
    np.testing.assert_array_equal(inputs_of(mixed, typed.description)["features"], expected)
    for read in (typed.preprocessor.transform, lambda given: inputs_of(given, typed.description)):
        with pytest.raises(DataError, match=r"the columns differ in length: \{'s': 60, 'o': 60, 'l': 59\}; expected"):
            read(mixed | {"l": frame["l"][1:]})


class Foreign:
    """A table as other libraries have them: names of columns, rows as an array, and a way to pandas."""

    def __init__(self, frame):
        self.columns, self._frame = list(frame.columns), frame

    def __array__(self, dtype=None, copy=None):
        return self._frame.to_numpy(dtype)

    def __len__(self):
        return len(self._frame)

    def __getitem__(self, name):
        return self._frame[name].to_numpy()

    def to_pandas(self):
        return self._frame


def tables_of_others():
    def arrow(frame):
        return pytest.importorskip("pyarrow").Table.from_pandas(frame)

    return pytest.mark.parametrize("other", [Foreign, arrow])


@tables_of_others()
def test_tables_of_other_libraries_keep_the_names_of_their_columns(other):
    frame = pd.DataFrame({"a": X[:, 0], "b": np.array(["u", "v", "w"])[Y], "c": X[:, 2]})
    turned = other(frame[["c", "a", "b"]])
    expected, data = prepare(frame, Y), prepare(other(frame), Y)
    assert data.description["columns"] == ["a", "b", "c"]
    assert data.fingerprint == expected.fingerprint
    for source in (frame, other(frame), turned):
        found = inputs_of(source, data.description)["features"]
        np.testing.assert_array_equal(found, inputs_of(frame, expected.description)["features"])
    assert prepare(other(frame), Y, validation=(turned, Y)).valid.inputs["features"].shape == (60, found.shape[1])
    two = pd.DataFrame({"kind": Y, "sign": X[:, 0] > 0})
    assert list(prepare(frame, other(two)).tasks) == ["kind", "sign"]
    assert prepare(frame, other(two[["kind"]])).task.label == "kind"
    rows = labelled_rows(other(frame.assign(label=Y)), data.description)
    np.testing.assert_array_equal(rows.label, labelled_rows((turned, Y), data.description).label)


@tables_of_others()
def test_tables_of_other_libraries_beside_texts_and_inputs_by_name(other):
    two, numbers = pd.DataFrame({"kind": Y, "sign": X[:, 0] > 0}), pd.DataFrame({"a": X[:, 0], "b": X[:, 1]})
    found = prepare({"numbers": other(numbers), "more": X}, other(two))
    assert list(found.tasks) == ["kind", "sign"]
    assert found.description["named"]["numbers"]["columns"] == ["a", "b"]
    frame = pd.DataFrame({"text": ["a b", "c d"] * 30, "label": ["u", "v"] * 30})
    read = evaluated_texts(other(frame), TextColumns())
    assert list(read.texts) == list(frame["text"]) and list(read.labels.values) == list(frame["label"])


def test_tables_that_cannot_become_frames_of_pandas_are_refused(monkeypatch):
    given = Foreign(pd.DataFrame(X, columns=list("abc")))
    monkeypatch.setattr(Foreign, "to_pandas", lambda self: {}["x"])
    with pytest.raises(DataError, match=r"to_pandas\(\) of the features \(Foreign\) fails: 'x'; expected .* a dict"):
        prepare(given, Y)
    monkeypatch.delattr(Foreign, "to_pandas")
    for read in (
        lambda: prepare(given, Y),
        lambda: prepare(X, given),
        lambda: inputs_of(given, prepare(X, Y).description),
    ):
        with pytest.raises(
            DataError, match=r"are a Foreign, which has no to_pandas\(\); expected a DataFrame of pandas"
        ):
            read()


def test_an_index_may_have_missing_entries():
    names = pd.array([pd.NA, *range(1, 60)], dtype="Int64")
    frame = pd.DataFrame(X, columns=list("abc"), index=pd.Index(names))
    same = pd.Series(Y, index=pd.Index(names.astype(object)))
    assert prepare(frame, same).description["notes"] == prepare(X, Y).description["notes"]
    other = pd.Series(Y, index=pd.Index(pd.array([pd.NA, 1, pd.NA, *range(3, 60)], dtype="Int64")))
    said = "in row 3 it has <NA>, that of the features 2"
    assert any(said in note for note in prepare(frame, other).description["notes"])
    pairs = pd.MultiIndex.from_arrays([names, range(60)])
    turned = pd.Series(Y, index=pairs)[::-1]
    with pytest.raises(DataError, match=r"in row 1 it has \(59, 59\), that of the features \(<NA>, 0\)"):
        prepare(frame.set_index(pairs), turned)


def test_an_index_in_another_order_is_refused():
    frame = pd.DataFrame(X, columns=list("abc"), index=range(100, 160))
    y = pd.Series(Y, index=frame.index, name="y")
    shuffled = y.sample(frac=1, random_state=2)
    with pytest.raises(DataError, match=r"labels has the entries .* in another order \(in row 1 .* y.loc\[x.index\]"):
        prepare(frame, shuffled)
    np.testing.assert_array_equal(prepare(frame, shuffled.loc[frame.index]).train.label, prepare(frame, Y).train.label)
    for right in (shuffled.to_numpy(), shuffled.reset_index(drop=True)):
        np.testing.assert_array_equal(prepare(frame, right).train.label, prepare(X, shuffled).train.label)
    columns = {name: frame[name] for name in frame}
    for arguments in (
        (columns, shuffled),
        (frame, pd.DataFrame({"u": y, "v": y}).loc[shuffled.index]),
        (frame, {"u": Y, "v": shuffled}),
    ):
        with pytest.raises(DataError, match="labels has the entries"):
            prepare(*arguments)
    for name in ("weights", "groups", "time"):
        with pytest.raises(DataError, match=f"the {name} has the entries .*use {name}.loc"):
            prepare(frame, Y, **{name: shuffled})
    with pytest.raises(DataError, match="labels has the entries"):
        prepare(frame, Y, validation=(frame, shuffled))
    data = prepare(frame, Y)
    with pytest.raises(DataError, match="labels has the entries"):
        labelled_rows((frame, shuffled), data.description)
    some = frame.sample(frac=1, random_state=3)
    expected = labelled_rows((some.to_numpy(), y[some.index].to_numpy()), data.description)
    np.testing.assert_array_equal(labelled_rows((some, y[some.index]), data.description).label, expected.label)


def test_an_index_with_other_entries_is_noted():
    frame = pd.DataFrame(X, columns=list("abc"), index=range(100, 160))
    said = prepare(frame, pd.Series(Y)).description["notes"]
    assert any("index of the labels is not that of the features (in row 1 it has 0, that" in note for note in said)
    doubled = frame.set_axis([5] * 30 + [6] * 30)
    for y in (pd.Series(Y, index=doubled.index), Y, pd.Series(Y, index=doubled.index).astype("category")):
        assert not any("index" in note for note in prepare(doubled, y).description["notes"])
    swapped = pd.Series(Y, index=[6] * 30 + [5] * 30)
    assert any("by position" in note for note in prepare(doubled, swapped).description["notes"])
    notes = []
    labelled_rows((frame, pd.Series(Y)), prepare(frame, Y).description, notes.append)
    assert any("by position" in note for note in notes)


def test_a_feature_that_holds_the_labels_is_refused():
    frame = pd.DataFrame(X, columns=["a", "b", "price"], index=range(100, 160))
    with pytest.raises(DataError, match=r"column 'price' of the features holds the labels; .*drop\(columns='price'\)"):
        prepare(frame, frame["price"])
    gaps = frame.assign(price=frame["price"].where(frame["a"] > -1))
    with pytest.raises(DataError, match="drop it from x"):
        prepare({name: gaps[name] for name in gaps}, gaps["price"])
    data = prepare(frame, frame["price"] + 1)
    assert any("called 'price (label)'" in note for note in data.description["notes"])
    assert prepare(frame, {"kind": Y}).task.label == "kind"
    alone = prepare(frame.drop(columns="price"), frame["price"])
    assert not any("called" in note for note in alone.description["notes"])
    assert len(labelled_rows((frame, frame["price"]), alone.description)) == 60  # what no model reads may be there


def test_masked_entries_of_a_table_are_missing():
    holes = RNG.random(X.shape) < 0.2
    expected = prepare(np.where(holes, np.nan, X), Y)
    masked = np.ma.masked_array(np.where(holes, -9999.0, X), holes)
    whole = np.ma.masked_array(np.where(holes, -9999, (100 * X).astype(int)), holes)
    for x, like in (
        (masked, np.where(holes, np.nan, X)),
        (list(masked), np.where(holes, np.nan, X)),
        ({f"x{i}": masked[:, i] for i in range(3)}, np.where(holes, np.nan, X)),
        (whole, np.where(holes, np.nan, (100 * X).astype(int))),
    ):
        found, plain = prepare(x, Y), prepare(like, Y)
        np.testing.assert_array_equal(found.train.inputs["features"], plain.train.inputs["features"])
        later = inputs_of(x, expected.description)["features"]
        np.testing.assert_array_equal(later, inputs_of(like, expected.description)["features"])
    texts = np.ma.masked_array(np.array(["u", "v"])[Y % 2], holes[:, 0])
    (feature,) = prepare({"t": texts}, Y).preprocessor.schema.features
    assert set(feature.vocabulary) == {"", "u", "v"}
    unmasked = np.ma.masked_array(X)
    np.testing.assert_array_equal(prepare(unmasked, Y).train.inputs["features"], prepare(X, Y).train.inputs["features"])


@pytest.mark.parametrize(
    ("labels", "classes"),
    [(Y, (0, 1, 2)), (Y + 0.5, ()), (np.array(["a", "b", "c"])[Y], ("a", "b", "c")), (Y > 0, (False, True))],
)
def test_masked_labels_are_missing(labels, classes):
    holes = RNG.random(60) < 0.2
    y = np.ma.masked_array(labels, holes)
    for given in (y, y[:, None], list(y)):
        data = prepare(X, given)
        assert len(data.train) + len(data.valid) == (~holes).sum()
        assert data.task.classes == classes
        assert [type(one) for one in data.task.classes] == [type(one) for one in classes]
    rows = labelled_rows((X, y), data.description)
    np.testing.assert_array_equal(rows.inputs["features"], inputs_of(X[~holes], data.description)["features"])
    with pytest.raises(DataError, match="expected a number of at least 0"):
        prepare(X, labels, weights=np.ma.masked_array(np.ones(60), holes))


def test_masked_inputs_of_other_kinds_are_refused():
    holes = np.zeros((60, 5, 3), bool)
    holes[7, 2] = True
    steps = np.ma.masked_array(np.arange(900).reshape(60, 5, 3), holes)
    for x, kind in (
        (steps, sequence_data.Provider),
        (list(steps), sequence_data.Provider),
        ({"walk": steps, "table": X}, array_data.Provider),
        ({"walk": steps.filled(0), "table": np.ma.masked_array(X, holes[:, 2])}, array_data.Provider),
    ):
        with pytest.raises(DataError, match=r"missing or infinite numbers .*fill them in"):
            kind(x, Y).prepare(OPTIONS)
    pictures = np.ma.masked_array(np.zeros((60, 5, 3), np.uint8), holes)
    for x in (pictures, list(pictures)):
        with pytest.raises(DataError, match=r"missing pixels .*fill them in"):
            checked_array(x)
    for values in (steps, steps.astype(np.float32)):
        with pytest.raises(DataError, match="holds NaN or infinite"):
            as_float32(as_array(values, "the features"), "the features")
    masked = np.ma.masked_array(Y, holes[:, 2, 0])
    data = sequence_data.Provider(steps.filled(0), masked).prepare(OPTIONS)
    assert len(data.train) + len(data.valid) == 59
    assert data.task.classes == (0, 1, 2)


@pytest.fixture
def csv_study(tmp_path):
    path = tmp_path / "train.csv"
    lines = [f"{i % 7 + 0.5},{'uv'[i % 2]},{i % 3},{['no', 'yes'][i % 2]}" for i in range(60)]
    path.write_text("n,c,w,y\n" + "\n".join(lines))
    return path, csv_data.Provider(filename=path, label="y", weight="w").prepare(OPTIONS)


def test_rows_to_predict_come_as_file_frame_dict_or_array(csv_study, tmp_path):
    path, data = csv_study
    expected = data.preprocessor.transform({"n": [0.5, 3.5], "c": ["u", "v"]})
    new = tmp_path / "new.csv"
    new.write_text("c;n\nu;0.5\nv;3.5\n")
    frame = pd.DataFrame({"n": [0.5, 3.5], "c": ["u", "v"]}, index=[9, 4])
    for source in (
        new,
        str(new),
        frame,
        {"c": ["u", "v"], "n": [0.5, 3.5]},
        np.array([[0.5, "u"], [3.5, "v"]], object),
    ):
        np.testing.assert_array_equal(inputs_of(source, data.description)["features"], expected)
    np.testing.assert_array_equal(inputs_of({"n": 0.5, "c": "u"}, data.description)["features"], expected[:1])
    with pytest.raises(DataError, match="lack column 'n'"):
        inputs_of({"c": ["u"]}, data.description)["features"]
    stored = json.loads(json.dumps(data.description))
    np.testing.assert_array_equal(inputs_of(frame, stored)["features"], expected)
    assert len(inputs_of(path, stored)["features"]) == 60


def test_rows_to_evaluate_on(csv_study, tmp_path):
    path, data = csv_study
    rows = labelled_rows(path, data.description)
    assert rows.label.tolist() == [i % 2 for i in range(60)]
    assert rows.label.dtype == np.int32
    assert rows.weight.tolist() == [i % 3 for i in range(60)]
    assert rows.inputs["features"].shape[0] == 60
    some = tmp_path / "some.csv"
    some.write_text("n,c,y\n1,u,no\n2,v,\n3,v,yes\n")
    rows = labelled_rows(some, data.description)
    assert (rows.label.tolist(), rows.weight) == ([0, 1], None)
    expected = inputs_of({"n": ["1", "3"], "c": ["u", "v"]}, data.description)["features"]
    np.testing.assert_array_equal(rows.inputs["features"], expected)
    with pytest.raises(DataError, match="lack column 'y'"):
        labelled_rows({"n": [1], "c": ["u"]}, data.description)
    with pytest.raises(DataError, match="never seen in training: 'maybe'"):
        labelled_rows({"n": [1], "c": ["u"], "y": ["maybe"]}, data.description)
    with pytest.raises(DataError, match="no row has a label"):
        labelled_rows({"n": [1], "c": ["u"], "y": [None]}, data.description)


def test_pairs_to_evaluate_on():
    data = prepare(X, Y)
    rows = labelled_rows((X[:9], Y[:9], np.ones(9)), data.description)
    assert rows.label.tolist() == Y[:9].tolist()
    assert rows.weight.tolist() == [1] * 9
    assert len(rows) == 9
    regression = prepare(X, X[:, 0])
    scaled = labelled_rows((X[:9], X[:9, 0]), regression.description).label
    np.testing.assert_allclose(
        scaled[:, 0] * regression.task.target_scale + regression.task.target_mean, X[:9, 0], rtol=1e-5
    )


@pytest.mark.parametrize("written", [[0, 1], [0.0, 1.0], ["0", "1"], ["0.0", "1.0"]])
def test_labels_match_however_they_are_written(written):
    data = prepare(X, Y % 2)
    rows = labelled_rows((X[:2], written), data.description)
    assert rows.label.tolist() == [0, 1]


def test_booleans_match_their_texts():
    data = prepare(X, Y > 0)
    assert labelled_rows((X[:2], ["False", "True"]), data.description).label.tolist() == [0, 1]


def test_files_without_header(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("".join(f"{i % 7},{'uv'[i % 2]},{i / 8}\n" for i in range(60)))
    data = csv_data.Provider(filename=path, label_index=1).prepare(OPTIONS)
    new = tmp_path / "new.csv"
    new.write_text("3,0.5\n4,1.5\n")
    expected = data.preprocessor.transform({"column_0": [3, 4], "column_2": [0.5, 1.5]})
    np.testing.assert_array_equal(inputs_of(new, data.description)["features"], expected)
    assert len(labelled_rows(path, data.description)) == 60
    new.write_text("3\n4\n")
    with pytest.raises(DataError, match="has 1 columns and no header; expected 3 as in training"):
        inputs_of(new, data.description)["features"]


def test_an_odd_delimiter_and_encoding_are_remembered(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(("n~ö~y\n" + "".join(f"{i % 7}~{'uv'[i % 2]}~{i % 2}\n" for i in range(60))).encode("cp1252"))
    data = csv_data.Provider(filename=path, label="y", field_delim="~", encoding="cp1252").prepare(OPTIONS)
    expected = data.preprocessor.transform({"n": [i % 7 for i in range(60)], "ö": ["u", "v"] * 30})
    np.testing.assert_array_equal(inputs_of(path, data.description)["features"], expected)


def test_an_array_of_records_with_a_field_named_columns_is_no_table_of_another_library():
    records = np.rec.fromarrays([np.arange(3.0), np.arange(3.0)], names="columns,b")
    assert as_pandas(records, "features") is records
