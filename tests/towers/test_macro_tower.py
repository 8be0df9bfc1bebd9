import keras
import numpy as np
import tensorflow as tf

from model_search import macro
from model_search.data.rows import InputSpec
from model_search.macro import Layer
from model_search.towers.builder import TowerSpec, build_tower
from model_search.towers.weight_names import tower_weight_names

# Maps of 4x4, 4x4, 7x7 and 4x4 places: the last layer reads two sizes, and two ends of two sizes are left.
TOWER = (Layer(3, 1, 4, 2), Layer(1, 3, 8, 1, (0,)), Layer(3, 3, 4, 1), Layer(5, 5, 4, 2, (0, 2)))
ARCHITECTURE = (*macro.blocks_of(TOWER), "PLATE_REDUCTION_FLATTEN")


def test_a_macro_tower_is_the_graph_of_its_layers_in_stock_keras(tmp_path):
    tower = build_tower(TowerSpec(ARCHITECTURE, {"image": InputSpec((7, 7, 2))}, 3, "CNN", seed=1))
    names = tower_weight_names(tower, ARCHITECTURE)
    weights = dict(zip(names, tower.get_weights(), strict=True))
    maps = np.random.default_rng(0).normal(size=(5, 7, 7, 2)).astype("float32")

    def convolved(number, read):
        kernel = weights[f"macro_{number}_convolution/kernel"]
        return tf.nn.relu(tf.nn.conv2d(read, kernel, TOWER[number].stride, "SAME") / np.sqrt(1 + 1e-3))

    def padded(tensor):
        return tf.pad(tensor, [[0, 0], [1, 2], [1, 2], [0, 0]])

    first = convolved(0, maps)
    second, third = convolved(1, first), convolved(2, maps)
    fourth = convolved(3, tf.concat([padded(first), third], axis=-1))
    output = tf.concat([second, fourth], axis=-1)
    body = keras.Model(tower.input, tower.get_layer("macro_output_inputs").output)
    np.testing.assert_allclose(body(maps), output, atol=1e-5)
    tower.save(tmp_path / "tower.keras")
    stored = keras.models.load_model(tmp_path / "tower.keras", safe_mode=True)
    np.testing.assert_allclose(stored(maps), tower(maps), atol=1e-6)
    assert all(type(layer).__module__.startswith("keras.") for layer in stored.layers)
