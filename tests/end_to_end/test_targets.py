"""Ordered classes, quantiles and logarithms, from a frame or a file to exported models: docs/data.md's examples run."""

import pathlib
import re

import commands
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import model_search
from model_search import main
from model_search.errors import StudyError

DATA_PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "data.md").read_text()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the examples of the page leave behind, by name."""
    folder = tmp_path_factory.mktemp("targets")
    examples = [block for block in re.findall(r"```python\n(.*?)```", DATA_PAGE, re.DOTALL) if ".fit(" in block]
    assert len(examples) == 3
    found: dict = {"folder": folder}
    quickly = f"seed=1, finish='ensemble', folds=None, progress=False, root_dir={str(folder)!r}"
    for name, block in zip(("ordinal", "quantiles", "logarithms"), examples, strict=True):
        exec(block.replace("seed=1", quickly), found)
        found[name] = found["study"]
    return found


def served(study, frame, folder):
    """What the exported files answer, by what they are."""
    inputs = {name: tf.constant(frame[name].to_numpy(), tf.float32) for name in frame}
    paths = study.export(folder)
    yield keras.models.load_model(paths["keras"], safe_mode=True)(inputs)
    raw = {name: tf.constant(frame[name].map(repr).to_numpy(str)) for name in frame}
    yield tf.saved_model.load(str(paths["saved_model"])).signatures["serving_default"](**raw)


def test_ordered_classes_are_predicted_and_served(made):
    study, frame = made["ordinal"], made["frame"]
    assert study.task.classes == ("low", "middle", "high")
    metrics = study.evaluate((frame, made["grade"]))
    assert metrics["quadratic_kappa"] > 0.6
    assert metrics["rank_error"] < 0.4
    assert study.predict_proba(frame).columns.tolist() == ["low", "middle", "high"]
    for answers in served(study, frame, made["folder"] / "ordinal"):
        labels = [text.decode() for text in np.asarray(answers["label"])]
        assert labels == study.predict(frame).tolist()
    assert "from the least to the most" in next((made["folder"] / "ordinal").glob("*.md")).read_text()


def test_quantiles_rise_and_are_served(made):
    study, frame = made["quantiles"], made["frame"]
    predicted = study.predict(frame)
    assert predicted.shape == (240, 3)
    assert (np.diff(predicted, axis=1) >= 0).all()
    inside = (predicted[:, 0] <= made["price"]) & (made["price"] <= predicted[:, 2])
    assert 0.5 < inside.mean() < 0.98
    for answers in served(study, frame, made["folder"] / "quantiles"):
        np.testing.assert_allclose(answers["prediction"], predicted, rtol=1e-4, atol=1e-4)
    study.write_predictions(frame, made["folder"] / "quantiles.csv")
    written = pd.read_csv(made["folder"] / "quantiles.csv")
    assert written.columns.tolist() == ["quantile_0.1", "quantile_0.5", "quantile_0.9"]
    np.testing.assert_allclose(written, predicted, rtol=1e-6)
    assert "the quantiles 0.1, 0.5, 0.9" in next((made["folder"] / "quantiles").glob("*.md")).read_text()
    assert "the quantiles 0.1, 0.5, 0.9" in pathlib.Path(study.report()).read_text()


def test_logarithms_are_learnt_and_numbers_are_served(made):
    study, frame, income = made["logarithms"], made["frame"], made["income"].to_numpy()
    predicted = study.predict(frame)
    assert predicted.dtype == np.float64
    assert np.abs(np.log(predicted / income)).mean() < 0.6
    metrics = study.evaluate((frame, income))
    assert metrics["mae"] == pytest.approx(np.abs(predicted - income).mean(), rel=1e-5)
    assert metrics["rmse"] == pytest.approx(np.sqrt(np.square(predicted - income).mean()), rel=1e-5)
    logarithms = np.square(np.log(predicted / income)).mean() / study.task.target_scale**2
    assert metrics["loss"] == pytest.approx(logarithms, rel=1e-4)
    for answers in served(study, frame, made["folder"] / "logarithms"):
        np.testing.assert_allclose(answers["prediction"], predicted, rtol=1e-4)
    study.write_predictions(frame, made["folder"] / "logarithms.csv")
    np.testing.assert_allclose(pd.read_csv(made["folder"] / "logarithms.csv")["prediction"], predicted, rtol=1e-6)
    assert "the exponential of its expected logarithm" in next((made["folder"] / "logarithms").glob("*.md")).read_text()
    assert "a number, by its logarithm" in pathlib.Path(study.report()).read_text()
    for other in (None, False):
        with pytest.raises(
            StudyError, match=r"as a number, by its logarithm, not as a number \(give the same log_target\)"
        ):
            model_search.fit(
                frame, made["income"], log_target=other, root_dir=made["folder"], experiment_name=study.name,
                number_models=3, progress=False,
            )  # fmt: skip


def test_the_command_takes_them(made, tmp_path, capsys):
    frame = made["frame"].assign(grade=made["grade"])
    frame.to_csv(tmp_path / "grades.csv", index=False)
    words = ["", f"--filename={tmp_path / 'grades.csv'}", "--label=grade", f"--model_dir={tmp_path}"]
    words += ["--task=ordinal", "--classes=low,middle,high", "--phoenix_train_steps=20", "--folds=none"]
    assert main.main([*words, "--experiment_max_num_trials=1", "--finish=neither"]) == 0
    assert "one of 3 ordered classes (low, middle, high)" in capsys.readouterr().err
    assert main.main([*words, "--experiment_name=again", "--quantiles=0.5"]) == 2
    assert "quantiles are given, and task is 'ordinal'" in capsys.readouterr().err


def test_the_command_learns_logarithms(made, tmp_path):
    file, written = tmp_path / "incomes.csv", tmp_path / "out.csv"
    made["frame"].assign(income=made["income"]).to_csv(file, index=False)
    common = [f"--model_dir={tmp_path}", "--experiment_name=incomes"]
    words = [f"--filename={file}", "--label=income", "--phoenix_train_steps=20", "--folds=none", "--finish=neither"]
    done = commands.call(*words, *common, "--experiment_max_num_trials=1", "--log_target")
    assert done.status == 0
    assert "'income' is predicted as a number, by its logarithm" in done.err
    done = commands.call(*words, *common, "--experiment_max_num_trials=2")
    assert "give the same log_target" in commands.check_one_sentence(done)
    assert commands.call("predict", file, f"--output={written}", *common).status == 0
    assert (pd.read_csv(written)["prediction"] > 0).all()
    done = commands.call("evaluate", file, "--log_target", *common)
    assert "log_target" in commands.check_one_sentence(done)
