"""From labelled sequences to `TableData`; every provider of sequences shares it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from model_search.data.prepare_options import PrepareOptions
from model_search.data.prepared_data import TableData
from model_search.data.rows import LABEL, Rows
from model_search.data.sequences.padded import LENGTHS, SEQUENCE, Padded
from model_search.data.sequences.sequence_files import LabelledSequences
from model_search.data.sequences.sequence_labels import EncodedLabels, encode_labels, infer_sequence_task
from model_search.data.tabular.split import split_rows
from model_search.data.task import Task, TaskKind
from model_search.errors import DataError

MIN_SEQUENCES = 10


def prepare_sequences(
    parts: Sequence[LabelledSequences],
    options: PrepareOptions,
    about: Mapping[str, Any],
    functions: tuple[Callable[..., Any] | None, Callable[..., Any] | None] = (None, None),
) -> TableData:
    """Infers the task, splits the sequences and pads them.

    Args:
        parts: The sequences to train on; then, where they are given, those to validate on.
        options: How to prepare them.
        about: What the provider adds to the description: how it reads ("reading"), its notes, and anything else.
        functions: The provider's own loss and metric.

    Raises:
        DataError: if there are too few, or the labels do not fit.
    """
    per_step, notes = options.label_per_step, list(about.get("notes", ()))
    task = infer_sequence_task(parts[0], per_step, options.task_kind)
    encoded = [_encoded(part, per_step, task, notes) for part in parts]
    count = len(encoded[0].sequences)
    if count < MIN_SEQUENCES:
        raise DataError(f"there are {count} labelled sequences; expected {MIN_SEQUENCES} or more")
    split: dict[str, Any] = {"by": "given validation data"}
    if len(encoded) == 1:
        encoded, split = _split(encoded[0], task, options)
    train, valid = encoded
    steps = max(part.sequences.values.shape[1] for part in encoded)
    train, valid = train.with_steps(steps), valid.with_steps(steps)
    channels = train.sequences.values.shape[2]
    if channels != valid.sequences.values.shape[2]:
        raise DataError(
            f"the validation sequences have {valid.sequences.values.shape[2]} channels, those to train on {channels}; "
            "expected as many"
        )
    split |= {"train_rows": len(train.sequences), "valid_rows": len(valid.sequences)}
    task = train.labels.scaled(task)
    return TableData(
        task=task,
        train=train.rows(task),
        valid=valid.rows(task),
        fingerprint=_fingerprint([train, valid], task),
        description={
            **about,
            "task": task.to_json(),
            "reading_rules": options.reading_rules,
            "sequences": {**about.get("sequences", {}), "steps": steps, "channels": channels},
            "columns": [SEQUENCE, LENGTHS],
            "split": split,
            "label_per_step": per_step,
            "notes": notes,
        },
        loss_fn=functions[0],
        metric_fn=functions[1],
        lengths={SEQUENCE: LENGTHS},
        own_specs={SEQUENCE: train.sequences.spec()},
    )


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
