"""Which trials begin as the function of the trial that they were grown from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from model_search.blocks import catalogue
from model_search.metadata.paths import WEIGHTS
from model_search.metadata.trial import HyperparameterValue, StartKind, Trial, TrialKind, TrialPlan, WarmStart
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.history.history import History
from model_search.search.space.morphisms import is_morphism

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


@dataclasses.dataclass(frozen=True)
class Morphisms:
    """Function-preserving morphisms of a search.

    Attributes:
        steps_share: Of the steps of a tower that begins anew; 0 where no tower begins as the function of another one.
    """

    steps_share: float = 0.0

    @classmethod
    def of(cls, spec: PhoenixSpec, always: bool = False) -> Morphisms:
        """What a specification asks for; `always` is for searches of morphisms, whose trials are as long as others."""
        return cls(spec.morphisms.steps_share if spec.HasField("morphisms") else float(always))

    def shaped(self, proposal: Proposal, history: History) -> Proposal:
        """A proposal whose blocks have the sizes that its parent's have, so that it can have the parent's function."""
        parent = self._parent(proposal.parent, history)
        if parent is None or parent.plan is None or not is_morphism(proposal.architecture, parent.plan.architecture):
            return proposal
        kept = sizes(parent.plan)
        return dataclasses.replace(proposal, hyperparameters={**kept, **proposal.hyperparameters})

    def started(self, plan: TrialPlan, history: History) -> TrialPlan:
        """The plan of a shorter trial that begins as its parent's function; as it is where that cannot be."""
        parent = self._parent(plan.parent, history)
        is_free = plan.start is None and not plan.members and not plan.teacher and plan.kind is TrialKind.SEARCH
        if parent is None or parent.plan is None or not is_free:
            return plan
        same_sizes = sizes(parent.plan).items() <= plan.hyperparameters.items()
        if not same_sizes or not is_morphism(plan.architecture, parent.plan.architecture):
            return plan
        steps = max(1, math.ceil(self.steps_share * plan.steps))
        return dataclasses.replace(plan, start=WarmStart(StartKind.MORPH, (parent.id,)), steps=steps, random=False)

    def _parent(self, number: int | None, history: History) -> Trial | None:
        """The trial that a tower is grown from, if its weights are there."""
        found = None if number is None or not self.steps_share else history.towers.get(number)
        if found is None or found.plan is None or not found.plan.trains_one_tower:
            return None
        return found if WEIGHTS in {file.name for file in found.artefacts if not file.pruned} else None


def sizes(plan: TrialPlan) -> Mapping[str, HyperparameterValue]:
    """The hyperparameters of a tower's blocks, which its weights depend on."""
    own = catalogue.hyperparameter_names(plan.architecture)
    return {name: value for name, value in plan.hyperparameters.items() if name in own}
