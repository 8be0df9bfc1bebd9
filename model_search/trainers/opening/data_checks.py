"""Whether data can be searched on, and fit the specification."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from model_search import problem
from model_search.data.prepared_data import PreparedData, logits_dimension
from model_search.data.rows import main_inputs
from model_search.errors import DataError
from model_search.metadata.limits import MOST_LOGITS, MOST_ROW_NUMBERS
from model_search.spec.check import CHANNELS_FIRST, problem_type

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


_MOST_CHANNELS = 4  # of maps that seem to have them first: grey, colour, colour and alpha


def check_data(data: PreparedData, spec: PhoenixSpec) -> None:
    """Checks size, tasks and maps.

    Raises:
        DataError: if they cannot be searched on, or do not fit the specification.
    """
    _check_size(data)
    _check_tasks(data, spec)
    _check_maps(data, spec)


def _check_size(data: PreparedData) -> None:
    """A study of larger data could not be read again.

    Raises:
        DataError: if a row has more numbers, or the task more classes, than any that is trained.
    """
    numbers = max(math.prod(spec.shape) for spec in data.input_specs.values())
    outputs = logits_dimension(data)
    if numbers > MOST_ROW_NUMBERS or outputs > MOST_LOGITS:
        raise DataError(
            f"a row has {numbers:,} numbers, and the model {outputs:,} outputs; expected "
            f"{MOST_ROW_NUMBERS:,} and {MOST_LOGITS:,} at most"
        )


def _check_tasks(data: PreparedData, spec: PhoenixSpec) -> None:
    """The tasks of the specification are those of the data.

    Raises:
        DataError: if a task is in one of the two only, has another number of classes, or has a loss of the provider's.
    """
    named, known = {task.label_name: task for task in spec.multi_task_spec}, data.tasks
    if len(known) > 1 and data.loss_fn is not None:
        raise DataError("the provider has a loss of its own, which is for one task; leave it out, or train one task")
    primary = {data.task.label: data.task} if len(known) == 1 else known
    if named and named.keys() != primary.keys():
        raise DataError(
            f"multi_task_spec names {', '.join(map(repr, named))}, the data have the labels "
            f"{', '.join(map(repr, primary))}; expected the same"
        )
    for name, task in named.items():
        if task.HasField("number_of_classes") and task.number_of_classes != primary[name].logits_dimension:
            raise DataError(
                f"multi_task_spec says that {name!r} has {task.number_of_classes} classes (or numbers to predict); "
                f"the data have {primary[name].logits_dimension}"
            )
    if spec.primary_task_name and spec.primary_task_name != data.task.label:
        raise DataError(
            f"primary_task_name is {spec.primary_task_name!r}; the data have the label {data.task.label!r} alone"
        )


def _check_maps(data: PreparedData, spec: PhoenixSpec) -> None:
    """Maps of a specification with the channels first do not have them first, since towers read them last.

    Raises:
        DataError: if some seem to: with at most four channels, and more rows and columns than that.
    """
    if spec.cnn_data_format != CHANNELS_FIRST or not problem.problem_type(problem_type(spec)).reads_maps:
        return
    for name, one in main_inputs(data.input_specs).items():
        if len(one.shape) == 3 and one.shape[0] <= _MOST_CHANNELS < min(one.shape[1:]):
            raise DataError(
                f"cnn_data_format is {CHANNELS_FIRST!r} and the maps {name!r} have the shape {list(one.shape)}, which "
                "seems to be [channels, height, width]; expected [height, width, channels] from the provider: "
                "transpose them, np.transpose(maps, (0, 2, 3, 1))"
            )
