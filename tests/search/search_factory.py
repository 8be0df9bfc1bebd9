"""Pretended studies, and specifications with ensembles, for the tests of the search room."""

from typing import Any

import numpy as np

from model_search.proto.distillation_spec_pb2 import DistillationSpec
from model_search.proto.ensembling_spec_pb2 import EnsemblingSpec
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.testing.pretended_studies import (
    DENSE,
    MIXED,
    completed,
    failed,
    make_plan,
    make_planner,
    make_spec,
    make_trial,
    run_study,
    running,
)

__all__ = [
    "DENSE",
    "MIXED",
    "add_distillation",
    "add_ensembles",
    "completed",
    "failed",
    "make_plan",
    "make_planner",
    "make_spec",
    "make_trial",
    "run_study",
    "running",
]


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


def rough_loss(blocks, seed):
    """A loss in which three places together decide, and a tenth of the towers is far worse than the others."""
    tables = np.random.default_rng(seed).random((6, 4, 4, 4))

    def loss(plan):
        codes = [blocks.index(name) for name in plan.architecture]
        value = sum(tables[i, codes[i], codes[(i + 1) % 6], codes[(i + 3) % 6]] for i in range(6))
        return 10 - value if value > 2.1 else 100.0

    return loss
