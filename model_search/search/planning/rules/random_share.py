"""The baseline: a share of the trials is random search, as the specification or the search says."""

from __future__ import annotations

import dataclasses
import itertools
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
LEAST_MODELS = 40  # of a study that has a baseline where the specification does not speak of it
_FIRST, _EVERY, _THEN = 3, 12, 50


@register_planner_rule("random_share", order=60)
class RandomShare(PlannerRule):
    """Trials of random search.

    Where the specification has a `random_baseline_share`, a coin decides, which is the trial's own, whatever was tried
    and refused. Where it has none, searches with a baseline make trial 12, 24 and 36 random and then every fiftieth, or
    the next one that no other rule decides, unless as many trials are random anyway. Studies of fewer than 40 models
    have none.

    What is asked for is trained in full. Where the search adds it by itself and an evaluation schedule shortens
    trainings, such a trial begins where all towers begin, and goes on only if it is among the best, as they do: it is a
    sample of random search that is trained for as many steps.
    """

    def __init__(self, make: PlanMaker, spec: PhoenixSpec) -> None:
        super().__init__(make, spec)
        self._share = spec.random_baseline_share if spec.HasField("random_baseline_share") else None
        models = make.settings.number_models
        self._has_baseline = make.algorithm.has_baseline and (models is None or models >= LEAST_MODELS)

    def plan(self, request: Request) -> TrialPlan | None:
        """See `PlannerRule`."""
        if not (self._is_due(request) if self._share is None else self._is_drawn(request, self._share)):
            return None
        source = self.make.source(request, Composition(TrialKind.SEARCH))
        # A share that is asked for is a sample of the whole space, with what is expected to fail.
        takes_risks = self._share is not None
        plan = self.make.first_drawn(
            request, dataclasses.replace(source, propose=self._at_random, takes_risks=takes_risks, fresh=True)
        )
        begun = plan if self._share is not None else self.make.begin(request, plan)
        return None if begun is None or plan is None else dataclasses.replace(begun, random=plan.random)

    def _is_drawn(self, request: Request, share: float) -> bool:
        if not share:
            return False
        coin = np.random.default_rng([self.make.settings.seed, request.trial_id, _COIN])
        return bool(coin.random() < share)

    def _is_due(self, request: Request) -> bool:
        if not self._has_baseline or request.trial_id < _EVERY:
            return False
        due = min(request.trial_id // _EVERY, _FIRST + max(request.trial_id - _FIRST * _EVERY, 0) // _THEN)
        history = request.history
        known = itertools.chain(history.completed, history.unfinished)
        random = [trial.id for trial in known if trial.plan is not None and trial.plan.random]
        return len(random) < due and request.trial_id - max(random, default=0) >= _EVERY

    def _at_random(self, history: History, rng: np.random.Generator) -> Proposal:
        del history
        architecture = self.make.grammar.random_of_any_depth(rng)
        hyperparameters = self.make.space.active(architecture).draw(rng)
        return Proposal(architecture, hyperparameters=hyperparameters, random=True)
