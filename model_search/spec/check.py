"""Checking a specification: everything that is wrong with it, at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

from model_search import problem
from model_search.augmentations import AUGMENTATIONS
from model_search.blocks import catalogue
from model_search.constants import OPTIMIZERS, SCHEDULES
from model_search.proto.hparam_pb2 import HParamDef
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec, TowerSuggestion
from model_search.spec import (
    check_cells,
    check_ensembles,
    check_inputs,
    check_positions,
    check_schedule,
    check_searches,
    check_tasks,
    supported,
)
from model_search.spec.diagnostics import Path, Positions, Problem, Severity, one_of
from model_search.spec.searches import readers, search_type

__all__ = ["CHANNELS_FIRST", "Checker", "check", "in_order", "problem_type", "search_type"]


def check(spec: PhoenixSpec, positions: Positions | None = None) -> list[Problem]:
    """All problems of a specification, in the order of the text where there is one.

    Args:
        spec: The specification.
        positions: Where its values stand in the text that it was read from, if it was.
    """
    checker = Checker(spec, positions or Positions())
    for part in (
        _search, _depth, check_positions.positions, check_cells.cell, _thresholds, _probabilities, _blocks,
        _suggestions, _learning, check_searches.searches, check_ensembles.ensembles, check_ensembles.distillation,
        check_ensembles.replay, check_schedule.schedule, check_schedule.rules, check_schedule.tuning,
        check_schedule.final_training, check_schedule.trial_limits, check_schedule.morphisms,
        _augmentations, _transfer, _data_format, _auxiliary, check_tasks.tasks,
        check_inputs.input_towers, _unread,
    ):  # fmt: skip
        part(checker)
    return in_order(checker.problems)


def in_order(problems: Sequence[Problem]) -> list[Problem]:
    """The same problems in the order of the text; those without a place at the end."""
    return sorted(problems, key=lambda problem: (problem.line or math.inf, problem.column or math.inf))


def problem_type(spec: PhoenixSpec) -> str:
    """Name of the problem type; the default one where none is given."""
    name = PhoenixSpec.ProblemType.Name(spec.problem_type)
    return problem.DEFAULT_PROBLEM_TYPE if spec.problem_type == PhoenixSpec.UNKNOWN_PROBLEM_TYPE else name


@dataclasses.dataclass
class Checker:
    """A specification under check, and the problems found so far."""

    spec: PhoenixSpec
    positions: Positions
    problems: list[Problem] = dataclasses.field(default_factory=list)

    @property
    def problem_type(self) -> problem.ProblemType:
        """The problem type of the specification."""
        return problem.problem_type(problem_type(self.spec))

    def add(self, message: str, *paths: Path, severity: Severity = "error") -> None:
        """Notes a problem; its place is that of the first path which stands in the text."""
        line, column = self.positions.find(paths) or (None, None)
        self.problems.append(Problem(message, line, column, severity))

    def at_least(self, message: Any, least: float, path: Path, names: Sequence[str]) -> None:
        """Each named number of a message is at least `least`."""
        for name in names:
            value = getattr(message, name)
            if not value >= least:
                self.add(f"{name} is {_number(value)}; expected at least {_number(least)}.", (*path, name))

    def named_once(self, field: str, key: str, what: str) -> list[str]:
        """Each message of a repeated field has a name, and each name one message; returns the names.

        Args:
            field: Of the specification.
            key: The messages' field with the name, such as "label_name".
            what: What a message is called.
        """
        names, named = [getattr(one, key) for one in getattr(self.spec, field)], key.removesuffix("_name")
        for index, name in enumerate(names):
            if not name:
                self.add(f"This {what} has no {key}; give the name of its {named}.", (field, index))
            elif name in names[:index]:
                self.add(f"This is a second {what} of {name!r}; give each {named} once.", (field, index, key))
        return names

    def block(self, name: str, path: Path) -> None:
        """A block is known."""
        if not catalogue.is_known(name):
            self.add(catalogue.unknown(name), path)

    def tower(self, tower: TowerSuggestion, path: Path, what: str) -> None:
        """A tower that is named in the specification: its blocks and its hyperparameters."""
        if tower.cells:
            check_cells.suggested(self, tower.cells, (*path, "cells"))
            if tower.architecture:
                self.add(f"This {what} has an architecture and cells; give one of them.", path)
        elif not any(name != catalogue.EMPTY_BLOCK for name in tower.architecture):
            self.add(f"This {what} has no blocks; name its architecture.", path)
        for place, name in enumerate(tower.architecture):
            if name != catalogue.EMPTY_BLOCK:
                self.block(name, (*path, "architecture", place))
        self.hyperparameters(tower, path, what)

    def hyperparameters(self, tower: TowerSuggestion, path: Path, what: str) -> None:
        """The hyperparameters of a tower that is named in the specification."""
        for name, value in sorted(tower.hparams.hparam.items()):
            if not name.startswith(catalogue.IGNORED_HYPERPARAMETERS):
                wrong = _given_value(name, value, what)
                if wrong:
                    self.add(wrong, (*path, "hparams", "hparam", name))


def _number(value: float) -> str:
    return f"{value:.7g}"  # a float32 has no more digits than that


def _search(checker: Checker) -> None:
    checker.at_least(checker.spec, 1, (), ["beam_size"])


def _depth(checker: Checker) -> None:
    spec = checker.spec
    checker.at_least(spec, 1, (), ["minimum_depth"])
    if spec.maximum_depth < max(spec.minimum_depth, 1):
        checker.add(
            f"maximum_depth is {spec.maximum_depth}; expected at least 1 and minimum_depth ({spec.minimum_depth}).",
            ("maximum_depth",),
            ("minimum_depth",),
        )


def _thresholds(checker: Checker) -> None:
    name = "increase_complexity_minimum_trials"
    thresholds = list(getattr(checker.spec, name))
    if len(thresholds) > checker.spec.maximum_depth:
        checker.add(
            f"{name} has {len(thresholds)} thresholds and maximum_depth is {checker.spec.maximum_depth}; "
            "expected at most one for each depth.",
            (name, max(checker.spec.maximum_depth, 0)),
        )
    for index, threshold in enumerate(thresholds):
        if threshold < 0:
            checker.add(f"{name} has {threshold}; expected 0 or more trials.", (name, index))
        if index and threshold < thresholds[index - 1]:
            checker.add(
                f"{name} has {threshold} after {thresholds[index - 1]}; expected thresholds that never fall.",
                (name, index),
            )


_CHANNELS_LAST, CHANNELS_FIRST = "NHWC", "NCHW"

_PROBABILITIES = (
    "increase_complexity_probability",
    "mutate_probability",
    "crossover_probability",
    "random_architecture_probability",
)


def _probabilities(checker: Checker) -> None:
    for name in _PROBABILITIES:
        value = getattr(checker.spec, name)
        if not 0 <= value <= 1:
            checker.add(f"{name} is {_number(value)}; expected a probability from 0 to 1.", (name,))
    share = checker.spec.random_baseline_share
    if not 0 <= share <= 1:
        checker.add(
            f"random_baseline_share is {_number(share)}; expected a share from 0 to 1.", ("random_baseline_share",)
        )
    for name in ("no_dropout_share", "cooldown_share"):
        value = getattr(checker.spec.learning_spec, name)
        if not 0 <= value <= 1:
            checker.add(f"{name} is {_number(value)}; expected a share from 0 to 1.", ("learning_spec", name))
    temperature = checker.spec.temperature
    if not 0 < temperature < math.inf:
        checker.add(f"temperature is {_number(temperature)}; expected more than 0.", ("temperature",))


def _blocks(checker: Checker) -> None:
    blocks = checker.spec.blocks_to_use
    if not blocks and not checker.spec.HasField("cell"):
        checker.add("blocks_to_use is empty; name at least one block.", ("blocks_to_use",))
    for index, block in enumerate(blocks):
        if block == catalogue.EMPTY_BLOCK:
            checker.add(f"{block} is padding and cannot be searched; remove it.", ("blocks_to_use", index))
        else:
            checker.block(block, ("blocks_to_use", index))


def _suggestions(checker: Checker) -> None:
    for index, suggestion in enumerate(checker.spec.user_suggestions):
        checker.tower(suggestion, ("user_suggestions", index), "user suggestion")


def _given_value(name: str, value: HParamDef.HParamType, what: str) -> str | None:
    """What is wrong with a hyperparameter of a tower, if anything; `what` says what kind of tower it is."""
    kind = value.WhichOneof("kind")
    if kind is None:
        return f"Hyperparameter {name!r} of a {what} has no value."
    if kind.endswith("_list"):
        return f"Hyperparameter {name!r} of a {what} is a list; expected one value."
    given = getattr(value, kind)
    if isinstance(given, bytes):
        try:
            given = given.decode("utf-8")
        except UnicodeDecodeError:
            return f"Hyperparameter {name!r} of a {what} is not UTF-8 text."
    if isinstance(given, float) and not math.isfinite(given):
        return f"Hyperparameter {name!r} of a {what} is {given}; expected a finite number."
    if name == "optimizer" and given not in OPTIMIZERS:
        return f"The optimizer of a {what} is {given!r}; expected {one_of(OPTIMIZERS)}."
    return None


@dataclasses.dataclass(frozen=True)
class _Range:
    """Two fields of LearningSpec that go with each other, and the switch without which they have no effect."""

    low: str
    high: str
    switch: str
    inside: Callable[[float], bool]
    expected: str


_RANGES = (
    _Range(
        "min_learning_rate_decay_rate",
        "max_learning_rate_decay_rate",
        "apply_exponential_decay",
        lambda value: 0 < value <= 1,
        "more than 0 and at most 1",
    ),
    _Range(
        "min_gradient_norm_when_clipping",
        "max_gradient_norm_when_clipping",
        "apply_gradient_clipping",
        lambda value: value >= 1,
        "at least 1",
    ),
    _Range(
        "min_l2_regularization",
        "max_l2_regularization",
        "apply_l2_regularization",
        lambda value: 0 <= value < math.inf,
        "0 or more",
    ),
    _Range("min_dropout", "max_dropout", "apply_dropouts_between_blocks", lambda value: 0 <= value <= 1, "from 0 to 1"),
    _Range("min_momentum", "max_momentum", "apply_momentum", lambda value: 0 <= value < 1, "at least 0 and below 1"),
    _Range(
        "min_weight_decay",
        "max_weight_decay",
        "apply_weight_decay",
        lambda value: 0 <= value < math.inf,
        "0 or more",
    ),
)


def _learning(checker: Checker) -> None:
    learning = checker.spec.learning_spec
    checker.at_least(learning, 0, ("learning_spec",), ["lr_warmup_steps"])
    for limits in _RANGES:
        _range(checker, limits)
    if learning.apply_exponential_decay and not 1 <= learning.min_decay_times < learning.max_decay_times:
        checker.add(
            f"min_decay_times is {learning.min_decay_times} and max_decay_times is {learning.max_decay_times}; "
            "expected 1 <= min_decay_times < max_decay_times (the maximum is excluded).",
            ("learning_spec", "min_decay_times"),
            ("learning_spec", "max_decay_times"),
        )
    for index, size in enumerate(learning.batch_sizes):
        if size < 1:
            checker.add(f"batch_sizes has {size}; expected at least 1 row.", ("learning_spec", "batch_sizes", index))
    for index, name in enumerate(learning.optimizers):
        if name not in OPTIMIZERS:
            expected = one_of(OPTIMIZERS)
            checker.add(f"There is no optimizer {name!r}; expected {expected}.", ("learning_spec", "optimizers", index))
    _listed(checker)
    _learning_rates(checker)


_LISTED: dict[str, tuple[float, str]] = {  # the values of each are at least 0 and below a number
    "warmup_shares": (1.0, "a share from 0 to below 1"),
    "beta2s": (1.0, "at least 0 and below 1"),
    "kernel_decays": (math.inf, "0 or more"),
    "label_smoothings": (1.0, "a share from 0 to below 1"),
    "class_balances": (1.0 + 1e-9, "a power from 0 to 1"),
}


def _listed(checker: Checker) -> None:
    learning = checker.spec.learning_spec
    for name, (limit, expected) in _LISTED.items():
        for index, value in enumerate(getattr(learning, name)):
            if not 0 <= value < limit:
                message = f"{name} has {_number(value)}; expected {expected}."
                checker.add(message, ("learning_spec", name, index))
    for index, name in enumerate(learning.schedules):
        if name not in SCHEDULES:
            message = f"There is no schedule {name!r} of the learning rate; expected {one_of(SCHEDULES)}."
            checker.add(message, ("learning_spec", "schedules", index))


def _range(checker: Checker, limits: _Range) -> None:
    learning = checker.spec.learning_spec
    owner: Any = learning if limits.switch in learning.DESCRIPTOR.fields_by_name else checker.spec
    if not getattr(owner, limits.switch):
        return
    values = {name: getattr(learning, name) for name in (limits.low, limits.high)}
    outside = {name: value for name, value in values.items() if not limits.inside(value)}
    for name, value in outside.items():
        checker.add(f"{name} is {_number(value)}; expected {limits.expected}.", ("learning_spec", name))
    if not outside and values[limits.low] > values[limits.high]:
        checker.add(
            f"{limits.low} is {_number(values[limits.low])} and {limits.high} is {_number(values[limits.high])}; "
            "the minimum must not be above the maximum.",
            ("learning_spec", limits.low),
            ("learning_spec", limits.high),
        )


def _learning_rates(checker: Checker) -> None:
    seen: set[str] = set()
    for index, given in enumerate(checker.spec.learning_spec.learning_rate_range):
        path: Path = ("learning_spec", "learning_rate_range", index)
        if not 0 < given.minimum <= given.maximum < math.inf:
            checker.add(
                f"This learning_rate_range goes from {_number(given.minimum)} to {_number(given.maximum)}; "
                "expected a minimum above 0 and a maximum that is not below it.",
                path,
            )
        if given.optimizer and given.optimizer not in OPTIMIZERS:
            checker.add(
                f"There is no optimizer {given.optimizer!r}; expected {one_of(OPTIMIZERS)}, or none for all of them.",
                (*path, "optimizer"),
            )
        if given.optimizer in seen:
            whose = given.optimizer or "all optimizers"
            checker.add(f"This is a second learning_rate_range for {whose}; give one.", path)
        seen.add(given.optimizer)


def _augmentations(checker: Checker) -> None:
    about = checker.problem_type
    fitting = [name for name, one in AUGMENTATIONS.items() if one.fits(about.input_rank, about.label_per_step)]
    for index, name in enumerate(checker.spec.augmentations):
        path: Path = ("augmentations", index)
        if name not in AUGMENTATIONS:
            checker.add(f"There is no augmentation {name!r}; expected {one_of(fitting)}.", path)
        elif name not in fitting:
            checker.add(f"The augmentation {name!r} does not fit {about.name}; expected {one_of(fitting)}.", path)


def _transfer(checker: Checker) -> None:
    if not checker.spec.HasField("transfer_learning_spec"):
        return
    transfer, path = checker.spec.transfer_learning_spec, ("transfer_learning_spec",)
    checker.at_least(transfer, 0, path, ["previous_trials_discount_factor"])
    checker.at_least(transfer, 1, path, ["max_completed_trials"])
    if transfer.previous_trials_discount_factor == math.inf:
        where = (*path, "previous_trials_discount_factor")
        checker.add("previous_trials_discount_factor is inf; expected a finite number.", where)


def _data_format(checker: Checker) -> None:
    given, path = checker.spec.cnn_data_format, ("cnn_data_format",)
    if given == _CHANNELS_LAST:
        return
    if not checker.problem_type.reads_maps:
        checker.add("cnn_data_format is not read: only towers of maps have one.", path, severity="warning")
    elif given == CHANNELS_FIRST:
        checker.add(
            f"cnn_data_format is {given!r}; towers have their channels last on every device, and read a provider's "
            f"maps as [rows, height, width, channels], which is {_CHANNELS_LAST!r}.",
            path,
            severity="warning",
        )
    else:
        checker.add(f"cnn_data_format is {given!r}; expected {_CHANNELS_LAST!r} or {CHANNELS_FIRST!r}.", path)


def _auxiliary(checker: Checker) -> None:
    spec, path = checker.spec, ("auxiliary_head_loss_weight",)
    weight = spec.auxiliary_head_loss_weight
    if spec.use_auxiliary_head and not 0 < weight < math.inf:
        checker.add(
            f"auxiliary_head_loss_weight is {_number(weight)}; expected more than 0 (0.4, say), or no "
            "use_auxiliary_head.",
            path,
            ("use_auxiliary_head",),
        )
    elif weight and not spec.use_auxiliary_head:
        checker.add("auxiliary_head_loss_weight is not read without use_auxiliary_head.", path, severity="warning")


def _unread(checker: Checker) -> None:
    search, reading_searches = search_type(checker.spec), readers()
    for field, value in checker.spec.ListFields():
        reading = reading_searches.get(field.name, frozenset({search}))
        if search not in reading and value != field.default_value:
            checker.add(
                f"{field.name} is not read by {search}; it is for {one_of(reading)}.",
                (field.name,),
                severity="warning",
            )
        if field.name in supported.UNREAD and value != field.default_value:
            checker.add(
                f"{field.name} is not read in this version: {supported.UNREAD[field.name]}.",
                (field.name,),
                severity="warning",
            )
