"""Models of a bag in threads of this process: for libraries that compute outside of the interpreter's lock."""

from __future__ import annotations

import concurrent.futures
import math
import threading
from collections.abc import Callable, Sequence

from model_search.training.evaluator import OnProgress
from model_search.training.outcome import Progress, TrialOutcome

_POLL_SECONDS = 0.2

Job = Callable[[OnProgress], TrialOutcome]


class _EndedError(Exception):
    """The caller has ended the bag."""


def run_jobs(jobs: Sequence[Job], threads: int, report: OnProgress) -> list[TrialOutcome]:
    """Runs jobs, as many at a time as there are threads; the outcomes are the same for any number of threads.

    Args:
        jobs: Each trains one model of a bag.
        threads: How many may run at a time.
        report: Called in this thread with the progress of all together; see `Evaluator.run`.
    """
    reached = [Progress(0, 1, math.nan, None)] * len(jobs)
    ended = threading.Event()

    def reporting(place: int) -> OnProgress:
        def on_progress(progress: Progress) -> bool:
            reached[place] = progress
            if ended.is_set():
                raise _EndedError
            return False

        return on_progress

    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, min(threads, len(jobs)))) as pool:
        waiting = {pool.submit(job, reporting(place)): place for place, job in enumerate(jobs)}
        left = set(waiting)
        try:
            while left:
                done, left = concurrent.futures.wait(left, _POLL_SECONDS, concurrent.futures.FIRST_EXCEPTION)
                for future in done:
                    future.result()
                report(_together(reached))
        except BaseException:
            ended.set()
            for future in left:
                future.cancel()
            raise
        return [future.result() for future in waiting]


def _together(reached: Sequence[Progress]) -> Progress:
    losses = [one.loss for one in reached if math.isfinite(one.loss)]
    loss = sum(losses) / len(losses) if losses else math.nan
    return Progress(sum(one.step for one in reached), max(1, sum(one.steps for one in reached)), loss, None)
