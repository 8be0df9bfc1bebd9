"""The inputs of a tower: from named inputs, each of its own type, to the one tensor that the first block reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from model_search.data.rows import InputSpec, InputSpecs, main_inputs
from model_search.errors import UserError
from model_search.towers.keras_inputs import input_name, row_name

_TINY, _HUGE = 1e-6, 1e18  # deviations of the numbers of channels that are standardised as they are


class Entrance(NamedTuple):
    """Where a tower begins.

    Attributes:
        inputs: The Keras inputs by their names in Keras (see `keras_inputs.input_name`).
        tensor: What the first block reads, [batch, ...].
        lengths: int32 [batch], the valid steps of padded sequences, of the longest where a row has several; None where
            no step is padded.
        columns: The spec of a single vector, which says what is known of its columns; None for anything else.
    """

    inputs: dict[str, keras.KerasTensor]
    tensor: keras.KerasTensor
    lengths: keras.KerasTensor | None
    columns: InputSpec | None = None


def entrance(specs: InputSpecs, rank: int) -> Entrance:
    """Makes the inputs of a tower.

    Values are normalised where the spec says how. Padded steps are set to zero, so that their values never matter. A
    single input is passed on as it is (bytes as float32; whole numbers of a padded sequence, token ids, stay what they
    are). Several are joined along their last axis: those of the rank that blocks read as they are, vectors repeated at
    every position of the others.

    Args:
        specs: The inputs.
        rank: Rank of what blocks read, without the batch: 1 for vectors, 2 for sequences, 3 for maps.

    Raises:
        UserError: if inputs of these shapes cannot be joined.
    """
    inputs = {name: keras.Input(spec.shape, dtype=spec.dtype, name=input_name(name)) for name, spec in specs.items()}
    named = {tensor.name: tensor for tensor in inputs.values()}
    main = main_inputs(specs)
    tensors = {name: _valid(_normalised(inputs[name], spec), inputs, spec) for name, spec in main.items()}
    lengths = _longest([inputs[name] for name in dict.fromkeys(s.lengths for s in main.values()) if name is not None])
    if len(tensors) == 1:
        name, tensor = next(iter(tensors.items()))
        keeps_type = specs[name].dtype == "int32" and specs[name].lengths is not None and rank > 1
        columns = specs[name] if len(specs[name].shape) == 1 else None
        return Entrance(named, tensor if keeps_type else _as_float(tensor), lengths, columns)
    if rank > 1:
        tensors = {name: _by_step(tensor, specs[name], name) for name, tensor in tensors.items()}
    floats = {input_name(name): _as_float(tensor) for name, tensor in tensors.items()}
    return Entrance(named, _joined(floats, rank), lengths)


def entrances(specs: InputSpecs) -> tuple[dict[str, keras.KerasTensor], dict[str, Entrance]]:
    """Makes the inputs of a tower that reads each input by itself.

    Values are normalised, and padded steps zero, as in `entrance`; token ids stay whole numbers.

    Args:
        specs: The inputs.

    Returns:
        The Keras inputs by their names in Keras, and where each main input begins, by its name.
    """
    inputs = {name: keras.Input(spec.shape, dtype=spec.dtype, name=input_name(name)) for name, spec in specs.items()}
    named = {tensor.name: tensor for tensor in inputs.values()}
    found = {}
    for name, spec in main_inputs(specs).items():
        tensor = _valid(_normalised(inputs[name], spec), inputs, spec)
        tensor = tensor if spec.dtype == "int32" and spec.lengths is not None else _as_float(tensor)
        found[name] = Entrance(named, tensor, None if spec.lengths is None else inputs[spec.lengths])
    return named, found


def structured(tensors: Mapping[str, Any]) -> Any:
    """Inputs as a model takes them: one by itself, several as a dict by name."""
    return next(iter(tensors.values())) if len(tensors) == 1 else dict(tensors)


def fresh_inputs(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """New Keras inputs like those of a model, by their names in Keras."""
    return {tensor.name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=tensor.name) for tensor in model.inputs}


def renamed(model: keras.Model, name: str) -> keras.Model:
    """The same model, sharing its weights, under a name that is unique in a larger one."""
    return keras.Model(structured({tensor.name: tensor for tensor in model.inputs}), model.outputs[0], name=name)


def _normalised(tensor: keras.KerasTensor, spec: InputSpec) -> keras.KerasTensor:
    """An input minus its mean, divided by its deviation, where the spec has them.

    float32 has no variance of channels of tiny or huge numbers, and Keras divides by no less than 1e-7: these are
    first multiplied by a power of two, which changes no digit.
    """
    if not spec.mean:
        return tensor
    factors = [_factor(value) for value in spec.deviation]
    name = f"{tensor.name}_normalised"
    if any(factor != 1.0 for factor in factors):
        tensor = layers.Rescaling(factors, name=f"{tensor.name}_rescaled")(tensor)
    mean = [value * factor for value, factor in zip(spec.mean, factors, strict=True)]
    variance = [(value * factor) ** 2 for value, factor in zip(spec.deviation, factors, strict=True)]
    return layers.Normalization(mean=mean, variance=variance, name=name)(tensor)


def _factor(deviation: float) -> float:
    """The power of two that makes a tiny or huge deviation one near 1; 1 for all others."""
    return 1.0 if _TINY <= deviation <= _HUGE else 2.0 ** -round(math.log2(deviation))


def _valid(tensor: keras.KerasTensor, inputs: Mapping[str, keras.KerasTensor], spec: InputSpec) -> keras.KerasTensor:
    """An input whose padded steps are zero."""
    if spec.lengths is None:
        return tensor
    mask = ops.expand_dims(inputs[spec.lengths], 1) > np.arange(spec.shape[0], dtype="int32")
    for _ in spec.shape[1:]:
        mask = ops.expand_dims(mask, -1)
    return ops.where(mask, tensor, ops.zeros_like(tensor))


def _longest(lengths: Sequence[keras.KerasTensor]) -> keras.KerasTensor | None:
    """The steps of each row: those of its longest padded sequence; None where none is padded."""
    if len(lengths) < 2:
        return lengths[0] if lengths else None
    return ops.max(ops.stack(lengths), axis=0)


def _by_step(tensor: keras.KerasTensor, spec: InputSpec, name: str) -> keras.KerasTensor:
    """A padded sequence of single numbers as one of vectors, [batch, steps, 1]; other inputs as they are."""
    if spec.lengths is None or len(spec.shape) != 1:
        return tensor
    if spec.dtype == "int32":
        raise UserError(
            f"feature {name!r} is a padded sequence of whole numbers (token ids) beside other inputs, which would read "
            "the ids as quantities; expected it as the only input, or float vectors (one-hot, say) of shape [rows, "
            "steps, width]"
        )
    return ops.expand_dims(tensor, -1)


def _as_float(tensor: keras.KerasTensor) -> keras.KerasTensor:
    return tensor if tensor.dtype == "float32" else ops.cast(tensor, "float32")


def _joined(tensors: Mapping[str, keras.KerasTensor], rank: int) -> keras.KerasTensor:
    if rank == 1:
        flat = [t if len(t.shape) == 2 else layers.Flatten(name=f"{n}_flatten")(t) for n, t in tensors.items()]
        return layers.Concatenate(name="inputs_side_by_side")(flat)
    shapes = {row_name(name): tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
    positions = {shape[:-1] for shape in shapes.values() if len(shape) == rank}
    if len(positions) != 1 or any(len(shape) not in (1, rank) for shape in shapes.values()):
        raise UserError(
            f"the inputs have the shapes {shapes}; expected inputs of rank {rank} that agree in all but the last axis, "
            "and vectors"
        )
    return layers.Concatenate(name="inputs_side_by_side")(_repeated(tensors.values(), positions.pop()))


def _repeated(tensors: Any, positions: Sequence[int]) -> list[keras.KerasTensor]:
    """Vectors repeated at every position; the others as they are."""
    ones = (1,) * len(positions)
    return [
        ops.tile(ops.reshape(tensor, (-1, *ones, tensor.shape[1])), (1, *positions, 1))
        if len(tensor.shape) == 2
        else tensor
        for tensor in tensors
    ]
