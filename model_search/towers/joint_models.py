"""Models that are trained as ensembles: towers, or the logits of frozen ones, and what combines them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

from model_search.metadata.trial import EnsemblePlan
from model_search.towers.naming import own_names

MIXTURE = "mixture"
TOWER = "tower"


class JointModel(NamedTuple):
    """A model to train.

    Attributes:
        model: From `features` (and `members`, the logits of frozen towers side by side, where it reads them) to the
            ensemble's logits [batch, logits dimension]; or, with an own tower, to the ensemble's and the own tower's,
            [batch, 2, logits dimension].
        towers: The towers that it trains.
        mixture: The layer that weighs the towers; None for an average.
    """

    model: keras.Model
    towers: tuple[keras.Model, ...]
    mixture: keras.layers.Layer | None


def mixture_of_logits(towers: int, logits_dimension: int) -> JointModel:
    """A weighted ensemble of frozen towers: their logits are its features."""
    with own_names():
        members = keras.Input((towers * logits_dimension,), name="members")
        mixture = _mixture(towers, logits_dimension)
        return JointModel(keras.Model(members, mixture(members), name="ensemble"), (), mixture)


def tower_beside_logits(tower: keras.Model, members: int, residual: bool) -> JointModel:
    """A new tower and a mixture that weighs it with the logits of frozen members.

    Args:
        tower: The new tower.
        members: Number of frozen towers, which come first in the mixture.
        residual: Whether the mixture's gradient reaches the tower.
    """
    width = tower.output_shape[-1]
    with own_names():
        features = keras.Input(tower.input_shape[1:], name="features")
        given = keras.Input((members * width,), name="members")
        own = tower(features)
        seen = own if residual else ops.stop_gradient(own)
        mixture = _mixture(members + 1, width)
        combined = mixture(layers.Concatenate(name="side_by_side")([given, seen]))
        outputs = ops.stack([combined, own], axis=1)
        return JointModel(keras.Model([features, given], outputs, name="ensemble"), (tower,), mixture)


def fine_tuned(members: Sequence[keras.Model], own: keras.Model | None, ensemble: EnsemblePlan) -> JointModel:
    """All towers together, every one of them trained through the ensemble.

    Args:
        members: Towers with their weights.
        own: The new tower, if any; unless the plan is residual, the ensemble's gradient does not reach it.
        ensemble: How they are combined.
    """
    towers = [*members, own] if own is not None else list(members)
    width = towers[0].output_shape[-1]
    with own_names():
        features = keras.Input(towers[0].input_shape[1:], name="features")
        named = [keras.Model(t.inputs[0], t.outputs[0], name=f"{TOWER}_{i}") for i, t in enumerate(towers)]
        logits = [tower(features) for tower in named]
        seen = list(logits)
        if own is not None and not ensemble.residual:
            seen[-1] = ops.stop_gradient(seen[-1])
        mixture = _mixture(len(towers), width) if ensemble.combining == "weighted" else None
        if mixture is None:
            combined = layers.Average(name="average")(seen) if len(seen) > 1 else seen[0]
        else:
            combined = mixture(layers.Concatenate(name="side_by_side")(seen) if len(seen) > 1 else seen[0])
        outputs = combined if own is None else ops.stack([combined, logits[-1]], axis=1)
        return JointModel(keras.Model(features, outputs, name="ensemble"), tuple(towers), mixture)


def towers_in(model: keras.Model) -> tuple[keras.Model, ...]:
    """The towers within what `fine_tuned` has made, in the order of its arguments."""
    found = {layer.name: layer for layer in model.layers if isinstance(layer, keras.Model)}
    return tuple(found[f"{TOWER}_{i}"] for i in range(len(found)))


def combined_output(model: keras.Model) -> keras.Model:
    """The model with the ensemble's logits alone as its output."""
    if len(model.output_shape) == 2:
        return model
    with own_names():
        return keras.Model(model.inputs, model.outputs[0][:, 0], name=model.name)


def _mixture(towers: int, logits_dimension: int) -> layers.Dense:
    """A linear layer on the logits side by side; it begins as their average."""
    layer = layers.Dense(logits_dimension, name=MIXTURE)
    layer.build((None, towers * logits_dimension))
    average = np.tile(np.eye(logits_dimension, dtype=np.float32), (towers, 1)) / towers
    layer.set_weights([average, np.zeros(logits_dimension, np.float32)])
    return layer
