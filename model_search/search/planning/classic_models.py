"""Models that are no networks, as trials of a search on a table: which ones, and their hyperparameters.

They show what a table gives without a search, and what an ensemble of networks lacks: trees fit steps and interactions
of few columns where networks are smooth.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from model_search.metadata.trial import BOOSTED, KERNEL, LINEAR_MODELS, HyperparameterValue, TrialKind, TrialPlan

_FEWEST_MODELS, _FIRST_TWO = 8, 2  # a search of as many models tries the first two, ...
_MANY_MODELS = 20  # ... and one of as many all of them, as long as they are a quarter of it at most
_FIRST = (3, 3, 6, 8, 10, 12, 14)  # the trial from which on the first classic model is due, the second, ...

_FASTEST = 0.2  # learning rate of boosting

# Columns of the feature matrix that a split is chosen among at least, where there are as many: where there are few, the
# one that counts is missing from too many splits otherwise.
_LEAST_COLUMNS = 6

LEFT_OUT = "left_out"  # means of the label, in models that tell categories from each other by their places

IN_ORDER = "ordered"  # how boosted trees read categories: as places in an order; as a column for each otherwise

_FORMS = ("clipped", "unclipped")  # of number columns, for the linear model

FORESTS = ("extra_trees", "random_forest")
_TREES = 60
_LEAF_SIZES, _USUAL_LEAF = ("10", "3", "1"), "3"  # least rows in a leaf of a forest, those that are tried

# What a model is trained with: steps (rounds of boosting; trees with leaves of each size; strengths of the penalty in
# each form of the numbers or for each width of the kernel) and hyperparameters.
_SETTINGS: Mapping[str, tuple[int, Mapping[str, HyperparameterValue]]] = {
    "boosted_trees": (
        800,
        {
            "learning_rate": 0.05,
            "leaves": 31,
            "depth": 10,
            "l2_penalty": 1.0,
            "columns": 0.5,
            "least_columns": _LEAST_COLUMNS,
            "rounds": 40,
        },
    ),
    "deep_boosted_trees": (
        600,
        {
            "learning_rate": 0.05,
            "leaves": 127,
            "depth": 14,
            "l2_penalty": 3.0,
            "columns": 0.6,
            "least_columns": _LEAST_COLUMNS,
            "rounds": 40,
            "least_in_leaf": 5,
            "target_means": LEFT_OUT,
        },
    ),
    "extra_trees": (
        _TREES * len(_LEAF_SIZES),
        {
            "leaf_sizes": ",".join(_LEAF_SIZES),
            "most_nodes": 1_000_000,
            "least_columns": _LEAST_COLUMNS,
            "target_means": LEFT_OUT,
        },
    ),
    "random_forest": (
        _TREES * len(_LEAF_SIZES),
        {"leaf_sizes": ",".join(_LEAF_SIZES), "most_nodes": 1_000_000, "least_columns": _LEAST_COLUMNS},
    ),
    "linear": (12, {"weakest_penalty": 0.1, "factor": 10.0, "numbers": "both"}),
    # Of the penalty with which all weights are 0.
    "sparse_linear": (24, {"weakest_penalty": 0.003, "factor": 1.6, "numbers": "both"}),
    # Widths in usual distances between rows.
    KERNEL: (40, {"centers": 1000, "widths": "10,3,1,0.3,0.1", "weakest_penalty": 0.0000256, "factor": 5.0}),
}


@dataclasses.dataclass(frozen=True)
class Boosting:
    """How boosted trees are trained in the time that there is.

    Attributes:
        share: Of the usual rounds, above 0; with fewer, each of them counts for more.
        in_order: Whether categories are places in an order, so that rounds take less time.
    """

    share: float = 1.0
    in_order: bool = False


AS_USUAL = Boosting()


def models_of_search(known: Sequence[str], number_models: int) -> tuple[str, ...]:
    """Those of the classic models that a search of so many models tries, in their order."""
    if number_models < _FEWEST_MODELS:
        return ()
    return tuple(known)[: number_models // 4 if number_models >= _MANY_MODELS else _FIRST_TWO]


def is_due(place: int, trial_id: int) -> bool:
    """Whether a trial may be the classic model at this place among those of the search, from 0."""
    return trial_id >= _FIRST[min(place, len(_FIRST) - 1)]


def classic_key(name: str) -> str:
    """What a trial of this model tries: each is tried once."""
    return f"classic:{name}"


def classic_plan(
    name: str,
    trial_id: int,
    seed: int,
    boosting: Boosting = AS_USUAL,
    several_leaves: Collection[str] = FORESTS,
) -> TrialPlan:
    """The plan of a trial that trains one of the `CLASSIC_MODELS`.

    Args:
        name: The model.
        trial_id: The trial.
        seed: Of everything random in it.
        boosting: How boosted trees are trained.
        several_leaves: The forests that are grown with leaves of several sizes, and not of the usual size alone.
    """
    steps, given = _SETTINGS[name]
    hyperparameters = dict(given)
    if name in FORESTS and name not in several_leaves:
        steps, hyperparameters["leaf_sizes"] = _TREES, _USUAL_LEAF
    if name in BOOSTED and boosting.share < 1:
        steps = max(1, round(boosting.share * steps))
        hyperparameters["learning_rate"] = min(_FASTEST, float(given["learning_rate"]) / boosting.share)
    if name in BOOSTED and boosting.in_order:
        hyperparameters["categories"] = IN_ORDER
    return TrialPlan(
        trial_id=trial_id,
        kind=TrialKind.CLASSIC,
        architecture=(),
        hyperparameters=hyperparameters,
        steps=steps,
        batch_size=1,  # without meaning: all rows take part in every step
        seed=seed,
        key=classic_key(name),
        classic=name,
    )


def forms(plan: TrialPlan) -> tuple[str, ...]:
    """How a linear model reads number columns: "clipped" as networks do, or "unclipped". Steps take turns with several.

    Plans of earlier versions do not say so: theirs are clipped.
    """
    given = str(plan.hyperparameters.get("numbers", _FORMS[0]))
    return _FORMS if given == "both" else (given,)


def widths(plan: TrialPlan) -> tuple[str, ...]:
    """The widths of the kernel that a kernel model tries, each as a number in the form of a text."""
    return tuple(str(plan.hyperparameters["widths"]).split(","))


def leaf_sizes(plan: TrialPlan) -> tuple[int, ...]:
    """The least numbers of rows in a leaf that a forest is grown with, one after the other, from the largest."""
    given = plan.hyperparameters
    return tuple(map(int, str(given.get("leaf_sizes", given.get("least_in_leaf"))).split(",")))


def with_length_of(plan: TrialPlan, step: int) -> TrialPlan:
    """The plan of a classic model that ends at the step that was best for another.

    Its rounds, or, of a forest, its trees and the size of their leaves, of a linear model, its penalty and the form of
    its numbers, of a kernel model, its penalty and its width.
    """
    if "leaf_sizes" in plan.hyperparameters:
        each = plan.steps // len(leaf_sizes(plan))
        changed = {**plan.hyperparameters, "leaf_sizes": str(leaf_sizes(plan)[(step - 1) // each])}
        return dataclasses.replace(plan, steps=(step - 1) % each + 1, hyperparameters=changed)
    if plan.classic == KERNEL:
        each = plan.steps // len(widths(plan))
        width, penalties = widths(plan)[(step - 1) // each], (step - 1) % each + 1
        return _with_penalty(plan, penalties, each - penalties, {"widths": width})
    if plan.classic not in LINEAR_MODELS:
        return dataclasses.replace(plan, steps=step)
    known = forms(plan)
    penalties, form = -(-step // len(known)), known[(step - 1) % len(known)]
    changed = {"numbers": form} if "numbers" in plan.hyperparameters else {}
    return _with_penalty(plan, penalties, plan.steps // len(known) - penalties, changed)


def _with_penalty(plan: TrialPlan, steps: int, left: int, changed: Mapping[str, HyperparameterValue]) -> TrialPlan:
    """The plan with so many strengths of the penalty, the last of which has so many weaker ones in the given plan."""
    weakest, factor = float(plan.hyperparameters["weakest_penalty"]), float(plan.hyperparameters["factor"])
    all_changed = {**plan.hyperparameters, "weakest_penalty": weakest * factor**left, **changed}
    return dataclasses.replace(plan, steps=steps, hyperparameters=all_changed)
