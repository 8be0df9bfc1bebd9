"""Ray for tests: several nodes on this machine, apart from any other cluster here, in a folder that is deleted.

What decides on a busy machine is Ray's own limits of time, so they are raised; a node that is killed is still noticed
within seconds, since its port is closed. The object stores are so small that Ray puts them elsewhere where /dev/shm is
small, as in containers.
"""

import contextlib
import os
import secrets
import shutil
import signal
import sys
import tempfile

import psutil
import pytest

MEMORY = 80 * 2**20  # of a node's object store; Ray wants 75 MiB at least
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",  # RAY_AUTH_TOKEN is drawn anew, and so nothing is written to ~/.ray
    "RAY_memory_monitor_refresh_ms": "0",  # the memory of other programs here ends no worker
    "RAY_gcs_server_port_wait_time_s": "600",
    "RAY_gcs_server_request_timeout_seconds": "600",
    "RAY_gcs_rpc_server_connect_timeout_s": "600",
    "RAY_py_gcs_connect_timeout_s": "600",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_agent_register_timeout_ms": "600000",
    # This one is no limit, but the time between two attempts, of which the first may come before there is a socket.
    "RAY_raylet_client_connect_timeout_milliseconds": "100",
    "RAY_raylet_client_num_connect_attempts": "6000",
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "6",
    "RAY_health_check_timeout_ms": "60000",  # of a node that is there, but busy
}
_ATTEMPTS = 5  # to start a node: 30 seconds for each are fixed in Ray


@contextlib.contextmanager
def own_ray():
    """Variables of a Ray that shares nothing with others on this machine; what it leaves is ended and deleted."""
    folder = tempfile.mkdtemp(prefix="ms-", dir="/tmp")  # a short path: sockets are made in it
    try:
        yield ENVIRONMENT | {"RAY_TMPDIR": folder, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    finally:
        end(processes_in(folder))
        shutil.rmtree(folder, ignore_errors=True)


def processes_in(folder):
    """Processes other than this one whose Ray is in a folder.

    They have it in their environment, or are children of one that has: a process that names itself loses its own.
    """
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("RAY_TMPDIR") == str(folder):
                found |= {one.pid: one for one in (process, *process.children(recursive=True))}
    return [process for pid, process in found.items() if pid != os.getpid()]


def end(processes):
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=60)


@pytest.fixture(scope="session")
def ray():
    """The module, imported with the settings of tests; what they leave is gone in the end."""
    with own_ray() as settings, pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # on 127.0.0.1 alone
        import ray

        yield ray
        ray.shutdown()


@pytest.fixture(scope="module")
def cluster(ray):
    """Two nodes, to which the tests' process is connected. One cluster for a file: idle nodes disturb other tests."""
    from ray.cluster_utils import Cluster

    handler = signal.getsignal(signal.SIGTERM)  # which Ray replaces
    made = Cluster(shutdown_at_exit=True)
    try:
        add_node(made, num_cpus=1, include_dashboard=False, no_monitor=True)
        add_node(made, num_cpus=1)
        ray.init(address=made.address, log_to_driver=False)
        yield made
    finally:
        ray.shutdown()
        made.shutdown()
        signal.signal(signal.SIGTERM, handler)


def add_node(cluster, **settings):
    """Starts a node, again where the machine is too busy for Ray's limit."""
    for attempt in range(1, _ATTEMPTS + 1):
        others = processes_in(os.environ["RAY_TMPDIR"])
        try:
            return cluster.add_node(object_store_memory=MEMORY, include_log_monitor=False, **settings)
        except Exception as error:
            if "timed out" not in str(error).lower() or attempt == _ATTEMPTS:
                raise
            print(f"a node did not start: {error}", file=sys.stderr)
            end([process for process in processes_in(os.environ["RAY_TMPDIR"]) if process not in others])
    raise AssertionError
