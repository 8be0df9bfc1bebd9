"""What is shown of trials that were trained for different lengths: to an algorithm, to a sampler, to the schedule."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Iterable

from model_search.metadata.trial import Trial
from model_search.ranking import Entry, HasMetrics, Objective, Ranking, as_ranking
from model_search.search.history.history import History
from model_search.search.planning.evaluation_schedule import EvaluationSchedule, Ladder, takes_part

_ENOUGH_TO_LEARN_FROM = 10


@dataclasses.dataclass(frozen=True)
class FurthestFirst(Ranking):
    """A trial that was trained longer comes before all that were trained shorter; another ranking decides in a rung.

    Attributes:
        within: Ranks the trials of one rung.
        top: The rung that trains in full.
    """

    within: Ranking
    top: int

    @property
    def objective(self) -> Objective:
        """See `Ranking`."""
        return self.within.objective

    @property
    def metrics(self) -> tuple[str, ...]:
        """See `Ranking`."""
        return self.within.metrics

    def rung(self, entry: HasMetrics) -> int:
        """The rung that an entry was trained for; the highest one for what is no trial of the schedule."""
        plan = entry.plan if isinstance(entry, Trial) else None
        return plan.rung if plan is not None and takes_part(plan) else self.top

    def order(self, entries: Iterable[Entry]) -> list[Entry]:
        """See `Ranking`."""
        return sorted(self.within.order(entries), key=self._remaining)

    def better(self, one: HasMetrics, than: HasMetrics) -> bool:
        """See `Ranking`."""
        rungs = self.rung(one), self.rung(than)
        return rungs[0] > rungs[1] or (rungs[0] == rungs[1] and self.within.better(one, than))

    def insert(self, ranked: list[Entry], entry: Entry) -> None:
        """See `Ranking`."""
        remaining = self._remaining(entry)
        start = bisect.bisect_left(ranked, remaining, key=self._remaining)
        end = bisect.bisect_right(ranked, remaining, lo=start, key=self._remaining)
        rung = ranked[start:end]
        self.within.insert(rung, entry)
        ranked[start:end] = rung

    def _remaining(self, entry: HasMetrics) -> int:
        return self.top - self.rung(entry)


class Survivors(History):
    """A history in which each tower stands once, in the highest rung that it has completed.

    The best are those that have come furthest (`FurthestFirst`). Where an algorithm compares values of different rungs
    (`value`), they are what would be expected of a training in full: to each is added what the promotions from its rung
    on brought in the mean.
    """

    def __init__(self, metric: str | Ranking, goal: str | None = None, *, top: int):
        furthest = FurthestFirst(as_ranking(metric, goal), top)
        super().__init__(furthest)
        self._rung, self._top = furthest.rung, top
        self._gains: dict[int, tuple[float, int]] = {}

    def _new_towers(self) -> History | None:
        return None

    def value(self, trial: Trial) -> float:
        """What would be expected of the trial, trained in full."""
        gains = (self._gains.get(rung, (0.0, 1)) for rung in range(self._rung(trial), self._top))
        return trial.objective(self.metric) + sum(total / count for total, count in gains)

    def _rank(self, trial: Trial) -> None:
        count = len(self._ranked)
        super()._rank(trial)
        plan = trial.plan
        if plan is not None and plan.is_promotion and plan.warm_start is not None and len(self._ranked) > count:
            before = self.get(plan.warm_start)
            if before is not None and before.result is not None:
                total, count = self._gains.get(self._rung(before), (0.0, 0))
                gain = trial.objective(self.metric) - before.objective(self.metric)
                self._gains[self._rung(before)] = (total + gain, count + 1)
            self._replace(plan.warm_start)

    def _replace(self, trial_id: int) -> None:
        """Takes out a trial that has been continued."""
        for ranked in (self._ranked, self._arrivals):
            place = next((place for place, trial in enumerate(ranked) if trial.id == trial_id), None)
            if place is None:
                return
            del ranked[place]


class View:
    """The views of one history, kept up to date with it at the cost of what has changed."""

    def __init__(self, history: History, schedule: EvaluationSchedule):
        self.history = history
        self.ladder = Ladder(history.ranking)
        self._survivors = Survivors(history.ranking, top=schedule.top)
        self._rungs = [History(history.ranking) for _ in schedule.rungs]
        self._seen = 0

    def follow(self) -> None:
        """Takes in what has changed."""
        changes = self.history.changes(self._seen)
        self._seen += len(changes)
        self.ladder.update(changes)
        self._survivors.update(changes)
        for trial in changes:
            if trial.plan is not None:
                rung = trial.plan.rung if takes_part(trial.plan) else len(self._rungs) - 1
                self._rungs[min(rung, len(self._rungs) - 1)].update([trial])

    @property
    def survivors(self) -> History:
        """What an algorithm sees."""
        return self._survivors

    @property
    def comparable(self) -> History:
        """What a sampler learns from: the highest rung with enough trials, as in BOHB (Falkner et al., ICML 2018)."""
        for rung in reversed(self._rungs):
            if rung.completed_count >= _ENOUGH_TO_LEARN_FROM:
                return rung
        return self._rungs[0]


class Views:
    """Makes views; keeps that of the history which it was asked for last.

    Args:
        schedule: The study's schedule.
    """

    def __init__(self, schedule: EvaluationSchedule):
        self._schedule = schedule
        self._last: View | None = None

    def of(self, history: History) -> View:
        """The view of a history, up to date."""
        if self._last is None or self._last.history is not history:
            self._last = View(history, self._schedule)
        self._last.follow()
        return self._last

    def algorithm(self, history: History) -> History:
        """What the search algorithm sees; the history itself where all trials are trained alike."""
        return self.of(history).survivors if self._schedule.top else history

    def sampler(self, history: History) -> History:
        """What the sampler of hyperparameters learns from."""
        return self.of(history).comparable if self._schedule.top else history
