"""Folds of rows, and the weights of towers that were trained without one each. Never imports TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from model_search.errors import StudyError, TrialError
from model_search.training.outcome import TrainedTower

_FOLDS = 0xF01D  # tells the generator of folds from others of the same seed


@dataclasses.dataclass(frozen=True)
class BagOutcome:
    """The outcome of a bag.

    Attributes:
        weights: Of each tower, by name.
        logits: float32 [rows, ..., logits dimension]: of each row by the tower that was trained without it.
        parameters: Trainable parameters of all towers.
        best_step: The step of the plan whose weights are kept.
        curve: (step, value of the study's metric on all rows) for every evaluation.
        timings: Seconds by phase.
    """

    weights: Sequence[Mapping[str, np.ndarray]]
    logits: np.ndarray
    parameters: int
    best_step: int
    curve: tuple[tuple[int, float], ...]
    timings: Mapping[str, float]


def fold_numbers(
    rows: int,
    folds: int,
    seed: int,
    classes: np.ndarray | None,
    groups: np.ndarray | None = None,
    division: int = 0,
) -> np.ndarray:
    """The fold of each row, int [rows], at random; every class is spread over all folds as evenly as it can be.

    Args:
        rows: How many rows there are.
        folds: How many folds.
        seed: Seed of the folds: all bags of a study have the same.
        classes: int [rows]; None for no classes.
        groups: int [rows], from 0: each group is in one fold, and folds have about as many rows; classes are then not
            spread. None where rows are independent.
        division: Each division has folds of its own.

    Raises:
        TrialError: if there are fewer groups than folds.
    """
    rng = np.random.default_rng([seed, _FOLDS, division] if division else [seed, _FOLDS])
    if groups is not None:
        return _folds_of_groups(groups, folds, rng)
    order = rng.permutation(rows)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    found = np.empty(rows, np.int64)
    found[order] = np.arange(rows) % folds
    return found


def _folds_of_groups(groups: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """The largest groups first, each goes to the fold that has the fewest rows so far."""
    sizes = np.bincount(groups)
    present = rng.permutation(np.flatnonzero(sizes))
    if len(present) < folds:
        raise TrialError(f"there are {len(present)} groups of rows; expected at least one for each of {folds} folds")
    taken, fold_of = np.zeros(folds, np.int64), np.zeros(len(sizes), np.int64)
    for group in present[np.argsort(-sizes[present], kind="stable")]:
        fold_of[group] = int(np.argmin(taken))
        taken[fold_of[group]] += sizes[group]
    return fold_of[groups]


def name_in_fold(fold: int, name: str) -> str:
    """The name of a weight of the tower that was trained without a fold."""
    return f"fold_{fold}/{name}"


def folds_of(names: Iterable[str]) -> int:
    """The number of models whose weights have these names: of those that were trained on all rows, fewer may do."""
    return len({name.partition("/")[0] for name in names})


def weights_by_fold(tower: TrainedTower) -> list[Mapping[str, np.ndarray]]:
    """The weights of each tower of a bag, by name.

    Raises:
        StudyError: if a fold has none.
    """
    found: list[dict[str, np.ndarray]] = [{} for _ in range(tower.plan.folds)]
    starts = {name_in_fold(fold, ""): weights for fold, weights in enumerate(found)}
    for name, array in tower.weights.items():
        start, slash, rest = name.partition("/")
        if start + slash in starts:
            starts[start + slash][rest] = array
    if not all(found):
        raise StudyError(f"the weights of trial {tower.plan.trial_id} are not those of {tower.plan.folds} folds")
    return list(found)
