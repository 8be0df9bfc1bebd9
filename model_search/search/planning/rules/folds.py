"""Further folds: a trial that is good on the validation rows is trained without other rows, and evaluated on these."""

from __future__ import annotations

from model_search.metadata.trial import TrialPlan
from model_search.search.planning.fold_plans import FoldLadder
from model_search.search.planning.plan_maker import Request
from model_search.search.planning.rules.rule import PlannerRule, register_planner_rule


@register_planner_rule("folds", order=77)
class FurtherFolds(PlannerRule):
    """The better trials on further folds, where the user asks for it and all trials are trained in full."""

    def plan(self, request: Request) -> TrialPlan | None:
        """See `PlannerRule`."""
        at_once = self.make.settings.further_folds
        if not at_once or self.make.evaluation.top:
            return None
        return FoldLadder(at_once).next_plan(request.trial_id, request.earlier, request.history)
