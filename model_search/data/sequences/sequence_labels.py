"""Labels of the steps of sequences."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.prepare_options import RULES_AS_WRITTEN, RULES_OF_NEW_STUDIES
from model_search.data.rows import LABEL
from model_search.data.sequences.sequence_files import LabelledSequences, are_of_steps
from model_search.data.tabular import labels as label_columns
from model_search.data.tabular.columns import MISSING_LABELS
from model_search.data.tabular.preprocess import Note
from model_search.data.tabular.table import check_weights
from model_search.data.task import Task, TaskKind
from model_search.data.text.tokens import is_missing
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


WEIGHT = "weight"


@dataclasses.dataclass(frozen=True)
class StepLabels:
    """Encoded labels of steps.

    Attributes:
        encoded: Class indices int32, or numbers float64 in the user's units [rows, steps], 0 at steps without a label.
        weights: float32 [rows, steps]: what a step with a label weighs; 0 for the others.
        known: Which steps have a label, bool [rows, steps].
    """

    encoded: np.ndarray
    weights: np.ndarray
    known: np.ndarray

    def take(self, rows: np.ndarray) -> StepLabels:
        """Some of the rows, by number or mask."""
        return StepLabels(self.encoded[rows], self.weights[rows], self.known[rows])

    def with_steps(self, steps: int) -> StepLabels:
        """The same labels, padded to a number of steps."""
        return StepLabels(_padded(self.encoded, steps), _padded(self.weights, steps), _padded(self.known, steps))

    def scaled(self, task: Task) -> Task:
        """The task with the scale of the labels that count."""
        return label_columns.fit_scale(task, self.encoded[self.weights > 0])

    def values(self, task: Task) -> np.ndarray:
        """As `Rows.labels` holds them."""
        pairs = label_columns.to_rows(self.encoded[self.known], task)
        found = np.zeros((*self.encoded.shape, *pairs.shape[1:]), pairs.dtype)
        found[self.known] = pairs
        return found

    @property
    def digested(self) -> bytes:
        """What a fingerprint takes of them; of weights, only where they say more than which steps have a label."""
        is_plain = bool((self.weights == self.known).all())
        return self.encoded.tobytes() + (b"" if is_plain else self.weights.tobytes())


def infer_sequence_task(found: LabelledSequences, kind: TaskKind | None, rules: int = RULES_OF_NEW_STUDIES) -> Task:
    """The task of the labels of steps.

    Args:
        found: The sequences.
        kind: What the user says it is.
        rules: By which the study reads its data.

    Raises:
        DataError: if there is nothing to learn.
    """
    return label_columns.infer_task(label_columns.read_labels(_series(_flat(found)[0]), rules=rules), kind)


def encode_step_labels(found: LabelledSequences, task: Task, note: Note | None = None) -> tuple[StepLabels, np.ndarray]:
    """Encodes labels of steps.

    Args:
        found: The sequences; their weights are those of sequences [rows] or of steps.
        task: What is predicted.
        note: Called with a sentence for labels that are not taken as they are.

    Returns:
        The labels of the sequences that have one, and which these are, bool [rows].

    Raises:
        DataError: if there are classes that the task does not have, or labels or weights do not fit the steps.
    """
    cells, valid = _flat(found, note)
    column = label_columns.read_like_training(_series(cells), task, RULES_AS_WRITTEN)
    known = column.codes >= 0
    pairs = label_columns.encode(column.take(np.flatnonzero(known)), task, note=note)
    mask = np.zeros(valid.shape, bool)
    mask[valid] = known
    encoded = np.zeros(valid.shape, pairs.dtype)
    encoded[mask] = pairs
    present = np.asarray(mask.any(axis=1))
    weights = _weights(found, valid, note) * mask
    if not weights.any():
        raise DataError("every weight of the steps with a label is 0; expected some above 0")
    return StepLabels(encoded[present], weights[present], mask[present]), present


def _weights(found: LabelledSequences, valid: np.ndarray, note: Note | None) -> np.ndarray:
    """What each step weighs, float32 [rows, steps]."""
    if found.weights is None:
        return valid.astype(np.float32)
    given = found.weights
    if len(given) != len(valid):
        raise DataError(f"{len(valid)} sequences, {len(given)} weights; expected one for each sequence, or each step")
    if not are_of_steps(given):
        return np.asarray(check_weights(_series(given, WEIGHT))[:, None] * valid, np.float32)
    weights = np.zeros(valid.shape, np.float32)
    weights[valid] = check_weights(_series(_by_step(found, given, "weights", note), WEIGHT))
    return weights


def _flat(found: LabelledSequences, note: Note | None = None) -> tuple[np.ndarray, np.ndarray]:
    """All labels one after the other, and which steps these belong to, bool [rows, steps]."""
    labels = found.labels
    if labels is None:
        raise DataError("the sequences have no labels; expected one for each step")
    if not found.has_label_per_step:
        raise DataError("received a label for each sequence; RNN_ALL_ACTIVATIONS expects a label for each step")
    return _by_step(found, labels, "labels", note), found.sequences.valid


def _by_step(found: LabelledSequences, values: np.ndarray, what: str, note: Note | None) -> np.ndarray:
    """Labels or weights of all valid steps, one after the other."""
    lengths = found.sequences.lengths.tolist()
    given = [_of_one(values[row], length, f"the {what} of sequence {row + 1}") for row, length in enumerate(lengths)]
    has_padding = _are_padded(found, {len(own) for own in given})
    for row, (own, length) in enumerate(zip(given, lengths, strict=True), start=1):
        is_complete = len(own) >= length
        if is_complete and (has_padding or _are_blank(own[length:])):
            continue
        if not is_complete or not _is_padded_alone(found, own, length):
            raise DataError(f"sequence {row} has {length} steps and {len(own)} {what}; expected one for each step")
        if note is not None:
            value = own.tolist()[-1]
            note(f"the {what} behind the {length} steps of the only sequence are all {value!r} and count as padding")
    return np.concatenate([own[:length] for own, length in zip(given, lengths, strict=True)])


def _of_one(values: Any, length: int, what: str) -> np.ndarray:
    """Labels or weights of one sequence; all are missing where None stands for them."""
    own = np.full(length, None, dtype=object) if is_missing(values) else np.asarray(values)
    if own.ndim != 1:
        raise DataError(
            f"{what} have the shape {own.shape}; expected one dimension, [steps]: several targets a step need an "
            "input_fn"
        )
    return own


def _are_padded(found: LabelledSequences, widths: set[int]) -> bool:
    """Whether labels after the valid steps are padding: all have one width.

    They may be wider than the padded sequences, which may be a part of others, unless all of these have one length: it
    is likelier then that the labels are not theirs.
    """
    has_several_lengths = len(set(found.sequences.lengths.tolist())) > 1
    return len(widths) == 1 and (widths == {found.given_steps} or has_several_lengths)


def _is_padded_alone(found: LabelledSequences, own: np.ndarray, length: int) -> bool:
    """Whether the labels behind the steps of a sequence that comes alone are padding, as they are among others.

    They have one value, and reach to where the longest sequence in training ends: real ones would be fewer, or differ.
    """
    steps = found.sequences.values.shape[1]
    is_alone = len(found.sequences) == 1 and found.given_steps < steps <= len(own)
    return is_alone and all(value == own[-1] for value in own[length:].tolist())


def _are_blank(values: np.ndarray) -> bool:
    """Whether none is a label."""
    import pandas as pd

    return bool(pd.isna(values).all()) or all(map(_is_blank, values))  # the former is quick


def _is_blank(value: Any) -> bool:
    """Whether it is no label: missing, or a text that stands for a missing one."""
    return is_missing(value) or (isinstance(value, str) and value.strip().lower() in MISSING_LABELS)


def _series(cells: np.ndarray, name: str = LABEL) -> pd.Series:
    import pandas as pd

    return pd.Series(cells, name=name)


def _padded(values: np.ndarray, steps: int) -> np.ndarray:
    found = np.zeros((len(values), steps), values.dtype)
    kept = min(steps, values.shape[1])
    found[:, :kept] = values[:, :kept]
    return found
