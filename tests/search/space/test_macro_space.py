import numpy as np
import pytest
from search_factory import make_planner, run_study

from model_search import cells
from model_search.macro import layers_of
from model_search.search.algorithms.registry import SEARCHES
from model_search.search.space.grammar import Grammar
from model_search.spec.check import check
from model_search.spec.describe import incompatibilities
from model_search.spec.load import explain, load_text

TEXT = "problem_type: CNN cell { layers: 4 heights: [1, 3] widths: [3] filters: [8, 16] strides: [1, 2] }"
ALGORITHMS = [name for name in SEARCHES if not name.startswith(("CONSTRAINED", "SPOS", "ENAS", "DARTS"))]


def loss(plan):
    """Layers with many skips and few filters are good."""
    layers = layers_of(plan.architecture)
    return 10.0 - sum(len(layer.inputs) for layer in layers) + sum(layer.filters for layer in layers) / 100


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_search_proposes_macro_towers_and_none_twice(name):
    spec = load_text(f"{TEXT} search: '{name}' starting_points: false learning_spec {{ optimizers: 'adam' }}")
    grammar = Grammar.of(spec)
    history = run_study(make_planner(spec), 5, loss)
    plans = [trial.plan for trial in history.completed]
    assert len({plan.key for plan in plans}) == len(plans) == 5
    for plan in plans:
        assert len(layers_of(plan.architecture)) == 4
        assert grammar.fits(plan.architecture) and plan.architecture[-1] == "PLATE_REDUCTION_FLATTEN"
        assert not any(name.startswith("cell_") for name in plan.hyperparameters)


def test_the_controller_learns_which_skips_are_good():
    spec = load_text(f"{TEXT} search: 'REINFORCE' reinforce {{ controller_learning_rate: 0.05 }}")
    history = run_study(make_planner(spec), 120, loss)
    by_id = sorted(history.completed, key=lambda trial: trial.id)
    first, last = (np.mean([history.loss(trial) for trial in part]) for part in (by_id[:20], by_id[-20:]))
    assert last < first - 1


def test_a_child_has_layers_of_both_parents_and_a_mutation_changes_one_choice():
    grammar, rng = Grammar.of(load_text(TEXT)), np.random.default_rng(0)
    for _ in range(20):
        one, two = grammar.random(rng), grammar.random(rng)
        parents = (layers_of(one), layers_of(two))
        child = layers_of(grammar.cross(one, two, rng))
        assert all(layer in {parent[place] for parent in parents} for place, layer in enumerate(child))
        changed = grammar.vary(one, rng)
        assert sum(before != after for before, after in zip(one, changed, strict=True)) == 1


def test_a_specification_is_told_in_words_and_its_choices_may_grow():
    spec, more = load_text(TEXT), load_text(TEXT.replace("[8, 16]", "[8, 16, 24]"))
    assert "a macro tower of 4 convolutions with learnt skips" in explain(spec)
    assert "heights 1, 3; widths 3; filters 8, 16; strides 1, 2" in explain(spec)
    assert incompatibilities(spec, more) == []
    assert incompatibilities(more, spec) == ["filters of cell no longer has 24."]
    other = load_text(TEXT.replace("layers: 4", "layers: 5"))
    assert incompatibilities(spec, other) == ["layers of cell was 4 and is now 5."]


def test_a_tower_is_suggested_by_its_json():
    tower = cells.to_json(Grammar.of(load_text(TEXT)).random(np.random.default_rng(1)))
    spec = load_text(f"{TEXT} user_suggestions {{ cells: '{tower}' }}")
    (trial,) = run_study(make_planner(spec), 1, loss).completed
    assert cells.to_json(trial.plan.architecture) == tower


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT.replace("layers: 4", "layers: 13"), "layers is 13; expected 1 to 12"),
        (TEXT.replace("filters: [8, 16]", "filters: [8, 15]"), "filters has 15; expected one of 4, 8"),
        (TEXT.replace("widths: [3]", "channels: 8"), "channels is of cells"),
        (TEXT.replace("CNN", "RNN_LAST_ACTIVATIONS"), "layers of cell are for maps"),
        (f"{TEXT} search: 'SPOS'", "not for a macro tower"),
    ],
)
def test_an_error_says_what_is_wrong_with_a_macro_tower(text, message):
    from google.protobuf import text_format

    from model_search.proto.phoenix_spec_pb2 import PhoenixSpec

    assert any(message in problem.message for problem in check(text_format.Parse(text, PhoenixSpec())))
