"""Test-time augmentation: a tower's prediction for a picture, averaged with that for its mirror image."""

from __future__ import annotations

import keras
from keras import layers, ops

from model_search.problem import MAP_RANK
from model_search.towers.inputs import structured


def mean_with_mirrored(tower: keras.Model) -> keras.Model:
    """The mean of a tower's logits for the rows and for the rows whose maps are mirrored left to right.

    The layers are the tower's own, each contained once, so that its weights keep their names and their order.

    Args:
        tower: A functional model from inputs to logits.
    """
    mirrored = [ops.flip(tensor, axis=2) if len(tensor.shape) == 1 + MAP_RANK else tensor for tensor in tower.inputs]
    (logits,) = tower.outputs
    others = keras.Function(list(tower.inputs), logits).call(mirrored)
    mean = layers.Average(name="mean_with_mirrored")([logits, others])
    return keras.Model(structured({tensor.name: tensor for tensor in tower.inputs}), mean, name=tower.name)
