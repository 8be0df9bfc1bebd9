"""What a search is asked to do, checked before anything is read or trained."""

from __future__ import annotations

import dataclasses
import numbers
import os
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from model_search.errors import UserError
from model_search.finish.final_stage import check_what, wants_student
from model_search.metadata.final_models import KEEP_MODELS
from model_search.metadata.trial import Trial
from model_search.search.samplers.sampler import sampler_names
from model_search.trainers.pruning import Keeping

TrialCallback = Callable[[Trial], Any]

STUDENT_SHARE = 0.1  # of a time limit
EXECUTORS = ("local", "ray")


@dataclasses.dataclass(frozen=True)
class SearchOptions:
    """The arguments of `SingleTrainer.try_models`, checked.

    Raises:
        UserError: naming the argument, what was received and what is expected.
    """

    number_models: int
    train_steps: int
    eval_steps: int | None
    root_dir: pathlib.Path
    batch_size: int
    experiment_name: str
    experiment_owner: str
    seed: int | None = None
    metric: str | Callable[..., float] | None = None
    goal: str | None = None
    time_limit: float | None = None
    overwrite: bool = False
    callbacks: tuple[TrialCallback, ...] = ()
    sampler: str = "auto"
    progress: bool | None = None
    workers: int | str | None = None
    tuner_id: str | None = None
    worker_memory: float | None = None
    finish: str = "both"
    student_parameters: int | None = None
    executor: str = "local"
    resources: Mapping[str, float] | None = None
    artefacts: str | None = None

    keep_models: int | None = KEEP_MODELS
    disk_limit: float | None = None
    deterministic: bool = False

    def __post_init__(self) -> None:
        for name in ("number_models", "train_steps", "batch_size"):
            _check_whole(name, getattr(self, name), minimum=1)
        if self.eval_steps is not None:
            _check_whole("eval_steps", self.eval_steps, minimum=1)
        if self.seed is not None:
            _check_whole("seed", self.seed, minimum=0)
        if self.goal not in (None, "minimize", "maximize"):
            raise UserError(f"goal is {self.goal!r}; expected 'minimize' or 'maximize'")
        if self.sampler not in sampler_names():
            raise UserError(f"sampler is {self.sampler!r}; expected one of {', '.join(sampler_names())}")
        if self.time_limit is not None and not _is_positive(self.time_limit):
            raise UserError(f"time_limit is {self.time_limit!r}; expected a number of seconds above 0")
        if not isinstance(self.experiment_name, str) or not self.experiment_name:
            raise UserError(f"experiment_name is {self.experiment_name!r}; expected a text that is not empty")
        if self.workers not in (None, "auto"):
            _check_whole("workers", self.workers, minimum=1, instead=" or 'auto'")
        if self.tuner_id is not None and (not isinstance(self.tuner_id, str) or not self.tuner_id):
            raise UserError(f"tuner_id is {self.tuner_id!r}; expected a text that is not empty")
        if self.worker_memory is not None and not _is_positive(self.worker_memory):
            raise UserError(f"worker_memory is {self.worker_memory!r}; expected a number of gigabytes above 0")
        if self.keep_models is not None:
            _check_whole("keep_models", self.keep_models, minimum=1, instead=" or None for all")
        if self.disk_limit is not None and not _is_positive(self.disk_limit):
            raise UserError(f"disk_limit is {self.disk_limit!r}; expected a number of gigabytes above 0")
        check_what(self.finish, self.student_parameters)
        if self.executor not in EXECUTORS:
            raise UserError(f"executor is {self.executor!r}; expected one of {', '.join(EXECUTORS)}")
        if self.resources is not None:
            self._check_resources(self.resources)
        if self.artefacts is not None and (not isinstance(self.artefacts, str) or not self.artefacts):
            raise UserError(f"artefacts is {self.artefacts!r}; expected a folder or a URL that fsspec knows")
        for callback in self.callbacks:
            if not callable(callback):
                raise UserError(f"callbacks holds {callback!r}; expected functions that take a finished trial")

    @property
    def keeping(self) -> Keeping | None:
        """How much of the trials' files stays on disk; None for all."""
        if self.keep_models is None and self.disk_limit is None:
            return None
        size = None if self.disk_limit is None else int(self.disk_limit * 1e9)
        return Keeping(sys.maxsize if self.keep_models is None else self.keep_models, size)

    @property
    def search_seconds(self) -> float | None:
        """The time limit of the search alone; a student is left a tenth of the whole."""
        if self.time_limit is None or not wants_student(self.finish):
            return self.time_limit
        return (1 - STUDENT_SHARE) * self.time_limit

    def _check_resources(self, resources: object) -> None:
        if self.executor != "ray":
            raise UserError(f"resources is {resources!r}; only executor='ray' has resources per trial")
        numbers_by_name = isinstance(resources, Mapping) and all(
            isinstance(name, str) and (_is_positive(amount) or amount == 0) for name, amount in resources.items()
        )
        if not numbers_by_name:
            raise UserError(f"resources is {resources!r}; expected amounts by name, such as {{'cpu': 1, 'gpu': 0}}")

    def worker_name(self, number: int) -> str:
        """The name of a worker, counted from 1; the archived `tuner_id` where there is but one."""
        if self.tuner_id is None:
            return f"worker-{number}"
        return self.tuner_id if self.workers in (None, 1) else f"{self.tuner_id}-{number}"


def _check_whole(name: str, value: object, minimum: int, instead: str = "") -> None:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < minimum:
        raise UserError(f"{name} is {value!r}; expected a whole number of at least {minimum}{instead}")


def _is_positive(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and float(value) > 0


def as_callbacks(callbacks: TrialCallback | Sequence[TrialCallback] | None) -> tuple[TrialCallback, ...]:
    """One function, several or none, as a tuple."""
    if callbacks is None:
        return ()
    if callable(callbacks):
        return (callbacks,)
    return tuple(callbacks)


def as_root_dir(root_dir: str | os.PathLike[str]) -> pathlib.Path:
    """The folder of all studies, as a path; `~` is the home folder."""
    try:
        return pathlib.Path(root_dir).expanduser()
    except TypeError:
        raise UserError(f"root_dir is {root_dir!r}; expected a path") from None
