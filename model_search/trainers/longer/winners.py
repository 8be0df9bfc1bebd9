"""The final training: at the end of a search with a time limit, the best towers are trained longer."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from model_search.data.prepared_data import PreparedData, TableData
from model_search.deadline import Deadline
from model_search.errors import TrialError, UserError
from model_search.metadata.trial import Trial, TrialKind, TrialState
from model_search.search.history.history import History
from model_search.search.planning.longer import LongerTraining
from model_search.trainers.bags.refit import CONTINUED_SHARE, MARGIN
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.longer.learning_curves import loss_after
from model_search.trainers.longer.training import MOST_EPOCHS, run_longer
from model_search.trainers.options import SearchOptions
from model_search.trainers.progress import ProgressDisplay
from model_search.trainers.session import Session
from model_search.trainers.worker import StopReason

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

_MARGIN = 0.85  # of the time that is left: a step with augmentation takes longer, and the machine may be busier
_LEAST = 0.25  # of the steps that the tower was trained for; fewer are not worth a trial
_ACCURACY = "accuracy"
_LARGER = 2.0  # times the parameters of the tower before it
_WORTHWHILE_EPOCHS = 40  # for which a larger tower has to be trained to overtake a smaller one


@dataclasses.dataclass(frozen=True)
class FinalTraining:
    """How a search ends that has a time limit.

    Attributes:
        time_share: Of the time limit; 0 for no final training.
        towers: How many are trained longer at most: the best one, and larger ones.
        one_cycle: Whether the learning rate rises and falls once more.
        augmentations: Those of the specification.
    """

    time_share: float = 0.0
    towers: int = 1
    one_cycle: bool = True
    augmentations: tuple[str, ...] = ()

    @classmethod
    def of(cls, spec: PhoenixSpec) -> FinalTraining:
        """What a specification asks for."""
        final = spec.final_training
        names = tuple(dict.fromkeys(spec.augmentations))
        return cls(final.time_share, final.towers, final.one_cycle, names)

    def seconds(self, options: SearchOptions) -> float:
        """Seconds of the time limit that the search leaves to it, besides those for training on all rows.

        None where the best towers are trained again in folds: that takes the place of a final training.
        """
        if options.time_limit is None or isinstance(options.folds, int):
            return 0.0
        return max(0.0, self.time_share - options.share_to_refit) * options.time_limit


def train_winners(
    session: Session, final: FinalTraining, options: SearchOptions, deadline: Deadline, reason: StopReason
) -> StopReason:
    """Trains the best tower of a search longer, for what is left of its time; a tower is trained longer once.

    Small towers look better than large ones while they are trained for short. So with an evaluation schedule the best
    one is that of the least loss at the end of the time, as its rungs foretell it. Where several may be trained longer,
    each of the others is the best one that has at least twice the parameters of the one before it and can be trained
    for 40 epochs in its part of the time.

    A search that ended before its time, because it has all of its models, is followed by a training of at most the
    same length, in proportion to the shares of the two.

    Args:
        session: The study.
        final: How.
        options: What the user asked for.
        deadline: When the call has to be done, the final stage included.
        reason: Why the search has ended.

    Returns:
        `StopReason.INTERRUPTED` where Ctrl-C was pressed, else the given reason.
    """
    if not final.time_share or options.time_limit is None or not deadline.is_set or isinstance(options.folds, int):
        return reason
    left = deadline.remaining - options.seconds_to_finish
    if options.share_to_refit and isinstance(session.data, TableData):  # what is trained here goes on with all rows
        left = (left + options.share_to_refit * options.time_limit) / (1 + MARGIN * CONTINUED_SHARE)
    if reason is not StopReason.TIME_LIMIT:
        left = min(left, (options.time_limit - deadline.remaining) * final.time_share / (1 - final.time_share))
    session.store.reclaim_dead()
    history = History(session.record.ranking)
    history.update(session.store.history()[0])
    towers = _winners(history, final.towers, left, session.data)
    display = ProgressDisplay(session.record.metric, history.completed_count + len(towers), options.progress)
    end = deadline.earlier(deadline.remaining - left)
    for place, trial in enumerate(towers):
        seconds = end.remaining / (len(towers) - place)
        steps = _begun(trial, history) or affordable_steps(trial, seconds, session.data)
        if steps is None:
            display.note(f"no final training of trial {trial.id}: {seconds:.0f} s are too short for it")
            continue
        how = LongerTraining(steps, final.one_cycle, final.augmentations)
        with Interrupts(end.earlier(end.remaining - seconds)) as interrupts, display:
            try:
                run_longer(session, trial, how, interrupts, display)
            except (UserError, TrialError) as error:
                display.warn(f"final training: {error}")  # the search itself has succeeded
        if interrupts.asked:
            return StopReason.INTERRUPTED
    return reason


def _winners(history: History, count: int, seconds: float, data: PreparedData) -> list[Trial]:
    """The towers to train, of those that were trained on the labels alone; none that was trained longer already."""
    plans = [trial.plan for trial in history.completed if trial.plan is not None]
    continued = {plan.parent for plan in plans if plan.kind is TrialKind.LONGER}
    towers = [trial for trial in history.completed if trial.plan is not None and trial.plan.is_on_labels_alone]
    found = _foretold(towers, history, seconds, data) or _best(towers, history.metric, data)
    while found and len(found) < count:
        larger = next((trial for trial in towers if _is_worthwhile(trial, found[-1], seconds / count, data)), None)
        if larger is None:
            break
        found.append(larger)
    return [trial for trial in found if trial.id not in continued]


def _foretold(towers: list[Trial], history: History, seconds: float, data: PreparedData) -> list[Trial]:
    """The tower of least loss at the end of the time, as a list; empty where no tower has rungs that foretell it.

    Of a tower only its last rung counts: how it fell before says less.
    """
    plans = [trial.plan for trial in towers if trial.plan is not None]
    gone_on = {plan.warm_start for plan in plans if plan.first_step}
    losses: dict[int, float] = {}
    for place, trial in enumerate(towers):
        steps = None if trial.id in gone_on else affordable_steps(trial, seconds, data)
        loss = None if steps is None else loss_after(trial, steps, history)
        if loss is not None:
            losses[place] = loss
    return [towers[min(losses, key=losses.__getitem__)]] if losses else []


def _best(towers: list[Trial], metric: str, data: PreparedData) -> list[Trial]:
    """The best of towers (best first), as a list; of several whose accuracy is within noise, that of least loss.

    What is sure of its errors after few steps is much more so after many.
    """
    if metric != _ACCURACY or not towers or not isinstance(data, TableData):
        return towers[:1]
    best = _metric(towers[0], _ACCURACY, 0.0)
    error = math.sqrt(best * (1 - best) / len(data.valid))
    near = [trial for trial in towers if _metric(trial, _ACCURACY, 0.0) >= best - error]
    return [min(near, key=lambda trial: _metric(trial, "loss", math.inf))]


def _metric(trial: Trial, name: str, otherwise: float) -> float:
    return otherwise if trial.result is None else trial.result.metrics.get(name, otherwise)


def _is_worthwhile(trial: Trial, before: Trial, seconds: float, data: PreparedData) -> bool:
    """Whether a tower is much larger than another one, and can be trained for many epochs in some time."""
    plan, result, smaller = trial.plan, trial.result, before.result
    if plan is None or result is None or smaller is None or not isinstance(data, TableData):
        return False
    steps = affordable_steps(trial, seconds, data)
    epochs = 0.0 if steps is None else steps * plan.batch_size / len(data.train)
    return result.parameters >= _LARGER * smaller.parameters and epochs >= _WORTHWHILE_EPOCHS


def _begun(trial: Trial, history: History) -> int | None:
    """The steps of an earlier final training of the tower that was interrupted; None where there is none."""
    for other in history.unfinished:
        plan = other.plan
        is_longer = plan is not None and plan.kind is TrialKind.LONGER and plan.parent == trial.id
        if plan is not None and is_longer and other.state is TrialState.INTERRUPTED:
            return plan.steps - plan.first_step
    return None


def affordable_steps(trial: Trial, seconds: float, data: PreparedData) -> int | None:
    """Steps for which a trial's tower can be trained further in some time; None where these are too few.

    Args:
        trial: It tells how long its steps took.
        seconds: The time.
        data: A table is read 300 times at most.
    """
    plan, result = trial.plan, trial.result
    if plan is None or result is None:
        return None
    taken = (plan.steps if result.stopped_at is None else result.stopped_at) - plan.first_step
    before = sum(result.timings.get(phase, 0.0) for phase in ("build", "trace", "validate"))
    step = result.timings.get("train", 0.0) / max(1, taken - 1)
    if step <= 0:
        return None
    most = math.inf
    if isinstance(data, TableData):
        most = MOST_EPOCHS * math.ceil(len(data.train) / plan.batch_size)
    steps = min(most, _MARGIN * (seconds - before) / step)
    return int(steps) if steps >= max(1.0, _LEAST * taken) else None
