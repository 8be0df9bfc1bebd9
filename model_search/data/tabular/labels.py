"""Labels of tables: infers the task, and encodes labels as classes or scaled numbers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from model_search.data.prepare_options import RULES_OF_NEW_STUDIES
from model_search.data.tabular import columns, earlier_rules
from model_search.data.tabular.label_column import LabelColumn, is_number, parse_number, read_labels, shown
from model_search.data.tabular.schema import robust_scale
from model_search.data.tabular.task_choice import TaskChoice
from model_search.data.task import MOST_LOG, Label, TargetKind, Task, TaskKind
from model_search.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MAX_WHOLE_CLASSES = 20
MAX_CLASSES = 1000
LARGEST_TARGET, SMALLEST_SCALE = 1e150, 1e-150  # their squares, which metrics are made of, are float64, too
_MOSTLY_NUMBERS = 0.95  # of labels that are numbers but for a unit
_MOST_SPREAD = 1e12  # of a standard deviation, in interquartile ranges: beyond that, far targets are beyond float32
_WHOLE = re.compile("0|[1-9][0-9]{0,14}")  # the only way to write each number
# As pandas ("-1 days +23:00:00") and Python ("1 day, 0:30:00", "0:30:00") write them.
_DURATION = re.compile(r"(?:-?\d+ days?,? )?[+-]?\d{1,3}:\d{2}:\d{2}(?:\.\d+)?", re.ASCII)
_FEWEST_ROWS = 50  # that show how labels are spread
_TAIL, _HALF = 0.01, 0.5  # the largest labels, and their share of the squared distances from the mean
_MOST_OF_MEDIAN, _MOST_SKEW = 30, 1.0  # of labels that span orders of magnitude: the largest, and their logarithms
_FEW, _NEARLY_ALL = 0.05, 0.9  # labels that are far from the others, and their share of the squared distances
_FAR, _FAR_LOG = 20, 5  # in usual spreads (standard deviations of a normal distribution with the same quartiles)
RESOLUTION = 1e-3  # the steps of float64 at the targets' size, as a share of their standard deviation


def read_like_training(series: pd.Series, task: Task, rules: int, *, are_names: bool = False) -> LabelColumn:
    """Reads labels of other rows by the rules that the training labels were read by.

    Args:
        series: Text or typed values.
        task: What is predicted. A text that is one of its classes is never missing.
        rules: The study's `PrepareOptions.reading_rules`.
        are_names: Whether they are the names of classes, see `read_names`.
    """
    if rules < 2:
        return earlier_rules.read_labels(series)
    if are_names and task.kind is TaskKind.CLASSIFICATION:
        return read_names(series, as_text=any(isinstance(label, str) for label in task.classes))
    # A study with a class "inf" has classes of texts; where classes are numbers, it is missing by any rules.
    texts = {label.strip().lower() for label in task.classes if isinstance(label, str)}
    return read_labels(series, as_text=bool(texts), rules=RULES_OF_NEW_STUDIES, markers=columns.MISSING_LABELS - texts)


def read_names(series: pd.Series, *, as_text: bool = False) -> LabelColumn:
    """Reads the names of classes, such as those of folders: each is a class, "null" and "007" as well.

    Args:
        series: The names.
        as_text: Whether they are texts where all of them are whole numbers, too. They are numbers otherwise, unless
            two ways to write one ("7" and "007") would be one class.
    """
    are_whole = all(isinstance(name, str) and _WHOLE.fullmatch(name) for name in series.unique())
    return read_labels(series, as_text=as_text or not are_whole, markers=frozenset())


def infer_task(
    labels: LabelColumn,
    kind: TaskKind | TaskChoice | None = None,
    logits_dimension: int | None = None,
    weight: str | None = None,
    declared: TaskKind | None = None,
) -> Task:
    """Infers the task; `fit_scale` adds target mean and scale.

    Args:
        labels: All labels.
        kind: The user's choice of a task; None where there is none.
        logits_dimension: The user's number of classes; above 1 it means classes.
        weight: Name of the weight column.
        declared: What the labels' source says that they are; the user's choice goes before it.

    Raises:
        DataError: if there is nothing to predict, or the choice does not fit the labels.
    """
    name, values = labels.name, labels.values
    choice = kind if isinstance(kind, TaskChoice) else None if kind is None else TaskChoice(kind)
    if not values:
        raise DataError(f"every row lacks its label (column {name!r}); expected a class or a number in each row")
    chosen, why = _kind(labels, None if choice is None else choice.kind, logits_dimension, declared)
    if len(values) == 1:
        wanted = "at least two classes" if chosen is TaskKind.CLASSIFICATION else "different numbers"
        raise DataError(f"every row has the same label, {values[0]!r} (column {name!r}); expected {wanted}")
    if chosen is TaskKind.REGRESSION:
        if not labels.is_numeric:
            raise DataError(
                f"the labels in column {name!r} are no numbers (such as {_no_number(labels)!r:.80}); regression needs "
                "numbers: correct these labels, or leave them empty to have their rows left out" + unit_hint(values)
            )
        if choice is not None and choice.quantiles:
            return _quantiles_of(labels, choice, weight)
        is_log = choice is not None and choice.log_target
        sentence = f"{name!r} is predicted as a number{', by its logarithm' if is_log else ''}: {why}."
        return Task(chosen, name, 1, weight=weight, inferred=sentence, log_target=is_log)
    ordered = choice is not None and choice.ordered
    classes = _in_order(labels, choice) if choice is not None and ordered else _classes(labels, logits_dimension)
    if len(classes) > MAX_CLASSES:
        raise DataError(
            f"column {name!r} has {len(classes)} different labels; expected at most {MAX_CLASSES} classes, "
            "or task='regression' for numbers" + unit_hint(classes)
        )
    shown = ", ".join(str(value) for value in classes[:6]) + (", ..." if len(classes) > 6 else "")
    what = "ordered classes" if ordered else "classes"
    hint = unit_hint(classes) if choice is None and len(classes) > MAX_WHOLE_CLASSES else ""
    sentence = f"{name!r} is predicted as one of {len(classes)} {what} ({shown}): {why}{hint}."
    return Task(chosen, name, len(classes), classes, weight=weight, inferred=sentence, ordered=ordered)


def unit_hint(values: Sequence[Label]) -> str:
    """What to say of labels that are texts such as "$1,200", or durations; empty for others."""
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < len(values):
        return ""
    if all(map(_DURATION.fullmatch, texts)):
        return "; they look like durations: to predict numbers, give them in seconds (of pandas: .dt.total_seconds())"
    unit = columns.common_unit(texts)
    if not unit:
        return ""
    numbers = np.isfinite(columns.parse_numbers(unit.taken_from(texts)))
    if numbers.mean() < _MOSTLY_NUMBERS:
        return ""
    return f"; they look like numbers with {unit}: to predict numbers, give them without"


def _no_number(labels: LabelColumn) -> Label:
    """The first label that is no number; of texts that all are numbers, the first text."""

    def is_no_number(text: str) -> bool:
        try:
            return parse_number(text) is None
        except DataError:  # beyond what float64 holds
            return False

    others = [value for value in labels.values if not is_number(value)]
    return next((one for one in others if not isinstance(one, str) or is_no_number(one)), others[0])


def _quantiles_of(labels: LabelColumn, choice: TaskChoice, weight: str | None) -> Task:
    shown = ", ".join(f"{value:g}" for value in choice.quantiles)
    sentence = f"{labels.name!r} is predicted by quantiles ({shown}): as you asked."
    width = len(choice.quantiles)
    return Task(choice.kind, labels.name, width, weight=weight, inferred=sentence, quantiles=choice.quantiles)


def _in_order(labels: LabelColumn, choice: TaskChoice) -> tuple[Label, ...]:
    """The classes from the least to the most: as they are given, or as numbers are."""
    if not choice.classes:
        if not labels.is_numeric:
            raise DataError(
                f"the order of the labels in column {labels.name!r} is unknown ({shown(labels.values, 5)}); expected "
                "numbers, or their order, such as classes=['low', 'middle', 'high']"
            )
        return labels.values
    known = _Classes(choice.classes, is_date=labels.is_date)
    missing = [value for value in labels.values if known.find(value) is None]
    if missing:
        raise DataError(
            f"column {labels.name!r} holds {shown(missing, 5)}, which classes lacks ({shown(choice.classes, 10)}); "
            "expected the order of all classes"
        )
    return choice.classes


def _kind(
    labels: LabelColumn, kind: TaskKind | None, logits_dimension: int | None, declared: TaskKind | None
) -> tuple[TaskKind, str]:
    number = len(labels.values)
    if kind is not None:
        return kind, "as you asked"
    if declared is not None:
        return declared, "as its source says"
    if logits_dimension is not None and logits_dimension > 1:
        return TaskKind.CLASSIFICATION, f"logits_dimension is {logits_dimension}"
    if not labels.is_numeric:
        booleans = all(isinstance(value, bool) for value in labels.values)
        return TaskKind.CLASSIFICATION, f"its labels are {'booleans' if booleans else 'texts'}"
    if logits_dimension == 1:
        return TaskKind.REGRESSION, "logits_dimension is 1"
    if not labels.is_whole:
        return TaskKind.REGRESSION, "its labels are not all whole numbers"
    if number <= MAX_WHOLE_CLASSES:
        return TaskKind.CLASSIFICATION, f"its labels are {number} different whole numbers (at most {MAX_WHOLE_CLASSES})"
    return TaskKind.REGRESSION, f"its labels are {number} different whole numbers (more than {MAX_WHOLE_CLASSES})"


def _classes(labels: LabelColumn, logits_dimension: int | None) -> tuple[Label, ...]:
    values = labels.values
    if logits_dimension is None or logits_dimension == 1 or logits_dimension == len(values):
        return values
    if len(values) > logits_dimension:
        raise DataError(
            f"column {labels.name!r} has {len(values)} different labels, logits_dimension is {logits_dimension}; "
            "leave logits_dimension out to have the classes counted"
        )
    if labels.is_whole and all(0 <= value < logits_dimension for value in values if is_number(value)):  # type: ignore[operator]
        own = {int(value): value for value in values}
        return tuple(own.get(number, number) for number in range(logits_dimension))
    return values


def encode(labels: LabelColumn, task: Task, rules: int = 2, note: Callable[[str], None] | None = None) -> np.ndarray:
    """Labels as class indices int32 [rows], or as float64 [rows] in the user's units; no label may be missing.

    Args:
        labels: The labels.
        task: What is predicted.
        rules: The study's `PrepareOptions.reading_rules`.
        note: Called with a sentence if labels are found that differ from a class in blanks.

    Raises:
        DataError: if there are classes that the task does not have, or numbers without a logarithm that is learnt; the
            message names them.
    """
    if task.kind is TaskKind.REGRESSION:
        if not labels.is_numeric:
            raise DataError(
                f"the labels in column {labels.name!r} are no numbers (such as {_no_number(labels)!r:.80}); "
                f"{task.label!r} is predicted as a number: correct these labels, or leave them empty"
            )
        return _with_logarithms(labels.numbers(), labels.name) if task.log_target else labels.numbers()
    present = set(np.unique(labels.codes).tolist())
    classes = _EarlierClasses(task.classes) if rules < 2 else _Classes(task.classes, is_date=labels.is_date)
    found = [classes.find(value) if index in present else -1 for index, value in enumerate(labels.values)]
    unknown = [value for index, value in enumerate(labels.values) if index in present and found[index] is None]
    if unknown:
        raise DataError(
            f"column {labels.name!r} holds classes never seen in training: {shown(unknown, 5)}; known are "
            f"{shown(task.classes, 10)}"
        )
    if classes.stripped and note is not None:
        numbers = [index for index, value in enumerate(labels.values) if value in classes.stripped]
        rows = int(np.isin(labels.codes, numbers).sum())
        note(
            f"{rows} labels in column {labels.name!r} differ from a class in blanks alone and are taken for it "
            f"({shown(sorted(classes.stripped))})"
        )
    return np.array([-1 if index is None else index for index in [*found, -1]], dtype=np.int32)[labels.codes]


def _with_logarithms(numbers: np.ndarray, name: str) -> np.ndarray:
    """Numbers as they are, if the logarithm of each is learnt; DataError otherwise."""
    bad = np.flatnonzero(~(numbers > 0))
    if len(bad):
        raise DataError(
            f"{len(bad)} of {len(numbers)} labels in column {name!r} are not above 0 (the smallest is "
            f"{numbers.min():.6g}), and log_target=True learns logarithms: leave log_target out, or add a constant to "
            "all labels"
        )
    bad = np.flatnonzero(np.abs(np.log(numbers)) > MOST_LOG)
    if len(bad):
        raise DataError(
            f"label {numbers[bad[0]]:.6g} in column {name!r} is too far from 1 for log_target=True (expected "
            f"{SMALLEST_SCALE:g} to {LARGEST_TARGET:g}); multiply all labels by a constant"
        )
    return numbers


class _Classes:
    """Finds the class that a label of later rows is, however the rows were given: by value, then by its text.

    A file holds True, 1 and a date as texts, a frame holds them typed. Whichever the training labels were, the other is
    found, too, if it can only be one class.

    Attributes:
        stripped: Texts that were found without their surrounding blanks.
    """

    def __init__(self, classes: Sequence[Label], *, is_date: bool):
        self._classes = tuple(classes)
        self._typed = {(type(label), label): index for index, label in enumerate(classes)}
        self._is_date = is_date
        self.stripped: set[str] = set()

    def find(self, label: Label) -> int | None:
        """Position of the class, None where there is none."""
        if (type(label), label) in self._typed:
            return self._typed[type(label), label]
        if isinstance(label, str):
            return self._of_text(label)
        if isinstance(label, bool):
            return self._only(
                lambda known: isinstance(known, str) and known.strip().casefold() == str(label).casefold()
            )
        texts = {str(label), repr(label), *([str(int(label))] if float(label).is_integer() else [])}
        found = self._only(lambda known: is_number(known) and known == label)
        return found if found is not None else self._only(lambda known: isinstance(known, str) and known in texts)

    def _of_text(self, text: str) -> int | None:
        found = self._only(lambda known: str(known) == text)
        if found is None and self._is_date:
            found = self._only(lambda known: isinstance(known, str) and _moment(known) == _moment(text))
        if found is None and any(map(is_number, self._classes)):
            number = _number_or_none(text)
            found = self._only(lambda known: is_number(known) and known == number)
        if found is None:
            plain = text.strip()
            found = self._only(lambda known: isinstance(known, bool) and str(known).casefold() == plain.casefold())
        if found is None:
            found = self._only(lambda known: isinstance(known, str) and known.strip() == plain)
            if found is not None:
                self.stripped.add(text)
        return found

    def _only(self, is_it: Callable[[Label], bool]) -> int | None:
        """The one class of which it is true; None where there are none or several."""
        found = [index for index, known in enumerate(self._classes) if is_it(known)]
        return found[0] if len(found) == 1 else None


class _EarlierClasses:
    """As `_Classes`, by the rules of version 1.0."""

    stripped: frozenset[str] = frozenset()

    def __init__(self, classes: Sequence[Label]):
        self._position = {earlier_rules.key(value): index for index, value in enumerate(classes)}

    def find(self, label: Label) -> int | None:
        """Position of the class, None where there is none."""
        return self._position.get(earlier_rules.key(label))


def _number_or_none(text: str) -> int | float | None:
    try:
        return parse_number(text)
    except DataError:
        return None  # beyond float64, and so no class


def _moment(text: str) -> pd.Timestamp | None:
    import pandas as pd

    try:
        return pd.Timestamp(text)
    except ValueError:
        return None


def fit_scale(task: Task, targets: np.ndarray, *, checked: bool = True) -> Task:
    """The task with mean and standard deviation of the training targets, or of their logarithms if these are learnt.

    For quantiles with their median and the spread of the middle half: the pinball loss does not mind single targets
    that are far away, and these would press all others together.

    Args:
        task: What is predicted.
        targets: float64 [rows] (or [rows, targets]), in the user's units.
        checked: Whether targets that float64 cannot tell apart are refused; a study of version 1.0 goes on with them.

    Raises:
        DataError: if they are too large, too small, or too close to each other for their size, to be told apart.
    """
    if task.kind is TaskKind.CLASSIFICATION:
        return task
    size, column = float(np.max(np.abs(targets))), f"the labels in column {task.label!r}"
    if not size <= LARGEST_TARGET:
        raise DataError(f"{column} are too large to be learnt (up to {size:.6g}); divide them by a constant")
    mean, scale = float(np.mean(targets)), float(np.std(targets))
    if targets.min() == targets.max():
        return dataclasses.replace(task, target_mean=float(task.learnt(targets).flat[0]), target_scale=1.0)
    if scale < SMALLEST_SCALE:
        raise DataError(f"{column} are too small to be learnt (up to {size:.6g}); multiply them by a constant")
    step = float(np.spacing(size))
    if checked and step > RESOLUTION * scale:
        raise DataError(
            f"{column} differ by about {scale:.6g}, but near {size:.17g} float64 tells numbers apart in steps of "
            f"{step:.6g} alone; subtract a constant from them, such as {mean:.17g}, before they become floats"
        )
    if task.quantiles:
        median, spread = robust_scale(targets)
        if spread > scale / _MOST_SPREAD:
            mean, scale = median, spread
    if task.log_target:
        logarithms = task.learnt(targets)
        mean, scale = float(np.mean(logarithms)), float(np.std(logarithms))
        if np.spacing(np.max(np.abs(logarithms))) > RESOLUTION * scale:
            raise DataError(
                f"{column} are too close to each other to be told apart by logarithms; leave log_target out"
            )
    return dataclasses.replace(task, target_mean=mean, target_scale=scale)


def fit_range(task: Task, targets: np.ndarray) -> Task:
    """The task with the range of its targets, beyond which nothing is predicted; of one number a row alone.

    Args:
        task: What is predicted, with its scale.
        targets: float64 [rows], in the user's units.
    """
    if task.kind is TaskKind.CLASSIFICATION or targets.ndim > 1:
        return task
    low, high = scaled_targets(np.array([targets.min(), targets.max()]), task).tolist()
    return dataclasses.replace(task, target_range=(low, high)) if low < high else task


def scale_notes(task: Task, targets: np.ndarray) -> list[str]:
    """Sentences on what scaling does to training targets (float64 [rows], the user's units)."""
    if task.kind is TaskKind.CLASSIFICATION or task.log_target:
        return []
    notes = []
    size, float32 = float(np.max(np.abs(targets))), np.finfo(np.float32)
    if size > float(float32.max) or task.target_scale < float(float32.tiny):
        notes.append(
            f"the numbers in {task.label!r} (up to {size:.6g}, standard deviation {task.target_scale:.6g}) are beyond "
            "float32; they are learnt scaled, and predictions come back in your units as float64"
        )
    different = len(np.unique(targets))
    kept = len(np.unique(to_rows(targets, task)))
    if kept < different / 2:
        notes.append(
            f"of {different} different numbers in {task.label!r} only {kept} stay different when they are scaled to "
            f"float32, because some are far from all others (up to {size:.6g}); remove those, or take logarithms"
        )
    return notes


def spread_notes(task: Task, targets: np.ndarray) -> list[str]:
    """A sentence, if few training targets (float64 [rows], the user's units) have most of the squared error.

    It names the option that minds this less: the logarithms of numbers that span orders of magnitude, or the median
    beside a few that are far from the others, by their logarithms, too.
    """
    is_plain = task.target is TargetKind.NUMBERS and not task.log_target and targets.ndim == 1
    if not is_plain or len(targets) < _FEWEST_ROWS or targets.min() == targets.max():
        return []
    median, mean = float(np.median(targets)), float(np.mean(targets))
    shares = np.square((targets - mean) / np.max(np.abs(targets - mean)))
    shares /= shares.sum()
    most = np.argsort(targets)[-max(1, int(_TAIL * len(targets))) :]
    if targets.min() > 0 and targets.max() > _MOST_OF_MEDIAN * median and shares[most].sum() > _HALF:
        logarithms = np.log(targets)
        if abs(float(np.mean((logarithms - logarithms.mean()) ** 3))) < _MOST_SKEW * float(logarithms.std()) ** 3:
            return [
                f"the numbers in {task.label!r} span {targets.min():.3g} to {targets.max():.3g} (median {median:.3g}), "
                f"and most of the squared error is due to the largest ones: {_TAIL:.0%} of the rows have "
                f"{shares[most].sum():.0%} of the variance; log_target=True learns their logarithms"
            ]
    spread = _usual_spread(targets)
    far = np.abs(targets - median) > _FAR * spread
    if not (spread > 0 and 0 < far.mean() < _FEW and shares[far].sum() > _NEARLY_ALL) or _far_by_tail(targets, far):
        return []
    largest = targets[np.argmax(np.abs(targets - median))]
    return [
        f"{int(far.sum())} of {len(targets)} numbers in {task.label!r} are far from the others: more than {_FAR} times "
        f"the usual spread of {spread:.3g} away from the median of {median:.3g}, up to {largest:.3g}; they have "
        f"{shares[far].sum():.0%} of the variance. Correct them or leave them out if they are errors; quantiles=[0.5] "
        "learns the median, which they hardly change"
    ]


def _far_by_tail(targets: np.ndarray, far: np.ndarray) -> bool:
    """Whether numbers from 0 on that are far from all others are not so by their logarithms."""
    if targets.min() < 0:
        return False
    is_above = targets > 0
    logarithms = np.log(targets[is_above])
    distances = np.abs(logarithms[far[is_above]] - np.median(logarithms))
    return float(np.median(distances)) < _FAR_LOG * _usual_spread(logarithms)


def _usual_spread(values: np.ndarray) -> float:
    """The standard deviation of a normal distribution with the same quartiles."""
    low, high = np.quantile(values, (0.25, 0.75))
    return float(high - low) / 1.349


def to_rows(targets: np.ndarray, task: Task) -> np.ndarray:
    """Encoded labels as `Rows.labels` holds them: int32 [rows], or scaled float32 [rows, 1].

    Raises:
        DataError: if a number is too far from those of training to be scaled; the message names it.
    """
    if task.kind is TaskKind.CLASSIFICATION:
        return targets.astype(np.int32)
    return scaled_targets(targets, task)[:, None]


def scaled_targets(targets: np.ndarray, task: Task) -> np.ndarray:
    """Numbers in the user's units, float64 of any shape, in the training targets' standard deviations, float32.

    Raises:
        DataError: as `to_rows`.
    """
    with np.errstate(over="ignore"):
        scaled = task.to_scaled(targets).astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(scaled))
    if len(bad):
        of_logs = " of their logarithms" if task.log_target else ""
        raise DataError(
            f"label {targets.flat[bad[0]]:.17g} in column {task.label!r} is too far from those of training (mean "
            f"{task.target_mean:.6g}, standard deviation {task.target_scale:.6g}{of_logs}) to be compared with them"
        )
    return scaled
