"""Pictures with weights and several tasks, and pictures that are read from disk: from training to predictions."""

import keras
import numpy as np
import pytest
from PIL import Image
from test_several_inputs import ADAM

from model_search import single_trainer
from model_search.data import image_data
from model_search.data.files.disk_cache import DiskCache
from model_search.spec.load import load_text

ROWS = 60
SPEC = f"""problem_type: CNN blocks_to_use: "FIXED_CHANNEL_CONVOLUTION_16" minimum_depth: 1 maximum_depth: 2
user_suggestions {{ architecture: ["FIXED_CHANNEL_CONVOLUTION_16", "PLATE_REDUCTION_FLATTEN"] {ADAM}"""
SETTINGS = {
    "number_models": 1, "train_steps": 150, "eval_steps": None, "batch_size": 16, "experiment_name": "pictures",
    "experiment_owner": "tests", "seed": 1, "progress": False, "finish": "neither",
}  # fmt: skip


def searched(folder, provider):
    trainer = single_trainer.SingleTrainer(provider, load_text(SPEC))
    return trainer.try_models(root_dir=folder, **SETTINGS)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    brightness = rng.integers(0, 200, ROWS)
    noise = rng.integers(0, 40, (ROWS, 6, 6, 1))
    return (brightness[:, None, None, None] + noise).astype(np.uint8), brightness


def test_two_tasks_with_weights(tmp_path, pictures):
    x, brightness = pictures
    kind = np.where(brightness > 100, "light", "dark")
    weights = np.where(np.arange(ROWS) % 4, 1.0, 0.0)
    wrong = np.where(weights > 0, kind, np.where(kind == "light", "dark", "light"))  # but of no weight
    y = {"kind": wrong, "value": brightness, "half": np.where(brightness > 60, "upper", "lower")}
    provider = image_data.Provider(x=x, y=y, weights=weights, validation=(x, y, weights))
    study = searched(tmp_path, provider)
    answers = study.predict(x)
    number, temperature = study.calibration().others
    assert number == 1.0 and temperature != 1.0
    model = keras.models.load_model(study.export(tmp_path / "exported")["keras"], safe_mode=True)
    np.testing.assert_allclose(model(x)["probabilities/half"], study.predict_proba(x)["half"], atol=1e-5)
    assert (answers["kind"] == kind).mean() > 0.85
    right = answers["kind"] == wrong
    found = study.evaluate((x, {"kind": wrong, "value": brightness}, weights))
    assert found["accuracy"] == pytest.approx(right[weights > 0].mean())
    assert found["mae/value"] == pytest.approx(np.abs(answers["value"] - brightness)[weights > 0].mean(), rel=1e-4)
    assert study.evaluate((x, {"kind": wrong}))["accuracy"] == pytest.approx(right.mean())


def test_pictures_from_disk(tmp_path, pictures):
    x, brightness = pictures
    for row, picture in enumerate(x):
        path = tmp_path / "pictures" / ("light" if brightness[row] > 100 else "dark") / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[..., 0]).save(path)
    provider = image_data.Provider(tmp_path / "pictures", cache=DiskCache(0, tmp_path / "cache"))
    study = searched(tmp_path, provider)
    assert study.record.data["inputs"]["image"]["mean"]
    assert study.evaluate(tmp_path / "pictures")["accuracy"] > 0.85
    assert study.export(tmp_path / "exported")["keras"].exists()
