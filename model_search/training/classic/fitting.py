"""Trains classic models with scikit-learn, some steps at a time, and turns them into arrays (`towers/classic_arrays`).

Boosted trees: histogram-based gradient boosting (Ke et al. 2017, "LightGBM"), as `HistGradientBoosting` of scikit-learn
has it. The rounds go on until the validation loss has not become better for a while, and the best number is kept.

The linear model: logistic regression, or ridge regression, with the best of a few strengths of the L2 penalty.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from model_search.data.task import Task, TaskKind
from model_search.metadata.trial import TrialPlan
from model_search.towers.classic_arrays import ClassicArrays, sums_of_trees, with_missing

ROUNDS = 20  # of boosting between two evaluations
PATIENCE = 3  # evaluations without improvement that end a training
_LEAST_IN_LEAF = 20
_NEVER_SEEN = -12.0  # logit of a class without training rows


@dataclasses.dataclass(frozen=True)
class ClassicRows:
    """Rows to train on.

    Attributes:
        task: What is predicted.
        features: float32 [rows, columns].
        targets: Classes int [rows], or scaled numbers float [rows].
        weights: float [rows], or None.
        indicator: See `classic_arrays`.
    """

    task: Task
    features: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None
    indicator: np.ndarray

    @property
    def is_classification(self) -> bool:
        """Whether classes are predicted."""
        return self.task.kind is TaskKind.CLASSIFICATION


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A model at one of its steps.

    Attributes:
        step: The step.
        outputs: Its outputs for the validation rows, float64 [rows, outputs], before they are made logits.
        arrays: The model.
    """

    step: int
    outputs: np.ndarray
    arrays: ClassicArrays


def fitted_models(plan: TrialPlan, rows: ClassicRows, valid: np.ndarray) -> Iterator[Fitted]:
    """The model of a plan after some of its steps, again and again until its last step.

    Args:
        plan: What to train.
        rows: Rows to train on.
        valid: float32 [rows, columns], features of the validation rows.
    """
    from threadpoolctl import threadpool_limits

    fit = _boosted_trees if plan.classic == "boosted_trees" else _linear_models
    steps = fit(plan, rows, valid)
    while True:
        # One thread: the same numbers on every machine, and no core that another worker has.
        with threadpool_limits(limits=1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a solver ends at its limit of iterations
            found = next(steps, None)
        if found is None:
            return
        yield found


def _boosted_trees(plan: TrialPlan, rows: ClassicRows, valid: np.ndarray) -> Iterator[Fitted]:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    given = plan.hyperparameters
    kind = HistGradientBoostingClassifier if rows.is_classification else HistGradientBoostingRegressor
    each = [{"loss": "quantile", "quantile": quantile} for quantile in rows.task.quantiles] or [{}]
    models = [
        kind(
            learning_rate=float(given["learning_rate"]),
            max_leaf_nodes=int(given["leaves"]),
            max_depth=int(given["depth"]),
            l2_regularization=float(given["l2_penalty"]),
            min_samples_leaf=max(1, min(_LEAST_IN_LEAF, len(rows.targets) // 10)),
            early_stopping=False,
            warm_start=True,
            random_state=plan.seed,
            **own,
        )
        for own in each
    ]
    features, valid = with_missing(rows.features, rows.indicator), with_missing(valid, rows.indicator)
    forest: dict[str, np.ndarray] | None = None
    outputs = np.empty(0)
    done = 0
    while done < plan.steps:
        rounds = min(ROUNDS, plan.steps - done)
        for model in models:
            model.set_params(max_iter=done + rounds)
            model.fit(features, rows.targets, sample_weight=rows.weights)
        more = _side_by_side([_forest(model, done, rows.indicator) for model in models])
        added = sums_of_trees(more, valid)
        outputs = more["baseline"] + added if forest is None else outputs + added
        forest = more if forest is None else _joined(forest, more)
        done += rounds
        if rows.is_classification and len(models[0].classes_) < rows.task.logits_dimension:
            yield Fitted(done, *_of_all_classes(outputs, forest, models[0].classes_, rows.task.logits_dimension))
        else:
            yield Fitted(done, outputs, forest)


def _side_by_side(forests: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """One forest of several that have an output each: their trees take turns."""
    joined, roots, count = forests[0], [forests[0]["root"]], len(forests[0]["feature"])
    for forest in forests[1:]:
        joined = _joined(joined, forest)
        roots.append(forest["root"] + np.int32(count))
        count += len(forest["feature"])
    root = np.stack(roots, axis=1).reshape(-1)
    return {**joined, "root": root, "baseline": np.concatenate([forest["baseline"] for forest in forests])}


def _joined(forest: ClassicArrays, more: ClassicArrays) -> dict[str, np.ndarray]:
    """A forest with further trees."""
    count = np.int32(len(forest["feature"]))
    moved = {"left": more["left"] + count, "root": more["root"] + count}
    joined = ("feature", "threshold", "left", "missing_left", "value", "root")
    return {**forest, **{name: np.concatenate([forest[name], moved.get(name, more[name])]) for name in joined}}


def _forest(model: Any, first: int, indicator: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a fitted model's rounds from `first` on."""
    trees = [tree.nodes for predictors in model._predictors[first:] for tree in predictors]
    parts: dict[str, list[np.ndarray]] = {
        name: [] for name in ("feature", "threshold", "left", "missing_left", "value")
    }
    roots, start = [], 0
    for nodes in trees:
        order, left = _by_level(nodes)
        numbers = np.arange(len(nodes))
        is_leaf = nodes["is_leaf"][order].astype(bool)
        threshold = _rounded_down(nodes["num_threshold"][order])
        parts["feature"].append(np.where(is_leaf, 0, nodes["feature_idx"][order]))
        parts["threshold"].append(np.where(is_leaf, 0, threshold))
        parts["left"].append(start + np.where(is_leaf, numbers, left))
        parts["missing_left"].append(nodes["missing_go_to_left"][order].astype(bool) & ~is_leaf)
        parts["value"].append(np.where(is_leaf, nodes["value"][order], 0))
        roots.append(start)
        start += len(nodes)
    kinds = {"feature": np.int32, "threshold": np.float32, "left": np.int32, "missing_left": bool, "value": np.float32}
    arrays = {name: np.concatenate(found).astype(kinds[name]) for name, found in parts.items()}
    baseline = np.asarray(model._baseline_prediction, np.float32).reshape(-1)
    return arrays | {"root": np.array(roots, np.int32), "baseline": baseline, "indicator": indicator}


def _by_level(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nodes of a tree level by level, and in that order the new number of each one's left child.

    The two children of a node follow each other.
    """
    order, left = [0], np.zeros(len(nodes), np.int64)
    for place in range(len(nodes)):
        node = nodes[order[place]]
        if not node["is_leaf"]:
            left[place] = len(order)
            order += [int(node["left"]), int(node["right"])]
    return np.array(order), left


def _rounded_down(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 that is not above each threshold: features are float32, so that rows go the same way."""
    with np.errstate(over="ignore"):
        found = thresholds.astype(np.float32)
    too_large = found > thresholds
    found[too_large] = np.nextafter(found[too_large], np.float32(-np.inf))
    return found


def _of_all_classes(
    outputs: np.ndarray, arrays: ClassicArrays, seen: np.ndarray, width: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Outputs and forest with an output for each class, where some classes have no training rows."""
    wide = np.full((len(outputs), width), _NEVER_SEEN)
    wide[:, seen] = 0
    places = seen[-outputs.shape[1] :]  # of two classes, the second one alone has an output
    wide[:, places] = outputs
    count, rounds = len(arrays["feature"]), len(arrays["root"]) // outputs.shape[1]
    leaf = {"feature": 0, "threshold": 0, "left": count, "missing_left": False, "value": 0}
    changed = {name: np.append(arrays[name], np.array(one, arrays[name].dtype)) for name, one in leaf.items()}
    root = np.full((rounds, width), count, np.int32)  # the other classes have trees of one leaf, which adds nothing
    root[:, places] = arrays["root"].reshape(rounds, -1)
    baseline = np.full(width, _NEVER_SEEN, np.float32)
    baseline[seen] = 0
    baseline[places] = arrays["baseline"]
    return wide, {**arrays, **changed, "root": root.reshape(-1), "baseline": baseline}


def _linear_models(plan: TrialPlan, rows: ClassicRows, valid: np.ndarray) -> Iterator[Fitted]:
    """From the strongest penalty to the weakest; each one begins where the one before it has ended."""
    from sklearn.linear_model import LogisticRegression, Ridge

    given = plan.hyperparameters
    weakest, factor = float(given["weakest_penalty"]), float(given["factor"])
    features = rows.features.astype(np.float64)
    model: Any = LogisticRegression(max_iter=200, warm_start=True) if rows.is_classification else Ridge()
    for step in range(1, plan.steps + 1):
        penalty = weakest * factor ** (plan.steps - step)
        model.set_params(**({"C": 1 / penalty} if rows.is_classification else {"alpha": penalty}))
        model.fit(features, rows.targets, sample_weight=rows.weights)
        kernel = np.atleast_2d(model.coef_).T
        arrays = {"kernel": kernel.astype(np.float32), "bias": np.atleast_1d(model.intercept_).astype(np.float32)}
        if rows.is_classification and len(model.classes_) < rows.task.logits_dimension:
            arrays = _linear_of_all_classes(arrays, model.classes_, rows.task.logits_dimension)
        yield Fitted(step, valid.astype(np.float64) @ arrays["kernel"] + arrays["bias"], arrays)


def _linear_of_all_classes(arrays: dict[str, np.ndarray], seen: np.ndarray, width: int) -> dict[str, np.ndarray]:
    """The arrays with an output for each class, where some classes have no training rows."""
    kernel = np.zeros((len(arrays["kernel"]), width), np.float32)
    bias = np.full(width, _NEVER_SEEN, np.float32)
    bias[seen] = 0
    places = seen[-arrays["kernel"].shape[1] :]
    kernel[:, places], bias[places] = arrays["kernel"], arrays["bias"]
    return {"kernel": kernel, "bias": bias}
