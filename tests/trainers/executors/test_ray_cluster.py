"""Trials on a Ray cluster of two nodes on this machine. Trials are pretended; nodes, actors and deaths are real."""

import contextlib
import os
import threading
import time

import pytest
from pretended import fails, nothing, open_pretended, together

from model_search.errors import StopStudyError, StudyError, UserError
from model_search.metadata.artefacts import load_arrays
from model_search.metadata.trial import TrialState
from model_search.trainers.executors.ray_cluster import run_on_ray
from model_search.trainers.worker import MAX_FAILURES_IN_A_ROW, StopReason


def run(folder, act=nothing, **changes):
    session, context = open_pretended(folder, act, **({"workers": None, "executor": "ray"} | changes))
    with context.interrupts:
        return run_on_ray(session, context), session


def states(session):
    return [trial.state for trial in session.store.history()[0]]


def test_every_node_works_and_files_and_logs_come_here(cluster, tmp_path):
    seen = []
    reason, session = run(
        tmp_path, together(tmp_path), callbacks=(lambda trial: seen.append(trial.id),), number_models=8
    )
    assert reason is StopReason.FINISHED
    trials = session.store.history()[0]
    assert states(session) == [TrialState.COMPLETED] * 8
    assert sorted(seen) == list(range(1, 9))
    assert {trial.worker for trial in trials} == {"ray-1", "ray-2"}
    for trial in trials:
        assert len(load_arrays(session.artefacts, trial.result.artefacts[0])) == 1
        log = session.folder / "trials" / f"{trial.id:06d}" / f"{trial.worker}.log"
        assert f"trial {trial.id} has completed" in log.read_text()


def test_files_may_go_to_a_place_that_all_machines_see(cluster, tmp_path):
    url = f"file://{tmp_path / 'shared'}"
    _, session = run(tmp_path, number_models=2, artefacts=url)
    assert len(list((tmp_path / "shared").glob("x-*/trials/*/*.npz"))) == 4
    for trial in session.store.history()[0]:
        assert len(load_arrays(session.artefacts, trial.result.artefacts[0])) == 1
    with pytest.raises(StudyError, match="keeps its files in 'file://"):
        open_pretended(tmp_path, artefacts="/elsewhere")
    with pytest.raises(StudyError, match="only if you name it"):
        open_pretended(tmp_path)
    assert states(run(tmp_path, number_models=3, artefacts=url)[1]) == [TrialState.COMPLETED] * 3
    assert len(list((tmp_path / "shared").glob("x-*/trials/*/*.npz"))) == 6


def test_failures_in_a_row_stop_everybody(cluster, tmp_path):
    with pytest.raises(StopStudyError, match=f"{MAX_FAILURES_IN_A_ROW} trials in a row have failed.*no luck"):
        run(tmp_path, fails)


def test_ctrl_c_puts_everything_back(cluster, tmp_path):
    pressed = tmp_path / "pressed"

    def act(plan, earlier):
        while plan.trial_id > 3 and not pressed.exists():
            time.sleep(0.02)

    session, context = open_pretended(tmp_path, act, workers=2, executor="ray", number_models=50)

    def press():
        while len(list((tmp_path / "notes").iterdir())) < 4:
            time.sleep(0.02)
        context.interrupts.ask()
        pressed.touch()

    threading.Thread(target=press, daemon=True).start()
    assert run_on_ray(session, context) is StopReason.INTERRUPTED
    assert set(states(session)) <= {TrialState.COMPLETED, TrialState.INTERRUPTED}
    done = len(states(session))
    assert states(run(tmp_path, number_models=done)[1]) == [TrialState.COMPLETED] * done


@contextlib.contextmanager
def another_program(folder, act):
    """It holds trials 1 and 2, by workers of the same names, until the file "released" is there; then it ends well."""
    ended = []
    (folder / "notes").mkdir()
    program = threading.Thread(target=lambda: ended.append(run(folder, act, number_models=2)[0]))
    program.start()
    try:
        while len(list((folder / "notes").iterdir())) < 2 and program.is_alive():
            time.sleep(0.02)
        yield
    finally:
        (folder / "released").touch()
        program.join()
    assert ended == [StopReason.FINISHED]


def test_ctrl_c_leaves_the_trials_of_another_program_alone(cluster, tmp_path):
    released = tmp_path / "released"

    def act(plan, earlier):
        while not released.exists():
            time.sleep(0.02)

    with another_program(tmp_path, act):
        session, context = open_pretended(tmp_path, act, workers=2, executor="ray", number_models=4)
        context.display.note = lambda text: context.interrupts.ask()  # when the number of workers is shown
        assert run_on_ray(session, context) is StopReason.INTERRUPTED
        assert states(session) == [TrialState.RUNNING] * 2


def test_a_worker_that_dies_leaves_the_trials_of_another_program_alone(cluster, tmp_path):
    released = tmp_path / "released"

    def act(plan, earlier):
        if plan.trial_id == 3 and not earlier:
            os._exit(1)
        if earlier:
            released.touch()
        while not released.exists():
            time.sleep(0.02)

    with another_program(tmp_path, act):
        reason, session = run(tmp_path, act, workers=1, number_models=3, resources={"cpu": 0})  # there is no CPU left
    assert reason is StopReason.FINISHED
    assert states(session) == [TrialState.COMPLETED] * 3
    assert [trial.attempt for trial in session.store.history()[0]] == [1, 1, 2]


def test_options_of_ray_are_checked(tmp_path):
    for name, value in (("executor", "slurm"), ("resources", {"cpu": 1}), ("artefacts", "")):
        with pytest.raises(UserError, match=f"{name} is "):
            open_pretended(tmp_path, **{name: value})
    with pytest.raises(UserError, match="amounts by name"):
        open_pretended(tmp_path, executor="ray", resources={"cpu": "many"})
    with pytest.raises(UserError, match="cannot be used"):
        open_pretended(tmp_path, executor="ray", artefacts="nosuch://bucket")
