"""Models that are no networks, as trials of a search on a table: which ones, and their hyperparameters.

They show what a table gives without a search, and what an ensemble of networks lacks: trees fit steps and interactions
of few columns where networks are smooth.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from model_search.metadata.trial import HyperparameterValue, TrialKind, TrialPlan

FEWEST_MODELS = 8  # of a search with classic models: these are then a quarter of it at most
AFTER = 2  # trials of towers that come before them

# What a model is trained with: steps (rounds of boosting; strengths of the penalty) and hyperparameters.
_SETTINGS: Mapping[str, tuple[int, Mapping[str, HyperparameterValue]]] = {
    "boosted_trees": (400, {"learning_rate": 0.08, "leaves": 31, "depth": 10, "l2_penalty": 1.0}),
    "linear": (6, {"weakest_penalty": 0.1, "factor": 10.0}),
}


def classic_key(name: str) -> str:
    """What a trial of this model tries: each is tried once."""
    return f"classic:{name}"


def classic_plan(name: str, trial_id: int, seed: int) -> TrialPlan:
    """The plan of a trial that trains one of the `CLASSIC_MODELS`."""
    steps, hyperparameters = _SETTINGS[name]
    return TrialPlan(
        trial_id=trial_id,
        kind=TrialKind.CLASSIC,
        architecture=(),
        hyperparameters=dict(hyperparameters),
        steps=steps,
        batch_size=1,  # without meaning: all rows take part in every step
        seed=seed,
        key=classic_key(name),
        classic=name,
    )


def with_length_of(plan: TrialPlan, step: int) -> TrialPlan:
    """The plan of a classic model that ends at the step that was best for another: its rounds, or its penalty."""
    if plan.classic != "linear":
        return dataclasses.replace(plan, steps=step)
    weakest, factor = float(plan.hyperparameters["weakest_penalty"]), float(plan.hyperparameters["factor"])
    changed = {**plan.hyperparameters, "weakest_penalty": weakest * factor ** (plan.steps - step)}
    return dataclasses.replace(plan, steps=step, hyperparameters=changed)
