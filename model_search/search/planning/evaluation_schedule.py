"""Evaluation schedules: how long a tower is trained before it is compared, and which ones go on.

A schedule is independent of the search algorithm. It has rungs: a tower is trained for the steps of the first one, and
the best of a rung continue, from their weights, to the steps of the next.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from model_search.errors import SpecError, UserError
from model_search.metadata.trial import Trial, TrialPlan, TrialState
from model_search.ranking import Ranking
from model_search.spec.schedules import SCHEDULES, schedule_name

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec


@dataclasses.dataclass(frozen=True)
class Rung:
    """How far the trials of a rung are trained: up to this step, on this share of a table's rows."""

    steps: int
    row_share: float = 1.0


@dataclasses.dataclass(frozen=True)
class Place:
    """A rung of a bracket, both counted from 0."""

    rung: int = 0
    bracket: int = 0


@dataclasses.dataclass(frozen=True)
class Promotion:
    """A trial that goes on to a place."""

    trial: Trial
    place: Place


@dataclasses.dataclass(frozen=True)
class EvaluationSchedule:
    """When trials are promoted; this one trains every tower in full ("FULL").

    Attributes:
        rungs: From the first to the one that trains in full.
        reduction_factor: One of so many goes on to the next rung (eta).
    """

    rungs: tuple[Rung, ...]
    reduction_factor: int = 3

    @classmethod
    def of(cls, spec: PhoenixSpec, train_steps: int) -> EvaluationSchedule:
        """The schedule that a spec asks for.

        Args:
            spec: The specification.
            train_steps: Steps of a training in full.

        Raises:
            SpecError: if its settings make no sense.
        """
        settings, name = spec.evaluation_schedule, schedule_name(spec)
        if name not in SCHEDULES:
            raise SpecError(SCHEDULES.unknown(name))
        if name == "FULL":
            return EvaluationSchedule((Rung(train_steps),))
        factor, share = settings.reduction_factor, settings.minimum_share
        if factor < 2:
            raise SpecError(f"reduction_factor is {factor}; expected at least 2")
        if not 0 < share <= 1:
            raise SpecError(f"minimum_share is {share:g}; expected a share above 0 and at most 1")
        rows = settings.fidelity == type(settings).ROWS
        schedule: EvaluationSchedule = SCHEDULES.get(name)(make_rungs(train_steps, factor, share, rows), factor)
        return schedule

    @property
    def top(self) -> int:
        """The rung that trains in full."""
        return len(self.rungs) - 1

    def promotion(self, ladder: Ladder, trial_id: int) -> Promotion | None:
        """What a trial is to continue; None where it is to begin anew.

        Args:
            ladder: Where the trials of the schedule stand.
            trial_id: The trial; it continues only one with a smaller id.
        """
        del ladder, trial_id
        return None

    def beginning(self, ladder: Ladder) -> Place:
        """Where a new tower begins."""
        del ladder
        return Place()

    def next_promotion(self, ladder: Ladder, at: Place, best: int, trial_id: int) -> Promotion | None:
        """The best one that may go on from a rung, among so many of the best."""
        steps = self.rungs[at.rung + 1].steps
        trial = ladder.cell(at).next_of_best(best, trial_id, steps)
        return None if trial is None else Promotion(trial, Place(at.rung + 1, at.bracket))


_Class = TypeVar("_Class", bound=type[EvaluationSchedule])


def register_schedule(name: str) -> Callable[[_Class], _Class]:
    """Declares a class as an evaluation schedule that `evaluation_schedule { schedule: "NAME" }` can name.

    Args:
        name: Its name, a word. It is made with `rungs` and `reduction_factor`, as the specification says.

    Raises:
        UserError: if the name is taken, or the class is no `EvaluationSchedule`.
    """

    def register(cls: _Class) -> _Class:
        if not isinstance(cls, type) or not issubclass(cls, EvaluationSchedule):
            raise UserError(f"schedule {name!r} is {cls!r}; expected a subclass of EvaluationSchedule")
        SCHEDULES.add(name, cls, cls)
        return cls

    return register


register_schedule("FULL")(EvaluationSchedule)


@register_schedule("ASHA")
@dataclasses.dataclass(frozen=True)
class AsynchronousHalving(EvaluationSchedule):
    """ASHA: a trial is promoted as soon as it is among the best 1/eta of those that have ended in its rung.

    The highest rung is asked first; where nothing is to be promoted, a new tower begins. Nobody ever waits.

    Paper: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020.
    """

    def promotion(self, ladder: Ladder, trial_id: int) -> Promotion | None:
        """See `EvaluationSchedule`."""
        for rung in reversed(range(self.top)):
            at = Place(rung)
            found = self.next_promotion(ladder, at, ladder.cell(at).completed // self.reduction_factor, trial_id)
            if found is not None:
                return found
        return None


@register_schedule("SUCCESSIVE_HALVING")
@dataclasses.dataclass(frozen=True)
class SuccessiveHalving(EvaluationSchedule):
    """Brackets of eta^rungs towers; once all of a rung have ended, the best 1/eta of them go on.

    Where a bracket has to wait for trials of other workers, the next bracket begins.

    Paper: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS
    2016. Departure: bracket follows bracket for as long as there are trials.
    """

    def begins(self, bracket: int) -> tuple[int, int]:
        """The rung in which the towers of a bracket begin, and their number."""
        del bracket
        return 0, self.reduction_factor**self.top

    def promotion(self, ladder: Ladder, trial_id: int) -> Promotion | None:
        """See `EvaluationSchedule`."""
        for bracket in ladder.brackets:
            for rung, best in self._complete_rungs(ladder, bracket):
                found = self.next_promotion(ladder, Place(rung, bracket), best, trial_id)
                if found is not None:
                    return found
        return None

    def beginning(self, ladder: Ladder) -> Place:
        """The first bracket that is not full yet."""
        bracket = 0
        while ladder.begun(bracket) >= self.begins(bracket)[1]:
            bracket += 1
        return Place(self.begins(bracket)[0], bracket)

    def _complete_rungs(self, ladder: Ladder, bracket: int) -> Iterator[tuple[int, int]]:
        """Rungs of a bracket that all have come through, with the number of those which go on."""
        first, expected = self.begins(bracket)
        for rung in range(first, self.top):
            cell = ladder.cell(Place(rung, bracket))
            if not expected or cell.unfinished or cell.ended < expected:
                return
            best = max(1, expected // self.reduction_factor)
            expected = cell.promotable(best)
            yield rung, best


@register_schedule("HYPERBAND")
@dataclasses.dataclass(frozen=True)
class Hyperband(SuccessiveHalving):
    """Brackets of successive halving that begin in different rungs, from many short trainings to a few in full.

    Paper: Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization", JMLR 2018. Departure:
    the search algorithm proposes the towers, which need not be random ones.
    """

    def begins(self, bracket: int) -> tuple[int, int]:
        """See `SuccessiveHalving`."""
        first = bracket % len(self.rungs)
        halvings = self.top - first
        return first, math.ceil(len(self.rungs) * self.reduction_factor**halvings / (halvings + 1))


def make_rungs(train_steps: int, reduction_factor: int, minimum_share: float, rows: bool) -> tuple[Rung, ...]:
    """The rungs, the shortest training first.

    >>> [rung.steps for rung in make_rungs(1000, 3, 0.1, rows=False)]
    [111, 333, 1000]

    Args:
        train_steps: Steps of a training in full.
        reduction_factor: How many times as long the next rung trains.
        minimum_share: The least share of the training that a rung may have.
        rows: Whether a rung is trained on its share of the rows only.
    """
    rungs = [Rung(train_steps)]
    share = 1.0 / reduction_factor
    while share >= minimum_share * (1 - 1e-6) and round(train_steps * share) >= 1:
        steps = round(train_steps * share)
        if steps == rungs[-1].steps:
            break
        rungs.append(Rung(steps, share if rows else 1.0))
        share /= reduction_factor
    return tuple(reversed(rungs))


class Cell:
    """The trials of one rung of one bracket.

    Args:
        ranking: How trials are compared.
    """

    def __init__(self, ranking: Ranking) -> None:
        self._ranking = ranking
        self.completed = 0
        self.ended = 0
        self.unfinished = 0
        self._ranked: list[Trial] = []
        self._trials: dict[int, Trial] = {}
        self._promoted: set[int] = set()

    def next_of_best(self, count: int, trial_id: int, steps: int) -> Trial | None:
        """The best one of the best `count` that may still be promoted.

        Args:
            count: How many go on.
            trial_id: The trial that continues it; its id is larger.
            steps: Steps of the next rung; a study may have been continued with a smaller number.
        """
        for trial in self._ranked[:count]:
            if trial.id >= trial_id or trial.id in self._promoted or not _may_go_on(trial):
                continue
            if trial.plan is not None and trial.plan.steps < steps:
                return trial
        return None

    def waiting(self, count: int) -> list[int]:
        """The best `count` that are trained for less than all steps and may still be promoted, now or later."""
        trials = (trial for trial in self._ranked if trial.id not in self._promoted)
        able = (trial.id for trial in trials if trial.plan is not None and is_short(trial.plan) and _may_go_on(trial))
        return list(itertools.islice(able, count))

    def promotable(self, count: int) -> int:
        """How many of the best `count` go on, or have gone on."""
        return sum(map(_may_go_on, self._ranked[:count]))

    def add(self, trial: Trial) -> None:
        """Takes in a trial as it now is."""
        before = self._trials.get(trial.id)
        if before is not None and not before.state.is_final:
            self.unfinished -= 1
        self._trials[trial.id] = trial
        if not trial.state.is_final:
            self.unfinished += 1
            return
        self.ended += 1
        if trial.state == TrialState.COMPLETED and self._ranking.can_rank(trial):
            self.completed += 1
            self._ranking.insert(self._ranked, trial)

    def promote(self, trial_id: int) -> None:
        """Notes that a trial has been continued, or is being so."""
        self._promoted.add(trial_id)


class Ladder:
    """Where the trials of a schedule stand.

    Args:
        ranking: How trials are compared.
    """

    def __init__(self, ranking: Ranking):
        self._cells: dict[Place, Cell] = defaultdict(lambda: Cell(ranking))
        self._begun: dict[int, set[int]] = defaultdict(set)

    def update(self, trials: Iterable[Trial]) -> None:
        """Takes in trials that are new or have changed, a final one once."""
        for trial in trials:
            plan = trial.plan
            if plan is None or not takes_part(plan):
                continue
            self._cells[Place(plan.rung, plan.bracket)].add(trial)
            if plan.is_promotion and plan.warm_start is not None:
                self._cells[Place(plan.rung - 1, plan.bracket)].promote(plan.warm_start)
            else:
                self._begun[plan.bracket].add(trial.id)

    def cell(self, at: Place) -> Cell:
        """The trials of a rung."""
        return self._cells[at]

    def waiting(self, brackets: Container[int], count: int) -> set[int]:
        """The best `count` of each rung of some brackets that may still be promoted."""
        cells = [cell for place, cell in self._cells.items() if place.bracket in brackets]
        return {number for cell in cells for number in cell.waiting(count)}

    def begun(self, bracket: int) -> int:
        """How many towers have begun in a bracket."""
        return len(self._begun.get(bracket, ()))

    @property
    def brackets(self) -> list[int]:
        """The brackets that have begun, in order."""
        return sorted(self._begun)


def takes_part(plan: TrialPlan) -> bool:
    """Whether a plan is one of the schedule; samples of random search that are trained in full are none."""
    return plan.is_searched and not (plan.random and plan.is_in_full)


def is_short(plan: TrialPlan) -> bool:
    """Whether a plan of the schedule trains for less than all steps, so that another trial may continue it."""
    return takes_part(plan) and not plan.is_in_full


def _may_go_on(trial: Trial) -> bool:
    return trial.result is not None and trial.result.stopped_at is None
