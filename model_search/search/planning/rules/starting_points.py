"""Starting points: the first trials try those of the search, if it has any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_search.metadata.trial import TrialKind, TrialPlan
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.planning.ensembling import Composition
from model_search.search.planning.plan_maker import PlanMaker, Request
from model_search.search.planning.rules.rule import PlannerRule, register_planner_rule

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

_LATE = 3  # times as many trials as there are starting points, after which none is left


@register_planner_rule("starting_points", order=70)
class StartingPoints(PlannerRule):
    """Starting point `n` is for trial `n` after the suggestions, so that no two workers take the same one.

    Those for tables of another size are left out. Beside classic models, trials that search no tower do not count.
    """

    def __init__(self, make: PlanMaker, spec: PhoenixSpec) -> None:
        super().__init__(make, spec)
        self._suggested = len(spec.user_suggestions)
        self._points = tuple(point for point in make.algorithm.starting_points if point.suits(make.settings.rows))

    def plan(self, request: Request) -> TrialPlan | None:
        """See `PlannerRule`."""
        number, points = request.trial_id - self._suggested, self._points
        if self.make.settings.classic and number <= _LATE * len(points):
            number -= self._without_search_before(request)
        if not 1 <= number <= len(points):
            return None
        point = points[number - 1]
        proposal = Proposal(point.architecture, hyperparameters={**point.hyperparameters, **self.make.settings.usual})
        source = self.make.source(request, Composition(TrialKind.SEARCH), proposal)
        return self.make.begin(request, self.make.first_drawn(request, source))

    def _without_search_before(self, request: Request) -> int:
        """How many trials before this one search no tower: classic models, ensembles, students."""
        earlier = (trial.plan for trial in request.history.trials if trial.id < request.trial_id)
        return sum(1 for plan in earlier if plan is not None and not plan.is_searched)
