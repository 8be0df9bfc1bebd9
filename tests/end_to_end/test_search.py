"""Searches on real data, end to end."""

import math
import threading

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

import model_search
from model_search.data import csv_data
from model_search.errors import StudyError, UserError
from model_search.metadata.trial import TrialState

DATA_COLUMNS = ["rank", "trial", "kind", "loss", "blocks", "parameters", "seconds", "parent"]


def test_the_leaderboard_has_a_row_per_completed_trial_best_first(cancer_study):
    board = cancer_study.leaderboard()
    assert list(board.columns) == DATA_COLUMNS
    assert list(board["rank"]) == [1, 2, 3, 4]
    assert sorted(board["trial"]) == [1, 2, 3, 4]
    assert board["loss"].is_monotonic_increasing
    assert board["trial"].iloc[0] == cancer_study.best_trial.id
    assert (board["parameters"] > 0).all()


def test_the_best_model_beats_the_most_frequent_class_on_its_own_file(cancer_study, cancer_csv):
    labels = pd.read_csv(cancer_csv)["diagnosis"]
    predicted = cancer_study.predict(str(cancer_csv))
    assert set(predicted) <= set(labels)
    assert (predicted == labels.to_numpy()).mean() > 0.9 > labels.value_counts(normalize=True).max()


def test_predictions_agree_with_probabilities_and_between_sources(cancer_study, cancer_csv):
    frame = pd.read_csv(cancer_csv).head(20)
    from_frame = cancer_study.predict_proba(frame)
    np.testing.assert_allclose(from_frame.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(from_frame, cancer_study.predict_proba(frame.to_dict(orient="list")), atol=1e-6)
    assert list(from_frame.idxmax(axis=1)) == list(cancer_study.predict(frame))


def test_evaluate_gives_the_usual_metrics(cancer_study, cancer_csv):
    figures = cancer_study.evaluate(str(cancer_csv))
    assert {"accuracy", "log_loss", "auc", "f1"} <= set(figures)
    assert all(math.isfinite(value) for value in figures.values())


def test_every_trial_keeps_its_plan_metrics_timings_and_environment(cancer_study):
    for trial in cancer_study.trials:
        assert trial.state is TrialState.COMPLETED
        assert trial.plan is not None
        assert trial.result is not None
        assert trial.result.curve
        assert trial.result.timings["trial"] > 0
        assert trial.result.environment["seed"] == 1
        assert {"tensorflow", "keras", "python"} <= set(trial.result.environment)


def test_another_process_reads_the_same_study(cancer_study):
    again = model_search.load_study(cancer_study.folder.parent, "study")
    pd.testing.assert_frame_equal(again.leaderboard(), cancer_study.leaderboard())


def test_a_study_that_is_not_there_names_those_that_are(cancer_study):
    with pytest.raises(StudyError, match=r"no study 'nope'.*study"):
        model_search.load_study(cancer_study.folder.parent, "nope")


def test_a_second_call_continues_and_remembers(tmp_path, search, cancer_csv):
    provider = csv_data.Provider(filename=str(cancer_csv), label="diagnosis")
    first = search(tmp_path, provider, number_models=2)
    before = [(t.id, t.plan, t.result.metrics) for t in first.trials]
    both = search(tmp_path, provider, number_models=4, seed=None)
    assert [(t.id, t.plan, t.result.metrics) for t in both.trials][:2] == before
    undisturbed = search(tmp_path, provider, number_models=4, experiment_name="other")
    assert [t.plan for t in both.trials] == [t.plan for t in undisturbed.trials]
    for one, other in zip(both.trials, undisturbed.trials, strict=True):
        assert one.result.metrics == other.result.metrics


def test_other_data_another_metric_or_another_seed_are_refused_until_overwritten(tmp_path, search, cancer_csv):
    provider = csv_data.Provider(filename=str(cancer_csv), label="diagnosis")
    search(tmp_path, provider, number_models=1)
    changed = pd.read_csv(cancer_csv).iloc[:-7]
    changed.to_csv(tmp_path / "changed.csv", index=False)
    other = csv_data.Provider(filename=str(tmp_path / "changed.csv"), label="diagnosis")
    with pytest.raises(StudyError, match=r"training data differ.*overwrite=True"):
        search(tmp_path, other, number_models=2)
    with pytest.raises(StudyError, match=r"its metric is loss .*not accuracy"):
        search(tmp_path, provider, number_models=2, metric="accuracy")
    with pytest.raises(StudyError, match="has seed 1, not 2"):
        search(tmp_path, provider, number_models=2, seed=2)
    assert len(search(tmp_path, other, number_models=1, overwrite=True).trials) == 1


def test_overwrite_refuses_a_folder_that_is_no_study(tmp_path, search, cancer_csv):
    provider = csv_data.Provider(filename=str(cancer_csv), label="diagnosis")
    precious = tmp_path / "study"
    precious.mkdir()
    (precious / "thesis.txt").write_text("three years of work")
    with pytest.raises(StudyError, match="not a study"):
        search(tmp_path, provider, overwrite=True)
    assert (precious / "thesis.txt").exists()


def test_fit_takes_the_weights_of_rows(tmp_path):
    x = np.random.default_rng(0).normal(size=(200, 2))
    y = np.where(x[:, 0] > 0, "right", "left")
    wrong = np.arange(200) % 2 == 0  # labels turned round, which weigh nothing
    y[wrong] = np.where(x[wrong, 0] > 0, "left", "right")
    study = model_search.fit(
        x, y, number_models=1, train_steps=150, weights=np.where(wrong, 0.0, 1.0), root_dir=tmp_path,
        experiment_name="weights", seed=1, progress=False, finish="neither",
    )  # fmt: skip
    assert (study.predict(x) == np.where(x[:, 0] > 0, "right", "left")).mean() > 0.9


def test_fit_takes_a_file_or_a_frame_and_the_names_of_columns(tmp_path):
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"a": rng.normal(size=90), "b": rng.normal(size=90), "w": rng.uniform(0.5, 2, 90)})
    frame["y"] = np.where(frame["a"] > 0, "yes", "no")
    frame.to_csv(tmp_path / "train.csv", index=False)
    own = frame[["a", "b"]]
    options = {
        "number_models": 1,
        "train_steps": 20,
        "batch_size": 16,
        "seed": 1,
        "progress": False,
        "finish": "neither",
    }
    options |= {"root_dir": tmp_path / "runs"}
    rows = model_search.fit(own, frame["y"], weights=frame["w"], validation=(own[:30], frame["y"][:30]), **options)
    named = model_search.fit(frame, "y", weights="w", validation=frame[:30].drop(columns="w").assign(w=1.0), **options)
    file = model_search.fit(tmp_path / "train.csv", "y", weights="w", **options)
    assert named.trials[0].result.metrics == rows.trials[0].result.metrics
    assert file.predict(tmp_path / "train.csv").tolist() == file.predict(frame).tolist()
    for x, y, message in [
        (frame, "z", "x has no column 'z'; expected the name of one of its columns \\(a, b, w, y\\)"),
        (tmp_path / "train.csv", frame["y"], "y a Series; expected the name of a column"),
        (tmp_path / "train.csv", "z", "no label column 'z'"),
        (str(tmp_path / "none.csv"), "y", "none.csv"),
        (frame, None, "y is missing; expected the labels, one for each row, or the name of the column"),
        (frame.to_numpy(), None, "y is missing; expected the labels, one for each row$"),
        (load_iris(), None, "y is missing; of a scikit-learn dataset give both"),
    ]:
        with pytest.raises(UserError, match=message):
            model_search.fit(x, y, **options)
    apart = model_search.fit(
        frame.drop(columns="w"), "y", weights=frame["w"], validation=(own[:30], frame["y"][:30]), **options
    )
    assert apart.trials[0].result.metrics == rows.trials[0].result.metrics


def test_numbers_are_predicted_in_the_users_units(tmp_path, search):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    y = 5000 + 300 * x[:, 0] + rng.normal(size=400)
    study = model_search.fit(
        x,
        y,
        number_models=2,
        train_steps=150,
        root_dir=tmp_path,
        experiment_name="numbers",
        seed=3,
        progress=False,
        finish="neither",
    )
    predicted = study.predict(x)
    assert 4500 < predicted.mean() < 5500
    assert study.evaluate((x, y))["r2"] > 0.5
    with pytest.raises(UserError, match="no probabilities"):
        study.predict_proba(x)


def test_a_custom_metric_decides(tmp_path, search, cancer_csv):
    def malignant_found(labels, predictions):
        return float(((predictions.argmax(1) == 1) & (labels == 1)).sum())

    study = search(
        tmp_path,
        csv_data.Provider(filename=str(cancer_csv), label="diagnosis"),
        2,
        metric=malignant_found,
        goal="maximize",
    )
    assert study.metric == "malignant_found"
    assert study.leaderboard()["malignant_found"].is_monotonic_decreasing


def test_a_time_limit_leaves_a_model(tmp_path, search, cancer_csv):
    provider = csv_data.Provider(filename=str(cancer_csv), label="diagnosis")
    study = search(tmp_path, provider, 1000, train_steps=1000, time_limit=3.0)
    assert 1 <= len(study.leaderboard()) < 1000
    assert study.best_trial.result is not None


def test_a_study_can_be_used_in_any_thread_and_after_closing(cancer_study):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(len(cancer_study.leaderboard())))
    thread.start()
    thread.join()
    cancer_study.close()
    assert seen == [len(cancer_study.leaderboard())]
