"""The threshold of two classes for which a metric of predicted classes is best. NumPy and pandas only.

Argmax is the best decision for accuracy alone; where one class is rare, F1 wants it predicted at lower probabilities
(Lipton et al. 2014, "Optimal Thresholding of Classifiers to Maximize F1 Measure"). Departing from a plain search, the
threshold is the mean of those that are best on rows drawn anew, since single rows decide on few validation rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.labelled_rows import LabelledRows
from model_search.data.task import Task, TaskKind, tasks_of
from model_search.errors import StudyError, UserError
from model_search.finish.calibration import log_probabilities
from model_search.finish.ensemble_selection import ensemble_logits
from model_search.finish.final_ensemble import StudyParts, validation_logits
from model_search.finish.predict import class_array, written_classes
from model_search.metadata.final_models import FinalModel
from model_search.metadata.trial import Trial
from model_search.training.metrics import compute_metric, resolve_metric

if TYPE_CHECKING:
    import pandas as pd

OF_CLASSES = ("accuracy", "f1")  # metrics of predicted classes, whatever their probabilities
_DRAWS = 20
_CANDIDATES = 100


def check_threshold(value: object, description: Mapping[str, Any]) -> None:
    """Checks a threshold that a user gives.

    Args:
        value: The threshold.
        description: The study's description of its data.

    Raises:
        UserError: if it is no probability, or the study predicts other than one of two classes for each row.
    """
    task, *others = tasks_of(description).values()
    advice = "a threshold is for one task of two classes with one label a row: leave it out"
    if others:
        raise UserError(f"the study has {len(others) + 1} tasks; {advice}")
    if description.get("label_per_step", False):
        raise UserError(f"the study has a label for each step; {advice}")
    if task.kind is not TaskKind.CLASSIFICATION or task.logits_dimension != 2:
        raise UserError(f"a threshold decides between two classes; {task.label!r} has no two classes")
    if value != "best" and (isinstance(value, bool | str) or not isinstance(value, int | float) or not 0 < value < 1):
        raise UserError(f"threshold is {value!r}; expected a probability between 0 and 1, or 'best'")


def study_threshold(study: StudyParts, model: Trial | FinalModel, temperature: float, metric: str | None) -> float:
    """The threshold that is best for a model of a study, on its validation rows.

    Args:
        study: The study.
        model: One of its models.
        temperature: Of that model.
        metric: A metric of predicted classes; None for the study's.

    Raises:
        UserError: if the metric is none of predicted classes, or as `check_threshold`.
        StudyError: if the model's predictions of the validation rows are not stored.
    """
    check_threshold("best", study.record.data)
    name = resolve_metric(metric or study.record.metric, None, study.task).name
    if name not in OF_CLASSES:
        raise UserError(f"a threshold has no effect on {name}; give metric=, one of {', '.join(OF_CLASSES)}")
    rows = study.kept().rows
    return best_threshold(rows, rows.logits(_logits(study, model)) / temperature, name, study.record.seed)


def best_threshold(rows: LabelledRows, logits: np.ndarray, metric: str, seed: int) -> float:
    """The probability of the second class from which predicting it is best.

    Args:
        rows: Labels and weights.
        logits: float [rows, 2], divided by the temperature.
        metric: One of `OF_CLASSES`.
        seed: Of the rows that are drawn.
    """
    second = np.exp(log_probabilities(logits)[:, 1])
    shares = np.linspace(0, 1, _CANDIDATES + 1)[1:-1]
    candidates = np.unique(np.append(np.quantile(second, shares), 0.5))
    rng, found = np.random.default_rng(seed), []
    for _ in range(_DRAWS):
        drawn = rng.integers(len(second), size=len(second))
        weights = None if rows.weights is None else rows.weights[drawn]
        scores = [
            compute_metric(metric, rows.task, rows.labels[drawn], _decided(second[drawn], candidate), weights)
            for candidate in candidates
        ]
        best = np.flatnonzero(np.array(scores) >= np.nanmax(scores) - 1e-12)
        found.append(float(candidates[best].mean()))
    return float(np.clip(np.mean(found), 1e-6, 1 - 1e-6))


def _decided(second: np.ndarray, threshold: float) -> np.ndarray:
    """Logits whose larger one is that of the class that a threshold predicts."""
    is_second = second >= threshold
    return np.stack([~is_second, is_second], axis=1).astype(np.float32)


def _logits(study: StudyParts, model: Trial | FinalModel) -> np.ndarray:
    """A model's logits for the validation rows."""
    members = [(study.history.get(member.trial), member.weight) for member in getattr(model, "members", ())]
    if isinstance(model, Trial):
        members = [(model, 1.0)]
    found = [None if trial is None else validation_logits(study.artefacts, trial) for trial, _ in members]
    known = [logits for logits in found if logits is not None]
    if not known or len(known) < len(found):
        raise StudyError("its predictions of the validation rows are not stored; give the threshold as a number")
    return ensemble_logits(study.task, known, [weight for _, weight in members])


def classes_above(probabilities: pd.DataFrame, task: Task, threshold: float) -> np.ndarray:
    """The predicted class of each row.

    Args:
        probabilities: Of two classes, [rows, 2].
        task: What is predicted.
        threshold: The probability from which the second class is predicted.
    """
    return class_array(task)[_above(probabilities, threshold)]


def _above(probabilities: pd.DataFrame, threshold: float) -> np.ndarray:
    """The number of the predicted class of each row."""
    return (probabilities.iloc[:, 1].to_numpy() >= threshold).astype(int)


def frames_above(frames: Iterator[pd.DataFrame], task: Task, threshold: float) -> Iterator[pd.DataFrame]:
    """What is written of predictions, with the classes that a threshold predicts."""
    classes = written_classes(task)
    for frame in frames:
        shares = frame[[name for name in frame if str(name).startswith("probability_")]]
        labels = classes[_above(shares, threshold)]
        yield frame.assign(prediction=np.array(labels, dtype=object) if labels.dtype == object else labels)
