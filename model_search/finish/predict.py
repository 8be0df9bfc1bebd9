"""From a tower's logits to predictions in the user's own classes and units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.rows import Arrays
from model_search.data.task import Label, Task, TaskKind, logits_of_tasks
from model_search.errors import UserError
from model_search.towers.block_rows import rows_at_a_time
from model_search.towers.keras_inputs import row_name
from model_search.training.metrics import in_order, predicted_classes

if TYPE_CHECKING:
    import keras
    import pandas as pd

_KINDS: dict[type, str] = {bool: "b", int: "i", float: "f"}  # of NumPy
_BATCH_ROWS = 2**13  # in one forward pass


def tower_logits(tower: keras.Model, inputs: Arrays) -> np.ndarray:
    """A tower's output for all rows, computed in batches.

    Args:
        tower: Inputs to logits.
        inputs: Arrays [rows, ...] by name.

    Returns:
        float32 [rows, ..., logits_dimension].

    Raises:
        UserError: if an input is missing, or does not have the shape that the tower reads.
    """
    for tensor in tower.inputs:
        expected, given = tuple(tensor.shape[1:]), inputs.get(row_name(tensor.name))
        if given is None or given.shape[1:] != expected:
            found = "no such input" if given is None else f"shape {given.shape[1:]}"
            raise UserError(f"received {found} for {row_name(tensor.name)!r}; the model reads {expected} a row")
    read = [inputs[row_name(tensor.name)] for tensor in tower.inputs]
    rows = min(_BATCH_ROWS, rows_at_a_time(tower))
    # Called directly, not through `predict`: no graph is traced, for whatever number of rows.
    parts = [
        np.asarray(tower(_structured(tower, [values[start : start + rows] for values in read]), training=False))
        for start in range(0, len(read[0]), rows)
    ]
    return np.concatenate(parts) if parts else np.empty((0, *tower.output_shape[1:]), np.float32)


def _structured(tower: keras.Model, given: list[np.ndarray]) -> Any:
    """Inputs in the structure that the model was made with: an array, or a dict by name."""
    if isinstance(tower.input, dict):
        return {tensor.name: values for tensor, values in zip(tower.inputs, given, strict=True)}
    return given if isinstance(tower.input, list | tuple) else given[0]


def predict_tasks(
    logits: np.ndarray, tasks: Mapping[str, Task], temperatures: Sequence[float], steps: np.ndarray | None
) -> np.ndarray | dict[str, np.ndarray]:
    """The predictions of one task, or those of several by name.

    Args:
        logits: float32 [rows, ..., logits of all tasks].
        tasks: By name.
        temperatures: Of each task.
        steps: Which steps are valid, bool [rows, steps], where there is a label for each; padded ones are masked.
    """
    found = {}
    for (name, columns), temperature in zip(logits_of_tasks(tasks).items(), temperatures, strict=True):
        found[name] = predict_labels(logits[..., columns], tasks[name], temperature)
        if steps is not None:
            padded = ~steps if found[name].ndim == 2 else np.repeat(~steps[..., None], found[name].shape[2], axis=2)
            found[name] = np.ma.masked_array(found[name], mask=padded)
    return found if len(found) > 1 else next(iter(found.values()))


def predict_task_probabilities(
    logits: np.ndarray, tasks: Mapping[str, Task], temperatures: Sequence[float], steps: np.ndarray | None
) -> pd.DataFrame | dict[str, pd.DataFrame]:
    """The probabilities of one task, or those of several by name; tasks that predict numbers are left out.

    Args:
        logits: As in `predict_tasks`.
        tasks: As in `predict_tasks`.
        temperatures: As in `predict_tasks`.
        steps: As in `predict_tasks`; there is a row for each valid step.
    """
    import pandas as pd

    found = {}
    for (name, columns), temperature in zip(logits_of_tasks(tasks).items(), temperatures, strict=True):
        if tasks[name].kind is TaskKind.CLASSIFICATION:
            own = logits[..., columns] if steps is None else logits[..., columns][steps]
            found[name] = predict_probabilities(own, tasks[name], temperature)
    if steps is not None:
        index = pd.MultiIndex.from_arrays(np.nonzero(steps), names=["row", "step"])
        found = {name: frame.set_axis(index, axis="index") for name, frame in found.items()}
    return found if len(tasks) > 1 else next(iter(found.values()))


def predict_labels(logits: np.ndarray, task: Task, temperature: float = 1.0) -> np.ndarray:
    """Predictions in the user's own classes and units.

    Args:
        logits: float32 [rows, logits_dimension].
        task: What is predicted.
        temperature: Above 0; of classes that are in an order it may change which one is predicted.

    Returns:
        Classification: the user's own classes [rows] (texts as Python strings), or their numbers from 0 where the task
        names none. Regression: float64 [rows] in the user's units; [rows, targets] for several targets, and
        [rows, quantiles], rising, for quantiles.
    """
    if task.kind is TaskKind.REGRESSION:
        values = task.to_units(in_order(task, logits))
        return values if task.quantiles or task.logits_dimension > 1 else values[..., 0]
    return class_array(task)[predicted_classes(task, logits / temperature)]


def predict_probabilities(logits: np.ndarray, task: Task, temperature: float = 1.0) -> pd.DataFrame:
    """softmax(logits / temperature).

    Args:
        logits: float32 [rows, classes].
        task: What is predicted; a classification.
        temperature: Above 0.

    Returns:
        float64 [rows, classes]; the columns are the user's own classes.
    """
    import pandas as pd

    if not temperature > 0:
        raise UserError(f"The temperature is {temperature}; expected a number above 0.")
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    columns = pd.Index(class_array(task), dtype=object)
    return pd.DataFrame(powers / powers.sum(axis=1, keepdims=True), columns=columns)


def class_names(classes: Sequence[Label]) -> list[str]:
    """The classes as different texts, in their order: as they print; as Python writes them where two print alike."""
    texts = [str(label) for label in classes]
    return texts if len(set(texts)) == len(texts) else [repr(label) for label in classes]


def written_classes(task: Task) -> np.ndarray:
    """The classes as a file holds them: as `class_array`; different texts where two print alike (1 and "1")."""
    classes = class_array(task)
    names = class_names(classes.tolist())
    return classes if names == [str(label) for label in classes.tolist()] else np.array(names, dtype=object)


def class_array(task: Task) -> np.ndarray:
    """The classes in the order of the logits; their numbers from 0 where the task names none.

    An array of objects where they are texts or of several types, so that each keeps its own.
    """
    classes = list(task.classes) or list(range(task.logits_dimension))
    kinds = {type(label) for label in classes}
    if len(kinds) == 1 and kinds <= _KINDS.keys():
        array = np.array(classes)
        if array.dtype.kind == _KINDS[kinds.pop()]:  # whole numbers beyond 64 bits may be floats or objects
            return array
    objects = np.empty(len(classes), dtype=object)
    objects[:] = classes
    return objects
