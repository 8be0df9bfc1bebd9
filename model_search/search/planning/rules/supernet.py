"""The supernet of a search with shared weights, before what it finds is trained."""

from __future__ import annotations

from model_search.metadata.trial import TrialPlan
from model_search.search.planning.plan_maker import Request
from model_search.search.planning.rules.rule import PlannerRule, register_planner_rule
from model_search.search.planning.supernets import next_part


@register_planner_rule("supernet", order=25)
class Supernet(PlannerRule):
    """The parts of the training of a supernet, one after the other; meanwhile other workers train random towers."""

    def plan(self, request: Request) -> TrialPlan | None:
        """See `PlannerRule`."""
        return next_part(self.make, request)
