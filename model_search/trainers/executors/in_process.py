"""Trials in this process, one after the other."""

from __future__ import annotations

import dataclasses

from model_search.trainers.executors.worker_main import worker_parts
from model_search.trainers.interrupts import TrialInterruptedError
from model_search.trainers.session import RunContext, Session
from model_search.trainers.worker import StopReason, Worker


def run_in_this_process(session: Session, context: RunContext) -> StopReason:
    """Runs trials one after the other until the study holds enough of them.

    Raises:
        StopStudyError: if the search cannot go on.
    """
    from model_search.training.runtime import tensorflow, threads_within

    try:
        context.interrupts.wait_for(lambda: tensorflow(threads_within(session.settings.problem_type)))
    except TrialInterruptedError:
        return StopReason.INTERRUPTED
    parts = worker_parts(session, context.interrupts, context.display)
    parts = dataclasses.replace(parts, callbacks=context.options.callbacks)
    with context.display:
        return Worker(context.options.worker_name(1), parts).run(context.options.number_models)
