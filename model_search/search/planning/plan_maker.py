"""What the rules of the planner work with: a request, a source of proposals, and the way from these to a plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from model_search.blocks import catalogue
from model_search.errors import UserError
from model_search.metadata.trial import HyperparameterValue, StartKind, TrialKind, TrialPlan, WarmStart
from model_search.search.algorithms.algorithm import MOST_AVOIDED, Proposal
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.history.history import History
from model_search.search.planning.budget import Budget
from model_search.search.planning.classic_models import AS_USUAL, FORESTS, Boosting, classic_key, is_due
from model_search.search.planning.ensembling import Composition
from model_search.search.planning.evaluation_schedule import EvaluationSchedule, Place
from model_search.search.planning.fidelity_views import Views
from model_search.search.planning.morphisms import Morphisms
from model_search.search.planning.transfer import GivenTower, Transfer
from model_search.search.predictor.predictor import Predictors
from model_search.search.samplers.random_sampler import RandomSampler
from model_search.search.samplers.sampler import AUTO, Sampler, make_sampler
from model_search.search.space.architecture import Architecture, fix_order
from model_search.search.space.grammar import Grammar
from model_search.search.space.hyperparameter_space import Space, build_space

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

# Draws before the space is gone through systematically. A sampler that learns may insist on what has been tried, so
# that after a few draws hyperparameters are drawn at random.
DRAWS = 64
_DRAWS_OF_SAMPLER = 4
# Proposals that are expected to fail, after which their failing blocks are replaced rather than others drawn.
_REFUSALS = 16


@dataclasses.dataclass(frozen=True)
class PlannerSettings:
    """What holds for every plan of a study.

    Attributes:
        seed: The study's seed, at least 0.
        train_steps: Steps of a trial that is trained in full.
        batch_size: Rows a step, where the spec does not search it.
        sampler: How hyperparameters are chosen: "random", "bayesian", "predictor", or "auto": as goes with the search.
        number_models: Trials that the study is to complete, the last of which may tune; None where that is not known.
        rows: Training rows; None where they are not counted, in a stream.
        budget: How long trials are trained, where that follows from the data: they may choose their epochs, and
            `train_steps` are those of a trial that does not. None where the user has given the steps.
        classic: Models that are no networks, to be tried among the first trials; none by default.
        boosting: How boosted trees are trained in the time that there is.
        several_leaves: The forests that are grown with leaves of several sizes.
        given: Trained models that new towers may start from; none by default.
        further_folds: Folds, besides the validation rows, on which the better trials are evaluated at a time; 0 for
            none.
    """

    seed: int
    train_steps: int
    batch_size: int
    sampler: str = AUTO
    number_models: int | None = None
    rows: int | None = None
    budget: Budget | None = None
    classic: tuple[str, ...] = ()
    boosting: Boosting = AS_USUAL
    several_leaves: tuple[str, ...] = FORESTS
    given: tuple[GivenTower, ...] = ()
    further_folds: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UserError(f"the seed is {self.seed}; expected a whole number from 0")
        if self.train_steps < 1 or self.batch_size < 1:
            raise UserError(
                f"train_steps is {self.train_steps} and batch_size is {self.batch_size}; expected at least 1 of each"
            )

    @property
    def searched(self) -> dict[str, tuple[int, ...]]:
        """Hyperparameters that trials choose because the user has not, with their values."""
        if self.budget is None:
            return {}
        chosen = {"epochs": self.budget.choices_of_epochs, "batch_size": self.budget.choices_of_batch_size}
        return {name: values for name, values in chosen.items() if values}

    @property
    def usual(self) -> dict[str, HyperparameterValue]:
        """The usual value of each of those."""
        usual = {} if self.budget is None else {"epochs": self.budget.epochs, "batch_size": self.batch_size}
        return {name: value for name, value in usual.items() if name in self.searched}

    def steps(self, hyperparameters: Mapping[str, HyperparameterValue]) -> int:
        """Steps of a trial with these hyperparameters."""
        if self.budget is None or "epochs" not in hyperparameters:
            return self.train_steps
        return self.budget.steps(int(hyperparameters["epochs"]), self.rows_a_step(hyperparameters))

    def rows_a_step(self, hyperparameters: Mapping[str, HyperparameterValue]) -> int:
        """Batch size of a trial with these hyperparameters."""
        return int(hyperparameters.get("batch_size", self.batch_size))


@dataclasses.dataclass(frozen=True)
class Request:
    """A trial to plan.

    Attributes:
        trial_id: Its id.
        history: Everything known so far.
        earlier: What was completed among the trials with smaller ids.
        attempt: The number of plans for it that were refused.
        takes_risks: Whether blocks that are believed to fail are tried all the same, because nothing else is left.
            Architectures that failed themselves are not, unless nothing has been completed.
    """

    trial_id: int
    history: History
    earlier: History
    attempt: int
    takes_risks: bool = False


@dataclasses.dataclass(frozen=True)
class ProposalSource:
    """How a tower is searched for.

    Attributes:
        composition: What it will be trained with.
        propose: Proposes one.
        pool: The trials that the algorithm learns from.
        sampled: The trials that the sampler of hyperparameters learns from.
        sampler: Chooses its hyperparameters.
        avoided: Architectures, in their canonical form, that it must not have.
        takes_risks: Whether it may propose what is expected to fail: what the user asks for, and random samples.
        fresh: Whether its towers start from fresh weights, whatever the specification says.
    """

    composition: Composition
    propose: Callable[[History, np.random.Generator], Proposal]
    pool: History
    sampled: History
    sampler: Sampler
    avoided: frozenset[Architecture] = frozenset()
    takes_risks: bool = False
    fresh: bool = False


class PlanMaker:
    """Makes plans of proposals. Pure but for what it keeps to be faster.

    Attributes:
        settings: What holds for every plan.
        grammar: The architectures there are.
        space: The hyperparameters there are.
        algorithm: The search.
        sampler: The sampler of hyperparameters.
        evaluation: The evaluation schedule.
        views: What the schedule, the algorithm and the sampler see of a history.
        morphisms: Which new towers begin as their parent's function.
        transfer: The weights that other new towers start from.
    """

    def __init__(self, spec: PhoenixSpec, settings: PlannerSettings):
        """Prepares the search that a specification asks for."""
        self.settings = settings
        self.grammar = Grammar.of(spec)
        self.space = build_space(spec, settings.train_steps, settings.searched)
        self.algorithm = make_algorithm(spec)
        self.evaluation = EvaluationSchedule.of(spec, settings.train_steps)
        self.views = Views(self.evaluation)
        self.morphisms, self.transfer = Morphisms.of(spec, self.algorithm.morphs), Transfer.of(spec, settings.given)
        predictors = Predictors(self.grammar, self.algorithm.scales, self.algorithm.likelihood_rows)
        self.algorithm.use(predictors)
        self.sampler = make_sampler(settings.sampler, self.grammar, self.algorithm.sampler, predictors)
        self._random_sampler = RandomSampler()
        self._failed: tuple[Collection[Architecture], frozenset[Architecture]] = ((), frozenset())

    def search(self, request: Request) -> TrialPlan | None:
        """What the search proposes next."""
        return self.begin(request, self.found(request, self.source(request, Composition(TrialKind.SEARCH))))

    def begin(self, request: Request, plan: TrialPlan | None) -> TrialPlan | None:
        """The same plan for the rung in which a new tower begins; it is no sample of random search."""
        if plan is None or self.evaluation.top == 0:
            return plan
        place = self.evaluation.beginning(self.views.of(request.history.towers).ladder)
        return dataclasses.replace(plan, random=False, **self.length(place))

    def length(self, place: Place) -> dict[str, Any]:
        """How long the trials of a rung are trained, as fields of their plans; epochs that they choose do not count."""
        rung, in_full = self.evaluation.rungs[place.rung], self.settings.train_steps
        return {
            "rung": place.rung,
            "bracket": place.bracket,
            "steps": rung.steps,
            "total_steps": None if rung.steps == in_full else in_full,
            "row_share": rung.row_share,
        }

    def source(self, request: Request, composition: Composition, proposal: Proposal | None = None) -> ProposalSource:
        """A search among the single towers so far by the algorithm of the spec, or a given proposal again and again."""
        towers = request.earlier.towers
        pool = self.views.algorithm(towers)
        return ProposalSource(
            composition,
            self.algorithm.propose if proposal is None else lambda history, rng: proposal,
            pool=pool.taking_risks() if request.takes_risks else pool,
            sampled=self.views.sampler(towers),
            sampler=self.sampler,
        )

    def found(self, request: Request, source: ProposalSource) -> TrialPlan | None:
        """What the source proposes; when it repeats itself for long, whatever is left of the algorithm's space."""
        return self.first_drawn(request, source) or self._first_new(request, source, self._everything(request, source))

    def first_drawn(self, request: Request, source: ProposalSource) -> TrialPlan | None:
        """The plan of the first of a few proposals that has not been tried."""
        return self._first_new(request, source, self._draws(request, source))

    def planned(self, request: Request, composition: Composition, proposal: Proposal, key: str) -> TrialPlan:
        """The plan that trains a proposal in full.

        Args:
            request: The trial to plan.
            composition: What the tower is trained with.
            proposal: The tower and its hyperparameters.
            key: What the trial tries, so that nothing is tried twice.
        """
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
            steps=0 if nothing_to_train else self.settings.steps(hyperparameters),
            batch_size=self.settings.rows_a_step(hyperparameters),
            seed=self.trial_seed(request.trial_id),
            key=key,
            parent=proposal.parent,
            members=composition.members,
            teacher=composition.teacher,
            start=None if source is None else WarmStart(StartKind.COPY, (source,)),
            ensemble=ensemble,
            distillation=composition.distillation,
            random=proposal.random and composition.kind is TrialKind.SEARCH,
            patience=self.algorithm.trial_patience if composition.kind is TrialKind.SEARCH else 0,
        )

    def unplanned_classic(self, request: Request) -> str | None:
        """The next of the classic models, if it is its turn, that no trial has been planned for; None for none."""
        known = enumerate(self.settings.classic)
        left = ((place, name) for place, name in known if not request.history.contains_key(classic_key(name)))
        place, name = next(left, (0, None))
        return name if is_due(place, request.trial_id) else None

    def without_towers(self) -> Space:
        """Hyperparameters of a trial that trains no blocks of its own: dropout comes with the blocks."""
        space = self.space.active(())
        kept = tuple(parameter for parameter in space.parameters if parameter.name != "dropout_rate")
        return dataclasses.replace(space, parameters=kept)

    def rng(self, request: Request, draw: int) -> np.random.Generator:
        """A generator for one draw; nothing random outlives a call, so that a killed worker loses nothing."""
        return np.random.default_rng([self.settings.seed, request.trial_id, request.attempt, draw])

    def trial_seed(self, trial_id: int) -> int:
        """The seed of everything random in a trial."""
        return int(np.random.SeedSequence([self.settings.seed, trial_id]).generate_state(1)[0]) % 2**31

    def _draws(self, request: Request, source: ProposalSource) -> Iterator[Proposal]:
        """Independent proposals, complete with hyperparameters."""
        refused = 0
        for draw in range(DRAWS):
            rng = self.rng(request, draw)
            proposal = source.propose(source.pool, rng)
            if self._is_avoided(proposal, source):
                continue
            if self._is_bound_to_fail(proposal, request, source):
                refused += 1
                if refused < _REFUSALS:
                    continue
                proposal = self._mended(proposal, request.history, rng)
                if self._is_avoided(proposal, source) or self._is_bound_to_fail(proposal, request, source):
                    continue
            if not source.fresh:
                proposal = self.morphisms.shaped(proposal, request.earlier)
            sampler = source.sampler if draw < _DRAWS_OF_SAMPLER else self._random_sampler
            space = self.space.active(proposal.architecture)
            hyperparameters = sampler.sample(
                space, source.sampled, rng, proposal.hyperparameters, proposal.architecture
            )
            # What a sampler has learnt is not random.
            is_random = proposal.random and (sampler.is_random(source.sampled) or bool(proposal.hyperparameters))
            yield dataclasses.replace(proposal, hyperparameters=hyperparameters, random=is_random)

    def _everything(self, request: Request, source: ProposalSource) -> Iterator[Proposal]:
        """Every architecture with every combination of bins, until too many have been passed over as bound to fail.

        Where risks are taken, it comes to its end: only architectures that failed themselves are passed over, and those
        are known.
        """
        rng, refused = self.rng(request, DRAWS), 0
        most = MOST_AVOIDED + len(request.history.failures.architectures)
        for proposal in self.algorithm.everything(source.pool, rng):
            if self._is_avoided(proposal, source):
                continue
            if self._is_bound_to_fail(proposal, request, source):
                refused += 1
                if refused > most:
                    return
                continue
            space = self.space.active(proposal.architecture)
            for hyperparameters in space.enumerate(rng, proposal.hyperparameters):
                yield dataclasses.replace(proposal, hyperparameters=hyperparameters)

    def _is_avoided(self, proposal: Proposal, source: ProposalSource) -> bool:
        return bool(source.avoided) and self.space.canonical(proposal.architecture) in source.avoided

    def _is_bound_to_fail(self, proposal: Proposal, request: Request, source: ProposalSource) -> bool:
        """Whether what is known of failed trials speaks against it."""
        failures = request.history.failures
        if source.takes_risks or not failures.architectures:
            return False
        architecture = proposal.architecture
        if request.takes_risks:
            if not failures.any_completed:
                return False
            if architecture in failures.architectures:
                return True
        elif failures.avoids(architecture):
            return True
        same = self.space.canonical(architecture)
        return same != architecture and same in self._failed_towers(failures.architectures)

    def _failed_towers(self, architectures: Collection[Architecture]) -> frozenset[Architecture]:
        """The canonical forms of what has failed, made once until another trial ends."""
        if self._failed[0] is not architectures:
            self._failed = (architectures, frozenset(map(self.space.canonical, architectures)))
        return self._failed[1]

    def _mended(self, proposal: Proposal, history: History, rng: np.random.Generator) -> Proposal:
        """The same with random other blocks in place of those that fail by themselves."""
        failing, blocks, position = history.failures.blocks, [], 0
        for name in proposal.architecture:
            if catalogue.get(name).has_own_place:
                blocks.append(name)
                continue
            choices = self.grammar.choices(min(position, max(len(self.grammar.positions) - 1, 0)))
            sound = [other for other in choices if other not in failing]
            is_kept = name not in failing or not sound
            blocks.append(name if is_kept else sound[int(rng.integers(len(sound)))])
            position += 1
        architecture = fix_order(blocks, self.grammar.problem_type)
        return dataclasses.replace(proposal, architecture=architecture, random=False)

    def _first_new(self, request: Request, source: ProposalSource, proposals: Iterator[Proposal]) -> TrialPlan | None:
        """The plan of the first proposal that has not been tried."""
        for proposal in proposals:
            key = source.composition.key(self.space.key(proposal.architecture, proposal.hyperparameters))
            if not request.history.contains_key(key):
                plan = self.planned(request, source.composition, proposal, key)
                if source.fresh:
                    return plan
                return self.transfer.started(self.morphisms.started(plan, request.earlier), request.earlier)
        return None
