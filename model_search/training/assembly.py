"""From a plan to the model that is trained: a tower, or towers and what combines them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from model_search.errors import TrialError
from model_search.metadata.trial import TrialPlan
from model_search.towers.starting_weights import start_from
from model_search.towers.weight_names import fitted, in_order_of, tower_weight_names
from model_search.training.failures import plain_words
from model_search.training.outcome import Given, OptimizerState, TrainedTower
from model_search.training.runtime import tensorflow
from model_search.training.tower_specs import as_trained
from model_search.training.training_objectives import FROZEN

if TYPE_CHECKING:
    import keras

    from model_search.towers.joint_models import JointModel

_START_DOES_NOT_FIT = "the weights to start from do not fit the tower"

Build = Callable[[TrialPlan], "keras.Model"]
BuildJoint = Callable[[TrialPlan], "JointModel"]


def assemble(
    plan: TrialPlan, given: Given, build: Build, logits_shape: Sequence[int], auxiliary: BuildJoint | None = None
) -> JointModel:
    """The model that a plan trains.

    Args:
        plan: The plan.
        given: What the plan builds on.
        build: Builds the own tower of a plan, with fresh weights.
        logits_shape: Shape of a tower's logits for one row.
        auxiliary: Builds the own tower of a plan together with an auxiliary head; None for a plan without one.

    Raises:
        TrialError: if the weights to start from are not those of this tower, or the members are not those of the plan.
    """
    tensorflow()  # quietly, before Keras is imported
    joint = None if auxiliary is None else auxiliary(plan)
    own = joint.towers[0] if joint is not None else build(plan) if plan.architecture else None
    if own is not None and given.initial_weights is not None:
        _set_weights([own], tower_weight_names(own, plan.architecture), given.initial_weights, _START_DOES_NOT_FIT)
    taken_over = start_from(own, plan.architecture, given.sources) if own is not None and given.sources else None
    joint = joint or _combined(plan, given, build, own, logits_shape)
    return joint._replace(taken_over=taken_over)


def _combined(
    plan: TrialPlan, given: Given, build: Build, own: keras.Model | None, logits_shape: Sequence[int]
) -> JointModel:
    """The own tower, if there is one, with what a plan combines it with."""
    from model_search.towers import joint_models

    ensemble = plan.ensemble
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
    """The model that a trial has trained, with its weights: inputs in, logits [rows, ..., logits dimension] out.

    Raises:
        TrialError: if the weights do not fit the plan.
    """
    tensorflow()
    from model_search.towers import joint_models

    plan = tower.plan
    whose = f"the weights of trial {plan.trial_id} do not fit its plan"
    with plain_words(whose):
        if plan.ensemble is None or plan.ensemble.freeze:
            model = build(plan)
            _set_weights([model], tower_weight_names(model, plan.architecture), tower.weights, whose)
            return model
        members = [_skeleton(member, build) for member in tower.members]
        found = joint_models.fine_tuned(members, build(plan) if plan.architecture else None, plan.ensemble)
        _set_weights(found.towers, _names_of_towers(found.towers, plan, tower.members), tower.weights, whose)
        if found.mixture is not None:
            found.mixture.set_weights(list(tower.mixture))
        return joint_models.combined_output(found, own=bool(plan.architecture))


def _set_weights(
    towers: Sequence[keras.Model], names: Sequence[str], weights: Mapping[str, np.ndarray], whose: str
) -> None:
    """Loads stored weights into towers, one after the other; `whose` begins the message if they do not fit."""
    shapes = [tuple(variable.shape) for tower in towers for variable in tower.weights]
    left = fitted(weights, dict(zip(names, shapes, strict=True)), whose)
    for tower in towers:
        count = len(tower.weights)
        tower.set_weights(left[:count])
        left = left[count:]


def _names_of_towers(
    towers: Sequence[keras.Model], plan: TrialPlan, members: Sequence[TrainedTower]
) -> tuple[str, ...]:
    """The names of the weights of the towers that a plan trains, one tower after the other.

    Args:
        towers: The fine-tuned members, if any, and the own tower, if there is one.
        plan: The plan that trains them.
        members: The fine-tuned members, as they were before the trial.
    """
    names: list[str] = []
    for tower, number, member in zip(towers, plan.members, members, strict=False):
        names += [f"member_{number}/{name}" for name in _names_of_member(tower, member)]
    for own in towers[len(members) :]:
        names += tower_weight_names(own, plan.architecture)
    return tuple(names)


def _names_of_member(model: keras.Model, member: TrainedTower) -> tuple[str, ...]:
    """The names of one model's weights, which may be those of an ensemble that was fine-tuned before."""
    from model_search.towers import joint_models

    if not member.members:
        return tower_weight_names(model, member.plan.architecture)
    towers = joint_models.towers_in(model)
    variables = [variable for tower in towers for variable in tower.weights]
    names = _names_of_towers(towers, member.plan, member.members)
    return in_order_of(model, {id(variable): name for variable, name in zip(variables, names, strict=True)})


def _skeleton(tower: TrainedTower, build: Build) -> keras.Model:
    """A tower's model with arbitrary weights, since the weights of the whole model are set afterwards."""
    from model_search.towers import joint_models

    plan = tower.plan
    if plan.ensemble is None or plan.ensemble.freeze:
        return build(as_trained(plan))
    own = build(plan) if plan.architecture else None
    whole = joint_models.fine_tuned([_skeleton(member, build) for member in tower.members], own, plan.ensemble)
    return joint_models.combined_output(whole, own=bool(plan.architecture))


def slots_by_name(
    model: keras.Model, plan: TrialPlan, slots: Sequence[Sequence[np.ndarray]]
) -> tuple[dict[str, np.ndarray], ...]:
    """An optimizer's slots by the names of the tower's weights.

    Args:
        model: The own tower of a plan.
        plan: The plan.
        slots: Each in the order of `model.trainable_variables`.
    """
    names = _trainable_names(model, plan)
    return tuple(dict(zip(names, slot, strict=True)) for slot in slots)


def slots_in_order(model: keras.Model, plan: TrialPlan, state: OptimizerState) -> list[list[np.ndarray]]:
    """What `slots_by_name` named, in the order of `model.trainable_variables`.

    Raises:
        TrialError: if they are not those of this tower.
    """
    shapes = [tuple(variable.shape) for variable in model.trainable_variables]
    target = dict(zip(_trainable_names(model, plan), shapes, strict=True))
    return [fitted(slot, target, "the optimizer's state does not fit the tower") for slot in state.slots]


def _trainable_names(model: keras.Model, plan: TrialPlan) -> list[str]:
    names = tower_weight_names(model, plan.architecture)
    found = {id(variable): name for variable, name in zip(model.weights, names, strict=True)}
    return [found[id(variable)] for variable in model.trainable_variables]


def divide(
    joint: JointModel, weights: Sequence[np.ndarray], plan: TrialPlan, members: Sequence[TrainedTower] = ()
) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, ...]]:
    """Splits the weights of a trained model into those of its parts.

    Args:
        joint: The model.
        weights: Of the whole model, in the order of `model.get_weights()`.
        plan: The plan that trained it.
        members: The fine-tuned towers, as they were before the trial.

    Returns:
        The weights of its towers by name, one tower after the other, and those of the mixture.
    """
    found = {id(variable): array for variable, array in zip(joint.model.weights, weights, strict=True)}
    variables = [variable for tower in joint.towers for variable in tower.weights]
    names = _names_of_towers(joint.towers, plan, members)
    towers = {name: found[id(variable)] for name, variable in zip(names, variables, strict=True)}
    mixture = () if joint.mixture is None else tuple(found[id(variable)] for variable in joint.mixture.weights)
    return towers, mixture
