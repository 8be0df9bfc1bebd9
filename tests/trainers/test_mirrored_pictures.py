"""A longer training mirrors pictures where their classes stay the same, and such a tower answers for both sides."""

import keras
import numpy as np
import pytest
from PIL import Image

from model_search import single_trainer
from model_search.data import image_data
from model_search.data.files.disk_cache import DiskCache
from model_search.spec.load import load_text

SPEC = """
problem_type: CNN
blocks_to_use: "BATCHNORM_CONVOLUTION_32" blocks_to_use: "FLATTEN"
learning_spec { optimizers: "adam" }
augmentations: "crop"
%s
user_suggestions {
  architecture: ["BATCHNORM_CONVOLUTION_32", "FLATTEN"]
  hparams {
    hparam { key: "augment_flip" value { float_value: 0.0 } }
    hparam { key: "augment_crop" value { float_value: 0.0625 } }
    hparam { key: "learning_rate" value { float_value: 0.003 } }
  }
}
"""
FLIPS = 'augmentations: "flip"'
SIZE, ROWS = 8, 400


def pictures(sided):
    """A bar somewhere in each picture; its class is its colour or, `sided`, the half that it is in."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 40, (ROWS, SIZE, SIZE, 3)).astype(np.uint8)
    label = rng.integers(0, 2, ROWS)
    half = label if sided else rng.integers(0, 2, ROWS)
    columns = rng.integers(0, SIZE // 2, ROWS) + half * SIZE // 2
    for picture, column, kind in zip(values, columns, label, strict=True):
        picture[:, column] += np.array((150, 90, 90 if sided or kind else 60), np.uint8)
    return values, label


def trained_longer(folder, sided=False, augmentations=FLIPS):
    values, label = pictures(sided)
    provider = image_data.Provider(x=values, y=label)
    return *search_and_train_longer(folder, provider, augmentations), provider


def search_and_train_longer(folder, provider, augmentations):
    study = single_trainer.SingleTrainer(provider, load_text(SPEC % augmentations)).try_models(
        number_models=1, train_steps=60, eval_steps=None, root_dir=folder, batch_size=64, experiment_name="e",
        experiment_owner="me", seed=1, progress=False, finish="neither",
    )  # fmt: skip
    return study, study.train_longer(1, 30, provider, progress=False)


@pytest.fixture(scope="module")
def of_colours(tmp_path_factory):
    return trained_longer(tmp_path_factory.mktemp("colours"))


def test_pictures_whose_class_stays_the_same_are_mirrored(of_colours):
    study, longer, provider = of_colours
    assert study.trial(1).plan.hyperparameters["augment_flip"] == 0
    assert longer.plan.hyperparameters["augment_flip"] == 0.5
    assert longer.plan.hyperparameters["test_time_flip"] == 1
    assert study.replay(longer.id, provider).same
    further = study.train_longer(longer.id, 10, provider, progress=False)
    assert further.plan.hyperparameters["test_time_flip"] == 1


def test_what_it_answers_is_what_was_evaluated_and_is_exported(of_colours, tmp_path):
    study, longer, _ = of_colours
    values, _ = pictures(sided=False)
    answers = study.predict_proba(values, longer.id).to_numpy()
    np.testing.assert_allclose(study.predict_proba(values[:, :, ::-1], longer.id).to_numpy(), answers, atol=1e-5)
    before = study.predict_proba(values, 1).to_numpy()
    assert np.abs(study.predict_proba(values[:, :, ::-1], 1).to_numpy() - before).max() > 1e-3
    written = study.export(tmp_path / "out", longer.id)
    card = written["card"].read_text()
    assert f"The logits of trial {longer.id} are the mean of those for a picture and for its mirror image." in card
    model = keras.saving.load_model(written["keras"], safe_mode=True)
    np.testing.assert_allclose(model.predict(values, verbose=0)["probabilities"], answers, atol=1e-5)


def test_pictures_of_another_class_when_mirrored_are_not(tmp_path):
    study, longer, _ = trained_longer(tmp_path, sided=True)
    assert study.trial(1).result.metrics["accuracy"] > 0.8  # it has learnt on which side the bars are
    assert longer.plan.hyperparameters["augment_flip"] == 0
    assert "test_time_flip" not in longer.plan.hyperparameters


def test_pictures_of_which_one_task_changes_are_not_mirrored(tmp_path):
    values, colours = pictures(sided=False)
    sides = (values[:, :, SIZE // 2 :, 0].max(axis=(1, 2)) > 100).astype(int)
    provider = image_data.Provider(x=values, y={"colour": colours, "side": sides})
    study, longer = search_and_train_longer(tmp_path, provider, FLIPS)
    assert study.trial(1).result.metrics["accuracy"] > 0.8 and study.trial(1).result.metrics["accuracy/side"] > 0.8
    assert longer.plan.hyperparameters["augment_flip"] == 0


def test_pictures_on_disk_are_asked_about_too(tmp_path):
    for place, (picture, kind) in enumerate(zip(*pictures(sided=False), strict=True)):
        folder = tmp_path / "pictures" / f"kind {kind}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{place}.png")
    provider = image_data.Provider(tmp_path / "pictures", cache=DiskCache(0, tmp_path / "cache"))
    study, longer = search_and_train_longer(tmp_path / "runs", provider, FLIPS)
    assert study.trial(1).plan.hyperparameters["augment_flip"] == 0
    assert longer.plan.hyperparameters["test_time_flip"] == 1


def test_nothing_is_mirrored_that_the_specification_does_not_name(tmp_path):
    _, longer, _ = trained_longer(tmp_path, augmentations="")
    assert longer.plan.hyperparameters["augment_flip"] == 0
    assert "test_time_flip" not in longer.plan.hyperparameters
