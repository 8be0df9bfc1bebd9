"""The interface of what trains trials, and the registry of evaluators by name. Never imports TensorFlow.

A worker makes one evaluator and runs plan after plan with it::

    evaluator = make_evaluator(settings.evaluator, data, settings)
    evaluator.run(plan, given, on_progress)      # trains, reports progress about twice a second, returns the outcome

A supernet, for example, is one new class behind this interface: it takes the same plans and returns the same outcomes.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from model_search.data.prepared_data import PreparedData
from model_search.data.rows import Arrays
from model_search.errors import UserError
from model_search.metadata.trial import TrialPlan
from model_search.registries import Registry
from model_search.training.outcome import Given, Progress, TrainedTower, TrainingSettings, TrialOutcome

OnProgress = Callable[[Progress], bool | None]


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

EVALUATORS: Registry[type[Evaluator]] = Registry(
    "evaluator", "model_search.training", "model_search.register_evaluator"
)


def register_evaluator(name: str) -> Callable[[EvaluatorClass], EvaluatorClass]:
    """Registers an evaluator under a name, one word; the same class defined again replaces the earlier one.

    A search says by its attribute `evaluator` which one trains its trials.

    Raises:
        UserError: if another class has the name, or the class is no `Evaluator` with all of its methods.
    """

    def register(cls: EvaluatorClass) -> EvaluatorClass:
        if not isinstance(cls, type) or not issubclass(cls, Evaluator) or cls.__abstractmethods__:
            raise UserError(f"evaluator {name!r} is {cls!r}; expected a subclass of Evaluator with all of its methods")
        EVALUATORS.add(name, cls, cls)
        return cls

    return register


def make_evaluator(name: str, data: PreparedData, settings: TrainingSettings) -> Evaluator:
    """Makes the evaluator that is registered under a name.

    Raises:
        UserError: if there is none; names the nearest ones.
    """
    return EVALUATORS.get(name)(data, settings)
