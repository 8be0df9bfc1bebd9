"""The only module that imports TensorFlow for training: quietly, with threads that suit small networks."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import platform
import threading
import time
from collections.abc import Iterator
from typing import Any

from model_search.problem import problem_type

_LOG = logging.getLogger(__name__)
_LOADING = threading.Lock()
_LOADED: list[Any] = []
_DETERMINISTIC: list[bool] = []
_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
_SIDE_BY_SIDE = 4  # independent operations of a tower


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def tensorflow(intra_threads: int = 1, inter_threads: int | None = None) -> Any:
    """TensorFlow, imported and configured on the first call; a later call with other numbers changes nothing.

    A batch of 32 rows is too little work to divide, unless they are maps (`threads_within`): handing parts of one
    operation to other threads doubles the time of a small tower's step. Independent operations (the two products of a
    layer's gradient, the updates of different layers) do run in parallel.

    Args:
        intra_threads: Threads within one operation.
        inter_threads: Operations at a time; None for the number of cores, as far as a tower can use them.
    """
    with _LOADING:
        if not _LOADED:
            _LOADED.append(_load(intra_threads, inter_threads))
    return _LOADED[0]


def threads_within(problem: str, threads: int | None = None) -> int:
    """Threads within one operation: all where rows are maps, whose convolutions are work enough to divide; else one.

    Args:
        problem: Name of the problem type.
        threads: Those that a process may use; None for the number of cores.
    """
    return (threads or available_cores()) if problem_type(problem).reads_maps else 1


def _load(intra_threads: int, inter_threads: int | None) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # TensorFlow itself turns it on for processors with AVX-512 alone. With AVX2 convolutions take 0.7 of the time, too.
    os.environ.setdefault(_ONEDNN, "1")
    started = time.perf_counter()
    with _without_collections(), _silenced_stderr():
        import keras  # noqa: F401  (it loads libraries that write, too)
        import tensorflow as tf
    try:
        tf.config.threading.set_intra_op_parallelism_threads(intra_threads)
        tf.config.threading.set_inter_op_parallelism_threads(inter_threads or min(available_cores(), _SIDE_BY_SIDE))
    except RuntimeError:
        _LOG.debug("TensorFlow was in use before Model Search; its threads stay as they are")
    # The objects of the import live for ever. Frozen, they are not traversed: a collection after each trial then takes
    # a few milliseconds instead of a tenth of a second.
    gc.collect()
    gc.freeze()
    _LOG.debug("TensorFlow %s imported in %.1f s", tf.__version__, time.perf_counter() - started)
    return tf


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """An import makes objects that stay: looking for garbage among them takes up to a tenth of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def make_deterministic() -> None:
    """From now on this process uses only deterministic operations, as far as TensorFlow has them.

    An operation without a deterministic version raises, and the trial fails. This cannot be undone.
    """
    tf = tensorflow()
    tf.config.experimental.enable_op_determinism()
    _DETERMINISTIC.append(True)


@contextlib.contextmanager
def without_grappler() -> Iterator[None]:
    """Graphs made and called inside are not rewritten: for a trial's graphs that costs more than it gains."""
    tf = tensorflow()
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({**before, "disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options(
            {**before, "disable_meta_optimizer": before.get("disable_meta_optimizer", False)}
        )


def environment() -> dict[str, Any]:
    """What a result depends on besides the plan: versions, CPU, threads, device (JSON-able)."""
    tf = tensorflow()  # first, so that Keras does not load it noisily

    import keras
    import numpy as np

    gpus = tf.config.list_physical_devices("GPU")
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "cpu": _cpu_name(),
        "cores": available_cores(),
        "intra_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_threads": tf.config.threading.get_inter_op_parallelism_threads(),
        "onednn": os.environ.get(_ONEDNN) == "1",
        "deterministic": bool(_DETERMINISTIC),
        "device": ", ".join(_gpu_name(tf, number, gpu) for number, gpu in enumerate(gpus)) or "CPU",
        "platform": platform.platform(),
    }


def _gpu_name(tf: Any, number: int, gpu: Any) -> str:
    """Its number on the machine and its model: "GPU 1 (NVIDIA H200)"."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    shown = visible[number] if number < len(visible) and visible[number] else str(number)
    return f"GPU {shown} ({tf.config.experimental.get_device_details(gpu).get('device_name', 'unknown')})"


def _cpu_name() -> str:
    """Its name with family and model, since virtual machines name several generations alike."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            first = next(iter(lines.read().split("\n\n")))
    except OSError:
        return platform.processor()
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    if "model name" not in found:
        return platform.processor()
    return f"{found['model name']} (family {found.get('cpu family', '?')}, model {found.get('model', '?')})"


@contextlib.contextmanager
def _silenced_stderr() -> Iterator[None]:
    """TensorFlow's libraries write to file descriptor 2 while they load, whatever its log level."""
    try:
        saved, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # a process without standard error
        yield
        return
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)
