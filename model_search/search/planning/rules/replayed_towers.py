"""Replay: where the specification has one, its towers and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_search.metadata.trial import TrialPlan
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.planning.plan_maker import PlanMaker, Request
from model_search.search.planning.replay import Replay
from model_search.search.planning.rules.rule import PlannerRule, register_planner_rule

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


@register_planner_rule("replay", order=10)
class ReplayedTowers(PlannerRule):
    """Tower `n` of a replay is for trial `n`; there are no other trials."""

    def __init__(self, make: PlanMaker, spec: PhoenixSpec) -> None:
        super().__init__(make, spec)
        self._replay = Replay.of(spec)

    def plan(self, request: Request) -> TrialPlan | None:
        """See `PlannerRule`."""
        if self._replay is None:
            return None
        tower, composition = self._replay.step(request.trial_id, request.earlier)
        space = self.make.space.active(tower.architecture) if tower.architecture else self.make.without_towers()
        hyperparameters = space.draw(self.make.rng(request, 0), tower.hyperparameters)
        proposal = Proposal(tower.architecture, hyperparameters=hyperparameters)
        return self.make.planned(request, composition, proposal, f"replay:{request.trial_id}")
