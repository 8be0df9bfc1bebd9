import json

import pytest

from model_search import cells, macro
from model_search.errors import SpecError
from model_search.macro import Layer
from model_search.report.cell_drawings import cell_drawings

TOWER = (Layer(3, 5, 24, 2), Layer(1, 1, 36, 1, (0,)), Layer(7, 3, 8, 1), Layer(3, 3, 48, 1, (0, 2)))


def test_a_layer_is_a_block_for_each_choice_and_each_earlier_layer():
    blocks = macro.blocks_of(TOWER)
    assert blocks[4:9] == (
        "MACRO_HEIGHT_1", "MACRO_WIDTH_1", "MACRO_FILTERS_36", "MACRO_STRIDE_1", "MACRO_SKIP",
    )  # fmt: skip
    assert len(blocks) == 4 + 5 + 6 + 7
    assert macro.layers_of((*blocks, "PLATE_REDUCTION_FLATTEN")) == TOWER
    assert all(name in choices for name, choices in zip(blocks, macro.positions(4, macro.CHOICES), strict=True))


def test_json_gives_the_same_tower_back():
    blocks = (*macro.blocks_of(TOWER), "PLATE_REDUCTION_FLATTEN")
    text = cells.to_json(blocks)
    assert json.loads(text)["macro"][3] == {"height": 3, "width": 3, "filters": 48, "stride": 1, "inputs": [0, 2]}
    assert (*cells.from_json(text), "PLATE_REDUCTION_FLATTEN") == blocks == cells.canonical(blocks)
    assert cells.has_cells(blocks) and cells.cells_of(blocks) == {}
    assert cells.in_words(blocks)[0] == "macro tower 3x5x24/2(input), 1x1x36(0), 7x3x8(input), 3x3x48(0,2)"


def test_what_nobody_reads_is_the_output():
    assert macro.ends_of(TOWER) == (1, 3)
    (drawing,), text = cell_drawings(macro.blocks_of(TOWER))
    assert drawing.kind == "macro tower" and text.startswith('{"macro"')
    assert len(drawing.boxes) == 6 and len(drawing.paths) == 2 + 1 + 2 + 2  # the picture twice, three skips, two ends


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "has 0 layers"),
        ([{"height": 3}], "missing 3 required"),
        ([{"height": 3, "width": 3, "filters": 8, "stride": 1, "inputs": [0]}], "layer 0 of a macro tower reads 0"),
        ([{"height": 2, "width": 3, "filters": 8, "stride": 1}], "has height 2; expected one of"),
        ([{"height": 3, "width": 3, "filters": True, "stride": 1}], "not all are whole numbers"),
        (7, "expected a list of"),
    ],
)
def test_what_is_no_macro_tower_is_refused(layers, message):
    with pytest.raises(SpecError, match=message):
        cells.from_json(json.dumps({"macro": layers}))


@pytest.mark.parametrize("cut", [slice(1, None), slice(None, -1), slice(None, 3)])
def test_blocks_that_make_up_no_layers_are_refused(cut):
    with pytest.raises(SpecError, match=r"layer \d of a macro tower is MACRO_.*expected a block for each of height"):
        macro.layers_of(macro.blocks_of(TOWER)[cut])
    assert cells.in_words(macro.blocks_of(TOWER)[cut])[0].startswith("MACRO_")
