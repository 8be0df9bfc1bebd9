"""The worker loop: claim, plan, run, record. Never imports TensorFlow; the engine is passed in."""

from __future__ import annotations

import dataclasses
import enum
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from model_search.errors import (
    InfeasibleTrialError,
    ModelSearchError,
    RepeatedPlanError,
    RetryTrialError,
    SpaceExhaustedError,
    StaleClaimError,
    StopStudyError,
    StoreError,
    TrialError,
    UnstorableError,
)
from model_search.metadata.artefacts import ArtefactStore
from model_search.metadata.heartbeat_watcher import HeartbeatWatcher
from model_search.metadata.store import Claim, Store
from model_search.metadata.study_arrays import StudyArrays
from model_search.metadata.trial import TAKEN_OVER, Trial, TrialKind, TrialPlan, TrialResult
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner
from model_search.search.planning.supernets import why_anew
from model_search.trainers.finished_models import FinishedTowers, save_outcome
from model_search.trainers.heartbeat import GRACE_SECONDS, HEARTBEAT_SECONDS, Heartbeat
from model_search.trainers.interrupts import Interrupts, TrialInterruptedError
from model_search.trainers.progress import Display
from model_search.trainers.pruning import Pruner
from model_search.training.evaluator import Evaluator
from model_search.training.outcome import Progress, TrialOutcome

_LOG = logging.getLogger(__name__)

MAX_FAILURES_IN_A_ROW = 10
MAX_ATTEMPTS = 3  # of a trial that fails for a reason outside of it; those that were stopped do not count
_MAX_REPLANS = 100
_WAIT_SECONDS, _MOST_SECONDS = 0.25, 2.0  # between two checks of what other workers hold
FIRST_SECONDS = 0.5  # that the first model is trained for after its first steps, even if the time is up
_FEW = 8  # workers that may all check at this interval


class StopReason(enum.StrEnum):
    """Why the loop ended."""

    FINISHED = "finished"
    TIME_LIMIT = "time limit"
    INTERRUPTED = "interrupted"
    EXHAUSTED = "space exhausted"


@dataclasses.dataclass(frozen=True)
class WorkerParts:
    """The dependencies of a worker."""

    store: Store
    planner: Planner
    history: History
    engine: Evaluator
    artefacts: ArtefactStore
    environment: Mapping[str, Any]
    interrupts: Interrupts
    display: Display
    callbacks: tuple[Callable[[Trial], Any], ...] = ()
    stream: bool = False
    pruner: Pruner | None = None
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    grace_seconds: float = GRACE_SECONDS


class Worker:
    """Runs trials until the study holds `target` completed ones."""

    def __init__(self, name: str, parts: WorkerParts):
        self._name = name
        self._parts = parts
        self._towers = FinishedTowers(parts.history, parts.artefacts, parts.engine, parts.stream, parts.store.files)
        self._revision = 0
        self._failures_in_a_row = 0
        self._refused, self._refusals = False, 0
        self._passes_over = False
        self._heartbeat = Heartbeat(parts.store.another, parts.heartbeat_seconds)
        self._watcher = HeartbeatWatcher(parts.grace_seconds)
        self._watched = -math.inf
        self._stopped_at: int | None = None
        self._trains_since: float | None = None

    def run(self, target: int) -> StopReason:
        """Runs trials until `target` are completed, time is up or Ctrl-C is pressed.

        Raises:
            StopStudyError: after too many failures in a row, or when the space is exhausted before there is any model.
        """
        arrays = StudyArrays(self._parts.store, self._parts.artefacts, self._parts.display.note)
        with self._parts.planner.keeping(arrays):
            return self._run(target)

    def _run(self, target: int) -> StopReason:
        interrupts = self._parts.interrupts
        self._refresh()
        self._parts.display.resume(self._parts.history)
        while True:
            if interrupts.asked:
                return StopReason.INTERRUPTED
            if interrupts.out_of_time and self._parts.history.completed_count:
                return StopReason.TIME_LIMIT
            self._watch()
            wanted = self._wanted(target)
            claim = self._claim(wanted)
            if claim is None:
                if self._wait_for_room(wanted):
                    continue
                return StopReason.FINISHED
            self._refused, self._refusals = False, 0
            try:
                with self._heartbeat.of(claim):
                    self._run_claimed(claim)
            except TrialInterruptedError as stop:
                self._put_back(claim)
                if interrupts.asked or not self._still_needs_a_model():
                    return StopReason.INTERRUPTED if interrupts.asked else StopReason(stop.reason)
                self._passes_over = True
            except SpaceExhaustedError as error:
                self._put_back(claim)
                if not self._parts.history.completed_count:
                    raise
                self._parts.display.note(str(error))
                return StopReason.EXHAUSTED
            except StaleClaimError:
                _log_dropped(claim)
            except BaseException:
                self._put_back(claim)
                raise

    def run_planned(self, plan: Callable[[int], TrialPlan], interrupted: int | None = None) -> Trial | None:
        """Runs one trial of a given plan, however many trials the study holds.

        Args:
            plan: The plan of a new trial with this number.
            interrupted: The trial that has such a plan already, and was interrupted.

        Returns:
            The trial as it has ended; None where it was interrupted and put back, or is another worker's by now, or
            another worker was faster to begin a trial of this plan.
        """
        self._refresh()
        claim = self._parts.store.claim_trial(self._name, interrupted)
        if claim is None:
            return None
        try:
            with self._heartbeat.of(claim):
                self._run_claimed(claim, plan)
        except (TrialInterruptedError, RepeatedPlanError):
            self._put_back(claim)
            return None
        except StaleClaimError:
            _log_dropped(claim)
            return None
        except BaseException:
            self._put_back(claim)
            raise
        return self._parts.store.trial(claim.trial_id)

    def _wanted(self, target: int) -> int:
        """How many trials to complete: until there is a model, one more than the parts of supernets."""
        history = self._parts.history
        return target if history.completed_count else max(target, len(history.supernets) + 1)

    def _claim(self, target: int) -> Claim | None:
        """The next trial. Where time is up, and the part of a supernet was put back, a new trial, to have one model."""
        if self._passes_over:
            return self._parts.store.claim_trial(self._name)
        return self._parts.store.claim(self._name, target)

    def _still_needs_a_model(self) -> bool:
        self._refresh()
        return not self._parts.history.completed_count

    def _wait_for_room(self, target: int) -> bool:
        """Whether there is another trial to claim: others hold the last ones, and may fail or vanish.

        Only reads; less often with more workers, since all of them may be waiting for the last one.
        """
        store, history, noted = self._parts.store, self._parts.history, False
        self._refusals += 1
        looks_again = self._refusals > 1  # it looked as if there were room, and there was none
        while True:
            store.reclaim_dead()
            self._watch()
            self._refresh()
            held = len(store.heartbeats())
            self._refused = self._refused and not held
            if history.counted >= target or self._refused:
                return False
            if (history.counted + held < target and not looks_again) or self._should_stop():
                self._refused = not held  # accept it if the store refuses a claim for the second time
                return True
            if not noted:
                self._parts.display.note("waiting for the last trials, which other workers hold")
                noted = True
            looks_again = False
            time.sleep(min(_MOST_SECONDS, _WAIT_SECONDS * max(1.0, held / _FEW)))

    def _should_stop(self) -> bool:
        interrupts = self._parts.interrupts
        return interrupts.asked or (interrupts.out_of_time and bool(self._parts.history.completed_count))

    def _watch(self) -> None:
        """Puts back trials of dead or silent workers; checks no more often than workers send heartbeats."""
        now = time.monotonic()
        if now - self._watched < self._parts.heartbeat_seconds:
            return
        self._watched = now
        for trial_id in (*self._parts.store.reclaim_dead(), *self._watcher.observe(self._parts.store)):
            _LOG.info("trial %d is put back: %s", trial_id, self._parts.store.trial(trial_id).reason)

    def _run_claimed(self, claim: Claim, planned: Callable[[int], TrialPlan] | None = None) -> None:
        started = time.monotonic()
        self._trains_since = None
        self._stopped_at = None
        plan = self._commit_a_plan(claim, planned)
        self._parts.display.start(plan, claim.attempt)
        try:
            given = self._towers.given(plan)
            outcome = self._parts.engine.run(plan, given, lambda progress: self._on_progress(plan, progress))
            result = self._result(plan, outcome, {"frozen": given.seconds, "trial": time.monotonic() - started})
            self._parts.store.complete(claim, result)
        except RetryTrialError as error:
            self._retry(claim, _reason(error))
        except InfeasibleTrialError as error:
            self._fail(claim, _reason(error), counts=not self._parts.interrupts.deadline.is_set)
        except (TrialError, UnstorableError) as error:
            self._fail(claim, _reason(error))
        except ModelSearchError:  # interrupted, given to another worker, or nothing can be stored
            raise
        except Exception as error:  # whatever a user's block, provider or metric raises
            _LOG.info("trial %d has failed", claim.trial_id, exc_info=True)
            self._fail(claim, _reason(error))
        else:
            self._failures_in_a_row = 0
            self._announce(claim.trial_id)
            if self._parts.pruner is not None:
                self._parts.pruner.prune()

    def _commit_a_plan(self, claim: Claim, planned: Callable[[int], TrialPlan] | None) -> TrialPlan:
        given = planned(claim.trial_id) if claim.plan is None and planned is not None else claim.plan
        if given is not None:
            self._parts.store.commit_plan(claim, given)
            return given
        for attempt in range(_MAX_REPLANS):
            self._refresh()
            plan = self._parts.planner.plan(claim.trial_id, self._parts.history, attempt)
            try:
                self._parts.store.commit_plan(claim, plan)
            except RepeatedPlanError:
                continue
            note = why_anew(plan, self._parts.history)
            if note is not None:
                self._parts.display.note(note)
            return plan
        raise StopStudyError(f"no plan for trial {claim.trial_id} that is not a repetition, in {_MAX_REPLANS} attempts")

    def _on_progress(self, plan: TrialPlan, progress: Progress) -> bool:
        """Returns True where training should end here, with the best weights so far."""
        interrupts, seconds = self._parts.interrupts, self._seconds_of_training(progress)
        if interrupts.asked:
            raise TrialInterruptedError(StopReason.INTERRUPTED)
        if interrupts.out_of_time:
            if plan.kind in (TrialKind.LONGER, TrialKind.BAGGING) and progress.curve:
                self._stopped_at = progress.step  # what it has learnt is not given up
                return True
            if self._parts.history.completed_count or plan.supernet is not None:  # a part of it would be no model
                raise TrialInterruptedError(StopReason.TIME_LIMIT)
            return seconds >= FIRST_SECONDS
        self._heartbeat.check()
        self._parts.display.step(progress)
        if not self._parts.planner.stops(plan, progress.curve, self._parts.history):
            return False
        self._stopped_at = progress.curve[-1][0]
        return True

    def _seconds_of_training(self, progress: Progress) -> float:
        """Seconds since the first report of progress in which the running trial had made a step."""
        now = self._parts.interrupts.deadline.now
        if progress.step and self._trains_since is None:
            self._trains_since = now
        return 0.0 if self._trains_since is None else now - self._trains_since

    def _result(self, plan: TrialPlan, outcome: TrialOutcome, seconds: Mapping[str, float]) -> TrialResult:
        timings = {phase: outcome.timings.get(phase, 0.0) + more for phase, more in seconds.items() if more}
        frozen = plan.ensemble is not None and plan.ensemble.freeze
        others = sum(self._towers.tower_parameters(member) for member in plan.members) if frozen else 0
        beginning = {"began": outcome.began, TAKEN_OVER: outcome.taken_over}
        return TrialResult(
            metrics=outcome.metrics,
            parameters=outcome.parameters + others,
            best_step=outcome.best_step,
            timings={**outcome.timings, **timings},
            curve=outcome.curve,
            environment={
                **self._parts.environment,
                **{name: value for name, value in beginning.items() if value is not None},
            },
            artefacts=save_outcome(self._parts.artefacts, plan.trial_id, outcome),
            own_parameters=outcome.parameters if frozen else None,
            stopped_at=self._stopped_at,
            candidates=outcome.candidates,
        )

    def _retry(self, claim: Claim, reason: str) -> None:
        """Puts the trial back, a bounded number of times, since the cause lies outside the trial."""
        if claim.failures + 1 >= MAX_ATTEMPTS:
            self._fail(claim, f"{reason} (in attempt {claim.attempt})")
            return
        self._parts.store.release(claim, has_failed=True)
        self._parts.display.note(f"trial {claim.trial_id} is tried again: {reason}")

    def _fail(self, claim: Claim, reason: str, counts: bool = True) -> None:
        """Ends the trial as failed; `counts` says whether too many of its kind in a row end the search."""
        self._parts.store.fail(claim, reason)
        self._failures_in_a_row += counts
        self._announce(claim.trial_id)
        if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            raise StopStudyError(
                f"{self._failures_in_a_row} trials in a row have failed, the last one (trial {claim.trial_id}) with: "
                f"{reason}"
            )

    def _announce(self, trial_id: int) -> None:
        self._refresh()
        trial = self._parts.store.trial(trial_id)
        self._parts.display.finish(trial, self._parts.history)
        for callback in self._parts.callbacks:
            callback(trial)

    def _refresh(self) -> None:
        trials, self._revision = self._parts.store.history(self._revision)
        self._parts.history.update(trials)

    def _put_back(self, claim: Claim) -> None:
        """Leaves the trial to the next claim. It may be final already, or the store itself may be broken."""
        try:
            self._parts.store.release(claim)
        except StoreError as error:
            _LOG.debug("trial %d could not be put back: %s", claim.trial_id, error)


def _log_dropped(claim: Claim) -> None:
    _LOG.warning("trial %d was given to another worker; its result here is dropped", claim.trial_id)


def _reason(error: Exception) -> str:
    text = str(error).strip() or "no message"
    return text if isinstance(error, ModelSearchError) else f"{type(error).__name__}: {text}"
