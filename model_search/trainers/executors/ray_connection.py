"""The Ray cluster that runs trials: the one that can be found, or one that is started on this machine, for it alone."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from model_search.errors import StopStudyError, UserError

# Where Ray looks for a cluster before it looks on this machine.
_ADDRESS = "RAY_ADDRESS"
# Set to 0, Ray's processes listen on 127.0.0.1 alone. Ray reads it when it is imported, its processes when they start.
_ON_NETWORKS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_LOOPBACK = "127.0.0.1"
_LONGEST_FOLDER = 35  # bytes: Ray adds about 65, and the path of a Unix socket has at most 103


@dataclasses.dataclass(frozen=True)
class Connection:
    """A cluster that this program is connected to."""

    ray: Any  # the module
    logs: str  # a sentence that says where Ray's logs are


@contextlib.contextmanager
def connected() -> Iterator[Connection]:
    """Connects to the cluster that `ray.init()` finds; where there is none, starts one on this machine until the end.

    What is started here listens on 127.0.0.1, has no dashboard, and keeps its sockets and logs in a folder that only
    this user can enter. The folder is deleted in the end, unless the search could not go on: then its logs are of use.

    Raises:
        UserError: if Ray is not installed, no cluster can be reached, or none can be started.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError("executor='ray' needs Ray: pip install model_search[ray]") from error
    with contextlib.ExitStack() as stack:
        logs = "Ray's own logs say more."
        if not ray.is_initialized():
            if _can_be_found():
                _connect(ray, stack)
            else:
                logs = f"Ray's own logs are in {_start(ray, stack) / 'session_latest' / 'logs'}."
        if ray.util.client.ray.is_connected():
            raise UserError(
                "this program is a Ray client (ray://...), but the study must lie on a machine of the cluster; run the "
                "program on one of its machines"
            )
        yield Connection(ray, logs)


def _can_be_found() -> bool:
    """Whether `ray.init()` would connect to a cluster, and not start one."""
    given = os.environ.get(_ADDRESS)
    if given:
        return given != "local"
    from ray._private.utils import read_ray_address

    return bool(read_ray_address())


def _connect(ray: Any, stack: contextlib.ExitStack) -> None:
    stack.callback(ray.shutdown)
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(
            f"no Ray cluster can be reached ({error}); start one with `ray start --head`, or unset RAY_ADDRESS to use "
            "this machine alone"
        ) from error


def _start(ray: Any, stack: contextlib.ExitStack) -> pathlib.Path:
    """Starts a cluster of this machine alone; returns the folder of its sessions."""
    folder = stack.enter_context(_folder())
    stack.callback(ray.shutdown)
    try:
        with _on_loopback():
            ray.init(
                "local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=str(folder),
            )
    except Exception as error:  # Ray raises `Exception` itself where it does not start in time
        raise UserError(
            f"Ray cannot be started on this machine ({type(error).__name__}: {error}); without it, workers=... runs "
            "trials in several processes of this machine"
        ) from error
    (node,) = ray.nodes()
    if node["NodeManagerAddress"] != _LOOPBACK:
        raise UserError(
            f"this version of Ray ({ray.__version__}) opens ports on {node['NodeManagerAddress']} for a search on this "
            "machine alone; start a cluster yourself with `ray start --head` if this network may reach it"
        )
    return folder


@contextlib.contextmanager
def _folder() -> Iterator[pathlib.Path]:
    """A folder for one cluster, which nobody else can enter: whoever reaches Ray's sockets can run code."""
    base = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(os.fsencode(base)) > _LONGEST_FOLDER:
        base = "/tmp"  # noqa: S108 - mkdtemp makes a private folder there; longer paths are refused for sockets
    outer = tempfile.mkdtemp(prefix="ray-", dir=base)
    try:
        yield pathlib.Path(outer) / "r"  # which Ray makes, and opens to everybody
    except StopStudyError:
        raise
    except BaseException:
        shutil.rmtree(outer, ignore_errors=True)
        raise
    else:
        shutil.rmtree(outer, ignore_errors=True)


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """What Ray starts meanwhile listens on 127.0.0.1 only."""
    from ray._private import ray_constants

    before, constant = os.environ.get(_ON_NETWORKS), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[_ON_NETWORKS] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = constant
        if before is None:
            del os.environ[_ON_NETWORKS]
        else:
            os.environ[_ON_NETWORKS] = before
