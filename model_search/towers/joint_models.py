"""Models that are trained as ensembles: towers, or the logits of frozen ones, and what combines them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

from model_search.metadata.trial import EnsemblePlan
from model_search.towers.inputs import fresh_inputs, renamed, structured
from model_search.towers.naming import own_names

MIXTURE = "mixture"
TOWER = "tower"


class JointModel(NamedTuple):
    """A model to train.

    Attributes:
        model: From the towers' inputs (and `frozen_logits`, the logits of frozen towers side by side, where it reads
            them) to the ensemble's logits [batch, ..., logits dimension]; or, with an own tower, to the ensemble's and
            the own tower's, [batch, 2, ..., logits dimension]; with an auxiliary head, to the tower's and the head's.
        towers: The towers that it trains.
        mixture: The layer that weighs the towers; None for an average.
        auxiliary: Trainable parameters of an auxiliary head, which is in none of the towers.
        taken_over: Weights of other models that its new tower begins with; None where it was given no such models.
    """

    model: keras.Model
    towers: tuple[keras.Model, ...]
    mixture: keras.layers.Layer | None
    auxiliary: int = 0
    taken_over: int | None = None


def with_auxiliary_head(tower: keras.Model, model: keras.Model) -> JointModel:
    """A tower and the model that trains it together with an auxiliary head."""
    count = sum(math.prod(v.shape) for v in model.trainable_variables)
    return JointModel(model, (tower,), None, count - sum(math.prod(v.shape) for v in tower.trainable_variables))


def mixture_of_logits(towers: int, logits_shape: Sequence[int], frozen: str) -> JointModel:
    """A weighted ensemble of frozen towers.

    Args:
        towers: Number of frozen towers.
        logits_shape: Shape of a tower's logits for one row, [..., logits dimension].
        frozen: Name of the input that holds their logits side by side.
    """
    with own_names():
        members = keras.Input((*logits_shape[:-1], towers * logits_shape[-1]), name=frozen)
        mixture = _mixture(towers, logits_shape[-1])
        return JointModel(keras.Model(members, mixture(members), name="ensemble"), (), mixture)


def tower_beside_logits(tower: keras.Model, members: int, residual: bool, frozen: str) -> JointModel:
    """A new tower and a mixture that weighs it with the logits of frozen members.

    Args:
        tower: The new tower.
        members: Number of frozen towers, which come first in the mixture.
        residual: Whether the mixture's gradient reaches the tower.
        frozen: Name of the input that holds the members' logits side by side.
    """
    shape = tower.output_shape[1:]
    with own_names():
        inputs = fresh_inputs(tower)
        given = keras.Input((*shape[:-1], members * shape[-1]), name=frozen)
        own = tower(structured(inputs))
        seen = own if residual else ops.stop_gradient(own)
        mixture = _mixture(members + 1, shape[-1])
        combined = mixture(layers.Concatenate(name="side_by_side")([given, seen]))
        outputs = ops.stack([combined, own], axis=1)
        return JointModel(keras.Model({**inputs, frozen: given}, outputs, name="ensemble"), (tower,), mixture)


def fine_tuned(members: Sequence[keras.Model], own: keras.Model | None, ensemble: EnsemblePlan) -> JointModel:
    """All towers together, each of them trained through the ensemble.

    Args:
        members: Towers with their weights.
        own: The new tower, if any; unless the plan is residual, the ensemble's gradient does not reach it.
        ensemble: How they are combined.
    """
    towers = [*members, own] if own is not None else list(members)
    width = towers[0].output_shape[-1]
    with own_names():
        inputs = fresh_inputs(towers[0])
        logits = [renamed(tower, f"{TOWER}_{i}")(structured(inputs)) for i, tower in enumerate(towers)]
        seen = list(logits)
        if own is not None and not ensemble.residual:
            seen[-1] = ops.stop_gradient(seen[-1])
        mixture = _mixture(len(towers), width) if ensemble.combining == "weighted" else None
        if mixture is None:
            combined = layers.Average(name="average")(seen) if len(seen) > 1 else seen[0]
        else:
            combined = mixture(layers.Concatenate(name="side_by_side")(seen) if len(seen) > 1 else seen[0])
        outputs = combined if own is None else ops.stack([combined, logits[-1]], axis=1)
        return JointModel(keras.Model(structured(inputs), outputs, name="ensemble"), tuple(towers), mixture)


def towers_in(model: keras.Model) -> tuple[keras.Model, ...]:
    """The towers within what `fine_tuned` has made, in the order of its arguments."""
    found = {layer.name: layer for layer in model.layers if isinstance(layer, keras.Model)}
    return tuple(found[f"{TOWER}_{i}"] for i in range(len(found)))


def combined_output(joint: JointModel, own: bool) -> keras.Model:
    """The model with the ensemble's logits alone as its output.

    Args:
        joint: The model.
        own: Whether it has an own tower, and so outputs two sets of logits.
    """
    model = joint.model
    if not own:
        return model
    with own_names():
        return keras.Model(model.input, model.outputs[0][:, 0], name=model.name)


def _mixture(towers: int, logits_dimension: int) -> layers.Dense:
    """A linear layer on the logits side by side; it begins as their average."""
    layer = layers.Dense(logits_dimension, name=MIXTURE)
    layer.build((None, towers * logits_dimension))
    average = np.tile(np.eye(logits_dimension, dtype=np.float32), (towers, 1)) / towers
    layer.set_weights([average, np.zeros(logits_dimension, np.float32)])
    return layer
