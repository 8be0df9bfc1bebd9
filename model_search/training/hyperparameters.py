"""The hyperparameters of training, read from a plan and checked, and the learning rate of every step.

| name | meaning | absent |
|---|---|---|
| `learning_rate` | base learning rate, > 0 | 0.001 |
| `optimizer` | momentum, nesterov, sgd, adagrad, adam, rmsprop | adam |
| `momentum` | of the optimizers momentum and nesterov, 0 to below 1 | 0.9 |
| `exponential_decay_rate`, `..._steps` | stair-case: `lr * rate ** (step // steps)`; 0 steps: none | none |
| `gradient_max_norm` | clip by global norm | none |
| `l2_regularization` | adds `l2 / 2 * sum(w ** 2)` over all trainable variables to the loss | none |
| `weight_decay` | decoupled: `w -= lr * weight_decay * w` before each update (Loshchilov & Hutter 2019) | none |
| `kernel_decay` | the same for kernels alone (values with two axes or more), not for biases and factors | none |
| `cooldown_share` | over this last share of the steps the learning rate falls linearly to zero | none |
| `schedule` | "constant", "cosine" or "flat_cosine", see below | constant |
| `warmup_share` | over this first share of the steps the learning rate rises linearly | none |
| `one_cycle_share` | the learning rate rises over this first share of the steps, and falls to zero in the rest | none |
| `beta2` | of Adam, 0 to below 1 | 0.999 |
| `class_balance` | classes weigh as their number of training rows to the power of minus this, 0 to 1 | 0 |
| `label_smoothing` | share of the label that is spread over all classes (Szegedy et al. 2016) | none |

With "cosine" the learning rate falls to zero along half a cosine (Loshchilov & Hutter, ICLR 2017), with "flat_cosine"
it stays and does so over the second half of the steps.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from model_search.constants import OPTIMIZERS, SCHEDULES
from model_search.errors import TrialError
from model_search.metadata.trial import HyperparameterValue

_CYCLE_START = 0.04  # of the greatest learning rate


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """See the table of this module; 0 means none."""

    learning_rate: float = 1e-3
    optimizer: str = "adam"
    momentum: float = 0.9
    decay_rate: float = 1.0
    decay_steps: int = 0
    max_norm: float = 0.0
    l2: float = 0.0
    weight_decay: float = 0.0
    cooldown_share: float = 0.0
    kernel_decay: float = 0.0
    schedule: str = SCHEDULES[0]
    warmup_share: float = 0.0
    beta2: float = 0.999
    label_smoothing: float = 0.0
    class_balance: float = 0.0
    one_cycle_share: float = 0.0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise TrialError(f"optimizer is {self.optimizer!r}; expected one of {', '.join(OPTIMIZERS)}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise TrialError(f"learning_rate is {self.learning_rate!r}; expected a number above 0")
        if self.schedule not in SCHEDULES:
            raise TrialError(f"schedule is {self.schedule!r}; expected one of {', '.join(SCHEDULES)}")
        for name in ("momentum", "beta2", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise TrialError(f"{name} is {getattr(self, name)!r}; expected at least 0 and below 1")
        for name in ("cooldown_share", "one_cycle_share", "warmup_share", "class_balance"):
            if not 0 <= getattr(self, name) <= 1:
                raise TrialError(f"{name} is {getattr(self, name)!r}; expected a share from 0 to 1")
        for name in ("decay_rate", "decay_steps", "max_norm", "l2", "weight_decay", "kernel_decay"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise TrialError(f"{name} is {value!r}; expected a number of at least 0")

    @property
    def decays(self) -> bool:
        """Whether weights decay, apart from the gradient."""
        return self.weight_decay > 0 or self.kernel_decay > 0

    @classmethod
    def of(cls, values: Mapping[str, HyperparameterValue]) -> Hyperparameters:
        """Reads them from a plan; names that do not concern training are ignored.

        Raises:
            TrialError: if a value is invalid.
        """
        names = {
            "learning_rate": "learning_rate",
            "momentum": "momentum",
            "exponential_decay_rate": "decay_rate",
            "gradient_max_norm": "max_norm",
            "l2_regularization": "l2",
            "weight_decay": "weight_decay",
            "cooldown_share": "cooldown_share",
            "kernel_decay": "kernel_decay",
            "warmup_share": "warmup_share",
            "beta2": "beta2",
            "label_smoothing": "label_smoothing",
            "class_balance": "class_balance",
            "one_cycle_share": "one_cycle_share",
        }
        found: dict[str, Any] = {}
        for name, field in names.items():
            if values.get(name) is not None:
                found[field] = _number(name, values[name])
        steps = int(_number("exponential_decay_steps", values.get("exponential_decay_steps", 0)))
        schedule = str(values.get("schedule", SCHEDULES[0]))
        return cls(**found, decay_steps=steps, optimizer=str(values.get("optimizer", "adam")), schedule=schedule)


def _number(name: str, value: HyperparameterValue) -> float:
    try:
        return float(value)
    except ValueError:
        raise TrialError(f"{name} is {value!r}; expected a number") from None


@dataclasses.dataclass(frozen=True)
class StepCount:
    """How many updates a trial makes, and how far each one moves its step counter.

    Under `use_parameter_scaled_training` the counter runs from 0 to the trial's steps in strides, so that a tower gets
    updates roughly in proportion to its depth; schedules follow the counter.
    """

    updates: int
    stride: int = 1

    @classmethod
    def of(cls, steps: int, size: int, maximum_depth: int | None) -> StepCount:
        """Counts the updates.

        Args:
            steps: The plan's steps.
            size: Blocks of the tower.
            maximum_depth: The spec's, where training is scaled; None where it is not.
        """
        if maximum_depth is None or steps == 0 or size == 0:
            return cls(steps)
        stride = max(steps // (size * max(steps // maximum_depth, 1)), 1)
        return cls(-(-steps // stride), stride)

    def until(self, step: int) -> int:
        """The number of updates after which the counter reaches a step."""
        return -(-step // self.stride)

    def at(self, update: int) -> int:
        """The step counter after that many updates."""
        return update * self.stride


def learning_rates(
    hyperparameters: Hyperparameters, count: StepCount, warmup_steps: int = 0, first: int = 0
) -> np.ndarray:
    """The learning rate of every update: stair-case decay or cosine, warm-up instead of it, cool-down to zero.

    With `one_cycle_share` it rises linearly to its base, from a twenty-fifth of it, and falls along a cosine to zero
    (after Smith & Topin 2018); nothing else applies then. Cool-down and cycle begin with the update `first`.

    Args:
        hyperparameters: What is in effect.
        count: All updates, those before `first` among them.
        warmup_steps: Steps of the warm-up.
        first: The update with which this training begins.

    Returns:
        float64 [updates].
    """
    if hyperparameters.one_cycle_share > 0:
        return hyperparameters.learning_rate * _one_cycle(count.updates, first, hyperparameters.one_cycle_share)
    step = np.arange(count.updates, dtype=np.float64) * count.stride
    rates = np.full(count.updates, hyperparameters.learning_rate)
    if hyperparameters.decay_steps > 0:
        rates *= hyperparameters.decay_rate ** np.floor(step / hyperparameters.decay_steps)
    if warmup_steps > 0:
        rates = np.where(step < warmup_steps, hyperparameters.learning_rate * step / warmup_steps, rates)
    done = np.arange(count.updates) / max(1, count.updates)
    begin = {"constant": 1.0, "cosine": 0.0, "flat_cosine": 0.5}[hyperparameters.schedule]
    if begin < 1:
        rates *= (1 + np.cos(np.pi * np.maximum(0.0, done - begin) / (1 - begin))) / 2
    if hyperparameters.warmup_share > 0:
        rates *= np.minimum(
            1.0, (np.arange(count.updates) + 1) / max(1.0, hyperparameters.warmup_share * count.updates)
        )
    length = hyperparameters.cooldown_share * (count.updates - first)
    if length >= 1:
        rates *= np.minimum(1.0, (count.updates - np.arange(count.updates)) / length)
    return rates


def _one_cycle(updates: int, first: int, share: float) -> np.ndarray:
    """The learning rate of every update, as a share of the greatest one; 0 before the cycle begins."""
    length = updates - first
    update = np.arange(length, dtype=np.float64)
    rising = share * length
    up = _CYCLE_START + (1 - _CYCLE_START) * update / max(rising, 1.0)
    down = 0.5 * (1 + np.cos(np.pi * (update - rising) / max(length - rising, 1.0)))
    return np.concatenate([np.zeros(first), np.where(update < rising, up, down)])
