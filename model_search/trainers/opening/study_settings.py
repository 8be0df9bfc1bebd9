"""What follows from specification, options and data: how data are prepared, planned and trained on."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from model_search import problem
from model_search.data.named.own_towers import OwnTower
from model_search.data.prepare_options import RULES_OF_NEW_STUDIES, PrepareOptions
from model_search.data.prepared_data import PreparedData, TableData
from model_search.metadata.store import StudyRecord
from model_search.search.planning.budget import Budget
from model_search.search.planning.classic_models import models_of_search
from model_search.search.planning.ensembling import keeps_train_logits
from model_search.search.planning.planner import PlannerSettings
from model_search.search.space.architecture import problem_type_of
from model_search.spec.check import problem_type
from model_search.spec.describe import merges_losses
from model_search.spec.searches import LATEST_VERSION
from model_search.trainers.bags.divisible import no_further_folds
from model_search.trainers.options import SearchOptions
from model_search.training.classic.evaluator import classic_models
from model_search.training.metrics import ResolvedMetric
from model_search.training.outcome import TrainingSettings

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


TRAIN_STEPS, BATCH_SIZE = 1000, 100  # where neither the user nor the data say anything
SLOW_SHARE = 1 / 15  # of the time limit, for a tower on a table: a search wants to see dozens of them


def prepare_options(
    spec: PhoenixSpec, seed: int, batch_size: int, eval_steps: int | None, earlier: StudyRecord | None
) -> PrepareOptions:
    """How a study's data are prepared; `earlier` is the study where it exists already."""
    about = problem_type_of(spec)
    return PrepareOptions(
        seed=seed,
        batch_size=batch_size,
        eval_steps=eval_steps,
        lengths=spec.lengths_feature_name,
        weights=spec.weight_feature_name if earlier is None or "weight_feature" in earlier.data else "",
        token_ids=about.input_rank > problem.VECTOR_RANK,
        embedding=about.first_block,
        label_per_step=about.label_per_step,
        flat_inputs=earlier is not None and "inputs" not in earlier.data,
        primary_task=_primary_task(spec),
        input_towers=_input_towers(spec),
        reading_rules=RULES_OF_NEW_STUDIES if earlier is None else earlier.data.get("reading_rules", 1),
    )


def _input_towers(spec: PhoenixSpec) -> dict[str, OwnTower]:
    return {
        one.input_name: OwnTower(tuple(one.architecture), tuple(one.blocks_to_use), one.shares_weights_with or None)
        for one in spec.input_towers
    }


def _primary_task(spec: PhoenixSpec) -> str | None:
    """The task that models are compared by: as the specification says, or the first that it lists."""
    names = [spec.primary_task_name, *(task.label_name for task in spec.multi_task_spec)]
    return next(filter(None, names), None)


def training_settings(spec: PhoenixSpec, metric: ResolvedMetric, eval_steps: int | None) -> TrainingSettings:
    """The specification's settings for the training of every trial."""
    return TrainingSettings(
        problem_type=problem_type(spec),
        metric=metric.name,
        goal=metric.goal,
        metric_fn=metric.fn,
        eval_steps=eval_steps,
        lr_warmup_steps=spec.learning_spec.lr_warmup_steps,
        parameter_scaled=spec.use_parameter_scaled_training,
        maximum_depth=spec.maximum_depth,
        dropout_between_blocks=spec.apply_dropouts_between_blocks,
        temperature=spec.temperature,
        disable_last_dense_layer=spec.disable_last_dense_layer,
        keep_train_logits=keeps_train_logits(spec),
        loss_weights={task.label_name: task.loss_weight for task in spec.multi_task_spec},
        merged_losses=merges_losses(spec),
        task_blocks={task.label_name: tuple(task.architecture) for task in spec.multi_task_spec if task.architecture},
        auxiliary_weight=spec.auxiliary_head_loss_weight if spec.use_auxiliary_head else None,
        few_evaluations=problem.problem_type(problem_type(spec)).reads_maps,
    )


def limits(spec: PhoenixSpec, time_limit: float | None, is_table: bool) -> dict[str, Any]:
    """What a searched tower may take, as settings of training; `is_table` where its steps follow from a table."""
    given = spec.trial_limits
    is_short = time_limit is not None and is_table and not given.HasField("seconds")
    return {
        "most_seconds": given.seconds if given.HasField("seconds") else time_limit,
        "slow_seconds": SLOW_SHARE * time_limit if is_short and time_limit is not None else None,
        "most_parameters": given.parameters_at_most if given.HasField("parameters_at_most") else None,
        "most_megabytes": given.megabytes if given.HasField("megabytes") else None,
    }


def planner_settings(spec: PhoenixSpec, options: SearchOptions, data: PreparedData, seed: int) -> PlannerSettings:
    """What the planner is told; where the user gives no steps, they follow from the data."""
    is_vectors = problem.problem_type(problem_type(spec)).input_rank == problem.VECTOR_RANK
    rows, budget, steps = None, None, options.train_steps
    batch_size = BATCH_SIZE if options.batch_size is None else options.batch_size
    if isinstance(data, TableData):
        rows = len(data.train)
        if steps is None and is_vectors:
            columns = sum(math.prod(spec.shape) for spec in data.input_specs.values())
            budget = Budget(rows, columns, options.batch_size)
            batch_size, steps = budget.usual_batch_size, budget.usual_steps
    return PlannerSettings(
        seed=seed,
        train_steps=TRAIN_STEPS if steps is None else steps,
        batch_size=batch_size,
        sampler=options.sampler,
        number_models=options.number_models,
        rows=rows,
        budget=budget,
        further_folds=0 if no_further_folds(data) else options.further_folds or 0,
    )


def with_earlier_steps(options: SearchOptions, existing: StudyRecord | None) -> SearchOptions:
    """The options of a study that goes on: where none are given, with steps and batch size that it began with."""
    if existing is None or options.train_steps is not None or existing.settings.get("steps_from_data"):
        return options
    given = existing.whole_setting("batch_size") if options.batch_size is None else options.batch_size
    return dataclasses.replace(options, train_steps=existing.whole_setting("train_steps"), batch_size=given)


def classic_models_of_search(
    data: PreparedData, spec: PhoenixSpec, options: SearchOptions, existing: StudyRecord | None
) -> tuple[str, ...]:
    """The models that are no networks which the search tries."""
    is_usual = problem_type(spec) == problem.DEFAULT_PROBLEM_TYPE and not spec.replay.towers
    takes_part = members_of_search(options, existing) == "auto" and is_usual
    return models_of_search(classic_models(data, options.time_limit), options.number_models) if takes_part else ()


def members_of_search(options: SearchOptions, existing: StudyRecord | None) -> str:
    """What may take part; a study of networks, such as those of versions that had nothing else, stays one."""
    if existing is not None and existing.settings.get("members", "networks") == "networks":
        return "networks"
    return options.members


def search_version(existing: StudyRecord | None) -> int:
    """The version of its search that a study goes on with: the one that it began with."""
    return LATEST_VERSION if existing is None else int(existing.settings.get("search_version") or 1)


def folds_warning(options: SearchOptions, data: PreparedData) -> str | None:
    """That further folds are asked for and have no effect, with the reason; None otherwise."""
    reason = None if options.further_folds is None else no_further_folds(data)
    return None if reason is None else f"further_folds={options.further_folds} has no effect: {reason}"
