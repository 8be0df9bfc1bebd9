"""Distillation: the trials whose turn it is (`ensembling.Schedule`), as soon as it is possible."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from model_search.metadata.trial import TrialKind, TrialPlan
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.planning.ensembling import Schedule
from model_search.search.planning.morphisms import sizes
from model_search.search.planning.plan_maker import PlanMaker, Request
from model_search.search.planning.rules.rule import PlannerRule, register_planner_rule

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


@register_planner_rule("distillation", order=50)
class Distillation(PlannerRule):
    """A student of the best trial: the best tower again, between ensembles; else another tower than its teacher."""

    def __init__(self, make: PlanMaker, spec: PhoenixSpec) -> None:
        super().__init__(make, spec)
        self._schedule = Schedule.of(spec)

    def plan(self, request: Request) -> TrialPlan | None:
        """See `PlannerRule`."""
        distilling = self._schedule.distilling
        if distilling is None or self._schedule.role(request.trial_id) is not TrialKind.DISTILLATION:
            return None
        composition = distilling.composition(request.trial_id, request.earlier, warm=self._schedule.is_intermixed)
        if composition is None:
            return None
        start = None if composition.warm_start is None else request.earlier.get(composition.warm_start)
        if start is not None and start.plan is not None:
            student = Proposal(start.plan.architecture, hyperparameters=sizes(start.plan))
            return self.make.first_drawn(request, self.make.source(request, composition, student))
        teachers = (request.earlier.get(number) for number in composition.teacher)
        avoided = {self.make.space.canonical(trial.plan.architecture) for trial in teachers if trial and trial.plan}
        source = dataclasses.replace(self.make.source(request, composition), avoided=frozenset(avoided))
        return self.make.found(request, source)
