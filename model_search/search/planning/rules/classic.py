"""Classic models: trees and a linear model, early in a search on a table."""

from __future__ import annotations

from model_search.metadata.trial import TrialPlan
from model_search.search.planning.classic_models import classic_plan
from model_search.search.planning.plan_maker import Request
from model_search.search.planning.rules.rule import PlannerRule, register_planner_rule


@register_planner_rule("classic", order=65)
class ClassicModels(PlannerRule):
    """Each classic model once, after a few towers and with towers between them."""

    def plan(self, request: Request) -> TrialPlan | None:
        """See `PlannerRule`."""
        name = self.make.unplanned_classic(request)
        if name is None:
            return None
        seed = self.make.trial_seed(request.trial_id)
        return classic_plan(
            name, request.trial_id, seed, self.make.settings.boosting, self.make.settings.several_leaves
        )
