"""The weights of a tower that begins as the function of the one that it was grown from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from model_search.data.rows import Arrays
from model_search.errors import NoMorphismError
from model_search.metadata.trial import TrialPlan
from model_search.towers.starting_weights import Source
from model_search.towers.weight_names import fitted, tower_weight_names
from model_search.training.flat_tower import FlatTower, VariablePool
from model_search.training.outcome import Given, TrainedTower
from model_search.training.runtime import without_grappler

if TYPE_CHECKING:
    import keras

    from model_search.towers.morphisms.morphism import Traced

SOME_ROWS = 1024  # that inserted batch normalisation learns its statistics from


def begin_as(
    plan: TrialPlan, parent: TrainedTower, trace: Callable[[TrialPlan], Traced], rows: Arrays
) -> tuple[Given, str]:
    """What a plan builds on that starts from a smaller tower.

    Args:
        plan: The plan.
        parent: The smaller tower.
        trace: Builds the tower of a plan.
        rows: Inputs of some training rows.

    Returns:
        Weights with which the tower has the parent's function, or, where that cannot be, the parent's weights to take
        over as far as they fit; and which of the two it is, in words.
    """
    number = parent.plan.trial_id
    with without_grappler():
        try:
            return Given(initial_weights=_grown(plan, parent, trace, rows), grown=True), f"as the function of {number}"
        except NoMorphismError as error:
            return Given(sources=(Source(parent.weights),)), f"with the weights that fit of {number}: {error}"


def _grown(
    plan: TrialPlan, parent: TrainedTower, trace: Callable[[TrialPlan], Traced], rows: Arrays
) -> dict[str, np.ndarray]:
    from model_search.towers.morphisms.morphism import morph

    new, old = trace(plan), trace(parent.plan)
    names = tower_weight_names(old.model, parent.plan.architecture)
    shapes = {name: tuple(variable.shape) for name, variable in zip(names, old.model.weights, strict=True)}
    whose = f"the weights of trial {parent.plan.trial_id} do not fit its plan"
    old.model.set_weights(fitted(parent.weights, shapes, whose))

    def predict(model: keras.Model) -> np.ndarray:
        tower = FlatTower(model, VariablePool())
        tower.load(model.get_weights())
        return tower.logits(rows)

    morph(new, old, np.random.default_rng(plan.seed), predict)
    return dict(zip(tower_weight_names(new.model, plan.architecture), new.model.get_weights(), strict=True))
