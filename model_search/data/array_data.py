"""Data in memory: NumPy arrays and pandas frames."""

from __future__ import annotations

import dataclasses
import operator
import os
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.named.named_inputs import are_named_inputs
from model_search.data.named.prepare import NamedRows, prepare_named
from model_search.data.prepare_options import PrepareOptions
from model_search.data.prepared_data import PreparedData
from model_search.data.provider import Provider as BaseProvider
from model_search.data.rows import as_pandas, check_form, index_notes, index_of, with_missing
from model_search.data.tabular import columns
from model_search.data.tabular.arrangement import arrangement_of
from model_search.data.tabular.chosen_rows import Kinds, Labels, infer
from model_search.data.tabular.several_tasks import OtherTask
from model_search.data.tabular.table import RawRows, RawTable, prepare_table, table_task
from model_search.data.tabular.task_choice import TASKS, parse_choices
from model_search.data.task import TaskKind
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    TableLike = str | os.PathLike[str] | pd.DataFrame | Mapping[str, Sequence[Any]] | np.ndarray


_LONGEST_SHOWN = 60  # characters of a cell in a message


class Provider(BaseProvider):
    """Rows from NumPy arrays or pandas.

    Args:
        x: Features [rows, columns]: an array of numbers (or objects), a DataFrame of numbers, booleans, categories,
            dates or text (of another library, too, if it has `to_pandas`), or a dict of columns. Or a dict of inputs by
            name, one of which has more than one number a row: pictures [rows, height, width, channels], sequences
            [rows, steps, channels] or a list of arrays of different lengths, vectors [rows, columns], frames of
            numbers, lists of texts; "<name>_lengths" are the valid steps of the sequence "<name>".
        y: Labels [rows]; of several tasks a dict of labels by name, or a frame of label columns (the first is the
            primary task, unless the specification names another). A row may lack labels of all but the primary one.
        validation: (x, y) or (x, y, weights) to validate on; a part of the rows where None.
        weights: Weights of the rows [rows], at least 0; of several tasks also a dict by name.
        task: "classification", "ordinal", "regression" or "quantile"; inferred from `y` where None. Of several tasks a
            dict by name. Inputs by name have classes or numbers alone.
        classes: The classes from the least to the most, for "ordinal"; numbers and ordered categoricals have an order.
        quantiles: For "quantile": rising numbers between 0 and 1; 0.1, 0.5 and 0.9 where None.
        log_target: Whether the logarithms of the labels are learnt, numbers above 0; predictions are in their units.
        feature_names: Names of the columns of an array; "x0", "x1", ... where None.
        groups: The group of each row [rows], or the name of a column of `x`, which is then no feature: rows of one
            group (of one person, say) stay together in the split and in folds. None where rows are independent.
        time: The time of each row [rows], numbers or dates, or the name of a column of `x`: the latest rows are those
            to validate on. None where rows have no order.

    Raises:
        DataError: if shapes or names do not fit.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        *,
        validation: tuple[Any, ...] | None = None,
        weights: Any = None,
        task: str | TaskKind | Mapping[str, str | TaskKind | None] | None = None,
        classes: Sequence[Any] | None = None,
        quantiles: Sequence[float] | None = None,
        log_target: bool | None = None,
        feature_names: Sequence[str] | None = None,
        groups: Any = None,
        time: Any = None,
    ):
        if validation is not None and (not isinstance(validation, tuple | list) or len(validation) not in (2, 3)):
            raise DataError("validation is expected as (x, y) or (x, y, weights)")
        self._named: list[NamedRows] = []
        check_form(x, "the features are")
        if are_named_inputs(x):
            self._task = parse_kinds(task)
            if classes is not None or quantiles is not None or log_target:
                raise DataError("classes, quantiles and log_target are for tables; expected none beside inputs by name")
            if groups is not None or time is not None:
                raise DataError("groups and time are for tables; expected none beside inputs by name")
            if feature_names is not None:
                raise DataError("feature_names are those of an array's columns; the inputs of a dict have their names")
            self._named = [NamedRows.of(x, Labels.of(y, weights))]
            if validation is not None:
                forms = {name: one.form for name, one in self._named[0].inputs.items()}
                self._named.append(NamedRows.of(validation[0], Labels.of(*validation[1:]), forms))
            return
        read = as_rows(x, y, weights, feature_names)
        self._rows = _arranged(_without_copies(read, x, y), groups, time, index_of(x))
        names = [str(self._rows.labels.name), *self._rows.others]
        self._tasks = parse_choices(task, names, classes, quantiles, log_target)
        self._validation = None
        if validation is not None:
            names = list(self._rows.frame.columns)
            weights = validation[2] if len(validation) == 3 else None
            given = names if feature_names is None else feature_names
            self._validation = as_rows(validation[0], validation[1], weights, given)
            check_columns(self._validation.frame, names, "the validation data")

    def number_of_classes(self) -> int:
        """The number of classes; 1 for regression."""
        if self._named:
            return infer([self._named[0].labelled], "rows", self._task).logits_dimension
        return table_task(self._raw())[1].logits_dimension

    def prepare(self, options: PrepareOptions) -> PreparedData:
        """Splits the rows and turns them into features, or into inputs by name."""
        if self._named:
            parts = [part.with_weights(options.weights) for part in self._named]
            found = prepare_named(parts, self._task, options)
            return dataclasses.replace(found, loss_fn=self.get_loss_fn(), metric_fn=self.get_metric_fn())
        return prepare_table(self._raw(options.weights), options)

    def _raw(self, weight: str = "") -> RawTable:
        rows = _with_weights(self._rows, weight)
        return RawTable(
            rows=rows,
            validation=None if self._validation is None else _with_weights(self._validation, weight),
            columns=tuple(rows.frame.columns),
            task_kinds=self._tasks,
            reading={"source": "arrays"},
            loss_fn=self.get_loss_fn(),
            metric_fn=self.get_metric_fn(),
        )


def _without_copies(rows: RawRows, x: Any, y: Any) -> RawRows:
    """The rows, with a note if their label is not called as `y` is, since a feature has that name.

    Raises:
        DataError: if that feature holds the labels themselves.
    """
    if _several_labels(y) is not None:
        return rows  # a task may not have the name of a feature
    own = str(_series(y, "label").name)
    if own not in rows.frame.columns:
        return rows
    if _are_equal(rows.frame[own], rows.labels):
        drop = f"x.drop(columns={own!r})" if hasattr(x, "columns") else "give only what is known of a row beforehand"
        raise DataError(f"column {own!r} of the features holds the labels; drop it from x: {drop}")
    said = f"the label has the name of a feature, {own!r}, and other values; it is called {rows.labels.name!r}"
    return dataclasses.replace(rows, notes=(*rows.notes, said))


def _are_equal(one: pd.Series, other: pd.Series) -> bool:
    """Whether two columns of one length hold the same cells; missing ones are equal."""
    here, there = one.notna().to_numpy(), other.notna().to_numpy()
    first, second = one.to_numpy(dtype=object)[here], other.to_numpy(dtype=object)[here]
    return bool((here == there).all()) and all(map(operator.eq, first, second))


def _arranged(rows: RawRows, groups: Any, time: Any, index: pd.Index | None) -> RawRows:
    """The rows with their groups or times; a column that names groups is no feature.

    Raises:
        DataError: if there is no such column, or not a value for each row, or the index has another order.
    """
    notes = (*rows.notes, *index_notes(index, {"groups": groups, "time": time}))
    found: dict[str, pd.Series | None] = {}
    for role, given in (("groups", groups), ("time", time)):
        if isinstance(given, str) and given not in rows.frame.columns:
            raise DataError(f"{role} is {given!r}, which is no column of the features; expected one, or an array")
        found[role] = rows.frame[given] if isinstance(given, str) else given if given is None else _series(given, role)
        values = found[role]
        if values is not None and len(values) != len(rows.frame):
            raise DataError(f"{len(rows.frame)} rows of features, {len(values)} {role}; expected one for each row")
    frame = rows.frame.drop(columns=[groups]) if isinstance(groups, str) else rows.frame
    arrangement = arrangement_of(found["groups"], found["time"])
    return dataclasses.replace(rows, frame=frame, arrangement=arrangement, notes=notes)


def _with_weights(rows: RawRows, name: str) -> RawRows:
    """The rows with the column of this name, if there is one, as their weights; as they are where there is no name.

    A column may be called "", which then is a feature like any other.
    """
    if not name or rows.weights is not None or name not in rows.frame.columns:
        return rows
    return dataclasses.replace(rows, frame=rows.frame.drop(columns=[name]), weights=rows.frame[name])


def parse_task(task: Any) -> TaskKind | None:
    """The user's choice of a task; DataError if it is invalid."""
    if task is None:
        return None
    try:
        return TaskKind(str(task).lower())
    except ValueError:
        tables = " (which are for tables)" if str(task).lower() in TASKS else ""
        raise DataError(f"task is {task!r}{tables}; expected 'classification', 'regression' or None") from None


def parse_kinds(task: Any) -> Kinds:
    """The user's choice of a task, or a dict of those of several tasks; DataError if it is invalid."""
    if isinstance(task, Mapping):
        return {str(name): parse_task(kind) for name, kind in task.items()}
    return parse_task(task)


def check_columns(frame: pd.DataFrame, names: Sequence[str], source: str) -> None:
    """DataError naming the columns that are not there."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise DataError(f"{source} lack {'column' if len(missing) == 1 else 'columns'} {', '.join(map(repr, missing))}")


def as_frame(x: Any, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Features as a DataFrame whose column names are texts.

    Raises:
        DataError: if they have no two dimensions, or the names do not fit, or a table cannot be turned into a frame.
    """
    import pandas as pd

    if names is not None and (isinstance(names, str) or not isinstance(names, Iterable) or _is_single(names)):
        raise DataError(f"feature_names is {names!r}; expected a list of names, one for each column")
    x = as_pandas(x, "features")
    if isinstance(x, pd.DataFrame):
        frame = x.reset_index(drop=True)
        frame.columns = [str(name) for name in frame.columns]
    elif isinstance(x, Mapping):
        found = {str(name): _column(values) for name, values in x.items()}
        frame = columns.side_by_side({name: _flat(values, f"column {name!r}") for name, values in found.items()})
    else:
        array = _array(x, "features")
        if array.ndim == 1 and isinstance(x, pd.Series):
            array, names = array[:, None], names or [str(x.name or "x0")]
        if array.ndim != 2:
            raise DataError(f"features have the shape {array.shape}; expected two dimensions, [rows, columns]")
        names = list(names) if names is not None else [f"x{i}" for i in range(array.shape[1])]
        if len(names) != array.shape[1]:
            is_row = isinstance(x, pd.Series) and len(x) == len(names)
            hint = ", or is it one row? Take frame.iloc[[0]], which stays a frame" if is_row else ""
            raise DataError(f"{len(names)} feature names for {array.shape[1]} columns; expected one for each{hint}")
        frame = pd.DataFrame({str(name): array[:, i] for i, name in enumerate(names)})
        if len(frame.columns) != len(names):
            raise DataError("feature names are not unique; expected a different name for each column")
    for position in range(frame.shape[1]):
        _check_cells(frame.iloc[:, position])
    doubled = sorted({str(name) for name in frame.columns[frame.columns.duplicated()]})
    if doubled:
        raise DataError(f"there are several columns named {', '.join(map(repr, doubled))}; give each its own name")
    return frame


def _column(values: Any) -> Any:
    """A column of a dict: whatever has a length, or one value."""
    is_one = isinstance(values, str | bytes | Mapping | Set) or not hasattr(values, "__len__") or _is_single(values)
    return [values] if is_one else with_missing(values)


def _flat(values: Any, what: str) -> Any:
    """A column as pandas takes it; DataError where it has several axes or several fields."""
    if isinstance(values, np.ndarray) and (values.ndim != 1 or values.dtype.names is not None):
        raise DataError(f"{what} has the shape {values.shape} and type {values.dtype}; expected one value for each row")
    return values


def _is_single(values: Any) -> bool:
    """Whether it is an array without an axis, which has no length although it seems so."""
    return getattr(values, "ndim", 1) == 0


def _array(values: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(with_missing(values))
    except (ValueError, TypeError) as error:
        raise DataError(f"the {what} cannot be read as one array ({error}); expected rows of one length") from None


def as_rows(x: Any, y: Any, weights: Any = None, names: Sequence[str] | None = None) -> RawRows:
    """Features, labels and weights as raw rows.

    Raises:
        DataError: if the features have no column, or the lengths differ, or the order of the indexes.
    """
    frame = as_frame(x, names)
    if not frame.shape[1]:
        shape = f" (their shape is {tuple(x.shape)})" if hasattr(x, "shape") else ""
        raise DataError(f"the features have no columns{shape}; expected one at least: [rows, columns]")
    return rows_of(frame, y, weights, index_of(x))


def rows_of(frame: pd.DataFrame, y: Any, weights: Any = None, index: pd.Index | None = None) -> RawRows:
    """As `as_rows`, of features that are read.

    Args:
        frame: The features.
        y: The labels.
        weights: The weights of the rows.
        index: That of the features as they were given; None where they had none.
    """
    notes = tuple(index_notes(index, {"labels": y, "weights": weights}))
    several = _several_labels(y)
    if several is not None:
        return dataclasses.replace(_rows_of_tasks(frame, several, weights), notes=notes)
    labels = _beside(_series(y, "label"), frame, "label")
    if len(labels) != len(frame):
        raise DataError(f"{len(frame)} rows of features, {len(labels)} labels; expected one label for each row")
    weight = None if weights is None else _beside(_series(weights, "weight"), frame, "weight")
    if weight is not None and len(weight) != len(frame):
        raise DataError(f"{len(frame)} rows of features, {len(weight)} weights; expected one weight for each row")
    return RawRows(frame, labels, weight, notes=notes)


def _several_labels(y: Any) -> dict[str, Any] | None:
    """The labels by task where there are several tasks, or a dict of one; None for one array of labels."""
    import pandas as pd

    y = as_pandas(y, "labels")
    if isinstance(y, pd.DataFrame) and y.shape[1] > 1:
        return {str(name): y[name] for name in y.columns}
    if not isinstance(y, Mapping):
        return None
    if not y:
        raise DataError("the labels are an empty dict; expected labels by the names of tasks")
    return {str(name): labels for name, labels in y.items()}


def _rows_of_tasks(frame: pd.DataFrame, given: Mapping[str, Any], weights: Any) -> RawRows:
    own = weights if isinstance(weights, Mapping) else dict.fromkeys(given, weights)
    unknown = [str(name) for name in own if name not in given]
    if unknown:
        raise DataError(f"weights name {unknown[0]!r}; the labels are {', '.join(map(repr, given))}")
    found = {}
    for name, values in given.items():
        if name in frame.columns:
            raise DataError(f"the label {name!r} has the name of a feature; give it another one")
        rows = rows_of(frame, _series(values, name).rename(name), own.get(name))
        found[name] = OtherTask(rows.labels, rows.weights)
    first, *rest = found
    return RawRows(frame, *found[first], {name: found[name] for name in rest})


def _beside(series: pd.Series, frame: pd.DataFrame, role: str) -> pd.Series:
    """The series, renamed if a feature has its name."""
    return series.rename(f"{series.name} ({role})") if series.name in frame.columns else series


def _series(values: Any, name: str) -> pd.Series:
    import pandas as pd

    plural = name if name.endswith("s") else f"{name}s"
    values = as_pandas(values, plural)
    if isinstance(values, pd.DataFrame) and values.shape[1] == 1:
        values = values.iloc[:, 0]
    if isinstance(values, pd.Series):
        found = values.reset_index(drop=True).rename(str(name if values.name is None else values.name))
        _check_cells(found)
        return found
    array = _as_given(values, plural)
    if array.dtype.kind in "US":
        array = array.astype(object)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and array.dtype.kind in "biuf" and _is_one_hot(array):
        array = array.argmax(axis=1)
    if array.dtype.kind == "c":
        raise DataError(f"{plural} are complex numbers; expected real ones: give the parts columns of their own")
    if array.ndim != 1:
        raise DataError(f"{plural} have the shape {array.shape}; expected one dimension, [rows]")
    found = pd.Series(_flat(array, f"the {name} column"), name=name, dtype=object if array.dtype == object else None)
    _check_cells(found)
    return found


def _as_given(values: Any, what: str) -> np.ndarray:
    """An array of the values; of a list of several types, or of more than NumPy's integers, an array of objects.

    NumPy would make texts of `[1, "a"]`, and floats of `[1, 2.5]`.
    """
    values = with_missing(values, floats=False)
    if isinstance(values, list | tuple) and not any(_has_parts(value) for value in values):
        kinds = {type(value) for value in values}
        if len(kinds) > 1 or kinds <= {str, bytes} or (kinds == {int} and np.asarray(values).dtype.kind != "i"):
            objects = np.empty(len(values), dtype=object)
            objects[:] = values
            return objects
    return _array(values, what)


def _has_parts(value: Any) -> bool:
    """Whether a label is a list or an array itself; one of parts that differ in length counts, too."""
    return isinstance(value, list | tuple | np.ndarray) and not _is_single(value)


def _is_one_hot(array: np.ndarray) -> bool:
    return bool(array.size and np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all())


def _check_cells(series: pd.Series) -> None:
    """Refuses lists, dicts and the like.

    Raises:
        DataError: naming the first row that holds one.
    """
    if series.dtype != object:
        return
    for row, cell in enumerate(series.to_numpy(dtype=object)):
        if not _is_hashable(cell):
            shown = repr(cell) if len(repr(cell)) <= _LONGEST_SHOWN else f"{repr(cell)[:_LONGEST_SHOWN]}..."
            raise DataError(
                f"column {str(series.name)!r} holds a {type(cell).__name__} in row {row + 1} ({shown}); expected a "
                "number, a text, a boolean or a date in each cell: give its parts columns of their own"
            )


def _is_hashable(cell: Any) -> bool:
    try:
        hash(cell)
    except TypeError:
        return False
    return True
