"""Labels of which the source says what they are: names of folders of classes, and the head of a `.ts` file."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from model_search.data import audio_data, image_data, sequence_data, text_data
from model_search.data.later_rows import labelled_rows
from model_search.data.prepare_options import PrepareOptions
from model_search.errors import DataError

OPTIONS = PrepareOptions(seed=1, batch_size=8, embedding="EMBEDDING")
BEFORE = dataclasses.replace(OPTIONS, reading_rules=4)
EACH = 4


def texts_in(root, names):
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(EACH):
            (root / name / f"{number}.txt").write_text("word again word")
    return root


def description_of(data):
    return {"inputs": {name: spec.to_json() for name, spec in data.input_specs.items()}, **data.description}


@pytest.mark.parametrize(
    "names",
    [
        [str(number) for number in range(25)],
        ["0.5", "1.5", "2.8"],
        ["NA", "Null", "inf", "nan"],
        ["1", "1.0", "01", " 1"],
    ],
)
def test_each_folder_is_a_class(tmp_path, names):
    provider = text_data.Provider(input_dir=texts_in(tmp_path, names))
    data = provider.prepare(OPTIONS)
    assert provider.number_of_classes() == len(names)
    are_whole = all(name == str(number) for number, name in enumerate(names))
    assert data.task.classes == (tuple(range(len(names))) if are_whole else tuple(sorted(names)))
    assert np.bincount(np.concatenate([data.train.label, data.valid.label])).tolist() == [EACH] * len(names)
    assert data.description["notes"] == []
    later = labelled_rows(tmp_path, description_of(data))
    assert np.bincount(later.label).tolist() == [EACH] * len(names)
    given = labelled_rows((["word"] * len(names), names), description_of(data))
    assert sorted(given.label.tolist()) == list(range(len(names)))


def test_pictures_and_sound_in_numbered_folders_have_classes(tmp_path):
    for number in range(24):
        (tmp_path / str(number)).mkdir()
        for name in range(EACH):
            Image.new("L", (4, 4), number).save(tmp_path / str(number) / f"{name}.png")
            wavfile.write(tmp_path / str(number) / f"{name}.wav", 8000, np.full(400, number, np.int16))
    for provider in (image_data.Provider(tmp_path), audio_data.Provider(tmp_path)):
        data = provider.prepare(OPTIONS)
        assert len(data.task.classes) == 24 and data.task.classes == tuple(range(24))
        assert labelled_rows(str(tmp_path), description_of(data)).label.shape == (24 * EACH,)


def test_a_folder_that_is_no_class_of_the_study_is_named(tmp_path):
    data = text_data.Provider(input_dir=texts_in(tmp_path / "train", ["a", "b", "c"])).prepare(OPTIONS)
    later = texts_in(tmp_path / "later", ["a", "nan"])
    with pytest.raises(DataError, match="classes never seen in training: 'nan'"):
        labelled_rows(later, description_of(data))


def test_the_task_that_is_asked_for_goes_before_the_names_of_folders(tmp_path):
    root = texts_in(tmp_path, ["10", "20", "30.5"])
    data = text_data.Provider(input_dir=root, task="regression").prepare(OPTIONS)
    assert data.task.kind.value == "regression"
    found = np.concatenate([data.train.label, data.valid.label])[:, 0] * data.task.target_scale + data.task.target_mean
    np.testing.assert_allclose(np.unique(found.round(3)), [10, 20, 30.5])
    assert labelled_rows(root, description_of(data)).label.shape == (3 * EACH, 1)


def test_a_study_that_began_before_goes_on_with_its_labels(tmp_path):
    root = texts_in(tmp_path / "few", ["0", "1", "2", "null"])
    data = text_data.Provider(input_dir=root).prepare(BEFORE)
    assert data.task.classes == (0, 1, 2)
    assert data.description["notes"] == [f"{EACH} texts have no label and are left out"]
    assert labelled_rows(root, description_of(data)).label.shape == (3 * EACH,)
    numbered = text_data.Provider(input_dir=texts_in(tmp_path / "many", list(map(str, range(25)))))
    assert numbered.prepare(BEFORE).task.kind.value == "regression"


def ts_file(path, setting, labels):
    lines = [f"{number}.5,2,{number % 3}:{label}" for number, label in enumerate(labels)]
    path.write_text(f"@problemName made\n{setting}\n@data\n" + "\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("setting", "labels", "kind"),
    [
        ("@classLabel true", [number % 25 for number in range(100)], "classification"),
        ("@classLabel true 0.5 1.5", [0.5, 1.5] * 10, "classification"),
        ("@targetLabel true", [number % 5 for number in range(20)], "regression"),
        ("@classLabel false\n@targetLabel true", [number % 5 for number in range(20)], "regression"),
    ],
)
def test_the_head_of_a_ts_file_says_what_its_labels_are(tmp_path, setting, labels, kind):
    provider = sequence_data.Provider(ts_file(tmp_path / "made.ts", setting, labels))
    task = provider.prepare(OPTIONS).task
    assert task.kind.value == kind and task.inferred.endswith("as its source says.")
    assert provider.number_of_classes() == (len(set(labels)) if kind == "classification" else 1)


def test_the_task_that_is_asked_for_goes_before_the_head_of_a_ts_file(tmp_path):
    classes = ts_file(tmp_path / "classes.ts", "@classLabel true", [number % 5 for number in range(20)])
    numbers = ts_file(tmp_path / "numbers.ts", "@targetLabel true", [number % 5 for number in range(20)])
    for path, before, asked in (
        (classes, "classification", "regression"),
        (numbers, "classification", "classification"),
    ):
        assert sequence_data.Provider(path, task=asked).prepare(OPTIONS).task.kind.value == asked
        assert sequence_data.Provider(path).prepare(BEFORE).task.kind.value == before
