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
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.longer.training import MOST_EPOCHS, run_longer
from model_search.trainers.options import SearchOptions
from model_search.trainers.progress import ProgressDisplay
from model_search.trainers.session import Session
from model_search.trainers.worker import StopReason

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

_MARGIN = 0.85  # of the time that is left: a step with augmentation takes longer, and the machine may be busier
_LEAST = 0.25  # of the steps that the tower was trained for; fewer are not worth a trial


@dataclasses.dataclass(frozen=True)
class FinalTraining:
    """How a search ends that has a time limit.

    Attributes:
        time_share: Of the time limit; 0 for no final training.
        towers: How many are trained longer.
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
        """Seconds of the time limit that the search leaves to it."""
        return 0.0 if options.time_limit is None else self.time_share * options.time_limit


def train_winners(
    session: Session, final: FinalTraining, options: SearchOptions, deadline: Deadline, reason: StopReason
) -> StopReason:
    """Trains the best towers of a search longer, for what is left of its time; a tower is trained longer once.

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
    if not final.time_share or options.time_limit is None or not deadline.is_set:
        return reason
    left = deadline.remaining - options.seconds_to_finish
    if reason is not StopReason.TIME_LIMIT:
        left = min(left, (options.time_limit - deadline.remaining) * final.time_share / (1 - final.time_share))
    session.store.reclaim_dead()
    history = History(session.record.ranking)
    history.update(session.store.history()[0])
    towers = _winners(history, final.towers)
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


def _winners(history: History, count: int) -> list[Trial]:
    """The best towers that were trained on the labels alone, but for those that were trained longer already."""
    plans = [trial.plan for trial in history.completed if trial.plan is not None]
    continued = {plan.parent for plan in plans if plan.kind is TrialKind.LONGER}
    towers = [trial for trial in history.completed if trial.plan is not None and trial.plan.is_on_labels_alone]
    return [trial for trial in towers[:count] if trial.id not in continued]


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
