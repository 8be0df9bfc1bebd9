"""The space of hyperparameters that a spec asks for, its bins, and the key by which repetitions are known."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from model_search.augmentations import AUGMENTATIONS, PREFIX
from model_search.blocks import catalogue
from model_search.constants import OPTIMIZERS
from model_search.errors import SpecError
from model_search.metadata.trial import HyperparameterValue
from model_search.problem import ProblemType
from model_search.search.space.architecture import (
    EMPTY_BLOCK,
    NOTHING_IS_EQUIVALENT,
    Architecture,
    canonical,
    problem_type_of,
)
from model_search.search.space.cell_space import cell_parameters
from model_search.search.space.equivalence import Equivalence
from model_search.search.space.hyperparameters import Bin, Choice, Condition, Parameter, Real, Whole

if TYPE_CHECKING:
    from model_search.proto.phoenix_spec_pb2 import LearningSpec, PhoenixSpec

DEFAULT_OPTIMIZERS = ("adam", "rmsprop", "momentum")
DEFAULT_LEARNING_RATES: Mapping[str, tuple[float, float]] = {
    "momentum": (3e-3, 1e-1),
    "nesterov": (3e-3, 1e-1),
    "sgd": (1e-2, 5e-1),
    "adagrad": (3e-3, 1e-1),
    "adam": (3e-4, 1e-2),
    "rmsprop": (3e-4, 1e-2),
}
NO_DROPOUT = -1.0
_WITH_MOMENTUM = ("momentum", "nesterov")
_DROPOUT_VALUES = 10
# float32 fields of the spec are read as 0.10000000149...; users write few digits.
_DIGITS = 7


@dataclasses.dataclass(frozen=True)
class Space:
    """Hyperparameters, ordered so that every condition refers to earlier ones.

    Attributes:
        parameters: The hyperparameters; one name may occur several times under conditions that exclude each other.
        problem_type: The spec's problem type; it decides with `equivalence` which architectures are the same.
        equivalence: The rules of the spec for that.
    """

    parameters: tuple[Parameter, ...]
    problem_type: ProblemType
    equivalence: Equivalence = NOTHING_IS_EQUIVALENT

    def active(self, architecture: Sequence[str]) -> Space:
        """The same space without hyperparameters of blocks that the architecture lacks."""
        parameters = tuple(p for p in self.parameters if p.block is None or p.block in architecture)
        return self if len(parameters) == len(self.parameters) else dataclasses.replace(self, parameters=parameters)

    def fill(
        self, fixed: Mapping[str, HyperparameterValue], choose: Callable[[Parameter], HyperparameterValue]
    ) -> dict[str, HyperparameterValue]:
        """A value for every hyperparameter that is in effect.

        Args:
            fixed: Given values; names that the space does not have are kept.
            choose: Gives the value of each other hyperparameter, in order.
        """
        values = dict(fixed)
        for parameter in self.parameters:
            if parameter.name not in fixed and parameter.is_active(values):
                values[parameter.name] = choose(parameter)
        return values

    def draw(
        self, rng: np.random.Generator, fixed: Mapping[str, HyperparameterValue] | None = None
    ) -> dict[str, HyperparameterValue]:
        """Random values, independent of each other but for the conditions."""
        return self.fill(fixed or {}, lambda parameter: parameter.draw(rng))

    def enumerate(
        self, rng: np.random.Generator, fixed: Mapping[str, HyperparameterValue] | None = None
    ) -> Iterator[dict[str, HyperparameterValue]]:
        """One random point of every combination of bins, in a random order of the bins of each hyperparameter."""
        yield from self._enumerate(0, dict(fixed or {}), rng, fixed or {})

    def _enumerate(
        self,
        index: int,
        values: dict[str, HyperparameterValue],
        rng: np.random.Generator,
        fixed: Mapping[str, HyperparameterValue],
    ) -> Iterator[dict[str, HyperparameterValue]]:
        while index < len(self.parameters):
            parameter = self.parameters[index]
            index += 1
            if parameter.name in fixed or not parameter.is_active(values):
                continue
            for place in rng.permutation(len(parameter.bins)):
                value = parameter.draw_in(parameter.bins[place], rng)
                yield from self._enumerate(index, values | {parameter.name: value}, rng, fixed)
            return
        yield values

    def bins(self, hyperparameters: Mapping[str, HyperparameterValue]) -> dict[str, Bin]:
        """The bin of every value; a name that the space does not have is binned by the value itself."""
        bins: dict[str, Bin] = {name: f"={value!r}" for name, value in hyperparameters.items()}
        for parameter in self.parameters:
            if parameter.name in hyperparameters and parameter.is_active(hyperparameters):
                bins[parameter.name] = parameter.bin(hyperparameters[parameter.name])
        return bins

    def key(self, architecture: Sequence[str], hyperparameters: Mapping[str, HyperparameterValue]) -> str:
        """What a trial tries: its canonical architecture and the bins of its hyperparameters, as JSON.

        Two trials with the same key are repetitions of each other.
        """
        tried = [self.canonical(architecture), self.bins(hyperparameters)]
        return json.dumps(tried, sort_keys=True, separators=(",", ":"))

    def canonical(self, architecture: Sequence[str]) -> Architecture:
        """The canonical form of an architecture."""
        return canonical(architecture, self.problem_type, self.equivalence)


def build_space(spec: PhoenixSpec, train_steps: int, more: Mapping[str, Sequence[int]] | None = None) -> Space:
    """The hyperparameter space of a spec.

    Args:
        spec: The specification.
        train_steps: Steps of a trial; the intervals of a decaying learning rate are parts of it.
        more: Further hyperparameters with their values, where the spec does not search them itself.

    Raises:
        SpecError: if a range is empty or an optimizer is unknown.
    """
    learning = spec.learning_spec
    parameters: list[Parameter] = [*_optimizer(learning), *_decay(learning, train_steps)]
    if learning.apply_gradient_clipping:
        parameters.append(_clipping(learning))
    if learning.apply_l2_regularization:
        parameters.append(
            _real("l2_regularization", learning.min_l2_regularization, learning.max_l2_regularization, log=False)
        )
    if learning.apply_weight_decay:
        low, high = learning.min_weight_decay, learning.max_weight_decay
        parameters.append(_real("weight_decay", low, high, log=low > 0))
    if spec.apply_dropouts_between_blocks:
        parameters.append(_dropout(learning))
    if learning.batch_sizes:
        parameters.append(Choice(name="batch_size", values=tuple(dict.fromkeys(learning.batch_sizes))))
    if learning.cooldown_share > 0:
        parameters.append(Choice(name="cooldown_share", values=(_tidy(learning.cooldown_share),)))
    parameters += _choices(learning)
    known = {parameter.name for parameter in parameters}
    parameters += [
        Choice(name=name, values=tuple(values)) for name, values in (more or {}).items() if name not in known
    ]
    parameters += _augmentations(spec)
    for block in dict.fromkeys(spec.blocks_to_use):
        if block != EMPTY_BLOCK:
            parameters += _own_parameters(block)
    kind = problem_type_of(spec)
    if spec.HasField("cell"):
        parameters += cell_parameters(spec, kind)
    return Space(tuple(parameters), kind, Equivalence.of(spec))


def _tidy(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _check_range(what: str, low: float, high: float) -> None:
    if low > high:
        raise SpecError(f"min_{what} is {low:g} and max_{what} is {high:g}; the minimum must not be above the maximum")


def _real(name: str, low: float, high: float, *, log: bool) -> Real:
    low, high = _tidy(low), _tidy(high)
    _check_range(name, low, high)
    return Real(name=name, minimum=low, maximum=high, log=log)


def _optimizer(learning: LearningSpec) -> Iterator[Parameter]:
    optimizers = tuple(dict.fromkeys(learning.optimizers)) or DEFAULT_OPTIMIZERS
    ranges = _learning_rates(learning)
    for optimizer in optimizers:
        if optimizer not in ranges:
            raise SpecError(f"optimizers names {optimizer!r}; expected one of {', '.join(OPTIMIZERS)}")
    yield Choice(name="optimizer", values=optimizers)
    # Optimizers that share a range share a hyperparameter, so that a model of the space learns from all of them.
    for low, high in dict.fromkeys(ranges.values()):
        users = tuple(optimizer for optimizer, bounds in ranges.items() if bounds == (low, high))
        condition = None if len(users) == len(ranges) else Condition("optimizer", users)
        yield Real(name="learning_rate", minimum=low, maximum=high, log=True, condition=condition)
    if learning.apply_momentum:
        low, high = _tidy(learning.min_momentum), _tidy(learning.max_momentum)
        _check_range("momentum", low, high)
        yield Real(name="momentum", minimum=low, maximum=high, condition=Condition("optimizer", _WITH_MOMENTUM))


def _learning_rates(learning: LearningSpec) -> dict[str, tuple[float, float]]:
    """The range of every optimizer: the spec's for it, else the spec's for all, else the default."""
    ranges = dict(DEFAULT_LEARNING_RATES)
    for given in sorted(learning.learning_rate_range, key=lambda given: bool(given.optimizer)):
        low, high = _tidy(given.minimum), _tidy(given.maximum)
        if not 0 < low <= high:
            raise SpecError(f"a learning_rate_range goes from {low:g} to {high:g}; expected 0 < minimum <= maximum")
        if given.optimizer and given.optimizer not in ranges:
            raise SpecError(
                f"a learning_rate_range is for {given.optimizer!r}; expected none, for all, or one of "
                f"{', '.join(OPTIMIZERS)}"
            )
        for optimizer in (given.optimizer,) if given.optimizer else OPTIMIZERS:
            ranges[optimizer] = (low, high)
    return ranges


def _decay(learning: LearningSpec, train_steps: int) -> Iterator[Parameter]:
    if not learning.apply_exponential_decay:
        return
    first, end = learning.min_decay_times, learning.max_decay_times
    if not 1 <= first < end:
        raise SpecError(
            f"min_decay_times is {first} and max_decay_times is {end}; expected 1 <= min_decay_times < max_decay_times "
            "(the maximum is excluded)"
        )
    yield _real(
        "exponential_decay_rate",
        learning.min_learning_rate_decay_rate,
        learning.max_learning_rate_decay_rate,
        log=False,
    )
    # From train_steps + 1 times on the interval is 0 steps, which means no decay.
    intervals = dict.fromkeys(train_steps // times for times in range(first, min(end, max(train_steps, first) + 2)))
    yield Choice(name="exponential_decay_steps", values=tuple(intervals))


def _clipping(learning: LearningSpec) -> Whole:
    low, high = learning.min_gradient_norm_when_clipping, learning.max_gradient_norm_when_clipping
    _check_range("gradient_norm_when_clipping", low, high)
    return Whole(name="gradient_max_norm", minimum=low, maximum=high)


def _dropout(learning: LearningSpec) -> Choice:
    low, high = learning.min_dropout, learning.max_dropout
    _check_range("dropout", low, high)
    off = _tidy(learning.no_dropout_share)
    if not 0 <= off <= 1:
        raise SpecError(f"no_dropout_share is {off:g}; expected a share from 0 to 1")
    width = (high - low) / _DROPOUT_VALUES
    rates = tuple(dict.fromkeys(round(low + i * width, _DIGITS - 1) for i in range(_DROPOUT_VALUES)))
    shares = {NO_DROPOUT: off} | {rate: (1 - off) / len(rates) for rate in rates}
    possible = {value: share for value, share in shares.items() if share > 0}
    return Choice(name="dropout_rate", values=tuple(possible), weights=tuple(possible.values()))


def _choices(learning: LearningSpec) -> Iterator[Parameter]:
    """Hyperparameters whose values the spec lists."""
    if learning.schedules:
        yield Choice(name="schedule", values=tuple(dict.fromkeys(learning.schedules)))
    listed = {
        "warmup_share": (learning.warmup_shares, None),
        "beta2": (learning.beta2s, Condition("optimizer", ("adam",))),
        "kernel_decay": (learning.kernel_decays, None),
        "label_smoothing": (learning.label_smoothings, None),
        "class_balance": (learning.class_balances, None),
    }
    for name, (values, condition) in listed.items():
        if values:
            yield Choice(name=name, values=tuple(dict.fromkeys(map(_tidy, values))), condition=condition)


def _augmentations(spec: PhoenixSpec) -> Iterator[Parameter]:
    for name in dict.fromkeys(spec.augmentations):
        if name not in AUGMENTATIONS:
            raise SpecError(f"augmentations names {name!r}; expected some of {', '.join(AUGMENTATIONS)}")
        yield Choice(name=f"{PREFIX}{name}", values=AUGMENTATIONS[name].strengths)


def _own_parameters(block: str) -> Iterator[Parameter]:
    info = catalogue.get(block)
    for own in info.hyperparameters:
        name = info.hyperparameter_names[own.name]
        if own.whole:
            yield Whole(name=name, block=block, minimum=int(own.minimum), maximum=int(own.maximum), log=own.log)
        else:
            yield Real(name=name, block=block, minimum=own.minimum, maximum=own.maximum, log=own.log)
