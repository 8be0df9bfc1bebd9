"""Rows to predict or to evaluate on after the search; read like the training rows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.array_data import as_rows, check_columns
from model_search.data.inputs import InputLayout, as_array
from model_search.data.rows import FEATURES, Rows
from model_search.data.stream_labels import LabelEncoding, read_weights
from model_search.data.streams import StreamReader, valid_steps
from model_search.data.tabular import labels
from model_search.data.tabular.csv_reading import read_table
from model_search.data.tabular.preprocess import Preprocessor
from model_search.data.tabular.table import check_weights
from model_search.data.task import Task
from model_search.errors import DataError

if TYPE_CHECKING:
    from model_search.data.array_data import TableLike


def inputs_of(source: TableLike, description: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The inputs as a tower reads them.

    Args:
        source: Path of a CSV file, DataFrame, dict of columns, or array; for a study whose data came from an
            `input_fn`, a dict of arrays by feature or one array.
        description: The study's description of its data.

    Returns:
        Arrays [rows, ...] by name.

    Raises:
        DataError: if columns are missing, or the source cannot be read.
    """
    schema = description.get("schema")
    if schema is None:
        return InputLayout.from_description(description).read(source)
    return {FEATURES: Preprocessor.from_json(schema).transform(read_table(source, description))}


def steps_of(inputs: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> np.ndarray | None:
    """Which steps of each row are no padding, bool [rows, steps]; None where there is a label for each row.

    Args:
        inputs: What `inputs_of` gives.
        description: The study's description of its data.
    """
    if not description.get("label_per_step", False):
        return None
    return valid_steps(InputLayout.from_description(description), inputs)


def labelled_rows(source: TableLike | tuple[Any, ...], description: Mapping[str, Any]) -> Rows:
    """Rows with labels; rows without one are dropped.

    Args:
        source: As for `inputs_of`, with the label column among the columns; or a pair (x, y) or (x, y, weights).
        description: The study's description of its data.

    Raises:
        DataError: if there is no label column, or it holds unknown classes.
    """
    if isinstance(source, tuple) and len(source) not in (2, 3):
        raise DataError(f"received a tuple of {len(source)}; expected (x, y) or (x, y, weights)")
    if description.get("schema") is None:
        return _stream_rows(source, description)
    task = Task.of_description(description)
    weights = None
    if isinstance(source, tuple):
        rows = as_rows(read_table(source[0], description), *source[1:])
        frame, series, weights = rows.frame, rows.labels, rows.weights
    else:
        frame = read_table(source, description)
        check_columns(frame, [task.label], "the rows to evaluate on")
        series = frame[task.label]
        if task.weight is not None and task.weight in frame.columns:
            weights = frame[task.weight]
    column = labels.read_labels(series)
    present = np.flatnonzero(~column.missing)
    if not len(present):
        raise DataError(f"no row has a label (column {column.name!r}); expected labels to evaluate on")
    targets = labels.to_rows(labels.encode(column.take(present), task), task)
    checked = None if weights is None else check_weights(weights)[present]
    return Rows.of(inputs_of(frame.iloc[present].reset_index(drop=True), description), targets, checked)


def _stream_rows(source: Any, description: Mapping[str, Any]) -> Rows:
    """Rows with labels, in the form in which the study's `input_fn` yielded them."""
    if not isinstance(source, tuple):
        shown = f"a path ({os.fspath(source)!r})" if isinstance(source, str | os.PathLike) else type(source).__name__
        raise DataError(
            f"received {shown}; this study's data came from an input_fn: expected a pair (features, labels), or "
            "(features, labels, weights), as it yields them"
        )
    layout = InputLayout.from_description(description)
    encoding = LabelEncoding(Task.of_description(description))
    reader = StreamReader(layout, encoding, bool(description.get("label_per_step", False)))
    found = as_array(source[1], "the labels")
    weights = read_weights(source[2] if len(source) == 3 else None, len(found))
    if weights is not None and not weights.any():
        raise DataError("the weights are all 0; expected some above 0")
    return reader.rows(source[0], found, weights)
