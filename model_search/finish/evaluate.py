"""Metrics of a model on rows with labels, of one task or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from model_search.data.labelled_rows import LabelledRows
from model_search.data.rows import Rows
from model_search.data.task import Task, TaskKind
from model_search.errors import DataError
from model_search.training.metrics import all_metrics


def metrics_of_tasks(
    tasks: Mapping[str, Task], rows: Rows, logits: np.ndarray, temperatures: Sequence[float]
) -> dict[str, float]:
    """Every usual metric of each task; those of all but the primary one as "accuracy/task".

    Args:
        tasks: By name, the primary one first.
        rows: Rows with labels.
        logits: A model's logits for them, of all tasks side by side.
        temperatures: By which the logits of each task that predicts classes are divided.

    Raises:
        DataError: if no row counts in the primary task; the metrics of a further one are left out then.
    """
    if len(tasks) == 1:
        tasks = {rows.task: next(iter(tasks.values()))}
    found: dict[str, float] = {}
    given = dict(zip(tasks, temperatures, strict=True))
    for place, (name, (known, own)) in enumerate(LabelledRows.of_tasks(tasks, rows, logits).items()):
        if not known.count:
            if not place:
                raise DataError(f"every weight of the {len(known)} rows is 0; expected some above 0 to evaluate on")
            continue
        is_classes = known.task.kind is TaskKind.CLASSIFICATION
        values = all_metrics(known.task, known.labels, own / given[name] if is_classes else own, known.weights)
        found |= {f"{metric}/{name}": value for metric, value in values.items()} if place else values
    return found
