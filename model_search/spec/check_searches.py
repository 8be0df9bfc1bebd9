"""Checking the settings of the searches that have some."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from model_search.blocks import catalogue
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

if TYPE_CHECKING:
    from model_search.spec.check import Checker


def searches(checker: Checker) -> None:
    """The settings that are given, whether or not they are those of the `search_type`."""
    if checker.spec.search_type == PhoenixSpec.CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT:
        _constrained(checker)
    given = checker.spec.WhichOneof("search_spec")
    if given in _CHECKS:
        _CHECKS[given](checker)


def _evolution(checker: Checker) -> None:
    settings, path = checker.spec.evolution, ("evolution",)
    checker.at_least(settings, 1, path, ["sample_size"])
    if settings.population_size < max(settings.sample_size, 1):
        checker.add(
            f"population_size is {settings.population_size}; expected at least sample_size ({settings.sample_size}).",
            (*path, "population_size"),
            (*path, "sample_size"),
        )


def _annealing(checker: Checker) -> None:
    settings, path = checker.spec.simulated_annealing, ("simulated_annealing",)
    if not settings.initial_temperature > 0:
        checker.add(
            f"initial_temperature is {settings.initial_temperature:.7g}; expected more than 0.",
            (*path, "initial_temperature"),
        )
    if not 0 < settings.cooling <= 1:
        checker.add(f"cooling is {settings.cooling:.7g}; expected a factor above 0 and at most 1.", (*path, "cooling"))


def _local_search(checker: Checker) -> None:
    checker.at_least(checker.spec.local_search, 1, ("local_search",), ["random_starts"])


def _gaussian_process(checker: Checker) -> None:
    settings, path = checker.spec.gaussian_process, ("gaussian_process",)
    checker.at_least(settings, 2, path, ["trials_before_fit"])
    if not 0 <= settings.exploration < math.inf:
        checker.add(
            f"exploration is {settings.exploration:.7g}; expected 0 or more standard deviations.",
            (*path, "exploration"),
        )


def _reinforce(checker: Checker) -> None:
    settings, path = checker.spec.reinforce, ("reinforce",)
    checker.at_least(settings, 0, path, ["entropy_weight"])
    checker.at_least(settings, 1, path, ["hidden_units", "update_every"])
    if not 0 < settings.controller_learning_rate < math.inf:
        checker.add(
            f"controller_learning_rate is {settings.controller_learning_rate:.7g}; expected more than 0.",
            (*path, "controller_learning_rate"),
        )


def _constrained(checker: Checker) -> None:
    spec = checker.spec
    checker.at_least(spec, 1, (), ["num_blocks_in_cell"])
    for rule in ("position_choices", "stages"):
        if getattr(spec, rule):
            checker.add(f"{rule} do not go with CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT, which has cells.", (rule, 0))
    known = [catalogue.get(name) for name in spec.blocks_to_use if catalogue.is_known(name)]
    if known and all(info.is_reduction or info.is_flatten for info in known):
        checker.add(
            "blocks_to_use names no block for the cells; reductions and flatten blocks are none.", ("blocks_to_use", 0)
        )
    reduction = spec.reduction_block_type
    if checker.problem_type.reads_maps or spec.HasField("reduction_block_type"):
        if reduction and not catalogue.is_known(reduction):
            checker.add(catalogue.unknown(reduction), ("reduction_block_type",))
        elif reduction and not catalogue.buildable(reduction):
            checker.add(
                f"Block {reduction} is known but cannot be built in this version; name another reduction_block_type.",
                ("reduction_block_type",),
            )


def _linear_model(checker: Checker) -> None:
    settings, path = checker.spec.linear_model, ("linear_model",)
    checker.at_least(settings, 0, path, ["ridge_penalty"])
    checker.at_least(settings, 1, path, ["trials_before_fit"])


_CHECKS = {
    "linear_model": _linear_model,
    "evolution": _evolution,
    "simulated_annealing": _annealing,
    "local_search": _local_search,
    "gaussian_process": _gaussian_process,
    "reinforce": _reinforce,
}
