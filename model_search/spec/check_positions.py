"""Checking the rules of position, stages and identity blocks of a specification."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model_search.blocks import catalogue
from model_search.spec.diagnostics import Path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_search.spec.check import Checker


def positions(checker: Checker) -> None:
    """Rules of position need a fixed length; blocks that they name must be among `blocks_to_use`."""
    spec = checker.spec
    for index, name in enumerate(spec.identity_blocks):
        _named(checker, name, ("identity_blocks", index))
    if not spec.position_choices and not spec.stages:
        return
    rule = "position_choices" if spec.position_choices else "stages"
    if spec.minimum_depth != spec.maximum_depth:
        checker.add(
            f"{rule} need towers of one length, but minimum_depth is {spec.minimum_depth} and maximum_depth is "
            f"{spec.maximum_depth}; expected the same number.",
            (rule, 0),
            (rule,),
        )
        return
    if spec.position_choices and len(spec.position_choices) != spec.maximum_depth:
        checker.add(
            f"There are {len(spec.position_choices)} position_choices and maximum_depth is {spec.maximum_depth}; "
            "expected one for each position.",
            ("position_choices", 0),
        )
        return
    for index, choices in enumerate(spec.position_choices):
        _all_named(checker, choices.blocks, ("position_choices", index))
    taken: dict[int, int] = {}
    for index, stage in enumerate(spec.stages):
        _stage(checker, index, stage, taken)
    for index, suggestion in enumerate(spec.user_suggestions):
        _suggestion(checker, suggestion.architecture, ("user_suggestions", index))


def _all_named(checker: Checker, blocks: Sequence[str], path: Path) -> None:
    for index, name in enumerate(blocks):
        _named(checker, name, (*path, "blocks", index))


def _named(checker: Checker, name: str, path: Path) -> None:
    if name not in checker.spec.blocks_to_use:
        checker.add(f"{path[0]} names {name!r}, which blocks_to_use does not; add it there.", path)


def _stage(checker: Checker, index: int, stage: Any, taken: dict[int, int]) -> None:
    path: Path = ("stages", index)
    last = checker.spec.maximum_depth - 1
    if not 0 <= stage.first <= stage.last <= last:
        checker.add(
            f"This stage goes from {stage.first} to {stage.last}; expected positions from 0 to {last}, the first not "
            "above the last.",
            path,
        )
        return
    _all_named(checker, stage.blocks, path)
    for position in range(stage.first, stage.last + 1):
        if position in taken:
            checker.add(f"Position {position} is in two stages; give it to one.", path)
            return
        taken[position] = index


def _suggestion(checker: Checker, architecture: Sequence[str], path: Path) -> None:
    blocks = [
        name
        for name in architecture
        if catalogue.is_known(name) and name != catalogue.EMPTY_BLOCK and not catalogue.get(name).has_own_place
    ]
    if blocks and len(blocks) != checker.spec.maximum_depth:
        checker.add(
            f"This user suggestion has {len(blocks)} blocks; expected {checker.spec.maximum_depth}, one for each "
            "position.",
            path,
        )
