"""Whether the mirror image of a picture is of its class, as a trained tower sees it."""

from __future__ import annotations

import numpy as np

from model_search.augmentations import FLIP
from model_search.data.labelled_rows import LabelledRows
from model_search.data.prepared_data import PreparedData
from model_search.finish.constant import constant_of
from model_search.metadata.trial import TrialPlan
from model_search.search.planning.longer import FLIPS, LongerTraining
from model_search.training.evaluator import Evaluator
from model_search.training.metrics import compute_metric
from model_search.training.outcome import TrainedTower

_KEPT_SHARE = 0.9  # of what a tower has learnt, which it has to know of mirrored pictures, too


def needs_check(plan: TrialPlan, how: LongerTraining) -> bool:
    """Whether a longer training may mirror pictures, and nothing says so far that their classes stay the same."""
    return FLIP in how.augmentations and not plan.hyperparameters.get(FLIPS)


def knows_mirrored(tower: TrainedTower, engine: Evaluator, data: PreparedData) -> bool:
    """Whether a tower that has seen no mirrored pictures knows them nearly as well as those of the validation rows.

    What it has learnt is by how much its loss is less than that of class shares alone (of the mean). Of letters and
    digits it knows much less when they are mirrored, of animals as much. Of several tasks this has to hold for each.

    Args:
        tower: The tower.
        engine: Runs it.
        data: The data that it was trained on.
    """
    run = engine.forward([tower])
    as_they_are, mirrored = (
        LabelledRows.of_tasks(data.tasks, data.valid, run(rows.inputs)[0])
        for rows in (data.valid, data.valid.mirrored(data.input_specs))
    )
    return all(_keeps(rows, logits, mirrored[name][1]) for name, (rows, logits) in as_they_are.items() if rows.count)


def _keeps(rows: LabelledRows, logits: np.ndarray, mirrored: np.ndarray) -> bool:
    constant = constant_of(rows.task, rows.labels, rows.weights)
    of_none, known, of_mirrored = (
        compute_metric("loss", rows.task, rows.labels, given, rows.weights)
        for given in (np.tile(constant, (len(rows), 1)), logits, mirrored)
    )
    return known < of_none and of_none - of_mirrored >= _KEPT_SHARE * (of_none - known)
