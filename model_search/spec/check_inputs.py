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
    names = [tower.input_name for tower in towers]
    sharing = {tower.input_name for tower in towers if tower.shares_weights_with}
    for index, tower in enumerate(towers):
        path: Path = ("input_towers", index)
        if not tower.input_name:
            checker.add("This tower has no input_name; give the name of its input.", path)
        elif tower.input_name in names[:index]:
            checker.add(f"This is a second tower of {tower.input_name!r}; give each input once.", (*path, "input_name"))
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
