"""Bagging of the finalists: after a search, the best models are trained again on all rows, in folds (Breiman 1996)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from model_search.errors import SpaceExhaustedError
from model_search.metadata.trial import Trial, TrialPlan
from model_search.search.history.history import History
from model_search.search.planning.early_stopping import LearningCurve
from model_search.search.planning.fold_plans import bag_key, bag_plan, can_be_bagged
from model_search.search.planning.planner import Planner

if TYPE_CHECKING:
    from model_search.metadata.study_arrays import StudyArrays

FINALISTS = 4
_TREES = "boosted_trees"


def finalists(history: History, most: int = FINALISTS) -> list[Trial]:
    """The best models that one training makes, in the order in which they are bagged.

    The best one comes first, then boosted trees, which differ most from towers, then the others; of towers that differ
    in nothing but their hyperparameters, all but the best come last.

    Args:
        history: All trials.
        most: How many there may be besides boosted trees.
    """
    able = [(trial, trial.plan) for trial in history.completed if trial.plan is not None and can_be_bagged(trial.plan)]
    trees = [trial for trial, plan in able if plan.classic == _TREES]
    others = [(trial, plan) for trial, plan in able if plan.classic != _TREES][:most]
    seen: set[tuple[str, ...]] = set()
    first: list[Trial] = []
    again: list[Trial] = []
    for trial, plan in others:
        is_new = plan.classic is not None or plan.architecture not in seen
        (first if is_new else again).append(trial)
        seen.add(plan.architecture)
    return [*first[:1], *trees, *first[1:], *again]


class FinalistsPlanner(Planner):
    """Plans the bags of some trials, and nothing else.

    Args:
        searched: The planner of the search.
        chosen: The finalists, in the order in which they are bagged.
        folds: How many folds.
    """

    def __init__(self, searched: Planner, chosen: Sequence[Trial], folds: int):
        self._chosen = list(chosen)
        self._folds = folds
        self._evaluator = searched.evaluator

    @property
    def evaluator(self) -> str:
        """See `Planner`."""
        return self._evaluator

    @contextlib.contextmanager
    def keeping(self, arrays: StudyArrays) -> Iterator[None]:
        """See `Planner`; it learns nothing."""
        del arrays
        yield

    @property
    def shares_rows(self) -> bool:
        """See `Planner`."""
        return False

    @property
    def replayed_towers(self) -> int | None:
        """See `Planner`."""
        return None

    def stops(self, plan: TrialPlan, curve: LearningCurve, history: History) -> bool:
        """See `Planner`; a bag is always trained in full."""
        return False

    def left(self, history: History) -> int:
        """How many bags no trial has been planned for."""
        return sum(1 for trial in self._chosen if not history.contains_key(bag_key(trial, self._folds)))

    def plan(self, trial_id: int, history: History, attempt: int = 0) -> TrialPlan:
        """The bag of the best finalist that has none.

        Raises:
            SpaceExhaustedError: if all have one.
        """
        for trial in self._chosen:
            if not history.contains_key(bag_key(trial, self._folds)):
                return bag_plan(trial_id, trial, self._folds)
        raise SpaceExhaustedError("every finalist has been trained in folds")
