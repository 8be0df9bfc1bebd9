"""Specs, trials and pretended studies for the tests of the search room."""

from collections.abc import Callable, Iterable
from typing import Any

from model_search.metadata.trial import Trial, TrialKind, TrialPlan, TrialResult, TrialState
from model_search.proto.distillation_spec_pb2 import DistillationSpec
from model_search.proto.ensembling_spec_pb2 import EnsemblingSpec
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings

DENSE = ("FULLY_CONNECTED", "FULLY_CONNECTED_PYRAMID", "LOWRANK_1", "BOTTLENECK_32", "IDENTITY")
MIXED = ("CONVOLUTION_3X3", "MAX_POOLING_2X2", "FULLY_CONNECTED", "RESNET_3X3", "FULLY_CONNECTED_PYRAMID")


def make_spec(
    search_type: str = "ADAPTIVE_COORDINATE_DESCENT", problem_type: str = "DNN", **fields: Any
) -> PhoenixSpec:
    """A spec of these fields; `learning` is a dict of LearningSpec fields, without cooldown unless asked for.

    A search that has no number of its own is asked for by its name.
    """
    learning = {"cooldown_share": 0.0} | fields.pop("learning", {})
    fields.setdefault("blocks_to_use", MIXED if problem_type == "CNN" else DENSE)
    fields.setdefault("minimum_depth", 1)
    fields.setdefault("maximum_depth", 4)
    if search_type in PhoenixSpec.SearchType.DESCRIPTOR.values_by_name:
        fields["search_type"] = PhoenixSpec.SearchType.Value(search_type)
    else:
        fields["search"] = search_type
    spec = PhoenixSpec(
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


def add_ensembles(
    spec: PhoenixSpec, search: str, freeze: bool = True, combining: str = "average", **fields: Any
) -> None:
    """Gives a spec an `ensemble_spec`; fields are those of its search settings."""
    names = {
        "nonadaptive": "NONADAPTIVE_ENSEMBLE_SEARCH",
        "adaptive": "ADAPTIVE_ENSEMBLE_SEARCH",
        "residual": "RESIDUAL_ENSEMBLE_SEARCH",
        "intermixed": "INTERMIXED_NONADAPTIVE_ENSEMBLE_SEARCH",
    }
    ensemble = spec.ensemble_spec
    ensemble.ensemble_search_type = EnsemblingSpec.EnsembleSearchType.Value(names[search])
    ensemble.combining_type = EnsemblingSpec.CombiningType.Value(f"{combining.upper()}_ENSEMBLE")
    ensemble.freeze_previous = freeze
    settings = getattr(ensemble, {"residual": "adaptive"}.get(search, search) + "_search")
    settings.SetInParent()
    for name, value in fields.items():
        setattr(settings, name, value)


def add_distillation(spec: PhoenixSpec, kind: str = "ADAPTIVELY_BALANCE_LOSSES", **fields: Any) -> None:
    """Gives a spec a `distillation_spec`; fields are its own and those of its `balance_losses_spec`."""
    distillation = spec.distillation_spec
    distillation.distillation_type = DistillationSpec.DistillationType.Value(kind)
    for name, value in fields.items():
        owner = distillation if name in ("minimal_pool_size", "temperature") else distillation.balance_losses_spec
        setattr(owner, name, value)


def make_planner(spec: PhoenixSpec, seed: int = 0, sampler: str = "random", train_steps: int = 1000) -> Planner:
    return Planner(spec, PlannerSettings(seed, train_steps, batch_size=32, sampler=sampler), "loss", "minimize")


def make_plan(trial_id: int, architecture: Iterable[str] = ("FULLY_CONNECTED",), **fields: Any) -> TrialPlan:
    values = {"hyperparameters": {}, "steps": 10, "batch_size": 8, "seed": 1, "key": f"key {trial_id}"} | fields
    return TrialPlan(trial_id, TrialKind.SEARCH, tuple(architecture), **values)


def make_trial(trial_id: int, state: TrialState, plan: TrialPlan | None = None, **metrics: float) -> Trial:
    result = TrialResult(metrics, 1, 1, {}) if state == TrialState.COMPLETED else None
    return Trial(trial_id, state, attempt=1, revision=trial_id, worker="w", plan=plan, result=result)


def completed(trial_id: int, loss: float, plan: TrialPlan | None = None) -> Trial:
    return make_trial(trial_id, TrialState.COMPLETED, plan or make_plan(trial_id), loss=loss)


def running(trial_id: int, plan: TrialPlan | None = None) -> Trial:
    return make_trial(trial_id, TrialState.RUNNING, plan or make_plan(trial_id))


def run_study(
    planner: Planner, trials: int, loss: Callable[[TrialPlan], float], history: History | None = None
) -> History:
    """Plans and completes trials, one after the other; the loss stands for the training."""
    history = history if history is not None else History("loss", "minimize")
    for trial_id in range(len(history) + 1, len(history) + trials + 1):
        plan = planner.plan(trial_id, history)
        history.update([completed(trial_id, loss(plan), plan)])
    return history
