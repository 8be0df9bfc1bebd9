"""The baseline: a share of the trials, drawn by coin, is random search, trained in full."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from model_search.metadata.trial import TrialKind, TrialPlan
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.history.history import History
from model_search.search.planning.ensembling import Composition
from model_search.search.planning.plan_maker import PlanMaker, Request
from model_search.search.planning.rules.rule import PlannerRule, register_planner_rule

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

_COIN = 2**31


@register_planner_rule("random_share", order=60)
class RandomShare(PlannerRule):
    """A trial of random search; the coin is the trial's own, whatever was tried and refused."""

    def __init__(self, make: PlanMaker, spec: PhoenixSpec) -> None:
        super().__init__(make, spec)
        self._share = spec.random_baseline_share

    def plan(self, request: Request) -> TrialPlan | None:
        """See `PlannerRule`."""
        if not self._share:
            return None
        coin = np.random.default_rng([self.make.settings.seed, request.trial_id, _COIN])
        if not coin.random() < self._share:
            return None
        source = self.make.source(request, Composition(TrialKind.SEARCH))
        # A sample of the whole space, with what is expected to fail.
        return self.make.first_drawn(request, dataclasses.replace(source, propose=self._at_random, takes_risks=True))

    def _at_random(self, history: History, rng: np.random.Generator) -> Proposal:
        del history
        architecture = self.make.grammar.random_of_any_depth(rng)
        hyperparameters = self.make.space.active(architecture).draw(rng)
        return Proposal(architecture, hyperparameters=hyperparameters, random=True)
