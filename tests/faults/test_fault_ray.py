"""Ray's nodes and programs that die in the middle, the documented commands, and who can reach what is started."""

import contextlib
import ipaddress
import json
import os
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest
from pretended import nothing, open_pretended
from ray_nodes import MEMORY, add_node, own_ray, processes_in

import model_search
from model_search.metadata.trial import TrialState
from model_search.trainers.executors.ray_cluster import run_on_ray
from model_search.trainers.worker import StopReason

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")


def run(folder, act=nothing, **changes):
    session, context = open_pretended(folder, act, **({"workers": None, "executor": "ray"} | changes))
    with context.interrupts:
        assert run_on_ray(session, context) is StopReason.FINISHED
    return session.store.history()[0]


def test_nodes_that_are_killed_lose_no_trial(cluster, tmp_path, figure, count):
    times, again = count(3, 1), 0
    for number in range(times):
        node = add_node(cluster, num_cpus=2)
        doomed, seen = node.node_id, tmp_path / f"seen{number}"

        def act(plan, earlier, doomed=doomed, seen=seen):
            import ray

            while ray.get_runtime_context().get_node_id() == doomed:  # until it is killed
                seen.touch()
                time.sleep(0.05)
            while not seen.exists():  # or the other node has done all trials before this one has begun
                time.sleep(0.02)

        def kill(node=node, seen=seen):
            while not seen.exists():
                time.sleep(0.02)
            cluster.remove_node(node, allow_graceful=False)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        folder = tmp_path / str(number)
        folder.mkdir()
        trials = run(folder, act, number_models=12)
        killer.join()
        assert [trial.state for trial in trials] == [TrialState.COMPLETED] * 12
        assert {trial.attempt for trial in trials} > {1}
        again += sum(trial.attempt > 1 for trial in trials)
    figure(
        f"a Ray node is killed in the middle, {times} times",
        f"{12 * times} of {12 * times} trials completed, {again} of them run again on another node",
    )


DRIVER = """
import sys, time
import ray
from pretended import open_pretended
from model_search.trainers.executors.ray_cluster import run_on_ray

def act(plan, earlier):
    while plan.trial_id > {most}:  # until the search is killed
        time.sleep(0.05)

ray.init(address={address!r}, log_to_driver=False)
session, context = open_pretended({folder!r}, act, workers=2, executor="ray", number_models=40)
run_on_ray(session, context)
"""


def test_a_driver_that_is_killed_and_started_again_continues(cluster, tmp_path, figure, count):
    times, kept = count(3, 1), 0
    path = os.pathsep.join([str(ROOT / "tests" / "trainers"), *filter(None, sys.path)])
    for number in range(times):
        folder = tmp_path / str(number)
        (folder / "notes").mkdir(parents=True)
        code = DRIVER.format(most=3, folder=str(folder), address=cluster.address)
        driver = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path})
        while len(list((folder / "notes").iterdir())) < 5:  # three are done, two in the middle
            time.sleep(0.02)
            assert driver.poll() is None
        driver.kill()
        driver.wait()
        trials = run(folder, number_models=12)
        assert [trial.state for trial in trials] == [TrialState.COMPLETED] * 12
        runs = [len((folder / "notes" / str(trial.id)).read_text().split()) for trial in trials]
        assert runs == [1] * 3 + [2] * 2 + [1] * 7  # each line of a note is a run
        kept += 3
    figure(
        f"the program of a search on Ray is killed and started again, {times} times",
        f"{12 * times} of {12 * times} trials completed; {kept} results kept, {2 * times} trials run again",
    )


@pytest.fixture
def beside(tmp_path):
    """Variables of a Ray beside the one of the tests, as of a user with no settings, with a home of its own."""
    with own_ray() as settings:
        ours = {name: value for name, value in settings.items() if "AUTH" not in name}
        others = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        yield {**others, **ours, "HOME": str(tmp_path)}


def call(words, environment, folder):
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


# `ray stop` ends every Ray of this user. Here it sees the processes of one cluster only.
RAY = f"""
import os, sys
sys.path.append({str(ROOT / "tests")!r})
import psutil
from ray_nodes import processes_in

ours = processes_in(os.environ["RAY_TMPDIR"])
psutil.process_iter = lambda *arguments, **named: ours
sys.argv[0] = "ray"
from ray.scripts.scripts import main
main()
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def ray_command(words, environment, folder):
    """Runs a documented command of Ray; `ray start` again, as often as the machine is too busy for Ray's limits."""
    more = []
    if words[1] == "start":  # small, and without processes that are not needed here
        more = [f"--object-store-memory={MEMORY}", "--num-cpus=1", "--no-monitor", "--include-log-monitor=false"]
    before = {process.pid for process in processes_in(environment["RAY_TMPDIR"])}
    for _ in range(4):
        try:
            return call([sys.executable, "-c", RAY, *words[1:], *more], environment, folder)
        except AssertionError as error:
            if "timed out" not in str(error):
                raise
            left = [one for one in processes_in(environment["RAY_TMPDIR"]) if one.pid not in before]
            for process in left:  # they hold the port that the next attempt takes
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left)
    return call([sys.executable, "-c", RAY, *words[1:], *more], environment, folder)


def test_the_documented_commands_run_on_two_nodes(cluster, beside, tmp_path, figure, full):
    port = free_port()
    commands = [shlex.split(line) for line in re.findall(r"^(?:first|second)\$ +(.*)$", PAGE, re.MULTILINE)]
    assert [words[:2] for words in commands] == [
        ["export", "RAY_AUTH_MODE=token"], ["ray", "get-auth-token"], ["ray", "start"],
        ["export", "RAY_AUTH_MODE=token"], ["ray", "start"], ["ray", "stop"], ["ray", "stop"],
    ]  # fmt: skip
    (search,) = re.findall(r"^model_search (.*)$", PAGE, re.MULTILINE)
    for words in commands[:5]:
        if words[0] == "export":
            beside |= [words[1].split("=")]
            continue
        local = [word.replace("6379", str(port)).replace("first", "127.0.0.1") for word in words]
        ray_command(local, beside, tmp_path)
    assert (tmp_path / ".ray" / "auth_token").is_file()

    words = shlex.split(search.replace("train.csv", str(ROOT / "data" / "wine.csv")).replace("income", "cultivar"))
    words += ["--experiment_max_num_trials=4", "--phoenix_train_steps=40", "--experiment_owner=me"]
    said = call([sys.executable, "-m", "model_search", *words], beside, tmp_path)
    assert "workers: 2, on a Ray cluster of 2 machines" in said
    number = 4
    if full:
        number = 6
        (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
        code = (
            "from model_search import constants, single_trainer\nfrom model_search.data import csv_data\n"
            f"provider = csv_data.Provider(filename={str(ROOT / 'data' / 'wine.csv')!r}, label='cultivar')\n"
            "trainer = single_trainer.SingleTrainer(provider, constants.DEFAULT_TABULAR)\n"
            + snippet.replace("number_models=1000", "number_models=6").replace("_steps=1000", "_steps=40")
        )
        call([sys.executable, "-c", code], beside, tmp_path)
    trials = model_search.load_study(tmp_path / "runs", "adult").trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETED] * number
    assert {trial.worker for trial in trials} <= {"ray-1", "ray-2"}

    ours = processes_in(beside["RAY_TMPDIR"])
    for words in commands[5:]:
        ray_command(words, beside, tmp_path)
    psutil.wait_procs(ours, timeout=120)
    assert [process for process in ours if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
    assert len(cluster.list_all_nodes()) == 2
    assert all(node.remaining_processes_alive() for node in cluster.list_all_nodes())  # the other cluster goes on
    figure(
        "the commands of docs/cluster.md on two nodes",
        f"token, `ray start` twice, a search of {number} trials on 2 machines, `ray stop`; {len(ours)} processes "
        "ended, another cluster on the machine undisturbed",
    )


STARTED = """
import json, os, pathlib, stat, sys
import psutil
from ray_nodes import processes_in
from model_search.trainers.executors.ray_connection import connected

found = []
for again in range(2):  # the second time Ray has been imported before
    with connected() as connection:
        answer = connection.ray.remote(lambda: 1).remote()
        assert connection.ray.get(answer) == 1
        (folder,) = pathlib.Path(os.environ["RAY_TMPDIR"]).iterdir()
        mode = stat.S_IMODE(folder.stat().st_mode)
        processes = [psutil.Process(), *processes_in(os.environ["RAY_TMPDIR"])]
        sockets = []
        for process in processes:
            try:
                sockets += [(one.laddr.ip, one.laddr.port, process.name()) for one in process.net_connections("inet")
                            if one.status in ("LISTEN", "NONE") and one.laddr]
            except psutil.Error:
                pass  # it has ended meanwhile
    gone, left = psutil.wait_procs(processes[1:], timeout=300)
    found.append({"mode": mode, "sockets": sockets, "processes": len(processes), "left": len(left),
                  "folders": len(list(pathlib.Path(os.environ["RAY_TMPDIR"]).iterdir()))})
print(json.dumps(found))
"""


def test_nobody_else_reaches_the_cluster_that_is_started_here(beside, tmp_path, figure):
    path = os.pathsep.join([str(ROOT / "tests"), *filter(None, sys.path)])
    for attempt in range(5):
        done = subprocess.run(
            [sys.executable, "-c", STARTED],
            env={**beside, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0 or "timed out" not in done.stderr or attempt == 4:
            break
    assert done.returncode == 0, done.stderr
    both = json.loads(done.stdout.splitlines()[-1])
    for found in both:
        assert len(found["sockets"]) >= 4, "Ray's own ports were not seen"
        for address, port, process in found["sockets"]:
            ip = ipaddress.ip_address(address)
            assert (getattr(ip, "ipv4_mapped", None) or ip).is_loopback, f"{process} listens on {address}:{port}"
        assert found["mode"] == 0o700
        assert found["left"] == 0
        assert found["folders"] == 0
    figure(
        "who can reach the Ray that is started for one machine",
        f"{len(both[0]['sockets'])} sockets of {both[0]['processes']} processes listen, all on 127.0.0.1; its "
        "folder is closed to others, and deleted in the end with all processes",
    )
