"""From a trial's plan to the tower that it trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from model_search.blocks import catalogue
from model_search.data.rows import InputSpecs
from model_search.metadata.trial import TrialPlan
from model_search.training.runtime import tensorflow

if TYPE_CHECKING:
    from model_search.towers.builder import TowerSpec


def tower_spec(plan: TrialPlan, inputs: InputSpecs, logits_dimension: int, options: Mapping[str, Any]) -> TowerSpec:
    """What to build for a plan.

    Args:
        plan: The plan; its `dropout_rate` and its blocks' own hyperparameters are read.
        inputs: What the inputs of a row are.
        logits_dimension: Width of the output.
        options: `problem_type`, `dropout_between_blocks` and `disable_last_dense_layer`, as in `TrainingSettings`.
    """
    tensorflow()  # quietly, before the builder imports Keras
    from model_search.towers.builder import TowerSpec

    rate = plan.hyperparameters.get("dropout_rate") if options["dropout_between_blocks"] else None
    own = catalogue.hyperparameter_names(plan.architecture)
    return TowerSpec(
        architecture=plan.architecture,
        inputs=inputs,
        logits_dimension=logits_dimension,
        problem_type=options["problem_type"],
        dropout_rate=float(rate) if rate is not None else None,
        disable_last_dense_layer=options["disable_last_dense_layer"],
        block_hparams={name: value for name, value in plan.hyperparameters.items() if name in own},
        seed=plan.seed,
    )
