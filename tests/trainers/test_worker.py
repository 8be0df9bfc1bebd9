"""The loop with a pretended engine: what is counted, replaced, put back, stopped."""

import contextlib
import dataclasses
import os
import signal
import time
import types

import numpy as np
import pytest

from model_search import constants
from model_search.deadline import Deadline
from model_search.errors import (
    DiskFullError,
    RepeatedPlanError,
    RetryTrialError,
    StaleClaimError,
    StopStudyError,
    TrialError,
)
from model_search.metadata.artefacts import LocalArtefacts
from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.store import StudyRecord
from model_search.metadata.trial import Candidate, TrialState
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.spec.load import load_spec, load_text
from model_search.trainers import worker as loop
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.progress import ProgressDisplay
from model_search.trainers.worker import (
    MAX_ATTEMPTS,
    MAX_FAILURES_IN_A_ROW,
    StopReason,
    Worker,
    WorkerParts,
)
from model_search.training.outcome import Progress, TrialOutcome


class PretendedEngine:
    """Finishes at once; `act(trial_id)` may raise first."""

    def __init__(self, act=lambda trial_id: None):
        self.act = act
        self.plans = []

    def run(self, plan, given=None, on_progress=None):
        self.plans.append(plan)
        self.act(plan.trial_id)
        on_progress(Progress(step=1, steps=plan.steps, loss=1.0, best=None))
        rng = np.random.default_rng(plan.seed)
        loss = float(rng.random())
        return TrialOutcome(
            {"loss": loss}, 10, plan.steps, {"total": 0.0}, ((1, loss),), {"w": np.ones(3)}, np.ones((4, 2))
        )

    def logits_of(self, tower):
        return np.ones((4, 2)), np.ones((6, 2))


SMALL_SPACE = """
minimum_depth: 1 maximum_depth: 1 search_type: ADAPTIVE_COORDINATE_DESCENT problem_type: DNN beam_size: 1
blocks_to_use: "IDENTITY" blocks_to_use: "FULLY_CONNECTED"
learning_spec { optimizers: "adam" learning_rate_range { minimum: 0.001 maximum: 0.001 } cooldown_share: 0 }
"""


def make_worker(folder, engine, deadline=None, callbacks=(), spec=None, seed=1):
    store = SqliteStore(folder / "study.db")
    store.create_study(StudyRecord("s", "me", "", "loss", "minimize", 1, "f", {}, {}, {}))
    planner = Planner(
        load_text(spec) if spec else load_spec(constants.DEFAULT_DNN),
        PlannerSettings(seed=seed, train_steps=10, batch_size=4, sampler="random"),
        "loss",
        "minimize",
    )
    interrupts = Interrupts(deadline)
    parts = WorkerParts(
        store=store,
        planner=planner,
        history=History("loss", "minimize"),
        engine=engine,
        artefacts=LocalArtefacts(folder),
        environment={},
        interrupts=interrupts,
        display=ProgressDisplay("loss", 5, enabled=False),
        callbacks=callbacks,
    )
    return Worker("w", parts), store, interrupts


def states(store):
    return [trial.state for trial in store.history()[0]]


def test_the_budget_counts_completed_trials_and_a_failed_one_is_replaced(tmp_path):
    def act(trial_id):
        if trial_id in (2, 4):
            raise TrialError("loss is NaN at step 3")

    worker, store, _ = make_worker(tmp_path, PretendedEngine(act))
    assert worker.run(5) is StopReason.FINISHED
    assert states(store).count(TrialState.COMPLETED) == 5
    assert [trial.id for trial in store.history()[0] if trial.state is TrialState.FAILED] == [2, 4]
    assert store.trial(2).reason == "loss is NaN at step 3"


def test_too_many_failures_in_a_row_stop_the_study_with_the_last_reason(tmp_path):
    def act(trial_id):
        raise TrialError(f"no luck with {trial_id}")

    worker, store, _ = make_worker(tmp_path, PretendedEngine(act))
    with pytest.raises(StopStudyError, match=rf"{MAX_FAILURES_IN_A_ROW} trials in a row .* no luck with 10"):
        worker.run(5)
    assert states(store) == [TrialState.FAILED] * MAX_FAILURES_IN_A_ROW


def test_failures_with_a_success_between_them_do_not_add_up(tmp_path):
    def act(trial_id):
        if trial_id % MAX_FAILURES_IN_A_ROW:
            raise TrialError("no luck")

    worker, store, _ = make_worker(tmp_path, PretendedEngine(act))
    assert worker.run(2) is StopReason.FINISHED
    assert len(states(store)) == 2 * MAX_FAILURES_IN_A_ROW


@pytest.mark.parametrize("seed", range(3))
def test_one_of_two_blocks_that_cannot_be_built_does_not_stop_the_study(tmp_path, seed):
    class Engine(PretendedEngine):
        def run(self, plan, given=None, on_progress=None):
            if "IDENTITY" in plan.architecture:
                raise TrialError("IDENTITY cannot be built")
            return super().run(plan, given, on_progress)

    spec = 'blocks_to_use: ["IDENTITY", "FULLY_CONNECTED"] maximum_depth: 3'
    worker, store, _ = make_worker(tmp_path, Engine(), spec=spec, seed=seed)
    assert worker.run(12) is StopReason.FINISHED
    assert states(store).count(TrialState.FAILED) <= 5


def test_an_exception_of_the_engine_fails_the_trial_with_its_name(tmp_path):
    def act(trial_id):
        if trial_id == 1:
            raise ValueError("shapes differ")

    worker, store, _ = make_worker(tmp_path, PretendedEngine(act))
    worker.run(1)
    assert store.trial(1).reason == "ValueError: shapes differ"


@pytest.mark.parametrize("error", [KeyError("x"), AttributeError("y"), OSError("z"), AssertionError("w")])
def test_whatever_a_block_or_a_provider_raises_fails_the_trial_alone(tmp_path, error):
    def act(trial_id):
        if trial_id == 1:
            raise error

    worker, store, _ = make_worker(tmp_path, PretendedEngine(act))
    assert worker.run(1) is StopReason.FINISHED
    assert states(store) == [TrialState.FAILED, TrialState.COMPLETED]
    assert store.trial(1).reason.startswith(type(error).__name__)


def test_a_trial_that_is_not_to_blame_is_tried_again_a_few_times(tmp_path):
    tried = []

    def act(trial_id):
        tried.append(trial_id)
        if trial_id == 1 and tried.count(1) < MAX_ATTEMPTS:
            raise RetryTrialError("the file server is away")
        if trial_id == 2:
            raise RetryTrialError("it is away for good")

    engine = PretendedEngine(act)
    worker, store, _ = make_worker(tmp_path, engine)
    assert worker.run(2) is StopReason.FINISHED
    assert tried == [1] * MAX_ATTEMPTS + [2] * MAX_ATTEMPTS + [3]
    assert states(store) == [TrialState.COMPLETED, TrialState.FAILED, TrialState.COMPLETED]
    assert store.trial(1).attempt == MAX_ATTEMPTS
    assert store.trial(2).reason == f"it is away for good (in attempt {MAX_ATTEMPTS})"
    assert len({plan.key for plan in engine.plans if plan.trial_id == 1}) == 1


def test_a_trial_that_was_stopped_before_is_tried_again_as_often(tmp_path):
    tried = []

    def act(trial_id):
        tried.append(trial_id)
        if len(tried) < MAX_ATTEMPTS:
            raise RetryTrialError("the file server is away")

    worker, store, _ = make_worker(tmp_path, PretendedEngine(act))
    for _ in range(MAX_ATTEMPTS):
        store.release(store.claim("stopped", 1))
    assert worker.run(1) is StopReason.FINISHED
    assert states(store) == [TrialState.COMPLETED]
    assert store.trial(1).attempt == 2 * MAX_ATTEMPTS


def test_a_worker_that_was_given_up_notices_it_at_its_next_step(tmp_path, monkeypatch):
    given_up = []

    class Lost:
        """Its first check finds that the trial was put back."""

        def __init__(self, another, seconds):
            self.store = another()

        @contextlib.contextmanager
        def of(self, claim):
            yield

        def check(self):
            if not given_up:
                given_up.extend(self.store.reclaim(self.store.heartbeats()))
                raise StaleClaimError("given to another worker")

    monkeypatch.setattr("model_search.trainers.worker.Heartbeat", Lost)
    ended, engine = [], PretendedEngine()
    run = engine.run

    def watched(plan, *arguments):
        outcome = run(plan, *arguments)
        ended.append(plan.trial_id)
        return outcome

    engine.run = watched
    worker, store, _ = make_worker(tmp_path, engine)
    assert worker.run(2) is StopReason.FINISHED
    assert given_up == [1]
    assert [plan.trial_id for plan in engine.plans] == [1, 1, 2]
    assert ended == [1, 2]  # the first attempt ended at its first step
    assert [trial.attempt for trial in store.history()[0]] == [2, 1]


def test_a_store_that_cannot_be_written_stops_the_search(tmp_path):
    def act(trial_id):
        raise DiskFullError("the disk is full; make room")

    worker, store, _ = make_worker(tmp_path, PretendedEngine(act))
    with pytest.raises(DiskFullError, match="make room"):
        worker.run(2)
    assert states(store) == [TrialState.INTERRUPTED]


def test_a_result_that_cannot_be_stored_fails_the_trial(tmp_path):
    class Odd(PretendedEngine):
        def run(self, plan, *given, **named):
            outcome = super().run(plan, *given, **named)
            return outcome if plan.trial_id > 1 else dataclasses.replace(outcome, timings={"total": float("nan")})

    worker, store, _ = make_worker(tmp_path, Odd())
    assert worker.run(1) is StopReason.FINISHED
    assert states(store) == [TrialState.FAILED, TrialState.COMPLETED]


def test_ctrl_c_puts_the_trial_back_and_it_keeps_its_id_and_plan(tmp_path):
    def act(trial_id):
        if trial_id == 3:
            os.kill(os.getpid(), signal.SIGINT)

    engine = PretendedEngine(act)
    worker, store, interrupts = make_worker(tmp_path, engine)
    with interrupts:
        assert worker.run(5) is StopReason.INTERRUPTED
    assert states(store) == [TrialState.COMPLETED, TrialState.COMPLETED, TrialState.INTERRUPTED]
    interrupted = engine.plans[-1]
    again = PretendedEngine()
    worker, store, _ = make_worker(tmp_path, again)
    assert worker.run(5) is StopReason.FINISHED
    assert again.plans[0] == interrupted
    assert [trial.id for trial in store.history()[0]] == [1, 2, 3, 4, 5]


def test_an_interrupted_search_goes_on_as_an_undisturbed_one(tmp_path):
    undisturbed = PretendedEngine()
    (tmp_path / "a").mkdir()
    make_worker(tmp_path / "a", undisturbed)[0].run(12)
    (tmp_path / "b").mkdir()
    plans = {}
    for target in (3, 7, 12):
        engine = PretendedEngine()
        make_worker(tmp_path / "b", engine)[0].run(target)
        plans |= {plan.trial_id: plan for plan in engine.plans}
    assert list(plans.values()) == undisturbed.plans


class Steps(PretendedEngine):
    """Reports every second until it is asked to end."""

    def __init__(self, now, steps=100):
        super().__init__()
        self.now = now
        self.steps = steps
        self.ended_at = []

    def run(self, plan, initial_weights=None, on_progress=None, **given):
        for step in range(self.steps):
            self.now[0] += 1
            if on_progress(Progress(step, self.steps, 1.0, None)):
                break
        self.ended_at.append(self.now[0])
        return super().run(plan, on_progress=lambda progress: None)


def at(now, seconds):
    return Deadline(seconds, clock=lambda: now[0])


def test_a_time_limit_puts_the_running_trial_back_at_once(tmp_path):
    now = [0.0]
    worker, store, _ = make_worker(tmp_path, Steps(now, steps=10), at(now, 25.0))
    assert worker.run(5) is StopReason.TIME_LIMIT
    assert now == [25.0]
    assert states(store) == [TrialState.COMPLETED, TrialState.COMPLETED, TrialState.INTERRUPTED]


def test_a_plan_that_another_worker_has_committed_is_planned_anew(tmp_path, monkeypatch):
    worker, store, _ = make_worker(tmp_path, PretendedEngine())
    commit, refused = store.commit_plan, []

    def first_refuses(claim, plan):
        if not refused:
            refused.append(plan)
            raise RepeatedPlanError("another worker was faster")
        commit(claim, plan)

    monkeypatch.setattr(store, "commit_plan", first_refuses)
    assert worker.run(1) is StopReason.FINISHED
    assert store.trial(1).plan.key != refused[0].key


def test_a_trial_that_the_planner_stops_says_when(tmp_path, monkeypatch):
    monkeypatch.setattr(Planner, "stops", lambda self, plan, curve, history: plan.trial_id == 2)
    asked_to_end = []

    class Engine(PretendedEngine):
        def run(self, plan, given=None, on_progress=None):
            ends = on_progress(Progress(step=3, steps=plan.steps, loss=1.0, best=0.5, curve=((3, 0.5),)))
            asked_to_end.append(ends)
            return super().run(plan, given, lambda progress: False)

    worker, store, _ = make_worker(tmp_path, Engine())
    assert worker.run(2) is StopReason.FINISHED
    assert asked_to_end == [False, True]
    assert [trial.result.stopped_at for trial in store.history()[0]] == [None, 3]


def test_a_time_that_is_over_at_the_beginning_leaves_one_model(tmp_path):
    worker, store, _ = make_worker(tmp_path, PretendedEngine(), Deadline(0.0))
    assert worker.run(5) is StopReason.TIME_LIMIT
    assert states(store) == [TrialState.COMPLETED]


def test_a_time_limit_leaves_one_model_that_has_trained_for_a_while(tmp_path):
    for limit, ended in ((0.5, 3.0), (7.0, 7.0)):  # a step is seen after two seconds, FIRST_SECONDS before the third
        now = [0.0]
        engine = Steps(now)
        (tmp_path / str(limit)).mkdir()
        worker, store, _ = make_worker(tmp_path / str(limit), engine, at(now, limit))
        assert worker.run(5) is StopReason.TIME_LIMIT
        assert engine.ended_at == [ended]
        assert states(store) == [TrialState.COMPLETED]


WITH_A_SUPERNET = """problem_type: CNN search: "SPOS" starting_points: false
cell { nodes: 2 channels: 2 operations: ["CELL_IDENTITY", "CELL_CONVOLUTION_1X1"] } learning_spec { optimizers: "adam" }
search_settings { hparam { key: "supernet_parts" value { int64_value: 1 } } }"""


def test_a_time_limit_puts_a_supernet_back_and_leaves_one_model(tmp_path):
    worker, store, _ = make_worker(tmp_path, PretendedEngine(), Deadline(0.0), spec=WITH_A_SUPERNET)
    assert worker.run(5) is StopReason.TIME_LIMIT
    assert states(store) == [TrialState.INTERRUPTED, TrialState.COMPLETED]
    assert [trial.plan.supernet is None for trial in store.history()[0]] == [False, True]
    later, store, _ = make_worker(tmp_path, PretendedEngine(), spec=WITH_A_SUPERNET)
    assert later.run(2) is StopReason.FINISHED
    assert states(store) == [TrialState.COMPLETED] * 2 and store.trial(1).attempt == 2


class WithSupernets(PretendedEngine):
    """Its supernets compare one architecture, and have no loss of a model."""

    def run(self, plan, given=None, on_progress=None):
        outcome = super().run(plan, given, on_progress)
        if plan.supernet is None:
            return outcome
        candidate = Candidate((0,) * len(plan.supernet.positions), 0.5, True)
        return dataclasses.replace(outcome, metrics={"supernet_loss": 1.0}, candidates=(candidate,))


def test_who_waits_for_the_last_trial_sleeps_where_a_supernet_counts_too(tmp_path, monkeypatch):
    worker, store, _ = make_worker(tmp_path, WithSupernets(), spec=WITH_A_SUPERNET)
    worker.run(2)
    assert store.trial(1).plan.supernet is not None
    held, claim, claims, naps = store.claim("another", 3), store.claim, [], []

    def counted(name, target):
        claims.append(target)
        assert len(claims) < 9, "it asks again and again"
        return claim(name, target)

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            store.release(held)

    monkeypatch.setattr(store, "claim", counted)
    monkeypatch.setattr(loop, "time", types.SimpleNamespace(monotonic=time.monotonic, sleep=nap))
    assert worker.run(3) is StopReason.FINISHED
    assert len(claims) == 3 and len(naps) == 3


def test_a_study_whose_trials_are_all_parts_of_a_supernet_goes_on_until_it_has_a_model(tmp_path):
    for _ in range(2):  # the second time it is complete
        worker, store, _ = make_worker(tmp_path, WithSupernets(), spec=WITH_A_SUPERNET)
        assert worker.run(1) is StopReason.FINISHED
        assert [trial.plan.supernet is None for trial in store.history()[0]] == [False, True]


def test_callbacks_see_every_finished_trial_and_their_exceptions_are_the_users(tmp_path):
    seen = []
    worker, _, _ = make_worker(tmp_path, PretendedEngine(), callbacks=(seen.append,))
    worker.run(3)
    assert [trial.id for trial in seen] == [1, 2, 3]

    def angry(trial):
        raise KeyError("mine")

    worker, store, _ = make_worker(tmp_path, PretendedEngine(), callbacks=(angry,))
    with pytest.raises(KeyError, match="mine"):
        worker.run(4)
    assert states(store) == [TrialState.COMPLETED] * 4


def test_an_exhausted_space_ends_the_search_with_what_there_is(tmp_path):
    worker, store, _ = make_worker(tmp_path, PretendedEngine(), spec=SMALL_SPACE)
    assert worker.run(100) is StopReason.EXHAUSTED
    done = [trial.plan.architecture for trial in store.history()[0] if trial.state is TrialState.COMPLETED]
    assert sorted(done) == [("FULLY_CONNECTED",), ("IDENTITY",)]
    assert states(store)[-1] is TrialState.INTERRUPTED  # what was claimed for nothing is put back
    assert not store.heartbeats()
    (tmp_path / "other").mkdir()
    with pytest.raises(StopStudyError, match="tried"):
        make_worker(tmp_path / "other", PretendedEngine(fail_all), spec=SMALL_SPACE)[0].run(100)


def fail_all(trial_id):
    raise TrialError("no luck")
