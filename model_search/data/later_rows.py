"""Rows to predict or to evaluate on after the search; read like the training rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.array_data import check_columns, index_of, rows_of
from model_search.data.audio.later_recordings import labelled_recordings, recordings_of
from model_search.data.images.later_pictures import labelled_pictures, pictures_of
from model_search.data.inputs import InputLayout
from model_search.data.named.prepare import later_inputs, later_labelled
from model_search.data.prepare_options import RULES_AS_WRITTEN, reading_rules_of
from model_search.data.rows import FEATURES, LABEL, Rows
from model_search.data.sequences.later_sequences import fitted, labelled_sequences, sequences_of
from model_search.data.sequences.sequence_labels import encode_step_labels
from model_search.data.stream_labels import LabelEncoding, label_array, read_weights
from model_search.data.streams import StreamReader, valid_steps, weights_among
from model_search.data.tabular import earlier_rules, labels
from model_search.data.tabular.chosen_rows import Labels, evaluated_rows
from model_search.data.tabular.columns import Change, merged
from model_search.data.tabular.csv_reading import read_table
from model_search.data.tabular.preprocess import DateOrders, Note, Preprocessor, sentences
from model_search.data.tabular.several_tasks import OtherTask, encode_other
from model_search.data.tabular.table import RawRows, check_weights, missing_labels
from model_search.data.task import Task, tasks_of
from model_search.data.text.later_texts import labelled_texts, texts_of
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from model_search.data.array_data import TableLike


def inputs_of(source: TableLike, description: Mapping[str, Any], note: Note | None = None) -> dict[str, np.ndarray]:
    """The inputs as a tower reads them.

    Args:
        source: Path of a CSV file, DataFrame, dict of columns, or array; for a study whose data came from an
            `input_fn`, a dict of arrays by feature or one array; for pictures, see `images.later_pictures`.
        description: The study's description of its data.
        note: Called with a sentence for each column in which cells are not taken as they are, or on what is left out.

    Returns:
        Arrays [rows, ...] by name.

    Raises:
        DataError: if columns are missing, or the source cannot be read.
    """
    if "images" in description:
        return pictures_of(source, description, note)
    if "audio" in description:
        return dict(fitted(recordings_of(source, description, note), description).sequences.inputs)
    if "named" in description:
        return later_inputs(source, description, note)
    if "text" in description:
        return texts_of(source, description, note)
    if "sequences" in description:
        return sequences_of(source, description, note)
    schema = description.get("schema")
    if schema is None:
        layout = InputLayout.from_description(description)
        _note_rounded(layout, source, note)
        return layout.read(source)
    return _features(read_table(source, description), description, note)


def _features(frame: pd.DataFrame, description: Mapping[str, Any], note: Note | None) -> dict[str, np.ndarray]:
    if reading_rules_of(description) < RULES_AS_WRITTEN:
        frame = earlier_rules.read_frame(frame)
    return {FEATURES: Preprocessor.from_json(description["schema"]).transform(frame, note)}


class PieceReader:
    """Reads the features of a table piece by piece; what is not taken as it is, is said for all pieces together.

    Args:
        description: The study's description of its data.
    """

    def __init__(self, description: Mapping[str, Any]):
        self._earlier = reading_rules_of(description) < RULES_AS_WRITTEN
        self._preprocessor = Preprocessor.from_json(description["schema"])
        self._orders = DateOrders()
        self._changes: dict[str, list[Change]] = {}

    def read(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        """The inputs of some rows, as `inputs_of` gives them; dates are read in the order of the pieces before.

        Raises:
            DataError: as `inputs_of`, or if the rows show that this order was guessed wrongly.
        """
        frame = earlier_rules.read_frame(frame) if self._earlier else frame
        matrix, changes = self._preprocessor.transform_and_compare(frame, self._orders)
        for name, found in changes.items():
            self._changes[name] = merged([self._changes.get(name, []), found])
        return {FEATURES: matrix}

    def notes(self) -> Iterator[str]:
        """A sentence for each column in which cells are not taken as they are."""
        return sentences(self._changes)


def steps_of(inputs: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> np.ndarray | None:
    """Which steps of each row are no padding, bool [rows, steps]; None where there is a label for each row.

    Args:
        inputs: What `inputs_of` gives.
        description: The study's description of its data.
    """
    if not description.get("label_per_step", False):
        return None
    return valid_steps(InputLayout.from_description(description).with_room(inputs), inputs)


def labelled_rows(
    source: TableLike | tuple[Any, ...], description: Mapping[str, Any], note: Note | None = None
) -> Rows:
    """Rows with labels; rows without one are dropped.

    Args:
        source: As for `inputs_of`, with the label column among the columns; or a pair (x, y) or (x, y, weights), for
            sequences (x, y, lengths) or (x, y, lengths, weights).
        description: The study's description of its data.
        note: As for `inputs_of`; called for labels, too.

    Raises:
        DataError: if there is no label column, it holds unknown classes, or labels by name are those of no task.
    """
    most = 4 if "sequences" in description and "audio" not in description else 3
    if isinstance(source, tuple) and not 2 <= len(source) <= most:
        raise DataError(f"received a tuple of {len(source)}; expected (x, y) or (x, y, weights)")
    if "images" in description:
        return _picture_rows(source, description, note)
    if "named" in description:
        return later_labelled(source, description, note)
    if "text" in description:
        return labelled_texts(source, description, note)
    if "sequences" in description:
        return _sequence_rows(source, description, note)
    if description.get("schema") is None:
        return _stream_rows(source, description, note)
    tasks = tasks_of(description)
    primary, *others = tasks
    if isinstance(source, tuple):
        weights = source[2] if len(source) == 3 else None
        rows = rows_of(read_table(source[0], description), source[1], weights, index_of(source[0]))
        for sentence in rows.notes:
            (note or _silent)(sentence)
        rows = rows.with_primary(primary) if Labels.of(source[1]).are_named(tasks) else rows
    else:
        frame = read_table(source, description)
        series, weights = label_columns(frame, tasks[primary])
        # Labels of the other tasks need not be there.
        more = {name: OtherTask(frame[name], weights) for name in others if name in frame.columns}
        rows = RawRows(frame, series, weights, more)
    present, found = label_rows(rows.labels, rows.weights, description, note)
    inputs = _features(rows.frame.iloc[present].reset_index(drop=True), description, note)
    if not others:
        return Rows(inputs, found.labels, found.weights)
    given, kept = {primary: found.label}, {primary: found.weight}
    for name, (series, raw) in rows.others.items():
        if name in tasks:
            own = None if raw is None else check_weights(raw)[present]
            other = encode_other(series, tasks[name], present, own, note or _silent)
            given[name], kept[name] = other.to_rows(tasks[name]), other.weights
    return Rows(inputs, given, {name: values for name, values in kept.items() if values is not None})


def _silent(sentence: str) -> None:
    """Takes a sentence that nobody wants to read."""


def label_columns(frame: pd.DataFrame, task: Task) -> tuple[pd.Series, pd.Series | None]:
    """The columns of labels and, where there is one, of weights.

    Raises:
        DataError: if there is no label column.
    """
    check_columns(frame, [task.label], "the rows to evaluate on")
    has_weights = task.weight is not None and task.weight in frame.columns
    return frame[task.label], frame[task.weight] if has_weights else None


def label_rows(
    series: pd.Series, weights: pd.Series | None, description: Mapping[str, Any], note: Note | None = None
) -> tuple[np.ndarray, Rows]:
    """The numbers of the rows that have a label, and these rows, without inputs.

    Args:
        series: The labels of all rows.
        weights: Their weights, if they have some.
        description: The study's description of its data.
        note: As for `inputs_of`.

    Raises:
        DataError: if no row has a label, or one is unknown.
    """
    task, rules = Task.of_description(description), reading_rules_of(description)
    column = labels.read_like_training(series, task, rules)
    present = np.flatnonzero(~column.missing)
    lost = len(column.codes) - len(present)
    if lost and note is not None:
        note(f"{lost} rows have no label in column {column.name!r} and are left out{missing_labels(column)}")
    if not len(present):
        raise DataError(f"no row has a label (column {column.name!r}); expected labels to evaluate on")
    targets = labels.to_rows(labels.encode(column.take(present), task, rules, note), task)
    return present, Rows.of({}, targets, None if weights is None else check_weights(weights)[present])


def _picture_rows(source: Any, description: Mapping[str, Any], note: Note | None) -> Rows:
    """Pictures with labels; those without one are dropped."""
    inputs, given = labelled_pictures(source, description, note)
    return evaluated_rows(inputs, given, "pictures", description, note)


def _sequence_rows(source: Any, description: Mapping[str, Any], note: Note | None) -> Rows:
    """Sequences with labels; those without one are dropped."""
    if "audio" in description:
        found = fitted(labelled_recordings(source, description, note), description)
    else:
        found = labelled_sequences(source, description, note)
    if found.labels is not None and len(found.labels) != len(found.sequences):
        raise DataError(f"{len(found.sequences)} sequences, {len(found.labels)} labels; expected one for each")
    if not description.get("label_per_step", False):
        return evaluated_rows(found.sequences.inputs, found.counted[1], "sequences", description, note)
    task = Task.of_description(description)
    encoded, present = encode_step_labels(found, task, note)
    if not present.all() and note is not None:
        note(f"{int((~present).sum())} sequences have no label and are left out")
    known = found.sequences.take(present)
    given = encoded.with_steps(known.values.shape[1])
    return Rows(known.inputs, {LABEL: given.values(task)}, {LABEL: given.weights})


def _note_rounded(layout: InputLayout, features: Any, note: Note | None) -> None:
    if note is not None:
        for sentence in layout.rounded([features]):
            note(sentence)


def _stream_rows(source: Any, description: Mapping[str, Any], note: Note | None) -> Rows:
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
    found = label_array(source[1])
    given = weights_among(
        source[0], source[2] if len(source) == 3 else None, str(description.get("weight_feature", ""))
    )
    weights = read_weights(given, len(found))
    if weights is not None and not weights.any():
        raise DataError("the weights are all 0; expected some above 0")
    _note_rounded(layout, source[0], note)
    return reader.rows(source[0], found, weights)
