"""Sequences: ragged or padded arrays, long CSV files and `.ts` files."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from typing import Any

import numpy as np

from model_search.data.array_data import parse_task
from model_search.data.prepare_options import PrepareOptions
from model_search.data.prepared_data import PreparedData, TableData
from model_search.data.provider import Provider as BaseProvider
from model_search.data.rows import LABEL, Rows
from model_search.data.sequences.padded import LENGTHS, SEQUENCE, Padded, padded
from model_search.data.sequences.sequence_files import LabelledSequences, LongColumns, read_file
from model_search.data.sequences.sequence_labels import EncodedLabels, encode_labels, infer_sequence_task
from model_search.data.tabular.split import split_rows
from model_search.data.task import Task, TaskKind
from model_search.errors import DataError

MIN_SEQUENCES = 10


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
        per_step = options.label_per_step
        given = [part for part in (self._given, self._validation) if part is not None]
        parts = [self._read(part, per_step) for part in given]
        task = infer_sequence_task(parts[0], per_step, options.task_kind or self._task)
        notes: list[str] = []
        encoded = [_encoded(part, per_step, task, notes) for part in parts]
        if len(encoded[0].sequences) < MIN_SEQUENCES:
            raise DataError(
                f"there are {len(encoded[0].sequences)} labelled sequences; expected {MIN_SEQUENCES} or more"
            )
        split: dict[str, Any] = {"by": "given validation data"}
        if len(encoded) == 1:
            encoded, split = _split(encoded[0], task, options)
        train, valid = encoded
        steps = max(part.sequences.values.shape[1] for part in encoded)
        train, valid = train.with_steps(steps), valid.with_steps(steps)
        if train.sequences.values.shape[2] != valid.sequences.values.shape[2]:
            raise DataError("the validation sequences have another number of channels than those to train on")
        split |= {"train_rows": len(train.sequences), "valid_rows": len(valid.sequences)}
        task = train.labels.scaled(task)
        return TableData(
            task=task,
            train=train.rows(task),
            valid=valid.rows(task),
            fingerprint=_fingerprint([train, valid], task),
            description={
                "task": task.to_json(),
                "sequences": {
                    "steps": steps,
                    "channels": train.sequences.values.shape[2],
                    "names": list(parts[0].channels),
                    "columns": dataclasses.asdict(self._columns),
                },
                "columns": [SEQUENCE, LENGTHS],
                "split": split,
                "label_per_step": per_step,
                "reading": {"source": "sequences"},
                "notes": notes,
            },
            loss_fn=self.get_loss_fn(),
            metric_fn=self.get_metric_fn(),
            lengths={SEQUENCE: LENGTHS},
            own_specs={SEQUENCE: train.sequences.spec()},
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


@dataclasses.dataclass(frozen=True)
class _Encoded:
    sequences: Padded
    labels: EncodedLabels

    def take(self, rows: np.ndarray) -> _Encoded:
        return _Encoded(self.sequences.take(rows), self.labels.take(rows))

    def with_steps(self, steps: int) -> _Encoded:
        return _Encoded(self.sequences.with_steps(steps), self.labels.with_steps(steps))

    def rows(self, task: Task) -> Rows:
        weights = self.labels.weights
        return Rows(
            self.sequences.inputs, {LABEL: self.labels.values(task)}, {} if weights is None else {LABEL: weights}
        )


def _as_labels(y: Any) -> np.ndarray:
    """Labels [rows], [rows, steps], or [rows] of arrays of different lengths."""
    if isinstance(y, np.ndarray) or hasattr(y, "to_numpy"):
        return np.asarray(y)
    found = np.empty(len(y), dtype=object)
    found[:] = list(y)
    return found


def _encoded(part: LabelledSequences, per_step: bool, task: Task, notes: list[str]) -> _Encoded:
    labels, present = encode_labels(part, per_step, task)
    lost = int((~present).sum())
    if lost:
        notes.append(f"{lost} of {len(present)} sequences have no label and are left out")
    return _Encoded(part.sequences.take(present) if lost else part.sequences, labels)


def _split(part: _Encoded, task: Task, options: PrepareOptions) -> tuple[list[_Encoded], dict[str, Any]]:
    is_by_class = task.kind is TaskKind.CLASSIFICATION and part.labels.weights is None
    classes = part.labels.encoded if is_by_class else None
    train, valid, _ = split_rows(len(part.sequences), options.valid_fraction, options.seed, classes)
    if not len(valid):
        raise DataError("every class has too few sequences to keep some for validation; give validation data")
    by = "shuffled, stratified by class" if is_by_class else "shuffled"
    return [part.take(train), part.take(valid)], {
        "by": by,
        "seed": options.seed,
        "valid_fraction": options.valid_fraction,
    }


def _fingerprint(parts: list[_Encoded], task: Task) -> str:
    digest = hashlib.sha256(repr((task.kind.value, task.label, task.classes)).encode())
    for part in parts:
        digest.update(repr(part.sequences.values.shape).encode())
        digest.update(np.ascontiguousarray(part.sequences.values).data)
        digest.update(part.sequences.lengths.tobytes())
        digest.update(part.labels.encoded.tobytes())
    return digest.hexdigest()
