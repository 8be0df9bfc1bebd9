"""The interface of what trains trials, and the registry of evaluators by name. Never imports TensorFlow.

A worker makes one evaluator and runs plan after plan with it::

    evaluator = make_evaluator(settings.evaluator, data, settings)
    evaluator.run(plan, given, on_progress)      # trains, reports progress about twice a second, returns the outcome

A supernet, for example, is one new class behind this interface: it takes the same plans and returns the same outcomes.
"""

from __future__ import annotations

import abc
import importlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from model_search.data.prepared_data import PreparedData
from model_search.data.rows import Arrays
from model_search.errors import UserError
from model_search.metadata.trial import TrialPlan
from model_search.training.outcome import Given, Progress, TrainedTower, TrainingSettings, TrialOutcome

OnProgress = Callable[[Progress], bool | None]

DEFAULT_EVALUATOR = "engine"
_BUILT_IN = {"engine": "model_search.training.engine"}  # modules that register an evaluator when they are imported


class Evaluator(abc.ABC):
    """Runs plans. One evaluator belongs to one thread.

    Args:
        data: Training and validation rows.
        settings: The settings that all trials share.
    """

    @abc.abstractmethod
    def __init__(self, data: PreparedData, settings: TrainingSettings):
        """Prepares the evaluator; nothing is trained yet."""

    @abc.abstractmethod
    def run(self, plan: TrialPlan, given: Given | None = None, on_progress: OnProgress | None = None) -> TrialOutcome:
        """Runs a plan.

        Args:
            plan: What to train; its steps, batch size and seed are authoritative.
            given: What the plan builds on: weights to start from, frozen towers, members. None for nothing.
            on_progress: Called before training and then about twice a second. Where it returns True, training ends
                with the best weights so far; what it raises ends the run at once.

        Raises:
            TrialError: if the trial cannot be trained.
        """

    @abc.abstractmethod
    def forward(self, towers: Sequence[TrainedTower]) -> Callable[[Arrays], np.ndarray]:
        """Trained towers as a function: inputs [rows, ...] by name to logits, float32 [towers, rows, ...]."""

    @abc.abstractmethod
    def logits_of(self, tower: TrainedTower) -> tuple[np.ndarray, np.ndarray | None]:
        """A trained tower's logits on the validation rows, and on the training rows of a table (None for a stream)."""


EvaluatorClass = TypeVar("EvaluatorClass", bound=type[Evaluator])
_REGISTERED: dict[str, type[Evaluator]] = {}


def register_evaluator(name: str) -> Callable[[EvaluatorClass], EvaluatorClass]:
    """Registers an evaluator under a name; the same class may be registered again.

    Raises:
        UserError: if another class has the name.
    """

    def register(cls: EvaluatorClass) -> EvaluatorClass:
        taken = _REGISTERED.get(name)
        if taken is not None and (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
            raise UserError(
                f"an evaluator named {name!r} is registered already ({taken.__module__}.{taken.__qualname__}); choose "
                "another name"
            )
        _REGISTERED[name] = cls
        return cls

    return register


def make_evaluator(name: str, data: PreparedData, settings: TrainingSettings) -> Evaluator:
    """Makes the evaluator that is registered under a name.

    Raises:
        UserError: if there is none.
    """
    if name not in _REGISTERED and name in _BUILT_IN:
        importlib.import_module(_BUILT_IN[name])
    if name not in _REGISTERED:
        known = ", ".join(sorted({*_BUILT_IN, *_REGISTERED}))
        raise UserError(
            f"there is no evaluator {name!r}; expected one of {known}, or one registered with register_evaluator"
        )
    return _REGISTERED[name](data, settings)
