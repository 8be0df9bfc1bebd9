"""Workers that are killed, stopped or out of time: the worker loop, its heartbeat and its watcher."""

import os
import random
import time

import numpy as np
from programs import DATABASE

from model_search.metadata.sqlite_store import SqliteStore
from model_search.metadata.trial import TrialState
from model_search.search.algorithms.registry import make_algorithm
from model_search.search.history.history import History
from model_search.spec.load import load_text

QUICK = {"beat": 0.1, "grace": 2.0}


def trials_of(folder):
    store = SqliteStore(folder / DATABASE)
    trials = store.history()[0]
    store.close()
    return trials


def completed_of(folder):
    return [trial for trial in trials_of(folder) if trial.state is TrialState.COMPLETED]


def exit_policy(folder):
    """How every attempt ended, in order."""
    store = SqliteStore(folder / DATABASE)
    found = store._db.rows("SELECT trial_id, attempt, ending FROM attempts ORDER BY trial_id, attempt")
    store.close()
    return found


def reclaimed_after(folder, trial_id, attempt, since, seconds=300.0):
    """Waits until an attempt has been given up; returns how long that took."""
    store = SqliteStore(folder / DATABASE)
    while store.trial(trial_id).attempt == attempt and store.trial(trial_id).state in ("claimed", "running"):
        assert time.monotonic() - since < seconds, f"trial {trial_id} was never put back"
        time.sleep(0.01)
    store.close()
    return time.monotonic() - since


def test_kills_at_random_moments(start, count, figure, tmp_path):
    times, rng, acknowledged, slowest = count(20, 5), random.Random(2), {}, 0.0
    rescuer = start("search", target=10**6, name="rescuer", seconds=0.1, **QUICK)
    for turn in range(times):
        # Every second one seems to be on another host, where only its silence tells that it is gone.
        program = start("search", target=10**6, seconds=0.05, elsewhere=bool(turn % 2), name=f"w{turn}", **QUICK)
        program.wait_for(lambda thing: "begun" in thing)
        time.sleep(rng.random() * 0.4)
        program.kill()
        killed = time.monotonic()
        acknowledged |= {thing["done"]: thing["loss"] for thing in program.done()}
        for trial in trials_of(tmp_path):
            if trial.worker == f"w{turn}" and trial.state in ("claimed", "running"):
                slowest = max(slowest, reclaimed_after(tmp_path, trial.id, trial.attempt, killed))
    rescuer.kill()
    done = len(completed_of(tmp_path))
    last = start("search", target=done + 5, name="last", **QUICK)
    assert last.join() == 0
    completed = {trial.id: trial.result.metrics["loss"] for trial in completed_of(tmp_path)}
    assert acknowledged.items() <= completed.items()
    assert len(completed) == done + 5
    assert {trial.state for trial in trials_of(tmp_path)} <= {TrialState.COMPLETED, TrialState.LOST}
    assert [trial.id for trial in trials_of(tmp_path)] == list(range(1, len(trials_of(tmp_path)) + 1))
    figure(
        f"SIGKILL at {times} random moments of a trial",
        f"{len(acknowledged)} acknowledged results, 0 lost; stale trials reclaimed after {slowest:.1f} s at most "
        f"(grace time {QUICK['grace']:.0f} s, trials of 0.05 s); budget completed",
    )


def test_a_worker_that_was_stopped(start, count, figure, tmp_path):
    times, refused, target = count(5, 1), 0, 4
    for turn in range(times):
        folder = tmp_path / str(turn)
        folder.mkdir()
        sleeper = start("search", folder=folder, target=10**6, seconds=0.5, name="sleeper", elsewhere=True, **QUICK)
        trial_id = sleeper.wait_for(lambda thing: "begun" in thing)["begun"]
        sleeper.stop()
        other = start("search", folder=folder, target=target, name="other", **QUICK)
        assert other.join() == 0
        assert trial_id in {thing["done"] for thing in other.done()}
        sleeper.go_on()
        sleeper.wait_for(lambda thing: "done" in thing)
        sleeper.kill()
        assert trial_id not in {thing["done"] for thing in sleeper.done()}
        assert [ending for trial, _, ending in exit_policy(folder) if trial == trial_id] == ["vanished", "completed"]
        completions = [trial for trial, _, ending in exit_policy(folder) if ending == "completed"]
        assert len(completions) == len(set(completions))
        refused += 1
    figure(
        f"SIGSTOP past the grace time, then SIGCONT, {times} times",
        f"{refused} late results refused, the worker went on each time, no trial completed twice",
    )


def test_clocks_an_hour_off(start, figure, tmp_path):
    found = []
    for clock in (3600.0, -3600.0):
        folder = tmp_path / str(clock)
        folder.mkdir()
        off = start(
            "search", folder=folder, target=10**6, seconds=0.4, clock=clock, elsewhere=True, name="off", **QUICK
        )
        off.wait_for(lambda thing: "begun" in thing)
        right = start("search", folder=folder, target=10**6, seconds=0.1, name="right", **QUICK)
        time.sleep(1.5 * QUICK["grace"])
        assert all(ending != "vanished" for _, _, ending in exit_policy(folder))
        last = off.done()[-1]["done"] if off.done() else 0
        off.wait_for(lambda thing, after=last: thing.get("done", 0) > after)
        off.kill()
        killed = time.monotonic()
        for trial in trials_of(folder):  # whatever it held, said or not
            if trial.worker == "off" and trial.state in ("claimed", "running"):
                reclaimed_after(folder, trial.id, trial.attempt, killed)
        held = [trial for trial in trials_of(folder) if trial.worker == "off" and not trial.state.is_final]
        assert all(trial.state is TrialState.INTERRUPTED for trial in held)
        right.kill()
        found.append(sum(ending == "vanished" for _, _, ending in exit_policy(folder)))
    figure("a worker's clock an hour off, either way", f"0 false reclaims; {sum(found)} reclaimed after it was killed")


def test_a_killed_search_goes_on_as_an_undisturbed_one(start, count, figure, tmp_path):
    target = 24
    undisturbed, killed = tmp_path / "a", tmp_path / "b"
    undisturbed.mkdir()
    killed.mkdir()
    assert start("search", folder=undisturbed, target=target).join() == 0
    points = count((1, 4, 9, 13, 20), (2, 9))
    for point in points:
        program = start("search", folder=killed, target=target, seconds=0.05)
        program.wait_for(lambda thing, point=point: thing.get("begun") == point)
        program.kill()
    assert start("search", folder=killed, target=target).join() == 0
    plans = [[trial.plan for trial in trials_of(folder)] for folder in (undisturbed, killed)]
    assert plans[0] == plans[1]
    assert [t.result.metrics for t in trials_of(undisturbed)] == [t.result.metrics for t in trials_of(killed)]
    assert len({plan.key for plan in plans[1]}) == target
    attempts = [trial.attempt for trial in trials_of(killed)]
    figure(
        f"kill and resume at {len(points)} points, one seed",
        f"the same {target} plans and results as undisturbed, {sum(attempts) - target} taken up again, 0 repeated",
    )


REPLICAS = """problem_type: DNN search_type: REINFORCE minimum_depth: 4 maximum_depth: 4
blocks_to_use: ["FULLY_CONNECTED", "IDENTITY", "BOTTLENECK_32", "LOWRANK_1"]
learning_spec { optimizers: "adam" } reinforce { replicas: 3 update_every: 2 }"""


def test_replicas_of_a_controller_whose_workers_are_killed(start, count, figure, tmp_path):
    """What the replicas have learnt is in the store alone: who reads it at once or bit by bit has one controller."""
    kills, target = count(10, 2), count(120, 30)
    others = [start("search", target=target, seconds=0.02, name=f"w{i}", spec=REPLICAS, **QUICK) for i in range(2)]
    for turn in range(kills):
        program = start("search", target=target, seconds=0.02, name=f"killed{turn}", spec=REPLICAS, **QUICK)
        program.wait_for(lambda thing: "begun" in thing or "stopped" in thing)
        program.kill()
    assert [program.join() for program in others] == [0, 0]
    trials = sorted(trials_of(tmp_path), key=lambda trial: trial.revision)
    assert len(completed_of(tmp_path)) == target
    spec = load_text(REPLICAS)
    slow, fast = (make_algorithm(spec) for _ in range(2))
    histories = [History("loss", "minimize") for _ in range(2)]
    for trial in trials:
        histories[0].update([trial])
        slow.propose(histories[0], np.random.default_rng(trial.id))
    histories[1].update(trials)
    proposals = [
        algorithm.propose(history, np.random.default_rng(0))
        for algorithm, history in zip((slow, fast), histories, strict=True)
    ]
    assert proposals[0] == proposals[1]
    learnt = fast._learnt
    assert {replica for replica, _ in learnt.marks} == {0, 1, 2} and learnt.controller.updates == target // 2
    figure(
        f"SIGKILL of workers of three replicas of a controller, {kills} times",
        f"{target} towers in {learnt.controller.updates} updates, none lost; one controller for all who read the store",
    )


def test_trials_that_go_wrong(start, count, figure, tmp_path):
    target = count(100, 30)
    program = start("search", target=target, fails=0.3)
    assert program.join() == 0
    assert program.said()[-1] == {"stopped": "finished"}
    trials = trials_of(tmp_path)
    failed = [trial for trial in trials if trial.state is TrialState.FAILED]
    completed = [trial for trial in trials if trial.state is TrialState.COMPLETED]
    assert len(completed) == target
    assert len(failed) + len(completed) == len(trials)
    best = min(trial.result.metrics["loss"] for trial in completed)
    assert 0 <= best < 1
    assert all(trial.reason for trial in failed)
    store = SqliteStore(tmp_path / DATABASE)
    columns = "json_valid(plan) AND (result IS NULL OR json_valid(result) AND result NOT LIKE '%NaN%')"
    assert store._db.value(f"SELECT count(*) FROM trials WHERE {columns}") == len(trials)
    store.close()
    reasons = len({trial.reason.split(":")[0] for trial in failed})
    figure(
        "30 % of trials raise or return NaN, infinity, None",
        f"{len(trials)} trials ended, {len(failed)} failed for {reasons} kinds of reason, best finite, JSON strict",
    )


def test_a_worker_that_dies_with_its_server_is_gone(start, tmp_path):
    """The tests themselves leave nothing behind."""
    program = start("hold")
    program.wait_for(lambda thing: isinstance(thing, int))
    assert program.kill() == -9
    assert not os.path.exists(f"/proc/{program.pid}/exe")  # noqa: PTH110
