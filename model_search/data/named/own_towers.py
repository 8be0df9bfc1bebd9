"""What is particular to the tower of one of several inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from model_search.data.rows import InputSpec, InputSpecs, main_inputs
from model_search.errors import DataError


@dataclasses.dataclass(frozen=True)
class OwnTower:
    """What is particular to the tower of an input.

    Attributes:
        blocks: Blocks of its own, in front of those of an architecture.
        read_by: The blocks of an architecture that read it by itself; all that suit it where empty.
        same_as: Another input, whose layers read this one, too; None where it has layers of its own.
    """

    blocks: tuple[str, ...] = ()
    read_by: tuple[str, ...] = ()
    same_as: str | None = None


def with_own_towers(specs: InputSpecs, towers: Mapping[str, OwnTower]) -> dict[str, InputSpec]:
    """The inputs, each with what is particular to its tower.

    An input that is read by the layers of another one is normalised as that one is: equal rows give equal vectors.

    Args:
        specs: The inputs of the data.
        towers: By the names of inputs.

    Raises:
        DataError: if there is no such input, or two that share layers differ in shape or type.
    """
    named = [name for name, spec in main_inputs(specs).items() if spec.own_tower]
    for name, tower in towers.items():
        for wanted in (name, tower.same_as):
            if wanted is not None and wanted not in named:
                known = f"their inputs are {', '.join(map(repr, named))}" if named else "their inputs have no names"
                raise DataError(
                    f"input_towers names {wanted!r}, and the data have no such input ({known}); expected an input of "
                    "array_data.Provider({name: values, ...}, labels)"
                )
    found: dict[str, InputSpec] = {**specs}
    for name, tower in towers.items():
        own = found[name]
        if tower.same_as is not None:
            other = specs[tower.same_as]
            if (own.shape, own.dtype, own.lengths is None) != (other.shape, other.dtype, other.lengths is None):
                raise DataError(
                    f"the inputs {name!r} and {tower.same_as!r} have the shapes {own.shape} and {other.shape}, the "
                    f"types {own.dtype} and {other.dtype}; expected equal ones, since the same layers read them"
                )
            if own.vocabulary:
                raise DataError(f"{name!r} is text with a vocabulary of its own; expected layers of its own, too")
            own = dataclasses.replace(own, mean=other.mean, deviation=other.deviation)
        found[name] = dataclasses.replace(own, blocks=tower.blocks, read_by=tower.read_by, same_tower=tower.same_as)
    return found
