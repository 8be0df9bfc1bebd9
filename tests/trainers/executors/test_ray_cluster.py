"""Trials on a Ray cluster of two nodes on this machine. Trials are pretended; nodes, actors and deaths are real."""

import os
import pathlib
import shlex
import subprocess
import sys
import threading
import time

import pytest
from pretended import fails, nothing, open_pretended, waits

import model_search
from model_search.errors import StopStudyError, StudyError, UserError
from model_search.metadata.artefacts import load_arrays
from model_search.metadata.trial import TrialState
from model_search.trainers.executors.ray_cluster import run_on_ray
from model_search.trainers.worker import MAX_FAILURES_IN_A_ROW, StopReason

ray = pytest.importorskip("ray", reason="Ray is an extra")

ROOT = pathlib.Path(__file__).parents[2]
MEMORY = 80 * 2**20


@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    from ray.cluster_utils import Cluster

    quick = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    head = {"num_cpus": 1, "object_store_memory": MEMORY, "_system_config": quick}
    made = Cluster(initialize_head=True, head_node_args=head)
    made.add_node(num_cpus=1, object_store_memory=MEMORY)
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def run(folder, act=nothing, **changes):
    session, context = open_pretended(folder, act, **({"workers": None, "executor": "ray"} | changes))
    with context.interrupts:
        return run_on_ray(session, context), session


def states(session):
    return [trial.state for trial in session.store.history()[0]]


def test_every_node_works_and_files_and_logs_come_here(cluster, tmp_path):
    seen = []
    reason, session = run(tmp_path, waits(0.3), callbacks=(lambda trial: seen.append(trial.id),), number_models=8)
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
    assert len(list((tmp_path / "shared" / "x" / "trials").glob("*/*.npz"))) == 4
    for trial in session.store.history()[0]:
        assert len(load_arrays(session.artefacts, trial.result.artefacts[0])) == 1
    with pytest.raises(StudyError, match="keeps its files in file://"):
        open_pretended(tmp_path, artefacts="/elsewhere")
    assert states(run(tmp_path, number_models=3)[1]) == [TrialState.COMPLETED] * 3
    assert len(list((tmp_path / "shared" / "x" / "trials").glob("*/*.npz"))) == 6


def test_a_node_that_is_lost_in_the_middle_loses_no_trial(cluster, tmp_path):
    node = cluster.add_node(num_cpus=2, object_store_memory=MEMORY)
    doomed, seen = node.node_id, tmp_path / "seen"

    def act(plan, earlier):
        import ray

        if ray.get_runtime_context().get_node_id() == doomed:
            seen.touch()
            time.sleep(60)  # longer than the node has to live

    def kill():
        while not seen.exists():
            time.sleep(0.05)
        cluster.remove_node(node, allow_graceful=False)

    threading.Thread(target=kill, daemon=True).start()
    reason, session = run(tmp_path, act, number_models=12)
    assert reason is StopReason.FINISHED
    trials = session.store.history()[0]
    assert states(session) == [TrialState.COMPLETED] * 12
    assert max(trial.attempt for trial in trials) == 2


def test_failures_in_a_row_stop_everybody(cluster, tmp_path):
    with pytest.raises(StopStudyError, match=f"{MAX_FAILURES_IN_A_ROW} trials in a row have failed.*no luck"):
        run(tmp_path, fails)


def test_ctrl_c_puts_everything_back(cluster, tmp_path):
    session, context = open_pretended(tmp_path, waits(0.3), workers=2, executor="ray", number_models=50)

    def press():
        while len(list((tmp_path / "notes").iterdir())) < 3:
            time.sleep(0.05)
        context.interrupts.ask()

    threading.Thread(target=press, daemon=True).start()
    assert run_on_ray(session, context) is StopReason.INTERRUPTED
    assert set(states(session)) <= {TrialState.COMPLETED, TrialState.INTERRUPTED}
    done = len(states(session))
    assert states(run(tmp_path, number_models=done)[1]) == [TrialState.COMPLETED] * done


DRIVER = """
import sys
sys.path[:0] = {path!r}
import ray
from pretended import open_pretended, waits
from model_search.trainers.executors.ray_cluster import run_on_ray
ray.init(address={address!r}, log_to_driver=False)
session, context = open_pretended({folder!r}, waits(0.3), workers=2, executor="ray", number_models=40)
run_on_ray(session, context)
"""


def test_a_driver_that_is_killed_and_started_again_goes_on(cluster, tmp_path):
    (tmp_path / "notes").mkdir()
    path = [str(pathlib.Path(__file__).parent), *sys.path]
    code = DRIVER.format(path=path, folder=str(tmp_path), address=cluster.address)
    driver = subprocess.Popen([sys.executable, "-c", code])
    while len(list((tmp_path / "notes").iterdir())) < 4:
        time.sleep(0.05)
        assert driver.poll() is None
    driver.kill()
    driver.wait()
    reason, session = run(tmp_path, number_models=12)
    assert reason is StopReason.FINISHED
    assert states(session) == [TrialState.COMPLETED] * 12


def test_the_documented_command_runs(cluster, tmp_path):
    (command,) = [
        line for line in (ROOT / "docs" / "cluster.md").read_text().splitlines() if line.startswith("model_search ")
    ]
    words = shlex.split(command.replace("train.csv", str(ROOT / "data" / "wine.csv")).replace("income", "cultivar"))[1:]
    words += ["--experiment_max_num_trials=4", "--phoenix_train_steps=40", "--resources=cpu=0.5"]
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    command = [sys.executable, "-m", "model_search", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "on a Ray cluster of" in done.stderr
    trials = model_search.load_study(tmp_path / "runs", "adult").trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETED] * 4
    assert {trial.worker[:4] for trial in trials} == {"ray-"}


def test_options_of_ray_are_checked(tmp_path):
    for name, value in (("executor", "slurm"), ("resources", {"cpu": 1}), ("artefacts", "")):
        with pytest.raises(UserError, match=f"{name} is "):
            open_pretended(tmp_path, **{name: value})
    with pytest.raises(UserError, match="amounts by name"):
        open_pretended(tmp_path, executor="ray", resources={"cpu": "many"})
    with pytest.raises(UserError, match="cannot be used"):
        open_pretended(tmp_path, executor="ray", artefacts="nosuch://bucket")
