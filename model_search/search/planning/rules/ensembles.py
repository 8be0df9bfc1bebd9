"""Ensembles: the trials whose turn it is (`ensembling.Schedule`), as soon as it is possible."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from model_search.metadata.trial import TrialKind, TrialPlan
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.planning.ensembling import Ensembling, Schedule
from model_search.search.planning.plan_maker import DRAWS, PlanMaker, Request
from model_search.search.planning.rules.rule import PlannerRule, register_planner_rule

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


@register_planner_rule("ensembles", order=40)
class Ensembles(PlannerRule):
    """Members that were not combined before, or a new tower beside those of the best trial."""

    def __init__(self, make: PlanMaker, spec: PhoenixSpec) -> None:
        super().__init__(make, spec)
        self._schedule = Schedule.of(spec)
        self._growing = make.algorithm.for_short_histories()

    def plan(self, request: Request) -> TrialPlan | None:
        """See `PlannerRule`."""
        ensembling = self._schedule.ensembling
        if ensembling is None or self._schedule.role(request.trial_id) is not TrialKind.ENSEMBLE:
            return None
        if not ensembling.is_grown:
            return self._combine(request, ensembling)
        grown = ensembling.grow(request.trial_id, request.earlier)
        if grown is None:
            return None
        composition, pool = grown
        source = self.make.source(request, composition)
        source = dataclasses.replace(source, propose=self._growing.propose, pool=pool, sampled=request.earlier)
        return self.make.found(request, source)

    def _combine(self, request: Request, ensembling: Ensembling) -> TrialPlan | None:
        for draw in range(DRAWS):
            rng = self.make.rng(request, draw)
            composition = ensembling.draw(request.earlier, rng)
            if composition is None:
                return None
            if not request.history.contains_key(composition.key()):
                proposal = Proposal((), hyperparameters=self.make.without_towers().draw(rng))
                return self.make.planned(request, composition, proposal, composition.key())
        return None
