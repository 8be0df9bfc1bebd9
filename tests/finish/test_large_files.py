"""Files are predicted and evaluated some rows at a time, with the same answers; what is written is whole or absent."""

import gzip
import os
import stat
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model_search.data import sequence_data
from model_search.data.csv_data import Provider
from model_search.data.later_rows import inputs_of, labelled_rows
from model_search.data.prepare_options import PrepareOptions
from model_search.data.tabular import csv_reading
from model_search.data.task import Task, TaskKind
from model_search.errors import DataError, UserError
from model_search.finish import large_files

ROWS = 230


class Tower:
    """Answers with the sum of the features, and so knows each row."""

    class Input:
        name = "features"

        def __init__(self, width):
            self.shape = (None, width)

    def __init__(self, width):
        self.inputs = [self.Input(width)]
        self.input = self.inputs[0]
        self.output_shape = (None, 2)

    def _flatten_layers(self, include_self):
        del include_self
        return []

    def __call__(self, features, training):
        del training
        total = np.asarray(features).sum(axis=1)
        return np.stack([total, -total], axis=1).astype(np.float32)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(csv_reading, "BLOCK_ROWS", 7)


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=ROWS).round(4),
            "city": rng.choice(["ulm", "köln", ""], size=ROWS),
            "w": rng.integers(0, 3, size=ROWS),
            "label": rng.choice(["yes", "no", ""], size=ROWS, p=[0.5, 0.4, 0.1]),
        }
    )
    path = tmp_path / "rows.csv"
    frame.to_csv(path, index=False)
    data = Provider(filename=path, label="label", weight="w").prepare(PrepareOptions(seed=1, batch_size=8))
    return path, data.description, Tower(data.train.inputs["features"].shape[1])


def test_pieces_have_the_rows_of_the_file(table, small_blocks):
    path, description, tower = table
    pieces = list(csv_reading.table_pieces(path, description))
    assert max(map(len, pieces)) == 7
    whole = csv_reading.read_table(path, description)
    assert pd.concat(pieces).to_numpy().tolist() == whole.to_numpy().tolist()
    found = np.concatenate(list(large_files.logits_in_pieces(tower, path, description)))
    np.testing.assert_array_equal(found, tower(inputs_of(whole, description)["features"], False))


def test_labels_and_weights_stay_with_their_rows(table, small_blocks):
    path, description, tower = table
    rows, logits = large_files.labelled_logits(tower, path, description)
    expected = labelled_rows(path, description)
    np.testing.assert_array_equal(rows.label, expected.label)
    np.testing.assert_array_equal(rows.weight, expected.weight)
    np.testing.assert_array_equal(logits, tower(expected.inputs["features"], False))


def test_a_label_is_read_with_the_whole_column_in_view(tmp_path, small_blocks):
    # A piece with "-" and numbers alone would take "-" for a missing number.
    labels = ["-", "1"] * 20 + ["none of them"] * 10
    path = tmp_path / "rows.csv"
    pd.DataFrame({"x": range(50), "u": [1.5, 2.5] * 25, "label": labels}).to_csv(path, index=False)
    data = Provider(filename=path, label="label").prepare(PrepareOptions(seed=1, batch_size=8))
    rows, _ = large_files.labelled_logits(Tower(data.train.inputs["features"].shape[1]), path, data.description)
    assert [data.task.classes[code] for code in rows.label] == labels


def test_probabilities_have_the_index_of_a_frame(table):
    path, description, tower = table
    task = Task.of_description(description)
    answers = large_files.ModelAnswers(description, {task.label: task}, lambda inputs: tower, print)
    frame = pd.read_csv(path, keep_default_na=False)
    expected = answers.probabilities(path, [1.0])
    assert expected.index.tolist() == list(range(ROWS))
    order = np.random.default_rng(1).permutation(ROWS)
    for index in (range(ROWS), ["one"] * ROWS, pd.date_range("2020-01-01", periods=ROWS, tz="UTC")):
        some = frame.set_axis(index).iloc[order]
        found = answers.probabilities(some, [1.0])
        assert found.index.equals(some.index)
        np.testing.assert_allclose(found, expected.to_numpy()[order], atol=1e-6)
    two = Task(TaskKind.CLASSIFICATION, "other", 2, ("a", "b"))
    both = large_files.ModelAnswers(description, {task.label: task, "other": two}, lambda inputs: _Wide(tower), print)
    assert all(one.index.equals(some.index) for one in both.probabilities(some, [1.0, 1.0]).values())
    written = pd.concat(answers.frames(some, [1.0]))
    assert written["prediction"].tolist() == answers.labels(some, [1.0]).tolist()


class _Wide:
    """Answers a tower's logits twice."""

    def __init__(self, tower):
        self.inputs, self.input, self._tower = tower.inputs, tower.input, tower
        self._flatten_layers = tower._flatten_layers

    def __call__(self, features, training):
        return np.repeat(self._tower(features, training), 2, axis=1)


class SequenceTower:
    """Answers with the sum of each sequence, or with the values of its steps."""

    def __init__(self, data, per_step):
        self.inputs = [Tower.Input(0), Tower.Input(0)]
        for tensor, (name, values) in zip(self.inputs, data.train.inputs.items(), strict=True):
            tensor.name, tensor.shape = name, (None, *values.shape[1:])
        self.input = {tensor.name: tensor for tensor in self.inputs}
        self._per_step, self._flatten_layers = per_step, Tower(0)._flatten_layers

    def __call__(self, inputs, training):
        del training
        total = np.asarray(inputs["sequence"])[..., 0]
        total = total if self._per_step else total.sum(axis=1)
        return np.stack([total, -total], axis=-1).astype(np.float32)


@pytest.fixture(params=[False, True], ids=["label per sequence", "label per step"])
def long_file(request, tmp_path):
    """A long CSV file whose rows are shuffled, and what a study of it answers."""
    rng, per_step = np.random.default_rng(2), request.param
    rows = [(f"s{who}", step, float(rng.normal())) for who in range(30) for step in range(2 + who % 4)]
    frame = pd.DataFrame(rows, columns=["who", "time", "x"])
    frame["label"] = np.where(frame["time"] % 2 == 0 if per_step else frame["who"] < "s2", "up", "down")
    path = tmp_path / "long.csv"
    frame.sample(frac=1, random_state=0).to_csv(path, index=False)
    columns = sequence_data.LongColumns(id="who")
    options = PrepareOptions(seed=1, batch_size=8, label_per_step=per_step)
    data = sequence_data.Provider(path, columns=columns).prepare(options)
    specs = {name: spec.to_json() for name, spec in data.input_specs.items()}
    tower, tasks = SequenceTower(data, per_step), {data.task.label: data.task}
    answers = large_files.ModelAnswers(data.description | {"inputs": specs}, tasks, lambda inputs: tower, print)
    return path, frame, answers, per_step


def test_what_is_written_of_a_file_of_sequences_names_each(long_file):
    path, frame, answers, per_step = long_file
    written = pd.concat(answers.frames(path, [1.0]))
    assert list(written)[: 1 + per_step] == ["id", "step"][: 1 + per_step]
    shares = written["probability_down"] - written["probability_up"]
    assert written["prediction"].tolist() == np.where(shares > 0, "down", "up").tolist()
    given = frame.groupby("who", sort=False)["x"].sum() if not per_step else frame.set_index(["who", "time"])["x"]
    whose = written["id"] if not per_step else pd.MultiIndex.from_frame(written[["id", "step"]])
    assert sorted(whose) == sorted(given.index)
    np.testing.assert_allclose(np.tanh(given[whose]), shares, rtol=1e-5)


def test_what_is_written_of_sequences_without_ids_is_in_their_order(long_file):
    _, frame, answers, per_step = long_file
    given = [one["x"].to_numpy()[:, None] for _, one in frame.groupby("who", sort=False)]
    written = pd.concat(answers.frames(given, [1.0]))
    rows = [(row, step) for row, one in enumerate(given) for step in range(len(one))]
    assert not per_step or list(written[["row", "step"]].itertuples(index=False, name=None)) == rows
    assert list(written)[2 * per_step :] == ["prediction", "probability_down", "probability_up"]
    assert len(written) == (len(rows) if per_step else len(given))


@pytest.mark.parametrize(("more", "said"), [({"named": {}}, "inputs by name"), ({}, "an input_fn")])
def test_a_study_that_no_file_holds_says_so(more, said):
    task = Task(TaskKind.CLASSIFICATION, "y", 2)
    answers = large_files.ModelAnswers({"task": task.to_json(), **more}, {"y": task}, lambda inputs: None, print)
    with pytest.raises(UserError, match=f"received the file new.csv; .* was made from {said}, which no file holds"):
        next(answers.frames("new.csv", [1.0]))


def frames(*parts):
    yield from (pd.DataFrame({"prediction": part, "p": range(len(part))}) for part in parts)


@pytest.mark.parametrize(("name", "opened"), [("out.csv", open), ("out.csv.gz", gzip.open)])
def test_frames_are_written_below_each_other(tmp_path, name, opened):
    assert large_files.write_csv(frames(["a", "b"], ["c"]), tmp_path / name) == 3
    with opened(tmp_path / name, "rt") as file:
        assert file.read() == "prediction,p\na,0\nb,1\nc,0\n"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("suffix", [".csv", ".bz2", ".xz", ".zip"])
def test_pandas_reads_what_is_written(tmp_path, suffix):
    large_files.write_csv(frames(["a"]), tmp_path / f"out{suffix}")
    assert pd.read_csv(tmp_path / f"out{suffix}").to_numpy().tolist() == [["a", 0]]


def test_an_error_in_the_middle_leaves_what_was_there(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("before")

    def broken():
        yield from frames(["a"])
        raise DataError("line 2 is broken")

    with pytest.raises(DataError):
        large_files.write_csv(broken(), path)
    assert path.read_text() == "before"
    assert [found.name for found in tmp_path.iterdir()] == ["out.csv"]


def test_a_device_is_written_to_and_stays_one(tmp_path):
    large_files.write_csv(frames(["a"]), "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116


def test_a_link_stays_one(tmp_path):
    (tmp_path / "real.csv").write_text("before")
    (tmp_path / "link.csv").symlink_to("real.csv")
    large_files.write_csv(frames(["a"]), tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("prediction")


@pytest.mark.parametrize("where", ["absent/out.csv", "."])
def test_a_place_that_cannot_be_written_gets_a_sentence(tmp_path, where):
    with pytest.raises(UserError, match="predictions cannot be written to"):
        large_files.write_csv(frames(["a"]), tmp_path / where)


@pytest.mark.parametrize(
    ("cell", "written"),
    [("=1+1", "'=1+1"), ("+x", "'+x"), ("-x", "'-x"), ("@x", "'@x"), ("\tx", "'\tx"), ("\rx", "'\rx"), ("a=1", "a=1")],
)
def test_formulas_are_escaped_on_request(cell, written):
    frame = pd.DataFrame({"prediction": [cell, "plain"], f"{cell}": [-0.5, 1.0]})
    found = large_files.escape_formulas(frame)
    assert found["prediction"].tolist() == [written, "plain"]
    assert found.columns.tolist() == ["prediction", written]
    assert found.iloc[:, 1].tolist() == [-0.5, 1.0]


@example([2**53 + 1, 0.0])
@given(st.lists(st.one_of(st.text(max_size=5), st.integers(), st.floats(allow_nan=False)), min_size=1))
def test_no_text_begins_like_a_formula(cells):
    frame = pd.DataFrame({"prediction": pd.Series(cells, dtype=object)})
    for before, after in zip(cells, large_files.escape_formulas(frame)["prediction"], strict=True):
        assert not (isinstance(after, str) and after.startswith(tuple("=+-@\t\r")))
        assert after in (before, f"'{before}")


def test_the_columns_that_are_written():
    task = Task.from_json({"kind": "classification", "label": "y", "logits_dimension": 2, "classes": ["no", "yes"]})
    found = large_files.answers_of(np.array([[0.0, 2.0]], np.float32), {task.label: task}, [1.0])
    assert found.columns.tolist() == ["prediction", "probability_no", "probability_yes"]
    assert found["prediction"].tolist() == ["yes"]


def test_classes_that_print_alike_are_written_as_in_python():
    task = Task(TaskKind.CLASSIFICATION, "y", 3, (1, "1", "a"))
    found = large_files.answers_of(np.eye(3, dtype=np.float32), {task.label: task}, [1.0])
    assert found.columns.tolist() == ["prediction", "probability_1", "probability_'1'", "probability_'a'"]
    assert found["prediction"].tolist() == ["1", "'1'", "'a'"]
    other = Task(TaskKind.CLASSIFICATION, "z", 2, (True, "True"))
    logits = np.concatenate([np.eye(3), np.eye(3)[:, :2]], axis=1).astype(np.float32)
    found = large_files.answers_of(logits, {task.label: task, "z": other}, [1.0, 1.0])
    assert found.columns.tolist()[4:] == ["prediction/z", "probability_True/z", "probability_'True'/z"]


def test_the_module_loads_no_keras():
    """It is there before TensorFlow is loaded, which then is quiet."""
    code = "import sys, model_search.finish.large_files; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
