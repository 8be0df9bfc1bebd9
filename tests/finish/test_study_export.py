"""Exports of real studies give what the study itself gives; the documentation's snippets run."""

import csv
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

import model_search
from model_search.data import csv_data
from model_search.finish import export as export_module
from model_search.metadata.study_folder import VanishedStudyError
from model_search.single_trainer import SingleTrainer

ROOT = pathlib.Path(__file__).parents[2]
CANCER = ROOT / "data" / "breast_cancer.csv"
PAGE = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")


class StreamOfBatches(model_search.data.Provider):
    """A custom provider: features by name, and no columns that anyone could describe."""

    def get_input_fn(self, hparams, mode, batch_size):
        rng = np.random.default_rng(0)
        near, far = rng.normal(size=(64, 2)).astype("float32"), rng.normal(size=(64, 1)).astype("float32")
        labels = (near[:, 0] + far[:, 0] > 0).astype("int32")
        return lambda: tf.data.Dataset.from_tensor_slices(({"far": far, "near": near}, labels)).batch(batch_size)

    def number_of_classes(self):
        return 2


def searched(provider, root):
    return SingleTrainer(data=provider, spec=model_search.constants.DEFAULT_DNN).try_models(
        number_models=1,
        train_steps=20,
        eval_steps=2,
        root_dir=root,
        batch_size=32,
        experiment_name="study",
        experiment_owner="tests",
        seed=1,
        progress=False,
    )


@pytest.fixture(scope="module")
def cancer(tmp_path_factory):
    """A study, and a folder with its export and rows to predict."""
    place = tmp_path_factory.mktemp("place")
    study = searched(csv_data.Provider(filename=str(CANCER), label="diagnosis"), place / "runs")
    study.export(place / "exported")
    shutil.copy(CANCER, place / "new.csv")
    return study, place


def test_the_snippets_of_the_page_run_and_agree_with_the_study(cancer, monkeypatch):
    study, place = cancer
    monkeypatch.chdir(place)
    snippets = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(snippets) == 3
    expected = study.predict_proba("new.csv").to_numpy()
    scope = {"study": study}
    for snippet in snippets:
        scope.pop("answers", None)
        exec(snippet, scope)
        np.testing.assert_allclose(np.asarray(scope["answers"]["probabilities"]), expected, atol=1e-5)
    assert scope["labels"] == study.predict("new.csv").tolist()


def test_cells_as_people_write_them_are_read_as_the_study_reads_them(cancer, tmp_path):
    study, place = cancer
    with CANCER.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:40]
    writings = (str, " {} ".format, lambda text: "NA", lambda text: f"{float(text):,.6f}", lambda text: "much")
    columns = [name for name in rows[0] if name != "diagnosis"]
    cells = {name: [writings[(i + j) % 5](row[name]) for j, row in enumerate(rows)] for i, name in enumerate(columns)}
    serve = tf.saved_model.load(str(place / "exported" / "saved_model")).signatures["serving_default"]
    answers = serve(**{name: tf.constant(values) for name, values in cells.items()})
    with (tmp_path / "odd.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([list(cells), *zip(*cells.values(), strict=True)])
    expected = study.predict_proba(str(tmp_path / "odd.csv")).to_numpy()
    np.testing.assert_allclose(answers["probabilities"].numpy(), expected, atol=1e-5)
    assert np.ptp(expected[:, 0]) > 0.01


def test_what_the_page_says_of_files_is_what_is_written(cancer):
    _, place = cancer
    listed = re.findall(r"^\| `([a-z_.]+)/?` \|", PAGE, re.MULTILINE)
    assert sorted(path.name for path in (place / "exported").iterdir()) == sorted(
        name for name in listed if name not in ("label", "probabilities", "prediction")
    )


def test_a_study_of_a_stream_takes_features_as_they_are(tmp_path):
    study = searched(StreamOfBatches(), tmp_path / "runs")
    written = study.export(tmp_path / "exported")
    rng = np.random.default_rng(1)
    parts = {"near": rng.normal(size=(9, 2)).astype("float32"), "far": rng.normal(size=(9, 1)).astype("float32")}
    expected = study.predict_proba(parts).to_numpy()
    joined = np.concatenate([parts["far"], parts["near"]], axis=1)
    served = tf.saved_model.load(str(written["saved_model"])).signatures["serving_default"](
        features=tf.constant(joined)
    )
    np.testing.assert_allclose(served["probabilities"].numpy(), expected, atol=1e-5)
    assert served["label"].numpy().tolist() == study.predict(parts).tolist()
    np.testing.assert_allclose(study.best_model()(joined)["probabilities"].numpy(), expected, atol=1e-5)
    assert "features" in written["card"].read_text(encoding="utf-8")


def test_a_study_that_is_moved_during_an_export_gets_no_model_in_its_old_place(cancer, tmp_path, monkeypatch):
    study, place = tmp_path / "study", tmp_path / "elsewhere"
    shutil.copytree(cancer[0].folder, study)
    fill = export_module._fill

    def fill_late(bundle, folder, formats):
        study.rename(place)
        return fill(bundle, folder, formats)

    monkeypatch.setattr(export_module, "_fill", fill_late)
    with pytest.raises(VanishedStudyError, match="is no longer in"):
        model_search.load_study(tmp_path, "study").export(study / "final")
    assert not study.exists()
    assert not (place / "final").exists()
