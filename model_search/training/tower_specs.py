"""From a trial's plan to the tower that it trains."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from model_search.augmentations import TEST_TIME_FLIP
from model_search.blocks import catalogue
from model_search.data.rows import InputSpecs
from model_search.metadata.trial import TrialPlan
from model_search.training.runtime import tensorflow

if TYPE_CHECKING:
    from model_search.towers.builder import TowerSpec


def tower_spec(
    plan: TrialPlan, inputs: InputSpecs, widths: int | Mapping[str, int], options: Mapping[str, Any]
) -> TowerSpec:
    """What to build for a plan.

    Args:
        plan: The plan; its `dropout_rate`, `test_time_flip` and its blocks' own hyperparameters are read.
        inputs: What the inputs of a row are.
        widths: Width of the output; of several tasks that of each, by name.
        options: `problem_type`, `dropout_between_blocks` and `disable_last_dense_layer`, as in `TrainingSettings`, and
            `task_blocks` if there are some.
    """
    tensorflow()  # quietly, before the builder imports Keras
    from model_search.towers.builder import TowerSpec
    from model_search.towers.task_heads import TaskHead

    by_task = widths if isinstance(widths, Mapping) else {"": widths}
    blocks = options.get("task_blocks") or {}
    heads = [TaskHead(width, tuple(blocks.get(name, ()))) for name, width in by_task.items()] if blocks else []
    rate = plan.hyperparameters.get("dropout_rate") if options["dropout_between_blocks"] else None
    own = catalogue.hyperparameter_names(plan.architecture)
    return TowerSpec(
        architecture=plan.architecture,
        inputs=inputs,
        logits_dimension=sum(by_task.values()),
        problem_type=options["problem_type"],
        dropout_rate=float(rate) if rate is not None else None,
        disable_last_dense_layer=options["disable_last_dense_layer"],
        block_hparams={name: value for name, value in plan.hyperparameters.items() if name in own},
        seed=plan.seed,
        task_heads=tuple(heads),
        test_time_flip=flips_at_test_time(plan),
    )


def flips_at_test_time(plan: TrialPlan) -> bool:
    """Whether a tower's predictions are the mean of those for a picture and its mirror image (no ensemble's are)."""
    return plan.ensemble is None and bool(plan.hyperparameters.get(TEST_TIME_FLIP))


def as_trained(plan: TrialPlan) -> TrialPlan:
    """The plan of a tower as it is trained, which reads each picture once."""
    if not flips_at_test_time(plan):
        return plan
    kept = {name: value for name, value in plan.hyperparameters.items() if name != TEST_TIME_FLIP}
    return dataclasses.replace(plan, hyperparameters=kept)
