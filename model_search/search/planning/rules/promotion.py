"""Promotion: a tower that the evaluation schedule trains further."""

from __future__ import annotations

import dataclasses

from model_search.metadata.trial import TrialPlan
from model_search.search.planning.longer import continuation
from model_search.search.planning.plan_maker import Request
from model_search.search.planning.rules.rule import PlannerRule, register_planner_rule


@register_planner_rule("promotion", order=80)
class Promoted(PlannerRule):
    """A trial that continues an earlier one, as the evaluation schedule says."""

    def plan(self, request: Request) -> TrialPlan | None:
        """See `PlannerRule`."""
        evaluation = self.make.evaluation
        if evaluation.top == 0:
            return None
        promotion = evaluation.promotion(self.make.views.of(request.history.towers).ladder, request.trial_id)
        if promotion is None or promotion.trial.plan is None:
            return None
        before = promotion.trial.plan
        return dataclasses.replace(
            before,
            trial_id=request.trial_id,
            key=f"{before.key} rung {promotion.place.rung}",
            parent=before.trial_id,
            start=continuation(promotion.trial),
            random=False,  # chosen, not drawn
            first_step=before.steps,
            **self.make.length(promotion.place),
        )
