"""From labelled sequences to `TableData`; every provider of sequences shares it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from model_search.data.prepare_options import RULES_AS_DECLARED, PrepareOptions
from model_search.data.prepared_data import TableData
from model_search.data.rows import LABEL, Rows
from model_search.data.sequences.padded import LENGTHS, SEQUENCE, Padded
from model_search.data.sequences.sequence_files import LabelledSequences
from model_search.data.sequences.sequence_labels import StepLabels, encode_step_labels, infer_sequence_task
from model_search.data.tabular.arrangement import BY_GROUP
from model_search.data.tabular.chosen_rows import MIN_ROWS, Kinds, Labels, choose_rows
from model_search.data.tabular.several_tasks import counted
from model_search.data.tabular.split import split_groups, split_rows
from model_search.data.task import Task
from model_search.errors import DataError

WHAT = "sequences"


def prepare_sequences(
    parts: Sequence[LabelledSequences],
    kind: Kinds,
    options: PrepareOptions,
    about: Mapping[str, Any],
    functions: tuple[Callable[..., Any] | None, Callable[..., Any] | None] = (None, None),
) -> TableData:
    """Infers the task, splits the sequences and pads them.

    Args:
        parts: The sequences to train on; then, where they are given, those to validate on.
        kind: The provider's choice of a task; of several tasks, that of each by name.
        options: How to prepare them.
        about: What the provider adds to the description: how it reads ("reading"), its notes, and anything else.
        functions: The provider's own loss and metric.

    Raises:
        DataError: if there are too few, or the labels do not fit.
    """
    notes = list(about.get("notes", ()))
    choice = _by_step(parts, kind, options) if options.label_per_step else _by_row(parts, kind, options)
    train, valid = choice.sequences
    channels = train.values.shape[2]
    if channels != valid.values.shape[2]:
        raise DataError(
            f"the validation sequences have {valid.values.shape[2]} channels, those to train on {channels}; expected "
            "as many"
        )
    steps = max(part.values.shape[1] for part in choice.sequences)
    padded = [choice.rows(part.with_steps(steps), number) for number, part in enumerate(choice.sequences)]
    return TableData(
        task=next(iter(choice.tasks.values())),
        train=padded[0],
        valid=padded[1],
        fingerprint=fingerprint_of(next(iter(choice.tasks.values())), _digested(choice, padded)),
        description=described(
            {**about, **choice.described, "notes": notes + choice.notes}, options, steps=steps, channels=channels
        ),
        loss_fn=functions[0],
        metric_fn=functions[1],
        lengths={SEQUENCE: LENGTHS},
        own_specs={SEQUENCE: train.spec(steps, options.reading_rules)},
        other_tasks=dict(list(choice.tasks.items())[1:]),
        groups=choice.groups,
    )


@dataclasses.dataclass(frozen=True)
class _Choice:
    """Sequences to train on and to validate on, and what their labels become.

    Attributes:
        tasks: By name, the primary one first.
        sequences: Those to train on, and those to validate on.
        rows: From the padded sequences, and 0 for training or 1 for validation, to rows.
        digested: What the fingerprint takes of the labels of each.
        described: What the description says of the tasks and of the split.
        notes: What people should know of it.
        groups: Of those to train on and to validate on, int [rows]; None where they are independent.
    """

    tasks: Mapping[str, Task]
    sequences: tuple[Padded, Padded]
    rows: Callable[[Padded, int], Rows]
    digested: tuple[bytes, bytes]
    described: Mapping[str, Any]
    notes: list[str]
    groups: np.ndarray | None = None


def _by_row(parts: Sequence[LabelledSequences], kind: Kinds, options: PrepareOptions) -> _Choice:
    """A label for each sequence, of one task or several."""
    for part in parts:
        if part.has_label_per_step:
            raise DataError(
                "received a label for each step; expected one for each sequence, or the problem type "
                "RNN_ALL_ACTIVATIONS"
            )
    found = choose_rows([part.counted for part in parts], WHAT, kind, options)
    chosen = (found.train, found.valid)
    train, valid = (parts[one.part].sequences.take(one.numbers) for one in chosen)

    def rows(sequences: Padded, number: int) -> Rows:
        return chosen[number].with_inputs(sequences.inputs, found.tasks)

    digested = (found.train.digested, found.valid.digested)
    return _Choice(found.tasks, (train, valid), rows, digested, found.described, found.notes, found.groups)


def _by_step(parts: Sequence[LabelledSequences], kind: Kinds, options: PrepareOptions) -> _Choice:
    """A label for each step."""
    if any(part.others for part in parts):
        raise DataError("several tasks have a label for each sequence; RNN_ALL_ACTIVATIONS expects one for each step")
    notes: list[str] = []
    given = options.task_kind or (None if isinstance(kind, Mapping) else kind)
    task = infer_sequence_task(parts[0], given, options.reading_rules)
    encoded = [_encoded(part, task, notes) for part in parts]
    count = len(encoded[0].sequences)
    if count < MIN_ROWS:
        raise DataError(f"there are {count} sequences with a label; expected {MIN_ROWS} or more")
    split: dict[str, Any] = {"by": "given validation data"}
    groups = None
    if len(encoded) == 1:
        encoded, split = _split(encoded[0], options)
        found = [part.groups for part in encoded if part.groups is not None]
        groups = np.concatenate(found) if found else None
    elif parts[0].groups is not None:
        notes.append("groups have no effect, since sequences to validate on are given")
    train, valid = encoded
    if options.reading_rules >= RULES_AS_DECLARED:
        notes += counted(train.labels.weights, valid.labels.weights, {}, WHAT)
    split |= {"train_rows": len(train.sequences), "valid_rows": len(valid.sequences)}
    task = train.labels.scaled(task)

    def rows(sequences: Padded, number: int) -> Rows:
        labels = encoded[number].labels.with_steps(sequences.values.shape[1])
        return Rows(sequences.inputs, {LABEL: labels.values(task)}, {LABEL: labels.weights})

    steps = max(part.sequences.with_steps(0).values.shape[1] for part in encoded)
    digested = tuple(part.labels.with_steps(steps).digested for part in encoded)
    sequences = (train.sequences, valid.sequences)
    described = {"task": task.to_json(), "split": split}
    return _Choice({LABEL: task}, sequences, rows, (digested[0], digested[1]), described, notes, groups)


@dataclasses.dataclass(frozen=True)
class _Encoded:
    sequences: Padded
    labels: StepLabels
    groups: np.ndarray | None

    def take(self, rows: np.ndarray) -> _Encoded:
        groups = None if self.groups is None else self.groups[rows]
        return _Encoded(self.sequences.take(rows), self.labels.take(rows), groups)


def _encoded(part: LabelledSequences, task: Task, notes: list[str]) -> _Encoded:
    labels, present = encode_step_labels(part, task)
    lost = int((~present).sum())
    if lost:
        notes.append(f"{lost} sequences have no label and are left out")
    groups = Labels((), groups=part.groups).numbered_groups(len(part.sequences), WHAT)
    kept = part.sequences.take(present) if lost else part.sequences
    return _Encoded(kept, labels, None if groups is None else groups[present])


def _split(part: _Encoded, options: PrepareOptions) -> tuple[list[_Encoded], dict[str, Any]]:
    by = "shuffled"
    if part.groups is None:
        train, valid, _ = split_rows(len(part.sequences), options.valid_fraction, options.seed, None)
    else:
        by = BY_GROUP
        train, valid = split_groups(part.groups, options.valid_fraction, options.seed)
    found = {"by": by, "seed": options.seed, "valid_fraction": options.valid_fraction}
    return [part.take(train), part.take(valid)], found


@dataclasses.dataclass(frozen=True)
class Digested:
    """What a fingerprint takes of the sequences to train on, or of those to validate on.

    Attributes:
        shape: That of the padded values: (rows, steps, channels).
        blocks: Them, float32, some rows at a time.
        lengths: int32 [rows].
        labels: From the labels and weights.
    """

    shape: tuple[int, ...]
    blocks: Iterable[np.ndarray]
    lengths: np.ndarray
    labels: bytes


def fingerprint_of(task: Task, parts: Iterable[Digested]) -> str:
    """The fingerprint of sequences to train on and to validate on."""
    digest = hashlib.sha256(repr((task.kind.value, task.label, task.classes)).encode())
    for part in parts:
        digest.update(repr(part.shape).encode())
        for block in part.blocks:
            digest.update(np.ascontiguousarray(block).data)
        digest.update(part.lengths.tobytes())
        digest.update(part.labels)
    return digest.hexdigest()


def _digested(choice: _Choice, padded: Sequence[Rows]) -> Iterator[Digested]:
    for rows, labels in zip(padded, choice.digested, strict=True):
        values = rows.inputs[SEQUENCE]
        yield Digested(values.shape, [values], rows.inputs[LENGTHS], labels)


def described(about: Mapping[str, Any], options: PrepareOptions, *, steps: int, channels: int) -> dict[str, Any]:
    """The description of sequences.

    Args:
        about: What it says of the tasks, the split and the source, with all notes.
        options: How they were prepared.
        steps: Those of a padded sequence.
        channels: Those of a step.
    """
    return {
        **about,
        "reading_rules": options.reading_rules,
        "sequences": {**about.get("sequences", {}), "steps": steps, "channels": channels},
        "columns": [SEQUENCE, LENGTHS],
        "label_per_step": options.label_per_step,
    }
