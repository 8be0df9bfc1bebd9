"""Optimizers as single fused operations that update a variable and its slots in place.

The rules and constants are those of Keras' defaults: momentum and sgd as `keras.optimizers.SGD` (heavy ball), nesterov
the same with `nesterov=True` (Sutskever et al. 2013), adagrad with an initial accumulator of 0.1 and epsilon 1e-7,
rmsprop with rho 0.9 and epsilon 1e-7, adam with betas 0.9 and (unless the trial has another) 0.999 and epsilon 1e-7
(Kingma & Ba 2015, with the bias correction folded into the step size).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from model_search.training.runtime import tensorflow

EPSILON = 1e-7
ADAM_BETAS = (0.9, 0.999)
RMSPROP_RHO = 0.9
_SLOTS = {
    "sgd": (),
    "momentum": (0.0,),
    "nesterov": (0.0,),
    "adagrad": (0.1,),
    "adam": (0.0, 0.0),
    "rmsprop": (0.0, 0.0),
}


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """One of `sgd`, `momentum`, `nesterov`, `adagrad`, `adam`, `rmsprop`."""

    name: str
    momentum: float = 0.9
    beta2: float = ADAM_BETAS[1]

    @property
    def slots(self) -> tuple[float, ...]:
        """What each slot of a variable is filled with at the beginning."""
        return _SLOTS[self.name]

    def step_sizes(self, rates: np.ndarray, made: int = 0) -> np.ndarray:
        """What `apply` takes as `rate` at every update, from the learning rates [updates].

        Args:
            rates: The learning rates.
            made: Updates that the slots have seen before.
        """
        if self.name != "adam":
            return rates
        update = np.arange(made + 1, made + len(rates) + 1)
        first, second = ADAM_BETAS[0], self.beta2
        return rates * np.sqrt(1 - second**update) / (1 - first**update)

    def apply(self, variable: Any, slots: Sequence[Any], gradient: Any, rate: Any) -> None:
        """Updates a `tf.Variable` and its slots in place; inside a graph."""
        ops = tensorflow().raw_ops
        var = variable.handle
        handles = [slot.handle for slot in slots]
        match self.name:
            case "sgd":
                ops.ResourceApplyGradientDescent(var=var, alpha=rate, delta=gradient)
            case "momentum" | "nesterov":
                ops.ResourceApplyKerasMomentum(
                    var=var,
                    accum=handles[0],
                    lr=rate,
                    grad=gradient,
                    momentum=self.momentum,
                    use_nesterov=self.name == "nesterov",
                )
            case "adagrad":
                ops.ResourceApplyAdagradV2(var=var, accum=handles[0], lr=rate, epsilon=EPSILON, grad=gradient)
            case "adam":
                ops.ResourceApplyAdam(
                    var=var,
                    m=handles[0],
                    v=handles[1],
                    beta1_power=0.0,
                    beta2_power=0.0,
                    lr=rate,
                    beta1=ADAM_BETAS[0],
                    beta2=self.beta2,
                    epsilon=EPSILON,
                    grad=gradient,
                )
            case "rmsprop":
                ops.ResourceApplyRMSProp(
                    var=var,
                    ms=handles[0],
                    mom=handles[1],
                    lr=rate,
                    rho=RMSPROP_RHO,
                    momentum=0.0,
                    epsilon=EPSILON,
                    grad=gradient,
                )
