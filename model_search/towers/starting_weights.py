"""What a new tower takes over of trained ones: by block, occurrence and shape, or by the kind of layer.

Never imports Keras: a model is read through `layers`, `weights` and `path`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from model_search.towers.weight_names import in_order_of, tower_weight_names

if TYPE_CHECKING:
    import keras

_MOVING = ("/moving_mean", "/moving_variance")
BY_LAYER = "layers:"  # before the names of weights that go by the kind of layer


@dataclasses.dataclass(frozen=True)
class Source:
    """A trained model.

    Attributes:
        weights: Its weights by name: those of a tower, or, with `BY_LAYER` before each, of any Keras model.
        share: What it counts in a mean, above 0.
        scale: What its trainable weights are multiplied by.
    """

    weights: Mapping[str, np.ndarray]
    share: float = 1.0
    scale: float = 1.0


def given_weights(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The weights of one of several models whose names stand before those of their weights, `12/logits/kernel`."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}


def layer_weight_names(model: keras.Model) -> tuple[str, ...]:
    """Names of a model's weights by the kind of their layers, such as `Dense#2/kernel`, in the order of the model."""
    seen: Counter[str] = Counter()
    found: dict[int, str] = {}
    for layer in _leaves(model):
        variables = [variable for variable in layer.weights if id(variable) not in found]
        if variables:
            kind = type(layer).__name__
            seen[kind] += 1
            for variable in variables:
                part = variable.path.removeprefix(f"{layer.path}/").removeprefix(f"{layer.name}/")
                found[id(variable)] = f"{kind}#{seen[kind]}/{part}"
    return in_order_of(model, found)


def _leaves(model: keras.Model) -> Iterator[keras.Layer]:
    """The layers of a model, and in the place of a model among them, as in what a study exports, its own."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _leaves(layer)
        else:
            yield layer


def averaged(
    sources: Sequence[Source], target: Mapping[str, tuple[int, ...]], unscaled: frozenset[str] = frozenset()
) -> dict[str, np.ndarray]:
    """The mean of each weight over the sources that have it in its shape; a pure function.

    Args:
        sources: Trained models.
        target: The shape of each weight of the tower to be filled, by name.
        unscaled: The weights to which no source's scale applies.

    Returns:
        The means by name; a weight that no source has is left out.
    """
    found: dict[str, np.ndarray] = {}
    for name, shape in target.items():
        fitting = [source for source in sources if name in source.weights and source.weights[name].shape == shape]
        if fitting:
            total = sum(source.share for source in fitting)
            scales = [1.0 if name in unscaled else source.scale for source in fitting]
            terms = (
                source.weights[name].astype(np.float64) * (scale * source.share / total)
                for source, scale in zip(fitting, scales, strict=True)
            )
            found[name] = np.sum(list(terms), axis=0).astype(np.float32)
    return found


def start_from(model: keras.Model, architecture: Sequence[str], sources: Sequence[Source]) -> int:
    """Gives a new tower the weights that it can take over; the others stay as they are.

    What a tower knows of its data is its own: of weights that are not trained only moving averages are taken over, as
    they are.

    Args:
        model: As `build_tower` makes it.
        architecture: Its blocks, input to output.
        sources: Trained models.

    Returns:
        The number of weights taken over.
    """
    names = tower_weight_names(model, architecture)
    trained = {id(variable) for variable in model.trainable_variables}
    moving = {id(variable) for variable in model.weights if variable.path.endswith(_MOVING)}
    named = [(name, v) for name, v in zip(names, model.weights, strict=True) if id(v) in trained | moving]
    shapes = {name: tuple(variable.shape) for name, variable in named}
    unscaled = frozenset(name for name, variable in named if id(variable) in moving)
    found = averaged(sources, shapes, unscaled)
    kinds = dict(zip(layer_weight_names(model), names, strict=True))
    by_kind = averaged(sources, {f"{BY_LAYER}{kind}": shapes[name] for kind, name in kinds.items() if name in shapes})
    found = {kinds[kind.removeprefix(BY_LAYER)]: array for kind, array in by_kind.items()} | found
    for name, variable in named:
        if name in found:
            variable.assign(found[name])
    return len(found)
