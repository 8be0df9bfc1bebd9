"""Recordings whose features are on disk: training reads batches from there, the validation rows are in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from model_search.data.audio.stored_features import StoredFeatures
from model_search.data.files.disk_cache import GIB, DiskCache
from model_search.data.prepare_options import PrepareOptions
from model_search.data.prepared_data import StreamData
from model_search.data.rows import Rows
from model_search.data.sequences.padded import LENGTHS, SEQUENCE, spec_of_steps
from model_search.data.sequences.prepare import WHAT, Digested, described, fingerprint_of
from model_search.data.tabular.chosen_rows import ChosenRows, Kinds, Labels, choose_rows
from model_search.errors import DataError

_AT_ONCE = 2**26  # bytes of padded features that are read to be hashed or counted
_MOST_VALIDATED = 4 * GIB  # of memory, or as much as the cache's settings leave in memory


def streamed(
    parts: Sequence[tuple[StoredFeatures, Labels]],
    kind: Kinds,
    options: PrepareOptions,
    about: Mapping[str, Any],
    cache: DiskCache,
    functions: tuple[Callable[..., Any] | None, Callable[..., Any] | None],
) -> StreamData:
    """Infers the task and splits the recordings, as `prepare_sequences` does, without reading them into memory.

    Args:
        parts: The recordings to train on and their labels; then, where they are given, those to validate on.
        kind: The provider's choice of a task; of several tasks, that of each by name.
        options: How to prepare them.
        about: What the provider adds to the description: how it reads ("reading"), its notes, and anything else.
        cache: How much may be in memory.
        functions: The provider's own loss and metric.

    Raises:
        DataError: if there are too few, the labels do not fit, there are several tasks, or the validation rows take too
            much memory.
    """
    choice = choose_rows([(len(features), labels) for features, labels in parts], WHAT, kind, options)
    if choice.others:
        raise DataError(
            "several tasks are learnt from recordings in memory; choose fewer bands or max_seconds, or allow more "
            "memory: cache=DiskCache(memory_gb=...)"
        )
    steps = max(int(features.lengths.max()) for features, _ in parts)
    bands = parts[0][0].values.shape[1]
    train, valid = choice.train, choice.valid
    needed = len(valid.numbers) * steps * bands * 4
    if needed > max(cache.memory_bytes, _MOST_VALIDATED):
        raise DataError(
            f"the validation recordings need {needed / GIB:.1f} GiB of memory; choose fewer bands or max_seconds, or "
            "validate on fewer recordings"
        )

    def rows(chosen: ChosenRows) -> Rows:
        return chosen.with_inputs(parts[chosen.part][0].padded(chosen.numbers, steps).inputs, choice.tasks)

    def train_batches(seed: int) -> Iterator[Rows]:
        rng = np.random.default_rng(seed)
        while True:
            order = rng.permutation(len(train.numbers))
            for start in range(0, len(order), options.batch_size):
                yield rows(train.take(order[start : start + options.batch_size]))

    def digested(chosen: ChosenRows) -> Digested:
        features = parts[chosen.part][0]
        blocks = (features.padded(some, steps).values for some in _in_blocks(chosen.numbers, steps * bands))
        shape = (len(chosen.numbers), steps, bands)
        return Digested(shape, blocks, features.lengths[chosen.numbers], chosen.digested)

    features = parts[train.part][0]
    valid_steps = (np.concatenate(list(features.each(some))) for some in _in_blocks(train.numbers, steps * bands))
    notes = [*about.get("notes", ()), *choice.notes]
    return StreamData(
        task=choice.task,
        train_batches=train_batches,
        valid=rows(valid),
        fingerprint=fingerprint_of(choice.task, map(digested, (train, valid))),
        description=described({**about, **choice.described, "notes": notes}, options, steps=steps, channels=bands),
        loss_fn=functions[0],
        metric_fn=functions[1],
        lengths={SEQUENCE: LENGTHS},
        own_specs={SEQUENCE: spec_of_steps(valid_steps, (steps, bands), options.reading_rules)},
    )


def _in_blocks(numbers: np.ndarray, values: int) -> Iterator[np.ndarray]:
    """Some of the numbers at a time, of rows of so many float32 values."""
    count = max(1, _AT_ONCE // (4 * values))
    for start in range(0, len(numbers), count):
        yield numbers[start : start + count]
