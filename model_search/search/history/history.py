"""The history of trials that searches read, kept up to date as trials change."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Literal

from model_search.metadata.trial import Trial, TrialKind, TrialPlan, TrialState
from model_search.ranking import Goal, Ranking, as_ranking
from model_search.search.history.failures import Failures
from model_search.search.history.further_folds import FurtherFolds

_BEST_FEW = 4  # single models, of which one must have been bagged, for bags to be what the others are measured by
_NEAR = 0.1  # of the best one's error, that another of them may have more: about what a bag saves


class History:
    """The trials of a study, best first.

    It is updated with changes (`Store.history(since)`), and no call costs more than a copy of what it returns, so
    that planning stays cheap after 10,000 trials. It belongs to one thread; others get a `snapshot`.

    Attributes:
        ranking: How trials are compared.
        failures: What failed trials have in common.
        supernets: The completed trials of supernets, by id; they are no models, and are never ranked.
        further_folds: What completed trials have reached on further folds. These trials are no models either; those
            that they repeat are ranked by the figures of all their folds, and stand in `completed` with these.
    """

    def __init__(self, metric: str | Ranking, goal: str | None = None):
        """Starts empty.

        Args:
            metric: Name of the metric that trials are compared by, or a ranking.
            goal: "minimize" or "maximize"; None with a ranking.

        Raises:
            UserError: if the goal is neither.
        """
        self.ranking = as_ranking(metric, goal)
        self.failures = Failures()
        self.supernets: dict[int, Trial] = {}
        self.further_folds = FurtherFolds(self.ranking.metrics)
        self._trials: dict[int, Trial] = {}
        self._ranked: list[Trial] = []
        self._arrivals: list[Trial] = []
        self._latest_completed = 0
        self._counted = 0
        self._unfinished: dict[int, Trial] = {}
        self._failed: dict[int, Trial] = {}
        self._keys: dict[str, int] = {}
        self._towers = self._new_towers()
        if self._towers is not None:
            self._towers.supernets = self.supernets
        self._changes: list[Trial] = []

    @property
    def metric(self) -> str:
        """The metric of the ranking's objective."""
        return self.ranking.objective.metric

    @property
    def goal(self) -> Goal:
        """The goal of the ranking's objective."""
        return self.ranking.objective.goal

    def update(self, trials: Iterable[Trial]) -> None:
        """Adds trials that are new or have changed; a trial given twice counts once."""
        for trial in sorted(trials, key=_is_on_folds):  # after those that they repeat
            known = self._trials.get(trial.id)
            if known is not None:
                if known.state.is_final:
                    continue
                self._forget(known)
            self._changes.append(trial)
            self._remember(trial)
            if self._towers is None:
                continue
            if trial.plan is not None and trial.plan.trains_one_tower and trial.plan.kind is not TrialKind.LONGER:
                self._towers.update([trial])
            else:
                self._towers._drop(trial.id)

    def _remember(self, trial: Trial) -> None:
        self._trials[trial.id] = trial
        if trial.plan is not None:
            self._keys[trial.plan.key] = self._keys.get(trial.plan.key, 0) + 1
            if not trial.state.is_final:
                self._unfinished[trial.id] = trial
        if trial.state.is_final:
            self.failures.add(trial)
        if trial.state in (TrialState.FAILED, TrialState.LOST):
            self._failed[trial.id] = trial
        elif trial.state == TrialState.COMPLETED:
            self._counted += 1
            self._rank(trial)

    def _rank(self, trial: Trial) -> None:
        if trial.plan is not None and trial.plan.supernet is not None:
            self.supernets[trial.id] = trial
            return
        if trial.plan is not None and trial.plan.left_out:
            self._judge(trial, trial.plan)
            return
        if not self.ranking.can_rank(trial):
            return
        self.ranking.insert(self._ranked, trial)
        self._arrivals.append(trial)
        self._latest_completed = max(self._latest_completed, trial.id)

    def _judge(self, on_folds: Trial, plan: TrialPlan) -> None:
        """Ranks the trials anew, where one of them has been trained on further folds."""
        self._latest_completed = max(self._latest_completed, on_folds.id)
        if self._towers is not None:
            self._towers._judge(on_folds, plan)
        alone = None if plan.parent is None else self._trials.get(plan.parent)
        if alone is None or not self.ranking.can_rank(alone):
            return
        self.further_folds.add(alone, on_folds)
        judged = {trial.id: trial for trial in self.further_folds.judged()}
        self._arrivals = [judged.get(trial.id, trial) for trial in self._arrivals]
        self._ranked = self.ranking.order(judged.get(trial.id, trial) for trial in self._ranked)

    def _forget(self, trial: Trial) -> None:
        """Only for trials that are not final: those are never ranked."""
        self._unfinished.pop(trial.id, None)
        if trial.plan is not None:
            self._keys[trial.plan.key] -= 1
            if not self._keys[trial.plan.key]:
                del self._keys[trial.plan.key]

    def _drop(self, trial_id: int) -> None:
        known = self._trials.pop(trial_id, None)
        if known is not None:
            self._forget(known)

    def _new_towers(self) -> History | None:
        return _Towers(self.ranking)

    @property
    def towers(self) -> History:
        """The trials that train a tower by itself (searched, suggested or distilled).

        Ensembles are left out, and so are towers that were trained longer than the others: the search learns from
        trials that can be compared.

        It is kept up to date with this history, at the cost of an update.
        """
        return self if self._towers is None else self._towers

    @property
    def completed(self) -> tuple[Trial, ...]:
        """Completed trials that can be ranked (their metric is finite), best first (ties by id)."""
        return tuple(self._ranked)

    @property
    def completed_count(self) -> int:
        """How many trials `completed` holds."""
        return len(self._ranked)

    @property
    def counted(self) -> int:
        """How many trials are completed, models or not: supernets and further folds, too, as the store counts them."""
        return self._counted

    @property
    def unfinished(self) -> tuple[Trial, ...]:
        """Trials that have a plan and no end yet, by id: running, or interrupted and waiting to be taken up again."""
        return tuple(self._unfinished[trial_id] for trial_id in sorted(self._unfinished))

    @property
    def failed(self) -> tuple[Trial, ...]:
        """Failed and lost trials, by id."""
        return tuple(self._failed[trial_id] for trial_id in sorted(self._failed))

    def best(self, k: int) -> list[Trial]:
        """The best `k` completed trials (fewer where there are fewer), best first, ties by id."""
        return self._ranked[: max(k, 0)]

    @property
    def leader(self) -> Trial | None:
        """The trial that is the best by the fairest figures; None where none is completed.

        The best trial, or the best bag where one of the best few single models has been bagged, and either that model
        or its bag is nearly as good as the best one: the rows that a bag is evaluated on have not chosen it among many,
        and its towers were trained on more of them. Bags of models that are clearly worse, as there are where the best
        one had no time for a bag, are no match for it.
        """
        best = self._ranked[0] if self._ranked else None
        bags = [(trial, trial.plan) for trial in self._ranked if trial.plan is not None and trial.plan.is_bag]
        singles = self._best_singles
        tried = [single for single in singles if any(plan.parent == single.id for _, plan in bags)]
        parents = {single.id for single in tried}
        tried += [bag for bag, plan in bags if plan.parent in parents]
        return bags[0][0] if self._near(tried, singles) else best

    @property
    def near_best(self) -> list[Trial]:
        """Single models, of the best few, that are as good as the best one or nearly so: bags of these may lead."""
        singles = self._best_singles
        return self._near(singles, singles)

    @property
    def _best_singles(self) -> list[Trial]:
        plans = ((trial, trial.plan) for trial in self._ranked if trial.plan is not None)
        return [trial for trial, plan in plans if not plan.folds and not plan.members][:_BEST_FEW]

    def _near(self, trials: Sequence[Trial], singles: Sequence[Trial]) -> list[Trial]:
        """Those of some trials whose errors are hardly more than that of the first of some others.

        All of them where it is not known what an error is: a metric of the user's own may have other bounds, or none.
        """
        if not trials:
            return []
        error = self.ranking.objective.error
        least = error(self.value(singles[0]))
        known = [(trial, error(self.value(trial))) for trial in trials]
        return [trial for trial, own in known if least is None or own is None or own <= (1 + _NEAR) * least]

    def latest(self, k: int) -> list[Trial]:
        """The `k` trials that were completed last, oldest first."""
        return self._arrivals[max(len(self._arrivals) - k, 0) :]

    def value(self, trial: Trial) -> float:
        """The metric of a completed trial, on the scale on which trials are compared."""
        return trial.objective(self.ranking.objective.metric)

    def loss(self, trial: Trial) -> float:
        """The metric of a completed trial as a loss: less is better."""
        return self.ranking.objective.loss(self.value(trial))

    def contains_key(self, key: str) -> bool:
        """Whether a trial with this key has been planned, whatever its state."""
        return key in self._keys

    def before(self, trial_id: int) -> History:
        """The completed trials with smaller ids.

        A trial that is planned late (its first worker died) must not descend from a trial with a larger id. The same
        object comes back where there is no such trial, which is nearly always.
        """
        if self._latest_completed < trial_id:
            return self
        earlier = History(self.ranking)
        earlier.update(trial for trial in self._trials.values() if trial.id < trial_id)
        return earlier

    @property
    def trials(self) -> Iterable[Trial]:
        """All trials, whatever their state, in no particular order."""
        return self._trials.values()

    def changes(self, since: int = 0) -> list[Trial]:
        """The updates so far, oldest first, without the first `since`: for callers that maintain their own view."""
        return self._changes[since:]

    def get(self, trial_id: int) -> Trial | None:
        """The trial with this id, in whatever state, or None."""
        return self._trials.get(trial_id)

    def snapshot(self) -> History:
        """A copy that does not change with this history; it costs a copy of a few lists and dicts of trials."""
        taken = copy.copy(self)
        for name, kept in vars(self).items():
            if isinstance(kept, (list, dict)):
                setattr(taken, name, kept.copy())
        taken.failures, taken.further_folds = self.failures.copy(), self.further_folds.copy()
        taken._towers = None if self._towers is None else self._towers.snapshot()
        return taken

    def taking_risks(self) -> History:
        """A view to be read at once, in which architectures are expected to fail only if they failed themselves."""
        view = copy.copy(self)
        view.failures = self.failures.taking_risks()
        return view

    def __len__(self) -> int:
        """Trials of every state."""
        return len(self._trials)

    def __bool__(self) -> Literal[True]:
        """An empty history is true: to know whether it has trials, ask for their number."""
        return True


def _is_on_folds(trial: Trial) -> bool:
    return trial.plan is not None and bool(trial.plan.left_out)


class _Towers(History):
    """A history of single towers alone."""

    def _new_towers(self) -> History | None:
        return None
