"""Worker processes: what is shared, replaced, put back, stopped. Trials are pretended, processes are real."""

import contextlib
import ctypes
import dataclasses
import importlib
import multiprocessing
import os
import pathlib
import signal
import stat
import subprocess
import sys
import threading
import time

import psutil
import pytest
from pretended import fails, make_plan, nothing, open_pretended, together, waits

from model_search import blocks
from model_search.blocks import catalogue
from model_search.deadline import Deadline
from model_search.errors import SpaceExhaustedError, StopStudyError, StudyError, UserError
from model_search.metadata.trial import TrialState
from model_search.trainers import exit_policy, resources
from model_search.trainers.executors import child_processes
from model_search.trainers.executors.child_processes import run_in_processes, worker_count
from model_search.trainers.exit_policy import MAX_DEATHS_IN_A_ROW
from model_search.trainers.interrupts import Interrupts
from model_search.trainers.worker import MAX_FAILURES_IN_A_ROW, StopReason


def run(folder, act=nothing, workers=2, **changes):
    session, context = open_pretended(folder, act, workers, **changes)
    with context.interrupts:
        return run_in_processes(session, context), session.store.history()[0]


def states(trials):
    return [trial.state for trial in trials]


def children():
    """Worker processes of this one; other tests of the same session may have left helpers of `multiprocessing`."""
    alive = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in alive if "model_search.trainers.executors.worker_process" in child.cmdline()]


@pytest.fixture(autouse=True)
def _nobody_is_left_behind():
    yield
    assert children() == []


def test_two_workers_fill_one_study_exactly_and_callbacks_run_here(tmp_path):
    seen = []
    reason, trials = run(
        tmp_path, together(tmp_path), callbacks=(lambda trial: seen.append((trial.id, os.getpid())),), number_models=8
    )
    assert reason is StopReason.FINISHED
    assert states(trials) == [TrialState.COMPLETED] * 8
    assert sorted(seen) == [(number, os.getpid()) for number in range(1, 9)]
    assert {trial.worker for trial in trials} == {"worker-1", "worker-2"}
    assert len({trial.result.environment["pid"] for trial in trials}) == 2
    for trial in trials:
        log = tmp_path / "runs" / "x" / "trials" / f"{trial.id:06d}" / f"{trial.worker}.log"
        assert f"trial {trial.id} has completed" in log.read_text()


def test_a_study_that_is_full_starts_nobody(tmp_path, monkeypatch):
    run(tmp_path, number_models=2)
    monkeypatch.setattr("sys.executable", "/no/such/python")
    assert run(tmp_path, number_models=2)[0] is StopReason.FINISHED


def test_names_of_workers(tmp_path):
    _, trials = run(tmp_path, number_models=2, tuner_id="so/and so")
    assert {trial.worker for trial in trials} <= {"so/and so-1", "so/and so-2"}
    assert len(list((tmp_path / "runs" / "x" / "logs").iterdir())) == 2


def test_a_worker_that_dies_is_replaced_and_its_trial_done_again(tmp_path):
    def act(plan, earlier):
        if plan.trial_id == 2 and not earlier:
            os.kill(os.getpid(), signal.SIGKILL)

    reason, trials = run(tmp_path, act)
    assert reason is StopReason.FINISHED
    assert states(trials) == [TrialState.COMPLETED] * 6
    assert trials[1].attempt == 2


def test_a_trial_that_kills_its_workers_is_given_up(tmp_path):
    def act(plan, earlier):
        if plan.trial_id == 1:
            os.abort()

    _, trials = run(tmp_path, act, number_models=3)
    assert states(trials) == [TrialState.LOST] + [TrialState.COMPLETED] * 3
    assert "vanished 3 times" in trials[0].reason


def test_a_run_of_deaths_stops_the_study_in_plain_words(tmp_path):
    def act(plan, earlier):
        print("about to go")
        os._exit(7)

    with pytest.raises(StopStudyError, match=rf"{MAX_DEATHS_IN_A_ROW + 2} workers have died .* status 7"):
        run(tmp_path, act)


def test_a_worker_killed_for_memory_fails_its_trial_with_that_reason(tmp_path, monkeypatch):
    killed = tmp_path / "killed"

    def act(plan, earlier):
        if plan.trial_id == 2:
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(resources, "memory_kills", lambda: int(killed.exists()))
    _, trials = run(tmp_path, act, workers=1, number_models=3)
    assert states(trials) == [TrialState.COMPLETED, TrialState.FAILED, TrialState.COMPLETED, TrialState.COMPLETED]
    assert "memory ran out" in trials[1].reason


def test_failures_in_a_row_stop_everybody(tmp_path):
    with pytest.raises(StopStudyError, match=f"{MAX_FAILURES_IN_A_ROW} trials in a row have failed.*no luck"):
        run(tmp_path, fails)


def test_ctrl_c_puts_everything_back_and_the_study_goes_on(tmp_path):
    session, context = open_pretended(tmp_path, waits(0.3), number_models=50)
    notes = tmp_path / "notes"

    def press():
        while len(list(notes.iterdir())) < 4:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with context.interrupts:
        assert run_in_processes(session, context) is StopReason.INTERRUPTED
    trials = session.store.history()[0]
    assert set(states(trials)) <= {TrialState.COMPLETED, TrialState.INTERRUPTED}
    done = len(trials)
    assert states(run(tmp_path, number_models=done)[1]) == [TrialState.COMPLETED] * done


def test_a_worker_that_does_not_listen_is_ended_and_its_trial_put_back(tmp_path):
    def act(plan, earlier):
        if not earlier:
            time.sleep(60)

    session, context = open_pretended(tmp_path, act, workers=1, number_models=1)
    notes = tmp_path / "notes"

    def press():
        while not list(notes.iterdir()):
            time.sleep(0.05)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with context.interrupts:
        assert run_in_processes(session, context) is StopReason.INTERRUPTED
    (trial,) = session.store.history()[0]
    assert trial.state is TrialState.INTERRUPTED
    assert trial.reason is None  # it has not vanished


def test_ctrl_c_leaves_a_trial_that_another_shell_has_taken_over_to_its_worker_of_the_same_name(tmp_path):
    def act(plan, earlier):
        while True:
            time.sleep(60)

    session, context = open_pretended(tmp_path, act, workers=1, number_models=1)
    store, show = session.store, context.display.show

    def take_over(text, *progress):
        """What the other shell does once the worker here hangs, in its engine."""
        show(text, *progress)
        if text is None:
            while not store.reclaim(store.heartbeats()):
                pass  # the worker has sent a heartbeat in between
            claim = store.claim("worker-1", 1)
            store.commit_plan(claim, claim.plan)
            context.interrupts.ask()

    context.display.show = take_over
    assert run_in_processes(session, context) is StopReason.INTERRUPTED
    (trial,) = store.history()[0]
    assert (trial.worker, trial.attempt, trial.state) == ("worker-1", 2, TrialState.RUNNING)


def test_a_callback_that_raises_ends_all_workers(tmp_path):
    def angry(trial):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(tmp_path, waits(0.1), callbacks=(angry,))


def test_a_time_limit_ends_all_workers(tmp_path):
    reason, trials = run(tmp_path, waits(0.2), number_models=500, time_limit=4)
    assert reason is StopReason.TIME_LIMIT
    assert TrialState.RUNNING not in states(trials)
    assert TrialState.COMPLETED in states(trials)


def test_the_parent_ends_workers_that_do_not_notice_the_time_limit(tmp_path):
    def act(plan, earlier):
        if plan.trial_id > 1:
            time.sleep(60)

    def clock():
        """The time is over when the second trial has begun, and the first has ended."""
        return 1000.0 if (tmp_path / "notes" / "2").exists() and finished else 0.0

    finished = []
    session, context = open_pretended(tmp_path, act, number_models=5, callbacks=(finished.append,))
    context = dataclasses.replace(context, interrupts=Interrupts(Deadline(500.0, clock=clock)))
    assert run_in_processes(session, context) is StopReason.TIME_LIMIT
    assert states(session.store.history()[0])[:2] == [TrialState.COMPLETED, TrialState.INTERRUPTED]


def test_a_worker_that_has_grown_is_replaced_between_two_trials(tmp_path):
    def act(plan, earlier):
        import builtins

        builtins.kept = [*getattr(builtins, "kept", []), bytearray(120_000_000)]

    _, trials = run(tmp_path, act, workers=1, number_models=6, worker_memory=0.05)
    assert states(trials) == [TrialState.COMPLETED] * 6
    assert [trial.attempt for trial in trials] == [1] * 6
    assert 2 <= len({trial.result.environment["pid"] for trial in trials}) <= 4


def by_multiprocessing(help_out):
    """As a prefetcher of the user's is started; its worker leaves without ending it."""
    multiprocessing.get_context("fork").Process(target=help_out, daemon=True).start()


def by_a_library(help_out):
    """Where Python does not notice the fork, and the helper ignores the polite signal."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if ctypes.PyDLL(None).fork() == 0:
        help_out()
        os._exit(0)
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("start", [by_multiprocessing, by_a_library])
def test_a_helper_that_a_trial_leaves_behind_ends_with_its_worker(tmp_path, start):
    def help_out():
        (tmp_path / "helper").write_text(str(os.getpid()))
        time.sleep(120)
        (tmp_path / "left alone").touch()

    def act(plan, earlier):
        if plan.trial_id == 1:
            start(help_out)
            while not ((tmp_path / "helper").exists() and (tmp_path / "helper").read_text()):
                time.sleep(0.02)

    reason, trials = run(tmp_path, act, number_models=3)
    assert reason is StopReason.FINISHED
    assert states(trials) == [TrialState.COMPLETED] * 3
    with contextlib.suppress(psutil.NoSuchProcess):
        helper = psutil.Process(int((tmp_path / "helper").read_text()))
        while helper.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.02)
    assert not (tmp_path / "left alone").exists()


def test_a_process_that_a_trial_forks_does_not_keep_the_pipes_of_its_worker_open(tmp_path):
    def is_pipe(descriptor):
        with contextlib.suppress(OSError):
            return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        return False

    def act(plan, earlier):
        forked = os.fork()
        where = tmp_path / ("here" if forked else "forked")
        where.write_text(str([number for number in range(256) if is_pipe(number)]))
        if not forked:
            os._exit(0)
        os.waitpid(forked, 0)

    run(tmp_path, act, workers=1, number_models=1)
    assert (tmp_path / "forked").read_text() == "[]"
    assert (tmp_path / "here").read_text().count(",") == 1  # two of them, so that it would be noticed


def test_workers_wait_for_each_others_last_trials(tmp_path):
    def act(plan, earlier):
        if plan.trial_id == 2:
            time.sleep(1)
            raise ValueError("not this one")

    reason, trials = run(tmp_path, act, number_models=2)
    assert reason is StopReason.FINISHED
    assert states(trials) == [TrialState.COMPLETED, TrialState.FAILED, TrialState.COMPLETED]


def test_a_worker_that_hangs_at_the_end_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(exit_policy, "LEAVING_SECONDS", 1.0)

    def hang(code):
        os.kill(os.getpid(), signal.SIGSTOP)

    def act(plan, earlier):
        os._exit = hang  # of the worker: it has closed the study by then, so that no other waits for the database

    reason, trials = run(tmp_path, act, number_models=2)
    assert reason is StopReason.FINISHED
    assert states(trials) == [TrialState.COMPLETED] * 2


def test_the_log_of_a_failed_trial_says_where_it_failed(tmp_path):
    def act(plan, earlier):
        if plan.trial_id == 1:
            int("no number")

    run(tmp_path, act, workers=1, number_models=1)
    (log,) = (tmp_path / "runs" / "x" / "trials" / "000001").glob("*.log")
    text, line = log.read_text(), act.__code__.co_firstlineno + 2
    assert "Traceback" in text
    assert f", line {line}, in act" in text  # some versions of cloudpickle leave out the file, and so its source lines
    assert "ValueError: invalid literal for int() with base 10: 'no number'" in text


def test_each_worker_has_a_gpu_where_there_are_some(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "gpus", lambda: ["3", "5"])
    _, trials = run(tmp_path, together(tmp_path), number_models=6)
    assert {(trial.worker, trial.result.environment["gpu"]) for trial in trials} == {
        ("worker-1", "3"),
        ("worker-2", "5"),
    }


class Exhausted:
    def __init__(self, models):
        self.models = models

    def plan(self, trial_id, history, attempt=0):
        if trial_id > self.models:
            raise SpaceExhaustedError("everything has been tried")
        return make_plan(trial_id)

    def stops(self, plan, curve, history):
        return False

    def keeping(self, arrays):
        return contextlib.nullcontext()


def test_an_exhausted_space_ends_with_what_there_is(tmp_path):
    for models in (0, 3):
        session, context = open_pretended(tmp_path, waits(0.2), experiment_name=str(models))
        session = dataclasses.replace(session, planner=Exhausted(models))
        if not models:
            with pytest.raises(SpaceExhaustedError, match="tried"):
                run_in_processes(session, context)
        else:
            assert run_in_processes(session, context) is StopReason.EXHAUSTED
            assert session.store.history()[0][2].state is TrialState.COMPLETED


def test_what_cannot_be_sent_is_refused_in_plain_words(tmp_path):
    lock = threading.Lock()
    with pytest.raises(UserError, match="cannot be sent to a worker"):
        run(tmp_path, lambda plan, earlier: lock)


def test_modules_in_a_folder_that_pythonpath_cannot_name_are_found(tmp_path, monkeypatch):
    folder = tmp_path / f"run 12{os.pathsep}30"
    folder.mkdir()
    (folder / "module_of_half_past_twelve.py").write_text("def act(plan, earlier):\n    pass\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "path", [*sys.path, pathlib.Path("passed over")])
    module = importlib.import_module("module_of_half_past_twelve")
    try:
        assert states(run(tmp_path, module.act, number_models=2)[1]) == [TrialState.COMPLETED] * 2
    finally:
        del sys.modules["module_of_half_past_twelve"]


class Unfit:
    def __reduce__(self):
        return (int, ("no number",))


def test_what_a_worker_cannot_open_is_reported(tmp_path):
    unfit = Unfit()
    with pytest.raises(StopStudyError, match=r"cannot use what it was sent .*no number"):
        run(tmp_path, lambda plan, earlier: unfit)


def test_a_worker_that_starts_late_leaves_a_study_alone_that_was_begun_in_place_of_its_own(tmp_path, monkeypatch):
    folder, send = tmp_path / "runs" / "x", child_processes._WorkerProcess._send

    def send_late(worker):
        folder.rename(folder.with_name("moved"))
        folder.mkdir()
        (folder / "study.db").touch()  # another program is about to make its tables
        send(worker)

    session, context = open_pretended(tmp_path, workers=1)
    monkeypatch.setattr(child_processes._WorkerProcess, "_send", send_late)
    monkeypatch.setattr(child_processes._WorkerPool, "_follow", lambda pool: None)  # the worker has to notice
    with pytest.raises(StopStudyError, match="moved, deleted or overwritten"):
        run_in_processes(session, context)
    assert [(path.name, path.stat().st_size) for path in folder.iterdir()] == [("study.db", 0)]


def test_the_users_blocks_are_known_in_workers_under_the_same_numbers(tmp_path):
    @blocks.register_block(lookup_name="MINE_ONLY", init_args={"width": 3})
    class Mine(blocks.Block):
        def __init__(self, width):
            self.width = width

        def build(self, input_tensors, is_training, lengths=None, hparams=None):
            return input_tensors

    number = catalogue.get("MINE_ONLY").enum_id

    def act(plan, earlier):
        from model_search.blocks import catalogue
        from model_search.blocks.registration import make_block

        if catalogue.get("MINE_ONLY").enum_id != number or make_block("MINE_ONLY").width != 3:
            raise ValueError("another block")

    try:
        assert states(run(tmp_path, act, number_models=2)[1]) == [TrialState.COMPLETED] * 2
    finally:
        catalogue.unregister("MINE_ONLY")


A_SHELL = """
import pathlib
import sys
import time
sys.path[:0] = {path!r}
from pretended import open_pretended
from model_search.trainers.executors.child_processes import run_in_processes
def until_joined(plan, earlier):
    while plan.trial_id > 6 and not pathlib.Path({folder!r}, "joined").exists():
        time.sleep(0.05)
    time.sleep(0.3)
session, context = open_pretended({folder!r}, until_joined, number_models=400, tuner_id="first")
run_in_processes(session, context)
"""


def test_a_study_is_joined_from_another_shell_and_survives_the_end_of_the_first(tmp_path):
    (tmp_path / "notes").mkdir()
    code = A_SHELL.format(path=[str(pathlib.Path(__file__).parent), *sys.path], folder=str(tmp_path))
    shell = subprocess.Popen([sys.executable, "-c", code])
    try:
        while len(list((tmp_path / "notes").iterdir())) < 4:
            time.sleep(0.05)
            assert shell.poll() is None
        workers = psutil.Process(shell.pid).children()
        killed = []

        def kill_the_first(trial):
            if not killed and trial.worker.startswith("second"):
                with pytest.raises(StudyError, match=r"is being worked on .*first"):
                    open_pretended(tmp_path, overwrite=True)
                killed.append(trial.id)
                shell.kill()

        def joins(plan, earlier):
            (tmp_path / "joined").touch()
            time.sleep(0.1)

        reason, trials = run(tmp_path, joins, number_models=20, tuner_id="second", callbacks=(kill_the_first,))
    finally:
        shell.kill()
        shell.wait()
    assert reason is StopReason.FINISHED
    assert len([trial for trial in trials if trial.state is TrialState.COMPLETED]) == 20
    assert {trial.worker.partition("-")[0] for trial in trials} == {"first", "second"}
    _, alive = psutil.wait_procs(workers, timeout=120)
    assert len(workers) == 2
    assert not alive


def test_options_of_workers_are_checked(tmp_path):
    for name, value in (("workers", 0), ("workers", "many"), ("tuner_id", ""), ("worker_memory", -1)):
        with pytest.raises(UserError, match=f"{name} is {value!r}"):
            open_pretended(tmp_path, **{name: value})


def test_auto_is_as_many_as_cores_and_memory_allow(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "cores", lambda: 8)
    monkeypatch.setattr(resources, "free_memory", lambda: 64 << 30)
    assert resources.workers_that_fit(data_bytes=1, devices=0)[0] == 8
    assert resources.workers_that_fit(data_bytes=1, devices=2)[0] == 2
    assert resources.workers_that_fit(data_bytes=4 << 30, devices=0)[0] == 3
    assert resources.workers_that_fit(data_bytes=400 << 30, devices=0)[0] == 1
    session, context = open_pretended(tmp_path)
    options = dataclasses.replace(context.options, workers="auto", progress=True)
    assert worker_count(session, options, context.display) == 8


def test_gpus_are_those_that_the_process_may_use():
    assert resources.gpus({"CUDA_VISIBLE_DEVICES": "2, 5"}) == ["2", "5"]
    assert resources.gpus({"CUDA_VISIBLE_DEVICES": ""}) == []
    assert resources.gpus({"CUDA_VISIBLE_DEVICES": "-1"}) == []
