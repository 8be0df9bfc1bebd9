"""Prepares what a provider's `input_fn` yields: batches of features and labels."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from model_search.data.inputs import InputLayout, as_array
from model_search.data.prepare_options import PrepareOptions
from model_search.data.prepared_data import StreamData
from model_search.data.rows import FEATURES, LABEL, Rows, concatenate
from model_search.data.stream.input_functions import StreamProvider, elements, open_data
from model_search.data.stream_labels import (
    FITTING_BATCHES,
    LabelEncoding,
    label_array,
    read_weights,
    scale_notes,
    valid_labels,
)
from model_search.data.task import Task, TaskKind
from model_search.errors import DataError, ProviderError, TrialError, UnsupportedError

MAX_EVAL_ROWS = 100_000
MAX_EVAL_BYTES = 1 << 30
MAX_EMPTY_BATCHES = 1000  # in a row


@dataclasses.dataclass(frozen=True)
class _Batch:
    """A batch as yielded: features are one array or a dict of arrays, [rows, ...]."""

    features: np.ndarray | dict[str, np.ndarray]
    labels: np.ndarray
    weights: np.ndarray | None

    def take(self, rows: np.ndarray) -> _Batch:
        features = self.features
        chosen = {k: v[rows] for k, v in features.items()} if isinstance(features, dict) else features[rows]
        return _Batch(chosen, self.labels[rows], None if self.weights is None else self.weights[rows])

    @property
    def nbytes(self) -> int:
        features = self.features
        return sum(part.nbytes for part in features.values()) if isinstance(features, dict) else features.nbytes


@dataclasses.dataclass(frozen=True)
class _Source:
    """Opens the provider's data and normalises every batch."""

    provider: StreamProvider
    batch_size: int
    weights: str = ""

    def batches(self, mode: str, seed: int) -> Iterator[_Batch]:
        """One pass over the data, without batches of zero rows.

        Raises:
            DataError: if there are many of these in a row: the data may be endless and empty.
        """
        empty = 0
        for batch in self._yielded(mode, seed):
            empty = 0 if len(batch.labels) else empty + 1
            if not empty:
                yield batch
            elif empty >= MAX_EMPTY_BATCHES:
                raise DataError(
                    f"the input_fn for {mode!r} yields batches of zero rows ({empty} in a row); expected rows in them"
                )

    def _yielded(self, mode: str, seed: int) -> Iterator[_Batch]:
        opened = open_data(self.provider, mode, self.batch_size)
        if isinstance(opened, tuple):
            yield from self._cut(self._batch(opened), seed if mode == "train" else None)
        elif hasattr(opened, "__iter__"):
            with contextlib.closing(elements(opened, mode)) as found:
                for element in found:
                    yield self._batch(element)
        else:
            raise DataError(
                f"the input_fn for {mode!r} returned {type(opened).__name__}; "
                "expected a tf.data.Dataset of (features, labels), or that pair of tensors"
            )

    def _cut(self, rows: _Batch, seed: int | None) -> Iterator[_Batch]:
        count = len(rows.labels)
        order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
        for start in range(0, count, self.batch_size):
            yield rows.take(order[start : start + self.batch_size])

    def _batch(self, element: Any) -> _Batch:
        if not isinstance(element, tuple | list) or len(element) not in (2, 3):
            raise DataError(f"the input_fn yields {type(element).__name__}; expected pairs (features, labels)")
        features: Any = element[0]
        if isinstance(features, Mapping):
            features = {str(name): as_array(values, f"feature {name!r}") for name, values in features.items()}
            counts = {name: len(values) for name, values in features.items()}
        else:
            features = as_array(features, "the features")
            counts = {FEATURES: len(features)}
        if isinstance(element[1], Mapping):
            raise UnsupportedError(
                "the input_fn yields a dict of labels; this version learns one task: yield one tensor"
            )
        found = label_array(element[1])
        given = element[2] if len(element) == 3 else None
        if isinstance(features, dict) and self.weights and self.weights in features:
            given = _only_weights(features.pop(self.weights), given, self.weights)
        if any(count != len(found) for count in counts.values()):
            shown = next((count for count in counts.values() if count != len(found)), len(found))
            raise DataError(f"a batch has {shown} rows of features and {len(found)} labels; expected as many")
        return _Batch(features, found, read_weights(given, len(found)))


@dataclasses.dataclass(frozen=True)
class StreamReader:
    """Turns batches, or rows for prediction, into `Rows`.

    Attributes:
        layout: How features become inputs.
        encoding: How labels are encoded.
        per_step: Whether there is a label for each step.
    """

    layout: InputLayout
    encoding: LabelEncoding
    per_step: bool = False

    def rows(self, features: Any, labels: np.ndarray, weights: np.ndarray | None) -> Rows:
        """Rows for training or evaluation.

        Raises:
            DataError: if features or labels differ in form from those in training.
        """
        inputs = self.layout.read(features)
        if self.per_step:
            encoded, kept = self.encoding.encode_steps(labels, valid_steps(self.layout, inputs), weights)
            return Rows(inputs, {LABEL: encoded}, {LABEL: kept})
        if weights is not None and weights.ndim > 1:
            raise DataError(f"the weights have the shape {weights.shape}; expected one weight for each row")
        return Rows.of(inputs, self.encoding.encode(labels), weights)


def valid_steps(layout: InputLayout, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which steps of each row are no padding, bool [rows, steps].

    Where some inputs are padded, a row has as many steps as the longest of these; else they all are valid.

    Raises:
        DataError: if no input has steps.
    """
    lengths = [inputs[name] for name in dict.fromkeys(layout.lengths.values())]
    with_steps = list(layout.lengths) or [name for name, spec in layout.specs.items() if len(spec.shape) > 1]
    if not with_steps:
        raise DataError(
            f"there is a label for each step, but no feature has steps: {', '.join(layout.specs)}; expected one of "
            "shape [rows, steps, ...]"
        )
    steps = np.arange(max(layout.specs[name].shape[0] for name in with_steps))
    longest = np.max(lengths, axis=0) if lengths else np.full(len(inputs[with_steps[0]]), len(steps))
    found: np.ndarray = steps < longest[:, None]
    return found


def prepare_stream(provider: StreamProvider, options: PrepareOptions) -> StreamData:
    """Reads the evaluation batches once and freezes them; training batches are read as they are needed.

    The training data are opened again when they are exhausted. Labels are learnt from a bounded number of batches.

    Raises:
        DataError: if the provider yields anything other than batches of features and labels.
    """
    source = _Source(provider, options.batch_size, options.weights)
    evaluation = list(_bounded(source.batches("eval", options.seed), options.eval_steps))
    if not evaluation:
        raise DataError("the input_fn for 'eval' yields no batch with rows; expected at least one")
    sample = list(itertools.islice(source.batches("train", options.seed), FITTING_BATCHES))
    if not sample:
        raise DataError("the input_fn for 'train' yields no batch with rows; expected at least one")
    _check_weights(sample, evaluation)
    reader = _reader(provider, options, sample, evaluation)
    task = reader.encoding.task
    learnt = [_labels_of(reader.layout, batch, options.label_per_step) for batch in sample]
    rounded = reader.layout.rounded([batch.features for batch in (*sample, *evaluation)])
    valid = concatenate([reader.rows(batch.features, batch.labels, batch.weights) for batch in evaluation])

    def train_batches(seed: int) -> Iterator[Rows]:
        for epoch in itertools.count():
            empty = True
            for batch in _in_a_trial(source.batches("train", _epoch_seed(seed, epoch))):
                empty = False
                yield reader.rows(batch.features, batch.labels, batch.weights)
            if empty:
                raise DataError("the input_fn for 'train' yields no rows when it is opened again")

    return StreamData(
        task=task,
        train_batches=train_batches,
        valid=valid,
        fingerprint=_fingerprint(valid, task),
        description={
            "task": task.to_json(),
            "schema": None,
            "split": {"by": "the provider's 'eval' data, read once", "valid_rows": len(valid)},
            "columns": list(reader.layout.names),
            "inputs": reader.layout.to_json(),
            "label_per_step": reader.per_step,
            "reading": {"source": "input_fn"},
            "notes": [*scale_notes(task, learnt), *rounded],
        },
        loss_fn=provider.get_loss_fn(),
        metric_fn=provider.get_metric_fn(),
        lengths=reader.layout.lengths,
    )


def _only_weights(feature: Any, given: Any, name: str) -> Any:
    if given is not None:
        raise DataError(f"the input_fn yields weights, and the feature {name!r} holds some, too; expected one of them")
    return feature


def weights_among(features: Any, weights: Any, name: str) -> Any:
    """The weights of later rows: those given, or the feature of this name.

    Raises:
        DataError: if there are both.
    """
    if not name or not isinstance(features, Mapping) or name not in features:
        return weights
    return _only_weights(features[name], weights, name)


def _in_a_trial(batches: Iterator[_Batch]) -> Iterator[_Batch]:
    """The same batches; what the provider raises while a trial trains ends this trial, not the search."""
    try:
        yield from batches
    except ProviderError as error:
        raise TrialError(str(error)) from error.__cause__


def _reader(
    provider: StreamProvider, options: PrepareOptions, sample: Sequence[_Batch], evaluation: Sequence[_Batch]
) -> StreamReader:
    """Infers the format of all batches from some of them."""
    names = _feature_names(provider)
    first = evaluation[0].features
    layout = InputLayout.infer(first, names, options)
    for batch in (*evaluation, *sample):
        layout = layout.widened(batch.features)
    for batch in (evaluation[0], sample[0]):
        layout.read(batch.features)
    kind = options.task_kind or _task_of(provider)
    learnt, seen = (
        [_labels_of(layout, batch, options.label_per_step) for batch in batches] for batches in (sample, evaluation)
    )
    encoding = LabelEncoding.infer(int(provider.number_of_classes()), learnt, seen, kind)
    return StreamReader(layout, encoding, options.label_per_step)


def _check_weights(sample: Sequence[_Batch], evaluation: Sequence[_Batch]) -> None:
    """Refuses weights that only some of the batches have, which would be left out or missing later."""
    without = [
        mode
        for mode, batches in (("train", sample), ("eval", evaluation))
        if any(batch.weights is None for batch in batches)
    ]
    if without and any(batch.weights is not None for batch in (*sample, *evaluation)):
        raise DataError(
            f"the input_fn yields weights, but for {' and '.join(map(repr, without))} not with every batch; expected "
            "them with all batches of 'train' and 'eval': yield ones where rows weigh the same"
        )


def _labels_of(layout: InputLayout, batch: _Batch, per_step: bool) -> np.ndarray:
    if not per_step:
        return batch.labels
    return valid_labels(batch.labels, valid_steps(layout, layout.read(batch.features)))


def _task_of(provider: StreamProvider) -> TaskKind | None:
    """The task of a provider, from its attribute `task`: "classification" or "regression"."""
    said = getattr(provider, "task", None)
    if said is None:
        return None
    try:
        return TaskKind(str(said).lower())
    except ValueError:
        raise DataError(f"task is {said!r}; expected 'classification', 'regression' or None") from None


def _bounded(batches: Iterator[_Batch], steps: int | None) -> Iterator[_Batch]:
    """As many batches as fit into the memory limit."""
    rows = size = 0
    for batch in itertools.islice(batches, steps):
        yield batch
        rows, size = rows + len(batch.labels), size + batch.nbytes
        if rows >= MAX_EVAL_ROWS or size >= MAX_EVAL_BYTES:
            return


def _feature_names(provider: StreamProvider) -> tuple[str, ...] | None:
    """The features that `get_feature_columns` names; None where it names none."""
    try:
        found = provider.get_feature_columns()
    except NotImplementedError:
        return None
    if found is None:
        return None
    for column in found:
        if type(column).__name__ != "NumericColumn" and not (hasattr(column, "key") and hasattr(column, "shape")):
            raise UnsupportedError(
                f"get_feature_columns returns a {type(column).__name__}; only numeric columns are read: "
                "turn the feature into numbers in the input_fn, and name it with tf.feature_column.numeric_column"
            )
    return tuple(str(column.key) for column in found)


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def _fingerprint(valid: Rows, task: Task) -> str:
    """SHA-256 of the task and the frozen rows, whatever their order.

    The bytes are those of float32 numbers, so that it does not depend on the type that rows are kept in; one input by
    itself is digested as in version 1.0.
    """
    names = sorted(valid.inputs)
    shapes = [valid.inputs[name].shape for name in names]
    about: Any = shapes[0] if names == [FEATURES] else list(zip(names, shapes, strict=True))
    digest = hashlib.sha256(repr((task.kind.value, task.logits_dimension, task.classes, about)).encode())
    inputs = [valid.inputs[name] for name in names]
    rows = []
    for number, label in enumerate(valid.label):
        content = b"".join(values[number].astype(np.float32).tobytes() for values in inputs)
        rows.append(hashlib.sha256(content + label.tobytes()).digest())
    for row in sorted(rows):
        digest.update(row)
    return digest.hexdigest()
