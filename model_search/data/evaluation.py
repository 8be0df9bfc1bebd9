"""Rows that come after the search: to predict, or to evaluate on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data import labels
from model_search.data.array_data import as_rows, check_columns
from model_search.data.csv_reading import read_table
from model_search.data.preprocess import Preprocessor
from model_search.data.table import check_weights
from model_search.data.task import Task
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from model_search.data.array_data import TableLike


def features_of(source: TableLike, description: Mapping[str, Any]) -> np.ndarray:
    """The features as a tower reads them.

    Args:
        source: Path of a CSV file, DataFrame, dict of columns, or array; for a study whose data came from an
            `input_fn`, a dict of arrays by feature or one array.
        description: What the study remembers of its data.

    Returns:
        float32 [rows, ...].

    Raises:
        DataError: if columns are missing, or the source cannot be read.
    """
    schema = description.get("schema")
    if schema is None:
        return _stream_features(source, description)
    return Preprocessor.from_json(schema).transform(read_table(source, description))


def labelled_rows(
    source: TableLike | tuple[Any, ...], description: Mapping[str, Any]
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray | None]:
    """Rows with labels; those without one are left out.

    Args:
        source: As for `features_of`, with the label column among the columns; or a pair (x, y) or (x, y, weights).
        description: What the study remembers of its data.

    Returns:
        The raw rows, the labels as in `Rows.labels`, and the weights float32 [rows] (None where there are none).

    Raises:
        DataError: if there is no label column, or it holds unknown classes.
    """
    task = Task.from_json(description["task"])
    weights = None
    if isinstance(source, tuple):
        if len(source) not in (2, 3):
            raise DataError(f"received a tuple of {len(source)}; expected (x, y) or (x, y, weights)")
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
    targets = labels.encode(column.take(present), task)
    checked = None if weights is None else check_weights(weights)[present]
    return frame.iloc[present].reset_index(drop=True), labels.to_rows(targets, task), checked


def _stream_features(source: Any, description: Mapping[str, Any]) -> np.ndarray:
    names: Sequence[str] = description.get("columns", ())
    if names and (isinstance(source, Mapping) or hasattr(source, "columns")):
        missing = [name for name in names if name not in source]
        if missing:
            raise DataError(
                f"the features {', '.join(map(repr, missing))} are missing; the model reads {', '.join(names)}"
            )
        parts = [np.asarray(source[name], dtype=np.float32) for name in names]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
    if names or isinstance(source, str) or not hasattr(source, "__array__"):
        wanted = f"a dict of arrays ({', '.join(names)})" if names else "an array"
        raise DataError(f"received {type(source).__name__}; this study's provider yields features as {wanted}")
    return np.asarray(source, dtype=np.float32)
