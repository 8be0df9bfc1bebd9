import itertools
import json
import pathlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_search import cells
from model_search.cells import CellKind, CellLayout
from model_search.errors import SpecError, TrialError
from model_search.spec.load import load_text, warnings_of

PAGE = (pathlib.Path(__file__).parents[1] / "docs" / "cells.md").read_text()


@st.composite
def graphs(draw, kind):
    nodes = draw(st.integers(1, 4))
    edge = [st.tuples(st.sampled_from(kind.readable(node)), st.sampled_from(kind.operations)) for node in range(nodes)]
    return kind, tuple(tuple(draw(edge[node]) for _ in range(kind.edges)) for node in range(nodes))


def renumbered(kind, graph, order, flips):
    """The same graph with its nodes in another order, and the edges of some the other way round."""
    numbers = {number: number for number in range(kind.offset)}
    numbers |= {old + kind.offset: new + kind.offset for new, old in enumerate(order)}
    return tuple(
        tuple((numbers[previous], operation) for previous, operation in graph[old])[:: -1 if flips[old] else 1]
        for old in order
    )


def legal_orders(kind, graph):
    for order in itertools.permutations(range(len(graph))):
        place = {old + kind.offset: new for new, old in enumerate(order)}
        if all(place.get(previous, -1) < new for new, old in enumerate(order) for previous, _ in graph[old]):
            yield order


@settings(deadline=None, max_examples=60)
@given(
    st.one_of(graphs(CellKind.NORMAL), graphs(CellKind.RECURRENT)),
    st.randoms(use_true_random=False),
    st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_equal_graphs_have_one_form_and_it_is_such_a_graph(found, random, flips):
    kind, graph = found
    order = random.choice(list(legal_orders(kind, graph)))
    one = cells.canonical(cells.blocks_of({kind: graph}))
    assert cells.canonical(cells.blocks_of({kind: renumbered(kind, graph, order, flips)})) == one
    assert cells.canonical(one) == one
    operations = [name for name in cells.blocks_of({kind: graph}) if name in kind.operations]
    assert sorted(operations) == sorted(name for name in one if name in kind.operations)


def test_graphs_that_differ_have_different_forms():
    """All recurrent cells of three nodes and two operations, counted by hand: 2 + 2 chains and forks of each root."""
    kind, operations = CellKind.RECURRENT, ("CELL_TANH", "CELL_RELU")
    found = set()
    for chosen in itertools.product(operations, repeat=3):
        for third in (1, 2):
            graph = tuple(((previous, name),) for previous, name in zip((0, 1, third), chosen, strict=True))
            found.add(cells.canonical(cells.blocks_of({kind: graph})))
    assert len(found) == 2 * (2 * 2 + 3)  # chains of two, and unordered pairs of leaves


@settings(deadline=None, max_examples=40)
@given(graphs(CellKind.NORMAL), graphs(CellKind.REDUCTION))
def test_json_round_trips(normal, reduction):
    blocks = cells.blocks_of(dict([normal, reduction]))
    text = cells.to_json((*blocks, "PLATE_REDUCTION_FLATTEN"))
    assert cells.from_json(text) == blocks
    assert json.loads(text)["normal"] == [[list(edge) for edge in edges] for edges in normal[1]]
    assert cells.cells_of(blocks) == dict([normal, reduction])


EDGE = '[0, "CELL_IDENTITY"]'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "the graphs of cells are"),
        ({"normal": []}, "the graphs of cells are a dict; expected the text"),
        (None, "the graphs of cells are a NoneType; expected the text"),
        ("{}", "expected a cell"),
        ('{"large": []}', "large"),
        ('{"normal": [[[0, "CELL_IDENTITY"]]]}', "expected 2 edges for each node"),
        (f'{{"normal": [[{EDGE}, [2, "CELL_IDENTITY"]]]}}', "node 0 of a normal cell reads 2; expected one of 0, 1"),
        (f'{{"normal": [[{EDGE}, [1, "CELL_TANH"]]]}}', "has the operation 'CELL_TANH'"),
        (f'{{"normal": [[{EDGE}, [true, "CELL_IDENTITY"]]]}}', "is no .previous, operation"),
        (f'{{"reduction": [[{EDGE}, {EDGE}]]}}', "a reduction cell alone"),
        ('{"normal": []}', "0 nodes; expected 1 to 6"),
    ],
)
def test_what_is_no_graph_is_refused(text, message):
    with pytest.raises(SpecError, match=message):
        cells.from_json(text)


def test_a_part_that_belongs_to_no_cell_is_a_block_like_any_other():
    assert not cells.has_cells(("CELL_TANH", "LSTM_64"))
    assert cells.in_words(("CELL_TANH", "LSTM_64")) == ["CELL_TANH", "LSTM_64"]
    assert cells.canonical(("NORMAL_CELL_INPUT_7", "CELL_IDENTITY")) == ("NORMAL_CELL_INPUT_7", "CELL_IDENTITY")


@pytest.mark.parametrize("value", [0, 1.5, "8", True])
def test_a_layout_of_whole_numbers(value):
    with pytest.raises(TrialError, match="cell_channels is"):
        CellLayout.of({"cell_channels": value})
    assert CellLayout.of({"cell_channels": 8, "cell_reductions": 0, "learning_rate": 0.1}).channels == 8


def test_many_equal_nodes_do_not_take_long():
    graph = (((0, "CELL_IDENTITY"), (0, "CELL_IDENTITY")),) * cells.MOST_NODES
    blocks = cells.blocks_of({CellKind.NORMAL: graph})
    assert cells.canonical(blocks) == blocks


def test_the_page_names_every_operation_and_its_examples_run(capsys):
    named = set(re.findall(r"`(CELL_\w+)`", PAGE))
    assert {*cells.MAP_OPERATIONS, *cells.STEP_OPERATIONS} <= named
    for example in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(example, {})
    assert (
        "normal cell convolution_3x3(0)+identity(1), convolution_3x3(2)+max_pooling_3x3(1)" in capsys.readouterr().out
    )
    for example in re.findall(r"```pbtxt\n(.*?)```", PAGE, re.DOTALL):
        assert warnings_of(load_text(example)) == []
