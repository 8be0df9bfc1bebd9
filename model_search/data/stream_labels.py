"""Encoding of the labels that an `input_fn` yields; the same for training and for later rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from model_search.data.inputs import as_array
from model_search.data.tabular import labels
from model_search.data.task import Label, Task, TaskKind
from model_search.errors import DataError

_PARTS = (list, tuple, np.ndarray)  # of labels that are no single values
FITTING_BATCHES = 200  # batches of training data that the labels are inferred from


@dataclasses.dataclass(frozen=True)
class LabelEncoding:
    """Encodes labels as yielded into labels as in `Rows.labels`.

    Attributes:
        task: What is predicted.
    """

    task: Task

    @classmethod
    def infer(
        cls, width: int, sample: Sequence[np.ndarray], evaluation: Sequence[np.ndarray], kind: TaskKind | None = None
    ) -> LabelEncoding:
        """Infers the encoding of labels from some batches.

        Args:
            width: The provider's number of classes; for regression the number of targets.
            sample: The labels of some training batches, [rows, ...] each ([valid steps, ...] for a label per step).
            evaluation: The same of the evaluation batches.
            kind: The user's choice of a task; inferred if None.

        Raises:
            DataError: if the labels do not fit `width`, or are ambiguous.
        """
        if width < 1:
            raise DataError(f"number_of_classes() is {width}; expected at least 1")
        flat = [_one_axis(part) for part in (*sample, *evaluation)]
        first = flat[0]
        if kind is TaskKind.REGRESSION or (kind is None and _is_regression(flat, width)):
            return cls(_regression(width, flat[: len(sample)]))
        if width == 1:
            raise DataError(
                f"number_of_classes() is 1, yet the labels are {first.dtype}; expected the number of classes, "
                "or float labels for regression"
            )
        if first.dtype.kind in "OSU":
            return cls(_classes(_text_classes(flat, width)))
        _check_axes(flat, width)
        classes: tuple[Label, ...] = (False, True) if first.dtype.kind == "b" and width == 2 else tuple(range(width))
        return cls(_classes(classes))

    def encode(self, found: np.ndarray) -> np.ndarray:
        """Labels as `Rows.labels` holds them.

        Args:
            found: Classes [rows] or [rows, 1], one-hot [rows, classes], or numbers [rows, targets].

        Raises:
            DataError: if a label is unknown, or they have another shape.
        """
        flat = _one_axis(found)
        return self._numbers(flat, found) if self.task.kind is TaskKind.REGRESSION else self._indices(flat, found)

    def encode_steps(
        self, found: np.ndarray, valid: np.ndarray, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """A label for each step, and weights that leave padded steps out.

        Args:
            found: [rows, steps, ...]; steps that are missing at the end are padded ones.
            valid: bool [rows, steps].
            weights: [rows] or [rows, steps]; None where all weigh the same.

        Returns:
            Labels [rows, steps] or [rows, steps, targets], 0 at padded steps; weights float32 [rows, steps].

        Raises:
            DataError: as `encode`, or if there are fewer labels than valid steps.
        """
        pairs = valid_labels(found, valid)
        encoded = self.encode(pairs)
        labels_ = np.zeros((*valid.shape, *encoded.shape[1:]), encoded.dtype)
        labels_[valid] = encoded
        kept = valid.astype(np.float32)
        if weights is not None and weights.ndim == 1:
            kept *= weights[:, None]
        elif weights is not None:
            kept[valid] = _of_valid_steps(weights, valid, "weights")
        return labels_, kept

    def _numbers(self, flat: np.ndarray, found: np.ndarray) -> np.ndarray:
        task = self.task
        try:
            values = flat.astype(np.float64).reshape(len(flat), -1)
        except ValueError:
            values = np.full((len(flat), task.logits_dimension), np.nan)
        if values.shape[1] != task.logits_dimension or not np.isfinite(values).all():
            raise DataError(
                f"the labels of a batch have the shape {found.shape}, or are not finite; "
                f"expected {task.logits_dimension} finite numbers for each row (or step)"
            )
        return labels.scaled_targets(values, task)

    def _indices(self, flat: np.ndarray, found: np.ndarray) -> np.ndarray:
        task = self.task
        if flat.ndim == 2:
            _check_axes([flat], task.logits_dimension)
            return flat.argmax(axis=1).astype(np.int32)
        if flat.dtype.kind in "OSU":
            position = {str(value): index for index, value in enumerate(task.classes)}
            unknown = sorted({_text(value) for value in flat.tolist()} - set(position))
            if unknown:
                raise DataError(f"the input_fn yields the label {unknown[0]!r}; known are {', '.join(position)}")
            return np.array([position[_text(value)] for value in flat.tolist()], dtype=np.int32)
        if all(isinstance(value, str) for value in task.classes):
            raise DataError(
                f"received labels that are {flat.dtype}; expected texts: {', '.join(map(str, task.classes))}"
            )
        indices = np.nan_to_num(flat, nan=-1).astype(np.int64)
        if flat.ndim != 1 or (indices != flat).any() or (indices < 0).any() or (indices >= task.logits_dimension).any():
            raise DataError(
                f"the input_fn yields labels outside 0 ... {task.logits_dimension - 1} (shape {found.shape}); "
                f"number_of_classes() is {task.logits_dimension}"
            )
        return indices.astype(np.int32)


def valid_labels(found: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The labels of valid steps, [pairs, ...].

    Args:
        found: [rows, steps, ...].
        valid: bool [rows, at least as many steps].

    Raises:
        DataError: if there is no axis of steps, or a valid step has no label.
    """
    return _of_valid_steps(found, valid, "labels")


def label_array(values: Any) -> np.ndarray:
    """Labels as yielded, as an array; what NumPy would turn into other labels is refused.

    Raises:
        DataError: if they are of several types, or cannot be one array.
    """
    if isinstance(values, list | tuple) or (isinstance(values, np.ndarray) and values.dtype.kind == "O"):
        kinds = sorted({type(value).__name__ for value in values if not isinstance(value, _PARTS)})
        texts = {"str", "bytes", "str_", "bytes_"}
        if len(kinds) > 1 and not {*kinds} <= texts and {*kinds} & {*texts, "bool", "bool_", "NoneType"}:
            raise DataError(f"the labels of a batch are of several types ({', '.join(kinds)}); expected one type")
    return as_array(values, "the labels")


def scale_notes(task: Task, sample: Sequence[np.ndarray]) -> list[str]:
    """Sentences on what scaling does to the targets of some batches; one at most for each target."""
    if task.kind is not TaskKind.REGRESSION:
        return []
    targets = np.concatenate([part.astype(np.float64).reshape(len(part), -1) for part in sample])
    found = [labels.scale_notes(task, targets[:, index]) for index in range(targets.shape[1])]
    return list(dict.fromkeys(sentence for sentences in found for sentence in sentences))


def read_weights(values: Any, rows: int) -> np.ndarray | None:
    """The weights of some rows as yielded, float32 [rows] or [rows, steps]; None where there are none.

    Args:
        values: [rows], [rows, steps], or either with a last axis of one; or None.
        rows: How many rows there are.

    Raises:
        DataError: if they have another shape, or one is not a number from 0 on.
    """
    if values is None:
        return None
    found = as_array(values, "the weights")
    if found.ndim > 1 and found.shape[-1] == 1:
        found = found[..., 0]
    if found.ndim > 2 or len(found) != rows or found.dtype.kind not in "biuf":
        raise DataError(
            f"the weights are {found.dtype} of shape {found.shape}; expected a number for each of the {rows} rows, or "
            "for each step of them, [rows, steps]"
        )
    weights = found.astype(np.float32)
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise DataError("the weights hold a number below 0, NaN or infinity; expected numbers from 0 on")
    if ((weights == 0) & (found != 0)).any():
        raise DataError(
            f"the weights hold {found[(weights == 0) & (found != 0)].flat[0]}, too small for float32; multiply all "
            "weights by a constant"
        )
    return weights


def _of_valid_steps(found: np.ndarray, valid: np.ndarray, what: str) -> np.ndarray:
    if found.ndim < 2 or len(found) != len(valid):
        raise DataError(
            f"the {what} have the shape {found.shape}; expected [{len(valid)} rows, steps], one for each step"
        )
    steps = min(found.shape[1], valid.shape[1])
    if valid[:, steps:].any():
        raise DataError(
            f"there are {what} for {found.shape[1]} steps, and rows of up to {valid.sum(axis=1).max()} steps"
        )
    return found[:, :steps][valid[:, :steps]]


def _one_axis(found: np.ndarray) -> np.ndarray:
    """An axis of one is dropped."""
    return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found


def _check_axes(flat: Sequence[np.ndarray], width: int) -> None:
    """Refuses whole numbers of two axes that are not strictly one-hot; their meaning is not guessed."""
    for part in flat:
        if part.ndim == 1 or (part.ndim == 2 and part.shape[1] == width and _is_one_hot(part)):
            continue
        shown = ", ".join(map(str, ("rows", *part.shape[1:])))
        raise DataError(
            f"the input_fn yields {part.dtype} labels of shape [{shown}] with number_of_classes() {width}; expected "
            f"class numbers [rows], or exactly one 1 in each row of [rows, {width}]. A label for each step needs the "
            "problem type RNN_ALL_ACTIVATIONS; several classes at once are not learnt by this version; for numbers to "
            'predict, yield floats and set task = "regression" on the provider'
        )


def _is_one_hot(part: np.ndarray) -> bool:
    return bool(np.isin(part, (0, 1)).all() and (part.sum(axis=1) == 1).all())


def _is_regression(flat: Sequence[np.ndarray], width: int) -> bool:
    """Floats that are neither class numbers nor made of 0 and 1 alone; one column of numbers where one is asked for."""
    first = flat[0]
    if first.dtype.kind not in "fiu":
        return False
    if width == 1:
        return first.ndim == 1
    if first.ndim != 2 or first.shape[1] != width or first.dtype.kind != "f":
        return False
    return not all(np.isin(part, (0, 1)).all() for part in flat)


def _text_classes(flat: Sequence[np.ndarray], width: int) -> tuple[str, ...]:
    values = sorted({_text(value) for part in flat for value in part.ravel().tolist()})
    if len(values) > width:
        raise DataError(f"the labels are {len(values)} different texts, number_of_classes() is {width}")
    if len(values) < width:
        raise DataError(
            f"the first {FITTING_BATCHES} batches hold {len(values)} different labels, number_of_classes() is "
            f"{width}; yield class numbers instead, or shuffle the rows"
        )
    return tuple(values)


def _regression(width: int, flat: Sequence[np.ndarray]) -> Task:
    values = np.concatenate([part.astype(np.float64).ravel() for part in flat])
    sentence = f"{width} number(s) are predicted: number_of_classes() is {width}."
    return labels.fit_scale(Task(TaskKind.REGRESSION, "label", width, inferred=sentence), values)


def _classes(values: tuple[Label, ...]) -> Task:
    sentence = f"one of {len(values)} classes is predicted: number_of_classes() is {len(values)}."
    return Task(TaskKind.CLASSIFICATION, "label", len(values), values, inferred=sentence)


def _text(value: Any) -> str:
    try:
        return value.decode("utf-8") if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        raise DataError(f"the input_fn yields the label {value!r:.80}, which is not UTF-8 text") from None
