"""From a tower's logits to answers in the user's own terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model_search.data.task import Task, TaskKind

if TYPE_CHECKING:
    import keras
    import pandas as pd

BATCH = 4096


def tower_logits(tower: keras.Model, features: np.ndarray) -> np.ndarray:
    """Logits float32 [rows, logits_dimension], before temperature."""
    if not len(features):
        return np.zeros((0, tower.output_shape[-1]), np.float32)
    parts = [np.asarray(tower(features[start : start + BATCH])) for start in range(0, len(features), BATCH)]
    return np.concatenate(parts)


def predict_labels(logits: np.ndarray, task: Task) -> np.ndarray:
    """The most probable class of each row, as the user wrote it; or numbers in the user's units.

    Returns:
        [rows]; for several regression targets float64 [rows, targets].
    """
    if task.kind is TaskKind.REGRESSION:
        values = logits.astype(np.float64) * task.target_scale + task.target_mean
        return values[:, 0] if values.shape[1] == 1 else values
    index = logits.argmax(axis=1)
    return class_array(task)[index]


def predict_probabilities(logits: np.ndarray, task: Task, temperature: float = 1.0) -> pd.DataFrame:
    """Softmax of logits / temperature, one column per class."""
    import pandas as pd

    scaled = logits.astype(np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    names = list(task.classes) or list(range(task.logits_dimension))
    return pd.DataFrame(exponentials / exponentials.sum(axis=1, keepdims=True), columns=pd.Index(names, dtype=object))


def class_array(task: Task) -> np.ndarray:
    """The classes as an array whose dtype is theirs where they share one, else object."""
    classes = list(task.classes) or list(range(task.logits_dimension))
    for kind in (bool, int, float):
        if all(type(value) is kind for value in classes):
            return np.array(classes, dtype=kind)
    array = np.empty(len(classes), dtype=object)
    array[:] = classes
    return array
