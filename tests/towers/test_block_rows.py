"""Rows are given to a model in blocks that the widest layer, not the input, decides."""

import keras
from keras import layers

from model_search.towers.block_rows import INPUT_VALUES, WIDEST_VALUES, rows_at_a_time


def test_widest_layer_decides():
    image = keras.Input((32, 32, 3))
    wide = layers.Conv2D(64, 3, padding="same")(image)
    model = keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(wide)))
    assert rows_at_a_time(model) == WIDEST_VALUES // (32 * 32 * 64)
    nested = keras.Model(image, layers.Dense(2)(model(image)))
    assert rows_at_a_time(nested) == rows_at_a_time(model)


def test_wide_input_decides():
    vector = keras.Input((100_000,))
    assert rows_at_a_time(keras.Model(vector, layers.Dense(2)(vector))) == INPUT_VALUES // 100_000
    larger = keras.Input((100_000_000,))
    assert rows_at_a_time(keras.Model(larger, larger[:, :1])) == 1
