"""Plans of trials on folds: bags of the finalists, and trials on some folds more, by which candidates are compared."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

from model_search.metadata.trial import Trial, TrialKind, TrialPlan
from model_search.search.history.history import History
from model_search.search.planning.classic_models import with_length_of

FOLDS = 8  # of a division, where the user does not say
_RUNGS = 4  # further trainings of one trial, each on as many folds
_REDUCTION = 3  # one of so many goes on
_REPEATED = 2  # the rung from which on the rows are divided in another way


def can_be_bagged(plan: TrialPlan) -> bool:
    """Whether it trains one model from fresh weights, on the labels alone and in full."""
    return (plan.trains_one_tower_in_full or plan.classic is not None) and not plan.folds


def bag_plan(trial_id: int, trial: Trial, folds: int) -> TrialPlan:
    """The plan of the bag of a completed trial; models that are no towers are trained to the step that was best there.

    Args:
        trial_id: The bag's number.
        trial: The trial.
        folds: How many folds.
    """
    plan = trial.plan
    if plan is None or trial.result is None:
        raise ValueError(f"trial {trial.id} is {trial.state}; expected a completed one")
    if plan.classic is not None:
        plan = with_length_of(plan, max(1, trial.result.best_step))
    return dataclasses.replace(
        plan,
        trial_id=trial_id,
        kind=TrialKind.BAGGING,
        key=bag_key(trial, folds),
        parent=trial.id,
        start=None,
        first_step=0,
        rung=0,
        bracket=0,
        random=False,
        folds=folds,
    )


def bag_key(trial: Trial, folds: int) -> str:
    """What the bag of a trial tries."""
    return f"folds:{folds}:{'' if trial.plan is None else trial.plan.key}"


@dataclasses.dataclass(frozen=True)
class FoldLadder:
    """Folds as a fidelity: a trial is evaluated on the validation rows, and the better ones on further folds as well.

    As in ASHA (Li et al. 2020, `evaluation_schedule`), the best third of the trials of a rung goes on to the next one,
    and the highest rung is asked first. Ranks are by the figures of all folds (`FurtherFolds`), so that they change; no
    more than a third goes on all the same. From the second rung on, only what is within noise of the best goes on: its
    mean difference, on the folds that both have, is at most one standard error. The later rungs divide the rows in
    another way, as in repeated cross-validation.

    Attributes:
        at_once: Folds of a rung.
    """

    at_once: int

    def next_plan(self, trial_id: int, history: History, known: History) -> TrialPlan | None:
        """The plan that trains a trial on further folds; None where none is to go on.

        Args:
            trial_id: The trial to plan.
            history: What was completed among the trials with smaller ids.
            known: All trials; what has been planned already is not planned again.
        """
        able = [trial for trial in history.completed if trial.plan is not None and can_be_bagged(trial.plan)]
        for rung in reversed(range(_RUNGS)):
            there = [trial for trial in able if len(history.further_folds.parts(trial.id)) >= rung]
            planned = [known.contains_key(_key(trial, self._left_out(rung))) for trial in there]
            most = len(there) // _REDUCTION
            if sum(planned) >= most:
                continue
            for trial, is_planned in zip(there[:most], planned, strict=False):
                if not is_planned and (rung == 0 or _is_close(trial, there, history)):
                    return self._plan(trial_id, trial, rung)
        return None

    def _plan(self, trial_id: int, trial: Trial, rung: int) -> TrialPlan:
        bag, left_out = bag_plan(trial_id, trial, FOLDS), self._left_out(rung)
        return dataclasses.replace(bag, kind=TrialKind.FOLDS, left_out=left_out, key=_key(trial, left_out))

    def _left_out(self, rung: int) -> tuple[int, ...]:
        division, place = divmod(rung, _REPEATED)
        first = division * FOLDS + place * self.at_once
        return tuple(range(first, first + self.at_once))


def _key(trial: Trial, left_out: Sequence[int]) -> str:
    return f"{bag_key(trial, FOLDS)} without {', '.join(map(str, left_out))}"


def _is_close(trial: Trial, ranked: Sequence[Trial], history: History) -> bool:
    """Whether a trial is the best, and another one is within noise of it, or it is within noise of the best."""
    others = ranked[1:] if trial is ranked[0] else ranked[:1]
    return any(_within_noise(history, trial, other) for other in others)


def _within_noise(history: History, one: Trial, other: Trial) -> bool:
    differences = history.further_folds.differences(one.id, other.id, history.metric)
    if len(differences) < 2:
        return False
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return abs(statistics.fmean(differences)) <= error
