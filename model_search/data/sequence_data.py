"""Sequences: ragged or padded arrays, long CSV files and `.ts` files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model_search.data.array_data import parse_kinds
from model_search.data.prepare_options import RULES_OF_NEW_STUDIES, PrepareOptions
from model_search.data.prepared_data import PreparedData
from model_search.data.provider import Provider as BaseProvider
from model_search.data.rows import note_of_clipped
from model_search.data.sequences.padded import note_of_lengths, padded, unmarked_padding
from model_search.data.sequences.prepare import WHAT, prepare_sequences
from model_search.data.sequences.sequence_files import LabelledSequences, LongColumns, is_csv, read_file
from model_search.data.sequences.sequence_labels import infer_sequence_task
from model_search.data.tabular.chosen_rows import Labels, as_array, infer
from model_search.data.tabular.csv_file import Encoding
from model_search.data.task import TaskKind
from model_search.errors import DataError


class Provider(BaseProvider):
    """Sequences and their labels.

    Args:
        x: A list of arrays [steps, channels] of any length; or an array [rows, steps, channels]; or the path of a
            `.ts` file or of a CSV file with a row for each step.
        y: A label for each sequence (of several tasks a dict of labels by name, or a frame of label columns); or for
            each step (a list of arrays, or [rows, steps]), where the specification's problem type is
            RNN_ALL_ACTIVATIONS. None for a file, which has its own.
        lengths: The valid steps of each row of an array; all where None.
        validation: (x, y), (x, y, lengths) or (x, y, lengths, weights) to validate on, or a path; a part of the
            sequences where None.
        columns: The columns of a CSV file.
        weights: The weights of the sequences, at least 0; of several tasks also a dict by name. Where each step has a
            label, also one for each step.
        groups: The groups of the sequences (persons, say) [rows]: those of one group are all trained on, or all
            validated on. Of a CSV file `columns` names them. None where sequences are independent.
        task: "classification" or "regression"; inferred from the labels where None. Of several tasks a dict by name.
        encoding: Of the text of CSV files; `.ts` files are UTF-8.

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
        weights: Any = None,
        groups: Any = None,
        task: str | TaskKind | Mapping[str, str | TaskKind | None] | None = None,
        encoding: str = "utf-8",
    ):
        self._columns = columns or LongColumns()
        self._task = parse_kinds(task)
        self._encoding = Encoding.given(encoding, is_csv(x) or is_csv(validation))
        self._given, self._groups = (x, y, lengths, weights), groups
        self._validation = None
        if validation is not None:
            is_path = isinstance(validation, str | os.PathLike)
            if not is_path and not (isinstance(validation, tuple | list) and len(validation) in (2, 3, 4)):
                raise DataError(
                    "validation is expected as (x, y), (x, y, lengths), (x, y, lengths, weights) or the path of a file"
                )
            self._validation = (validation, None, None, None) if is_path else (*validation, None, None)[:4]
        if isinstance(x, str | os.PathLike):
            if any(given is not None for given in (y, lengths, weights, groups)):
                raise DataError(
                    "a file holds its own labels, lengths, weights and groups (columns=LongColumns(weight=, groups=)); "
                    "leave y, lengths, weights and groups out"
                )
        elif y is None:
            raise DataError("y is missing: expected a label for each sequence (or for each step)")

    def number_of_classes(self) -> int:
        """The number of classes; 1 for regression."""
        found = self._read(self._given, self._columns, per_step=False)
        if found.has_label_per_step:
            kind = None if isinstance(self._task, Mapping) else self._task
            return infer_sequence_task(found, kind).logits_dimension
        return infer([found.counted], WHAT, self._task).logits_dimension

    def prepare(self, options: PrepareOptions) -> PreparedData:
        """Pads the sequences and splits them."""
        given = [part for part in (self._given, self._validation) if part is not None]
        columns = dataclasses.replace(self._columns, weight=self._columns.weight or options.weights or None)
        parts: list[LabelledSequences] = []
        for part in given:
            channels = parts[0].channels if parts else ()
            parts.append(self._read(part, columns, options.label_per_step, channels, options.reading_rules))
        if self._groups is not None:
            parts[0] = dataclasses.replace(parts[0], groups=as_array(self._groups))
        named = ((self._columns.weight, "weights", parts[0].weights), (self._columns.groups, "groups", parts[0].groups))
        for name, what, found in named:
            if name is not None and found is None:
                raise DataError(f"there is no column {name!r} of {what}; expected one in a CSV file")
        about = {"sequences": {"names": list(parts[0].channels), "columns": columns.to_json()}}
        notes = [sentence for x, _, lengths, _ in given if (sentence := unmarked_padding(x, lengths)) is not None]
        notes += [sentence for part in parts for sentence in part.notes]
        clipped = note_of_clipped(sum(part.sequences.clipped for part in parts), "sequences")
        notes += [clipped] if clipped else []
        long = note_of_lengths(np.concatenate([part.sequences.lengths for part in parts]))
        notes += [] if long is None else [long]
        return prepare_sequences(
            parts,
            self._task,
            options,
            {**about, "reading": {"source": "sequences", **self._encoding.to_json()}, "notes": notes},
            (self.get_loss_fn(), self.get_metric_fn()),
        )

    def _read(
        self,
        part: tuple[Any, ...],
        columns: LongColumns,
        per_step: bool,
        channels: Sequence[str] = (),
        rules: int = RULES_OF_NEW_STUDIES,
    ) -> LabelledSequences:
        x, y, lengths, weights = part
        if isinstance(x, str | os.PathLike):
            found = read_file(x, columns, per_step, self._encoding, channels, rules)
            missing = [name for name in columns.others if name not in found.others]
            if found.labels is None or missing:
                column = columns.label if found.labels is None else missing[0]
                raise DataError(f"{os.fspath(x)} has no labels (column {column!r}); expected some to learn")
            return found
        y = np.asarray(y) if per_step and hasattr(y, "columns") else y  # a frame [rows, steps], not of several tasks
        found = LabelledSequences(padded(x, lengths), None).with_labels(Labels.of(y, weights))
        if found.labels is not None and len(found.labels) != len(found.sequences):
            raise DataError(
                f"{len(found.sequences)} sequences, {len(found.labels)} labels; expected one for each sequence"
            )
        return found
