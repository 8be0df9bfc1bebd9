"""After the search: the finalists are trained again on all rows, in folds, as trials of the study."""

from __future__ import annotations

import dataclasses

from model_search.data.prepared_data import TableData
from model_search.data.tabular.table import GIVEN_VALIDATION
from model_search.deadline import Deadline
from model_search.finish.validation_rows import keep_training
from model_search.metadata.trial import TrialKind, TrialState
from model_search.search.history.history import History
from model_search.search.planning.finalists import FinalistsPlanner, finalists
from model_search.trainers.dispatch import run_session
from model_search.trainers.options import SearchOptions
from model_search.trainers.progress import ProgressDisplay
from model_search.trainers.session import Session
from model_search.trainers.worker import StopReason


def bag_finalists(session: Session, options: SearchOptions, deadline: Deadline) -> StopReason | None:
    """Trains the bags that the study lacks.

    Args:
        session: The study; its store is open.
        options: What the user asked for.
        deadline: When the call has to be done, including the final stage.

    Returns:
        Why it ended; None where nothing was to be done.
    """
    data, folds = session.data, options.folds
    if folds is None or not isinstance(data, TableData) or session.planner.replayed_towers is not None:
        return None
    if data.description.get("split", {}).get("by") == GIVEN_VALIDATION:
        display = ProgressDisplay(session.record.metric, options.number_models, options.progress)
        display.warn(f"folds={folds} has no effect: validation rows were given, and are used as they are")
        return None
    history = History(session.record.ranking)
    history.update(session.store.history()[0])
    planner = FinalistsPlanner(session.planner, finalists(history), folds)
    left = planner.left(history)
    if not left:
        return None
    keep_training(session.store, session.artefacts, data.train)
    waiting = sum(1 for trial in history.trials if trial.state is TrialState.INTERRUPTED)
    wanted = dataclasses.replace(options, number_models=history.completed_count + waiting + left, folds=None)
    return run_session(dataclasses.replace(session, planner=planner, warnings=(), notes=()), wanted, deadline)


def trials_after_searches(session: Session) -> int:
    """How many of the completed trials are bags or longer trainings: they do not count as models of the search."""
    plans = [trial.plan for trial in session.store.history()[0] if trial.state is TrialState.COMPLETED]
    return sum(1 for plan in plans if plan is not None and (plan.folds or plan.kind is TrialKind.LONGER))
