"""The planner: the only place that decides which trial does what."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from model_search.errors import SpaceExhaustedError, UserError
from model_search.metadata.trial import TrialPlan
from model_search.ranking import Ranking, as_ranking
from model_search.search.history.history import History
from model_search.search.planning.early_stopping import LearningCurve, StoppingRule, is_out_of_patience
from model_search.search.planning.plan_maker import PlanMaker, PlannerSettings, Request
from model_search.search.planning.replay import Replay
from model_search.search.planning.rules.rule import rules_of

if TYPE_CHECKING:
    from model_search.metadata.study_arrays import StudyArrays
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
    from model_search.search.algorithms.algorithm import SearchAlgorithm

__all__ = ["Planner", "PlannerSettings"]

# Towers that failed in a row, after which nothing more is tried that is expected to fail. Workers give up after ten: a
# study of which only such towers are left ends as one that has tried everything.
_MOST_IN_A_ROW = 8


class Planner:
    """Decides what each trial does. Pure: the same spec, settings, history and request give the same plan.

    The rules (`rules/`, in the order that they declare) are asked one after the other, and the first that has a plan
    decides: replay; user suggestions; tuning; ensembles; distillation; the random share; starting points; further
    folds; promotion; search.

    No plan repeats another one: the same architecture with hyperparameters in the same bins is tried once, and so are
    the same members and the same architecture under the same teacher. What is expected to fail (`History.failures`) is
    not tried, but where the user asks for it, where it is a sample of random search, and where nothing else is left.
    """

    def __init__(self, spec: PhoenixSpec, settings: PlannerSettings, metric: str | Ranking, goal: str | None = None):
        """Prepares the search.

        Args:
            spec: The specification.
            settings: What holds for every plan.
            metric: Name of the metric that trials are compared by, or a ranking.
            goal: "minimize" or "maximize"; None beside a ranking.

        Raises:
            SpecError: if the specification makes no sense.
            UnsupportedError: if this version cannot search as it asks.
            UserError: if the settings make no sense.
        """
        self._ranking = as_ranking(metric, goal)
        self._make = PlanMaker(spec, settings)
        self._rules = rules_of(spec, self._make)
        self._stopping = StoppingRule.of(spec)
        replay = Replay.of(spec)
        self._replayed_towers = None if replay is None else len(replay.towers)

    @property
    def evaluator(self) -> str:
        """Name of the evaluator that trains what the search proposes."""
        return self._make.algorithm.evaluator

    @property
    def shares_rows(self) -> bool:
        """Whether some trials train on a share of the rows, which a stream cannot do."""
        return any(rung.row_share < 1 for rung in self._make.evaluation.rungs)

    def stops(self, plan: TrialPlan, curve: LearningCurve, history: History) -> bool:
        """Whether a trial that is being trained had better end now.

        Args:
            plan: The trial's plan.
            curve: Its curve so far: (step, value of the study's metric), in order.
            history: All trials of the study.
        """
        objective = history.ranking.objective
        return is_out_of_patience(plan, curve, objective) or self._stopping.stops(plan, curve, history)

    @property
    def replayed_towers(self) -> int | None:
        """How many towers the study trains again; None where it searches."""
        return self._replayed_towers

    @contextlib.contextmanager
    def keeping(self, arrays: StudyArrays) -> Iterator[None]:
        """Within it, the search may keep there what it has learnt; no plan depends on that."""
        self._make.algorithm.keep_in(arrays)
        try:
            yield
        finally:
            self._make.algorithm.keep_in(None)

    def plan(self, trial_id: int, history: History, attempt: int = 0) -> TrialPlan:
        """The plan of a trial.

        Args:
            trial_id: The trial to plan.
            history: All trials of the study, finished and running.
            attempt: How many plans for this trial the store has refused as repetitions; each attempt draws anew.

        Raises:
            SpaceExhaustedError: if everything has been tried.
            UserError: if the history ranks by another metric than this planner.
        """
        if history.ranking != self._ranking:
            raise UserError(
                f"the history says {history.ranking}, the planner {self._ranking}; make both for the same study"
            )
        request = Request(trial_id, history, history.before(trial_id), attempt)
        plan = self._first_plan(request)
        if plan is None and _may_take_risks(history):
            # All that is left is expected to fail, which is no more than a suspicion.
            plan = self._first_plan(dataclasses.replace(request, takes_risks=True))
        if plan is None:
            raise SpaceExhaustedError(_exhausted(history, self._make.algorithm))
        return plan

    def _first_plan(self, request: Request) -> TrialPlan | None:
        for rule in self._rules:
            plan = rule.plan(request)
            if plan is not None:
                return plan
        return None


def _may_take_risks(history: History) -> bool:
    failures = history.failures
    if not failures.architectures:
        return False
    return not failures.any_completed or failures.in_a_row < _MOST_IN_A_ROW


def _exhausted(history: History, algorithm: SearchAlgorithm) -> str:
    failures, trials = history.failures, f"{len(history)} trials"
    deeper = "raise maximum_depth"
    if algorithm.draws_least_depth:
        deeper = f"raise minimum_depth (it is {algorithm.grammar.minimum_depth}; this search draws no deeper towers)"
    hint = f"add blocks to blocks_to_use, {deeper} or widen the hyperparameter ranges to go on"
    if failures.any_completed and failures.in_a_row >= _MOST_IN_A_ROW:
        failing = ", ".join(sorted(failures.blocks))
        of_blocks = f"; all towers with these have failed: {failing}" if failing else ""
        return (
            "everything that is left of the search space is expected to fail, as the last "
            f"{failures.in_a_row} towers have ({trials}{of_blocks}); {hint}"
        )
    message = f"every architecture and hyperparameter bin of the search space has been tried ({trials}); {hint}"
    return f"{message} (architectures that have failed are not tried again)" if failures.architectures else message
