import numpy as np
import pytest
from google.protobuf import text_format
from search_factory import make_planner, run_study

from model_search import cells
from model_search.proto.phoenix_spec_pb2 import PhoenixSpec
from model_search.search.algorithms.registry import SEARCHES
from model_search.search.space.grammar import Grammar
from model_search.search.space.hyperparameter_space import build_space
from model_search.search.space.morphisms import is_wider
from model_search.spec.check import check
from model_search.spec.describe import incompatibilities
from model_search.spec.load import explain, load_text

IMAGES = "problem_type: CNN cell { nodes: 2 channels: [4, 8] operations: ['CELL_IDENTITY', 'CELL_CONVOLUTION_1X1'] }"
STEPS = "problem_type: RNN_LAST_ACTIVATIONS cell { nodes: 3 units: 8 }"
# The constrained beam has cells of its own, which are rows of blocks; a supernet takes one number of channels.
ALGORITHMS = [name for name in SEARCHES if not name.startswith(("CONSTRAINED", "SPOS", "ENAS", "DARTS"))]


def _loss(plan):
    return sum(map(len, plan.architecture)) / 100 + plan.architecture.count("CELL_IDENTITY")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_search_proposes_graphs_and_none_twice(name):
    spec = load_text(f"{IMAGES} search: '{name}' starting_points: false learning_spec {{ optimizers: 'adam' }}")
    grammar = Grammar.of(spec)
    history = run_study(make_planner(spec), 12, _loss)
    plans = [trial.plan for trial in history.completed]
    assert len(plans) == 12
    for plan in plans:
        assert set(cells.cells_of(plan.architecture)) == {"normal", "reduction"}
        assert grammar.fits(plan.architecture) and plan.architecture[-1] == "PLATE_REDUCTION_FLATTEN"
        assert plan.hyperparameters["cell_channels"] in (4, 8) and plan.hyperparameters["cell_repeats"] == 1
    assert len({plan.key for plan in plans}) == 12


def test_evolution_leads_to_better_cells_than_chance():
    spec = load_text(f"{IMAGES} search: 'REGULARIZED_EVOLUTION' evolution {{ population_size: 10 sample_size: 5 }}")
    history = run_study(make_planner(spec), 60, _loss)
    by_id = sorted(history.completed, key=lambda trial: trial.id)
    first, last = (np.mean([history.loss(trial) for trial in part]) for part in (by_id[:10], by_id[-10:]))
    assert last < first - 1


def test_a_mutation_changes_a_graph_and_a_child_has_nodes_of_both_parents():
    grammar = Grammar.of(load_text(IMAGES))
    rng = np.random.default_rng(0)
    for _ in range(20):
        one, two = grammar.random(rng), grammar.random(rng)
        assert grammar.canonical(grammar.vary(one, rng)) != grammar.canonical(one)
        child = cells.cells_of(grammar.cross(one, two, rng))
        parents = [cells.cells_of(parent) for parent in (one, two)]
        for kind, graph in child.items():
            assert all(node in {parent[kind][place] for parent in parents} for place, node in enumerate(graph))


def test_every_graph_is_gone_through_once():
    spec = load_text(STEPS.replace("nodes: 3", "nodes: 3 operations: ['CELL_TANH', 'CELL_RELU']"))
    found = list(Grammar.of(spec).enumerate(Grammar.of(spec).minimum_depth))
    assert len(found) == len({cells.canonical(one) for one in found}) == 14


def test_the_layout_is_part_of_the_space():
    values = {parameter.name: parameter.values for parameter in build_space(load_text(STEPS), 100).parameters[-1:]}
    assert values == {"cell_units": (8,)}
    names = {parameter.name for parameter in build_space(load_text(IMAGES), 100).parameters}
    assert {"cell_channels", "cell_repeats", "cell_reductions", "cell_stem_stride"} <= names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("problem_type: DNN cell { }", "cell is for maps and sequences"),
        ("problem_type: CNN cell { nodes: 7 }", "nodes is 7; expected 1 to 6"),
        ("problem_type: CNN cell { operations: 'CELL_TANH' }", "no operation 'CELL_TANH'"),
        ("problem_type: CNN cell { repeats: 0 }", "repeats is 0; expected at least 1"),
        ("problem_type: CNN cell { repeats: 60 }", "more than 100 cells"),
        ("problem_type: CNN cell { channels: 0 }", "channels has 0"),
        ("problem_type: CNN cell { } blocks_to_use: 'RESNET_3X3'", "has no block RESNET_3X3"),
        ("problem_type: CNN cell { } minimum_depth: 2 maximum_depth: 2 position_choices { } position_choices { }",
         "position_choices do not go with cell"),
        ("problem_type: CNN cell { } use_parameter_scaled_training: true", "counts blocks"),
        ("problem_type: CNN cell { } user_suggestions { cells: '{}' }", "expected a cell"),
        ("problem_type: CNN cell { } user_suggestions { cells: '{}' architecture: 'FLATTEN' }", "give one of them"),
        ("problem_type: CNN cell { } search: 'CONSTRAINED_ADAPTIVE_COORDINATE_DESCENT'", "whose cells are rows"),
    ],
)  # fmt: skip
def test_an_error_says_what_is_wrong_with_cells(text, message):
    problems = check(text_format.Parse(text, PhoenixSpec()))
    assert any(message in problem.message for problem in problems), problems


@pytest.mark.parametrize(
    "names", [("RECURRENT_CELL_INPUT_7", "RECURRENT_CELL_INPUT_6"), ("MACRO_STRIDE_3", "MACRO_STRIDE_2")]
)
def test_no_part_of_a_cell_or_a_macro_tower_is_a_wider_one(names):
    assert not is_wider(*names)


def test_a_suggested_cell_fits_the_problem():
    normal = '{"normal": [[[0, "CELL_IDENTITY"], [1, "CELL_IDENTITY"]]]}'
    recurrent = '{"recurrent": [[[0, "CELL_TANH"]]]}'
    for problem, text, fits in [
        ("CNN cell { }", normal, True),
        ("CNN cell { }", recurrent, False),
        ("RNN_LAST_ACTIVATIONS cell { }", recurrent, True),
        ("RNN_LAST_ACTIVATIONS cell { }", normal, False),
        ("DNN", normal, False),
    ]:
        spec = text_format.Parse(f"problem_type: {problem} user_suggestions {{ cells: '{text}' }}", PhoenixSpec())
        said = [problem.message for problem in check(spec) if "suggestion" in problem.message]
        assert len(said) == (not fits), (problem, text, said)


def test_a_study_goes_on_with_the_same_cells():
    old = load_text(IMAGES)
    assert incompatibilities(old, load_text(IMAGES.replace("channels: [4, 8]", "channels: 16"))) == []
    assert (
        "nodes of cell was 2 and is now 3"
        in incompatibilities(old, load_text(IMAGES.replace("nodes: 2", "nodes: 3")))[0]
    )
    assert (
        "no longer has CELL_IDENTITY" in incompatibilities(old, load_text(IMAGES.replace("'CELL_IDENTITY', ", "")))[0]
    )
    assert "cell was given" in incompatibilities(old, load_text("problem_type: CNN blocks_to_use: 'RESNET_3X3'"))[0]
    assert "cells of 2 nodes: 2 stages of 1 normal cells" in explain(old)
    assert "a recurrent cell of 3 nodes" in explain(load_text(STEPS))
