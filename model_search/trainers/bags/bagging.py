"""After the search: the finalists are trained again on all rows, in folds, as trials of the study."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from model_search.data.prepared_data import PreparedData, TableData
from model_search.deadline import Deadline
from model_search.finish.validation_rows import keep_training
from model_search.metadata.trial import Trial, TrialKind, TrialPlan, TrialState
from model_search.search.history.history import History
from model_search.search.planning.finalists import FINALISTS, FinalistsPlanner, finalists
from model_search.search.planning.fold_plans import FOLDS, bag_plan
from model_search.trainers.bags.bag_seconds import BagSeconds
from model_search.trainers.bags.divisible import groups_of, undivided
from model_search.trainers.bags.refit import are_refit
from model_search.trainers.dispatch import LOADING_SECONDS, run_session
from model_search.trainers.executors.worker_main import worker_parts
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.options import SearchOptions
from model_search.trainers.progress import ProgressDisplay
from model_search.trainers.session import Session
from model_search.trainers.worker import StopReason, Worker

_FEWEST_MODELS = 40  # of a search without a time limit: the bags of five models are as many trainings
_MOST_ROWS = 20_000  # of a table with automatic folds; validation rows are many in a larger one
_FEWEST_GROUPS = 3  # of sequences: each model of a bag is trained on two thirds of them at least
_WORTH_WHILE = 3  # bags; an ensemble of fewer is no match for one of all the trials that there is time for instead
_WORTH_WHILE_OF_GROUPS = 2  # of sequences: the trials were all chosen by the same one or two groups
_MORE_FOR_GROUPS = 0.25  # of a time limit: towers of sequences take longer, and more trials would only fit their judge
_MOST_BAGS = 12  # of a search with a time limit


def with_folds(session: Session, options: SearchOptions) -> SearchOptions:
    """The options with a number of folds, or none: in place of "auto", and where rows cannot be divided into as many.

    The user is told where folds that he has asked for have no effect, and nothing reserves time for them then; and
    where there are fewer of them than he has asked for.
    """
    if options.folds is None:
        return options
    reason = undivided(session.data)
    if reason is None and session.planner.replayed_towers is not None:
        reason = "the specification replays towers, and nothing else is trained"
    if not isinstance(options.folds, int):
        return dataclasses.replace(options, folds=None if reason is not None else _usual(session, options))
    display = ProgressDisplay(session.record.metric, options.number_models, options.progress)
    if reason is not None:
        display.warn(f"folds={options.folds} has no effect: {reason}")
        return dataclasses.replace(options, folds=None)
    groups = groups_of(session.data)
    if groups is None or groups >= options.folds:
        return options
    display.warn(
        f"folds={options.folds} is more than there are groups of rows: there are {groups} folds, one for each group; "
        f"give folds={groups} or fewer, or finer groups"
    )
    return dataclasses.replace(options, folds=groups)


def _usual(session: Session, options: SearchOptions) -> int | None:
    """How many folds are usual for rows that can be divided; None for none.

    Eight for a table whose trials choose their epochs. Sequences and recordings are divided only where they have
    groups, a fold for each where these are few: one or two groups to validate on are no judge of what holds for others.
    """
    data = session.data
    is_fit = (
        isinstance(data, TableData)
        and (options.time_limit is not None or options.number_models >= _FEWEST_MODELS)
        and options.finish != "neither"
        and len(data.train) + len(data.valid) < _MOST_ROWS
        and not data.other_tasks
    )
    if not is_fit or not isinstance(data, TableData):
        return None
    groups = groups_of(data)
    if groups is not None and _is_of_groups(data):
        return min(FOLDS, groups) if groups >= _FEWEST_GROUPS else None
    has_own_steps = bool(session.record.settings.get("steps_from_data"))
    return FOLDS if has_own_steps and (groups is None or groups >= FOLDS) else None


def are_worth_while(session: Session, options: SearchOptions, deadline: Deadline) -> bool:
    """Whether bags of enough of the best models fit into what is left of the time, among them one that may lead."""
    if not deadline.is_set or not isinstance(options.folds, int):
        return True
    history = _history(session)
    if any(trial.plan is not None and trial.plan.folds for trial in history.completed):
        return True
    left = deadline.remaining - _after_bags(options)
    fewest = _worth_while(session.data)
    able = finalists(history, _MOST_BAGS)[: fewest + 1]  # bags of worse models are no match for the best trials
    fitting = BagSeconds(history, options.folds).fitting(able, left, left / fewest)
    return len(fitting) >= fewest and any(trial in history.near_best for trial in fitting)


def seconds_for_groups(session: Session, options: SearchOptions) -> float:
    """Seconds of the time limit that a search of sequences with groups leaves to bags, beside the usual share."""
    is_in_folds = options.time_limit is not None and isinstance(options.folds, int)
    return _MORE_FOR_GROUPS * (options.time_limit or 0.0) if is_in_folds and _is_of_groups(session.data) else 0.0


def bag_finalists(session: Session, options: SearchOptions, deadline: Deadline) -> StopReason | None:
    """Trains the bags that the study lacks.

    With one worker, each is chosen when the one before it has ended: the best finalist whose bag fits into the time.

    Args:
        session: The study; its store is open.
        options: From `with_folds`.
        deadline: When the call has to be done, including the final stage.

    Returns:
        Why it ended; None where nothing was to be done.
    """
    data, folds = session.data, options.folds
    if not isinstance(folds, int) or not isinstance(data, TableData):
        return None
    history = _history(session)
    chosen = finalists(history, _MOST_BAGS if deadline.is_set else FINALISTS)
    if deadline.is_set and _in_processes(options):
        seconds = (deadline.remaining - _after_bags(options) - LOADING_SECONDS) * max(1, _workers(options))
        chosen = BagSeconds(history, folds).fitting(chosen, seconds, _most_seconds(session, chosen, folds, seconds))
    planner = FinalistsPlanner(session.planner, chosen, folds)
    left = planner.left(history)
    begun = [trial for trial in history.unfinished if trial.plan is not None and trial.plan.is_bag]
    if not left and not any(trial.state is TrialState.INTERRUPTED for trial in begun):
        return None
    keep_training(session.store, session.artefacts, data.train)
    session = dataclasses.replace(session, planner=planner, warnings=(), notes=())
    if not _in_processes(options):
        return _bag_here(session, chosen, options, deadline.earlier(_after_bags(options)))
    waiting = sum(1 for trial in history.trials if trial.state is TrialState.INTERRUPTED)
    wanted = dataclasses.replace(options, number_models=history.completed_count + waiting + left, folds=None)
    return run_session(session, wanted, deadline)


def trials_after_searches(session: Session) -> int:
    """How many of the completed trials are bags or longer trainings: they do not count as models of the search."""
    plans = [trial.plan for trial in session.store.history()[0] if trial.state is TrialState.COMPLETED]
    return sum(1 for plan in plans if plan is not None and (plan.is_bag or plan.kind is TrialKind.LONGER))


def _bag_here(session: Session, chosen: Sequence[Trial], options: SearchOptions, end: Deadline) -> StopReason:
    """Trains bags in this process, as long as there is time for another one."""
    target = len(session.store.history()[0]) + len(chosen)
    display = ProgressDisplay(session.record.metric, target, options.progress)
    with Interrupts(end) as interrupts, display:
        parts = dataclasses.replace(worker_parts(session, interrupts, display), callbacks=options.callbacks)
        worker = Worker(options.worker_name(1), parts)
        folds = options.folds if isinstance(options.folds, int) else FOLDS
        most = _most_seconds(session, chosen, folds, end.remaining)
        while True:
            session.store.reclaim_dead()
            history, left = _history(session), end.remaining
            found = _next_bag(history, chosen, folds, min(most, left)) or _next_bag(history, chosen, folds, left)
            if found is None:
                return StopReason.FINISHED
            plan, interrupted = found

            def planned(number: int, plan: TrialPlan = plan) -> TrialPlan:
                return plan if plan.trial_id == number else dataclasses.replace(plan, trial_id=number)

            worker.run_planned(planned, interrupted)
            if interrupts.asked:
                return StopReason.INTERRUPTED
            if interrupts.out_of_time:
                return StopReason.TIME_LIMIT


def _is_of_groups(data: PreparedData) -> bool:
    return isinstance(data, TableData) and bool(data.lengths) and data.groups is not None


def _worth_while(data: PreparedData) -> int:
    """How many bags are worth their time."""
    return _WORTH_WHILE_OF_GROUPS if _is_of_groups(data) else _WORTH_WHILE


def _most_seconds(session: Session, chosen: Sequence[Trial], folds: int, seconds: float) -> float:
    """The seconds that a bag may take: such a part that there are several; all if each would take longer.

    All as well where bags of models that are clearly worse than the best one would fit alone: they are no match for it.
    """
    history = _history(session)
    known, share = BagSeconds(history, folds), seconds / _worth_while(session.data)
    near = {trial.id for trial in history.near_best}
    may_lead = [trial for trial in chosen if trial.id in near] or chosen
    return share if any(known.of(trial) <= share for trial in may_lead) else seconds


def _next_bag(
    history: History, chosen: Sequence[Trial], folds: int, most: float
) -> tuple[TrialPlan, int | None] | None:
    """The plan of the next bag of at most some seconds, and the interrupted trial that has it; None for none."""
    seconds, number = BagSeconds(history, folds), 1 + max(trial.id for trial in history.trials)
    waiting = [
        trial.plan for trial in history.unfinished if trial.plan is not None and trial.state is TrialState.INTERRUPTED
    ]
    begun = {plan.key: plan.trial_id for plan in waiting}
    others = (history.get(plan.parent) for plan in waiting if plan.is_bag and plan.parent is not None)
    for trial in (*chosen, *(trial for trial in others if trial is not None and trial not in chosen)):
        plan = bag_plan(number, trial, folds)
        if history.contains_key(plan.key) and plan.key not in begun:
            continue
        if math.isinf(most) or seconds.of(trial) <= most:
            return plan, begun.get(plan.key)
    return None


def _history(session: Session) -> History:
    history = History(session.record.ranking)
    history.update(session.store.history()[0])
    return history


def _after_bags(options: SearchOptions) -> float:
    """Seconds that the final stage needs, with the training of bags on all rows where there is one."""
    refit = options.refit if are_refit(options.folds) else False
    return dataclasses.replace(options, folds=None, refit=refit).seconds_to_finish


def _in_processes(options: SearchOptions) -> bool:
    return options.executor != "local" or options.workers not in (None, 1)


def _workers(options: SearchOptions) -> int:
    return options.workers if isinstance(options.workers, int) else 1
