"""The planner: the only place that decides which trial does what."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from model_search.errors import SpaceExhaustedError, UserError
from model_search.metadata.trial import HyperparameterValue, TrialKind, TrialPlan
from model_search.search.algorithm import Proposal
from model_search.search.algorithms import make_algorithm
from model_search.search.history import History
from model_search.search.samplers import RandomSampler, make_sampler
from model_search.search.space import build_space
from model_search.search.suggestions import read_suggestions

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

# Draws before the space is gone through systematically. A sampler that learns may insist on what has been tried, so
# that after a few draws hyperparameters are drawn at random.
_DRAWS = 64
_DRAWS_OF_SAMPLER = 4


@dataclasses.dataclass(frozen=True)
class PlannerSettings:
    """What holds for every plan of a study.

    Attributes:
        seed: The study's seed, at least 0.
        train_steps: Steps of a trial.
        batch_size: Rows a step, where the spec does not search it.
        sampler: How hyperparameters are chosen: "random" or "bayesian".
    """

    seed: int
    train_steps: int
    batch_size: int
    sampler: str = "random"

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UserError(f"the seed is {self.seed}; expected a whole number from 0")
        if self.train_steps < 1 or self.batch_size < 1:
            raise UserError(
                f"train_steps is {self.train_steps} and batch_size is {self.batch_size}; expected at least 1 of each"
            )


@dataclasses.dataclass(frozen=True)
class _Request:
    """A trial to plan: its id, everything known so far, and the number of plans for it that were refused."""

    trial_id: int
    history: History
    attempt: int


class Planner:
    """Decides what each trial does. Pure: the same spec, settings, history and request give the same plan.

    The rules are asked in order, and the first that has a plan decides:

    1. user suggestions: the first trials try them, in the order of the spec;
    2. search: everything else.

    No plan repeats another one: the same architecture with hyperparameters in the same bins is tried once.
    """

    def __init__(self, spec: PhoenixSpec, settings: PlannerSettings, metric: str, goal: str):
        """Prepares the search.

        Args:
            spec: The specification.
            settings: What holds for every plan.
            metric: Name of the metric that trials are compared by.
            goal: "minimize" or "maximize".

        Raises:
            SpecError: if the specification makes no sense.
            UnsupportedError: if this version cannot search as it asks.
            UserError: if the settings make no sense.
        """
        self._settings = settings
        self._metric, self._goal = metric, goal
        self._algorithm = make_algorithm(spec)
        self._space = build_space(spec, settings.train_steps)
        self._suggestions = read_suggestions(spec)
        self._sampler = make_sampler(settings.sampler)
        self._random_sampler = RandomSampler()
        self._rules: tuple[Callable[[_Request], TrialPlan | None], ...] = (self._suggest, self._search)

    def plan(self, trial_id: int, history: History, attempt: int = 0) -> TrialPlan:
        """The plan of a trial.

        Args:
            trial_id: The trial to plan.
            history: All trials of the study, finished and running.
            attempt: How many plans for this trial the store has refused as repetitions; each attempt draws anew.

        Raises:
            SpaceExhaustedError: if everything has been tried.
            UserError: if the history ranks by another metric than this planner.
        """
        if (history.metric, history.goal) != (self._metric, self._goal):
            raise UserError(
                f"the history says {history.goal} {history.metric}, the planner {self._goal} {self._metric}; "
                "make both for the same study"
            )
        request = _Request(trial_id, history, attempt)
        for rule in self._rules:
            plan = rule(request)
            if plan is not None:
                return plan
        raise SpaceExhaustedError(
            f"every architecture and hyperparameter bin of the search space has been tried ({len(history)} trials); "
            "add blocks to blocks_to_use, raise maximum_depth or widen the hyperparameter ranges to go on"
        )

    def _suggest(self, request: _Request) -> TrialPlan | None:
        """User suggestion `n` is for trial `n`; one that was tried already leaves its trial to the search."""
        if request.trial_id > len(self._suggestions):
            return None
        suggestion = self._suggestions[request.trial_id - 1]
        proposal = Proposal(suggestion.architecture, hyperparameters=suggestion.hyperparameters)
        return self._first_new(request, TrialKind.SUGGESTION, self._draws(request, lambda history, rng: proposal))

    def _search(self, request: _Request) -> TrialPlan | None:
        """What the search algorithm proposes; when it repeats itself for long, whatever is left of its space."""
        drawn = self._draws(request, self._algorithm.propose)
        plan = self._first_new(request, TrialKind.SEARCH, drawn)
        return plan or self._first_new(request, TrialKind.SEARCH, self._everything(request))

    def _draws(
        self, request: _Request, propose: Callable[[History, np.random.Generator], Proposal]
    ) -> Iterator[Proposal]:
        """Independent proposals, complete with hyperparameters."""
        earlier = request.history.before(request.trial_id)
        for draw in range(_DRAWS):
            rng = self._rng(request, draw)
            proposal = propose(earlier, rng)
            sampler = self._sampler if draw < _DRAWS_OF_SAMPLER else self._random_sampler
            space = self._space.active(proposal.architecture)
            hyperparameters = sampler.sample(space, earlier, rng, proposal.hyperparameters)
            yield dataclasses.replace(proposal, hyperparameters=hyperparameters)

    def _everything(self, request: _Request) -> Iterator[Proposal]:
        """Every architecture with every combination of bins."""
        rng = self._rng(request, _DRAWS)
        for proposal in self._algorithm.everything(request.history, rng):
            space = self._space.active(proposal.architecture)
            for hyperparameters in space.enumerate(rng, proposal.hyperparameters):
                yield dataclasses.replace(proposal, hyperparameters=hyperparameters)

    def _first_new(self, request: _Request, kind: TrialKind, proposals: Iterator[Proposal]) -> TrialPlan | None:
        """The plan of the first proposal that has not been tried."""
        for proposal in proposals:
            key = self._space.key(proposal.architecture, proposal.hyperparameters)
            if not request.history.contains_key(key):
                return TrialPlan(
                    trial_id=request.trial_id,
                    kind=kind,
                    architecture=proposal.architecture,
                    hyperparameters=dict(proposal.hyperparameters),
                    steps=self._settings.train_steps,
                    batch_size=self._batch_size(proposal.hyperparameters.get("batch_size")),
                    seed=self._trial_seed(request.trial_id),
                    key=key,
                    parent=proposal.parent,
                )
        return None

    def _batch_size(self, chosen: HyperparameterValue | None) -> int:
        return self._settings.batch_size if chosen is None else int(chosen)

    def _rng(self, request: _Request, draw: int) -> np.random.Generator:
        """A generator for one draw; nothing random outlives a call, so that a killed worker loses nothing."""
        return np.random.default_rng([self._settings.seed, request.trial_id, request.attempt, draw])

    def _trial_seed(self, trial_id: int) -> int:
        return int(np.random.SeedSequence([self._settings.seed, trial_id]).generate_state(1)[0]) % 2**31
