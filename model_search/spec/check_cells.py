"""Checking the cells of a specification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_search import cells, macro
from model_search.blocks import catalogue
from model_search.errors import SpecError
from model_search.problem import SEQUENCE_RANK
from model_search.spec.diagnostics import Path, one_of

if TYPE_CHECKING:
    from model_search.spec.check import Checker

_MOST = 100  # cells of a tower


def cell(checker: Checker) -> None:
    """The cells that are searched."""
    spec = checker.spec
    if not spec.HasField("cell"):
        return
    given, about = spec.cell, checker.problem_type
    is_recurrent = about.input_rank == SEQUENCE_RANK
    if not (about.reads_maps or is_recurrent):
        checker.add(f"cell is for maps and sequences, and problem_type is {about.name}; leave it out.", ("cell",))
        return
    if not 1 <= given.nodes <= cells.MOST_NODES:
        checker.add(f"nodes is {given.nodes}; expected 1 to {cells.MOST_NODES}.", ("cell", "nodes"), ("cell",))
    checker.at_least(given, 1, ("cell",), ["repeats", "stem_stride"])
    checker.at_least(given, 0, ("cell",), ["reductions"])
    if given.reductions + given.repeats * (given.reductions + 1) > _MOST:
        checker.add(
            f"{given.reductions} reductions and {given.repeats} repeats make more than {_MOST} cells; expected fewer.",
            ("cell",),
        )
    if given.layers:
        _macro(checker)
    known = cells.STEP_OPERATIONS if is_recurrent else cells.MAP_OPERATIONS
    for index, name in enumerate(given.operations):
        if name not in known:
            checker.add(f"A cell has no operation {name!r}; expected {one_of(known)}.", ("cell", "operations", index))
    for field in ("channels", "units"):
        for index, width in enumerate(getattr(given, field)):
            if width < 1:
                checker.add(f"{field} has {width}; expected at least 1.", ("cell", field, index))
    if spec.use_parameter_scaled_training:
        checker.add(
            "use_parameter_scaled_training counts blocks, and a tower of cells has none; leave it out.",
            ("use_parameter_scaled_training",),
        )
    _without_blocks(checker)


def _macro(checker: Checker) -> None:
    """A macro tower in place of cells."""
    given, path = checker.spec.cell, ("cell", "layers")
    if not checker.problem_type.reads_maps:
        checker.add(f"layers of cell are for maps, and problem_type is {checker.problem_type.name}.", path)
    if not 1 <= given.layers <= macro.MOST_LAYERS:
        checker.add(f"layers is {given.layers}; expected 1 to {macro.MOST_LAYERS}, or 0 for cells.", path)
    for field, name in macro.PLURALS.items():
        for index, value in enumerate(getattr(given, name)):
            if value not in macro.CHOICES[field]:
                checker.add(
                    f"{name} has {value}; expected one of {', '.join(map(str, macro.CHOICES[field]))}.",
                    ("cell", name, index),
                )
    of_cells = ("nodes", "operations", "repeats", "reductions", "channels", "stem_stride", "units")
    for name in of_cells:
        if any(field.name == name for field, _ in given.ListFields()):
            checker.add(
                f"{name} is of cells, and layers asks for a macro tower; leave one of them out.", ("cell", name)
            )


def _without_blocks(checker: Checker) -> None:
    """Towers of cells have no other blocks than a flatten block or an embedding."""
    for index, name in enumerate(checker.spec.blocks_to_use):
        if catalogue.is_known(name) and not catalogue.get(name).has_own_place:
            checker.add(
                f"A tower of cells has no block {name}; expected in blocks_to_use a flatten block, an embedding, or "
                "nothing.",
                ("blocks_to_use", index),
            )
    for rule in ("position_choices", "stages"):
        if getattr(checker.spec, rule):
            checker.add(f"{rule} do not go with cell, which has its own; leave them out.", (rule, 0), (rule,))


def suggested(checker: Checker, text: str, path: Path) -> None:
    """The graphs of cells that a tower is given by, which read what the problem's towers read."""
    try:
        blocks = cells.from_json(text)
    except SpecError as error:
        checker.add(f"{str(error)[:1].upper()}{str(error)[1:]}.", path)
        return
    about = checker.problem_type
    kinds = cells.cells_of(blocks)  # none of a macro tower
    is_recurrent = about.input_rank == SEQUENCE_RANK
    if not (about.reads_maps or is_recurrent):
        checker.add(
            f"A suggestion of cells is for maps and sequences, and problem_type is {about.name}; name blocks.", path
        )
    elif is_recurrent != (cells.CellKind.RECURRENT in kinds):
        given = f"the cells {', '.join(kinds)}" if kinds else "a macro tower"
        expected = "a recurrent cell" if is_recurrent else "normal and reduction cells, or a macro tower"
        checker.add(f"This suggestion has {given}, and problem_type is {about.name}; expected {expected}.", path)
