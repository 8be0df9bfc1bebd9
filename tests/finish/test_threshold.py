"""The threshold between two classes."""

import types

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from model_search import main
from model_search.data.labelled_rows import LabelledRows
from model_search.data.task import Task, TaskKind
from model_search.errors import UserError
from model_search.finish.decisions.threshold import best_threshold, check_threshold, classes_above, frames_above
from model_search.finish.large_files import answers_of, escape_formulas

TASK = Task(TaskKind.CLASSIFICATION, "y", 2, ("no", "yes"))
DATA = {"task": TASK.to_json()}


def rare(count, seed):
    """Calibrated logits of a class that a tenth of the rows have."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(-3, 1.5, count)
    labels = (rng.random(count) < 1 / (1 + np.exp(-scores))).astype(np.int32)
    return labels, np.stack([np.zeros(count), scores], axis=1)


def test_a_rare_class_is_predicted_at_lower_probabilities():
    labels, logits = rare(2000, 0)
    threshold = best_threshold(LabelledRows(TASK, labels), logits, "f1", seed=0)
    assert 0.1 < threshold < 0.45
    fresh, other = rare(5000, 1)
    second = 1 / (1 + np.exp(-other[:, 1]))
    assert f1_score(fresh, second >= threshold) > f1_score(fresh, second >= 0.5) + 0.03
    assert best_threshold(LabelledRows(TASK, labels), logits, "accuracy", seed=0) == pytest.approx(0.5, abs=0.15)
    weights = np.where(labels == 1, 100.0, 1.0).astype(np.float32)
    assert best_threshold(LabelledRows(TASK, labels, weights), logits, "accuracy", seed=0) < threshold


def test_classes_are_the_users_own():
    shares = pd.DataFrame({"no": [0.8, 0.7, 0.1], "yes": [0.2, 0.3, 0.9]})
    assert classes_above(shares, TASK, 0.3).tolist() == ["no", "yes", "yes"]
    written = pd.DataFrame({"prediction": ["no"] * 3}).join(shares.add_prefix("probability_"))
    (frame,) = frames_above(iter([written]), TASK, 0.25)
    assert frame["prediction"].tolist() == ["no", "yes", "yes"]
    assert list(frame) == list(written)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ((1, "1"), ["1", "'1'", "'1'"]),
        ((True, "True"), ["True", "'True'", "'True'"]),
        ((1, 2), [1, 2, 2]),
        (("1", "2"), ["1", "2", "2"]),
        ((False, True), [False, True, True]),
    ],
)
def test_classes_that_print_alike_are_written_apart_with_a_threshold_as_without(classes, expected):
    task = Task(TaskKind.CLASSIFICATION, "y", 2, classes)
    written = answers_of(np.log([[0.8, 0.2], [0.7, 0.3], [0.4, 0.6]]), {"y": task}, [1.0])
    (frame,) = frames_above(iter([written]), task, 0.25)
    assert frame["prediction"].tolist() == expected
    assert [type(one) for one in frame["prediction"].tolist()] == [type(one) for one in expected]
    assert set(written["prediction"]) == set(expected)


def test_the_command_escapes_the_classes_that_a_threshold_predicts(monkeypatch, tmp_path):
    task = Task(TaskKind.CLASSIFICATION, "y", 2, ("=1", "=2"))

    def frames(source, trial, escaped=False):
        found = answers_of(np.log([[0.8, 0.2], [0.7, 0.3]]), {"y": task}, [1.0])
        yield escape_formulas(found) if escaped else found

    record = types.SimpleNamespace(data={"task": task.to_json()})
    study = types.SimpleNamespace(folder=tmp_path / "s", task=task, record=record, prediction_frames=frames)
    monkeypatch.setattr(main, "_study", lambda: study)
    try:
        main.FLAGS(["model_search", "--threshold=0.25", "--escape_formulas", f"--output={tmp_path / 'out.csv'}"])
        main._predict(["new.csv"])
    finally:
        for name in ("threshold", "escape_formulas", "output"):
            main.FLAGS[name].unparse()
    assert pd.read_csv(tmp_path / "out.csv")["prediction"].tolist() == ["'=1", "'=2"]


@pytest.mark.parametrize("value", [0, 1, 1.5, "high", True])
def test_what_is_no_probability_is_refused(value):
    with pytest.raises(UserError, match="expected a probability between 0 and 1, or 'best'"):
        check_threshold(value, DATA)
    check_threshold(0.3, DATA)


def test_other_than_two_classes_are_refused():
    with pytest.raises(UserError, match="'y' has no two classes"):
        check_threshold("best", {"task": Task(TaskKind.CLASSIFICATION, "y", 3).to_json()})


def test_a_threshold_is_for_one_task_with_one_label_a_row():
    other = Task(TaskKind.CLASSIFICATION, "z", 2, ("no", "yes")).to_json()
    for more, said in (({"label_per_step": True}, "a label for each step"), ({"other_tasks": [other]}, "2 tasks")):
        with pytest.raises(UserError, match=f"the study has {said}; a threshold is for one task of two classes with"):
            check_threshold(0.3, DATA | more)
