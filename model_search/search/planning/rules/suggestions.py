"""Suggestions of the user: the first trials try them, in the order of the specification."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from model_search.metadata.trial import TrialKind, TrialPlan
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.planning.ensembling import Composition
from model_search.search.planning.plan_maker import PlanMaker, Request
from model_search.search.planning.rules.rule import PlannerRule, register_planner_rule
from model_search.search.planning.suggestions import read_suggestions

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


@register_planner_rule("suggestions", order=20)
class Suggestions(PlannerRule):
    """Suggestion `n` is for trial `n`; one that was tried already leaves its trial to the search."""

    def __init__(self, make: PlanMaker, spec: PhoenixSpec) -> None:
        super().__init__(make, spec)
        self._suggestions = read_suggestions(spec)

    def plan(self, request: Request) -> TrialPlan | None:
        """See `PlannerRule`."""
        if request.trial_id > len(self._suggestions):
            return None
        suggestion = self._suggestions[request.trial_id - 1]
        proposal = Proposal(suggestion.architecture, hyperparameters=suggestion.hyperparameters)
        source = self.make.source(request, Composition(TrialKind.SUGGESTION), proposal)
        plan = self.make.first_drawn(request, dataclasses.replace(source, takes_risks=True))
        return self.make.begin(request, plan) or self.make.search(request)
