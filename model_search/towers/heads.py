"""From a tower's last tensor to logits, and from logits to probabilities."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from model_search.errors import TrialError, UnsupportedError, UserError

HEAD_NAME = "logits"


def dense_head(tensor: keras.KerasTensor, units: int, name: str = HEAD_NAME) -> keras.KerasTensor:
    """A linear layer on the (flattened) tensor: float32 [batch, units]."""
    if len(tensor.shape) != 2:
        tensor = layers.Flatten(name=f"{name}_flatten")(tensor)
    return layers.Dense(units, name=name)(tensor)


def dense_per_step_head(tensor: keras.KerasTensor, units: int, name: str = HEAD_NAME) -> keras.KerasTensor:
    """A linear layer at each step of a sequence: float32 [batch, steps, units].

    Raises:
        TrialError: if the tower has no steps any more.
    """
    _check_steps(tensor)
    return without_mask(layers.Dense(units, name=name)(tensor))


def without_mask(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """The same values without the Keras mask that a recurrent layer may have attached.

    Layers pass such a mask on, and `Softmax` would take it for one of the classes. Padded steps need none: they weigh
    nothing in the loss and in metrics.
    """
    return ops.reshape(tensor, (-1, *tensor.shape[1:]))


def dense_last_step_head(
    tensor: keras.KerasTensor, units: int, lengths: keras.KerasTensor | None, name: str = HEAD_NAME
) -> keras.KerasTensor:
    """A linear layer at the last valid step of a sequence: float32 [batch, units]."""
    return layers.Dense(units, name=name)(last_step(tensor, lengths))


def last_step(tensor: keras.KerasTensor, lengths: keras.KerasTensor | None) -> keras.KerasTensor:
    """The last valid step of a sequence: [batch, channels].

    A vector, which blocks may have made of the sequence, is used as it is.

    Args:
        tensor: The tower's last tensor.
        lengths: int32 [batch], the valid steps; None where no step is padded.

    Raises:
        TrialError: if it is neither a sequence nor a vector.
    """
    if len(tensor.shape) == 2:
        return tensor
    _check_steps(tensor)
    return last_valid_step(tensor, lengths)


def last_valid_step(tensor: keras.KerasTensor, lengths: keras.KerasTensor | None) -> keras.KerasTensor:
    """The last step of a sequence that is no padding, float32 [batch, width]."""
    if lengths is None:
        return tensor[:, -1]
    is_last = ops.equal(ops.expand_dims(lengths, 1), np.arange(1, tensor.shape[1] + 1, dtype="int32"))
    return ops.sum(ops.where(ops.expand_dims(is_last, -1), tensor, ops.zeros_like(tensor)), axis=1)


def add_head(
    tensor: keras.KerasTensor,
    units: int,
    head: str = "dense",
    lengths: keras.KerasTensor | None = None,
    name: str = HEAD_NAME,
) -> keras.KerasTensor:
    """Logits from a tower's last tensor.

    Args:
        tensor: The tower's last tensor.
        units: Width of the logits.
        head: Name of the head, as `ProblemType.head` has it.
        lengths: int32 [batch], the valid steps of padded sequences; None where no step is padded.
        name: Name of the linear layer.

    Returns:
        float32 [batch, units], or [batch, steps, units] with a label for each step.

    Raises:
        UnsupportedError: if there is no such head.
        TrialError: if the tower does not end in what the head reads.
    """
    heads: dict[str, Callable[[], keras.KerasTensor]] = {
        "dense": lambda: dense_head(tensor, units, name),
        "dense_per_step": lambda: dense_per_step_head(tensor, units, name),
        "dense_last_step": lambda: dense_last_step_head(tensor, units, lengths, name),
    }
    if head not in heads:
        raise UnsupportedError(f"The head is {head!r}; expected one of {', '.join(heads)}.")
    return heads[head]()


def _check_steps(tensor: keras.KerasTensor) -> None:
    if len(tensor.shape) != 3:
        raise TrialError(
            f"The tower ends in a tensor of shape {tuple(tensor.shape)}; expected [batch, steps, channels], since the "
            "head reads the steps of a sequence. Leave out blocks that flatten it."
        )


def within_range(model: keras.Model, low: float, high: float) -> keras.Model:
    """The same model with its outputs cut off at the least and the largest value; the weights are shared."""
    found = named_operation(lambda values: ops.clip(values, low, high), model.output, "training_range")
    return keras.Model(model.input, found, name=model.name)


def named_operation(
    function: Callable[[keras.KerasTensor], keras.KerasTensor], tensor: keras.KerasTensor, name: str
) -> keras.KerasTensor:
    """The function of a tensor [batch, ...] under a name of its own.

    By itself `keras.ops` takes a name that other operations of an exported model may have; inside a model of this name,
    which is one layer of the whole, that does not matter.
    """
    given = keras.Input(tensor.shape[1:], dtype=tensor.dtype)
    return keras.Model(given, function(given), name=name)(tensor)


def probabilities_of(logits: keras.KerasTensor, temperature: float, suffix: str = "") -> keras.KerasTensor:
    """softmax(logits / temperature); the suffix makes the names of its layers unique.

    Raises:
        UserError: if the temperature is not above 0.
    """
    if not temperature > 0:
        raise UserError(f"The temperature is {temperature}; expected a number above 0.")
    if temperature != 1:
        logits = layers.Rescaling(1 / temperature, name=f"temperature{suffix}")(logits)
    return layers.Softmax(name=f"probabilities{suffix}")(logits)
