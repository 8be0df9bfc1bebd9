"""From a plan to the model that is trained: a tower, or towers and what combines them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from model_search.errors import TrialError
from model_search.metadata.trial import TrialPlan
from model_search.training.failures import plain_words
from model_search.training.outcome import Given, TrainedTower
from model_search.training.runtime import tensorflow
from model_search.training.training_objectives import FROZEN

if TYPE_CHECKING:
    import keras

    from model_search.towers.joint_models import JointModel

Build = Callable[[TrialPlan], "keras.Model"]


def assemble(plan: TrialPlan, given: Given, build: Build, logits_shape: Sequence[int]) -> JointModel:
    """The model that a plan trains.

    Args:
        plan: The plan.
        given: What the plan builds on.
        build: Builds the own tower of a plan, with fresh weights.
        logits_shape: Shape of a tower's logits for one row.

    Raises:
        TrialError: if the weights to start from are not those of this tower, or the members are not those of the plan.
    """
    tensorflow()  # quietly, before Keras is imported
    from model_search.towers import joint_models

    ensemble = plan.ensemble
    own = build(plan) if plan.architecture else None
    if own is not None and given.initial_weights is not None:
        with plain_words("the weights to start from do not fit the tower"):
            own.set_weights(list(given.initial_weights))
    if ensemble is not None and not ensemble.freeze:
        if len(given.members) != len(plan.members):
            raise TrialError(
                f"trial {plan.trial_id} fine-tunes {len(plan.members)} towers; received the weights of "
                f"{len(given.members)}"
            )
        return joint_models.fine_tuned([trained_model(tower, build) for tower in given.members], own, ensemble)
    if own is None:
        return joint_models.mixture_of_logits(len(plan.members), logits_shape, FROZEN)
    if ensemble is not None and ensemble.combining == "weighted":
        return joint_models.tower_beside_logits(own, len(plan.members), ensemble.residual, FROZEN)
    return joint_models.JointModel(own, (own,), None)


def trained_model(tower: TrainedTower, build: Build) -> keras.Model:
    """What a trial has trained, with its weights: inputs in, logits [rows, ..., logits dimension] out.

    Raises:
        TrialError: if the weights do not fit the plan.
    """
    tensorflow()
    from model_search.towers import joint_models

    plan = tower.plan
    with plain_words(f"the weights of trial {plan.trial_id} do not fit its plan"):
        if plan.ensemble is None or plan.ensemble.freeze:
            model = build(plan)
            model.set_weights(list(tower.weights))
            return model
        members = [_skeleton(member, build) for member in tower.members]
        found = joint_models.fine_tuned(members, build(plan) if plan.architecture else None, plan.ensemble)
        left = list(tower.weights)
        for part in found.towers:
            count = len(part.weights)
            part.set_weights(left[:count])
            left = left[count:]
        if found.mixture is not None:
            found.mixture.set_weights(list(tower.mixture))
        return joint_models.combined_output(found, own=bool(plan.architecture))


def _skeleton(tower: TrainedTower, build: Build) -> keras.Model:
    """The model of a tower whose weights do not matter, since those of the whole are set afterwards."""
    from model_search.towers import joint_models

    plan = tower.plan
    if plan.ensemble is None or plan.ensemble.freeze:
        return build(plan)
    own = build(plan) if plan.architecture else None
    whole = joint_models.fine_tuned([_skeleton(member, build) for member in tower.members], own, plan.ensemble)
    return joint_models.combined_output(whole, own=bool(plan.architecture))


def divide(joint: JointModel, weights: Sequence[np.ndarray]) -> tuple[list[np.ndarray], tuple[np.ndarray, ...]]:
    """The weights of a trained model, taken apart: those of its towers one after the other, and those of the mixture.

    Args:
        joint: The model.
        weights: Of the whole, as `model.get_weights()` orders them.
    """
    found = {id(variable): array for variable, array in zip(joint.model.weights, weights, strict=True)}
    towers = [found[id(variable)] for tower in joint.towers for variable in tower.weights]
    mixture = () if joint.mixture is None else tuple(found[id(variable)] for variable in joint.mixture.weights)
    return towers, mixture
