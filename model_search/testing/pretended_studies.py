"""Specifications, trials and pretended studies: a search without training, for tests. Needs nothing but NumPy."""

from collections.abc import Callable, Iterable
from typing import Any

from model_search.metadata.trial import Trial, TrialKind, TrialPlan, TrialResult, TrialState
from model_search.problem import problem_types
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings

DENSE = ("FULLY_CONNECTED", "FULLY_CONNECTED_PYRAMID", "LOWRANK_1", "BOTTLENECK_32", "IDENTITY")
MIXED = ("CONVOLUTION_3X3", "MAX_POOLING_2X2", "FULLY_CONNECTED", "RESNET_3X3", "FULLY_CONNECTED_PYRAMID")


def make_spec(
    search_type: str = "ADAPTIVE_COORDINATE_DESCENT", problem_type: str = "DNN", **fields: Any
) -> PhoenixSpec:
    """A spec of these fields.

    Args:
        search_type: Name of the search; one that is no `search_type` is a `search`.
        problem_type: Name of the problem type.
        fields: Other fields of the spec; `learning` is a dict of fields of its LearningSpec, without cooldown unless
            asked for.
    """
    learning = {"cooldown_share": 0.0} | fields.pop("learning", {})
    reading_maps = {known.name for known in problem_types() if known.reads_maps}
    fields.setdefault("blocks_to_use", MIXED if problem_type in reading_maps else DENSE)
    fields.setdefault("minimum_depth", 1)
    fields.setdefault("maximum_depth", 4)
    is_type = search_type in PhoenixSpec.SearchType.DESCRIPTOR.values_by_name
    spec = PhoenixSpec(
        search_type=PhoenixSpec.SearchType.Value(search_type if is_type else "UNKNOWN_SEARCH_TYPE"),
        search=fields.pop("search", "" if is_type else search_type),
        problem_type=PhoenixSpec.ProblemType.Value(problem_type),
        **fields,
    )
    for name, value in learning.items():
        if name == "learning_rate_range":
            for given in value:
                spec.learning_spec.learning_rate_range.add(**given)
        elif isinstance(value, (list, tuple)):
            getattr(spec.learning_spec, name).extend(value)
        else:
            setattr(spec.learning_spec, name, value)
    return spec


def make_planner(spec: PhoenixSpec, seed: int = 0, sampler: str = "random", train_steps: int = 1000) -> Planner:
    """A planner of trials that are compared by their loss."""
    return Planner(spec, PlannerSettings(seed, train_steps, batch_size=32, sampler=sampler), "loss", "minimize")


def make_plan(trial_id: int, architecture: Iterable[str] = ("FULLY_CONNECTED",), **fields: Any) -> TrialPlan:
    """A plan of a trial of the search."""
    values: dict[str, Any] = {
        "hyperparameters": {},
        "steps": 10,
        "batch_size": 8,
        "seed": 1,
        "key": f"key {trial_id}",
    } | fields
    return TrialPlan(trial_id, TrialKind.SEARCH, tuple(architecture), **values)


def make_trial(trial_id: int, state: TrialState, plan: TrialPlan | None = None, **metrics: float) -> Trial:
    """A trial in some state, with these metrics where it is completed."""
    result = TrialResult(metrics, 1, 1, {}) if state == TrialState.COMPLETED else None
    return Trial(trial_id, state, attempt=1, revision=trial_id, worker="w", plan=plan, result=result)


def completed(trial_id: int, loss: float, plan: TrialPlan | None = None) -> Trial:
    """A completed trial."""
    return make_trial(trial_id, TrialState.COMPLETED, plan or make_plan(trial_id), loss=loss)


def running(trial_id: int, plan: TrialPlan | None = None) -> Trial:
    """A trial that is being trained."""
    return make_trial(trial_id, TrialState.RUNNING, plan or make_plan(trial_id))


def failed(trial_id: int, plan: TrialPlan | None = None) -> Trial:
    """A trial that has failed."""
    return make_trial(trial_id, TrialState.FAILED, plan or make_plan(trial_id))


def run_study(
    planner: Planner, trials: int, loss: Callable[[TrialPlan], float | None], history: History | None = None
) -> History:
    """Plans and completes trials, one after the other; the loss stands for the training, None for one that fails."""
    history = history if history is not None else History("loss", "minimize")
    for trial_id in range(len(history) + 1, len(history) + trials + 1):
        plan = planner.plan(trial_id, history)
        value = loss(plan)
        history.update([failed(trial_id, plan) if value is None else completed(trial_id, value, plan)])
    return history
