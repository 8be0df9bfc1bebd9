"""What a search is asked to do, checked before anything is read or trained."""

from __future__ import annotations

import dataclasses
import numbers
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from model_search.errors import UserError
from model_search.metadata.trial import Trial

TrialCallback = Callable[[Trial], Any]

SAMPLERS = ("random", "bayesian")


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
    sampler: str = "random"
    progress: bool | None = None

    def __post_init__(self) -> None:
        for name in ("number_models", "train_steps", "batch_size"):
            _check_whole(name, getattr(self, name), minimum=1)
        if self.eval_steps is not None:
            _check_whole("eval_steps", self.eval_steps, minimum=1)
        if self.seed is not None:
            _check_whole("seed", self.seed, minimum=0)
        if self.goal not in (None, "minimize", "maximize"):
            raise UserError(f"goal is {self.goal!r}; expected 'minimize' or 'maximize'")
        if self.sampler not in SAMPLERS:
            raise UserError(f"sampler is {self.sampler!r}; expected one of {', '.join(SAMPLERS)}")
        if self.time_limit is not None and (
            not isinstance(self.time_limit, numbers.Real)
            or isinstance(self.time_limit, bool)
            or not self.time_limit > 0
        ):
            raise UserError(f"time_limit is {self.time_limit!r}; expected a number of seconds above 0")
        if not isinstance(self.experiment_name, str) or not self.experiment_name:
            raise UserError(f"experiment_name is {self.experiment_name!r}; expected a text that is not empty")
        for callback in self.callbacks:
            if not callable(callback):
                raise UserError(f"callbacks holds {callback!r}; expected functions that take a finished trial")


def _check_whole(name: str, value: object, minimum: int) -> None:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < minimum:
        raise UserError(f"{name} is {value!r}; expected a whole number of at least {minimum}")


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
