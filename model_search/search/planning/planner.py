"""The planner: the only place that decides which trial does what."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.blocks import catalogue
from model_search.errors import SpaceExhaustedError, UserError
from model_search.metadata.trial import HyperparameterValue, StartKind, TrialKind, TrialPlan, WarmStart
from model_search.ranking import Ranking, as_ranking
from model_search.search.algorithms.algorithm import Proposal
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.history.history import History
from model_search.search.planning.early_stopping import LearningCurve, StoppingRule
from model_search.search.planning.ensembling import Composition, Ensembling, Schedule
from model_search.search.planning.evaluation_schedule import EvaluationSchedule, Place
from model_search.search.planning.fidelity_views import Views
from model_search.search.planning.replay import Replay
from model_search.search.planning.suggestions import read_suggestions
from model_search.search.planning.tuning import Tuning
from model_search.search.predictor.predictor import Predictors
from model_search.search.samplers.random_sampler import RandomSampler
from model_search.search.samplers.sampler import AUTO, Sampler, make_sampler
from model_search.search.space.architecture import Architecture
from model_search.search.space.grammar import Grammar
from model_search.search.space.hyperparameter_space import Space, build_space

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

# Draws before the space is gone through systematically. A sampler that learns may insist on what has been tried, so
# that after a few draws hyperparameters are drawn at random.
_DRAWS = 64
_COIN = 2**31
_DRAWS_OF_SAMPLER = 4


@dataclasses.dataclass(frozen=True)
class PlannerSettings:
    """What holds for every plan of a study.

    Attributes:
        seed: The study's seed, at least 0.
        train_steps: Steps of a trial that is trained in full.
        batch_size: Rows a step, where the spec does not search it.
        sampler: How hyperparameters are chosen: "random", "bayesian", "predictor", or "auto": as goes with the search.
        number_models: Trials that the study is to complete, the last of which may tune; None where that is not known.
    """

    seed: int
    train_steps: int
    batch_size: int
    sampler: str = AUTO
    number_models: int | None = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UserError(f"the seed is {self.seed}; expected a whole number from 0")
        if self.train_steps < 1 or self.batch_size < 1:
            raise UserError(
                f"train_steps is {self.train_steps} and batch_size is {self.batch_size}; expected at least 1 of each"
            )


@dataclasses.dataclass(frozen=True)
class _Request:
    """A trial to plan.

    Attributes:
        trial_id: Its id.
        history: Everything known so far.
        earlier: What was completed among the trials with smaller ids.
        attempt: The number of plans for it that were refused.
    """

    trial_id: int
    history: History
    earlier: History
    attempt: int


@dataclasses.dataclass(frozen=True)
class _ProposalSource:
    """How a tower is looked for.

    Attributes:
        composition: What it will be trained with.
        propose: Proposes one.
        pool: The trials that the algorithm learns from.
        sampled: The trials that the sampler of hyperparameters learns from.
        sampler: Chooses its hyperparameters.
        avoided: Architectures, in their canonical form, that it must not have.
    """

    composition: Composition
    propose: Callable[[History, np.random.Generator], Proposal]
    pool: History
    sampled: History
    sampler: Sampler
    avoided: frozenset[Architecture] = frozenset()


class Planner:
    """Decides what each trial does. Pure: the same spec, settings, history and request give the same plan.

    The rules are asked in order, and the first that has a plan decides:

    1. replay: where the spec has one, its towers and nothing else;
    2. user suggestions: the first trials try them, in the order of the spec;
    3. tuning: the last trials of the study, where the spec has that phase;
    4. ensembles and 5. distillation: the trials whose turn it is (`ensembling.Schedule`), as soon as it is possible;
    6. baseline: a share of the other trials, drawn by coin, is random search, trained in full;
    7. starting points: the first trials try those of the search, if it has any;
    8. promotion: a tower that the evaluation schedule trains further;
    9. search: everything else.

    No plan repeats another one: the same architecture with hyperparameters in the same bins is tried once, and so are
    the same members and the same architecture under the same teacher.
    """

    def __init__(self, spec: PhoenixSpec, settings: PlannerSettings, metric: str | Ranking, goal: str | None = None):
        """Prepares the search.

        Args:
            spec: The specification.
            settings: What holds for every plan.
            metric: Name of the metric that trials are compared by, or a ranking.
            goal: "minimize" or "maximize"; None beside a ranking.

        Raises:
            SpecError: if the specification makes no sense.
            UnsupportedError: if this version cannot search as it asks.
            UserError: if the settings make no sense.
        """
        self._settings = settings
        self._ranking = as_ranking(metric, goal)
        self._grammar, self._baseline_share = Grammar.of(spec), spec.random_baseline_share
        predictors = Predictors(self._grammar)
        self._algorithm = make_algorithm(spec)
        self._algorithm.use(predictors)
        self._growing = self._algorithm.for_short_histories()
        self._space = build_space(spec, settings.train_steps)
        self._suggestions = read_suggestions(spec)
        self._schedule = Schedule.of(spec)
        self._replayed = Replay.of(spec)
        self._evaluation = EvaluationSchedule.of(spec, settings.train_steps)
        self._views = Views(self._evaluation)
        self._stopping = StoppingRule.of(spec)
        self._tuning = Tuning.of(spec, self._space.canonical)
        self._sampler = make_sampler(settings.sampler, self._grammar, self._algorithm.sampler, predictors)
        self._random_sampler = RandomSampler()
        self._rules: tuple[Callable[[_Request], TrialPlan | None], ...] = (
            self._replay,
            self._suggest,
            self._tune,
            self._ensemble,
            self._distil,
            self._hold_out,
            self._start,
            self._promote,
            self._search,
        )

    @property
    def evaluator(self) -> str:
        """Name of the evaluator that trains what the search proposes."""
        return self._algorithm.evaluator

    @property
    def shares_rows(self) -> bool:
        """Whether some trials train on a share of the rows, which a stream cannot do."""
        return any(rung.row_share < 1 for rung in self._evaluation.rungs)

    def stops(self, plan: TrialPlan, curve: LearningCurve, history: History) -> bool:
        """Whether a trial that is being trained had better end now.

        Args:
            plan: The trial's plan.
            curve: Its curve so far: (step, value of the study's metric), in order.
            history: All trials of the study.
        """
        return self._stopping.stops(plan, curve, history)

    @property
    def replayed_towers(self) -> int | None:
        """How many towers the study trains again; None where it searches."""
        return None if self._replayed is None else len(self._replayed.towers)

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
        if history.ranking != self._ranking:
            raise UserError(
                f"the history says {history.ranking}, the planner {self._ranking}; make both for the same study"
            )
        request = _Request(trial_id, history, history.before(trial_id), attempt)
        for rule in self._rules:
            plan = rule(request)
            if plan is not None:
                return plan
        raise SpaceExhaustedError(
            f"every architecture and hyperparameter bin of the search space has been tried ({len(history)} trials); "
            "add blocks to blocks_to_use, raise maximum_depth or widen the hyperparameter ranges to go on"
        )

    def _replay(self, request: _Request) -> TrialPlan | None:
        """Tower `n` of a replay is for trial `n`; there are no other trials."""
        if self._replayed is None:
            return None
        tower, composition = self._replayed.step(request.trial_id, request.earlier)
        space = self._space.active(tower.architecture) if tower.architecture else self._without_towers()
        hyperparameters = space.draw(self._rng(request, 0), tower.hyperparameters)
        proposal = Proposal(tower.architecture, hyperparameters=hyperparameters)
        return self._planned(request, composition, proposal, f"replay:{request.trial_id}")

    def _suggest(self, request: _Request) -> TrialPlan | None:
        """User suggestion `n` is for trial `n`; one that was tried already leaves its trial to the search."""
        if request.trial_id > len(self._suggestions):
            return None
        suggestion = self._suggestions[request.trial_id - 1]
        proposal = Proposal(suggestion.architecture, hyperparameters=suggestion.hyperparameters)
        source = self._source(request, Composition(TrialKind.SUGGESTION), propose=lambda history, rng: proposal)
        plan = self._first_new(request, source, self._draws(request, source))
        return self._begin(request, plan) or self._search(request)

    def _tune(self, request: _Request) -> TrialPlan | None:
        """Other hyperparameters for one of the best architectures, when the search is over."""
        if not self._tuning.is_on(request.trial_id, request.history, self._settings.number_models):
            return None
        towers = request.earlier.towers
        task = self._tuning.assign(request.trial_id, towers, self._views.algorithm(towers))
        if task is None or task.best.plan is None:
            return None
        proposal = Proposal(task.best.plan.architecture, parent=task.best.id)
        source = self._source(request, Composition(TrialKind.TUNING), propose=lambda history, rng: proposal)
        source = dataclasses.replace(source, sampled=task.history, sampler=self._tuning.sampler)
        return self._first_new(request, source, self._draws(request, source))

    def _promote(self, request: _Request) -> TrialPlan | None:
        """A trial that continues an earlier one, as the evaluation schedule says."""
        if self._evaluation.top == 0:
            return None
        promotion = self._evaluation.promotion(self._views.of(request.history.towers).ladder, request.trial_id)
        if promotion is None or promotion.trial.plan is None:
            return None
        before = promotion.trial.plan
        return dataclasses.replace(
            before,
            trial_id=request.trial_id,
            key=f"{before.key} rung {promotion.place.rung}",
            parent=before.trial_id,
            start=WarmStart(StartKind.CONTINUE, (before.trial_id,)),
            first_step=before.steps,
            **self._length(promotion.place),
        )

    def _length(self, place: Place) -> dict[str, Any]:
        """How long the trials of a rung are trained, as fields of their plans."""
        rung, in_full = self._evaluation.rungs[place.rung], self._settings.train_steps
        return {
            "rung": place.rung,
            "bracket": place.bracket,
            "steps": rung.steps,
            "total_steps": None if rung.steps == in_full else in_full,
            "row_share": rung.row_share,
        }

    def _ensemble(self, request: _Request) -> TrialPlan | None:
        """Members that were not combined before, or a new tower beside those of the best trial."""
        ensembling = self._schedule.ensembling
        if ensembling is None or self._schedule.role(request.trial_id) is not TrialKind.ENSEMBLE:
            return None
        if not ensembling.is_grown:
            return self._combine(request, ensembling)
        grown = ensembling.grow(request.trial_id, request.earlier)
        if grown is None:
            return None
        composition, pool = grown
        source = self._source(request, composition, propose=self._growing.propose)
        return self._found(request, dataclasses.replace(source, pool=pool, sampled=request.earlier))

    def _combine(self, request: _Request, ensembling: Ensembling) -> TrialPlan | None:
        for draw in range(_DRAWS):
            rng = self._rng(request, draw)
            composition = ensembling.draw(request.earlier, rng)
            if composition is None:
                return None
            if not request.history.contains_key(composition.key()):
                proposal = Proposal((), hyperparameters=self._without_towers().draw(rng))
                return self._planned(request, composition, proposal, composition.key())
        return None

    def _distil(self, request: _Request) -> TrialPlan | None:
        """A student of the best trial: the best tower again, between ensembles; else another tower than its teacher."""
        distilling = self._schedule.distilling
        if distilling is None or self._schedule.role(request.trial_id) is not TrialKind.DISTILLATION:
            return None
        composition = distilling.composition(request.trial_id, request.earlier, warm=self._schedule.is_intermixed)
        if composition is None:
            return None
        source = self._source(request, composition)
        start = None if composition.warm_start is None else request.earlier.get(composition.warm_start)
        if start is not None and start.plan is not None:
            student = Proposal(start.plan.architecture, hyperparameters=_shapes(start.plan))
            source = dataclasses.replace(source, propose=lambda history, rng: student)
            return self._first_new(request, source, self._draws(request, source))
        taught = (request.earlier.get(number) for number in composition.teacher)
        avoided = {self._space.canonical(trial.plan.architecture) for trial in taught if trial and trial.plan}
        return self._found(request, dataclasses.replace(source, avoided=frozenset(avoided)))

    def _hold_out(self, request: _Request) -> TrialPlan | None:
        """A trial of random search; the coin is the trial's own, whatever was tried and refused."""
        coin = np.random.default_rng([self._settings.seed, request.trial_id, _COIN])
        if not coin.random() < self._baseline_share:
            return None
        source = self._source(request, Composition(TrialKind.SEARCH), propose=lambda history, rng: self._at_random(rng))
        return self._first_new(request, source, self._draws(request, source))

    def _at_random(self, rng: np.random.Generator) -> Proposal:
        architecture = self._grammar.random_of_any_depth(rng)
        return Proposal(architecture, hyperparameters=self._space.active(architecture).draw(rng), random=True)

    def _start(self, request: _Request) -> TrialPlan | None:
        """Starting point `n` is for trial `n` after the suggestions, so that no two workers take the same one."""
        number = request.trial_id - len(self._suggestions)
        if not 1 <= number <= len(self._algorithm.starting_points):
            return None
        point = self._algorithm.starting_points[number - 1]
        proposal = Proposal(point.architecture, hyperparameters=point.hyperparameters)
        source = self._source(request, Composition(TrialKind.SEARCH), propose=lambda history, rng: proposal)
        return self._begin(request, self._first_new(request, source, self._draws(request, source)))

    def _search(self, request: _Request) -> TrialPlan | None:
        return self._begin(request, self._found(request, self._source(request, Composition(TrialKind.SEARCH))))

    def _begin(self, request: _Request, plan: TrialPlan | None) -> TrialPlan | None:
        """The same plan for the rung in which a new tower begins; no sample of random search, which trains in full."""
        if plan is None or self._evaluation.top == 0:
            return plan
        place = self._evaluation.beginning(self._views.of(request.history.towers).ladder)
        return dataclasses.replace(plan, random=False, **self._length(place))

    def _source(
        self,
        request: _Request,
        composition: Composition,
        propose: Callable[[History, np.random.Generator], Proposal] | None = None,
    ) -> _ProposalSource:
        """A search among the single towers so far, by the algorithm of the spec unless another way is given."""
        towers = request.earlier.towers
        pool, sampled = self._views.algorithm(towers), self._views.sampler(towers)
        return _ProposalSource(
            composition, propose or self._algorithm.propose, pool=pool, sampled=sampled, sampler=self._sampler
        )

    def _found(self, request: _Request, source: _ProposalSource) -> TrialPlan | None:
        """What the search algorithm proposes; when it repeats itself for long, whatever is left of its space."""
        plan = self._first_new(request, source, self._draws(request, source))
        return plan or self._first_new(request, source, self._everything(request, source))

    def _draws(self, request: _Request, source: _ProposalSource) -> Iterator[Proposal]:
        """Independent proposals, complete with hyperparameters."""
        for draw in range(_DRAWS):
            rng = self._rng(request, draw)
            proposal = source.propose(source.pool, rng)
            if self._is_avoided(proposal, source):
                continue
            sampler = source.sampler if draw < _DRAWS_OF_SAMPLER else self._random_sampler
            space = self._space.active(proposal.architecture)
            hyperparameters = sampler.sample(
                space, source.sampled, rng, proposal.hyperparameters, proposal.architecture
            )
            # What a sampler has learnt is not random.
            is_random = proposal.random and (isinstance(sampler, RandomSampler) or bool(proposal.hyperparameters))
            yield dataclasses.replace(proposal, hyperparameters=hyperparameters, random=is_random)

    def _everything(self, request: _Request, source: _ProposalSource) -> Iterator[Proposal]:
        """Every architecture with every combination of bins."""
        rng = self._rng(request, _DRAWS)
        for proposal in self._algorithm.everything(source.pool, rng):
            if self._is_avoided(proposal, source):
                continue
            space = self._space.active(proposal.architecture)
            for hyperparameters in space.enumerate(rng, proposal.hyperparameters):
                yield dataclasses.replace(proposal, hyperparameters=hyperparameters)

    def _is_avoided(self, proposal: Proposal, source: _ProposalSource) -> bool:
        return bool(source.avoided) and self._space.canonical(proposal.architecture) in source.avoided

    def _first_new(self, request: _Request, source: _ProposalSource, proposals: Iterator[Proposal]) -> TrialPlan | None:
        """The plan of the first proposal that has not been tried."""
        for proposal in proposals:
            key = source.composition.key(self._space.key(proposal.architecture, proposal.hyperparameters))
            if not request.history.contains_key(key):
                return self._planned(request, source.composition, proposal, key)
        return None

    def _planned(self, request: _Request, composition: Composition, proposal: Proposal, key: str) -> TrialPlan:
        ensemble = composition.ensemble
        is_average = ensemble is not None and ensemble.freeze and ensemble.combining == "average"
        nothing_to_train = is_average and not proposal.architecture
        hyperparameters = {} if nothing_to_train else dict(proposal.hyperparameters)
        source = composition.warm_start
        return TrialPlan(
            trial_id=request.trial_id,
            kind=composition.kind,
            architecture=proposal.architecture,
            hyperparameters=hyperparameters,
            steps=0 if nothing_to_train else self._settings.train_steps,
            batch_size=self._batch_size(hyperparameters.get("batch_size")),
            seed=self._trial_seed(request.trial_id),
            key=key,
            parent=proposal.parent,
            members=composition.members,
            teacher=composition.teacher,
            start=None if source is None else WarmStart(StartKind.COPY, (source,)),
            ensemble=ensemble,
            distillation=composition.distillation,
            random=proposal.random and composition.kind is TrialKind.SEARCH,
        )

    def _without_towers(self) -> Space:
        """Hyperparameters of a trial that trains no blocks of its own: dropout comes with the blocks."""
        space = self._space.active(())
        kept = tuple(parameter for parameter in space.parameters if parameter.name != "dropout_rate")
        return dataclasses.replace(space, parameters=kept)

    def _batch_size(self, chosen: HyperparameterValue | None) -> int:
        return self._settings.batch_size if chosen is None else int(chosen)

    def _rng(self, request: _Request, draw: int) -> np.random.Generator:
        """A generator for one draw; nothing random outlives a call, so that a killed worker loses nothing."""
        return np.random.default_rng([self._settings.seed, request.trial_id, request.attempt, draw])

    def _trial_seed(self, trial_id: int) -> int:
        return int(np.random.SeedSequence([self._settings.seed, trial_id]).generate_state(1)[0]) % 2**31


def _shapes(plan: TrialPlan) -> dict[str, HyperparameterValue]:
    """The hyperparameters of a tower's blocks: its weights fit no others."""
    own = catalogue.hyperparameter_names(plan.architecture)
    return {name: value for name, value in plan.hyperparameters.items() if name in own}
