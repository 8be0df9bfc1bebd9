"""Reads back what trials have stored: their arrays, and the towers that they have trained. Never imports TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from model_search.errors import StudyError
from model_search.metadata.artefacts import ArtefactStore, load_arrays
from model_search.metadata.paths import MIXTURE, WEIGHTS
from model_search.metadata.trial import Artefact, Trial
from model_search.training.outcome import TrainedTower

MIXTURE_ARRAYS = ("kernel", "bias")

TrialOf = Callable[[int], Trial | None]


def stored_arrays(store: ArtefactStore, artefacts: Iterable[Artefact], name: str) -> dict[str, np.ndarray] | None:
    """The arrays of the file of this name; None where there is none.

    Raises:
        DamagedArtefactError: if the file was pruned, is gone, or is not what was written.
    """
    found = next((artefact for artefact in artefacts if artefact.name == name), None)
    return None if found is None else load_arrays(store, found)


def needed_arrays(store: ArtefactStore, artefacts: Iterable[Artefact], name: str, whose: str) -> dict[str, np.ndarray]:
    """Like `stored_arrays`, for a file that is required.

    Raises:
        StudyError: if there is no such file; `whose` names its owner, such as "trial 3".
        DamagedArtefactError: if the file was pruned, is gone, or is not what was written.
    """
    found = stored_arrays(store, artefacts, name)
    if found is None:
        raise StudyError(f"the weights of {whose} are no longer stored ({name} is missing)")
    return found


def stored_tower(trial_of: TrialOf, store: ArtefactStore, trial_id: int) -> TrainedTower:
    """The own tower of a completed trial, to be run or trained further; of a fine-tuned ensemble, all of it.

    Args:
        trial_of: Finds a trial by its number.
        store: Where the files are.
        trial_id: The trial.

    Raises:
        StudyError: if the trial is not completed, or a file was never stored.
        DamagedArtefactError: if a file was pruned, is gone, or is not what was written.
    """
    trial = trial_of(trial_id)
    if trial is None or trial.plan is None or trial.result is None:
        raise StudyError(f"trial {trial_id} is not completed, or no longer there")
    plan, files, whose = trial.plan, trial.artefacts, f"trial {trial_id}"
    weights = needed_arrays(store, files, WEIGHTS, whose)
    if plan.ensemble is None or plan.ensemble.freeze:
        return TrainedTower(plan, weights)
    mixture = needed_arrays(store, files, MIXTURE, whose) if plan.ensemble.combining == "weighted" else {}
    return TrainedTower(
        plan=plan,
        weights=weights,
        mixture=[mixture[key] for key in MIXTURE_ARRAYS if key in mixture],
        members=tuple(stored_tower(trial_of, store, member) for member in plan.members),
    )
