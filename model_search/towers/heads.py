"""From a tower's last tensor to logits, and from logits to probabilities."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers

from model_search.data.task import TaskKind
from model_search.errors import UnsupportedError, UserError

HEAD_NAME = "logits"


def dense_head(tensor: keras.KerasTensor, units: int) -> keras.KerasTensor:
    """A linear layer on the (flattened) tensor: float32 [batch, units]."""
    if len(tensor.shape) != 2:
        tensor = layers.Flatten(name=f"{HEAD_NAME}_flatten")(tensor)
    return layers.Dense(units, name=HEAD_NAME)(tensor)


# The one place that knows how a kind of problem ends.
_HEADS: dict[str, Callable[[keras.KerasTensor, int], keras.KerasTensor]] = {"DNN": dense_head}


def add_head(tensor: keras.KerasTensor, units: int, problem_type: str) -> keras.KerasTensor:
    """Logits, float32 [batch, units], for a kind of problem ("DNN", ...).

    Raises:
        UnsupportedError: if this version has no head for that kind.
    """
    if problem_type not in _HEADS:
        raise UnsupportedError(
            f"The problem type is {problem_type!r}; this version builds towers for {', '.join(_HEADS)} only."
        )
    return _HEADS[problem_type](tensor, units)


def with_probabilities(model: keras.Model, task_kind: TaskKind, temperature: float = 1.0) -> keras.Model:
    """The same tower with an output for people; the weights are shared.

    Args:
        model: Features to logits.
        task_kind: For classification the output is softmax(logits / temperature); for regression it is the model's own.
        temperature: Above 1 for less certain probabilities, below 1 for more certain ones.

    Raises:
        UserError: if the temperature is not above 0.
    """
    if not temperature > 0:
        raise UserError(f"The temperature is {temperature}; expected a number above 0.")
    if task_kind is not TaskKind.CLASSIFICATION:
        return model
    logits = model.output
    if temperature != 1:
        logits = layers.Rescaling(1 / temperature, name="temperature")(logits)
    return keras.Model(model.input, layers.Softmax(name="probabilities")(logits), name=model.name)
