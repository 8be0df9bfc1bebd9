"""From labels beside rows of any kind to the task, and to the rows to train on and to validate on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.data.prepare_options import RULES_AS_DECLARED, RULES_OF_NEW_STUDIES, PrepareOptions, reading_rules_of
from model_search.data.rows import LABEL, Arrays, Rows, as_pandas, index_notes, index_of, with_missing
from model_search.data.tabular import labels as label_columns
from model_search.data.tabular.arrangement import BY_GROUP, arrangement_of
from model_search.data.tabular.several_tasks import (
    OtherTargets,
    OtherTask,
    counted,
    encode_other,
    infer_other_tasks,
    scaled,
)
from model_search.data.tabular.split import split_groups, split_rows
from model_search.data.tabular.table import check_weights
from model_search.data.tabular.task_choice import TaskChoice
from model_search.data.task import Task, TaskKind, tasks_of
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS = 10

Kinds = TaskKind | Mapping[str, TaskKind | None] | None  # the provider's choice of a task; of several, that of each


@dataclasses.dataclass(frozen=True)
class Labels:
    """The labels of some rows.

    Attributes:
        values: One for each row, the user's own; a missing one leaves its row out.
        weights: One for each row, at least 0; None where all weigh the same.
        name: What the label is called.
        weight_name: What the weights are called.
        others: The labels of further tasks, by name; a row may lack them.
        groups: The group of each row (a person, say), by any value; rows of one group stay together in the split. A row
            without one is a group by itself. None where rows are independent.
        are_names: Whether they are the names of folders of classes: each is a class, whatever it says.
        declared: What their file says that they are, classes or numbers; None where it says nothing.
    """

    values: Any
    weights: Any = None
    name: str = LABEL
    weight_name: str = "weight"
    others: Mapping[str, Labels] = dataclasses.field(default_factory=dict)
    groups: Any = None
    are_names: bool = False
    declared: TaskKind | None = None

    @classmethod
    def of(cls, values: Any, weights: Any = None, name: str = LABEL) -> Labels:
        """One label a row, or a dict or a frame of labels by task, the first of which is the primary one.

        Args:
            values: The labels.
            weights: Weights of the rows; of several tasks also a dict by name.
            name: What a single label is called.

        Raises:
            DataError: if a dict is empty, or weights name another task.
        """
        values = as_pandas(values, "labels")
        if len(getattr(values, "columns", ())) > 1:
            values = {str(column): values[column] for column in values.columns}
        if not isinstance(values, Mapping):
            if isinstance(weights, Mapping):
                raise DataError("weights are a dict by task, and there is one task; expected a weight for each row")
            return cls(values, weights, name)
        given = {str(task): labels for task, labels in values.items()}
        if not given:
            raise DataError("the labels are an empty dict; expected labels by the names of tasks")
        own = weights if isinstance(weights, Mapping) else dict.fromkeys(given, weights)
        unknown = [str(task) for task in own if task not in given]
        if unknown:
            raise DataError(f"weights name {unknown[0]!r}; the labels are {', '.join(map(repr, given))}")
        found = {task: cls(labels, own.get(task), task) for task, labels in given.items()}
        first = next(iter(found))
        return dataclasses.replace(found.pop(first), others=found)

    def with_primary(self, name: str | None) -> Labels:
        """The same with another primary task; None leaves it as it is.

        Raises:
            DataError: if there is no such task.
        """
        if name is None or name == self.name:
            return self
        if name not in self.others:
            known = ", ".join(map(repr, (self.name, *self.others)))
            raise DataError(f"there is no label {name!r} for the primary task; the data have {known}")
        rest = {other: labels for other, labels in self.others.items() if other != name}
        first = dataclasses.replace(self, others={}, groups=None)
        return dataclasses.replace(self.others[name], others={self.name: first, **rest}, groups=self.groups)

    def are_named(self, tasks: Mapping[str, Task]) -> bool:
        """Whether labels to evaluate on are given by the names of tasks; those of the only task need no name.

        Args:
            tasks: Those of the study, by name.

        Raises:
            DataError: if they name what is no task.
        """
        names = [self.name, *self.others]
        if len(names) == 1 and (len(tasks) == 1 or self.name == LABEL):
            return False
        unknown = [name for name in names if name not in tasks]
        if unknown:
            raise DataError(f"the labels name {unknown[0]!r}; the tasks are {', '.join(tasks)}; expected their names")
        return True

    def take(self, rows: np.ndarray) -> Labels:
        """The labels of some rows, by number or mask."""
        return dataclasses.replace(
            self,
            values=as_array(self.values)[rows],
            weights=None if self.weights is None else as_array(self.weights)[rows],
            others={name: labels.take(rows) for name, labels in self.others.items()},
            groups=None if self.groups is None else as_array(self.groups)[rows],
        )

    def index_notes(self, x: Any) -> tuple[str, ...]:
        """A note on labels, weights or groups whose index is not that of the rows, as the user gave these.

        Raises:
            DataError: if an index has the same entries in another order.
        """
        tasks = {self.name: self, **self.others}
        labels = {name: own.values for name, own in tasks.items()}
        weights = {name: own.weights for name, own in tasks.items()}
        return tuple(index_notes(index_of(x), {"labels": labels, "weights": weights, "groups": self.groups}))

    def series(self, rows: int, what: str) -> pd.Series:
        """The labels as a column.

        Raises:
            DataError: if there is not one for each row.
        """
        return _column(self.values, self.name, rows, what, "label")

    def checked_weights(self, rows: int, what: str) -> np.ndarray | None:
        """The weights, float32 [rows].

        Raises:
            DataError: if there is not one for each row, or one is no number from 0 on.
        """
        if self.weights is None:
            return None
        return check_weights(_column(self.weights, self.weight_name, rows, what, "weight"))

    def numbered_groups(self, rows: int, what: str) -> np.ndarray | None:
        """The number of each row's group, int [rows], from 0; None where there are none.

        Raises:
            DataError: if there is not one for each row.
        """
        if self.groups is None:
            return None
        found = arrangement_of(_column(self.groups, "groups", rows, what, "group"), None)
        return None if found is None else found.values


@dataclasses.dataclass(frozen=True)
class ChosenRows:
    """Rows that have a label.

    Attributes:
        part: In which of the parts they are.
        numbers: Their numbers, int [rows].
        targets: Class indices int32 [rows], or numbers float64 [rows] in the user's units.
        weights: float32 [rows]; None where all weigh the same.
        others: The encoded labels of further tasks, by name.
        groups: Numbers of their groups, int [rows]; None where rows are independent.
    """

    part: int
    numbers: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None
    others: Mapping[str, OtherTargets] = dataclasses.field(default_factory=dict)
    groups: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> ChosenRows:
        """Some of them."""
        weights = None if self.weights is None else self.weights[rows]
        others = {name: other.take(rows) for name, other in self.others.items()}
        groups = None if self.groups is None else self.groups[rows]
        return ChosenRows(self.part, self.numbers[rows], self.targets[rows], weights, others, groups)

    def rows(self, inputs: Arrays, tasks: Mapping[str, Task]) -> Rows:
        """Them as rows.

        Args:
            inputs: Those of the whole part.
            tasks: By name, the primary one first.
        """
        return self.with_inputs({name: values[self.numbers] for name, values in inputs.items()}, tasks)

    def with_inputs(self, own: Arrays, tasks: Mapping[str, Task]) -> Rows:
        """Them as rows, with inputs of these rows alone."""
        primary, *names = tasks
        targets = label_columns.to_rows(self.targets, tasks[primary])
        if not names:
            return Rows.of(own, targets, self.weights)
        found = {primary: targets, **{name: self.others[name].to_rows(tasks[name]) for name in names}}
        weights = {primary: self.weights, **{name: self.others[name].weights for name in names}}
        return Rows(own, found, {name: values for name, values in weights.items() if values is not None})

    @property
    def digested(self) -> bytes:
        """What a fingerprint takes of the labels and weights."""
        parts = [self.targets.tobytes(), b"" if self.weights is None else self.weights.tobytes()]
        for name, other in self.others.items():
            weights = b"" if other.weights is None else other.weights.tobytes()
            parts += [f"\ntask {name}\n".encode("utf-8", "surrogatepass"), other.values.tobytes(), weights]
        return b"".join(parts)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What is predicted, and from which rows it is learnt.

    Attributes:
        task: What is predicted.
        train: The rows to train on.
        valid: The rows to validate on.
        split: How they were chosen, for the study's description of its data.
        notes: What people should know of it.
        others: Further tasks by name.
    """

    task: Task
    train: ChosenRows
    valid: ChosenRows
    split: dict[str, Any]
    notes: list[str]
    others: Mapping[str, Task] = dataclasses.field(default_factory=dict)

    @property
    def tasks(self) -> dict[str, Task]:
        """All tasks by name, the primary one first."""
        return {self.task.label: self.task, **self.others}

    @property
    def groups(self) -> np.ndarray | None:
        """The group of each row to train on and to validate on, in this order; None where rows are independent."""
        found = [one.groups for one in (self.train, self.valid) if one.groups is not None]
        return np.concatenate(found) if len(found) == 2 and self.train.part == self.valid.part else None

    @property
    def described(self) -> dict[str, Any]:
        """What the study's description of its data says of the tasks and of the split."""
        found: dict[str, Any] = {"task": self.task.to_json(), "split": self.split}
        return found | ({"other_tasks": [task.to_json() for task in self.others.values()]} if self.others else {})


def infer(parts: Sequence[tuple[int, Labels]], what: str, kind: Kinds, rules: int = RULES_OF_NEW_STUDIES) -> Task:
    """The primary task of the labels of the first part; `rules` as in `PrepareOptions.reading_rules`."""
    rows, own = parts[0]
    weight = None if own.weights is None else own.weight_name
    chosen = kind.get(own.name) if isinstance(kind, Mapping) else kind
    series, is_new = own.series(rows, what), rules >= RULES_AS_DECLARED
    if own.are_names and is_new and chosen is not TaskKind.REGRESSION:
        names = label_columns.read_names(series)
        return label_columns.infer_task(names, chosen, weight=weight, declared=TaskKind.CLASSIFICATION)
    column = label_columns.read_labels(series, rules=rules)
    return label_columns.infer_task(column, chosen, weight=weight, declared=own.declared if is_new else None)


def choose_rows(parts: Sequence[tuple[int, Labels]], what: str, kind: Kinds, options: PrepareOptions) -> Choice:
    """Infers the task and splits the rows.

    Args:
        parts: The number of rows and their labels, of those to train on; then, where they are given, of those to
            validate on.
        what: What the rows are called, in the plural.
        kind: The provider's choice of a task; of several tasks, that of each by name.
        options: How to prepare data.

    Raises:
        DataError: if there is nothing to learn, or there are too few rows.
    """
    parts = [(rows, own.with_primary(options.primary_task)) for rows, own in parts]
    task = infer(parts, what, options.task_kind or kind, options.reading_rules)
    names = [parts[0][1].name, *parts[0][1].others]
    kinds = kind if isinstance(kind, Mapping) else dict.fromkeys(names, kind)
    unknown = [name for name in kinds if name not in names]
    if unknown:
        raise DataError(f"task names {unknown[0]!r}; the labels are {', '.join(map(repr, names))}")
    choices = {name: None if one is None else TaskChoice(one) for name, one in kinds.items()}
    others = infer_other_tasks(_raw_others(parts[0], what), choices, options.reading_rules)
    notes: list[str] = [other.inferred for other in others.values()]
    tasks, rules = {task.label: task, **others}, options.reading_rules
    found = [_encoded(number, part, what, tasks, notes, rules) for number, part in enumerate(parts)]
    if len(found[0].numbers) < MIN_ROWS:
        raise DataError(f"there are {len(found[0].numbers)} {what} with a label; expected {MIN_ROWS} or more")
    split: dict[str, Any] = {"by": "given validation data"}
    if len(found) == 1:
        found, split = _split(found[0], what, task, options, notes)
    elif parts[0][1].groups is not None:
        notes.append(f"groups have no effect, since {what} to validate on are given")
    train, valid = found
    if not len(valid.numbers):
        raise DataError(f"the validation {what} have no label; expected at least one with a label")
    if rules >= RULES_AS_DECLARED:
        notes += counted(train.weights, valid.weights, valid.others, what)
    split |= {"train_rows": len(train.numbers), "valid_rows": len(valid.numbers)}
    task = label_columns.fit_scale(task, train.targets)
    notes += label_columns.scale_notes(task, train.targets)
    return Choice(task, train, valid, split, notes, scaled(others, train.others))


def _raw_others(part: tuple[int, Labels], what: str) -> dict[str, OtherTask]:
    """The raw labels of further tasks; they weigh what the primary task's do where they have no weights."""
    import pandas as pd

    count, own = part
    found = {}
    for name, labels in own.others.items():
        weights = labels.checked_weights(count, what)
        column = None if weights is None else pd.Series(weights, name=labels.weight_name)
        found[name] = OtherTask(labels.series(count, what), column)
    return found


def _encoded(
    number: int, part: tuple[int, Labels], what: str, tasks: Mapping[str, Task], notes: list[str], rules: int
) -> ChosenRows:
    count, own = part
    task, *others = tasks.values()
    are_names = own.are_names and rules >= RULES_AS_DECLARED
    column = label_columns.read_like_training(own.series(count, what), task, rules=2, are_names=are_names)
    present = np.flatnonzero(~column.missing)
    if len(present) < count:
        notes.append(f"{count - len(present)} {what} have no label and are left out")
    targets = label_columns.encode(column.take(present), task, note=notes.append)
    weights = own.checked_weights(count, what)
    weights = None if weights is None else weights[present]
    if weights is not None and not weights.any():
        raise DataError(f"every weight of the {what} is 0; expected some above 0")
    missing = [other.label for other in others if other.label not in own.others]
    if missing:
        raise DataError(f"the {what} have no labels of the task {missing[0]!r}; expected them for every task")
    raw, found = _raw_others(part, what), {}
    for other in others:
        given = raw[other.label].weights
        mine = weights if given is None else given.to_numpy()[present]
        found[other.label] = encode_other(raw[other.label].labels, other, present, mine, notes.append)
    groups = own.numbered_groups(count, what)
    return ChosenRows(number, present, targets, weights, found, None if groups is None else groups[present])


def _split(
    part: ChosenRows, what: str, task: Task, options: PrepareOptions, notes: list[str]
) -> tuple[list[ChosenRows], dict[str, Any]]:
    found: dict[str, Any] = {"seed": options.seed, "valid_fraction": options.valid_fraction}
    if part.groups is not None:
        train, valid = split_groups(part.groups, options.valid_fraction, options.seed)
        return [part.take(train), part.take(valid)], {"by": BY_GROUP, **found}
    classes = part.targets if task.kind is TaskKind.CLASSIFICATION else None
    train, valid, whole = split_rows(len(part.targets), options.valid_fraction, options.seed, classes)
    if not len(valid):
        raise DataError(f"every class has too few {what} to keep some for validation; give validation data")
    if whole:
        shown = ", ".join(repr(task.classes[index]) for index in whole[:10])
        notes.append(f"classes with too few {what} to be split stay in training: {shown}")
    by = "shuffled" if classes is None else "shuffled, stratified by class"
    return [part.take(train), part.take(valid)], {"by": by, **found}


def as_array(values: Any) -> np.ndarray:
    """Labels or weights as an array; those of a list stay what they are, and masked ones are missing."""
    values = with_missing(values, floats=False)
    if isinstance(values, list | tuple):
        values, given = np.empty(len(values), dtype=object), values
        values[:] = given
    return np.asarray(values)


def _column(values: Any, name: str, rows: int, what: str, role: str) -> pd.Series:
    import pandas as pd

    found = as_array(values)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.shape != (rows,):
        raise DataError(f"{rows} {what}, {role}s of shape {found.shape}; expected one {role} for each")
    return pd.Series(found, name=name)


def evaluated_rows(
    inputs: Arrays,
    labels: Labels,
    what: str,
    description: Mapping[str, Any],
    note: Callable[[str], None] | None = None,
) -> Rows:
    """Later rows with labels; those without one of the primary task are dropped.

    Args:
        inputs: Of all rows.
        labels: Their labels.
        what: What the rows are called, in the plural.
        description: The study's description of its data; labels of further tasks need not be there.
        note: Called with a sentence for labels that are missing, or not taken as they are.

    Raises:
        DataError: if no row has a label, or one is unknown; if labels name what is no task, or lack the primary one.
    """
    notes: list[str] = []
    tasks, rules = tasks_of(description), reading_rules_of(description)
    count = len(next(iter(inputs.values())))
    primary = next(iter(tasks))
    own = labels.with_primary(primary) if labels.are_named(tasks) else labels
    known = {name: task for name, task in tasks.items() if name == primary or name in own.others}
    found = _encoded(0, (count, own), what, known, notes, rules)
    if note is not None:
        for sentence in notes:
            note(sentence)
    if not len(found.numbers):
        raise DataError(f"none of the {what} has a label; expected labels to evaluate on")
    rows = found.rows(inputs, known)
    if len(known) < len(tasks) and len(known) == 1:
        return Rows.of(rows.inputs, {primary: rows.label}, rows.weight)
    return rows
