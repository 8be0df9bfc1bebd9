"""Labels of sequences: one for each, or one for each step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from model_search.data.prepare_options import READING_RULES
from model_search.data.rows import LABEL
from model_search.data.sequences.sequence_files import LabelledSequences
from model_search.data.tabular import labels as label_columns
from model_search.data.task import Task, TaskKind
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class EncodedLabels:
    """Encoded labels.

    Attributes:
        encoded: Class indices int32, or numbers float64 in the user's units: [rows], or [rows, steps], 0 at steps
            without a label.
        weights: float32 [rows, steps]: 1 where a step has a label, else 0; None for a label for each sequence.
    """

    encoded: np.ndarray
    weights: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> EncodedLabels:
        """Some of the rows, by number or mask."""
        return EncodedLabels(self.encoded[rows], None if self.weights is None else self.weights[rows])

    def with_steps(self, steps: int) -> EncodedLabels:
        """The same labels, padded to a number of steps."""
        if self.weights is None:
            return self
        return EncodedLabels(_padded(self.encoded, steps), _padded(self.weights, steps))

    def scaled(self, task: Task) -> Task:
        """The task with the scale of these labels."""
        known = self.encoded if self.weights is None else self.encoded[self.weights > 0]
        return label_columns.fit_scale(task, known)

    def values(self, task: Task) -> np.ndarray:
        """As `Rows.labels` holds them."""
        if self.weights is None:
            return label_columns.to_rows(self.encoded, task)
        known = self.weights > 0
        pairs = label_columns.to_rows(self.encoded[known], task)
        found = np.zeros((*self.encoded.shape, *pairs.shape[1:]), pairs.dtype)
        found[known] = pairs
        return found


def infer_sequence_task(found: LabelledSequences, per_step: bool, kind: TaskKind | None) -> Task:
    """The task of some labels.

    Raises:
        DataError: if there is nothing to learn.
    """
    return label_columns.infer_task(label_columns.read_labels(_series(_flat(found, per_step)[0])), kind)


def encode_labels(
    found: LabelledSequences, per_step: bool, task: Task, note: Callable[[str], None] | None = None
) -> tuple[EncodedLabels, np.ndarray]:
    """Encodes labels.

    Args:
        found: The sequences.
        per_step: Whether there is a label for each step.
        task: What is predicted.
        note: Called with a sentence for labels that are not taken as they are.

    Returns:
        The labels of the sequences that have one, and which these are, bool [rows].

    Raises:
        DataError: if there are classes that the task does not have, or the labels do not fit the steps.
    """
    cells, valid = _flat(found, per_step)
    column = label_columns.read_like_training(_series(cells), task, READING_RULES)
    known = column.codes >= 0
    pairs = label_columns.encode(column.take(np.flatnonzero(known)), task, note=note)
    if valid is None:
        return EncodedLabels(pairs), known
    mask = np.zeros(valid.shape, bool)
    mask[valid] = known
    encoded = np.zeros(valid.shape, pairs.dtype)
    encoded[mask] = pairs
    present = np.asarray(mask.any(axis=1))
    return EncodedLabels(encoded[present], mask[present].astype(np.float32)), present


def _flat(found: LabelledSequences, per_step: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """All labels one after the other, and for labels of steps which steps these belong to, bool [rows, steps]."""
    labels = found.labels
    if labels is None:
        raise DataError("the sequences have no labels; expected one for each")
    has_steps = found.has_label_per_step
    if not per_step:
        if has_steps:
            raise DataError(
                "received a label for each step; expected one for each sequence, or the problem type "
                "RNN_ALL_ACTIVATIONS"
            )
        return labels, None
    if not has_steps:
        raise DataError("received a label for each sequence; RNN_ALL_ACTIVATIONS expects a label for each step")
    valid = found.sequences.valid
    parts = []
    for row, length in enumerate(found.sequences.lengths):
        own = np.asarray(labels[row])
        if len(own) < length:
            raise DataError(f"sequence {row + 1} has {length} steps and {len(own)} labels; expected one for each step")
        parts.append(own[:length])
    return np.concatenate(parts), valid


def _series(cells: np.ndarray) -> pd.Series:
    import pandas as pd

    return pd.Series(cells, name=LABEL)


def _padded(values: np.ndarray, steps: int) -> np.ndarray:
    found = np.zeros((len(values), steps), values.dtype)
    kept = min(steps, values.shape[1])
    found[:, :kept] = values[:, :kept]
    return found
