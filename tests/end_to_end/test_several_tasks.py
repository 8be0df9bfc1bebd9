"""One tower for several tasks: searches, ensembles, students, predictions, exports, reports and replays."""

import csv
import dataclasses
import pathlib
import re

import numpy as np
import pandas as pd
import pytest

from model_search.data import array_data, csv_data
from model_search.data.prepare_options import PrepareOptions
from model_search.errors import DataError, StudyError, UserError
from model_search.metadata.trial import DistillationPlan, TrialKind, TrialPlan
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.single_trainer import SingleTrainer
from model_search.training.engine import Engine
from model_search.training.outcome import FrozenTowers, Given, TrainingSettings

COLUMNS = list("abcd")
DOCS = pathlib.Path(__file__).parents[2] / "docs"


def rows(count=240, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 4)).astype("float32")
    side = np.where(x[:, 0] > 0, "left", "right").astype(object)
    level = np.digitize(x[:, 3], [-0.5, 0.5]).astype(object)
    level[: count // 10] = None
    return pd.DataFrame(x, columns=COLUMNS), {"total": x[:, 1] * 100 + 500, "side": side, "level": level}


def specification(blocks=True, **others):
    blocks_to_use = ["FIXED_OUTPUT_FULLY_CONNECTED_512", "FIXED_OUTPUT_FULLY_CONNECTED_64"]
    spec = PhoenixSpec(blocks_to_use=blocks_to_use, minimum_depth=1, maximum_depth=2, **others)
    for name in blocks_to_use:
        spec.user_suggestions.add(architecture=[name])
    spec.learning_spec.optimizers.append("adam")
    spec.learning_spec.learning_rate_range.add(minimum=0.003, maximum=0.01)
    if blocks:
        spec.primary_task_name = "side"
        for name, own in (("level", ["FULLY_CONNECTED"]), ("side", []), ("total", ["FULLY_CONNECTED"])):
            spec.multi_task_spec.add(label_name=name, architecture=own)
    return spec


def searched(root, spec, provider, **others):
    arguments = {"number_models": 3, "train_steps": 300, "eval_steps": 10, "batch_size": 16, "seed": 1} | others
    return SingleTrainer(provider, spec).try_models(
        root_dir=root, experiment_name="tasks", experiment_owner="tests", progress=False, **arguments
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    x, y = rows()
    spec = specification(merge_losses_of_multitask=True)
    spec.ensemble_spec.ensemble_search_type = 2  # ensembles are drawn
    spec.ensemble_spec.nonadaptive_search.minimal_pool_size = 2
    spec.ensemble_spec.nonadaptive_search.width = 2
    return searched(tmp_path_factory.mktemp("runs"), spec, array_data.Provider(x, y), finish="ensemble")


def test_models_are_compared_by_the_primary_task_and_learn_all(study):
    assert list(study.tasks) == ["side", "total", "level"]
    metrics = study.best_trial.result.metrics
    assert {"accuracy", "accuracy/level", "r2/total"} <= metrics.keys()
    assert "accuracy/total" not in metrics
    losses = [trial.result.metrics["loss"] for trial in study.history.best(3)]
    assert losses == sorted(losses)


@pytest.mark.parametrize("model", ["single", "ensemble", 1, 3])
def test_every_task_is_answered(study, model):
    x, y = rows(300, seed=1)
    found = study.predict(x, model)
    assert list(found) == ["side", "total", "level"]
    known = y["level"] != None  # noqa: E711 - of each cell
    assert (found["side"] == y["side"]).mean() > 0.85
    assert (found["level"][known] == y["level"][known]).mean() > 0.6
    assert np.corrcoef(found["total"], y["total"])[0, 1] > 0.8
    metrics = study.evaluate((x, y), model)
    assert metrics["accuracy"] == pytest.approx((found["side"] == y["side"]).mean())
    assert metrics["accuracy/level"] == pytest.approx((found["level"][known] == y["level"][known]).mean())
    assert metrics["mae/total"] == pytest.approx(np.abs(found["total"] - y["total"]).mean(), rel=1e-5)


def test_probabilities_and_written_predictions(study, tmp_path):
    x, _ = rows(20, seed=1)
    shares, found = study.predict_proba(x), study.predict(x)
    assert {name: list(frame.columns) for name, frame in shares.items()} == {
        "side": ["left", "right"],
        "level": [0, 1, 2],
    }
    study.write_predictions(x, tmp_path / "found.csv")
    with (tmp_path / "found.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [row["prediction"] for row in written] == found["side"].tolist()
    assert [int(row["prediction/level"]) for row in written] == found["level"].tolist()
    assert np.allclose([float(row["prediction/total"]) for row in written], found["total"])
    assert np.allclose([float(row["probability_1/level"]) for row in written], shares["level"][1])


def test_an_exported_model_answers_every_task(study, tmp_path):
    import keras
    import tensorflow as tf

    x, _ = rows(20, seed=1)
    found, shares = study.predict(x, "ensemble"), study.predict_proba(x, "ensemble")
    written = study.export(tmp_path / "exported", "ensemble")
    typed = keras.models.load_model(written["keras"])({name: x[name].to_numpy() for name in COLUMNS})
    served = tf.saved_model.load(str(written["saved_model"])).signatures["serving_default"]
    raw = served(**{name: tf.constant([str(value) for value in x[name]]) for name in COLUMNS})
    for answers in (typed, raw):
        for key in ("label", "label/side"):
            assert [text.decode() for text in np.asarray(answers[key])] == found["side"].tolist()
        assert np.asarray(answers["label/level"]).tolist() == found["level"].tolist()
        np.testing.assert_allclose(answers["prediction/total"], found["total"], rtol=1e-4)
        np.testing.assert_allclose(answers["probabilities/level"], shares["level"], atol=1e-4)
    assert "Besides, of total" in written["card"].read_text()


def test_a_student_learns_all_tasks():
    x, y = rows()
    data = array_data.Provider(x, y).prepare(PrepareOptions(seed=1, batch_size=16, primary_task="side"))
    engine = Engine(data, TrainingSettings("DNN", "loss", "minimize", keep_train_logits=True))
    plan = TrialPlan(
        trial_id=1,
        kind=TrialKind.SEARCH,
        architecture=("FIXED_OUTPUT_FULLY_CONNECTED_64",),
        hyperparameters={"learning_rate": 0.01, "optimizer": "adam"},
        steps=300,
        batch_size=16,
        seed=1,
        key="key",
    )
    teacher = engine.run(plan)
    logits = FrozenTowers(teacher.valid_logits[None], train=teacher.train_logits[None])
    how = {"kind": TrialKind.DISTILLATION, "teacher": (1,), "distillation": DistillationPlan("cross_entropy")}
    student = engine.run(dataclasses.replace(plan, trial_id=2, seed=2, **how), Given(frozen=logits))
    assert student.valid_logits.shape == teacher.valid_logits.shape == (len(data.valid), 2 + 1 + 3)
    for metric in ("accuracy", "accuracy/level", "r2/total"):
        assert student.metrics[metric] > teacher.metrics[metric] - 0.15 > 0.3


def test_report_and_replay(study):
    x, y = rows()
    page = study.report().read_text()
    assert "predicted besides" in page and "level, 3 classes" in page
    again = study.replay(1, array_data.Provider(x, y))
    assert again.metrics == pytest.approx(dict(again.stored), abs=1e-5)
    assert "accuracy/level" in again.metrics


def test_other_tasks_are_other_data(study):
    x, y = rows()
    with pytest.raises(StudyError, match="multi_task_spec is another one"):
        searched(study.folder.parent, specification(blocks=False, primary_task_name="level"), array_data.Provider(x, y))


@pytest.mark.parametrize("merged", [True, False])
def test_labels_of_a_file_with_losses_added_or_in_turn(tmp_path, merged):
    x, y = rows()
    path = tmp_path / "rows.csv"
    x.assign(**y).to_csv(path, index=False)
    provider = csv_data.Provider(filename=path, label=["side", "level", "total"], task={"total": "regression"})
    spec = specification(blocks=False, merge_losses_of_multitask=merged)
    study = searched(tmp_path, spec, provider, number_models=1, finish="neither")
    assert list(study.tasks) == ["side", "level", "total"]
    found = study.evaluate(path)
    assert found["accuracy"] > 0.85 and found["accuracy/level"] > 0.6 and found["r2/total"] > 0.5
    assert set(study.evaluate((x, {"side": y["side"]}))) == {name for name in found if "/" not in name}


def test_a_row_weight_of_zero_takes_a_task_out(tmp_path):
    x, y = rows()
    wrong = {**y, "total": np.where(np.arange(len(x)) % 2, y["total"], -1e4)}
    weights = {"total": (np.arange(len(x)) % 2).astype(float)}
    provider = array_data.Provider(x, {n: wrong[n] for n in ("side", "total")}, weights=weights)
    study = searched(tmp_path, specification(blocks=False), provider, number_models=1, finish="neither")
    assert np.corrcoef(study.predict(x)["total"], y["total"])[0, 1] > 0.7


@pytest.mark.parametrize(
    ("spec", "labels", "message"),
    [
        (
            specification(),
            ("side", "level"),
            "multi_task_spec names 'level', 'side', 'total', the data have the labels",
        ),
        (
            specification(False, primary_task_name="no"),
            ("side", "level"),
            "no label 'no' for the primary task; the data",
        ),
        (specification(False, primary_task_name="no"), ("side",), "no label 'no' for the primary task"),
    ],
)
def test_tasks_that_do_not_fit_the_data_are_refused(tmp_path, spec, labels, message):
    x, y = rows()
    with pytest.raises(DataError, match=message):
        searched(tmp_path, spec, array_data.Provider(x, {name: y[name] for name in labels}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": {}}, "empty dict"),
        ({"weights": {"no": [1.0]}}, "weights name 'no'"),
        ({"task": {"no": "regression"}}, "task names 'no'"),
        ({"y": {"a": np.zeros(240)}}, "the label 'a' has the name of a feature"),
        ({"y": {"side": [1, 2]}}, "240 rows of features, 2 labels"),
    ],
)
def test_what_is_no_set_of_tasks_is_refused(arguments, message):
    x, y = rows()
    with pytest.raises(DataError, match=message):
        array_data.Provider(**({"x": x, "y": y} | arguments))


@pytest.mark.parametrize("label", [[], ["side", "side"], ["side", 3]])
def test_what_is_no_list_of_label_columns_is_refused(label):
    with pytest.raises(UserError, match="expected the name of a column, or different names"):
        csv_data.Provider(filename="rows.csv", label=label)


def test_the_documented_example(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "tasks.md").read_text(), re.DOTALL)
    exec(example.replace("seed=1,", 'seed=1, finish="neither",'), {})
    assert "(5,) True" in capsys.readouterr().out
