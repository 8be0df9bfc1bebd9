"""Small data and plans for the tests of training."""

import numpy as np

from model_search.data.prepared_data import StreamData, TableData
from model_search.data.rows import Rows
from model_search.data.task import Task, TaskKind
from model_search.metadata.trial import TrialKind, TrialPlan
from model_search.training.outcome import TrainingSettings

DENSE = "FIXED_OUTPUT_FULLY_CONNECTED_64"
WITH_STATE = "FULLY_CONNECTED_RESIDUAL_PROJECT_BATCHNORM"


def classes_task(classes=2):
    return Task(TaskKind.CLASSIFICATION, "label", classes, tuple(range(classes)))


def numbers_task(targets=1, mean=10.0, scale=4.0):
    return Task(TaskKind.REGRESSION, "label", targets, target_mean=mean, target_scale=scale)


def class_rows(rows, classes=2, width=4, seed=0, weighted=False):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, width)).astype(np.float32)
    labels = np.minimum(np.abs(features[:, :2].sum(axis=1)), classes - 1)
    weights = rng.uniform(0.1, 2.0, rows).astype(np.float32) if weighted else None
    return Rows.of(features, labels.astype(np.int32), weights)


def number_rows(rows, targets=1, width=4, seed=0, weighted=False):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, width)).astype(np.float32)
    labels = np.stack([features[:, i] * features[:, i + 1] for i in range(targets)], axis=1).astype(np.float32)
    weights = rng.uniform(0.1, 2.0, rows).astype(np.float32) if weighted else None
    return Rows.of(features, labels, weights)


def class_table(rows=200, classes=2, weighted=False, **own):
    return TableData(
        classes_task(classes),
        class_rows(rows, classes, seed=1, weighted=weighted),
        class_rows(rows // 2, classes, seed=2, weighted=weighted),
        "fingerprint",
        {},
        **own,
    )


def number_table(rows=200, targets=1, weighted=False, **own):
    return TableData(
        numbers_task(targets),
        number_rows(rows, targets, seed=1, weighted=weighted),
        number_rows(rows // 2, targets, seed=2, weighted=weighted),
        "fingerprint",
        {},
        **own,
    )


def class_stream(batch_rows=7, weighted=False, **own):
    train = class_rows(200, seed=1, weighted=weighted)

    def batches(seed):
        rng = np.random.default_rng(seed)
        while True:
            chosen = rng.integers(len(train), size=batch_rows)
            yield Rows.of(
                train.inputs["features"][chosen],
                train.label[chosen],
                None if train.weight is None else train.weight[chosen],
            )

    return StreamData(classes_task(), batches, class_rows(90, seed=2, weighted=weighted), "fingerprint", {}, **own)


def settings(metric="loss", goal="minimize", **others):
    return TrainingSettings("DNN", metric, goal, **others)


def arrays(outcome):
    """The weights that were handed back, in the model's order."""
    return list(outcome.weights.values())


def plan(*architecture, steps=20, batch_size=8, seed=5, **hyperparameters):
    return TrialPlan(
        trial_id=1,
        kind=TrialKind.SEARCH,
        architecture=architecture or (DENSE,),
        hyperparameters={"learning_rate": 0.01, "optimizer": "adam", **hyperparameters},
        steps=steps,
        batch_size=batch_size,
        seed=seed,
        key="key",
    )
