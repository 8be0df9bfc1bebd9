"""A study on networks of known accuracy: the planner and the history of a real one, without training."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from model_search.blocks import Block, catalogue, register_block
from model_search.metadata.trial import Trial, TrialPlan, TrialResult, TrialState
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.search.algorithms.registry import SEARCHES
from model_search.search.history.history import History
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.search.predictor.recommend import recommend
from model_search.search.space.grammar import Grammar
from model_search.spec.searches import VERSION

RUNS = ("accuracy_run1", "accuracy_run2", "accuracy_run3")
Architecture = Sequence[str]


@dataclasses.dataclass(frozen=True)
class Rules:
    """The rules of a table's networks: their length, the digit of the identity, and stages (first, last)."""

    positions: int
    identity: str | None = None
    stages: tuple[tuple[int, int], ...] = ()


KNOWN: Mapping[str, Rules] = {
    "nas_bench_macro.csv": Rules(8, "0", ((0, 1), (2, 4), (5, 7))),
    "channel_bench_resnet.csv": Rules(7),
    "nas_bench_graph_cora.csv": Rules(5),
    "nas_bench_graph_photo.csv": Rules(5),
}


MEASURED_THRICE = ("nas_bench_macro.csv", "channel_bench_resnet.csv")


class Space(Protocol):
    """A space of networks of known value that contestants search; more is better."""

    @property
    def best(self) -> float:
        """The best value of a network."""

    @property
    def is_noisy(self) -> bool:
        """Whether a trial shows something else than the value."""

    def spec(self, contestant: str) -> PhoenixSpec:
        """The specification of a contestant's search of this space."""

    def value(self, plan: TrialPlan) -> float:
        """The value of what a trial trains; NaN where it cannot be trained."""

    def shown(self, plan: TrialPlan, rng: np.random.Generator) -> float:
        """What a trial shows of the value."""


class _FromTable(Block):
    """A block of the table; it is never built."""

    def build(self, input_tensors: list[Any], is_training: bool, lengths: Any = None, hparams: Any = None) -> list[Any]:
        raise NotImplementedError("this network is looked up in a table")


def block(digit: str) -> str:
    """The name of a block of a table, which is registered the first time."""
    name = f"TABLE_{digit}"
    if not catalogue.is_known(name):
        register_block(name)(_FromTable)
    return name


@dataclasses.dataclass(frozen=True)
class NasTable:
    """Accuracies by architecture, written as digits.

    Attributes:
        rules: The rules of its networks.
        accuracies: Three runs for each architecture.
        best: The best mean of three.
        is_noisy: Whether a trial shows one of the runs, not their mean.
    """

    rules: Rules
    accuracies: Mapping[str, np.ndarray]
    best: float
    is_noisy: bool = False

    @classmethod
    def read(cls, path: pathlib.Path, rules: Rules) -> NasTable:
        """Reads a CSV file; raises ValueError where an architecture has another number of positions."""
        rows = pd.read_csv(path, dtype={"architecture": str})
        runs = rows[list(RUNS)].to_numpy(float)
        for architecture in rows["architecture"]:
            if len(architecture) != rules.positions:
                raise ValueError(f"{path}: {architecture!r} has {len(architecture)} positions, not {rules.positions}")
        return cls(rules, dict(zip(rows["architecture"], runs, strict=True)), float(runs.mean(axis=1).max()))

    @property
    def is_complete(self) -> bool:
        """Whether every network of the blocks that occur at each position is listed."""
        return len(self.accuracies) == math.prod(
            len({key[i] for key in self.accuracies}) for i in range(self.rules.positions)
        )

    def runs(self, architecture: Architecture) -> np.ndarray:
        """The three accuracies of a network of registered blocks."""
        return self.accuracies[self.digits(architecture)]

    def value(self, plan: TrialPlan) -> float:
        """The mean of the three; NaN for a network that the table does not list, which cannot be trained."""
        return self.mean(plan.architecture) if self.digits(plan.architecture) in self.accuracies else math.nan

    def shown(self, plan: TrialPlan, rng: np.random.Generator) -> float:
        """What a trial shows: the mean, or one of the runs."""
        return float(self.runs(plan.architecture)[rng.integers(3)]) if self.is_noisy else self.value(plan)

    def mean(self, architecture: Architecture) -> float:
        """The mean of the three."""
        return float(self.runs(architecture).mean())

    @staticmethod
    def digits(architecture: Architecture) -> str:
        """The network as the table writes it."""
        return "".join(name[-1] for name in architecture)

    def equivalent(self, architecture: Architecture) -> str:
        """The canonical name of equivalent networks: in each stage but for its first block, identities last."""
        digits = self.digits(architecture)
        for first, last in self.rules.stages:
            inside = digits[first + 1 : last + 1]
            moved = inside.replace(self.rules.identity or "", "") if self.rules.identity else inside
            digits = digits[: first + 1] + moved.ljust(len(inside), self.rules.identity or "0") + digits[last + 1 :]
        return digits

    def spec(self, contestant: str) -> PhoenixSpec:
        """The specification of a search of this table: fixed length, its choices by position, its rules."""
        columns = [sorted({key[i] for key in self.accuracies}) for i in range(self.rules.positions)]
        spec = PhoenixSpec(
            minimum_depth=self.rules.positions,
            maximum_depth=self.rules.positions,
            blocks_to_use=[block(digit) for digit in sorted(set().union(*columns))],
            problem_type=PhoenixSpec.DNN,
        )
        for column in columns:
            spec.position_choices.add(blocks=[block(digit) for digit in column])
        for first, last in self.rules.stages:
            spec.stages.add(first=first, last=last)
        if self.rules.identity is not None:
            spec.identity_blocks.append(block(self.rules.identity))
        fix_hyperparameters(spec)
        return searched_by(contestant, spec)


def fix_hyperparameters(spec: PhoenixSpec) -> None:
    """Gives each hyperparameter one value, for a space that knows architectures only."""
    spec.learning_spec.optimizers.append("adam")
    spec.learning_spec.learning_rate_range.add(minimum=1e-3, maximum=1e-3)
    spec.learning_spec.cooldown_share = 0


def searched_by(contestant: str, spec: PhoenixSpec) -> PhoenixSpec:
    """The specification with the search of a contestant; `default:most_steps=0.3` gives it a setting."""
    name, _, given = contestant.partition(":")
    spec.MergeFrom(_CONTESTANTS[name][1])
    for setting in filter(None, given.split(",")):
        key, _, value = setting.partition("=")
        if key == VERSION:
            spec.search_settings.hparam[key].int64_value = int(value)
        else:
            spec.search_settings.hparam[key].float_value = float(value)
    return spec


def _asks(search_type: str, **fields: Any) -> tuple[str, PhoenixSpec]:
    known = search_type in PhoenixSpec.SearchType.keys()  # noqa: SIM118 - a protobuf enum is no mapping
    value = PhoenixSpec.SearchType.Value(search_type) if known else 0
    return search_type, PhoenixSpec(search_type=value, **fields)


_CONTESTANTS: Mapping[str, tuple[str, PhoenixSpec]] = {
    "default": ("", PhoenixSpec(beam_size=5)),
    "random": _asks("NONADAPTIVE_RANDOM_SEARCH"),
    "evolution20": _asks("REGULARIZED_EVOLUTION", evolution={"population_size": 20, "sample_size": 5}),
    "evolution50": _asks("REGULARIZED_EVOLUTION", evolution={"population_size": 50, "sample_size": 10}),
    "local": _asks("LOCAL_SEARCH"),
    "beam": _asks("ADAPTIVE_COORDINATE_DESCENT", beam_size=5),
    "annealing": _asks("SIMULATED_ANNEALING"),
    "gaussian_process": _asks("GAUSSIAN_PROCESS"),
    "reinforce": _asks("REINFORCE"),
    "harmonica": _asks("HARMONICA_SEARCH"),
    "linear": _asks("LINEAR_MODEL"),
    "grid": _asks("GRID_SEARCH"),
}
_OF_THE_ISSUE = ("default", "random", "evolution20", "evolution50", "local", "beam")


def contestants() -> list[str]:
    """Those that are compared unless others are named; without those that this version does not have."""
    return [name for name in _OF_THE_ISSUE if _CONTESTANTS[name][0] in ("", *SEARCHES)]


class Study:
    """Trials of one search, one after the other or several at a time."""

    def __init__(self, table: Space, contestant: str, seed: int):
        spec = table.spec(contestant)
        self._planner = Planner(spec, PlannerSettings(seed, 1, 1), "accuracy", "maximize")
        self._history = History("accuracy", "maximize")
        self._grammar = Grammar.of(spec)
        self._started = 0

    def start(self) -> tuple[str, ...]:
        """Plans the next trial; its architecture."""
        self._started += 1
        plan = self._planner.plan(self._started, self._history)
        self._history.update([self._trial(TrialState.RUNNING, plan)])
        return plan.architecture

    def finish(self, accuracy: float, trial_id: int | None = None) -> None:
        """Ends a trial, the last one started where none is named."""
        result = TrialResult({"accuracy": accuracy}, parameters=1, best_step=1, timings={})
        self._history.update([self._trial(TrialState.COMPLETED, self.plan(trial_id), result)])

    def fail(self, trial_id: int | None = None) -> None:
        """Ends a trial, the last one started where none is named, whose network cannot be trained."""
        self._history.update([self._trial(TrialState.FAILED, self.plan(trial_id))])

    def plan(self, trial_id: int | None = None) -> TrialPlan:
        """The plan of a trial, the last one started where none is named."""
        trial = self._history.get(trial_id or self._started)
        if trial is None or trial.plan is None:
            raise ValueError(f"trial {trial_id} was not started")
        return trial.plan

    def best_plan(self) -> TrialPlan | None:
        """The plan of the trial with the best accuracy that the search saw; None where none is completed."""
        return next((trial.plan for trial in self._history.best(1)), None)

    def recommended_plan(self) -> TrialPlan | None:
        """The plan of the trial that the study recommends; None where none is completed."""
        trial = recommend(self._history, self._grammar)
        return None if trial is None else trial.plan

    def best(self) -> tuple[str, ...]:
        """The architecture with the best accuracy that the search saw."""
        return self._architecture(self._history.best(1)[0])

    def recommended(self) -> tuple[str, ...]:
        """The architecture that the study recommends."""
        trial = recommend(self._history, self._grammar)
        if trial is None:
            raise ValueError("no trial is completed")
        return self._architecture(trial)

    @staticmethod
    def _architecture(trial: Trial) -> tuple[str, ...]:
        if trial.plan is None:
            raise ValueError(f"trial {trial.id} has no plan")
        return trial.plan.architecture

    @staticmethod
    def _trial(state: TrialState, plan: TrialPlan, result: TrialResult | None = None) -> Trial:
        return Trial(plan.trial_id, state, 1, plan.trial_id, "bench", plan, result)
