"""Whether a tower would take more than its share of time, parameters or memory, before it is trained."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from model_search.errors import InfeasibleTrialError
from model_search.metadata.trial import TrialPlan
from model_search.training.outcome import TrainingSettings
from model_search.training.runtime import tensorflow

if TYPE_CHECKING:
    import keras

_SIZE = 512  # of the matrices whose products tell what the machine can do
_PRODUCTS = 4
_LEAST_EFFICIENCY = 0.25  # of a tower, as a share of that
_FIRST_SECONDS = 1.0  # of training, after which it can be told how long the whole takes
_SLOWER = 2.0  # times as slow as the first tower, which a slow one is at least


class TrialLimits:
    """Refuses searched towers that are too large, or that would train for too long.

    The time is estimated from the operations of an update and from the rate at which this machine multiplies matrices.
    The best share of this rate that a trial of this process has reached so far is what others are expected to reach.
    The first trial is never too slow. Where `slow_seconds` is set, a tower that turns out to take longer, and twice as
    long as the first one, is given up after a second.

    Args:
        settings: They have the limits.
    """

    def __init__(self, settings: TrainingSettings):
        self._settings = settings
        self._rate: float | None = None
        self._efficiency: float | None = None
        self._first_seconds: float | None = None

    def check(self, plan: TrialPlan, model: keras.Model, updates: int) -> None:
        """Checks a tower that is about to be trained.

        Args:
            plan: The trial's plan; only trials of the search have limits.
            model: The tower.
            updates: Updates that are to be made.

        Raises:
            InfeasibleTrialError: if it is beyond a limit.
        """
        settings = self._settings
        if not plan.is_searched:
            return
        from model_search.towers.cost import training_bytes

        if settings.most_parameters is not None and model.count_params() > settings.most_parameters:
            raise InfeasibleTrialError(
                f"the tower has {model.count_params():,} parameters; the limit is {settings.most_parameters:,}"
            )
        if settings.most_megabytes is not None:
            megabytes = training_bytes(model, plan.batch_size) / 1e6
            if megabytes > settings.most_megabytes:
                limit = f"{settings.most_megabytes:,.0f} MB"
                raise InfeasibleTrialError(f"training the tower takes about {megabytes:,.0f} MB; the limit is {limit}")
        if settings.most_seconds is not None and self._efficiency is not None:
            rate = self._measured_rate() * self._efficiency
            seconds = self._operations(plan, model, updates) / rate
            if seconds > settings.most_seconds:
                raise InfeasibleTrialError(
                    f"training the tower takes at least {seconds:,.0f} s; the limit is {settings.most_seconds:,.0f} s"
                )

    def check_pace(self, plan: TrialPlan, made: int, updates: int, seconds: float) -> None:
        """Checks a tower that is being trained.

        Args:
            plan: The trial's plan; only trials of the search have limits.
            made: Updates that were made.
            updates: Updates that are to be made.
            seconds: What those made have taken.

        Raises:
            InfeasibleTrialError: if all of them would take too long.
        """
        slow, first = self._settings.slow_seconds, self._first_seconds
        if slow is None or first is None or not plan.is_searched or seconds < _FIRST_SECONDS or not made:
            return
        whole, most = seconds * updates / made, max(slow, _SLOWER * first)
        if whole > most:
            raise InfeasibleTrialError(
                f"training the tower would take {whole:,.0f} s; towers of this search may take {most:,.0f} s"
            )

    def learn(self, plan: TrialPlan, model: keras.Model, updates: int, seconds: float) -> None:
        """Takes in how long the updates of a trial have taken."""
        if self._first_seconds is None and plan.is_searched:
            self._first_seconds = seconds
        if self._settings.most_seconds is None or not plan.is_searched or updates < 1 or seconds <= 0:
            return
        reached = self._operations(plan, model, updates) / seconds / self._measured_rate()
        self._efficiency = max(self._efficiency or _LEAST_EFFICIENCY, min(1.0, reached))

    def _operations(self, plan: TrialPlan, model: keras.Model, updates: int) -> float:
        from model_search.towers.cost import training_operations

        return training_operations(model) * plan.batch_size * updates

    def _measured_rate(self) -> float:
        """Operations a second in products of matrices; measured once."""
        if self._rate is None:
            tf = tensorflow()
            matrix = tf.ones([_SIZE, _SIZE])
            times = []
            for _ in range(_PRODUCTS):
                started = time.perf_counter()
                tf.matmul(matrix, matrix).numpy()
                times.append(time.perf_counter() - started)
            self._rate = 2.0 * _SIZE**3 / min(times)
        return self._rate
