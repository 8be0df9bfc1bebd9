"""What every block keeps, whoever wrote it: subclass `BlockContract`, parametrize `name`, add a fixture `loaded`."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from model_search.blocks.registration import make_block
from model_search.data.rows import InputSpec
from model_search.towers.builder import TowerSpec, build_tower

WIDTHS = (1, 3, 200)
LOGITS = 2
SEEDS = range(8)

# Plain Keras, in safe mode, where model_search cannot be imported.
LOADER = """
import json, pathlib, sys
sys.modules["model_search"] = None
import keras, numpy as np
folder = pathlib.Path(sys.argv[1])
found = {}
for path in sorted(folder.glob("*.keras")):
    features = np.load(folder / f"{path.stem}.npz")["features"]
    try:
        model = keras.saving.load_model(path, safe_mode=True)
        found[path.stem] = model.predict_on_batch(features).tolist()
    except Exception as error:
        found[path.stem] = repr(error)
print(json.dumps(found))
"""


def rows(width, count=16, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width)).astype("float32")


def tower(name, width, seed=0, **others):
    return build_tower(TowerSpec((name,), {"features": InputSpec((width,))}, LOGITS, seed=seed, **others))


def load_with_plain_keras(folder, names):
    """Saves a tower of each block and loads all in one fresh process: name -> (logits here, logits or error there)."""
    expected = {}
    for name in names:
        model = tower(name, 3, dropout_rate=0.2)
        features = rows(3)
        model.save(folder / f"{name}.keras")
        np.savez(folder / f"{name}.npz", features=features)
        expected[name] = np.asarray(model(features, training=False))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", LOADER, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=folder,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: (expected[name], found[name]) for name in names}


class BlockContract:
    """The checks of the block `name`; `loaded` is what `load_with_plain_keras` gave."""

    @pytest.mark.parametrize("width", WIDTHS)
    def test_appends_one_float32_tensor(self, name, width):
        before = [keras.Input((7,)), keras.Input((width,))]
        given = list(before)
        after = make_block(name).build(given, None)
        assert given == before
        assert all(a is b for a, b in zip(after, before, strict=False))
        assert len(after) == len(before) + 1
        assert after[-1].dtype == "float32"
        assert len(after[-1].shape) == 2
        assert after[-1].shape[0] is None
        assert after[-1].shape[1] >= 1

    @pytest.mark.parametrize("width", WIDTHS)
    def test_a_tower_gives_finite_logits(self, name, width):
        logits = tower(name, width)(rows(width), training=False)
        assert logits.shape == (16, LOGITS)
        assert logits.dtype == tf.float32
        assert np.isfinite(logits).all()

    def test_gradients_reach_the_input_and_all_weights(self, name):
        reached = None
        for seed in SEEDS:  # a ReLU of a narrow layer may well be off for all rows of one seed
            model = tower(name, 3, seed)
            features = tf.constant(rows(3))
            with tf.GradientTape() as tape:
                tape.watch(features)
                loss = tf.reduce_sum(model(features, training=False) * rows(LOGITS, seed=1))
            gradients = tape.gradient(loss, [features, *(w.value for w in model.trainable_weights)])
            assert all(gradient is not None for gradient in gradients)
            found = np.array([bool(np.any(gradient)) for gradient in gradients])
            reached = found if reached is None else reached | found
        assert reached.all()

    def test_the_seed_decides_the_weights(self, name):
        one, same, other = tower(name, 3, 5), tower(name, 3, 5), tower(name, 3, 6)
        assert [w.shape for w in one.weights] == [w.shape for w in other.weights]
        assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), same.get_weights(), strict=True))
        for a, b, weight in zip(one.get_weights(), other.get_weights(), one.weights, strict=True):
            if weight.name == "kernel":
                assert not np.array_equal(a, b)

    def test_names_do_not_depend_on_what_was_built_before(self, name):
        first = [layer.name for layer in tower(name, 3, dropout_rate=0.5).layers]
        keras.layers.Dense(2)
        assert [layer.name for layer in tower(name, 3, dropout_rate=0.5).layers] == first
        # The input and the head have names of their own.
        assert all(part.startswith(f"0_{name}_") for part in first[1:-1])

    def test_stands_twice_in_a_tower(self, name):
        model = build_tower(TowerSpec((name, name), {"features": InputSpec((3,))}, LOGITS))
        names = [layer.name for layer in model.layers]
        assert len(set(names)) == len(names)

    def test_training_lowers_the_loss(self, name):
        model = tower(name, 3, 1)
        features, labels = rows(3, 64), rows(LOGITS, 64, seed=1) * 0.1 + 1
        optimizer = keras.optimizers.SGD(0.05)
        losses = []
        for _ in range(8):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(features, training=True) - labels) ** 2)
            gradients = tape.gradient(loss, [w.value for w in model.trainable_weights])
            optimizer.apply(gradients, model.trainable_weights)
            losses.append(float(loss))
        assert losses[-1] < 0.9 * losses[0]

    def test_is_made_of_stock_layers(self, name):
        assert all(type(layer).__module__.startswith("keras.") for layer in tower(name, 3).layers)

    def test_loads_with_plain_keras_in_safe_mode(self, name, loaded):
        expected, found = loaded[name]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
