"""Runs a session's trials where the options say: in this process, in child processes, or on a Ray cluster."""

from __future__ import annotations

import dataclasses
import sys

from model_search.deadline import Deadline
from model_search.trainers.executors.child_processes import run_in_processes, worker_count
from model_search.trainers.executors.in_process import run_in_this_process
from model_search.trainers.executors.ray_cluster import run_on_ray
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.options import SearchOptions
from model_search.trainers.progress import ProgressDisplay
from model_search.trainers.session import Executor, RunContext, Session
from model_search.trainers.worker import StopReason

LOADING_SECONDS = 4.0  # of TensorFlow, which this process loads after the search where others have trained


def run_session(session: Session, options: SearchOptions, deadline: Deadline, seconds_left: float = 0.0) -> StopReason:
    """Runs trials until there are `options.number_models` completed ones, or something ends the search earlier.

    Args:
        session: The study.
        options: What the user asked for.
        deadline: When the call has to be done, including the final stage, for which some of the time is reserved.
        seconds_left: Further seconds that the search leaves.

    Raises:
        StopStudyError: if the search cannot go on; finished trials are kept.
    """
    replayed = session.planner.replayed_towers
    if replayed is not None:  # each tower waits for those before it
        options = dataclasses.replace(options, number_models=replayed, workers=1)
    display = ProgressDisplay(session.record.metric, options.number_models, options.progress, session.is_begun)
    if not session.is_begun:
        for warning in session.warnings:
            display.warn(warning)
        for note in session.notes:
            display.note(note)
    size = 0 if options.executor == "ray" else worker_count(session, options, display)
    with Interrupts(deadline.earlier(_seconds_to_finish(options, size) + seconds_left)) as interrupts:
        return _executor(options, size)(session, RunContext(options, size, interrupts, display))


def _seconds_to_finish(options: SearchOptions, size: int) -> float:
    """Seconds that the search reserves for the final stage."""
    if size == 1 or "tensorflow" in sys.modules:
        return options.seconds_to_finish
    return options.seconds_to_finish + LOADING_SECONDS


def _executor(options: SearchOptions, size: int) -> Executor:
    if options.executor == "ray":
        return run_on_ray
    return run_in_processes if size > 1 else run_in_this_process
