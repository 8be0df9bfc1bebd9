"""Sequences: ragged or padded arrays, long CSV files and `.ts` files."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from model_search.data.array_data import parse_task
from model_search.data.prepare_options import PrepareOptions
from model_search.data.prepared_data import PreparedData
from model_search.data.provider import Provider as BaseProvider
from model_search.data.sequences.padded import padded, unmarked_padding
from model_search.data.sequences.prepare import prepare_sequences
from model_search.data.sequences.sequence_files import LabelledSequences, LongColumns, read_file
from model_search.data.sequences.sequence_labels import infer_sequence_task
from model_search.data.task import TaskKind
from model_search.errors import DataError


class Provider(BaseProvider):
    """Sequences and their labels.

    Args:
        x: A list of arrays [steps, channels] of any length; or an array [rows, steps, channels]; or the path of a
            `.ts` file or of a CSV file with a row for each step.
        y: A label for each sequence; or for each step (a list of arrays, or [rows, steps]), where the specification's
            problem type is RNN_ALL_ACTIVATIONS. None for a file, which has its own.
        lengths: The valid steps of each row of an array; all where None.
        validation: (x, y) or (x, y, lengths) to validate on, or a path; a part of the sequences where None.
        columns: The columns of a CSV file.
        task: "classification" or "regression"; inferred from the labels where None.

    Raises:
        DataError: if the arguments do not fit.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        lengths: Any = None,
        *,
        validation: Any = None,
        columns: LongColumns | None = None,
        task: str | TaskKind | None = None,
    ):
        self._columns = columns or LongColumns()
        self._task = parse_task(task)
        self._given = (x, y, lengths)
        self._validation = None
        if validation is not None:
            is_path = isinstance(validation, str | os.PathLike)
            if not is_path and not (isinstance(validation, tuple | list) and len(validation) in (2, 3)):
                raise DataError("validation is expected as (x, y), (x, y, lengths) or the path of a file")
            self._validation = (validation, None, None) if is_path else (*validation, None)[:3]
        if isinstance(x, str | os.PathLike):
            if y is not None or lengths is not None:
                raise DataError("a file holds its own labels and lengths; leave y and lengths out")
        elif y is None:
            raise DataError("y is missing: expected a label for each sequence (or for each step)")

    def number_of_classes(self) -> int:
        """The number of classes; 1 for regression."""
        found = self._read(self._given, per_step=False)
        return infer_sequence_task(found, found.has_label_per_step, self._task).logits_dimension

    def prepare(self, options: PrepareOptions) -> PreparedData:
        """Pads the sequences and splits them."""
        given = [part for part in (self._given, self._validation) if part is not None]
        parts = [self._read(part, options.label_per_step) for part in given]
        about = {"sequences": {"names": list(parts[0].channels), "columns": dataclasses.asdict(self._columns)}}
        notes = [sentence for x, _, lengths in given if (sentence := unmarked_padding(x, lengths)) is not None]
        return prepare_sequences(
            parts,
            dataclasses.replace(options, task_kind=options.task_kind or self._task),
            {**about, "reading": {"source": "sequences"}, "notes": notes},
            (self.get_loss_fn(), self.get_metric_fn()),
        )

    def _read(self, part: tuple[Any, Any, Any], per_step: bool) -> LabelledSequences:
        x, y, lengths = part
        if isinstance(x, str | os.PathLike):
            found = read_file(x, self._columns, per_step)
            if found.labels is None:
                raise DataError(
                    f"{os.fspath(x)} has no labels (column {self._columns.label!r}); expected some to learn"
                )
            return found
        sequences = padded(x, lengths)
        if len(y) != len(sequences):
            raise DataError(f"{len(sequences)} sequences, {len(y)} labels; expected one for each sequence")
        return LabelledSequences(sequences, _as_labels(y))


def _as_labels(y: Any) -> np.ndarray:
    """Labels [rows], [rows, steps], or [rows] of arrays of different lengths."""
    if isinstance(y, np.ndarray) or hasattr(y, "to_numpy"):
        return np.asarray(y)
    found = np.empty(len(y), dtype=object)
    found[:] = list(y)
    return found
