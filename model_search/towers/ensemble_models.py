"""Trained towers combined into one model: inputs in, the logits of the ensemble out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
from keras import layers, ops

from model_search.data.task import Task, TaskKind, logits_of_tasks
from model_search.errors import UserError
from model_search.towers.inputs import fresh_inputs, renamed, structured
from model_search.towers.naming import own_names

Tensors = Mapping[int, keras.KerasTensor]


def ensemble_model(
    towers: Mapping[int, keras.Model], combine: Callable[[Tensors], keras.KerasTensor], name: str = "ensemble"
) -> keras.Model:
    """One model of several towers; they keep their weights, and each is contained once.

    Args:
        towers: Models from inputs to logits, by any number.
        combine: From the logits of the towers to those of the ensemble.
        name: The model's name.
    """
    if not towers:
        raise UserError("an ensemble needs at least one tower")
    with own_names():
        inputs = fresh_inputs(next(iter(towers.values())))
        # Towers are all named alike, and so are their layers; within a model of its own, each keeps its names.
        named = {number: renamed(tower, f"tower_{number}") for number, tower in towers.items()}
        logits = {number: tower(structured(inputs)) for number, tower in named.items()}
        return keras.Model(structured(inputs), combine(logits), name=name)


def mean_of_logits(logits: Sequence[keras.KerasTensor]) -> keras.KerasTensor:
    """The logits of an average ensemble of the search."""
    return logits[0] if len(logits) == 1 else ops.mean(ops.stack(list(logits), axis=0), axis=0)


def mixture_of_logits(
    logits: Sequence[keras.KerasTensor], kernel: np.ndarray, bias: np.ndarray, name: str
) -> keras.KerasTensor:
    """The logits of a weighted ensemble of the search: a linear layer on the logits side by side."""
    layer = layers.Dense(kernel.shape[1], name=name)
    joined = logits[0] if len(logits) == 1 else ops.concatenate(list(logits), axis=-1)
    found = layer(joined)
    layer.set_weights([kernel, bias])
    return found


def mean_of_all_predictions(
    logits: Sequence[keras.KerasTensor], weights: Sequence[float], tasks: Mapping[str, Task]
) -> keras.KerasTensor:
    """The logits of a final ensemble, of all tasks side by side; arguments as in `mean_of_predictions`."""
    if len(tasks) == 1:
        return mean_of_predictions(logits, weights, next(iter(tasks.values())).kind)
    parts = [
        mean_of_predictions([values[..., columns] for values in logits], weights, tasks[name].kind)
        for name, columns in logits_of_tasks(tasks).items()
    ]
    return ops.concatenate(parts, axis=-1)


def mean_of_predictions(
    logits: Sequence[keras.KerasTensor], weights: Sequence[float], kind: TaskKind
) -> keras.KerasTensor:
    """The logits of a final ensemble: the log of the weighted mean of probabilities; for numbers the weighted mean.

    Args:
        logits: Of each member.
        weights: Of each member, adding up to 1.
        kind: Classes or numbers.
    """
    if kind is TaskKind.REGRESSION:
        parts = [weight * values for weight, values in zip(weights, logits, strict=True)]
        return parts[0] if len(parts) == 1 else ops.sum(ops.stack(parts, axis=0), axis=0)
    parts = [
        ops.log_softmax(values, axis=-1) + float(np.log(weight)) for values, weight in zip(logits, weights, strict=True)
    ]
    return parts[0] if len(parts) == 1 else ops.logsumexp(ops.stack(parts, axis=0), axis=0)
