"""Searches over the stock specifications of images and sequences, from training to the exported model."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import model_search
from model_search import constants, single_trainer

TRAIN, ROWS, STEPS = 240, 320, 8


class Provider(model_search.data.Provider):
    """Features and labels in memory as an `input_fn` yields them, the first rows for training."""

    def __init__(self, features, labels, classes):
        self.features, self.labels, self.classes = features, labels, classes

    def get_input_fn(self, hparams, mode, batch_size):
        rows = slice(0, TRAIN) if mode == "train" else slice(TRAIN, None)

        def batches():
            for first in range(rows.start, rows.stop or ROWS, batch_size):
                cut = slice(first, min(first + batch_size, rows.stop or ROWS))
                yield {name: values[cut] for name, values in self.features.items()}, self.labels[cut]

        return lambda: list(batches())

    def number_of_classes(self):
        return self.classes


def pictures():
    digits = load_digits()
    return (digits.images[:ROWS] / 16).astype(np.float32), digits.target[:ROWS]


def sequences():
    """Each picture as a sequence of lines from the top; what comes after the last valid one is noise."""
    images, labels = pictures()
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, STEPS + 1, ROWS)
    valid = np.arange(STEPS) < lengths[:, None]
    lines = np.where(valid[..., None], images, rng.normal(size=images.shape) * 100).astype(np.float32)
    return {"lines": lines, "lengths": lengths}, labels, valid, images


def search(tmp_path, provider, spec, number_models, train_steps=30):
    study = single_trainer.SingleTrainer(provider, spec).try_models(
        number_models=number_models,
        train_steps=train_steps,
        eval_steps=None,
        root_dir=tmp_path,
        batch_size=32,
        experiment_name="modalities",
        experiment_owner="tests",
        seed=1,
        progress=False,
        finish="neither",
    )
    assert [trial.state.value for trial in study.trials] == ["completed"] * number_models
    return study


def exported(study, tmp_path):
    """The exported model, loaded with Keras in safe mode."""
    return keras.models.load_model(study.export(tmp_path / "exported")["keras"], safe_mode=True)


@pytest.mark.parametrize(("spec", "number"), [(constants.DEFAULT_CNN, 3), (constants.DEFAULT_IMAGE, 1)])
def test_images(tmp_path, spec, number):
    images, labels = pictures()
    features = {"image": images[..., None]}
    study = search(tmp_path, Provider(features, labels, 10), spec, number, train_steps=60)
    proba = study.predict_proba(features).to_numpy()
    assert proba.shape == (ROWS, 10)
    if spec == constants.DEFAULT_IMAGE:  # the first starting point learns; those of the archived one are slow
        assert (study.predict(features) == labels)[TRAIN:].mean() > 0.6
    np.testing.assert_allclose(
        np.asarray(exported(study, tmp_path)(features["image"])["probabilities"]), proba, atol=1e-4
    )


@pytest.mark.parametrize(("spec", "number"), [(constants.DEFAULT_RNN_LAST, 3), (constants.DEFAULT_SEQUENCE, 1)])
def test_sequences_with_one_answer(tmp_path, spec, number):
    features, labels, valid, _ = sequences()
    study = search(tmp_path, Provider(features, labels, 10), spec, number)
    proba = study.predict_proba(features).to_numpy()
    other = {**features, "lines": np.where(valid[..., None], features["lines"], -7).astype(np.float32)}
    np.testing.assert_allclose(study.predict_proba(other).to_numpy(), proba, atol=1e-4)
    given = {"lines": features["lines"], "lengths": features["lengths"].astype(np.int32)}
    np.testing.assert_allclose(np.asarray(exported(study, tmp_path)(given)["probabilities"]), proba, atol=1e-4)


def test_sequences_with_an_answer_for_each_step(tmp_path):
    features, _, valid, images = sequences()
    labels = (images[..., 3:5].mean(axis=2) > 0.5).astype(int)  # whether the middle of the line is dark
    spoilt = np.where(valid, labels, 1 - labels)
    study = search(tmp_path, Provider(features, spoilt, 2), constants.DEFAULT_RNN_ALL, 2, train_steps=120)
    right = (study.predict(features) == labels)[valid]
    assert right.mean() > 0.8
    found = np.asarray(
        exported(study, tmp_path)({**features, "lengths": features["lengths"].astype(np.int32)})["label"]
    )
    assert (found == np.asarray(study.predict(features)))[valid].all()
