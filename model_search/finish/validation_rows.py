"""The validation labels of a study, kept with it, so that any process can evaluate its models without the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from model_search.data.labelled_rows import LabelledRows
from model_search.data.prepared_data import PreparedData
from model_search.data.rows import Rows
from model_search.data.task import Task, logits_of_tasks
from model_search.metadata.artefacts import ArtefactStore, DamagedArtefactError, load_arrays, save_arrays
from model_search.metadata.paths import TRAINING_ROWS, VALIDATION_ROWS
from model_search.metadata.store import Store


@dataclasses.dataclass(frozen=True)
class KeptRows:
    """What a study keeps of its validation rows.

    Attributes:
        rows: Labels and weights.
        own_loss: The provider has its own loss function, so that "loss" cannot be computed from these rows alone.
        own_metric: The study is evaluated by a function of the user, which is not kept.
        others: The labels and weights of further tasks; empty where there are none, or a version did not keep them.
    """

    rows: LabelledRows
    own_loss: bool
    own_metric: bool
    others: tuple[LabelledRows, ...] = ()

    def of_others(self, outputs: np.ndarray) -> list[tuple[LabelledRows, np.ndarray]]:
        """Each further task's rows with its part of a model's logits, which are those of all tasks side by side."""
        tasks = {str(place): rows.task for place, rows in enumerate((self.rows, *self.others))}
        _, *columns = logits_of_tasks(tasks).values()
        return [(rows, rows.logits(outputs[..., own])) for rows, own in zip(self.others, columns, strict=True)]


def keep_validation(store: Store, artefacts: ArtefactStore, data: PreparedData, own_metric: bool) -> None:
    """Writes them, unless they are stored already."""
    if VALIDATION_ROWS in store.files():
        return
    arrays = {"labels": data.valid.label, "own": np.array([data.loss_fn is not None, own_metric])}
    if data.valid.weight is not None:
        arrays["weights"] = data.valid.weight
    for place, name in enumerate(list(data.valid.labels)[1:], 1):
        arrays[f"labels_{place}"] = data.valid.labels[name]
        if name in data.valid.weights:
            arrays[f"weights_{place}"] = data.valid.weights[name]
    store.save_file(save_arrays(artefacts, None, VALIDATION_ROWS, arrays))


def kept_own_metric(store: Store, artefacts: ArtefactStore) -> bool | None:
    """Whether the study is evaluated by a function of the user; None where that was not kept, or cannot be read."""
    found = store.files().get(VALIDATION_ROWS)
    if found is None:
        return None
    try:
        return bool(load_arrays(artefacts, found)["own"][1])
    except DamagedArtefactError:
        return None  # whoever needs the rows says so


def keep_training(store: Store, artefacts: ArtefactStore, rows: Rows) -> None:
    """Writes the labels of the training rows, which bags predict out of their folds, unless they are there."""
    if TRAINING_ROWS in store.files():
        return
    arrays = {"labels": rows.label}
    if rows.weight is not None:
        arrays["weights"] = rows.weight
    store.save_file(save_arrays(artefacts, None, TRAINING_ROWS, arrays))


def kept_training(store: Store, artefacts: ArtefactStore, task: Task) -> LabelledRows | None:
    """Reads them; None where no trial predicts them.

    Raises:
        DamagedArtefactError: if the file is not what was written.
    """
    found = store.files().get(TRAINING_ROWS)
    if found is None:
        return None
    arrays = load_arrays(artefacts, found)
    return LabelledRows.of(task, arrays["labels"], arrays.get("weights"))


def kept_rows(store: Store, artefacts: ArtefactStore, tasks: Mapping[str, Task]) -> KeptRows | None:
    """Reads them; None where the study was made by a version that did not keep them.

    Raises:
        DamagedArtefactError: if the file is not what was written.
    """
    found = store.files().get(VALIDATION_ROWS)
    if found is None:
        return None
    arrays = load_arrays(artefacts, found)
    own_loss, own_metric = (bool(flag) for flag in arrays["own"])
    primary, *further = tasks.values()
    others = [
        LabelledRows.of(task, arrays[f"labels_{place}"], arrays.get(f"weights_{place}"))
        for place, task in enumerate(further, 1)
        if f"labels_{place}" in arrays
    ]
    rows = LabelledRows.of(primary, arrays["labels"], arrays.get("weights"))
    return KeptRows(rows, own_loss, own_metric, tuple(others) if len(others) == len(further) else ())
