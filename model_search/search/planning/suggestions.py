"""The towers that a user names in the spec: to be tried first, or to be trained again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from model_search import cells
from model_search.blocks import catalogue
from model_search.errors import SpecError
from model_search.metadata.trial import HyperparameterValue
from model_search.problem import ProblemType
from model_search.search.space.architecture import Architecture, fix_order, problem_type_of

if TYPE_CHECKING:
    from model_search.proto.hparam_pb2 import HParamDef
    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec, TowerSuggestion


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """An architecture in a legal order, and hyperparameters that override what the sampler draws."""

    architecture: Architecture
    hyperparameters: Mapping[str, HyperparameterValue]


def read_suggestions(spec: PhoenixSpec) -> tuple[Suggestion, ...]:
    """The suggestions of a spec, in its order.

    Raises:
        SpecError: if one has no block, or a hyperparameter that is a list.
    """
    return read_towers(spec.user_suggestions, problem_type_of(spec), "user suggestion")


def read_towers(towers: Iterable[TowerSuggestion], problem_type: ProblemType, what: str) -> tuple[Suggestion, ...]:
    """Towers of a spec, each in a legal order.

    Args:
        towers: The towers, in the order of the spec.
        problem_type: The spec's problem type.
        what: What one of them is called in a message.

    Raises:
        SpecError: if one has no block, or a hyperparameter that is a list.
    """
    found = []
    for number, tower in enumerate(towers, start=1):
        if not tower.architecture and not tower.cells:
            raise SpecError(f"{what} {number} has no architecture; name its blocks, input to output")
        blocks = cells.from_json(tower.cells) if tower.cells else tower.architecture
        found.append(Suggestion(fix_order(blocks, problem_type), read_hparams(tower.hparams)))
    return tuple(found)


def read_hparams(hparams: HParamDef) -> dict[str, HyperparameterValue]:
    """Plain values of an `HParamDef`; text is UTF-8, floats are rounded to the digits that 32 bits hold.

    `new_block_type` and `initial_architecture...`, which the archived system recorded with every trial, are left out.

    Raises:
        SpecError: if a value is a list, is not set, or cannot be kept.
    """
    values: dict[str, HyperparameterValue] = {}
    for name in sorted(hparams.hparam):
        if name.startswith(catalogue.IGNORED_HYPERPARAMETERS):
            continue
        values[name] = _plain(name, hparams.hparam[name])
    batch_size = values.get("batch_size", 1)
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise SpecError(f"batch_size of a suggestion is {batch_size!r}; expected an int64_value of at least 1")
    return values


def _plain(name: str, given: HParamDef.HParamType) -> HyperparameterValue:
    kind = given.WhichOneof("kind")
    if kind is None or kind.endswith("_list"):
        raise SpecError(
            f"hyperparameter {name!r} of a suggestion is {'a list' if kind else 'not set'}; expected one "
            "number, text or truth value"
        )
    value = getattr(given, kind)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise SpecError(f"hyperparameter {name!r} of a suggestion is {value}; expected a finite number")
        return float(f"{value:.7g}")
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SpecError(f"hyperparameter {name!r} of a suggestion is not text in UTF-8: {value!r}") from error
    return value
