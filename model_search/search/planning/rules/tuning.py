"""The tuning phase: the last trials of the study, where the specification has one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from model_search.metadata.trial import TrialKind, TrialPlan
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.planning.ensembling import Composition
from model_search.search.planning.plan_maker import PlanMaker, Request
from model_search.search.planning.rules.rule import PlannerRule, register_planner_rule
from model_search.search.planning.tuning import Tuning

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


@register_planner_rule("tuning", order=30)
class TunedHyperparameters(PlannerRule):
    """Other hyperparameters for one of the best architectures, when the search is over."""

    def __init__(self, make: PlanMaker, spec: PhoenixSpec) -> None:
        super().__init__(make, spec)
        self._tuning = Tuning.of(spec, make.space.canonical)

    def plan(self, request: Request) -> TrialPlan | None:
        """See `PlannerRule`."""
        if not self._tuning.is_on(request.trial_id, request.history, self.make.settings.number_models):
            return None
        towers = request.earlier.towers
        task = self._tuning.assign(request.trial_id, towers, self.make.views.algorithm(towers))
        if task is None or task.best.plan is None:
            return None
        proposal = Proposal(task.best.plan.architecture, parent=task.best.id)
        source = self.make.source(request, Composition(TrialKind.TUNING), proposal)
        source = dataclasses.replace(source, sampled=task.history, sampler=self._tuning.sampler)
        return self.make.first_drawn(request, source)
