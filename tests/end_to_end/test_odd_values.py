"""Labels that were merged before, targets beyond float32 and changed cells, through training and the command."""

import csv
import warnings

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import model_search
from model_search import constants, main, single_trainer
from model_search.data import csv_data
from model_search.errors import DataWarning

X = np.random.default_rng(5).normal(size=90)
TEXTS = ["1.1", "1.10", "2.0b"]


def searched(folder, name, rows, **arguments):
    path = folder / f"{name}.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["x", "c", "y"], *rows])
    trainer = single_trainer.SingleTrainer(
        csv_data.Provider(filename=path, label="y", **arguments), constants.DEFAULT_DNN
    )
    study = trainer.try_models(
        number_models=1,
        train_steps=400,
        eval_steps=None,
        root_dir=folder,
        batch_size=16,
        experiment_name=name,
        experiment_owner="me",
        seed=3,
        finish="neither",
        progress=False,
    )
    return study, path


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    classes = np.digitize(X, [-0.5, 0.5])
    rows = [[x, "uv"[i % 2], TEXTS[k]] for i, (x, k) in enumerate(zip(X, classes, strict=True))]
    return searched(tmp_path_factory.mktemp("labels"), "labels", rows)


def test_every_label_is_predicted_as_written_and_exported_so(labels, tmp_path):
    study, path = labels
    truth = pd.read_csv(path, dtype=str)["y"].to_numpy()
    found = study.predict(path)
    assert set(found) == set(TEXTS)
    assert (found == truth).mean() > 0.8
    assert study.evaluate(path)["accuracy"] == pytest.approx((found == truth).mean())
    study.export(tmp_path / "made")
    serve = tf.saved_model.load(str(tmp_path / "made" / "saved_model")).signatures["serving_default"]
    cells = {name: tf.constant(pd.read_csv(path, dtype=str)[name].tolist()) for name in ("x", "c")}
    served = serve(**{name: cells[name] for name in serve.structured_input_signature[1]})["label"].numpy()
    assert [label.decode() for label in served] == found.tolist()


def test_changed_cells_warn_where_the_user_called(labels):
    study, _ = labels
    rows = {"x": [np.inf, 1.0, 2.0], "c": ["u", "new", "v"]}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        study.predict(rows)
        study.evaluate((rows, ["1.1", "1.10", None]))
    found = [(str(one.message), one.filename) for one in said if one.category is DataWarning]
    assert {place for _, place in found} == {__file__}
    infinite = "column 'x': 1 row holds infinite numbers, read as missing"
    assert [text for text, _ in found].count(infinite) == 2
    assert sum("'new'" in text for text, _ in found) == 2
    assert any(text.startswith("1 rows have no label in column 'label'") for text, _ in found)


def test_the_command_notes_each_once(labels, tmp_path, capsys):
    study, _ = labels
    new = tmp_path / "new.csv"
    new.write_text("x,c\ninf,u\n1,u\nabc,v\n")
    status = main.main(
        ["model_search", "predict", str(new), f"--model_dir={study.folder.parent}", "--experiment_name=labels"]
    )
    captured = capsys.readouterr()
    assert status == 0, captured.err
    assert captured.err.count("note: column 'x'") == 1
    assert "1 row holds no number ('abc'), read as missing; 1 row holds infinite numbers ('inf'), read" in captured.err


@pytest.mark.parametrize(("size", "offset"), [(1e39, 0.0), (1e-50, 0.0), (1.0, 1e9)])
def test_numbers_of_any_size_are_learnt_and_come_back(tmp_path, size, offset):
    targets = offset + size * (2 * X + 1)
    study, path = searched(tmp_path, "numbers", [[x, "u", repr(float(y))] for x, y in zip(X, targets, strict=True)])
    found = study.predict(path)
    assert np.sqrt(np.mean(((found - targets) / targets.std()) ** 2)) < 0.5
    metrics = study.evaluate(path)
    assert metrics["r2"] > 0.7
    assert metrics["rmse"] == pytest.approx(np.sqrt(np.mean(((found - targets) / size) ** 2)) * size, rel=1e-3)
    model = study.best_model()
    answer = np.asarray(model({"x": tf.constant(X)})["prediction"])
    np.testing.assert_allclose((answer - found) / size, 0, atol=1e-3)
    assert isinstance(study, model_search.Study)
