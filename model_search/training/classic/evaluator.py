"""The evaluator of classic models, beside the one that trains networks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from model_search.data.prepared_data import PreparedData, TableData
from model_search.data.rows import FEATURES, Arrays
from model_search.data.tabular.features import CategoryFeature, FeatureSchema, NumberFeature
from model_search.data.task import TaskKind
from model_search.errors import TrialError
from model_search.metadata.trial import BOOSTED, CLASSIC_MODELS, KERNEL, LINEAR_MODELS, TrialKind, TrialPlan
from model_search.search.planning.classic_models import AS_USUAL, FORESTS, Boosting, classic_plan, leaf_sizes
from model_search.towers.classic_arrays import as_logits, parameters_of
from model_search.training.classic.boosting import share_of_columns
from model_search.training.classic.category_orders import columns_in_order
from model_search.training.classic.fitted import ClassicRows, Fitted, trees_a_round
from model_search.training.classic.fitting import fitted_models, grows, patience
from model_search.training.classic.forests import split_columns
from model_search.training.evaluation import ValidationMetrics
from model_search.training.evaluator import Evaluator, OnProgress
from model_search.training.failures import plain_words
from model_search.training.losses import averaging_one
from model_search.training.outcome import Given, Progress, TrainedTower, TrainingSettings, TrialOutcome

_DEEP, _SPARSE = "deep_boosted_trees", "sparse_linear"
_MOST_CLASSES = 30  # of deep trees
_LEAST_OF_DEEP = 0.75  # of their rounds; they are not worth their time where it is short, ...
# ... also by an estimate of the work for their leaves, whatever the rows: so many seconds for each, and more for each
# column that its split is chosen among, whose histogram is gone through. Measured with one thread; half of that, since
# most end after half of the rounds.
_SECONDS_A_LEAF, _SECONDS_A_HISTOGRAM = 1e-5, 1.8e-6
# Boosting is estimated to take so many seconds for each tree of a round, and more for each number of the rows, ...
_SECONDS, _SECONDS_A_NUMBER = 2.0, 1e-5
_OF_THE_TIME = 1 / 6  # ... and gets so much of a time limit
_FEW_ROUNDS = 0.3  # of the usual ones: with fewer, categories with a column for each value are no better any more
# Forests are estimated to take so many seconds for each number that a level of their trees compares, and get so much.
_SECONDS_A_COMPARISON = {"extra_trees": 1e-8, "random_forest": 2e-8}
_OF_THE_TIME_FOR_FOREST, _OF_THE_TIME_FOR_LEAVES = 1 / 4, 1 / 8  # with leaves of one size, and of several
_OF_A_NUMBER = 0.15  # of that time, for a column that is 1 for a category and 0 for all others
# The sparse linear model is tried where there are a column for so many rows, and not too few of them; ...
_ROWS_A_COLUMN, _FEWEST_COLUMNS = 3, 20
# ... rows times columns (times classes, where there are more than two) are at most so many: some seconds.
_MOST_OF_SPARSE, _MOST_OF_SPARSE_CLASSES = 20_000_000, 1_000_000
# Kernel models are for tables of few rows (times classes, where there are more than two): so many at most, ...
_MOST_OF_KERNEL = 5_000
_SECONDS_OF_KERNEL, _SECONDS_A_ROW = 1.0, 1e-3  # ... and they are estimated to take so many seconds, and more for each


def classic_models(data: PreparedData, time_limit: float | None = None) -> tuple[str, ...]:
    """The classic models that can be trained on the data: a table of columns with one task and the usual loss.

    Of quantiles, boosted trees alone: the others are models of the mean. Deep ones, where classes are few, since each
    class has trees of its own, and where they do not take a good part of the time; so with forests. Kernel models,
    where rows are few.

    Args:
        data: The rows.
        time_limit: Of the whole search, in seconds; None for none.
    """
    if (
        not isinstance(data, TableData)
        or data.other_tasks
        or data.loss_fn is not None
        or data.description.get("schema") is None
    ):
        return ()
    is_one_number = data.task.kind is TaskKind.REGRESSION and data.task.logits_dimension == 1
    is_known = is_one_number or data.task.kind is TaskKind.CLASSIFICATION or data.task.quantiles
    if list(data.train.inputs) != [FEATURES] or not is_known:
        return ()
    known = [name for name in CLASSIC_MODELS if name in BOOSTED or not data.task.quantiles]
    is_wide = _is_wide(data)
    if is_wide:
        known.sort(key=lambda name: name not in LINEAR_MODELS)
    worthwhile = {_DEEP: _is_for_deep(data, time_limit), _SPARSE: is_wide, KERNEL: _is_for_kernel(data, time_limit)}
    worthwhile |= {name: _is_for_forest(data, name, time_limit) for name in FORESTS}
    return tuple(name for name in known if worthwhile.get(name, True))


def _is_wide(data: TableData) -> bool:
    """Whether there are many columns for so few rows, so that linear models come first and a sparse one may be best."""
    rows, columns = data.train.inputs[FEATURES].shape
    if columns < _FEWEST_COLUMNS or columns * _ROWS_A_COLUMN < rows:
        return False
    outputs = data.task.logits_dimension
    return rows * columns <= _MOST_OF_SPARSE if outputs <= 2 else rows * columns * outputs <= _MOST_OF_SPARSE_CLASSES


def _is_for_deep(data: TableData, time_limit: float | None) -> bool:
    """Whether deep trees take no more than a part of the time."""
    if data.task.logits_dimension > _MOST_CLASSES:
        return False
    if time_limit is None:
        return True
    boosting = boosting_in_time(data, time_limit)
    plan = classic_plan(_DEEP, 1, 0, boosting)
    rows, columns = data.train.inputs[FEATURES].shape
    columns = _columns_in_order(data) if boosting.in_order else columns
    leaves = min(int(plan.hyperparameters["leaves"]), max(1, rows // int(plan.hyperparameters["least_in_leaf"])))
    of_a_leaf = _SECONDS_A_LEAF + _SECONDS_A_HISTOGRAM * share_of_columns(plan, columns) * columns
    seconds = trees_a_round(data.task) * plan.steps * leaves * of_a_leaf
    return boosting.share >= _LEAST_OF_DEEP and _LEAST_OF_DEEP * seconds <= _OF_THE_TIME * time_limit


def _columns_in_order(data: TableData) -> int:
    """How many columns there are if each category is one."""
    schema = FeatureSchema.from_json(data.description["schema"])
    return columns_in_order(data.train.inputs[FEATURES].shape[1], categories(schema))


def _is_for_kernel(data: TableData, time_limit: float | None) -> bool:
    """Whether a kernel model takes some seconds only, and not a good part of the time."""
    outputs = data.task.logits_dimension
    rows = len(data.train) * (1 if outputs <= 2 else outputs)
    seconds = _SECONDS_OF_KERNEL + _SECONDS_A_ROW * rows
    return rows <= _MOST_OF_KERNEL and (time_limit is None or seconds <= _OF_THE_TIME * time_limit)


def _is_for_forest(data: TableData, name: str, time_limit: float | None) -> bool:
    """Whether a forest can be grown in a part of the time, by an estimate; one that is cut off is lost."""
    if time_limit is None:
        return True
    return _seconds_of_forest(data, name, several_leaves=False) <= _OF_THE_TIME_FOR_FOREST * time_limit


def several_leaves_in_time(data: TableData, time_limit: float | None) -> tuple[str, ...]:
    """The forests that can be grown with leaves of several sizes in a small part of the time, by an estimate."""
    if time_limit is None:
        return FORESTS
    most = _OF_THE_TIME_FOR_LEAVES * time_limit
    return tuple(name for name in FORESTS if _seconds_of_forest(data, name, several_leaves=True) <= most)


def _seconds_of_forest(data: TableData, name: str, *, several_leaves: bool) -> float:
    rows, columns = data.train.inputs[FEATURES].shape
    plan = classic_plan(name, 1, 0, several_leaves=FORESTS if several_leaves else ())
    compared = rows * split_columns(plan, columns, data.task.kind is TaskKind.CLASSIFICATION)
    of_categories = sum(end - start for start, end in categories(FeatureSchema.from_json(data.description["schema"])))
    compared *= 1 - (1 - _OF_A_NUMBER) * of_categories / columns
    sizes = leaf_sizes(plan)
    most = int(plan.hyperparameters["most_nodes"]) * len(sizes) // plan.steps
    nodes = max(2, min(2 * rows // min(sizes), most))
    return _SECONDS_A_COMPARISON[name] * compared * plan.steps * math.log2(nodes)


def boosting_in_time(data: TableData, time_limit: float | None) -> Boosting:
    """How boosted trees are trained in a part of the time, by an estimate: a search is not there for one model.

    Where there is time for few of the usual rounds, each category becomes one column, if that makes them fewer.

    Args:
        data: A table of columns.
        time_limit: Of the whole search, in seconds; None for none.
    """
    if time_limit is None:
        return AS_USUAL
    columns = data.train.inputs[FEATURES].shape[1]
    share = _share_of_rounds(data, columns, time_limit)
    if share >= _FEW_ROUNDS:
        return Boosting(share)
    fewest = _columns_in_order(data)
    return Boosting(_share_of_rounds(data, fewest, time_limit), in_order=True) if fewest < columns else Boosting(share)


def _share_of_rounds(data: TableData, columns: int, time_limit: float) -> float:
    """How much of its usual rounds boosting may have with so many columns."""
    seconds = trees_a_round(data.task) * (_SECONDS + _SECONDS_A_NUMBER * len(data.train) * columns)
    return min(1.0, _OF_THE_TIME * time_limit / seconds)


def indicators(schema: FeatureSchema) -> np.ndarray:
    """For each column, the one that holds 1 where its value is missing; -1 for none. int32 [columns]."""
    found = np.full(schema.width, -1, np.int32)
    for feature, start in zip(schema.features, schema.starts, strict=True):
        end = start + feature.width
        if not isinstance(feature, CategoryFeature) and feature.indicator:
            found[start : end - 1] = end - 1
    return found


def numbers(schema: FeatureSchema) -> np.ndarray:
    """Which columns hold numbers or parts of dates, and no categories, means or indicators: bool [columns]."""
    found = np.ones(schema.width, bool)
    for feature, start in zip(schema.features, schema.starts, strict=True):
        end = start + feature.width
        if isinstance(feature, CategoryFeature):
            found[start:end] = False
        elif feature.indicator:
            found[end - 1] = False
    told = means(schema)
    return found if told is None else found & ~told


def means(schema: FeatureSchema) -> np.ndarray | None:
    """Which columns are means of the label, bool [columns]; None where there are none."""
    found = np.zeros(schema.width, bool)
    for feature, start in zip(schema.features, schema.starts, strict=True):
        if isinstance(feature, NumberFeature | CategoryFeature):
            found[start + feature.mean_start : start + feature.mean_start + feature.outputs] = True
    return found if found.any() else None


def categories(schema: FeatureSchema) -> tuple[tuple[int, int], ...]:
    """For each category the first column and the one after the last of those that are 1 for one of its values."""
    return tuple(
        (start, start + feature.one_hot)
        for feature, start in zip(schema.features, schema.starts, strict=True)
        if isinstance(feature, CategoryFeature) and feature.one_hot
    )


class WithClassicModels(Evaluator):
    """Trains plans of classic models itself, and leaves the others to another evaluator.

    Args:
        others: Trains networks.
        data: Training and validation rows.
        settings: The settings that all trials share.
    """

    def __init__(self, others: Evaluator, data: PreparedData, settings: TrainingSettings):
        self._others = others
        self._data = data
        self._settings = settings
        self._metrics = ValidationMetrics(data, settings)

    def run(self, plan: TrialPlan, given: Given | None = None, on_progress: OnProgress | None = None) -> TrialOutcome:
        """See `Evaluator`."""
        if plan.classic is None:
            return self._others.run(plan, given, on_progress)
        data = self._data
        known = classic_models(data)
        # A bag and a refit have other rows than the trial, for which these models were worth a try.
        if not isinstance(data, TableData) or not known or plan.classic not in (*known, _SPARSE, KERNEL):
            raise TrialError(f"trial {plan.trial_id} trains a {plan.described}, which takes a table of columns")
        with plain_words(f"the {plan.described} cannot be trained"):
            return self._run(plan, data, on_progress or (lambda progress: None))

    def forward(self, towers: Sequence[TrainedTower]) -> Callable[[Arrays], np.ndarray]:
        """See `Evaluator`; classic models take no part in what is trained further."""
        return self._others.forward(towers)

    def logits_of(self, tower: TrainedTower) -> tuple[np.ndarray, np.ndarray | None]:
        """See `Evaluator`; classic models take no part in what is trained further."""
        return self._others.logits_of(tower)

    def _run(self, plan: TrialPlan, data: TableData, report: OnProgress) -> TrialOutcome:
        started = time.perf_counter()
        width = data.task.logits_dimension
        curve: list[tuple[int, float]] = []
        best: tuple[float, Fitted] | None = None
        report(Progress(0, plan.steps, math.nan, None))
        waited, most_waited = 0, patience(plan)
        for fitted in fitted_models(plan, _rows(data), data.valid.inputs[FEATURES]):
            metric, loss = self._metrics.during_training(data.valid, as_logits(fitted.outputs, width))
            if math.isfinite(metric):
                curve.append((fitted.step, metric))
            waited += 1
            # In a bag the rows are to evaluate the model, and not to choose its length.
            if best is None or loss < best[0] or plan.kind is TrialKind.BAGGING or grows(plan, best[1], fitted):
                best, waited = (loss, fitted), 0
            known = self._settings.objective.best([value for _, value in curve])
            stop = report(Progress(fitted.step, plan.steps, loss, known, tuple(curve)))
            if stop or waited >= most_waited:
                break
        if best is None:
            raise TrialError("the trial ended before its first evaluation")
        chosen = best[1]
        logits = as_logits(chosen.outputs, width)
        seconds = time.perf_counter() - started
        return TrialOutcome(
            metrics=self._metrics.all(logits),
            parameters=parameters_of(chosen.arrays),
            best_step=chosen.step,
            timings={"train": seconds, "total": seconds},
            curve=tuple(curve),
            weights=chosen.arrays,
            valid_logits=logits,
        )


def _rows(data: TableData) -> ClassicRows:
    train, weights = data.train, data.train.weight
    schema = FeatureSchema.from_json(data.description["schema"])
    return ClassicRows(
        task=data.task,
        features=train.inputs[FEATURES],
        targets=train.label if data.task.kind is TaskKind.CLASSIFICATION else train.label[:, 0],
        weights=None if weights is None else averaging_one(weights),
        indicator=indicators(schema),
        numbers=numbers(schema),
        means=means(schema),
        categories=categories(schema),
    )
