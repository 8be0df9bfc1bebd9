"""Test-time augmentation: a tower that answers for a picture and its mirror image together."""

import dataclasses

import keras
import numpy as np
import pytest

from model_search.data.rows import InputSpec
from model_search.towers.builder import TowerSpec, build_tower
from model_search.towers.weight_names import tower_weight_names

BLOCKS = ("BATCHNORM_CONVOLUTION_32", "GLOBAL_MEAN_MAX_FLATTEN")
PICTURES = {"image": InputSpec((6, 8, 3), "uint8", mean=(100.0,) * 3, deviation=(50.0,) * 3)}


def pictures(rows=5):
    return np.random.default_rng(0).integers(0, 256, (rows, 6, 8, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def towers():
    """The tower as it is trained, and as it answers, with the same weights."""
    spec = TowerSpec(BLOCKS, PICTURES, 4, "CNN", dropout_rate=0.3, seed=3)
    return build_tower(spec), build_tower(dataclasses.replace(spec, test_time_flip=True))


def test_its_logits_are_the_mean_of_those_for_both(towers):
    plain, both = towers
    expected = (plain.predict(pictures()) + plain.predict(pictures()[:, :, ::-1])) / 2
    np.testing.assert_allclose(both.predict(pictures()), expected, atol=1e-5)
    np.testing.assert_allclose(both.predict(pictures()[:, :, ::-1]), expected, atol=1e-5)
    assert np.abs(plain.predict(pictures()) - expected).max() > 1e-3


def test_its_weights_are_the_towers_own(towers):
    names = [tower_weight_names(tower, BLOCKS) for tower in towers]
    assert names[0] == names[1]
    assert towers[0].count_params() == towers[1].count_params()


def test_plain_keras_loads_it(towers, tmp_path):
    towers[1].save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded.predict(pictures()), towers[1].predict(pictures()))


def test_only_maps_are_mirrored():
    specs = {"image": InputSpec((6, 8, 3)), "table": InputSpec((5,))}
    plain = build_tower(TowerSpec(("FIXED_OUTPUT_FULLY_CONNECTED_64",), specs, 2, seed=1))
    both = build_tower(TowerSpec(("FIXED_OUTPUT_FULLY_CONNECTED_64",), specs, 2, seed=1, test_time_flip=True))
    rng = np.random.default_rng(1)
    rows = {"image": rng.normal(size=(3, 6, 8, 3)), "table": rng.normal(size=(3, 5))}
    mirrored = {**rows, "image": rows["image"][:, :, ::-1]}
    expected = (plain.predict(rows) + plain.predict(mirrored)) / 2
    np.testing.assert_allclose(both.predict(rows), expected, atol=1e-5)
