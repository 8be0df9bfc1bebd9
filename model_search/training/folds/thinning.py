"""A share of a model: some models of a bag, or some trees of its forests. Never imports TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from model_search.towers.classic_arrays import first_trees, parameters_of
from model_search.training.folds.bags import name_in_fold, weights_by_fold
from model_search.training.outcome import TrainedTower

_ROUNDING = 1 + 1e-9

Weights = Mapping[str, np.ndarray]


def models_of(tower: TrainedTower) -> list[Weights]:
    """The weights of each model of a bag; those of a tower by itself."""
    return weights_by_fold(tower) if tower.plan.folds else [tower.weights]


def thinned(tower: TrainedTower, share: float) -> TrainedTower | None:
    """The first models of a bag, or the first trees of each of its averaged forests, as many as a share of it allows.

    Args:
        tower: A tower, a classic model, or a bag of them.
        share: Of all its numbers, at most 1.

    Returns:
        What is left of it, or None where that is nothing: a model is not divided, but for a forest.
    """
    every = models_of(tower)
    kept = _some_trees(every, share) if is_averaged(every) else _some_models(every, share)
    if not kept:
        return None
    folds = len(kept) if len(kept) > 1 else 0
    weights: dict[str, np.ndarray] = {}
    for fold, arrays in enumerate(kept):
        weights |= {name_in_fold(fold, name) if folds else name: array for name, array in arrays.items()}
    return dataclasses.replace(tower, plan=dataclasses.replace(tower.plan, folds=folds), weights=weights)


def is_averaged(every: Sequence[Weights]) -> bool:
    """Whether models are forests whose trees are averaged: any number of these will do."""
    return "leaf" in every[0] and "root" in every[0]


def _some_trees(every: Sequence[Weights], share: float) -> list[Weights]:
    kept: list[Weights] = []
    for arrays in every:
        ends = np.append(arrays["root"][1:], len(arrays["feature"]))
        count = int(np.searchsorted(ends, share * len(arrays["feature"]) * _ROUNDING, side="right"))
        if count:
            kept.append(first_trees(arrays, count))
    return kept


def _some_models(every: Sequence[Weights], share: float) -> list[Weights]:
    ends = np.cumsum([parameters_of(arrays) for arrays in every])
    return list(every[: int(np.searchsorted(ends, share * ends[-1] * _ROUNDING, side="right"))])
