"""The parts of cells, as blocks; their ids are from 400 to 499. Never imports TensorFlow."""

from __future__ import annotations

from model_search.blocks.catalogue_records import MAPS, SEQUENCES, Blocks, Family
from model_search.cells import MOST_INPUTS, STEP_OPERATIONS, CellKind
from model_search.macro import CHOICES, NO_SKIP, SKIP, part

_CELLS = "model_search.blocks.cells"


def _inputs(kind: CellKind, first: int) -> Blocks:
    return {kind.input_block(number): (first + number, {}) for number in range(MOST_INPUTS)}


_MACRO = [part(field, value) for field, values in CHOICES.items() for value in values]

CELLS = (
    Family(
        "CellInputBlock",
        {**_inputs(CellKind.NORMAL, 400), **_inputs(CellKind.REDUCTION, 410)},
        module=f"{_CELLS}.parts",
        **MAPS,
    ),
    Family("CellInputBlock", _inputs(CellKind.RECURRENT, 420), module=f"{_CELLS}.parts", **SEQUENCES),
    Family(
        "CellOperationBlock",
        {
            name: (number, {"operation": name})
            for name, number in {
                "CELL_IDENTITY": 430,
                "CELL_CONVOLUTION_1X1": 431,
                "CELL_CONVOLUTION_3X3": 432,
                "CELL_SEPARABLE_CONVOLUTION_3X3": 433,
                "CELL_SEPARABLE_CONVOLUTION_5X5": 434,
                "CELL_DILATED_CONVOLUTION_3X3": 435,
                "CELL_AVERAGE_POOLING_3X3": 436,
                "CELL_MAX_POOLING_3X3": 437,
            }.items()
        },
        module=f"{_CELLS}.parts",
        **MAPS,
    ),
    Family(
        "CellActivationBlock",
        {name: (number, {"activation": name}) for number, name in enumerate(STEP_OPERATIONS, 450)},
        module=f"{_CELLS}.parts",
        **SEQUENCES,
    ),
    Family(
        "MacroPartBlock",
        {name: (number, {}) for number, name in enumerate((SKIP, NO_SKIP, *_MACRO), 460)},
        module=f"{_CELLS}.parts",
        **MAPS,
    ),
)
