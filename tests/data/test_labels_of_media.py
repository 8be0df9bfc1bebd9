"""Weights and several tasks of pictures, sequences, sound and text: from arrays and from CSV files."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import wavfile

from model_search.data import array_data, audio_data, image_data, sequence_data, text_data
from model_search.data.later_rows import labelled_rows
from model_search.data.prepare_options import PrepareOptions
from model_search.data.sequences.sequence_files import LongColumns
from model_search.errors import DataError

ROWS = 20
OPTIONS = PrepareOptions(seed=1, batch_size=8)
RNG = np.random.default_rng(0)
KINDS = np.array(["a", "b"])[np.arange(ROWS) % 2]
NUMBERS = np.arange(ROWS) / 10 + 5
WEIGHTS = np.arange(ROWS) / 4.0
TASKS = {"kind": KINDS, "number": np.where(np.arange(ROWS) < 3, np.nan, NUMBERS)}
PICTURES = np.repeat(np.arange(ROWS, dtype=np.uint8), 3 * 3 * 3).reshape(ROWS, 3, 3, 3)
SEQUENCES = np.repeat(np.arange(ROWS, dtype=np.float32), 4).reshape(ROWS, 4, 1)
TEXTS = [f"word w{row} w{row} word" for row in range(ROWS)]
EMBEDDED = PrepareOptions(seed=1, batch_size=8, embedding="EMBEDDING")

PROVIDERS = [
    (lambda y, w: image_data.Provider(x=PICTURES, y=y, weights=w), OPTIONS, PICTURES),
    (lambda y, w: sequence_data.Provider(SEQUENCES, y, weights=w), OPTIONS, SEQUENCES),
    (lambda y, w: text_data.Provider(TEXTS, y, weights=w), EMBEDDED, TEXTS),
    (lambda y, w: array_data.Provider({"picture": PICTURES}, y, weights=w), OPTIONS, {"picture": PICTURES}),
]


def description_of(data):
    specs = {name: spec.to_json() for name, spec in data.input_specs.items()}
    return {"inputs": specs, **data.description}


def both(data, values):
    """What training and validation rows together hold, sorted."""
    return np.sort(np.concatenate([values(data.train).ravel(), values(data.valid).ravel()]))


@pytest.mark.parametrize(("make", "options", "x"), PROVIDERS)
@pytest.mark.parametrize("y", [KINDS, NUMBERS])
def test_weights_go_with_their_rows(make, options, x, y):
    data = make(y, WEIGHTS).prepare(options)
    np.testing.assert_allclose(both(data, lambda rows: rows.weight), WEIGHTS)
    assert data.description["task"]["weight"] == "weight"
    assert data.fingerprint != make(y, None).prepare(options).fingerprint
    source = (x, y, None, WEIGHTS) if x is SEQUENCES else (x, y, WEIGHTS)
    np.testing.assert_allclose(labelled_rows(source, description_of(data)).weight, WEIGHTS)


@pytest.mark.parametrize(("make", "options", "x"), PROVIDERS)
def test_several_tasks_have_labels_and_weights_each(make, options, x):
    data = make(TASKS, None).prepare(options)
    assert list(data.tasks) == ["kind", "number"] == [*data.train.labels]
    assert [task.kind.value for task in data.tasks.values()] == ["classification", "regression"]
    task = data.tasks["number"]
    counted = both(data, lambda rows: rows.weights["number"])
    assert counted.tolist() == [0.0] * 3 + [1.0] * (ROWS - 3)
    counts = [(rows, rows.weights["number"] > 0) for rows in (data.train, data.valid)]
    scaled = np.sort(np.concatenate([rows.labels["number"][known, 0] for rows, known in counts]))
    np.testing.assert_allclose(scaled * task.target_scale + task.target_mean, NUMBERS[3:], atol=1e-5)
    later = labelled_rows((x, {"number": NUMBERS, "kind": KINDS}), description_of(data))
    assert list(later.labels) == ["kind", "number"] and not later.weights
    assert list(labelled_rows((x, {"kind": KINDS}), description_of(data)).labels) == ["kind"]


def test_a_task_has_weights_of_its_own_and_may_be_the_primary_one():
    provider = image_data.Provider(x=PICTURES, y=TASKS, weights={"number": WEIGHTS})
    data = provider.prepare(PrepareOptions(seed=1, batch_size=8, primary_task="number"))
    assert list(data.tasks) == ["number", "kind"]
    np.testing.assert_allclose(both(data, lambda rows: rows.weights["number"]), WEIGHTS[3:])
    assert len(data.train) + len(data.valid) == ROWS - 3  # the others have no label of the primary task
    with pytest.raises(DataError, match="no label 'other' for the primary task; the data have 'kind', 'number'"):
        provider.prepare(PrepareOptions(seed=1, batch_size=8, primary_task="other"))


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match="weights name 'x'; the labels are 'kind', 'number'"):
        image_data.Provider(x=PICTURES, y=TASKS, weights={"x": WEIGHTS})
    with pytest.raises(DataError, match=r"20 pictures, weights of shape \(3,\); expected one weight for each"):
        image_data.Provider(x=PICTURES, y=KINDS, weights=[1, 2, 3]).prepare(OPTIONS)
    with pytest.raises(DataError, match="every weight of the sequences is 0"):
        sequence_data.Provider(SEQUENCES, KINDS, weights=np.zeros(ROWS)).prepare(OPTIONS)
    with pytest.raises(DataError, match=r"weight column 'weight' holds -1\.0 in row 1"):
        sequence_data.Provider(SEQUENCES, KINDS, weights=WEIGHTS - 1).prepare(OPTIONS)
    with pytest.raises(DataError, match="have no labels of the task 'number'"):
        image_data.Provider(x=PICTURES, y=TASKS, validation=(PICTURES, {"kind": KINDS})).prepare(OPTIONS)
    with pytest.raises(DataError, match="task names 'x'; the labels are 'kind', 'number'"):
        image_data.Provider(x=PICTURES, y=TASKS, task={"x": "regression"}).prepare(OPTIONS)
    with pytest.raises(DataError, match="of a CSV file name the column"):
        image_data.Provider(filename="a.csv", weights=WEIGHTS)
    with pytest.raises(DataError, match="weight name columns of a CSV file"):
        image_data.Provider("folder", weight="w")


@pytest.fixture
def files(tmp_path):
    """A CSV file of pictures and one of recordings, with labels of two tasks and weights."""
    frame = pd.DataFrame({"kind": KINDS, "number": NUMBERS, "w": WEIGHTS})
    for row in range(ROWS):
        Image.fromarray(PICTURES[row]).save(tmp_path / f"{row}.png")
        wavfile.write(tmp_path / f"{row}.wav", 800, RNG.normal(size=200).astype(np.float32) / 9)
    for name, suffix in (("pictures", "png"), ("sounds", "wav")):
        paths = [f"{row}.{suffix}" for row in range(ROWS)]
        frame.assign(path=paths)[["path", "w", "kind", "number"]].to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


@pytest.mark.parametrize(("kind", "name"), [(image_data, "pictures.csv"), (audio_data, "sounds.csv")])
def test_columns_of_a_csv_file(files, kind, name):
    data = kind.Provider(filename=files / name, label=["kind", "number"], weight="w").prepare(OPTIONS)
    assert list(data.tasks) == ["kind", "number"]
    np.testing.assert_allclose(both(data, lambda rows: rows.weight), WEIGHTS)
    np.testing.assert_allclose(both(data, lambda rows: rows.weights["number"]), WEIGHTS)
    later = labelled_rows(files / name, description_of(data))
    np.testing.assert_allclose(later.weight, WEIGHTS)
    assert list(later.labels) == ["kind", "number"]
    alone = kind.Provider(filename=files / name, weight="w").prepare(OPTIONS)
    assert alone.task.classes == ("a", "b")  # the first column that is neither path nor weight
    assert kind.Provider(filename=files / name, weight="w").number_of_classes() == 2
    with pytest.raises(DataError, match="has no weight column 'v'; its columns are path, w, kind, number"):
        kind.Provider(filename=files / name, weight="v").prepare(OPTIONS)
    named = kind.Provider(filename=files / name, label="kind").prepare(PrepareOptions(1, 8, weights="w"))
    np.testing.assert_allclose(both(named, lambda rows: rows.weight), WEIGHTS)


def long_file(folder, weight_by_step):
    steps = pd.DataFrame({"id": np.repeat(np.arange(ROWS), 4), "v": SEQUENCES.ravel()})
    steps["w"] = np.arange(4 * ROWS) if weight_by_step else np.repeat(WEIGHTS, 4)
    steps["label"] = np.tile(["a", "b"], 2 * ROWS) if weight_by_step else np.repeat(KINDS, 4)
    steps["number"] = np.repeat(NUMBERS, 4)
    steps.to_csv(folder / "long.csv", index=False)
    return folder / "long.csv"


def test_columns_of_a_long_csv_file(tmp_path):
    columns = LongColumns(weight="w", others=("number",))
    path = long_file(tmp_path, weight_by_step=False)
    data = sequence_data.Provider(path, columns=columns).prepare(OPTIONS)
    assert list(data.tasks) == ["label", "number"] and data.train.inputs["sequence"].shape[2] == 1
    np.testing.assert_allclose(both(data, lambda rows: rows.weight), WEIGHTS)
    assert LongColumns.from_json(data.description["sequences"]["columns"]) == columns
    np.testing.assert_allclose(labelled_rows(path, description_of(data)).weight, WEIGHTS)
    with pytest.raises(DataError, match="no column 'v2' of weights"):
        sequence_data.Provider(path, columns=LongColumns(weight="v2")).prepare(OPTIONS)


def test_weights_of_steps(tmp_path):
    by_step = PrepareOptions(seed=1, batch_size=8, label_per_step=True)
    path = long_file(tmp_path, weight_by_step=True)
    data = sequence_data.Provider(path, columns=LongColumns(weight="w", others=())).prepare(by_step)
    np.testing.assert_allclose(both(data, lambda rows: rows.weight), np.arange(4.0 * ROWS))
    labels = np.tile(np.array(["a", "b", "a", None], dtype=object), (ROWS, 1))
    data = sequence_data.Provider(SEQUENCES, labels, weights=WEIGHTS).prepare(by_step)
    expected = np.repeat(WEIGHTS, 4).reshape(ROWS, 4) * [1, 1, 1, 0]
    np.testing.assert_allclose(both(data, lambda rows: rows.weight), np.sort(expected.ravel()))
    later = labelled_rows((SEQUENCES, labels, None, WEIGHTS), description_of(data))
    np.testing.assert_allclose(later.weight, expected)
    with pytest.raises(DataError, match="RNN_ALL_ACTIVATIONS expects one for each step"):
        sequence_data.Provider(SEQUENCES, TASKS).prepare(by_step)
