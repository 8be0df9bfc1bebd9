"""Checking what a specification says of the towers of several inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_search.proto.phoenix_spec_pb2 import InputTower
from model_search.spec.check_tasks import fixed_blocks
from model_search.spec.diagnostics import Path

if TYPE_CHECKING:
    from model_search.spec.check import Checker


def input_towers(checker: Checker) -> None:
    """Names, blocks and shared weights of the towers of inputs."""
    towers = list(checker.spec.input_towers)
    checker.named_once("input_towers", "input_name", "tower")
    sharing = {tower.input_name for tower in towers if tower.shares_weights_with}
    for index, tower in enumerate(towers):
        path: Path = ("input_towers", index)
        _blocks(checker, tower, path)
        other = tower.shares_weights_with
        if other and (other == tower.input_name or other in sharing):
            checker.add(
                f"shares_weights_with is {other!r}; expected another input, which has layers of its own.",
                (*path, "shares_weights_with"),
            )
        if other and (tower.architecture or tower.blocks_to_use):
            checker.add("This tower shares the layers of another one; leave its blocks out.", path)


def _blocks(checker: Checker, tower: InputTower, path: Path) -> None:
    fixed_blocks(checker, tower.architecture, path, "an input")
    for place, name in enumerate(tower.blocks_to_use):
        if name not in checker.spec.blocks_to_use:
            checker.add(
                f"{name} is no block of the search; expected blocks that the specification's blocks_to_use names, too.",
                (*path, "blocks_to_use", place),
            )
