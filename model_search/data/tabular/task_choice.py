"""What a user says of a task: classes, ordered ones, numbers (or their logarithms), quantiles. No TensorFlow."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from model_search.data.task import Label, TaskKind
from model_search.errors import DataError

ORDINAL, QUANTILE = "ordinal", "quantile"  # words beside those of `TaskKind`
TASKS = (*(kind.value for kind in TaskKind), ORDINAL, QUANTILE)
DEFAULT_QUANTILES = (0.1, 0.5, 0.9)
MOST_QUANTILES = 99


@dataclasses.dataclass(frozen=True)
class TaskChoice:
    """The user's choice of a task.

    Attributes:
        kind: Classes or numbers.
        ordered: Whether the classes are in an order.
        classes: The classes in their order; empty where numbers, or the type of the labels, give it.
        quantiles: The quantiles that are predicted, rising, each between 0 and 1; empty for the mean.
        log_target: Whether the logarithms of numbers are learnt.
    """

    kind: TaskKind
    ordered: bool = False
    classes: tuple[Label, ...] = ()
    quantiles: tuple[float, ...] = ()
    log_target: bool = False


def parse_choice(task: Any, classes: Any = None, quantiles: Any = None, log_target: Any = None) -> TaskChoice | None:
    """The user's choice of a task, None where it is to be inferred.

    Args:
        task: One of `TASKS`, a `TaskKind`, or None. Classes alone mean "ordinal", quantiles alone "quantile",
            `log_target` alone "regression".
        classes: The classes in their order, for "ordinal".
        quantiles: Numbers between 0 and 1, for "quantile".
        log_target: Whether the logarithms of the labels are learnt, for "regression"; None for no.

    Raises:
        DataError: if it is none of these, or they do not go together.
    """
    if isinstance(task, TaskChoice):
        return task
    is_log = _is_log(log_target)
    if task is None and classes is None and quantiles is None and not is_log:
        return None
    word = str(task).lower()
    if task is None:
        of_numbers = TaskKind.REGRESSION.value if quantiles is None else QUANTILE
        word = of_numbers if classes is None else ORDINAL
    if word not in TASKS:
        raise DataError(f"task is {task!r}; expected one of {', '.join(map(repr, TASKS))}, or None")
    if classes is not None and word != ORDINAL:
        raise DataError(f"classes are given in their order, and task is {word!r}; expected 'ordinal', or no classes")
    if quantiles is not None and word not in (QUANTILE, TaskKind.REGRESSION.value):
        raise DataError(f"quantiles are given, and task is {word!r}; expected 'quantile', or no quantiles")
    if is_log and (quantiles is not None or word != TaskKind.REGRESSION.value):
        given = "quantiles are given" if quantiles is not None else f"task is {word!r}"
        raise DataError(f"log_target is True, and {given}; expected one number a row, or no log_target")
    if word == ORDINAL:
        return TaskChoice(TaskKind.CLASSIFICATION, ordered=True, classes=_classes(classes))
    if word == QUANTILE or quantiles is not None:
        return TaskChoice(TaskKind.REGRESSION, quantiles=_quantiles(quantiles))
    return TaskChoice(TaskKind(word), log_target=is_log)


def parse_choices(
    task: Any, names: Sequence[str], classes: Any = None, quantiles: Any = None, log_target: Any = None
) -> dict[str, TaskChoice | None]:
    """The user's choice for each of these tasks; one that is no dict is for all of them.

    Raises:
        DataError: if it is invalid, names another task, or classes, quantiles or `log_target` are given for several
            tasks.
    """
    if len(names) > 1 and (classes is not None or quantiles is not None or _is_log(log_target)):
        raise DataError(
            f"classes, quantiles and log_target are those of one label, and there are {len(names)} "
            f"({', '.join(map(repr, names))}); expected none"
        )
    if not isinstance(task, Mapping):
        return dict.fromkeys(names, parse_choice(task, classes, quantiles, log_target))
    unknown = [name for name in task if name not in names]
    if unknown:
        raise DataError(f"task names {unknown[0]!r}; the labels are {', '.join(map(repr, names))}")
    return {name: parse_choice(task.get(name), classes, quantiles, log_target) for name in names}


def _is_log(log_target: Any) -> bool:
    plain = getattr(log_target, "item", lambda: log_target)()  # of NumPy
    if plain is not None and not isinstance(plain, bool):
        raise DataError(f"log_target is {log_target!r:.80}; expected True, or False")
    return bool(plain)


def _classes(classes: Any) -> tuple[Label, ...]:
    if classes is None:
        return ()
    found = _listed(classes)
    plain = tuple(getattr(value, "item", lambda value=value: value)() for value in found or ())
    fits = all(isinstance(value, str | int | float | bool) for value in plain)
    if found is None or not fits or len(plain) < 2 or len({str(value) for value in plain}) < len(plain):
        raise DataError(f"classes is {classes!r:.80}; expected at least two different ones, from the least to the most")
    return plain


def _quantiles(quantiles: Any) -> tuple[float, ...]:
    if quantiles is None:
        return DEFAULT_QUANTILES
    try:
        found = tuple(float(value) for value in _listed(quantiles) or ())
    except (TypeError, ValueError):
        found = ()
    rising = all(low < high for low, high in itertools.pairwise(found))
    inside = all(math.isfinite(value) and 0 < value < 1 for value in found)
    if not found or not rising or not inside or len(found) > MOST_QUANTILES:
        raise DataError(
            f"quantiles is {quantiles!r:.80}; expected rising numbers between 0 and 1, such as [0.1, 0.5, 0.9], "
            f"at most {MOST_QUANTILES}"
        )
    return found


def _listed(values: Any) -> list[Any] | None:
    """What can be listed, None for a text and whatever has no order."""
    if isinstance(values, str | bytes | Mapping | set | frozenset) or not isinstance(values, Iterable):
        return None
    return list(values)
