"""The search: everything that no other rule decides."""

from __future__ import annotations

from model_search.metadata.trial import TrialPlan
from model_search.search.planning.plan_maker import Request
from model_search.search.planning.rules.rule import PlannerRule, register_planner_rule


@register_planner_rule("search", order=90)
class Searched(PlannerRule):
    """What the search algorithm proposes."""

    def plan(self, request: Request) -> TrialPlan | None:
        """See `PlannerRule`."""
        return self.make.search(request)
